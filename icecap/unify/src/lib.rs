//! Holds no code: see `Cargo.toml` for what this package is for.
