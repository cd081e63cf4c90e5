//! Encoding a manifest.

use std::collections::HashMap;

use iceberg::spec::{
    DataContentType, DataFile, Datum, FormatVersion, ManifestContentType, ManifestFile, ManifestStatus,
    PartitionSpec, SchemaRef, StructType,
};
use uuid::Uuid;

use super::container::Builder;
use super::partition::put_tuple;
use super::schema;
use super::summary::Summaries;
use super::value::{put_bytes, put_long, put_optional};
use crate::error::{Error, Result};

/// What stands for a sequence number until the manifest list gives it out.
pub(crate) const UNASSIGNED: i64 = -1;

/// A manifest under construction.
pub(crate) struct ManifestEncoder {
    content: ManifestContentType,
    snapshot_id: i64,
    spec_id: i32,
    partition: StructType,
    container: Builder,
    summaries: Summaries,
    /// Files and rows by status: existing, added, deleted.
    totals: [(u32, u64); 3],
    min_sequence_number: Option<i64>,
}

impl ManifestEncoder {
    /// A manifest that `snapshot_id` adds, empty. `sync` marks the ends of blocks.
    ///
    /// # Errors
    /// `Invalid` when the spec does not fit the schema; `Unsupported` for format version 1.
    pub(crate) fn new(
        version: FormatVersion,
        content: ManifestContentType,
        snapshot_id: i64,
        schema: &SchemaRef,
        spec: &PartitionSpec,
        sync: Uuid,
    ) -> Result<Self> {
        let version = match version {
            FormatVersion::V1 => {
                return Err(Error::unsupported("writing manifests of format version 1 is not supported"));
            }
            FormatVersion::V2 => "2",
            FormatVersion::V3 => "3",
        };
        let partition = spec.partition_type(schema).map_err(|error| {
            Error::invalid(format!("partition spec {} does not fit the schema", spec.spec_id()))
                .with_source(error)
        })?;
        let json = |what: serde_json::Result<Vec<u8>>| {
            what.map_err(|error| Error::bug("a manifest's header cannot be encoded").with_source(error))
        };
        let header = [
            ("avro.schema", json(serde_json::to_vec(&schema::of_manifest(&partition)?))?),
            ("schema", json(serde_json::to_vec(schema))?),
            ("schema-id", schema.schema_id().to_string().into_bytes()),
            ("partition-spec", json(serde_json::to_vec(spec.fields()))?),
            ("partition-spec-id", spec.spec_id().to_string().into_bytes()),
            ("format-version", version.into()),
            ("content", content.to_string().into_bytes()),
        ];
        Ok(Self {
            content,
            snapshot_id,
            spec_id: spec.spec_id(),
            summaries: Summaries::new(&partition)?,
            partition,
            container: Builder::new(&header, sync.into_bytes()),
            totals: [(0, 0); 3],
            min_sequence_number: None,
        })
    }

    /// Adds a file that this snapshot adds; its sequence numbers are inherited, but for the data sequence number
    /// where one is given.
    pub(crate) fn added(&mut self, file: &DataFile, sequence_number: Option<i64>) -> Result<()> {
        self.entry(ManifestStatus::Added, self.snapshot_id, sequence_number, None, file)
    }

    /// Adds a file that an older snapshot added.
    pub(crate) fn existing(
        &mut self,
        file: &DataFile,
        snapshot_id: i64,
        sequence_number: i64,
        file_sequence_number: Option<i64>,
    ) -> Result<()> {
        let file_sequence_number = Some(file_sequence_number.unwrap_or(sequence_number));
        self.entry(ManifestStatus::Existing, snapshot_id, Some(sequence_number), file_sequence_number, file)
    }

    /// Adds a file that this snapshot removes.
    pub(crate) fn deleted(
        &mut self,
        file: &DataFile,
        sequence_number: i64,
        file_sequence_number: Option<i64>,
    ) -> Result<()> {
        let file_sequence_number = Some(file_sequence_number.unwrap_or(sequence_number));
        self.entry(
            ManifestStatus::Deleted,
            self.snapshot_id,
            Some(sequence_number),
            file_sequence_number,
            file,
        )
    }

