use iceberg::TableUpdate;
use iceberg::spec::{NestedField, PrimitiveType, Type};
use uuid::Uuid;

use super::*;
use crate::id::TableIdent;
use crate::metadata::TableDocument;
use crate::snapshot::fixture::{START_MS, new_table, schema};

fn table(version: FormatVersion) -> TableDocument {
    TableDocument::create(new_table("file:///w/t", version, &[])).unwrap()
}

fn change(change: Change) -> TableChange {
    TableChange {
        ident: TableIdent::new(vec!["db".into()], "t"),
        uuid: Some(Uuid::from_u128(7)),
        reference: "main".into(),
        base: None,
        change,
    }
}

fn append(edit: fn(&mut StagedFile)) -> TableChange {
    let mut file = StagedFile::data("file:///w/t/data/x.parquet", 0, vec![None]);
    edit(&mut file);
    change(Change::Append { files: vec![file], schema_id: 0 })
}

fn why(change: &TableChange, current: Option<&TableMetadata>) -> String {
    match validate(change, current) {
        Verdict::Ok => panic!("accepted"),
        Verdict::Conflict(why) => why,
    }
}

/// The table with one more column in its current schema.
fn with_column(required: bool) -> TableDocument {
    let mut fields: Vec<_> = schema().as_struct().fields().to_vec();
    let kind = Type::Primitive(PrimitiveType::Int);
    let field =
        if required { NestedField::required(3, "new", kind) } else { NestedField::optional(3, "new", kind) };
    fields.push(field.into());
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let updates = vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
    table(FormatVersion::V2).apply(updates, None, START_MS).unwrap()
}

#[test]
fn an_append_fits_the_table_it_was_planned_on_and_later_ones() {
    for document in [table(FormatVersion::V2), table(FormatVersion::V3), with_column(false)] {
        assert!(validate(&append(|_| {}), Some(document.metadata())).is_ok());
    }
}

#[test]
fn an_append_conflicts_with_a_table_of_another_identity_or_shape() {
    let current = table(FormatVersion::V2);
    let current = Some(current.metadata());
    assert!(why(&append(|_| {}), None).contains("db.t no longer exists"));
    let mut other = append(|_| {});
    other.uuid = Some(Uuid::from_u128(8));
    assert!(why(&other, current).contains("replaced"));
    assert!(why(&append(|f| f.spec_id = 4), current).contains("partition spec 4"));
    assert!(why(&append(|f| f.first_row_id = Some(1)), current).contains("format version"));
    let schema = change(Change::Append { files: vec![], schema_id: 4 });
    assert!(why(&schema, current).contains("schema 4"));
    assert!(why(&append(|_| {}), Some(with_column(true).metadata())).contains("required column new"));
}

#[test]
fn a_table_is_made_once_and_dropped_while_it_is_the_same() {
    let current = table(FormatVersion::V2);
    let create = change(Change::Create { metadata: vec![], files: vec![], snapshot: false });
    assert!(validate(&create, None).is_ok());
    assert!(why(&create, Some(current.metadata())).contains("exists by now"));
    assert!(validate(&change(Change::Drop), Some(current.metadata())).is_ok());
    assert!(why(&change(Change::Drop), None).contains("no longer exists"));
}
