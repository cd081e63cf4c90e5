//! Pairs of concurrent commits, run through the real committer and compared with what was measured of Iceberg Java.
//!
//! A case (`case`) names a table of two files, a winner and a loser, both planned on the same snapshot, and what is
//! required of the loser. Each runs on a catalog of its own (`table`); its files are metadata and bytes that nobody
//! reads, but for deletion vectors, which are real. What an operation does is in `operation`, what the table then
//! holds in `state`. `cargo run -p icecap-conformance --bin commit-conflicts -- FILE` takes any file of the form of
//! `conformance/data/commit_conflicts_v2.jsonl`, of either format version.

mod case;
mod foreign;
mod operation;
mod state;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use icecap_table::commit::CommitOutcome;
use icecap_table::iceberg::spec::FormatVersion;

use self::case::{Case, Required};
use self::operation::{Operation, Plan};
use self::state::{Row, State};
use self::table::Table;
use crate::{Failure, Result};

/// How often a statement that lost a race is planned again.
const PLANS: u32 = 4;

/// What came of a file of cases.
#[derive(Debug, Default)]
pub struct Report {
    /// How many cases each outcome had: `commit`, `replanned` (committed after it was planned again), `conflict`.
    pub outcomes: BTreeMap<&'static str, u32>,
    /// Committed pairs whose rows are those of winner and loser run one after the other.
    pub serial: u32,
    /// Cases that are not as required: the id, and why.
    pub failures: Vec<(String, String)>,
}

impl Report {
    /// How many cases were run.
    pub fn cases(&self) -> u32 {
        self.outcomes.values().sum()
    }
}

/// Runs every case of a file.
///
/// # Errors
/// When the file is not of the form, or a case cannot be set up; what a case does otherwise than it should is in the
/// report.
pub async fn run_file(path: &Path) -> Result<Report> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::from(e).at(path.display()))?;
    let mut report = Report::default();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let case = Case::parse(line).map_err(|e| e.at(format!("{}:{}", path.display(), number + 1)))?;
        let ran = run(&case).await.map_err(|e| e.at(&case.id))?;
        *report.outcomes.entry(ran.outcome.word()).or_default() += 1;
        report.serial += u32::from(ran.is_serial);
        let wrong = ran.wrong(&case);
        if !wrong.is_empty() {
            report.failures.push((case.id.clone(), wrong.join("; ")));
        }
    }
    Ok(report)
}

/// How the loser ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Committed { replanned: bool },
    Conflict(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Committed { replanned: false } => "commit",
            Self::Committed { replanned: true } => "replanned",
            Self::Conflict(_) => "conflict",
        }
    }
}

/// A case as it went.
struct Ran {
    outcome: Outcome,
    state: State,
    is_serial: bool,
    violations: Vec<String>,
}

async fn run(case: &Case) -> Result<Ran> {
    let mut table = Table::create(case).await?;
    let base = table.state().await?;
    let winner = Operation::parse(&case.winner)?;
    let loser = Operation::parse(&case.loser)?;
    let wins = Plan::new(winner, &case.winner_partition, 1, case, &base)?;
    let loses = Plan::new(loser, &case.loser_partition, 2, case, &base)?;
    let mut rows = base.rows.clone();
    wins.serially(&mut rows);
    let won = commit(&mut table, &wins, &base).await?;
    if won != (Outcome::Committed { replanned: false }) {
        return Err(Failure::new(format!("the winner did not win: {won:?}")));
    }
    let between = table.state().await?;
    let outcome = commit(&mut table, &loses, &base).await?;
    let committed = matches!(outcome, Outcome::Committed { .. });
    if committed {
        loses.serially(&mut rows);
    }
    let state = table.state().await?;
    if !committed && state.snapshot_id != between.snapshot_id {
        return Err(Failure::new("a commit that was refused changed the table"));
    }
    rows.sort();
    let is_serial = committed && rows == sorted(&state.rows);
    Ok(Ran { outcome, state, is_serial, violations: table.violations().await? })
}

fn sorted(rows: &[Row]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    rows.sort();
    rows
}

/// Commits a plan that was made on `base`; where the statement is one that does not depend on the rows that it read,
/// it is planned again on a conflict, as the engine does it.
async fn commit(table: &mut Table, plan: &Plan<'_>, base: &State) -> Result<Outcome> {
    let mut at = base.clone();
    for number in 0..PLANS {
        let Some(change) = plan.change(table, &at).await? else {
            foreign::upsert(table, plan).await?;
            return Ok(Outcome::Committed { replanned: false });
        };
        match table.commit(plan, number, &at, change).await? {
            CommitOutcome::Committed(_) => return Ok(Outcome::Committed { replanned: number > 0 }),
            CommitOutcome::Conflict { why } if !plan.operation.is_planned_again() => {
                return Ok(Outcome::Conflict(why));
            }
            CommitOutcome::Conflict { .. } => at = table.state().await?,
            CommitOutcome::Rejected { requirement } => {
                return Err(Failure::new(format!("rejected: {requirement}")));
            }
        }
    }
    Err(Failure::new(format!("lost a race {PLANS} times with nobody racing")))
}

impl Ran {
    /// What is not as it must be.
    fn wrong(&self, case: &Case) -> Vec<String> {
        let mut wrong = self.violations.clone();
        let committed = matches!(self.outcome, Outcome::Committed { .. });
        let fits = match case.required {
            Required::Commit => committed,
            Required::Reject => !committed,
            Required::RejectOrRebase => true,
        };
        if !fits {
            wrong.push(format!("required is {:?}, it was {:?}", case.required, self.outcome));
        }
        if !committed {
            return wrong;
        }
        let Some(java) = &case.live else {
            // Java rejects: what is made of it must be the serial result.
            if !self.is_serial {
                wrong.push(format!("the rows are not those of one after the other: {:?}", self.state.rows));
            }
            return wrong;
        };
        // A commit that is required, or one that Java makes and that is right here too when its rows are serial.
        let mut live = self.state.live();
        // In format version 3 deletes of one data file are one vector, however many statements made it.
        if case.version == FormatVersion::V3 && self.is_serial && live.deletes_applied < java.deletes_applied
        {
            live.deletes_applied = java.deletes_applied;
        }
        if live != *java && !(case.required == Required::RejectOrRebase && self.is_serial) {
            wrong.push(format!("live is {live:?}, Java has {java:?}"));
        }
        if case.required == Required::Commit {
            let deletes = self.state.deletes.len() as u64;
            // Java leaves delete files that concern nothing any more.
            if deletes > case.total_delete_files.unwrap_or(u64::MAX) {
                wrong.push(format!("{deletes} delete files are live, in Java {:?}", case.total_delete_files));
            }
            if case.operation.as_deref().is_some_and(|operation| operation != self.state.operation) {
                wrong.push(format!("operation is {}, in Java {:?}", self.state.operation, case.operation));
            }
            if case.sequence_number.is_some_and(|number| number != self.state.sequence_number) {
                wrong.push(format!("sequence number is {}", self.state.sequence_number));
            }
        }
        wrong
    }
}
