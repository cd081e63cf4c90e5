//! Upkeep of real tables: an engine on a local disk, statements as users write them, and every table verified.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod lake;
mod optimize;
mod vacuum;
