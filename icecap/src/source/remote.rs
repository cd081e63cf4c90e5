//! From `s3://` locations, globs and folders of them to a list of files, by the rules for local ones.
//!
//! A remote store has keys and no directories: a folder is what keys have in common up to a slash, and one
//! listing of the part before the first wildcard finds all there is below.

use futures::TryStreamExt;
use icecap_table::location::Location;
use icecap_table::storage::{Storage, store_error};
use icecap_table::{Error, Result};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::files::{GLOB, Listed, push};
use super::hive;
use super::policy::SourcePolicy;

/// Whether what was written is a location of another scheme than `file`.
pub(super) fn is_remote(written: &str) -> bool {
    written.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.eq_ignore_ascii_case("file")
            && scheme.len() > 1
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

/// Adds the files of a location or a pattern of them, in order of name; a folder gives those below it that end in
/// one of `suffixes`.
///
/// # Errors
/// `NotFound` when there is no file, `Denied` by the policy, `Unsupported` for a scheme that is not served.
pub(super) async fn expand(
    pattern: &str,
    suffixes: &[&str],
    policy: &SourcePolicy,
    storage: &Storage,
    files: &mut Vec<Listed>,
) -> Result<()> {
    let written = Location::parse(pattern)?;
    let key = written.path().trim_matches('/');
    let fixed = fixed_part(key);
    let at = |key: &str| format!("{}/{key}", written.root());
    policy.check_location(&Location::parse(&at(fixed))?)?;
    let (store, folder) = storage.object_store(&at(fixed))?;
    let found = Found { root: written.root(), suffixes };
    if fixed != key {
        let matches = glob::Pattern::new(key)
            .map_err(|error| Error::invalid(format!("not a glob pattern: {error}")).with("path", pattern))?;
        let asks_for_bookkeeping = is_bookkeeping(file_name(key));
        let all = list(store.as_ref(), &folder, pattern).await?;
        let before = files.len();
        for object in all {
            let key = object.location.as_ref();
            if matches.matches_with(key, GLOB) && (asks_for_bookkeeping || !is_bookkeeping(file_name(key))) {
                push(found.listed(&object, fixed), files)?;
            }
        }
        return match files.len() == before {
            true => Err(Error::not_found("no file matches").with("path", pattern)),
            false => Ok(()),
        };
    }
    if !key.is_empty() && !written.path().ends_with('/') {
        match store.head(&folder).await {
            Ok(object) => {
                let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
                let mut file = found.listed(&object, folder);
                file.folders.clear();
                return push(file, files);
            }
            // Perhaps a folder, which is no object.
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(store_error("look up", pattern, error)),
        }
    }
    let all = list(store.as_ref(), &folder, pattern).await?;
    if all.is_empty() {
        return Err(Error::not_found("no such file or directory").with("path", pattern));
    }
    let before = files.len();
    for object in all.iter().filter(|object| found.is_data(object, key)) {
        push(found.listed(object, key), files)?;
    }
    if files.len() == before {
        return Err(Error::not_found(format!(
            "no file in the directory ends in .{}",
            suffixes.join(" or .")
        ))
        .with("path", pattern));
    }
    Ok(())
}

struct Found<'a> {
    root: String,
    suffixes: &'a [&'a str],
}

impl Found<'_> {
    /// An object, with the Hive-style folders that it lies in below `folder`.
    fn listed(&self, object: &ObjectMeta, folder: &str) -> Listed {
        let key = object.location.as_ref();
        let below = below(key, folder);
        let folders = below.rsplit_once('/').map_or("", |(folders, _)| folders);
        Listed {
            location: format!("{}/{key}", self.root),
            size: object.size,
            folders: folders.split('/').filter_map(hive::folder).collect(),
        }
    }

    /// Whether an object in a folder is data: no part of its name below it begins with `.` or `_`, and it ends as it
    /// should.
    fn is_data(&self, object: &ObjectMeta, folder: &str) -> bool {
        let key = object.location.as_ref();
        !below(key, folder).split('/').any(|part| part.starts_with(['.', '_']))
            && self.suffixes.iter().any(|suffix| key.ends_with(&format!(".{suffix}")))
    }
}

fn below<'a>(key: &'a str, folder: &str) -> &'a str {
    key.strip_prefix(folder).unwrap_or(key).trim_start_matches('/')
}

fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// Names that begin with `_` are bookkeeping of whoever wrote the folder.
fn is_bookkeeping(name: &str) -> bool {
    name.starts_with('_')
}

