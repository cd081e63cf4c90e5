//! Which transform applies to which type.

use serde_json::Value;

use super::{TypeCase, type_cases};

/// A table `(id bigint, v <type>)` partitioned by a transform of `v`.
#[derive(Debug, Clone)]
pub struct PartitionCase {
    /// A name that is a table name too.
    pub name: String,
    /// The column's type and values.
    pub of: TypeCase,
    /// The term of `PARTITIONED BY`.
    pub term: String,
    /// The transform as Iceberg writes it, such as `bucket[7]`.
    pub transform: String,
}

/// The transforms (SQL, Iceberg) that the spec allows on a primitive type.
fn transforms(iceberg: &Value) -> Vec<(&'static str, &'static str)> {
    const IDENTITY: (&str, &str) = ("v", "identity");
    const BUCKET: (&str, &str) = ("bucket(7, v)", "bucket[7]");
    const TRUNCATE: (&str, &str) = ("truncate(3, v)", "truncate[3]");
    const DAYS: [(&str, &str); 3] = [("year(v)", "year"), ("month(v)", "month"), ("day(v)", "day")];
    const HOUR: (&str, &str) = ("hour(v)", "hour");
    let Some(name) = iceberg.as_str() else { return Vec::new() };
    let mut all = vec![IDENTITY];
    match name {
        "boolean" | "float" | "double" => {}
        "int" | "long" | "string" | "binary" => all.extend([BUCKET, TRUNCATE]),
        "uuid" | "time" => all.push(BUCKET),
        "date" => all.extend([BUCKET, DAYS[0], DAYS[1], DAYS[2]]),
        _ if name.starts_with("decimal") => all.extend([BUCKET, TRUNCATE]),
        _ if name.starts_with("fixed") => all.push(BUCKET),
        _ if name.starts_with("timestamp") => all.extend([BUCKET, DAYS[0], DAYS[1], DAYS[2], HOUR]),
        _ => {}
    }
    all
}

/// Every transform on every type it applies to.
pub fn partition_cases() -> Vec<PartitionCase> {
    let of_type = |case: TypeCase| {
        transforms(&case.iceberg).into_iter().map(move |(term, transform)| PartitionCase {
            name: format!("{}_by_{}", case.name, transform.split('[').next().unwrap_or_default()),
            of: case.clone(),
            term: term.to_owned(),
            transform: transform.to_owned(),
        })
    };
    type_cases().into_iter().flat_map(of_type).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_transform_is_there_and_names_differ() {
        let cases = partition_cases();
        let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
        for transform in ["identity", "bucket[7]", "truncate[3]", "year", "month", "day", "hour"] {
            assert!(cases.iter().any(|case| case.transform == transform), "{transform}");
        }
    }
}
