//! Where things are stored: the spellings of a location, its one validator, and the locations of new tables.
//!
//! A location is a URI (`file:///…`, `s3://…`) whose path is raw bytes: nothing here encodes or decodes a
//! percent sign. Other engines also write `file:/path` and `/path`; they are understood and compared as the
//! canonical spelling, but a location that came from a table is never rewritten in its metadata.

use std::path::Path;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::id::TableIdent;

/// The longest name, in bytes, that one level of a table's location takes from an identifier.
const LEVEL_BYTES: usize = 120;

/// A location taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    scheme: String,
    authority: String,
    path: String,
}

impl Location {
    /// Reads a URI, or an absolute path, as one of the engines spells it.
    ///
    /// # Errors
    /// `Invalid` for a relative path, a missing bucket, or a `file:` URI that names a host.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::invalid(format!("location {why}")).with("location", text);
        let Some((scheme, rest)) = split_scheme(text) else {
            if text.starts_with('/') {
                return Ok(Self::file(text));
            }
            return Err(invalid("is neither a URI nor an absolute path"));
        };
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "file" {
            let path = match rest.strip_prefix("//") {
                Some(after) => {
                    after.strip_prefix("localhost").filter(|p| p.starts_with('/')).unwrap_or(after)
                }
                None => rest,
            };
            if !path.starts_with('/') {
                return Err(invalid("names a host or a relative path: write file:///absolute/path"));
            }
            return Ok(Self::file(path));
        }
        let Some(after) = rest.strip_prefix("//") else {
            return Err(invalid("is not of the form scheme://bucket/path"));
        };
        let (authority, path) = match after.find('/') {
            Some(at) => after.split_at(at),
            None => (after, ""),
        };
        if authority.is_empty() {
            return Err(invalid("has no bucket"));
        }
        // Hadoop's names for the same objects.
        let scheme = if matches!(scheme.as_str(), "s3a" | "s3n") { "s3".to_owned() } else { scheme };
        Ok(Self { scheme, authority: authority.to_owned(), path: path.to_owned() })
    }

    fn file(path: &str) -> Self {
        Self { scheme: "file".into(), authority: String::new(), path: squeezed(path) }
    }

    /// The scheme, lower-case (`file`, `s3`).
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The bucket; empty for files.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The raw path, beginning with a slash unless empty.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Scheme and bucket (`s3://bucket`), or `file://`.
    pub fn root(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// The canonical spelling, without a trailing slash.
    pub fn to_uri(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.path.trim_end_matches('/'))
    }

    /// Whether this lies strictly below `parent`, whole path segments compared.
    pub fn is_below(&self, parent: &Self) -> bool {
        self.scheme == parent.scheme
            && self.authority == parent.authority
            && self
                .path
                .trim_end_matches('/')
                .strip_prefix(parent.path.trim_end_matches('/'))
                .is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
    }

    /// Refuses what no location of a table may contain.
    ///
    /// # Errors
    /// `Invalid` for `.`, `..` and empty segments (also behind percent signs, which other readers decode),
    /// for `* ? $ { }`, which become wildcards and variables in access policies, for backslashes and for
    /// control characters.
    pub fn check_characters(&self) -> Result<()> {
        let whole = [self.authority.as_str(), self.path.as_str()];
        if whole.iter().any(|part| part.chars().any(char::is_control)) {
            return self.refuse("a control character");
        }
        if let Some(bad) = whole
            .iter()
            .flat_map(|part| part.chars())
            .find(|c| matches!(c, '*' | '?' | '$' | '{' | '}' | '\\'))
        {
            return self.refuse(&format!("'{bad}'"));
        }
        if self.authority.contains(['@', ':', '%', '#']) || self.authority.starts_with('.') {
            return self.refuse("credentials, a port or an escape in its bucket");
        }
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        let path = path.strip_suffix('/').unwrap_or(path);
        if !path.is_empty() && path.split('/').any(str::is_empty) {
            return self.refuse("an empty segment");
        }
        self.check_segments()
    }

    /// Refuses what leads out of a folder.
    fn check_segments(&self) -> Result<()> {
        for segment in self.path.split('/') {
            let decoded = decoded(segment);
            if decoded.contains('\0') {
                return self.refuse("an escaped NUL");
            }
            if decoded.split(['/', '\\']).any(|part| part == "." || part == "..") {
                return self.refuse("a '.' or '..' segment");
            }
        }
        Ok(())
    }

    fn refuse(&self, what: &str) -> Result<()> {
        Err(Error::invalid(format!("location contains {what}, which is not allowed"))
            .with("location", self.to_uri().escape_debug().to_string()))
    }
}

/// `(scheme, rest)` of a URI; a single letter before the colon is no scheme.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let mut letters = scheme.bytes();
    let first_is_letter = letters.next().is_some_and(|b| b.is_ascii_alphabetic());
    let is_scheme = first_is_letter
        && scheme.len() > 1
        && letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    is_scheme.then_some((scheme, rest))
}

/// A file path without doubled slashes: on a disk they mean one.
fn squeezed(path: &str) -> String {
    let mut squeezed = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !squeezed.ends_with('/') {
            squeezed.push(c);
        }
    }
    squeezed
}

