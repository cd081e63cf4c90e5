use proptest::prelude::*;

use super::*;

fn name(text: &str) -> String {
    sql_type_name(&parse_type(text).unwrap())
}

fn message(text: &str) -> String {
    parse_type(text).unwrap_err().to_string()
}

#[test]
fn both_spellings_mean_the_same_types() {
    for (text, expected) in [
        ("BOOLEAN", "boolean"),
        ("tinyint", "int"),
        ("SmallInt", "int"),
        ("integer", "int"),
        ("long", "bigint"),
        ("real", "float"),
        ("double precision", "double"),
        ("numeric(10)", "decimal(10, 0)"),
        ("decimal(38, 38)", "decimal(38, 38)"),
        ("varchar(20)", "string"),
        ("char(3)", "string"),
        ("character varying (7)", "string"),
        ("time(6)", "time"),
        ("timestamp(3)", "timestamp"),
        ("timestamp_ntz", "timestamp"),
        ("timestamp without time zone", "timestamp"),
        ("timestamp(6) with time zone", "timestamp with time zone"),
        ("timestamptz", "timestamp with time zone"),
        ("timestamp_ltz", "timestamp with time zone"),
        ("timestamp with local time zone", "timestamp with time zone"),
        ("timestamp_ns", "timestamp_ns"),
        ("timestamptz_ns", "timestamptz_ns"),
        ("varbinary", "binary"),
        ("uuid", "uuid"),
        ("fixed(16)", "fixed(16)"),
        ("array<int>", "array<int>"),
        ("array(varchar)", "array<string>"),
        ("map(varchar, array(bigint))", "map<string, array<bigint>>"),
        ("map<string,map<string,map<string,int>>>", "map<string, map<string, map<string, int>>>"),
        ("row(A bigint, \"B\" row(c varchar))", "struct<a: bigint, `B`: struct<c: string>>"),
        (
            "struct<a:int not null comment 'x', `b c` : array<struct<d:date>>>",
            "struct<a: int not null, `b c`: array<struct<d: date>>>",
        ),
    ] {
        assert_eq!(name(text), expected, "{text}");
    }
}

#[test]
fn ids_are_drawn_one_by_one_and_comments_are_kept() {
    let Type::Struct(fields) = parse_type("struct<a: array<int>, b: map<int, int> comment 'x'>").unwrap()
    else {
        panic!("no struct")
    };
    let ids: Vec<i32> = fields.fields().iter().map(|field| field.id).collect();
    assert_eq!(ids, [1, 3]);
    assert_eq!(fields.fields()[1].doc.as_deref(), Some("x"));
    let Type::Map(map) = fields.fields()[1].field_type.as_ref() else { panic!("no map") };
    assert_eq!((map.key_field.id, map.value_field.id), (4, 5));
    assert!(map.key_field.required && !map.value_field.required);
}

#[test]
fn errors_say_what_was_expected() {
    assert_eq!(message("decimal"), "line 1:1: decimal needs its precision and scale, as in decimal(18, 2)");
    assert_eq!(
        message("decimal(39, 2)"),
        "line 1:1: decimal(39, 2) is none: the precision is from 1 to 38, the scale from 0 to the precision"
    );
    assert_eq!(
        message("timestamp(9)"),
        "line 1:10: timestamp keeps microseconds, so at most 6 fractional digits: \
         for nanoseconds use timestamp_ns or timestamptz_ns"
    );
    assert_eq!(
        message("strin"),
        "line 1:1: expected a type such as string, int, bigint, double, decimal(10, 2), date, timestamp or array<int>, \
         found `strin`"
    );
    assert_eq!(
        message("array<int"),
        "line 1:10: expected `>` to close the type, found the end of the statement"
    );
    assert_eq!(
        message("row(bigint, int)"),
        "line 1:5: a field needs a name and a type, as in row(name varchar, age int)"
    );
    assert_eq!(message("struct<a: int, A: int>"), "line 1:16: the field a is there twice");
    assert_eq!(message("int int"), "line 1:5: expected the end of the statement, found `int`");
    assert_eq!(message("array<int>>"), "line 1:10: expected the end of the statement, found `>>`");
    assert_eq!(message(&"array<".repeat(100)).contains("nests deeper than 32 levels"), true);
    assert_eq!(parse_type("interval").unwrap_err().kind(), icecap_table::ErrorKind::Unsupported);
    assert_eq!(parse_type("time with time zone").unwrap_err().kind(), icecap_table::ErrorKind::Unsupported);
}

#[test]
fn casts_yield_types_without_field_ids() {
    let data_type =
        cast_target(&parse_type("row(a map(varchar, int), b array(timestamp))").unwrap()).unwrap();
    assert_eq!(
        data_type.to_string(),
        "Struct(\"a\": Map(\"entries\": non-null Struct(\"key\": non-null Utf8, \"value\": Int32), unsorted), \
         \"b\": List(Timestamp(µs)))"
    );
}

fn any_type() -> impl Strategy<Value = Type> {
    use PrimitiveType as P;
    let leaf = prop_oneof![
        prop_oneof![
            Just(P::Boolean),
            Just(P::Int),
            Just(P::Long),
            Just(P::Float),
            Just(P::Double),
            Just(P::Date),
            Just(P::Time),
            Just(P::Timestamp),
            Just(P::Timestamptz),
            Just(P::TimestampNs),
            Just(P::TimestamptzNs),
            Just(P::String),
            Just(P::Uuid),
            Just(P::Binary),
        ],
        (1u32..=38)
            .prop_flat_map(|precision| (Just(precision), 0..=precision))
            .prop_map(|(precision, scale)| P::Decimal { precision, scale }),
        (1u64..1_000_000).prop_map(P::Fixed),
    ]
    .prop_map(Type::Primitive);
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            inner.clone().prop_map(|element| {
                Type::List(ListType::new(Arc::new(NestedField::list_element(0, element, false))))
            }),
            (inner.clone(), inner.clone()).prop_map(|(key, value)| {
                Type::Map(MapType::new(
                    Arc::new(NestedField::map_key_element(0, key)),
                    Arc::new(NestedField::map_value_element(0, value, false)),
                ))
            }),
            prop::collection::btree_map("[a-zA-Z_` \"é1]{1,6}", (inner, any::<bool>()), 1..4).prop_map(
                |fields| {
                    let mut seen = std::collections::HashSet::new();
                    Type::Struct(StructType::new(
                        fields
                            .into_iter()
                            .filter(|(name, _)| seen.insert(name.to_lowercase()))
                            .map(|(name, (ty, required))| Arc::new(NestedField::new(0, name, ty, required)))
                            .collect(),
                    ))
                }
            ),
        ]
    })
}

proptest! {
    #[test]
    fn a_types_name_is_read_back(ty in any_type()) {
        let name = sql_type_name(&ty);
        prop_assert_eq!(sql_type_name(&parse_type(&name).unwrap()), name);
    }

    #[test]
    fn no_text_makes_the_type_parser_panic(
        text in "([a-z]{0,3}|array|map|struct|row|decimal|fixed|timestamp|[<>(),:.' \"0-9-]){0,12}"
    ) {
        let _ = parse_type(&text);
    }
}
