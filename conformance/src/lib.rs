//! Drives the real `icecap` command from outside and checks what it did with other people's eyes.
//!
//! Here live the stack a test runs on ([`stack`]), foreign engines as readers and second writers
//! ([`reader`]), the one form in which values of all of them are compared ([`canonical`]), tables of every type
//! and transform ([`matrix`]), random queries ([`random_ctas`]), random statements ([`random`]) run beside DuckDB
//! ([`differential`]), the runner of `.slt` files ([`slt`]), and pairs of concurrent commits ([`conflicts`]).
//!
//! Nothing here may reach into the engine: what is tested is what users get, the command and the files it
//! writes. The exceptions are the table crate's own judges (its spec invariants, its metadata documents), the
//! client by which they reach an S3 server, and the committer, which pairs of commits are sent to as an engine would.

pub mod canonical;
pub mod conflicts;
pub mod differential;
mod failure;
pub mod matrix;
pub mod random;
pub mod random_ctas;
pub mod reader;
pub mod slt;
pub mod stack;

pub use failure::{Failure, Result};