/// A segment with its percent escapes resolved until nothing changes; only for looking at, never for use.
fn decoded(segment: &str) -> String {
    let mut bytes = segment.as_bytes().to_vec();
    // Three rounds see through the nesting that real servers undo; each shortens, so this ends.
    for _ in 0..3 {
        let mut next = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let escaped = (bytes[at] == b'%')
                .then(|| bytes.get(at + 1..at + 3))
                .flatten()
                .and_then(|hex| std::str::from_utf8(hex).ok())
                .and_then(|hex| u8::from_str_radix(hex, 16).ok());
            next.push(escaped.unwrap_or(bytes[at]));
            at += if escaped.is_some() { 3 } else { 1 };
        }
        if next == bytes {
            break;
        }
        bytes = next;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The canonical location of a URI or of a path as a user types it: relative paths are taken from the
/// current directory, `.` and `..` of a plain path are resolved without looking at the disk.
///
/// # Errors
/// `Invalid` when it is neither.
pub fn to_location(path_or_uri: &str) -> Result<String> {
    if path_or_uri.is_empty() {
        return Err(Error::invalid("location is empty"));
    }
    let is_uri = split_scheme(path_or_uri)
        .is_some_and(|(scheme, rest)| rest.starts_with("//") || scheme.eq_ignore_ascii_case("file"));
    if is_uri {
        return Ok(Location::parse(path_or_uri)?.to_uri());
    }
    let absolute = std::path::absolute(Path::new(path_or_uri)).map_err(|e| {
        Error::invalid("path cannot be made absolute").with("path", path_or_uri).with_source(e)
    })?;
    let text =
        absolute.to_str().ok_or_else(|| Error::invalid("path is not UTF-8").with("path", path_or_uri))?;
    let mut kept: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    Ok(format!("file:///{}", kept.join("/")))
}

/// Joins a location and a relative path with exactly one slash.
pub fn join(location: &str, relative: &str) -> String {
    format!("{}/{}", location.trim_end_matches('/'), relative.trim_start_matches('/'))
}

/// Where tables and files may lie: below the warehouse, or below a prefix that was allowed by hand.
#[derive(Debug, Clone)]
pub struct Policy {
    warehouse: Location,
    allowed: Vec<Location>,
}

impl Policy {
    /// Makes the policy of a warehouse and of the prefixes allowed with `--allow-location`.
    ///
    /// # Errors
    /// `Invalid` when one of them is no location.
    pub fn new(warehouse: &str, allowed: &[String]) -> Result<Self> {
        let allowed =
            allowed.iter().map(|prefix| Location::parse(&to_location(prefix)?)).collect::<Result<_>>()?;
        Ok(Self { warehouse: Location::parse(&to_location(warehouse)?)?, allowed })
    }

    /// The warehouse's canonical location.
    pub fn warehouse(&self) -> String {
        self.warehouse.to_uri()
    }

    /// The canonical locations of the prefixes that are allowed beside it.
    pub fn allowed(&self) -> Vec<String> {
        self.allowed.iter().map(Location::to_uri).collect()
    }

    /// The one validator of every location and path: of tables, of `write.data.path` and its like, of
    /// registered metadata files, of staged files.
    ///
    /// # Errors
    /// `Invalid` when it is no location or contains what none may contain; `Denied` when it lies elsewhere.
    pub fn check(&self, location: &str) -> Result<()> {
        let parsed = Location::parse(location)?;
        parsed.check_characters()?;
        self.check_place(&parsed, location)
    }

    /// As [`check`](Self::check), of a file that a table's metadata names and that is only read: other engines may
    /// have put characters into its name that ours may not have.
    ///
    /// # Errors
    /// `Invalid` when it is no location or leads out of a folder; `Denied` when it lies elsewhere.
    pub fn check_readable(&self, location: &str) -> Result<()> {
        let parsed = Location::parse(location)?;
        parsed.check_segments()?;
        self.check_place(&parsed, location)
    }

    fn check_place(&self, parsed: &Location, location: &str) -> Result<()> {
        let below_allowed = self.allowed.iter().any(|prefix| parsed == prefix || parsed.is_below(prefix));
        if parsed.is_below(&self.warehouse) || below_allowed {
            return Ok(());
        }
        Err(Error::denied(
            "location is outside the warehouse: allow it with --allow-location PREFIX, or choose one below it",
        )
        .with("location", location)
        .with("warehouse", self.warehouse.to_uri()))
    }
}

/// The location of a new table: `<warehouse>/<namespace levels>/<table>-<uuid8>`.
///
/// Bytes of names outside `[a-z0-9_-]` become `_`. The eight hexadecimal digits are the UUID's last ones,
/// which are random in every version, so a table made again under its old name never meets its old files.
pub fn table_location(warehouse: &str, ident: &TableIdent, uuid: Uuid) -> String {
    let mut location = warehouse.trim_end_matches('/').to_owned();
    for level in &ident.namespace {
        location.push('/');
        location.push_str(&level_name(level));
    }
    let digits = uuid.simple().to_string();
    format!("{location}/{}-{}", level_name(&ident.name), &digits[digits.len() - 8..])
}

fn level_name(name: &str) -> String {
    let folder: String = name
        .to_lowercase()
        .bytes()
        .take(LEVEL_BYTES)
        .map(|b| {
            if b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-') {
                char::from(b)
            } else {
                '_'
            }
        })
        .collect();
    if folder.is_empty() { "_".to_owned() } else { folder }
}

#[cfg(test)]
mod tests;
