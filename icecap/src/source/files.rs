//! From paths, globs and directories to a list of files.

use std::path::{Path, PathBuf};

use icecap_table::storage::Storage;
use icecap_table::{Error, Result, location};

use super::policy::SourcePolicy;
use super::{hive, remote};

/// No source is read from more files than this.
const MAX_FILES: usize = 1_000_000;
/// How patterns match, locally and elsewhere.
pub(super) const GLOB: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};
/// No directory is followed deeper than this.
const MAX_DEPTH: usize = 64;

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its location, a URI; of a local file that of its real path.
    pub(super) location: String,
    /// Its length.
    pub(super) size: u64,
    /// Names and values of the Hive-style folders that it lies in, below the directory or the fixed part of the
    /// glob that was given.
    pub(super) folders: Vec<(String, String)>,
}

impl Listed {
    /// Its name, for messages.
    pub(super) fn name(&self) -> &str {
        shown(&self.location)
    }
}

/// A location as a user would write it: local ones as paths.
pub(super) fn shown(location: &str) -> &str {
    location.strip_prefix("file://").unwrap_or(location)
}

/// The files of `patterns`, each pattern's in order of name; a directory gives those below it that end in one
/// of `suffixes`.
///
/// # Errors
/// `NotFound` when a pattern gives no file, `Denied` by the policy, `Unsupported` for another scheme.
pub(super) async fn list(
    patterns: &[String],
    suffixes: &[&'static str],
    policy: &SourcePolicy,
    storage: &Storage,
) -> Result<Vec<Listed>> {
    let mut files = Vec::new();
    for pattern in patterns {
        if remote::is_remote(pattern) {
            remote::expand(pattern, suffixes, policy, storage, &mut files).await?;
            continue;
        }
        let (pattern, policy, suffixes) = (pattern.clone(), policy.clone(), suffixes.to_vec());
        let listed = tokio::task::spawn_blocking(move || {
            expand(&pattern, &suffixes, &policy, &mut files)?;
            Ok::<_, Error>(files)
        });
        files = listed.await.map_err(|error| Error::bug("listing files failed").with_source(error))??;
    }
    Ok(files)
}

/// A path as written, or as a `file:` URI, made absolute.
pub(super) fn absolute(written: &str) -> PathBuf {
    let path = match written.strip_prefix("file://") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => written.strip_prefix("file:").unwrap_or(written),
    };
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))
}

fn expand(pattern: &str, suffixes: &[&str], policy: &SourcePolicy, files: &mut Vec<Listed>) -> Result<()> {
    let path = absolute(pattern);
    policy.check_written(fixed_part(&path))?;
    if std::fs::symlink_metadata(&path).is_ok() {
        return add(&path, suffixes, policy, files, pattern, Vec::new());
    }
    if !has_wildcard(&path) {
        return Err(Error::not_found("no such file or directory").with("path", pattern));
    }
    let text = path.to_str().ok_or_else(|| Error::invalid("a path is not UTF-8").with("path", pattern))?;
    let found = glob::glob_with(text, GLOB)
        .map_err(|error| Error::invalid(format!("not a glob pattern: {error}")).with("path", pattern))?;
    let before = files.len();
    for entry in found {
        let entry = entry.map_err(|error| unreadable(error.path(), error.error()))?;
        // Names that begin with _ are bookkeeping of whoever wrote the folder, unless the pattern asks for them.
        let bookkeeping =
            |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_'));
        if entry.is_file() && (bookkeeping(&path) || !bookkeeping(&entry)) {
            let below = entry.strip_prefix(fixed_part(&path)).ok().and_then(Path::parent);
            add(&entry, suffixes, policy, files, pattern, folders_of(below))?;
        }
    }
    if files.len() == before {
        return Err(Error::not_found("no file matches").with("path", pattern));
    }
    Ok(())
}

/// The Hive-style folders of a path.
fn folders_of(path: Option<&Path>) -> Vec<(String, String)> {
    let names = path.into_iter().flat_map(Path::components);
    names.filter_map(|name| hive::folder(&name.as_os_str().to_string_lossy())).collect()
}

fn has_wildcard(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

/// The longest beginning of a path that has no wildcard.
fn fixed_part(path: &Path) -> &Path {
    path.ancestors().find(|part| !has_wildcard(part)).unwrap_or(path)
}

fn add(
    path: &Path,
    suffixes: &[&str],
    policy: &SourcePolicy,
    files: &mut Vec<Listed>,
    pattern: &str,
    folders: Vec<(String, String)>,
) -> Result<()> {
    let real = std::fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
    policy.check_real(&real)?;
    let meta = std::fs::metadata(&real).map_err(|error| unreadable(&real, &error))?;
    if !meta.is_dir() {
        return push(Listed { location: location_of(&real)?, size: meta.len(), folders }, files);
    }
    let before = files.len();
    directory(&real, suffixes, policy, files, &mut Vec::new())?;
    if files.len() == before {
        return Err(Error::not_found(format!(
            "no file in the directory ends in .{}",
            suffixes.join(" or .")
        ))
        .with("path", pattern));
    }
    Ok(())
}

fn location_of(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| {
        Error::invalid("a file's path is not UTF-8").with("path", path.display().to_string())
    })?;
    location::to_location(text)
}

