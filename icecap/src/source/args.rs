//! The arguments of `read_parquet`, `read_csv` and `read_json`.

use icecap_table::{Error, Result};

use super::csv::CsvOptions;
use super::files::Listed;
use super::hive;
use super::json::JsonOptions;
use crate::sql::Value;

type Argument = (Option<String>, Value);

/// Which files, common to all functions.
#[derive(Debug, PartialEq)]
pub(super) struct Files {
    pub(super) paths: Vec<String>,
    /// Whether `name=value` folders are columns.
    hive_partitioning: bool,
}

impl Files {
    /// The columns of the files' folders.
    ///
    /// # Errors
    /// As [`hive::columns`].
    pub(super) fn folders(&self, files: &[Listed]) -> Result<hive::Folders> {
        if self.hive_partitioning { hive::columns(files) } else { Ok(hive::Folders::default()) }
    }
}

/// The arguments of `read_parquet(path, union_by_name => …, hive_partitioning => …)`.
#[derive(Debug, PartialEq)]
pub(super) struct ReadParquet {
    pub(super) files: Files,
    pub(super) union_by_name: bool,
}

impl ReadParquet {
    pub(super) fn parse(args: &[Argument]) -> Result<Self> {
        let (files, given) = split("read_parquet", args)?;
        let mut union_by_name = false;
        for (name, value) in given {
            match (name, value) {
                ("union_by_name", Value::Boolean(value)) => union_by_name = *value,
                ("union_by_name", _) => return Err(no_boolean("read_parquet", name)),
                _ => return Err(unknown("read_parquet", name, "union_by_name, hive_partitioning")),
            }
        }
        Ok(Self { files, union_by_name })
    }
}

/// The arguments of `read_json(path, columns => …, sample => …)`.
#[derive(Debug, PartialEq)]
pub(super) struct ReadJson {
    pub(super) files: Files,
    pub(super) options: JsonOptions,
    /// The columns, as SQL.
    pub(super) columns: Option<String>,
}

impl ReadJson {
    pub(super) fn parse(args: &[Argument]) -> Result<Self> {
        const KNOWN: &str = "columns, sample, union_by_name, hive_partitioning";
        let (files, given) = split("read_json", args)?;
        let (mut options, mut columns) = (JsonOptions::default(), None);
        for (name, value) in given {
            match (name, value) {
                ("columns", Value::String(text)) => {
                    columns = Some(text.clone());
                    options.is_given = true;
                }
                ("sample", Value::Number(text)) => options.sample_rows = sample("read_json", text)?,
                // Fields always find their columns by name.
                ("union_by_name", Value::Boolean(_)) => {}
                ("columns" | "sample" | "union_by_name", _) => {
                    return Err(Error::invalid(format!(
                        "read_json: {name} has a value of the wrong kind: columns is a string as in \
                         'id bigint, name string', sample is a number, union_by_name a boolean"
                    )));
                }
                _ => return Err(unknown("read_json", name, KNOWN)),
            }
        }
        Ok(Self { files, options, columns })
    }
}

/// The arguments of `read_csv(path, header => …, delim => …, quote => …, null => …, sample => …)`.
#[derive(Debug, PartialEq)]
pub(super) struct ReadCsv {
    pub(super) files: Files,
    pub(super) options: CsvOptions,
}

impl ReadCsv {
    pub(super) fn parse(args: &[Argument]) -> Result<Self> {
        const KNOWN: &str = "header, delim, quote, null, sample, union_by_name, hive_partitioning";
        let (files, given) = split("read_csv", args)?;
        let mut options = CsvOptions::default();
        for (name, value) in given {
            match (name, value) {
                ("header", Value::Boolean(header)) => options.header = *header,
                ("delim", Value::String(text)) => options.delimiter = byte("delim", text)?,
                ("quote", Value::String(text)) => options.quote = byte("quote", text)?,
                ("null", Value::String(text)) => options.null.clone_from(text),
                ("sample", Value::Number(text)) => options.sample_rows = sample("read_csv", text)?,
                ("union_by_name", Value::Boolean(value)) => options.union_by_name = *value,
                ("header" | "delim" | "quote" | "null" | "sample" | "union_by_name", _) => {
                    return Err(Error::invalid(format!(
                        "read_csv: {name} has a value of the wrong kind: header and union_by_name are booleans, \
                         delim, quote and null are strings, sample is a number"
                    )));
                }
                (other, _) => return Err(unknown("read_csv", other, KNOWN)),
            }
        }
        if options.delimiter == options.quote {
            return Err(Error::invalid("read_csv: delim and quote are the same character"));
        }
        if options.union_by_name && !options.header {
            return Err(Error::invalid(
                "read_csv: union_by_name needs names, which files without a header lack",
            ));
        }
        Ok(Self { files, options })
    }
}