/// The longest folder of a key that has no wildcard; the whole key when it has none.
fn fixed_part(key: &str) -> &str {
    match key.find(['*', '?', '[']) {
        Some(at) => key[..at].rsplit_once('/').map_or("", |(folder, _)| folder),
        None => key,
    }
}

/// The objects below a folder, as a walk through directories in order of name would meet them.
async fn list(store: &dyn ObjectStore, folder: &ObjectPath, pattern: &str) -> Result<Vec<ObjectMeta>> {
    let folder = (!folder.as_ref().is_empty()).then_some(folder);
    let mut objects: Vec<ObjectMeta> =
        store.list(folder).try_collect().await.map_err(|error| store_error("list", pattern, error))?;
    objects.sort_by(|a, b| a.location.as_ref().split('/').cmp(b.location.as_ref().split('/')));
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use icecap_table::ErrorKind;
    use object_store::memory::InMemory;

    use super::super::files;
    use super::*;

    async fn storage() -> Storage {
        let store = InMemory::new();
        for key in [
            "d/b.csv",
            "d/a.csv",
            "d/c.csv.gz",
            "d/d.txt",
            "d/.e.csv",
            "d/_f.csv",
            "d/sub/g.csv",
            "d/sub-x.csv",
            "h/y=1/a.csv",
            "h/y=2/_temporary/b.csv",
            "h/y=2/k=a%2Fb/c.csv",
            "plain",
        ] {
            store.put(&ObjectPath::parse(key).unwrap(), key.as_bytes().to_vec().into()).await.unwrap();
        }
        Storage::local().with_store("s3://lake", Arc::new(store))
    }

    async fn listed(pattern: &str, allow: Option<&str>) -> Result<Vec<Listed>> {
        let policy = SourcePolicy { allow_read: allow.map(|prefix| vec!["/tmp".into(), prefix.into()]) };
        files::list(&[pattern.to_owned()], &["csv", "csv.gz"], &policy, &storage().await).await
    }

    async fn names(pattern: &str) -> Vec<String> {
        let files = listed(pattern, None).await.unwrap();
        files.iter().map(|file| file.location.strip_prefix("s3://lake/").unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn keys_globs_and_folders_give_files_in_order() {
        assert_eq!(names("s3://lake/d/d.txt").await, ["d/d.txt"]);
        assert_eq!(names("s3a://lake/plain").await, ["plain"]);
        assert_eq!(names("s3://lake/d/*.csv").await, ["d/a.csv", "d/b.csv", "d/sub-x.csv"]);
        let all = ["d/a.csv", "d/b.csv", "d/c.csv.gz", "d/sub/g.csv", "d/sub-x.csv"];
        assert_eq!(names("s3://lake/d/**/*.csv*").await, all);
        assert_eq!(names("s3://lake/d/_*.csv").await, ["d/_f.csv"]);
        for folder in ["s3://lake/d", "s3://lake/d/"] {
            assert_eq!(names(folder).await, all);
        }
        assert_eq!(names("s3://lake/*/*/g.csv").await, ["d/sub/g.csv"]);
    }

    #[tokio::test]
    async fn folders_below_the_fixed_part_are_columns() {
        let files = listed("s3://lake/h", None).await.unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(files[0].folders, [pair("y", "1")]);
        assert_eq!(files[1].folders, [pair("y", "2"), pair("k", "a/b")]);
        assert_eq!(files.len(), 2);
        assert_eq!(listed("s3://lake/h/y=1/*.csv", None).await.unwrap()[0].folders, []);
    }

    #[tokio::test]
    async fn the_policy_holds_and_what_is_not_there_is_not_found() {
        for pattern in ["s3://lake/none", "s3://lake/d/*.parquet", "s3://lake/d/x.csv"] {
            assert_eq!(listed(pattern, None).await.unwrap_err().kind(), ErrorKind::NotFound, "{pattern}");
        }
        assert_eq!(listed("s3://other/d", None).await.unwrap_err().kind(), ErrorKind::Unsupported);
        let allowed = Some("s3://lake/d/");
        assert_eq!(listed("s3://lake/d", allowed).await.unwrap().len(), 5);
        assert_eq!(listed("s3://lake/d/sub/*", allowed).await.unwrap().len(), 1);
        for pattern in
            ["s3://lake/*", "s3://lake/plain", "s3://lake/d*", "s3://lake/dd/x", "s3://d/d", "/etc"]
        {
            assert_eq!(listed(pattern, allowed).await.unwrap_err().kind(), ErrorKind::Denied, "{pattern}");
        }
    }
}
