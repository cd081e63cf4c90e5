//! The types and their values.

use serde_json::{Value, json};

/// A column type with values worth storing; NULL is always one of them.
#[derive(Debug, Clone)]
pub struct TypeCase {
    /// A name that is a table name too.
    pub name: &'static str,
    /// The type as SQL writes it.
    pub sql: &'static str,
    /// The type as it stands in a schema's JSON; ids of nested fields are from 10.
    pub iceberg: Value,
    /// SQL expression and canonical form of each value, NULL left out.
    pub values: Vec<(String, Value)>,
    /// The lowest format version that has the type.
    pub since: u8,
}

impl TypeCase {
    /// The rows of a table `(id bigint, v <type>)` with all values and a NULL, as arrays.
    pub fn rows(&self) -> Vec<Value> {
        let values = self.values.iter().map(|(_, value)| value.clone());
        values.chain([Value::Null]).enumerate().map(|(id, value)| json!([id, value])).collect()
    }

    /// The same rows as the list behind `VALUES`.
    pub fn sql_rows(&self) -> String {
        let values = self.values.iter().map(|(sql, _)| sql.as_str()).chain(["NULL"]);
        values.enumerate().map(|(id, sql)| format!("({id}, {sql})")).collect::<Vec<_>>().join(", ")
    }

    /// The schema of that table as Iceberg JSON.
    pub fn schema(&self) -> Value {
        json!({"type": "struct", "schema-id": 0, "fields": [
            {"id": 1, "name": "id", "required": false, "type": "long"},
            {"id": 2, "name": "v", "required": false, "type": self.iceberg},
        ]})
    }
}

/// A case whose values are written `CAST('<text>' AS <cast>)` and whose canonical form is that text.
fn by_text(name: &'static str, sql: &'static str, cast: &str, iceberg: &str, texts: &[&str]) -> TypeCase {
    let value = |text: &&str| (format!("CAST('{text}' AS {cast})"), json!(text));
    TypeCase { name, sql, iceberg: json!(iceberg), values: texts.iter().map(value).collect(), since: 2 }
}

fn with(name: &'static str, sql: &'static str, iceberg: Value, values: &[(&str, Value)]) -> TypeCase {
    let values = values.iter().map(|(sql, value)| ((*sql).to_owned(), value.clone())).collect();
    TypeCase { name, sql, iceberg, values, since: 2 }
}

/// Every type.
pub fn type_cases() -> Vec<TypeCase> {
    [numbers(), texts(), times(), bytes(), nested()].concat()
}

fn numbers() -> Vec<TypeCase> {
    let integer = |name, sql, iceberg, extremes: [i64; 2]| TypeCase {
        name,
        sql,
        iceberg: json!(iceberg),
        values: [0, 1, -1, extremes[0], extremes[1]]
            .map(|value| (format!("CAST('{value}' AS {sql})"), json!(value)))
            .to_vec(),
        since: 2,
    };
    let float = |name, sql, cast: &str, iceberg, numbers: &[&str]| TypeCase {
        name,
        sql,
        iceberg: json!(iceberg),
        values: numbers
            .iter()
            .map(|text| {
                // The three words are strings in JSON, every other text is a number.
                let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
                (format!("CAST('{text}' AS {cast})"), value)
            })
            .collect(),
        since: 2,
    };
    vec![
        with("booleans", "boolean", json!("boolean"), &[("TRUE", json!(true)), ("FALSE", json!(false))]),
        integer("ints", "int", "int", [i64::from(i32::MAX), i64::from(i32::MIN)]),
        integer("bigints", "bigint", "long", [i64::MAX, i64::MIN]),
        float(
            "floats",
            "float",
            "real",
            "float",
            &[
                "0.0",
                "-0.0",
                "0.1",
                "-1.5",
                "3.4028235e38",
                "-3.4028235e38",
                "1e-45",
                "NaN",
                "Infinity",
                "-Infinity",
            ],
        ),
        float(
            "doubles",
            "double",
            "double",
            "double",
            &[
                "0.0",
                "-0.0",
                "0.1",
                "-1.5",
                "1.7976931348623157e308",
                "-1.7976931348623157e308",
                "5e-324",
                "NaN",
                "Infinity",
                "-Infinity",
            ],
        ),
        by_text(
            "decimals_9",
            "decimal(9,2)",
            "decimal(9,2)",
            "decimal(9, 2)",
            &["0.00", "0.01", "-0.01", "1234567.89", "9999999.99", "-9999999.99"],
        ),
        by_text(
            "decimals_18",
            "decimal(18,18)",
            "decimal(18,18)",
            "decimal(18, 18)",
            &[
                "0.000000000000000000",
                "0.999999999999999999",
                "-0.999999999999999999",
                "0.000000000000000001",
            ],
        ),
        by_text(
            "decimals_38",
            "decimal(38,0)",
            "decimal(38,0)",
            "decimal(38, 0)",
            &[
                "0",
                "99999999999999999999999999999999999999",
                "-99999999999999999999999999999999999999",
                "18446744073709551616",
            ],
        ),
        by_text(
            "decimals_38_10",
            "decimal(38,10)",
            "decimal(38,10)",
            "decimal(38, 10)",
            &[
                "0.0000000000",
                "9999999999999999999999999999.9999999999",
                "-9999999999999999999999999999.9999999999",
            ],
        ),
    ]
}

