//! The `icecap` command.
fn main() {}
