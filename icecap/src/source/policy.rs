//! Which paths sources may read.

use std::path::{Component, Path, PathBuf};

use icecap_table::location::Location;
use icecap_table::{Error, Result};

use super::remote::is_remote;

/// Where `read_parquet` and `read_csv` may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourcePolicy {
    /// Directories, or files, that a path must be below; anywhere when absent.
    pub allow_read: Option<Vec<String>>,
}

impl SourcePolicy {
    /// Refuses a path as it was written: nothing is looked up, so that a refusal tells nothing of the disk.
    ///
    /// # Errors
    /// `Denied`.
    pub(super) fn check_written(&self, path: &Path) -> Result<()> {
        let Some(prefixes) = &self.allow_read else { return Ok(()) };
        let path = without_dots(path);
        let allowed = local(prefixes).any(|prefix| {
            let written = without_dots(&super::files::absolute(prefix));
            path.starts_with(&written) || path.starts_with(real(prefix))
        });
        if allowed { Ok(()) } else { Err(denied(&path)) }
    }

    /// Refuses a file whose real path, links resolved, is not below a prefix.
    ///
    /// # Errors
    /// `Denied`.
    pub(super) fn check_real(&self, path: &Path) -> Result<()> {
        let Some(prefixes) = &self.allow_read else { return Ok(()) };
        if local(prefixes).any(|prefix| path.starts_with(real(prefix))) { Ok(()) } else { Err(denied(path)) }
    }

    /// Refuses a file by the location that it was listed with.
    ///
    /// # Errors
    /// `Denied`; `Invalid` for what is no location.
    pub(crate) fn check_file(&self, location: &str) -> Result<()> {
        if self.allow_read.is_none() {
            return Ok(());
        }
        let parsed = Location::parse(location)?;
        if parsed.scheme() != "file" {
            return self.check_location(&parsed);
        }
        // It was the real path when it was listed; what it leads to now counts.
        let path = Path::new(parsed.path());
        self.check_real(&std::fs::canonicalize(path).unwrap_or_else(|_| without_dots(path)))
    }

    /// Refuses a remote location that is not at or below a prefix.
    ///
    /// # Errors
    /// `Denied`.
    pub(super) fn check_location(&self, location: &Location) -> Result<()> {
        let Some(prefixes) = &self.allow_read else { return Ok(()) };
        let allowed = prefixes.iter().filter(|prefix| is_remote(prefix)).any(|prefix| {
            Location::parse(prefix)
                .is_ok_and(|prefix| location.to_uri() == prefix.to_uri() || location.is_below(&prefix))
        });
        if allowed { Ok(()) } else { Err(denied(Path::new(&location.to_uri()))) }
    }
}

/// The prefixes that are paths.
fn local(prefixes: &[String]) -> impl Iterator<Item = &String> {
    prefixes.iter().filter(|prefix| !is_remote(prefix))
}

fn real(prefix: &str) -> PathBuf {
    let path = super::files::absolute(prefix);
    std::fs::canonicalize(&path).unwrap_or(path)
}

fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

fn denied(path: &Path) -> Error {
    Error::denied("reading this path is not allowed: --allow-read PREFIX allows it")
        .with("path", path.display().to_string())
}
