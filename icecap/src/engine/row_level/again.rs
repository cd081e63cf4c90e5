//! A statement that lost a race: what has to be planned again, and what stays.
//!
//! Its plan on the newer state is held against the one before: a data file that both would read alike need not be read
//! once more, where what the statement does with a row depends on no other row of the table. Everything else that it
//! reads stays as it was read first.

use std::sync::Arc;

use icecap_table::catalog::LoadedTable;
use icecap_table::iceberg::spec::TableMetadata;
use icecap_table::scan::{ScanFile, ScanPlan};

use super::part::{Part, keep, unchanged};
use super::plan::{Planned, only};
use super::{Attempt, RowChange};
use crate::Result;
use crate::engine::session::Run;
use crate::scan::IcebergTable;

impl Run {
    /// Plans a statement again that lost a race; what it has done already stays as far as that is sound.
    pub(super) async fn plan_again(&self, before: Attempt, change: RowChange<'_>) -> Result<Attempt> {
        let Attempt { planned, mut parts, .. } = before;
        let (planned, again) = match self.plan_changed(&planned, &mut parts, change).await? {
            Some(changed) => changed,
            None => {
                parts.clear();
                let planned = self.plan_change(change).await?;
                let again = planned.scan.files.len();
                (planned, again)
            }
        };
        let files = planned.scan.files.len();
        tracing::info!(table = %planned.loaded.ident, again, files, "planned again after a lost race");
        self.races.planned_again(again, files);
        Ok(Attempt { planned, parts, left_files: true })
    }

    /// The plan over those files only that are not what they were, and how many these are; `None` when all is to be
    /// planned anew.
    async fn plan_changed(
        &self,
        before: &Planned,
        parts: &mut Vec<Part>,
        change: RowChange<'_>,
    ) -> Result<Option<(Planned, usize)>> {
        let Some(template) = &before.template else { return Ok(None) };
        let loaded = Arc::new(self.parts.load(change.table()).await?);
        let table = self.target_table(&loaded)?;
        let is_new = loaded.document.metadata().current_snapshot_id() != before.base();
        if !is_new || !is_alike(before.metadata(), loaded.document.metadata()) || !template.fits(&table) {
            return Ok(None);
        }
        let (files, mut whole) = template.files(self, &table).await?;
        let same = unchanged(&before.scan, &files);
        if let Some(pairs) = &template.pairs {
            let gone = |file: &ScanFile| !same.contains(file.path.as_str());
            let mut touched = parts.iter().flat_map(|part| part.touched.keys());
            let is_touched = touched.any(|path| !same.contains(path.as_str()));
            let changed = |plan: &ScanPlan| -> Vec<usize> {
                (0..plan.files.len()).filter(|at| plan.files.get(*at).is_some_and(gone)).collect()
            };
            let (were, are) = (changed(&before.scan), changed(&files));
            if is_touched
                || self.has_pairs(template, pairs, &table, only(&files, &are)).await?
                || self.has_pairs(template, pairs, &before.table, only(&before.scan, &were)).await?
            {
                return Ok(None);
            }
            let again = are.len();
            return Ok(Some((before.on(loaded, table, files), again)));
        }
        let dropped = keep(parts, &same);
        let is_again = |at: &usize| {
            let path = files.files[*at].path.as_str();
            !same.contains(path) || dropped.contains(path)
        };
        let again: Vec<usize> = (0..files.files.len()).filter(is_again).collect();
        whole.retain(|at| again.binary_search(at).is_ok());
        let read: Vec<usize> = again.iter().copied().filter(|at| whole.binary_search(at).is_err()).collect();
        let logical = match read.is_empty() {
            true => None,
            false => Some(template.over(self, &table, only(&files, &read))?),
        };
        let again = again.len();
        Ok(Some((Planned { logical, whole, ..before.on(loaded, table, files) }, again)))
    }
}

impl Planned {
    /// The same on a newer state with these files, with nothing to run.
    fn on(&self, loaded: Arc<LoadedTable>, table: IcebergTable, files: ScanPlan) -> Self {
        Self {
            table,
            settings: self.settings,
            columns: self.columns,
            logical: None,
            scan: Arc::new(files),
            whole: Vec::new(),
            filter: self.filter.clone(),
            joins: self.joins,
            sort_merge: self.sort_merge,
            loaded,
            template: self.template.clone(),
        }
    }
}

/// Whether a table is still planned and written in the same way: what changed since is rows alone.
fn is_alike(before: &TableMetadata, now: &TableMetadata) -> bool {
    before.uuid() == now.uuid()
        && before.location() == now.location()
        && before.format_version() == now.format_version()
        && before.current_schema_id() == now.current_schema_id()
        && before.default_partition_spec_id() == now.default_partition_spec_id()
        && before.default_sort_order_id() == now.default_sort_order_id()
        && before.properties() == now.properties()
}
