//! Where SQL text comes from: `-e`, `-f` and standard input, in the order given.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use icecap_table::{Error, Result};

/// One place that SQL is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The text itself (`-e`).
    Inline(String),
    /// A file (`-f`).
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// Reads every source, in order; nothing has run yet when one cannot be read.
///
/// # Errors
/// `NotFound`, `Denied` or `Unavailable` when a file cannot be read, `Invalid` when it is not UTF-8.
pub fn read(sources: &[Source], stdin: &mut dyn Read) -> Result<Vec<String>> {
    sources
        .iter()
        .map(|source| match source {
            Source::Inline(text) => Ok(text.clone()),
            Source::File(path) => {
                let name = path.display().to_string();
                let bytes = fs::read(path).map_err(|error| unreadable(&name, error))?;
                decode(bytes, &name)
            }
            Source::Stdin => {
                let mut bytes = Vec::new();
                stdin.read_to_end(&mut bytes).map_err(|error| unreadable("standard input", error))?;
                decode(bytes, "standard input")
            }
        })
        .collect()
}

fn unreadable(name: &str, error: io::Error) -> Error {
    let message = format!("cannot read SQL from {name}");
    match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(message),
        io::ErrorKind::PermissionDenied => Error::denied(message),
        io::ErrorKind::IsADirectory => Error::invalid(message),
        _ => Error::unavailable(message),
    }
    .with_source(error)
}

fn decode(bytes: Vec<u8>, name: &str) -> Result<String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid(format!("the SQL in {name} is not UTF-8 (byte {at}): save it as UTF-8"))
    })?;
    // Editors on Windows begin a file with a byte order mark; it is not SQL.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use icecap_table::ErrorKind;

    use super::*;

    #[test]
    fn sources_are_read_in_the_order_given() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.sql");
        fs::write(&file, "\u{feff}SELECT 2").unwrap();
        let sources = [Source::Inline("SELECT 1".into()), Source::File(file), Source::Stdin];
        assert_eq!(read(&sources, &mut "SELECT 3".as_bytes()).unwrap(), ["SELECT 1", "SELECT 2", "SELECT 3"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(&[Source::File("/nowhere/a.sql".into())], &mut io::empty()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().starts_with("cannot read SQL from /nowhere/a.sql: "), "{error}");
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let error = read(&[Source::Stdin], &mut &b"SELECT '\xff'"[..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), "the SQL in standard input is not UTF-8 (byte 8): save it as UTF-8");
    }
}
