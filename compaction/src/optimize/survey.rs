//! What a table's files are, and which of them a rewrite takes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use icecap::engine::Upkeep;
use icecap_table::Result;
use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::expr::Predicate;
use icecap_table::properties::RewriteSettings;
use icecap_table::scan::{MetricsKept, ScanFile, ScanPlan, ScanRequest};

use super::groups::{Group, groups};

/// A table as it was planned to be rewritten.
pub(super) struct Survey {
    pub(super) loaded: LoadedTable,
    pub(super) snapshot_id: i64,
    /// The sequence number of that snapshot.
    pub(super) sequence_number: i64,
    /// All its data files, and all the delete files that apply to one of them.
    pub(super) plan: ScanPlan,
    /// The files to be rewritten, as indices into the plan's.
    pub(super) groups: Vec<Group>,
}

impl Survey {
    /// Groups those files that `wanted` takes.
    ///
    /// # Errors
    /// `Invalid` for a bad table property.
    pub(super) fn choose(&mut self, wanted: impl Fn(&ScanFile) -> bool) -> Result<()> {
        let metadata = self.loaded.document.metadata();
        let settings = RewriteSettings::from_properties(metadata.properties())?;
        let chosen: Vec<usize> =
            (0..self.plan.files.len()).filter(|at| wanted(&self.plan.files[*at])).collect();
        let part = self.part(&chosen);
        let found = groups(&part, &settings, metadata.default_partition_spec_id());
        let of_plan =
            |group: Group| Group { files: group.files.iter().map(|at| chosen[*at]).collect(), ..group };
        self.groups = found.into_iter().map(of_plan).collect();
        Ok(())
    }

    /// The plan of some of the files alone.
    pub(super) fn part(&self, files: &[usize]) -> ScanPlan {
        let mut places = BTreeMap::new();
        let mut part = ScanPlan { filter_is_exact: true, ..ScanPlan::default() };
        for file in files.iter().filter_map(|at| self.plan.files.get(*at)) {
            let mut file = file.clone();
            for at in &mut file.deletes {
                let next = places.len();
                let place = *places.entry(*at).or_insert(next);
                if place == next {
                    part.deletes.extend(self.plan.deletes.get(*at).cloned());
                }
                *at = place;
            }
            file.deletes.sort_unstable();
            part.rows = part.rows.saturating_add(file.record_count);
            part.bytes = part.bytes.saturating_add(file.file_size_bytes);
            part.files_total += 1;
            part.files.push(file);
        }
        part
    }
}

/// A table whose files that may hold a row of `filter` are grouped.
///
/// # Errors
/// As planning a scan.
pub(super) async fn survey(upkeep: &Upkeep, loaded: LoadedTable, filter: &Predicate) -> Result<Survey> {
    let mut survey = all_files(upkeep, loaded).await?;
    if *filter == Predicate::AlwaysTrue {
        survey.choose(|_| true)?;
        return Ok(survey);
    }
    // Whether a delete file applies to nothing else is seen among all files only, so both plans are needed.
    let chosen: HashSet<String> =
        plan(upkeep, &survey.loaded, filter).await?.files.into_iter().map(|file| file.path).collect();
    survey.choose(|file| chosen.contains(&file.path))?;
    Ok(survey)
}

/// A table with all its files, none of them grouped.
///
/// # Errors
/// As planning a scan.
pub(super) async fn all_files(upkeep: &Upkeep, loaded: LoadedTable) -> Result<Survey> {
    let plan = plan(upkeep, &loaded, &Predicate::AlwaysTrue).await?;
    let snapshot = loaded.document.metadata().current_snapshot();
    let (snapshot_id, sequence_number) =
        snapshot.map_or((0, 0), |snapshot| (snapshot.snapshot_id(), snapshot.sequence_number()));
    Ok(Survey { loaded, snapshot_id, sequence_number, plan, groups: Vec::new() })
}

async fn plan(upkeep: &Upkeep, loaded: &LoadedTable, filter: &Predicate) -> Result<ScanPlan> {
    let metadata = loaded.document.metadata();
    let Some(snapshot) = metadata.current_snapshot() else { return Ok(ScanPlan::default()) };
    ScanRequest::new(metadata, snapshot)?
        .with_schema(metadata.current_schema().clone())
        .with_filter(filter.clone())
        // Which files there are is judged by all metrics; none of them is looked at afterwards.
        .with_metrics(MetricsKept::Columns(BTreeSet::new()))
        .with_policy(upkeep.policy().clone())
        .plan(upkeep.storage())
        .await
}
