use icecap_table::iceberg::spec::{
    NestedField, PrimitiveType, Schema, Transform, Type, UnboundPartitionSpec,
};
use icecap_table::metadata::{NewTable, TableDocument};
use uuid::Uuid;

use super::*;
use crate::sql::{Statement, parse_script};

fn table() -> TableDocument {
    let field = |id, name: &str, kind| NestedField::optional(id, name, Type::Primitive(kind)).into();
    let schema = Schema::builder()
        .with_fields(vec![
            field(1, "id", PrimitiveType::Long),
            field(2, "at", PrimitiveType::Timestamp),
            field(3, "Name", PrimitiveType::String),
        ])
        .build()
        .unwrap();
    TableDocument::create(NewTable {
        uuid: Uuid::from_u128(7),
        location: "file:///w/t".into(),
        schema,
        partition_spec: UnboundPartitionSpec::default(),
        sort_order: None,
        properties: HashMap::new(),
        format_version: FormatVersion::V2,
        now_ms: 1,
    })
    .unwrap()
}

fn alter(document: &TableDocument, action: &str) -> Result<TableDocument> {
    let parsed = parse_script(&format!("ALTER TABLE t {action}"))?.remove(0);
    let Statement::AlterTable(alter) = parsed.statement else { panic!("{action}") };
    let planned = plan(&alter.action, document.metadata())?;
    for requirement in &planned.requirements {
        requirement.check(Some(document.metadata())).unwrap();
    }
    document.apply(planned.updates, None, 2)
}

/// The default spec: (field id, name, transform).
fn fields(document: &TableDocument) -> Vec<(i32, String, Transform)> {
    let fields = document.metadata().default_partition_spec().fields().iter();
    fields.map(|field| (field.field_id, field.name.clone(), field.transform)).collect()
}

#[test]
fn ids_of_partition_fields_are_never_given_twice_and_equal_fields_get_theirs_back() {
    let one = alter(&table(), "ADD PARTITION FIELD bucket(4, id) AS shard").unwrap();
    assert_eq!(fields(&one), [(1000, "shard".into(), Transform::Bucket(4))]);
    let two = alter(&one, "ADD PARTITION FIELD month(at)").unwrap();
    assert_eq!(fields(&two)[1], (1001, "at_month".into(), Transform::Month));
    let without = alter(&two, "DROP PARTITION FIELD shard").unwrap();
    assert_eq!(fields(&without), [(1001, "at_month".into(), Transform::Month)]);
    let other = alter(&without, "ADD PARTITION FIELD bucket(8, id)").unwrap();
    assert_eq!(fields(&other)[1], (1002, "id_bucket_8".into(), Transform::Bucket(8)));
    let replaced = alter(&other, "REPLACE PARTITION FIELD months(AT) WITH day(at) AS day_of").unwrap();
    assert_eq!(fields(&replaced)[1], (1003, "day_of".into(), Transform::Day));
    // The same fields as once before: their ids, and a name that is free again.
    let again = alter(&replaced, "ADD PARTITION FIELD bucket(4, id)").unwrap();
    assert_eq!(fields(&again)[2], (1000, "shard".into(), Transform::Bucket(4)));
    let none =
        ["DROP PARTITION FIELD SHARD", "DROP PARTITION FIELD bucket(8, id)", "DROP PARTITION FIELD days(at)"]
            .iter()
            .fold(again, |document, action| alter(&document, action).unwrap());
    assert_eq!(fields(&none), []);
    assert_eq!(none.metadata().last_partition_id(), 1003);
    assert_eq!(none.metadata().default_partition_spec_id(), 0);
    let all = none.metadata().partition_specs_iter().len();
    // Two of them came back, one of them the first.
    assert_eq!(all, 8);
}

