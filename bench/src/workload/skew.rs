//! An INSERT with 90 % of the rows in one of nine partitions, beside one with nine equal ones: a writer that owns a
//! partition alone would leave the other cores idle.

use super::lineitem::{PartitionedInsert, Source};
use super::turns::in_turns;
use super::{Plan, Series};
use crate::Result;

/// The engine's name when the partitions are equal.
pub const EVEN: &str = "icecap-even";

/// Part keys are spread evenly over the lines. One in ten goes to partitions 1 to 8, the others to 0.
const SKEWED: &str = ", CASE WHEN l_partkey % 10 = 0 THEN l_partkey / 10 % 8 + 1 ELSE 0 END";

const EQUAL: &str = ", l_partkey % 9";

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let source = Source::ready(plan)?;
    in_turns("skew", plan.repeats, &["icecap", EVEN], |at| {
        let insert = PartitionedInsert {
            more_columns: ", part bigint",
            more_values: if at == 0 { SKEWED } else { EQUAL },
            partitioned_by: "part",
            memory: &plan.memory,
        };
        insert.run(plan, "skew", &source)
    })
}
