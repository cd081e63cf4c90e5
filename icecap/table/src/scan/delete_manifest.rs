//! One delete manifest's bytes, parsed to the delete files that it lists.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Datum, ManifestFile, ManifestStatus, PrimitiveLiteral,
};

use super::manifest::{Context, parse, sequence_numbers};
use super::{DeleteFile, DeleteKind};
use crate::error::{Error, Result};

/// The column of a position delete file that names data files (spec, "Reserved field ids").
const PATH_COLUMN: i32 = 2_147_483_546;

/// The live delete files of the manifest `listed`, of which `bytes` are the content.
///
/// # Errors
/// `Corrupt` when the bytes are not a delete manifest that `listed` can describe; `Unsupported` for a delete file that
/// cannot be read truly.
pub(super) fn read_delete_files(
    listed: &ManifestFile,
    bytes: &[u8],
    context: &Context,
) -> Result<Vec<DeleteFile>> {
    let manifest = parse(listed, bytes, context)?;
    let live = manifest.entries.iter().filter(|entry| entry.status != ManifestStatus::Deleted);
    live.map(|entry| {
        let sequence_numbers = sequence_numbers(entry, listed)
            .ok_or_else(|| Error::corrupt("entry of a delete file has no sequence number"));
        sequence_numbers
            .and_then(|(sequence_number, _)| {
                delete_file(&entry.data_file, listed.partition_spec_id, sequence_number)
            })
            .map_err(|error| {
                let error = error.with("file", entry.file_path());
                error.with("manifest", listed.manifest_path.clone())
            })
    })
    .collect()
}

fn delete_file(file: &DataFile, spec_id: i32, data_sequence_number: i64) -> Result<DeleteFile> {
    let kind = match (file.content_type(), file.file_format()) {
        (DataContentType::Data, _) => return Err(Error::corrupt("delete manifest lists a data file")),
        (DataContentType::PositionDeletes, DataFileFormat::Parquet) => DeleteKind::PositionDeletes,
        (DataContentType::PositionDeletes, DataFileFormat::Puffin) => DeleteKind::DeletionVector,
        (DataContentType::EqualityDeletes, DataFileFormat::Parquet) => match file.equality_ids() {
            Some(ids) if !ids.is_empty() => DeleteKind::EqualityDeletes { field_ids: ids },
            _ => return Err(Error::corrupt("equality deletes name no columns")),
        },
        (_, format) => {
            return Err(Error::unsupported(format!("reading {format} delete files is not supported yet")));
        }
    };
    if file.key_metadata().is_some_and(|key| !key.is_empty()) {
        return Err(Error::unsupported("reading encrypted delete files is not supported yet"));
    }
    let content_range = file.content_offset().zip(file.content_size_in_bytes());
    let mut referenced_data_file = file.referenced_data_file();
    let mut path_bounds = None;
    match kind {
        DeleteKind::DeletionVector if content_range.is_none() || referenced_data_file.is_none() => {
            return Err(Error::corrupt("deletion vector has no data file, or no place in its own"));
        }
        DeleteKind::PositionDeletes => {
            path_bounds = bound(file.lower_bounds()).zip(bound(file.upper_bounds()));
            // Bounds that are one are whole: a cut upper bound lies above every value.
            if let (None, Some((low, high))) = (&referenced_data_file, &path_bounds)
                && low == high
            {
                referenced_data_file = Some(low.clone());
            }
        }
        _ => {}
    }
    let ids = match &kind {
        DeleteKind::EqualityDeletes { field_ids } => field_ids.as_slice(),
        _ => &[],
    };
    Ok(DeleteFile {
        path: file.file_path().to_owned(),
        file_size_bytes: file.file_size_in_bytes(),
        record_count: file.record_count(),
        content_range,
        spec_id,
        partition: file.partition().fields().to_vec(),
        data_sequence_number,
        referenced_data_file,
        path_bounds,
        null_counts: of_columns(file.null_value_counts(), ids),
        lower_bounds: of_columns(file.lower_bounds(), ids),
        upper_bounds: of_columns(file.upper_bounds(), ids),
        kind,
    })
}

fn bound(bounds: &HashMap<i32, Datum>) -> Option<String> {
    match bounds.get(&PATH_COLUMN)?.literal() {
        PrimitiveLiteral::String(path) => Some(path.clone()),
        _ => None,
    }
}

fn of_columns<T: Clone>(all: &HashMap<i32, T>, ids: &[i32]) -> BTreeMap<i32, T> {
    ids.iter().filter_map(|id| Some((*id, all.get(id)?.clone()))).collect()
}
