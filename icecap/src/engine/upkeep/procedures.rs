//! The arguments of Spark's procedures, as what `OPTIMIZE` and `VACUUM` ask for.

use chrono::Utc;
use datafusion::arrow::compute::kernels::cast_utils::string_to_datetime;

use super::{OptimizeRequest, VacuumRequest};
use crate::sql::{Value, parse_condition, parse_name};
use crate::{Error, Result};

type Argument = (Option<String>, Value);

/// The request of `system.rewrite_data_files(table => …, strategy => 'binpack', where => …)`.
///
/// # Errors
/// `Invalid` for a wrong argument; `Unsupported` for one that is not done.
pub(in crate::engine) fn rewrite_data_files(args: &[Argument]) -> Result<OptimizeRequest> {
    let names = ["table", "strategy", "sort_order", "options", "where"];
    let [table, strategy, sort_order, options, filter] = values("rewrite_data_files", names, args)?;
    let unsupported = |what: &str| {
        Err(Error::unsupported(format!(
            "rewrite_data_files: {what} is not supported yet: files are packed by size, and the table's sort order is kept"
        )))
    };
    match strategy {
        None => {}
        Some(Value::String(strategy)) if strategy.eq_ignore_ascii_case("binpack") => {}
        Some(Value::String(strategy)) => return unsupported(&format!("the strategy {strategy:?}")),
        Some(_) => return Err(Error::invalid("rewrite_data_files: strategy is a text, 'binpack'")),
    }
    if sort_order.is_some() || options.is_some() {
        return unsupported(if sort_order.is_some() { "sort_order" } else { "options" });
    }
    let table = parse_name(text("rewrite_data_files", "table", table)?)?;
    let filter = match filter {
        None => None,
        Some(filter) => {
            let filter = text("rewrite_data_files", "where", Some(filter))?;
            Some(parse_condition(&table, filter).map_err(|error| {
                Error::new(error.kind(), "rewrite_data_files: where is no condition").with_source(error)
            })?)
        }
    };
    Ok(OptimizeRequest { table, filter })
}

/// The request of `system.expire_snapshots(table => …, older_than => TIMESTAMP '…', retain_last => n)`.
///
/// # Errors
/// As [`rewrite_data_files`].
pub(in crate::engine) fn expire_snapshots(args: &[Argument]) -> Result<VacuumRequest> {
    let names = ["table", "older_than", "retain_last"];
    let [table, older_than, retain_last] = values("expire_snapshots", names, args)?;
    let older_than_ms = match older_than {
        None => None,
        Some(Value::Timestamp(time) | Value::String(time)) => {
            let time = string_to_datetime(&Utc, time).map_err(|error| {
                Error::invalid(format!(
                    "expire_snapshots: {time:?} is no time: write TIMESTAMP '2026-01-31 12:00:00'"
                ))
                .with_source(error)
            })?;
            Some(time.timestamp_millis())
        }
        Some(_) => return Err(Error::invalid("expire_snapshots: older_than is a time, TIMESTAMP '…'")),
    };
    let retain_last = match retain_last {
        None => None,
        Some(Value::Number(digits)) => match digits.parse::<u64>() {
            Ok(count) if count > 0 => Some(count),
            _ => return Err(Error::invalid("expire_snapshots: retain_last is a whole number of at least 1")),
        },
        Some(_) => return Err(Error::invalid("expire_snapshots: retain_last is a whole number")),
    };
    let table = parse_name(text("expire_snapshots", "table", table)?)?;
    Ok(VacuumRequest { table, older_than_ms, retain_last, orphans: false })
}

/// The arguments of a procedure by name or in order; NULL is none.
fn values<'a, const N: usize>(
    procedure: &str,
    names: [&str; N],
    args: &'a [Argument],
) -> Result<[Option<&'a Value>; N]> {
    let mut found = [None; N];
    for (at, (name, value)) in args.iter().enumerate() {
        let at = match name {
            Some(name) => names.iter().position(|known| known == name).ok_or_else(|| {
                Error::invalid(format!("{procedure}: no argument {name}: there are {}", names.join(", ")))
            })?,
            None if at < N => at,
            None => {
                return Err(Error::invalid(format!(
                    "{procedure}: too many arguments: there are {}",
                    names.join(", ")
                )));
            }
        };
        if found[at].is_some() {
            return Err(Error::invalid(format!("{procedure}: {} is given twice", names[at])));
        }
        found[at] = Some(value).filter(|value| **value != Value::Null);
    }
    Ok(found)
}

fn text<'a>(procedure: &str, name: &str, value: Option<&'a Value>) -> Result<&'a str> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(Error::invalid(format!("{procedure}: {name} is a text"))),
        None => Err(Error::invalid(format!("{procedure}: {name} is missing: write {name} => '…'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn named(name: &str, value: Value) -> Argument {
        (Some(name.to_owned()), value)
    }

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn sparks_arguments_are_read_by_name_and_in_order() {
        let time = Value::Timestamp("2026-01-31 12:00:00.5".to_owned());
        let by_name = expire_snapshots(&[
            named("table", string("a.t")),
            named("retain_last", Value::Number("3".to_owned())),
            named("older_than", time.clone()),
        ])
        .unwrap();
        let ordered =
            expire_snapshots(&[(None, string("a.t")), (None, time), (None, Value::Number("3".to_owned()))]);
        assert_eq!(by_name, ordered.unwrap());
        assert_eq!(by_name.older_than_ms, Some(1_769_860_800_500));
        assert_eq!((by_name.retain_last, by_name.orphans), (Some(3), false));
        let all = rewrite_data_files(&[named("table", string("a.t")), named("where", Value::Null)]).unwrap();
        assert_eq!((all.table, all.filter), (parse_name("a.t").unwrap(), None));
        let some = rewrite_data_files(&[named("table", string("a.t")), named("where", string("p = 'x'"))]);
        assert_eq!(some.unwrap().filter.unwrap().to_string(), "SELECT * FROM a.t WHERE p = 'x'");
    }

    #[test]
    fn wrong_arguments_are_refused_by_kind() {
        use ErrorKind::{Invalid, Unsupported};
        let rewrite = |args: &[Argument]| rewrite_data_files(args).unwrap_err().kind();
        let expire = |args: &[Argument]| expire_snapshots(args).unwrap_err().kind();
        let table = || named("table", string("t"));
        assert_eq!(rewrite(&[]), Invalid);
        assert_eq!(rewrite(&[table(), table()]), Invalid);
        assert_eq!(rewrite(&[table(), named("strategy", string("sort"))]), Unsupported);
        assert_eq!(rewrite(&[table(), named("sort_order", string("a"))]), Unsupported);
        assert_eq!(rewrite(&[table(), named("where", string("a = 1 ORDER BY a"))]), Invalid);
        assert_eq!(expire(&[table(), named("older_than", string("soon"))]), Invalid);
        assert_eq!(expire(&[table(), named("retain_last", Value::Number("0".to_owned()))]), Invalid);
        assert_eq!(expire(&[table(), named("snapshot_ids", string("1"))]), Invalid);
    }
}