fn texts() -> Vec<TypeCase> {
    let long = "lang\u{e4} ".repeat(2_000);
    let mut texts: Vec<&str> = vec![
        "",
        " ",
        "plain",
        "NULL",
        "with, comma and \"quotes\" and \\ backslash",
        "two\nlines\tand a tab",
        "Zürich",
        "雪と氷",
        "🦀🇨🇭",
        "e\u{301} is not \u{e9}",
        "\u{10ffff}",
        "ａａａａａａａａａａａａａａａａa", // longer than the 16 characters that bounds keep
        "\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}",
    ];
    texts.push(&long);
    let mut strings = with("strings", "string", json!("string"), &[("'it''s'", json!("it's"))]);
    strings.values.extend(texts.iter().map(|text| (format!("'{text}'"), json!(text))));
    vec![
        strings,
        by_text(
            "uuids",
            "uuid",
            "uuid",
            "uuid",
            &[
                "00000000-0000-0000-0000-000000000000",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
                "f79c3e09-677c-4bbd-a479-3f349cb785e7",
            ],
        ),
    ]
}

fn times() -> Vec<TypeCase> {
    let moments = [
        "0001-01-01T00:00:00.000000",
        "1582-10-10T12:00:00.000000",
        "1900-01-01T00:00:00.000001",
        "1969-12-31T23:59:59.999999",
        "1970-01-01T00:00:00.000000",
        "2026-02-28T03:04:05.678900",
        "9999-12-31T23:59:59.999999",
    ];
    let zoned = moments.map(|moment| format!("{moment}Z"));
    let mut nanos = by_text(
        "timestamps_ns",
        "timestamp_ns",
        "timestamp_ns",
        "timestamp_ns",
        &[
            "1677-09-22T00:00:00.000000001",
            "1969-12-31T23:59:59.999999999",
            "1970-01-01T00:00:00.000000000",
            "2026-02-28T03:04:05.678900001",
            "2262-04-11T23:47:16.854775807",
        ],
    );
    nanos.since = 3;
    vec![
        by_text(
            "dates",
            "date",
            "date",
            "date",
            &["0001-01-01", "1582-10-10", "1969-12-31", "1970-01-01", "2024-02-29", "9999-12-31"],
        ),
        by_text(
            "times",
            "time",
            "time",
            "time",
            &["00:00:00.000000", "00:00:00.000001", "12:34:56.789000", "23:59:59.999999"],
        ),
        by_text("timestamps", "timestamp", "timestamp", "timestamp", &moments),
        by_text(
            "timestamptzs",
            "timestamptz",
            "timestamp with time zone",
            "timestamptz",
            &zoned.each_ref().map(String::as_str),
        ),
        nanos,
    ]
}

fn bytes() -> Vec<TypeCase> {
    vec![
        with(
            "binaries",
            "binary",
            json!("binary"),
            &[
                ("X''", json!("")),
                ("X'00'", json!("AA==")),
                ("X'00ff10'", json!("AP8Q")),
                ("X'ffffffffffffffffffffffffffffffffffff'", json!("////////////////////////")),
            ],
        ),
        with(
            "fixeds",
            "fixed(3)",
            json!("fixed[3]"),
            &[("CAST(X'000000' AS fixed(3))", json!("AAAA")), ("CAST(X'ffffff' AS fixed(3))", json!("////"))],
        ),
    ]
}

