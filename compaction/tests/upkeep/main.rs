//! Upkeep of real tables: an engine on a local disk, statements as users write them, and every table verified.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod beside;
mod gate;
mod lake;
mod optimize;
mod races;
mod sorted;
mod vacuum;
