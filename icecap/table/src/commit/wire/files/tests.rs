use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{Datum, PrimitiveType};
use proptest::prelude::*;

use super::super::tests::{file, hex, request};
use super::*;
use crate::commit::{Change, CommitRequest, StatementKind};
use crate::staged_file::{DeletedPositions, Positions, StagedFile};

fn column(name: &str) -> Reference {
    Reference::new(name)
}

fn vector() -> StagedFile {
    let mut file = file();
    file.content = FileContent::DeletionVector;
    file.path = "file:///t/data/v.puffin".into();
    file.referenced_data_file = Some("file:///t/data/b.parquet".into());
    file.content_range = Some((4, 40));
    file.deleted_positions = vec![DeletedPositions {
        data_file: "file:///t/data/b.parquet".into(),
        count: 1,
        positions: Positions::Inline(vec![1, 2]),
    }];
    file
}

fn changes() -> FileChanges {
    FileChanges {
        added: vec![file(), vector()],
        removed: vec![
            RemovedFile::data("file:///t/data/c.parquet"),
            RemovedFile::delete_file("file:///t/data/d.parquet"),
            RemovedFile::deletion_vector("file:///t/data/e.puffin", 4),
        ],
        schema_id: 1,
        data_sequence_number: Some(3),
        rows: RowCounts { inserted: 1, updated: 2, deleted: 3 },
        validation: Validation {
            isolation: Isolation::Snapshot,
            filter: Some(
                column("id")
                    .less_than(Datum::long(5))
                    .or(column("part").is_in([Datum::string("x"), Datum::string("y")]))
                    .and(column("d").is_not_null()),
            ),
        },
    }
}

fn with_kind(kind: StatementKind, change: Change) -> CommitRequest {
    CommitRequest { kind, ..request(change) }
}

#[test]
fn the_bytes_of_row_changes_are_frozen() {
    let delta = with_kind(StatementKind::Merge, Change::RowDelta(changes()));
    let plain = FileChanges { added: vec![file()], ..FileChanges::default() };
    let overwrite = with_kind(StatementKind::Update, Change::Overwrite(plain.clone()));
    let rewrite = with_kind(StatementKind::Optimize, Change::Rewrite(plain.clone()));
    let nothing = with_kind(StatementKind::Delete, Change::RowDelta(FileChanges::default()));
    insta::assert_snapshot!(hex(&delta), @"010a1003968313fd968177a5f446fbb94a974210021a054d4552474522e2020a0264621201741a100000000000000000000000000000000722046d61696e280a8201bd020a1c121866696c653a2f2f2f742f646174612f612e7061727175657428010a610802121766696c653a2f2f2f742f646174612f762e70756666696e280182011866696c653a2f2f2f742f646174612f622e706172717565748801089001509a01200a1866696c653a2f2f2f742f646174612f622e7061727175657410011a020102121a121866696c653a2f2f2f742f646174612f632e70617271756574121c0801121866696c653a2f2f2f742f646174612f642e70617271756574121d0802121766696c653a2f2f2f742f646174612f652e70756666696e1808180220062a0608011002180330013a5312510a461a440a1b2a1908c901120269641a100a046c6f6e67120805000000000000000a252a2308ad021204706172741a0b0a06737472696e671201781a0b0a06737472696e671201790a072a050866120164");
    insta::assert_snapshot!(hex(&overwrite), @"010a1003968313fd968177a5f446fbb94a974210021a0655504441544522440a0264621201741a100000000000000000000000000000000722046d61696e280a8a01200a1c121866696c653a2f2f2f742f646174612f612e7061727175657428012a00");
    insta::assert_snapshot!(hex(&rewrite), @"010a1003968313fd968177a5f446fbb94a974210021a084f5054494d495a4522440a0264621201741a100000000000000000000000000000000722046d61696e280a9201200a1c121866696c653a2f2f2f742f646174612f612e7061727175657428012a00");
    insta::assert_snapshot!(hex(&nothing), @"010a1003968313fd968177a5f446fbb94a974210021a0644454c45544522260a0264621201741a100000000000000000000000000000000722046d61696e280a8201022a00");
    for request in [delta, overwrite, rewrite, nothing] {
        assert_eq!(CommitRequest::decode(&request.encode()).unwrap(), request);
    }
}

