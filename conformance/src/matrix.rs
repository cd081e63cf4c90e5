//! Every type Icecap stores with the values that break things, and every partition transform on every type it
//! applies to. Data only: `tests/suite/types.rs` makes the tables and compares them.

mod partitions;
mod types;

pub use partitions::{PartitionCase, partition_cases};
pub use types::{TypeCase, type_cases};

use crate::reader::Foreign;

/// What a foreign engine cannot read, and why: printed by the tests that leave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exclusion {
    /// The engine.
    pub foreign: Foreign,
    /// The [`TypeCase`] or the [`PartitionCase`] by name.
    pub case: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// Everything that is left out, by name.
pub const EXCLUSIONS: &[Exclusion] = &[
    Exclusion {
        foreign: Foreign::PyIceberg,
        case: "deeps",
        reason: "PyIceberg 0.12 reads a NULL list of structs as an empty list",
    },
    Exclusion {
        foreign: Foreign::PyIceberg,
        case: "timestamps_ns_by_identity",
        reason: "PyIceberg 0.12 does not know nanoseconds in a manifest's partition values",
    },
    Exclusion {
        foreign: Foreign::Spark,
        case: "times",
        reason: "Iceberg's Spark runtime has no time of day (UnsupportedOperationException on the schema)",
    },
    Exclusion {
        foreign: Foreign::Spark,
        case: "timestamps_ns",
        reason: "Iceberg's Spark runtime has no nanoseconds",
    },
    Exclusion {
        foreign: Foreign::Spark,
        case: "fixeds_by_identity",
        reason: "Iceberg's Java library takes fixed partition values of a manifest for bytes with a length before",
    },
];

/// The reason why an engine does not read a case, if there is one.
pub fn exclusion(foreign: Foreign, case: &str) -> Option<&'static str> {
    EXCLUSIONS.iter().find(|e| e.foreign == foreign && e.case == case).map(|e| e.reason)
}