    fn entry(
        &mut self,
        status: ManifestStatus,
        snapshot_id: i64,
        sequence_number: Option<i64>,
        file_sequence_number: Option<i64>,
        file: &DataFile,
    ) -> Result<()> {
        let is_data = file.content_type() == DataContentType::Data;
        if is_data != (self.content == ManifestContentType::Data) {
            return Err(Error::invalid("a manifest holds data files or delete files, not both")
                .with("path", file.file_path()));
        }
        let rows = file.record_count();
        let total = &mut self.totals[status as usize];
        *total = (total.0 + 1, total.1.saturating_add(rows));
        if status != ManifestStatus::Deleted
            && let Some(number) = sequence_number
        {
            let least = self.min_sequence_number.map_or(number, |least| least.min(number));
            self.min_sequence_number = Some(least);
        }
        self.summaries.add(file.partition());
        let partition = &self.partition;
        self.container.object(|out| {
            put_long(out, status as i64);
            put_optional(out, Some(snapshot_id), put_long);
            put_optional(out, sequence_number, put_long);
            put_optional(out, file_sequence_number, put_long);
            put_file(out, file, partition)
        })
    }

    /// The bytes, and what a manifest list says of them. The list assigns sequence numbers and row ids.
    ///
    /// # Errors
    /// `Bug` for a bound that cannot be serialised.
    pub(crate) fn finish(self, location: String) -> Result<(Vec<u8>, ManifestFile)> {
        let bytes = self.container.finish();
        let [existing, added, deleted] = self.totals;
        let listed = ManifestFile {
            manifest_path: location,
            manifest_length: bytes.len() as i64,
            partition_spec_id: self.spec_id,
            content: self.content,
            sequence_number: UNASSIGNED,
            min_sequence_number: self.min_sequence_number.unwrap_or(UNASSIGNED),
            added_snapshot_id: self.snapshot_id,
            added_files_count: Some(added.0),
            existing_files_count: Some(existing.0),
            deleted_files_count: Some(deleted.0),
            added_rows_count: Some(added.1),
            existing_rows_count: Some(existing.1),
            deleted_rows_count: Some(deleted.1),
            partitions: Some(self.summaries.finish()?),
            key_metadata: None,
            first_row_id: None,
        };
        Ok((bytes, listed))
    }
}

/// Encodes a file, field by field as the schema has them.
fn put_file(out: &mut Vec<u8>, file: &DataFile, partition: &StructType) -> Result<()> {
    put_long(out, file.content_type() as i64);
    put_bytes(out, file.file_path().as_bytes());
    put_bytes(out, file.file_format().to_string().to_uppercase().as_bytes());
    put_tuple(out, file.partition(), partition)?;
    put_long(out, number(file.record_count())?);
    put_long(out, number(file.file_size_in_bytes())?);
    for counts in
        [file.column_sizes(), file.value_counts(), file.null_value_counts(), file.nan_value_counts()]
    {
        put_map(out, counts, |out, count| {
            put_long(out, number(*count)?);
            Ok(())
        })?;
    }
    for bounds in [file.lower_bounds(), file.upper_bounds()] {
        put_map(out, bounds, put_bound)?;
    }
    put_optional(out, file.key_metadata(), put_bytes);
    put_optional(out, file.split_offsets(), |out, offsets| put_list(out, offsets.iter().copied()));
    put_optional(out, file.equality_ids(), |out, ids| put_list(out, ids.into_iter().map(i64::from)));
    put_optional(out, file.sort_order_id().map(i64::from), put_long);
    put_optional(out, file.first_row_id(), put_long);
    put_optional(out, file.referenced_data_file(), |out, path| put_bytes(out, path.as_bytes()));
    put_optional(out, file.content_offset(), put_long);
    put_optional(out, file.content_size_in_bytes(), put_long);
    Ok(())
}

fn number(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| Error::invalid("a count of a staged file is out of range"))
}

fn put_bound(out: &mut Vec<u8>, bound: &Datum) -> Result<()> {
    let bytes = bound.to_bytes();
    let bytes = bytes.map_err(|error| Error::bug("a bound cannot be encoded").with_source(error))?;
    put_bytes(out, &bytes);
    Ok(())
}

/// A map from column ids in the order of the ids, so that the same file has the same bytes; an empty one is absent.
fn put_map<T>(
    out: &mut Vec<u8>,
    map: &HashMap<i32, T>,
    put: impl Fn(&mut Vec<u8>, &T) -> Result<()>,
) -> Result<()> {
    if map.is_empty() {
        put_long(out, 0);
        return Ok(());
    }
    let mut pairs: Vec<(&i32, &T)> = map.iter().collect();
    pairs.sort_unstable_by_key(|pair| pair.0);
    put_long(out, 1);
    put_long(out, pairs.len() as i64);
    for (id, value) in pairs {
        put_long(out, i64::from(*id));
        put(out, value)?;
    }
    put_long(out, 0);
    Ok(())
}

fn put_list(out: &mut Vec<u8>, items: impl ExactSizeIterator<Item = i64>) {
    if items.len() > 0 {
        put_long(out, items.len() as i64);
        items.for_each(|item| put_long(out, item));
    }
    put_long(out, 0);
}