pub(super) fn push(file: Listed, files: &mut Vec<Listed>) -> Result<()> {
    if files.len() >= MAX_FILES {
        return Err(Error::exhausted(format!("more than {MAX_FILES} files to read")));
    }
    files.push(file);
    Ok(())
}

/// The files below a directory, in order of name. Names that begin with `.` or `_` are not data.
fn directory(
    path: &Path,
    suffixes: &[&str],
    policy: &SourcePolicy,
    files: &mut Vec<Listed>,
    folders: &mut Vec<String>,
) -> Result<()> {
    if folders.len() > MAX_DEPTH {
        return Err(Error::invalid(format!("directories are nested deeper than {MAX_DEPTH}"))
            .with("path", path.display().to_string()));
    }
    let mut entries = std::fs::read_dir(path)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(|error| unreadable(path, &error))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(['.', '_']) {
            continue;
        }
        let path = entry.path();
        let meta = std::fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if meta.is_dir() {
            folders.push(name.into_owned());
            directory(&path, suffixes, policy, files, folders)?;
            folders.pop();
        } else if suffixes.iter().any(|suffix| name.ends_with(&format!(".{suffix}"))) {
            let real = std::fs::canonicalize(&path).map_err(|error| unreadable(&path, &error))?;
            policy.check_real(&real)?;
            let folders = folders.iter().filter_map(|name| hive::folder(name)).collect();
            push(Listed { location: location_of(&real)?, size: meta.len(), folders }, files)?;
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let named = |error: Error| error.with("path", path.display().to_string());
    match error.kind() {
        std::io::ErrorKind::NotFound => named(Error::not_found("no such file or directory")),
        std::io::ErrorKind::PermissionDenied => named(Error::denied("the path may not be read")),
        _ => named(Error::unavailable(format!("the path cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use icecap_table::ErrorKind;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "c.csv.gz", "d.txt", ".e.csv", "_f.csv", "sub/g.csv"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        dir
    }

    async fn names(pattern: &str, policy: &SourcePolicy) -> Result<Vec<String>> {
        let files = list(&[pattern.to_owned()], &["csv", "csv.gz"], policy, &Storage::local()).await?;
        Ok(files.iter().map(|f| f.name().rsplit('/').next().unwrap().to_owned()).collect())
    }

    #[tokio::test]
    async fn paths_globs_directories_and_uris_give_files_in_order() {
        let dir = tree();
        let root = dir.path().to_str().unwrap();
        let free = SourcePolicy::default();
        assert_eq!(names(&format!("{root}/a.csv"), &free).await.unwrap(), ["a.csv"]);
        assert_eq!(names(&format!("file://{root}/d.txt"), &free).await.unwrap(), ["d.txt"]);
        assert_eq!(names(&format!("{root}/*.csv"), &free).await.unwrap(), ["a.csv", "b.csv"]);
        assert_eq!(names(&format!("{root}/**/*.csv"), &free).await.unwrap(), ["a.csv", "b.csv", "g.csv"]);
        assert_eq!(names(&format!("{root}/_*.csv"), &free).await.unwrap(), ["_f.csv"]);
        assert_eq!(names(root, &free).await.unwrap(), ["a.csv", "b.csv", "c.csv.gz", "g.csv"]);
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found() {
        let dir = tree();
        let root = dir.path().to_str().unwrap();
        let free = SourcePolicy::default();
        for pattern in [format!("{root}/x.csv"), format!("{root}/*.parquet")] {
            assert_eq!(names(&pattern, &free).await.unwrap_err().kind(), ErrorKind::NotFound);
        }
        assert_eq!(names("s3://bucket/a.csv", &free).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_policy_holds_through_dots_and_links_and_tells_nothing() {
        let dir = tree();
        let root = dir.path().canonicalize().unwrap();
        let sub = root.join("sub");
        std::os::unix::fs::symlink(root.join("a.csv"), sub.join("link.csv")).unwrap();
        let policy = SourcePolicy { allow_read: Some(vec![sub.to_str().unwrap().to_owned()]) };
        let sub = sub.display();
        assert_eq!(names(&format!("{sub}/g.csv"), &policy).await.unwrap(), ["g.csv"]);
        for denied in [
            format!("{}/a.csv", root.display()),
            format!("{}/not-there.csv", root.display()),
            format!("{sub}/../a.csv"),
            format!("{sub}/link.csv"),
            format!("{}/*.csv", root.display()),
            format!("{sub}x/*.csv"),
        ] {
            assert_eq!(names(&denied, &policy).await.unwrap_err().kind(), ErrorKind::Denied, "{denied}");
        }
    }
}
