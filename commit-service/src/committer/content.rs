//! The snapshot of one change of a request: what it is made of, and how it becomes the head.

use std::collections::BTreeMap;

use icecap_table::Result;
use icecap_table::commit::{CommitRequest, RemovedFile, TableChange};
use icecap_table::iceberg::spec::Operation;
use icecap_table::metadata::TableDocument;
use icecap_table::snapshot::{self, SnapshotRequest};
use icecap_table::staged_file::StagedFile;

use super::Committer;
use super::attempt::{Attempt, Objects, Working};

/// One change of a request.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) request: &'a CommitRequest,
    pub(super) index: usize,
    pub(super) change: &'a TableChange,
}

/// What a snapshot is made of.
pub(super) struct Content<'a> {
    pub(super) schema_id: i32,
    pub(super) operation: Operation,
    pub(super) added: &'a [StagedFile],
    pub(super) removed: &'a [RemovedFile],
    pub(super) data_sequence_number: Option<i64>,
}

impl Committer {
    /// Stores what earlier changes of the request made of a table: the next one reads it.
    pub(super) async fn upload_before(
        &self,
        table: &Working,
        attempt: &mut Attempt,
        objects: &mut Objects,
    ) -> Result<()> {
        if table.changed && !objects.is_empty() {
            self.upload(attempt, std::mem::take(objects)).await?;
        }
        Ok(())
    }

    /// Makes the snapshot of one change; returns its id.
    pub(super) async fn make_snapshot(
        &self,
        step: Step<'_>,
        content: Content<'_>,
        table: &mut Working,
        document: TableDocument,
        attempt: &mut Attempt,
        objects: &mut Objects,
    ) -> Result<i64> {
        let now_ms = document.next_timestamp_ms(self.clock.now_ms());
        let first_change = !table.changed;
        self.upload_before(table, attempt, objects).await?;
        let prepared = snapshot::prepare_within(
            &self.storage,
            Some(&self.policy),
            SnapshotRequest {
                document: &document,
                write_id: step.request.write_id,
                step: &step.index.to_string(),
                reference: &step.change.reference,
                schema_id: content.schema_id,
                operation: content.operation,
                added: content.added,
                removed: content.removed,
                data_sequence_number: content.data_sequence_number,
                extra_summary: BTreeMap::new(),
                now_ms,
                uuid: self.ids.uuid(),
            },
        )
        .await?;
        objects.extend(prepared.objects);
        attempt.manifests.push(prepared.fresh);
        // One log entry for the base, however many changes are chained on it.
        let base = if first_change { table.base() } else { None };
        table.document = Some(document.apply(prepared.updates, base, now_ms)?);
        table.changed = true;
        Ok(prepared.snapshot.snapshot_id())
    }
}
