//! A statement that lost a race: what has to be planned again, and what stays.
//!
//! Its plan on the newer state is held against the one before: a data file that both would read alike need not be read
//! once more, where what the statement does with a row depends on no other row of the table. Everything else that it
//! reads stays as it was read first.

use std::sync::Arc;

use icecap_table::iceberg::spec::TableMetadata;

use super::part::{Part, keep, unchanged};
use super::plan::{Planned, only};
use super::{Attempt, RowChange};
use crate::Result;
use crate::engine::session::Run;

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
        let planned = Planned {
            table,
            settings: before.settings,
            columns: before.columns,
            logical,
            scan: Arc::new(files),
            whole,
            filter: before.filter.clone(),
            joins: before.joins,
            sort_merge: before.sort_merge,
            loaded,
            template: before.template.clone(),
        };
        Ok(Some((planned, again)))
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
