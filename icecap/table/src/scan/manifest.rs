//! One manifest's bytes, parsed and reduced to the files that a scan wants.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Datum, ManifestContentType, ManifestEntry, ManifestFile,
    ManifestStatus, PartitionSpec, SchemaRef,
};

use super::plan::{MetricsKept, check_place};
use super::{ScanFile, ScanPlan};
use crate::error::{Error, Result};
use crate::expr::{FileMetrics, Judge, ListedFile};
use crate::location::Policy;
use crate::manifest::Manifest;

/// What a manifest's entries are judged by.
pub(super) struct Context {
    pub(super) judge: Judge,
    pub(super) metrics: MetricsKept,
    /// The schema that is read.
    pub(super) schema: SchemaRef,
    /// The table's specs by id.
    pub(super) specs: HashMap<i32, std::sync::Arc<PartitionSpec>>,
    /// Where files may lie.
    pub(super) policy: Option<Policy>,
}

/// The part of a plan that the manifest `listed`, of which `bytes` are the content, contributes.
///
/// # Errors
/// `Corrupt` when the bytes are not a manifest that `listed` can describe; `Unsupported` for a wanted file
/// that cannot be read truly.
pub(super) fn plan_manifest(listed: &ManifestFile, bytes: &[u8], context: &Context) -> Result<ScanPlan> {
    let corrupt = |what: String| Error::corrupt(what).with("manifest", listed.manifest_path.clone());
    let spec_id = listed.partition_spec_id;
    let Manifest { entries, .. } = parse(listed, bytes, context)?;
    let mut plan = ScanPlan { filter_is_exact: true, ..ScanPlan::default() };
    let mut row_ids = RowIds { next: listed.first_row_id };
    for entry in &entries {
        if entry.status == ManifestStatus::Deleted {
            continue;
        }
        if entry.content_type() != DataContentType::Data {
            return Err(corrupt("data manifest lists a delete file".into()).with("file", entry.file_path()));
        }
        // Ids are given out in order, so also to the files that are then skipped.
        let first_row_id = row_ids.of(&entry.data_file).ok_or_else(|| corrupt("row ids overflow".into()))?;
        plan.files_total += 1;
        let file = ListedFile { spec_id, file: &entry.data_file };
        if !context.judge.partition_may_match(&file) {
            plan.files_pruned_by_partition += 1;
        } else if !context.judge.may_match(&file) {
            plan.files_pruned_by_metrics += 1;
        } else {
            let sequence_numbers = sequence_numbers(entry, listed).ok_or_else(|| {
                corrupt("entry has no sequence number".into()).with("file", entry.file_path())
            })?;
            refuse_unreadable(&entry.data_file)?;
            check_place(context.policy.as_ref(), entry.file_path())
                .map_err(|error| error.with("manifest", listed.manifest_path.clone()))?;
            let kept = scan_file(file, sequence_numbers, first_row_id, context);
            plan.filter_is_exact &= kept.all_rows_match;
            plan.files.push(kept);
        }
    }
    Ok(plan)
}

/// The manifest that `listed` names, where its content and its partition spec are what `listed` says.
pub(super) fn parse(listed: &ManifestFile, bytes: &[u8], context: &Context) -> Result<Manifest> {
    let corrupt = |what: String| Error::corrupt(what).with("manifest", listed.manifest_path.clone());
    let manifest = Manifest::parse(bytes, &listed.manifest_path)?;
    if *manifest.header.content() != listed.content {
        return Err(corrupt(match listed.content {
            ManifestContentType::Data => {
                "manifest list calls a manifest of delete files one of data files".into()
            }
            ManifestContentType::Deletes => {
                "manifest list calls a manifest of data files one of delete files".into()
            }
        }));
    }
    let spec_id = listed.partition_spec_id;
    let spec = context.specs.get(&spec_id).ok_or_else(|| {
        corrupt(format!("manifest is of partition spec {spec_id}, which the table does not have"))
    })?;
    let own = manifest.header.partition_spec().fields();
    let same = own.len() == spec.fields().len()
        && own
            .iter()
            .zip(spec.fields())
            .all(|(a, b)| a.source_id == b.source_id && a.transform == b.transform);
    if !same {
        return Err(corrupt(format!(
            "manifest's partition fields are not those of partition spec {spec_id}"
        )));
    }
    Ok(manifest)
}

/// Gives out the row ids that files inherit: from the manifest's first one, counting the rows of the files
/// before that had none of their own either.
struct RowIds {
    next: Option<u64>,
}

impl RowIds {
    /// `None` when the count overflows; else the file's first row id, if it has one.
    fn of(&mut self, file: &DataFile) -> Option<Option<i64>> {
        match (file.first_row_id(), self.next) {
            (Some(own), _) => Some(Some(own)),
            (None, None) => Some(None),
            (None, Some(next)) => {
                self.next = Some(next.checked_add(file.record_count())?);
                Some(Some(i64::try_from(next).ok()?))
            }
        }
    }
}

/// The entry's data and file sequence numbers, inherited where Iceberg allows it.
pub(super) fn sequence_numbers(entry: &ManifestEntry, listed: &ManifestFile) -> Option<(i64, i64)> {
    let inherits = entry.status == ManifestStatus::Added || listed.sequence_number == 0;
    let inherited = inherits.then_some(listed.sequence_number);
    Some((entry.sequence_number.or(inherited)?, entry.file_sequence_number.or(inherited)?))
}

fn refuse_unreadable(file: &DataFile) -> Result<()> {
    let refused = |what: String| Err(Error::unsupported(what).with("file", file.file_path()));
    if file.file_format() != DataFileFormat::Parquet {
        return refused(format!("reading {} data files is not supported yet", file.file_format()));
    }
    if file.key_metadata().is_some_and(|key| !key.is_empty()) {
        return refused("reading encrypted data files is not supported yet".into());
    }
    Ok(())
}

fn scan_file(
    listed: ListedFile<'_>,
    (data_sequence_number, file_sequence_number): (i64, i64),
    first_row_id: Option<i64>,
    context: &Context,
) -> ScanFile {
    let file = listed.file;
    let wanted = |id: &i32| context.metrics.keeps(*id);
    let counts = |all: &HashMap<i32, u64>| -> BTreeMap<i32, u64> {
        all.iter().filter(|(id, _)| wanted(id)).map(|(id, count)| (*id, *count)).collect()
    };
    let bounds = |all: &HashMap<i32, Datum>| -> BTreeMap<i32, Datum> {
        all.iter().filter(|(id, _)| wanted(id)).map(|(id, bound)| (*id, bound.clone())).collect()
    };
    ScanFile {
        path: file.file_path().to_owned(),
        file_size_bytes: file.file_size_in_bytes(),
        record_count: file.record_count(),
        spec_id: listed.spec_id(),
        partition: file.partition().fields().to_vec(),
        data_sequence_number,
        file_sequence_number,
        first_row_id,
        sort_order_id: file.sort_order_id(),
        split_offsets: file.split_offsets().unwrap_or_default().to_vec(),
        all_rows_match: context.judge.all_match(&listed),
        deletes: Vec::new(),
        null_counts: counts(file.null_value_counts()),
        value_counts: counts(file.value_counts()),
        nan_counts: counts(file.nan_value_counts()),
        lower_bounds: bounds(file.lower_bounds()),
        upper_bounds: bounds(file.upper_bounds()),
    }
}
