//! The arguments of `read_parquet` and `read_csv`.

use icecap_table::{Error, Result};

use super::csv::CsvOptions;
use crate::sql::Value;

type Argument = (Option<String>, Value);

/// The arguments of `read_parquet(path)`.
#[derive(Debug, PartialEq)]
pub(super) struct ReadParquet {
    pub(super) paths: Vec<String>,
}

impl ReadParquet {
    pub(super) fn parse(args: &[Argument]) -> Result<Self> {
        let (paths, options) = split("read_parquet", args)?;
        if let Some((name, _)) = options.first() {
            return Err(unknown("read_parquet", name, "none"));
        }
        Ok(Self { paths })
    }
}

/// The arguments of `read_csv(path, header => …, delim => …, quote => …, null => …, sample => …)`.
#[derive(Debug, PartialEq)]
pub(super) struct ReadCsv {
    pub(super) paths: Vec<String>,
    pub(super) options: CsvOptions,
}

impl ReadCsv {
    pub(super) fn parse(args: &[Argument]) -> Result<Self> {
        let (paths, given) = split("read_csv", args)?;
        let mut options = CsvOptions::default();
        for (name, value) in given {
            match (name, value) {
                ("header", Value::Boolean(header)) => options.header = *header,
                ("delim", Value::String(text)) => options.delimiter = byte("delim", text)?,
                ("quote", Value::String(text)) => options.quote = byte("quote", text)?,
                ("null", Value::String(text)) => options.null.clone_from(text),
                ("sample", Value::Number(text)) => options.sample_rows = sample(text)?,
                ("header" | "delim" | "quote" | "null" | "sample", _) => {
                    return Err(Error::invalid(format!(
                        "read_csv: {name} has a value of the wrong kind: header is a boolean, delim, quote and \
                         null are strings, sample is a number"
                    )));
                }
                (other, _) => return Err(unknown("read_csv", other, "header, delim, quote, null, sample")),
            }
        }
        if options.delimiter == options.quote {
            return Err(Error::invalid("read_csv: delim and quote are the same character"));
        }
        Ok(Self { paths, options })
    }
}

/// Paths, and the named arguments.
type Split<'a> = (Vec<String>, Vec<(&'a str, &'a Value)>);

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
    Ok((paths, named))
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

fn sample(text: &str) -> Result<Option<usize>> {
    match text {
        "-1" => Ok(None),
        _ => match text.parse() {
            Ok(rows) if rows > 0 => Ok(Some(rows)),
            _ => Err(Error::invalid(format!(
                "read_csv: sample is a number of rows, or -1 for all of them, not {text}"
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
        assert_eq!(parsed.paths, ["a.csv"]);
        let expected = CsvOptions {
            header: false,
            delimiter: b'\t',
            quote: b'\'',
            null: "NA".into(),
            sample_rows: None,
        };
        assert_eq!(parsed.options, expected);
    }

    #[test]
    fn wrong_arguments_are_invalid_and_say_which() {
        for (args, says) in [
            (vec![], "needs a path"),
            (vec![path("a"), path("b")], "one path"),
            (vec![path("a"), named("colour", Value::Null)], "no option colour"),
            (vec![path("a"), named("header", Value::String("x".into()))], "header is a boolean"),
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
