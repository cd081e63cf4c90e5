//! The reading half.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path as FsPath;

use bytes::Bytes;
use chrono::DateTime;
use futures::StreamExt;
use futures::stream;
use object_store::path::Path;
use object_store::{
    Attributes, Error, GetOptions, GetResult, GetResultPayload, ListResult, ObjectMeta, Result,
};

use super::{STORE, TEMPORARY_PREFIX, file_path, io_error};

/// Up to this length a read is done at once, without a second trip to another thread.
const EAGER_BYTES: u64 = 4 << 20;

pub(super) fn get(location: &Path, options: &GetOptions) -> Result<GetResult> {
    let path = file_path(location);
    let (file, metadata) = open(&path)?;
    let meta = meta(location.clone(), &metadata);
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        Some(range) => {
            range.as_range(meta.size).map_err(|e| Error::Generic { store: STORE, source: Box::new(e) })?
        }
        None => 0..meta.size,
    };
    let payload = if options.head {
        GetResultPayload::Stream(stream::empty().boxed())
    } else if range.end - range.start <= EAGER_BYTES {
        let bytes = read_at(&path, &file, range.clone())?;
        GetResultPayload::Stream(stream::once(async move { Ok(bytes) }).boxed())
    } else {
        GetResultPayload::File(file, path)
    };
    Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
}

pub(super) fn ranges(path: &FsPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    let (file, metadata) = open(path)?;
    ranges
        .iter()
        .map(|range| {
            if range.start >= metadata.len() {
                let message =
                    format!("read from byte {} of {} in {}", range.start, metadata.len(), path.display());
                return Err(Error::Generic { store: STORE, source: message.into() });
            }
            read_at(path, &file, range.start..range.end.min(metadata.len()))
        })
        .collect()
}

fn open(path: &FsPath) -> Result<(File, Metadata)> {
    let file = File::open(path).map_err(|e| io_error(path, e))?;
    let metadata = file.metadata().map_err(|e| io_error(path, e))?;
    if metadata.is_dir() {
        return Err(io_error(path, io::ErrorKind::IsADirectory.into()));
    }
    Ok((file, metadata))
}

/// Reads a range that lies within the file.
fn read_at(path: &FsPath, file: &File, range: Range<u64>) -> Result<Bytes> {
    let length = range.end.saturating_sub(range.start);
    let length = usize::try_from(length).map_err(|e| Error::Generic { store: STORE, source: Box::new(e) })?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start).map_err(|e| io_error(path, e))?;
    Ok(bytes.into())
}

fn meta(location: Path, metadata: &Metadata) -> ObjectMeta {
    let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or_default();
    ObjectMeta {
        location,
        last_modified: DateTime::from_timestamp(metadata.mtime(), nanoseconds).unwrap_or_default(),
        size: metadata.len(),
        e_tag: Some(format!(
            "{:x}-{:x}.{nanoseconds:x}-{:x}",
            metadata.ino(),
            metadata.mtime(),
            metadata.len()
        )),
        version: None,
    }
}

/// All objects below a folder.
pub(super) fn walk(prefix: &Path) -> Result<Vec<ObjectMeta>> {
    let mut objects = Vec::new();
    let mut folders = vec![prefix.clone()];
    while let Some(folder) = folders.pop() {
        let mut listed = directory(&folder)?;
        objects.append(&mut listed.objects);
        folders.append(&mut listed.common_prefixes);
    }
    Ok(objects)
}

/// The objects and folders directly in a folder; nothing when it does not exist.
pub(super) fn directory(prefix: &Path) -> Result<ListResult> {
    let path = file_path(prefix);
    let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
    let entries = match std::fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(result);
        }
        Err(e) => return Err(io_error(&path, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| io_error(&path, e))?;
        let name = entry.file_name();
        // What is not UTF-8, or holds control characters, is no name of ours nor of any engine.
        let Some(name) = name.to_str().filter(|name| !name.starts_with(TEMPORARY_PREFIX)) else { continue };
        let full = if prefix.is_root() { name.to_owned() } else { format!("{prefix}/{name}") };
        let Ok(location) = Path::parse(full) else { continue };
        let kind = entry.file_type().map_err(|e| io_error(&entry.path(), e))?;
        if kind.is_dir() {
            result.common_prefixes.push(location);
            continue;
        }
        match std::fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_file() => result.objects.push(meta(location, &metadata)),
            // A link to a folder is not followed: it could lead round in a circle.
            Ok(_) => {}
            // Gone since the folder was read.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_error(&entry.path(), e)),
        }
    }
    Ok(result)
}