fn no_boolean(function: &str, name: &str) -> Error {
    Error::invalid(format!("{function}: {name} is true or false"))
}

/// Files, and the named arguments of the function's own.
type Split<'a> = (Files, Vec<(&'a str, &'a Value)>);

/// The paths, and the named arguments that remain, each given once.
fn split<'a>(function: &str, args: &'a [Argument]) -> Result<Split<'a>> {
    let mut paths = None;
    let mut named: Vec<(&str, &Value)> = Vec::new();
    for (name, value) in args {
        match name.as_deref() {
            None | Some("path") => {
                if paths.replace(path_list(function, value)?).is_some() {
                    return Err(Error::invalid(format!(
                        "{function} takes one path or list of paths: give options by name, as in header => true"
                    )));
                }
            }
            Some(name) if named.iter().any(|(known, _)| *known == name) => {
                return Err(Error::invalid(format!("{function}: {name} is given twice")));
            }
            Some(name) => named.push((name, value)),
        }
    }
    let paths =
        paths.ok_or_else(|| Error::invalid(format!("{function} needs a path: {function}('file')")))?;
    let mut hive_partitioning = true;
    if let Some(at) = named.iter().position(|(name, _)| *name == "hive_partitioning") {
        let Value::Boolean(value) = named.remove(at).1 else {
            return Err(no_boolean(function, "hive_partitioning"));
        };
        hive_partitioning = *value;
    }
    Ok((Files { paths, hive_partitioning }, named))
}

fn path_list(function: &str, value: &Value) -> Result<Vec<String>> {
    let wrong = || Error::invalid(format!("{function}: a path is a string, or a list of strings"));
    match value {
        Value::String(path) if !path.is_empty() => Ok(vec![path.clone()]),
        Value::List(paths) if !paths.is_empty() => paths
            .iter()
            .map(|path| match path {
                Value::String(path) if !path.is_empty() => Ok(path.clone()),
                _ => Err(wrong()),
            })
            .collect(),
        _ => Err(wrong()),
    }
}

fn unknown(function: &str, name: &str, known: &str) -> Error {
    Error::invalid(format!("{function} has no option {name}: its options are {known}"))
}

fn byte(option: &str, text: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        b"\\t" => Ok(b'\t'),
        _ => Err(Error::invalid(format!(
            "read_csv: {option} must be one ASCII character that does not end a line, not {text:?}"
        ))),
    }
}

fn sample(function: &str, text: &str) -> Result<Option<usize>> {
    match text {
        "-1" => Ok(None),
        _ => match text.parse() {
            Ok(rows) if rows > 0 => Ok(Some(rows)),
            _ => Err(Error::invalid(format!(
                "{function}: sample is a number of rows, or -1 for all of them, not {text}"
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, value: Value) -> Argument {
        (Some(name.to_owned()), value)
    }

    fn path(text: &str) -> Argument {
        (None, Value::String(text.to_owned()))
    }

    #[test]
    fn csv_options_are_read() {
        let args = [
            path("a.csv"),
            named("header", Value::Boolean(false)),
            named("delim", Value::String("\\t".into())),
            named("quote", Value::String("'".into())),
            named("null", Value::String("NA".into())),
            named("sample", Value::Number("-1".into())),
        ];
        let parsed = ReadCsv::parse(&args).unwrap();
        assert_eq!(parsed.files.paths, ["a.csv"]);
        let expected = CsvOptions {
            header: false,
            delimiter: b'\t',
            quote: b'\'',
            null: "NA".into(),
            sample_rows: None,
            union_by_name: false,
        };
        assert_eq!(parsed.options, expected);
    }

    #[test]
    fn wrong_arguments_are_invalid_and_say_which() {
        for (args, says) in [
            (vec![], "needs a path"),
            (vec![path("a"), path("b")], "one path"),
            (vec![path("a"), named("colour", Value::Null)], "no option colour"),
            (
                vec![path("a"), named("header", Value::String("x".into()))],
                "header and union_by_name are booleans",
            ),
            (vec![path("a"), named("delim", Value::String("||".into()))], "one ASCII character"),
            (vec![path("a"), named("delim", Value::String("\"".into()))], "the same character"),
            (vec![path("a"), named("sample", Value::Number("0".into()))], "number of rows"),
            (
                vec![path("a"), named("header", Value::Boolean(true)), named("header", Value::Boolean(true))],
                "given twice",
            ),
            (vec![(None, Value::Number("1".into()))], "a path is a string"),
        ] {
            let error = ReadCsv::parse(&args).unwrap_err();
            assert_eq!(error.kind(), icecap_table::ErrorKind::Invalid);
            assert!(error.to_string().contains(says), "{error}");
        }
        assert!(ReadParquet::parse(&[path("a"), named("header", Value::Null)]).is_err());
    }
}