#[test]
fn hostile_bytes_are_refused_and_do_not_panic() {
    let good = with_kind(StatementKind::Merge, Change::RowDelta(changes())).encode();
    for cut in 0..good.len() {
        let _ = CommitRequest::decode(&good[..cut]);
        for flip in [0xff, 0x01, 0x80] {
            let mut bent = good.clone();
            bent[cut] ^= flip;
            let _ = CommitRequest::decode(&bent);
        }
    }
}

#[test]
fn a_filter_too_deep_to_be_read_back_stands_for_all_rows() {
    let mut deep = column("a").is_null();
    for at in 0..200 {
        let test = column("b").equal_to(Datum::int(at));
        deep = if at % 2 == 0 { deep.and(test) } else { deep.or(test) };
    }
    let mut files = changes();
    files.validation.filter = Some(deep);
    let request = request(Change::RowDelta(files));
    let read = CommitRequest::decode(&request.encode()).unwrap();
    assert_eq!(read.changes[0].change.file_changes().unwrap().validation.filter, None);
    // A chain is one level, however long.
    let mut long = Predicate::AlwaysFalse;
    for at in 0..5_000 {
        long = long.or(column("b").equal_to(Datum::int(at)));
    }
    let message = PredicateMessage::of(&long).unwrap();
    assert_eq!(message.predicate().unwrap(), long);
}

fn literal() -> impl Strategy<Value = Datum> {
    prop_oneof![
        any::<bool>().prop_map(Datum::bool),
        any::<i32>().prop_map(Datum::int),
        any::<i64>().prop_map(Datum::long),
        (-1e9..1e9_f64).prop_map(Datum::double),
        (-1e9..1e9_f32).prop_map(Datum::float),
        any::<i32>().prop_map(Datum::date),
        any::<i64>().prop_map(Datum::timestamp_micros),
        any::<i64>().prop_map(Datum::timestamptz_nanos),
        "[a-zé]{0,4}".prop_map(Datum::string),
        proptest::collection::vec(any::<u8>(), 0..4).prop_map(Datum::binary),
        proptest::collection::vec(any::<u8>(), 3).prop_map(Datum::fixed),
        any::<u128>().prop_map(|bits| Datum::uuid(uuid::Uuid::from_u128(bits))),
        (-999_999_i64..999_999).prop_map(|unscaled| {
            let ty = PrimitiveType::Decimal { precision: 9, scale: 2 };
            Datum::try_from_bytes(&i128::from(unscaled).to_be_bytes(), ty).unwrap()
        }),
    ]
}

fn leaf() -> impl Strategy<Value = Predicate> {
    prop_oneof![
        (0..4_u8).prop_map(|op| match op {
            0 => column("a").is_null(),
            1 => column("a").is_not_null(),
            2 => column("f").is_nan(),
            _ => column("f").is_not_nan(),
        }),
        (0..8_u8, literal()).prop_map(|(op, value)| match op {
            0 => column("a").less_than(value),
            1 => column("a").less_than_or_equal_to(value),
            2 => column("a").greater_than(value),
            3 => column("a").greater_than_or_equal_to(value),
            4 => column("a.b").equal_to(value),
            5 => column("a").not_equal_to(value),
            6 => column("s").starts_with(value),
            _ => column("s").not_starts_with(value),
        }),
        (any::<bool>(), proptest::collection::vec(literal(), 0..4)).prop_map(|(not, values)| match not {
            true => column("a").is_not_in(values),
            false => column("a").is_in(values),
        }),
    ]
}

fn predicate() -> impl Strategy<Value = Predicate> {
    leaf().prop_recursive(4, 24, 2, |inner| {
        prop_oneof![
            // Left-deep chains, as folding makes them: the wire does not keep how a chain is bracketed.
            (inner.clone(), leaf()).prop_map(|(a, b)| a.and(b)),
            (inner, leaf()).prop_map(|(a, b)| a.or(b)),
        ]
    })
}

proptest! {
    #[test]
    fn every_filter_survives_the_round_trip(filter in predicate()) {
        let message = PredicateMessage::of(&filter).unwrap();
        prop_assert_eq!(message.predicate().unwrap(), filter);
    }
}