#[test]
fn partition_fields_that_cannot_be_are_refused_by_name() {
    let one = alter(&table(), "ADD PARTITION FIELD bucket(4, id)").unwrap();
    for (action, message) in [
        ("ADD PARTITION FIELD bucket(id, 4)", "partitioned by bucket(4, id) already"),
        ("ADD PARTITION FIELD nothing", "there is no such column"),
        ("ADD PARTITION FIELD month(id)", "the column's type is long"),
        ("ADD PARTITION FIELD day(at) AS id_bucket_4", "a partition field called id_bucket_4 already"),
        ("ADD PARTITION FIELD day(at) AS id", "cannot be called id"),
        ("DROP PARTITION FIELD at", "no partition field at: its fields are id_bucket_4"),
        ("REPLACE PARTITION FIELD day(at) WITH id", "no partition field day(at)"),
        ("WRITE ORDERED BY id, id DESC", "names id twice"),
        ("WRITE ORDERED BY x", "there is no such column"),
        ("WRITE ORDERED BY month(id)", "the column's type is long"),
    ] {
        let error = alter(&one, action).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(message), "{action}: {error}");
    }
    let unpartitioned = alter(&table(), "DROP PARTITION FIELD id").unwrap_err();
    assert!(unpartitioned.message().contains("it is not partitioned"), "{unpartitioned}");
}

#[test]
fn a_sort_order_is_set_once_and_taken_away() {
    let sorted = alter(&table(), "WRITE ORDERED BY bucket(4, id) DESC, name NULLS LAST").unwrap();
    let order = sorted.metadata().default_sort_order();
    assert_eq!(order.order_id, 1);
    let text: Vec<String> = order.fields.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "SortField { source_id: 1, transform: bucket[4], direction: descending, null_order: last }",
            "SortField { source_id: 3, transform: identity, direction: ascending, null_order: last }",
        ]
    );
    assert_eq!(sorted.metadata().properties().get(DISTRIBUTION).map(String::as_str), Some("range"));
    let local = alter(&sorted, "WRITE DISTRIBUTED BY PARTITION LOCALLY ORDERED BY at").unwrap();
    assert_eq!(local.metadata().default_sort_order().order_id, 2);
    assert_eq!(local.metadata().properties().get(DISTRIBUTION).map(String::as_str), Some("hash"));
    let same = plan(
        &AlterAction::Write { order: vec![], distribution: None },
        alter(&local, "WRITE UNORDERED").unwrap().metadata(),
    );
    assert_eq!(same.unwrap(), Planned::default());
    let back = alter(&local, "WRITE LOCALLY ORDERED BY (bucket(4, id) DESC NULLS LAST, name ASC NULLS LAST)")
        .unwrap();
    assert_eq!(back.metadata().default_sort_order().order_id, 1);
    assert_eq!(back.metadata().properties().get(DISTRIBUTION).map(String::as_str), Some("hash"));
}

#[test]
fn properties_are_set_and_taken_away_and_a_version_goes_up_only() {
    let set = alter(&table(), "SET TBLPROPERTIES ('a' = 'x', 'vacuum_min_snapshots_to_keep' = '3')").unwrap();
    assert_eq!(set.metadata().properties().len(), 2);
    let same = plan(&AlterAction::SetProperties(vec![("a".into(), "x".into())]), set.metadata()).unwrap();
    assert_eq!(same, Planned::default());
    let unset = alter(&set, "UNSET TBLPROPERTIES IF EXISTS ('vacuum_min_snapshots_to_keep', b)").unwrap();
    assert_eq!(unset.metadata().properties().keys().collect::<Vec<_>>(), ["a"]);
    let three = alter(&unset, "SET TBLPROPERTIES ('format-version' = '3')").unwrap();
    assert_eq!((three.metadata().format_version(), three.metadata().next_row_id()), (FormatVersion::V3, 0));
    let error = alter(&three, "SET TBLPROPERTIES ('format_version' = '2')").unwrap_err();
    assert!(error.message().contains("never goes down"), "{error}");
}
