//! Which data files a delete file can concern, as its manifest entry tells.

use std::borrow::Cow;

use iceberg::spec::{DataContentType, DataFile, DataFileFormat, Datum, PrimitiveLiteral};

use crate::commit::RemovedFile;
use crate::staged_file::FileContent;

/// The reserved field id of a position delete file's path column (spec, "Reserved field ids").
const PATH_COLUMN: i32 = 2_147_483_546;

/// How a removal names a live file.
pub(crate) fn key_of(file: &DataFile) -> RemovedFile {
    let content = match (file.content_type(), file.content_offset()) {
        (DataContentType::Data, _) => FileContent::Data,
        (_, Some(_)) => FileContent::DeletionVector,
        (_, None) => FileContent::PositionDeletes,
    };
    let content_offset = file.content_offset().filter(|_| content == FileContent::DeletionVector);
    RemovedFile { content, path: file.file_path().to_owned(), content_offset }
}

/// Whether the entry is a deletion vector's.
pub(crate) fn is_deletion_vector(file: &DataFile) -> bool {
    file.content_type() == DataContentType::PositionDeletes && file.file_format() == DataFileFormat::Puffin
}

/// The one data file that a deletion vector or a position delete file concerns; `None` when it may concern several.
pub(crate) fn only_data_file(file: &DataFile) -> Option<Cow<'_, str>> {
    if file.content_type() != DataContentType::PositionDeletes {
        return None;
    }
    if let Some(path) = file.referenced_data_file() {
        return Some(Cow::Owned(path));
    }
    // A cut upper bound lies above every value, so equal bounds are the value.
    match (
        path_bound(file.lower_bounds().get(&PATH_COLUMN)),
        path_bound(file.upper_bounds().get(&PATH_COLUMN)),
    ) {
        (Some(lower), Some(upper)) if lower == upper => Some(Cow::Borrowed(lower)),
        _ => None,
    }
}

/// Whether a position delete file may hold positions of the data file at `path`, by its paths alone.
pub(crate) fn may_name(file: &DataFile, path: &str) -> bool {
    if let Some(only) = only_data_file(file) {
        return only == path;
    }
    let lower = path_bound(file.lower_bounds().get(&PATH_COLUMN));
    let upper = path_bound(file.upper_bounds().get(&PATH_COLUMN));
    lower.is_none_or(|lower| lower <= path) && upper.is_none_or(|upper| path <= upper)
}

fn path_bound(bound: Option<&Datum>) -> Option<&str> {
    match bound?.literal() {
        PrimitiveLiteral::String(path) => Some(path),
        _ => None,
    }
}
