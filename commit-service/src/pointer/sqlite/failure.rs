//! SQLite's failures as what they mean to a caller.

use std::path::Path;

use icecap_table::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// The error of something that certainly had no effect.
pub(crate) fn failed(what: &str, path: &Path, error: rusqlite::Error) -> Error {
    let (kind, advice) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Unavailable, ": another process holds it locked, try again")
        }
        Some(ErrorCode::NotADatabase) => (ErrorKind::Corrupt, ": it is not a SQLite file"),
        Some(ErrorCode::DatabaseCorrupt) => (ErrorKind::Corrupt, ": its pages are damaged, restore a copy"),
        Some(ErrorCode::DiskFull) => (ErrorKind::Exhausted, ": the disk is full"),
        Some(
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied,
        ) => (ErrorKind::Denied, ": it may not be written"),
        Some(ErrorCode::CannotOpen) => {
            (ErrorKind::Denied, ": check that the folder exists and may be written")
        }
        // SQLITE_ERROR: a table or column that the layout needs is not there.
        Some(ErrorCode::Unknown) => (ErrorKind::Corrupt, ": it does not have the tables of a catalog"),
        _ => (ErrorKind::Unavailable, ""),
    };
    Error::new(kind, format!("{what}{advice}")).with("catalog", path.display().to_string()).with_source(error)
}

/// A file-system failure on the way to the catalog.
pub(crate) fn file(what: &str, path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        std::io::ErrorKind::StorageFull => ErrorKind::Exhausted,
        std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, what).with("path", path.display().to_string()).with_source(error)
}