fn nested() -> Vec<TypeCase> {
    let list = |element: Value| json!({"type": "list", "element-id": 10, "element": element, "element-required": false});
    let field =
        |id: u8, name: &str, ty: Value| json!({"id": id, "name": name, "required": false, "type": ty});
    let text_map = json!({"type": "map", "key-id": 10, "key": "string", "value-id": 11, "value": "int", "value-required": false});
    let number_map = json!({"type": "map", "key-id": 10, "key": "int", "value-id": 11, "value": "string", "value-required": false});
    let pair =
        json!({"type": "struct", "fields": [field(10, "a", json!("int")), field(11, "b", json!("string"))]});
    let deep = list(json!({"type": "struct", "fields": [
        field(11, "n", json!("long")),
        field(12, "tags", json!({"type": "map", "key-id": 13, "key": "string", "value-id": 14,
            "value": {"type": "list", "element-id": 15, "element": "double", "element-required": false},
            "value-required": false})),
    ]}));
    vec![
        with(
            "arrays",
            "array<int>",
            list(json!("int")),
            &[
                ("ARRAY[1, NULL, 3]", json!([1, null, 3])),
                ("CAST(ARRAY[] AS array<int>)", json!([])),
                ("CAST(ARRAY[NULL] AS array<int>)", json!([null])),
            ],
        ),
        with(
            "text_arrays",
            "array<string>",
            list(json!("string")),
            &[("ARRAY['', 'ä', NULL]", json!(["", "ä", null]))],
        ),
        with(
            "text_maps",
            "map<string,int>",
            text_map,
            &[
                ("MAP(ARRAY['a', 'ü'], ARRAY[1, NULL])", json!([["a", 1], ["ü", null]])),
                ("MAP(ARRAY['only'], ARRAY[-1])", json!([["only", -1]])),
            ],
        ),
        with(
            "number_maps",
            "map<int,string>",
            number_map,
            &[("MAP(ARRAY[2, 1], ARRAY['b', 'a'])", json!([[1, "a"], [2, "b"]]))],
        ),
        with(
            "structs",
            "struct<a:int,b:string>",
            pair,
            &[
                ("named_struct('a', 1, 'b', 'x')", json!({"a": 1, "b": "x"})),
                (
                    "named_struct('a', CAST(NULL AS int), 'b', CAST(NULL AS string))",
                    json!({"a": null, "b": null}),
                ),
            ],
        ),
        with(
            "deeps",
            "array<struct<n:bigint,tags:map<string,array<double>>>>",
            deep,
            &[(
                "ARRAY[named_struct('n', CAST(1 AS bigint), 'tags', MAP(ARRAY['k'], ARRAY[ARRAY[CAST(0.5 AS double), NULL]]))]",
                json!([{"n": 1, "tags": [["k", [0.5, null]]]}]),
            )],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::canonical::{Kind, Rows, columns_of};

    #[test]
    fn every_value_is_in_the_canonical_form_of_its_type() {
        for case in type_cases() {
            let metadata = json!({"current-schema-id": 0, "schemas": [case.schema()]});
            let columns = columns_of(&metadata, None).unwrap();
            let rows = Rows::from_arrays(&columns, &case.rows()).unwrap();
            assert_eq!(rows.len(), case.values.len() + 1, "{}", case.name);
        }
    }

    #[test]
    fn names_differ_and_every_primitive_type_is_there() {
        let cases = type_cases();
        let names: HashSet<&str> = cases.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), cases.len());
        for primitive in
            ["boolean", "int", "long", "float", "double", "date", "time", "timestamp", "timestamptz"]
        {
            assert!(cases.iter().any(|case| case.iceberg == primitive), "{primitive}");
        }
        for primitive in ["timestamp_ns", "string", "uuid", "binary", "fixed[3]", "decimal(38, 10)"] {
            assert!(cases.iter().any(|case| case.iceberg == primitive), "{primitive}");
            assert!(Kind::parse(&json!(primitive)).is_ok());
        }
    }
}
