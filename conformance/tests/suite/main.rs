//! The conformance suite: the real `icecap` command, judged by the spec's invariants and by Spark, PyIceberg and
//! DuckDB. One binary, so that each foreign engine starts once.
//!
//! Figures go to `$ICECAP_FIGURES/<name>.json` when that is set (`just conformance-figures`), and are printed.
//! `ICECAP_CONFORMANCE_KEEP=1` keeps the temporary warehouses.

// A test's helpers fail by panicking, as the tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod compare;
mod concurrency;
mod conflicts;
mod crash;
mod deletes;
mod evolve;
mod explain;
mod figures;
mod harness;
mod interop;
mod lambda;
mod lambda_writers;
mod layouts;
mod parted;
mod partitions;
mod planted;
mod random;
mod random_dml;
mod register;
mod row_level;
mod s3;
mod show;
mod slt;
mod spark_tables;
mod survival;
mod travel;
mod types;
mod upkeep;
mod verify;
mod writer_faults;
mod writers;

use icecap_conformance::reader::{Foreign, Reader, Readers};

static READERS: Readers = Readers::new();

/// A foreign engine; a test that needs one which does not start fails.
fn reader(foreign: Foreign) -> &'static Reader {
    READERS.get(foreign).unwrap()
}
