//! Every operator over files whose metrics and partitions are written out by hand, NULL and NaN included.

mod random;

use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{
    Datum, FieldSummary, ManifestContentType, ManifestFile, NestedField, PartitionSpec, PrimitiveType,
    Schema, StructType, Transform, Type, UnboundPartitionSpec,
};

use super::Judge;
use crate::staged_file::StagedFile;

fn schema() -> Schema {
    let field = |id, name: &str, ty| NestedField::optional(id, name, Type::Primitive(ty)).into();
    let nested = StructType::new(vec![field(8, "x", PrimitiveType::Int)]);
    Schema::builder()
        .with_fields(vec![
            field(1, "i", PrimitiveType::Int),
            field(2, "l", PrimitiveType::Long),
            field(3, "d", PrimitiveType::Double),
            field(4, "s", PrimitiveType::String),
            field(5, "t", PrimitiveType::Timestamp),
            field(6, "b", PrimitiveType::Binary),
            NestedField::optional(7, "st", Type::Struct(nested)).into(),
            field(9, "u", PrimitiveType::Uuid),
        ])
        .build()
        .unwrap()
}

fn spec(column: i32, transform: Transform) -> PartitionSpec {
    let unbound = UnboundPartitionSpec::builder()
        .with_spec_id(0)
        .add_partition_field(column, "p", transform)
        .unwrap()
        .build();
    unbound.bind(schema()).unwrap()
}

fn column(name: &str) -> Reference {
    Reference::new(name)
}

/// A file of ten rows, its metrics for one column: NULLs, NaNs and bounds.
fn file(id: i32, nulls: Option<u64>, nans: Option<u64>, bounds: Option<(Datum, Datum)>) -> StagedFile {
    let mut file = StagedFile::data("file:///t/a.parquet", 0, vec![]);
    file.record_count = 10;
    file.value_counts.insert(id, 10);
    file.null_counts.extend(nulls.map(|count| (id, count)));
    file.nan_counts.extend(nans.map(|count| (id, count)));
    if let Some((lower, upper)) = bounds {
        file.lower_bounds.insert(id, lower.to_bytes().unwrap().to_vec());
        file.upper_bounds.insert(id, upper.to_bytes().unwrap().to_vec());
    }
    file
}

/// `(may_match, all_match)` of an unpartitioned file.
fn judged(predicate: Predicate, file: &StagedFile) -> (bool, bool) {
    let judge = Judge::new(&predicate, &schema(), [&PartitionSpec::unpartition_spec()]);
    (judge.may_match(file), judge.all_match(file))
}

const NONE: (bool, bool) = (false, false);
const SOME: (bool, bool) = (true, false);
const ALL: (bool, bool) = (true, true);

fn ints(nulls: u64) -> StagedFile {
    file(1, Some(nulls), None, Some((Datum::int(10), Datum::int(20))))
}

#[test]
fn comparisons_of_an_integer_column() {
    let i = || column("i");
    let cases = [
        (i().less_than(Datum::int(10)), NONE),
        (i().less_than(Datum::int(11)), SOME),
        (i().less_than(Datum::int(21)), ALL),
        (i().less_than_or_equal_to(Datum::int(9)), NONE),
        (i().less_than_or_equal_to(Datum::int(10)), SOME),
        (i().less_than_or_equal_to(Datum::int(20)), ALL),
        (i().greater_than(Datum::int(20)), NONE),
        (i().greater_than(Datum::int(10)), SOME),
        (i().greater_than(Datum::int(9)), ALL),
        (i().greater_than_or_equal_to(Datum::int(21)), NONE),
        (i().greater_than_or_equal_to(Datum::int(11)), SOME),
        (i().greater_than_or_equal_to(Datum::int(10)), ALL),
        (i().equal_to(Datum::int(9)), NONE),
        (i().equal_to(Datum::int(10)), SOME),
        (i().not_equal_to(Datum::int(9)), ALL),
        (i().not_equal_to(Datum::int(10)), SOME),
        (i().is_in([Datum::int(1), Datum::int(21)]), NONE),
        (i().is_in([Datum::int(1), Datum::int(20)]), SOME),
        (i().is_not_in([Datum::int(1), Datum::int(21)]), ALL),
        (i().is_not_in([Datum::int(1), Datum::int(20)]), SOME),
        (i().is_null(), NONE),
        (i().is_not_null(), ALL),
        // Out of the column's range, where the kernel's own binding forgets NULLs.
        (i().less_than(Datum::long(1i64 << 40)), ALL),
        (i().not_equal_to(Datum::long(1i64 << 40)), ALL),
        (i().equal_to(Datum::long(1i64 << 40)), NONE),
        (!i().less_than(Datum::int(10)), ALL),
        (!i().less_than(Datum::int(21)), NONE),
    ];
    for (predicate, expected) in cases {
        assert_eq!(judged(predicate.clone(), &ints(0)), expected, "{predicate}");
        // One NULL more: what held for all rows no longer does, whatever the operator.
        let with_null = if predicate == i().is_null() { SOME } else { (expected.0, false) };
        assert_eq!(judged(predicate.clone(), &ints(1)), with_null, "{predicate} with a NULL");
    }
}

#[test]
fn only_nulls_satisfy_nothing_but_is_null() {
    let nulls = file(1, Some(10), None, None);
    assert_eq!(judged(column("i").is_null(), &nulls), ALL);
    assert_eq!(judged(column("i").is_not_null(), &nulls), NONE);
    for predicate in [
        column("i").equal_to(Datum::int(1)),
        column("i").not_equal_to(Datum::int(1)),
        column("i").is_in([Datum::int(1), Datum::int(2)]),
        column("i").is_not_in([Datum::int(1), Datum::int(2)]),
        !column("i").greater_than(Datum::int(1)),
        column("i").less_than(Datum::int(1)).or(column("i").greater_than_or_equal_to(Datum::int(1))),
    ] {
        assert_eq!(judged(predicate.clone(), &nulls), NONE, "{predicate}");
    }
}

#[test]
fn missing_metrics_keep_the_file_and_promise_nothing() {
    let mut bare = StagedFile::data("file:///t/a.parquet", 0, vec![]);
    bare.record_count = 10;
    for predicate in [
        column("i").equal_to(Datum::int(1)),
        column("i").is_null(),
        column("i").is_not_null(),
        column("d").is_nan(),
        column("d").is_not_nan(),
        column("s").starts_with(Datum::string("a")),
    ] {
        assert_eq!(judged(predicate.clone(), &bare), SOME, "{predicate}");
    }
    // Bounds without a NULL count do not promise that there are no NULLs.
    let uncounted = file(1, None, None, Some((Datum::int(5), Datum::int(5))));
    assert_eq!(judged(column("i").equal_to(Datum::int(5)), &uncounted), SOME);
    assert_eq!(judged(column("i").equal_to(Datum::int(6)), &uncounted), NONE);
    let empty = StagedFile::data("file:///t/a.parquet", 0, vec![]);
    assert_eq!(judged(column("i").equal_to(Datum::int(1)), &empty), (false, true));
}

#[test]
fn a_nan_is_never_reasoned_about() {
    let bounds = || Some((Datum::double(1.0), Datum::double(2.0)));
    let (clean, with, uncounted) = (
        file(3, Some(0), Some(0), bounds()),
        file(3, Some(0), Some(1), bounds()),
        file(3, Some(0), None, bounds()),
    );
    let above = column("d").greater_than(Datum::double(5.0));
    assert_eq!(judged(above.clone(), &clean), NONE);
    assert_eq!(judged(above.clone(), &with), SOME);
    assert_eq!(judged(above, &uncounted), SOME);
    let below = column("d").less_than(Datum::double(5.0));
    assert_eq!(judged(below.clone(), &clean), ALL);
    assert_eq!(judged(below.clone(), &with), SOME);
    assert_eq!(judged(below, &uncounted), SOME);
    assert_eq!(judged(column("d").is_nan(), &clean), NONE);
    assert_eq!(judged(column("d").is_nan(), &with), SOME);
    assert_eq!(judged(column("d").is_not_nan(), &clean), ALL);
    let only = file(3, Some(0), Some(10), None);
    assert_eq!(judged(column("d").is_nan(), &only), ALL);
    assert_eq!(judged(column("d").is_not_nan(), &only), NONE);
    assert_eq!(judged(column("d").less_than(Datum::double(5.0)), &only), SOME);
    // NaN as a bound, which old writers made, bounds nothing.
    let bad = file(3, Some(0), Some(0), Some((Datum::double(f64::NAN), Datum::double(2.0))));
    assert_eq!(judged(column("d").greater_than(Datum::double(5.0)), &bad), SOME);
    // NaN as a literal.
    assert_eq!(judged(column("d").equal_to(Datum::double(f64::NAN)), &clean), SOME);
    // Zeros of both signs.
    let zeros = file(3, Some(0), Some(0), Some((Datum::double(0.0), Datum::double(0.0))));
    assert_eq!(judged(column("d").equal_to(Datum::double(-0.0)), &zeros), SOME);
}

#[test]
fn strings_with_truncated_bounds() {
    let strings = file(4, Some(0), None, Some((Datum::string("abc"), Datum::string("abf"))));
    let s = || column("s");
    let cases = [
        (s().starts_with(Datum::string("ab")), ALL),
        (s().starts_with(Datum::string("abd")), SOME),
        (s().starts_with(Datum::string("abcdef")), SOME),
        (s().starts_with(Datum::string("abg")), NONE),
        (s().starts_with(Datum::string("aa")), NONE),
        (s().starts_with(Datum::string("")), ALL),
        (s().not_starts_with(Datum::string("ab")), NONE),
        (s().not_starts_with(Datum::string("abd")), SOME),
        (s().not_starts_with(Datum::string("b")), ALL),
        (s().equal_to(Datum::string("abcd")), SOME),
        (s().equal_to(Datum::string("abb")), NONE),
        (s().less_than(Datum::string("abg")), ALL),
    ];
    for (predicate, expected) in cases {
        assert_eq!(judged(predicate.clone(), &strings), expected, "{predicate}");
    }
    let bytes = file(6, Some(0), None, Some((Datum::binary([0xff]), Datum::binary([0xff, 0xff]))));
    assert_eq!(judged(column("b").greater_than(Datum::binary([0x7f])), &bytes), ALL);
    assert_eq!(judged(column("b").starts_with(Datum::binary([0xff])), &bytes), ALL);
}

#[test]
fn bounds_from_before_a_promotion() {
    let mut promoted = file(2, Some(0), None, None);
    promoted.lower_bounds.insert(2, (-5i32).to_le_bytes().to_vec());
    promoted.upper_bounds.insert(2, 5i32.to_le_bytes().to_vec());
    assert_eq!(judged(column("l").less_than(Datum::long(-5i64)), &promoted), NONE);
    assert_eq!(judged(column("l").less_than(Datum::int(6)), &promoted), ALL);
    let mut wide = file(3, Some(0), Some(0), None);
    wide.lower_bounds.insert(3, 1.5f32.to_le_bytes().to_vec());
    wide.upper_bounds.insert(3, 2.5f32.to_le_bytes().to_vec());
    assert_eq!(judged(column("d").less_than(Datum::double(1.5)), &wide), NONE);
    // Bytes that are no value of the type are no bound.
    wide.lower_bounds.insert(3, vec![1, 2, 3]);
    assert_eq!(judged(column("d").less_than(Datum::double(1.5)), &wide), SOME);
}

#[test]
fn what_cannot_be_expressed_widens_both_ways() {
    let ok = column("i").less_than(Datum::int(100));
    for predicate in [
        column("gone").equal_to(Datum::int(1)),
        column("I").equal_to(Datum::int(1)),
        column("i").equal_to(Datum::string("1")),
        column("st").equal_to(Datum::int(1)),
        column("i").is_nan(),
    ] {
        let judge = Judge::new(&predicate, &schema(), []);
        assert!(judge.is_widened(), "{predicate}");
        assert_eq!(judged(predicate.clone(), &ints(0)), SOME);
        assert_eq!(judged(!predicate.clone(), &ints(0)), SOME);
        assert_eq!(judged(ok.clone().and(predicate.clone()), &ints(0)), SOME);
        assert_eq!(judged(ok.clone().or(predicate.clone()), &ints(0)), ALL);
        assert_eq!(judged((!ok.clone()).and(predicate), &ints(0)), NONE);
    }
}

/// Java's signed order puts (1, -1) before (1, 0), which unsigned bytes do not.
#[test]
fn uuid_bounds_count_only_when_they_are_one_value() {
    let uuid = |high: u64, low: u64| Datum::uuid(uuid::Uuid::from_u64_pair(high, low));
    let signed = file(9, Some(0), None, Some((uuid(1, u64::MAX), uuid(2, 0))));
    assert_eq!(judged(column("u").equal_to(uuid(1, 0)), &signed), SOME);
    assert_eq!(judged(column("u").greater_than(uuid(1, 0)), &signed), SOME);
    let listed = manifest(false, Some(uuid(1, u64::MAX)), Some(uuid(2, 0)));
    let spec = spec(9, Transform::Identity);
    let judge = Judge::new(&column("u").equal_to(uuid(1, 0)), &schema(), [&spec]);
    assert!(judge.manifest_may_match(&listed));
    let one = file(9, Some(0), None, Some((uuid(1, 5), uuid(1, 5))));
    assert_eq!(judged(column("u").equal_to(uuid(1, 5)), &one), ALL);
    assert_eq!(judged(column("u").equal_to(uuid(1, 6)), &one), NONE);
}

#[test]
fn a_field_of_a_struct_may_be_null_whatever_its_count_says() {
    let nested = file(8, Some(0), None, Some((Datum::int(5), Datum::int(5))));
    assert_eq!(judged(column("st.x").equal_to(Datum::int(6)), &nested), NONE);
    assert_eq!(judged(column("st.x").equal_to(Datum::int(5)), &nested), SOME);
    assert_eq!(judged(column("st.x").is_null(), &nested), SOME);
    assert_eq!(judged(column("st").is_null(), &nested), SOME);
}

#[test]
fn counts_and_bounds_that_contradict_are_not_believed() {
    let crossed = file(1, Some(0), None, Some((Datum::int(20), Datum::int(10))));
    assert_eq!(judged(column("i").equal_to(Datum::int(1)), &crossed), SOME);
    let too_many = file(1, Some(11), None, Some((Datum::int(1), Datum::int(2))));
    assert_eq!(judged(column("i").equal_to(Datum::int(1)), &too_many), SOME);
    // The partition says NULL, the counts say that there is none.
    let mut contradiction = ints(0);
    contradiction.partition = vec![None];
    let judge = Judge::new(&column("i").is_null(), &schema(), [&spec(1, Transform::Identity)]);
    assert!(judge.may_match(&contradiction) && !judge.all_match(&contradiction));
}

#[test]
fn a_very_deep_or_very_long_predicate_ends() {
    let mut long = column("i").equal_to(Datum::int(0));
    for at in 1..5_000 {
        long = long.or(column("i").equal_to(Datum::int(-at)));
    }
    assert_eq!(judged(long, &ints(0)), NONE);
    let mut deep = column("i").less_than(Datum::int(0));
    for _ in 0..1_000 {
        deep = !deep;
    }
    assert_eq!(judged(deep, &ints(0)), SOME);
}

/// Every operator, negated ones too, over the column called `name`.
fn every_operator(name: &str, literal: &Datum, other: &Datum) -> Vec<Predicate> {
    let c = || column(name);
    let mut all = vec![
        c().less_than(literal.clone()),
        c().less_than_or_equal_to(literal.clone()),
        c().greater_than(literal.clone()),
        c().greater_than_or_equal_to(literal.clone()),
        c().equal_to(literal.clone()),
        c().not_equal_to(literal.clone()),
        c().is_in([literal.clone(), other.clone()]),
        c().is_not_in([literal.clone(), other.clone()]),
        c().less_than(literal.clone()).or(c().greater_than_or_equal_to(literal.clone())),
    ];
    if *literal.data_type() == PrimitiveType::String {
        all.push(c().starts_with(literal.clone()));
        all.push(c().not_starts_with(literal.clone()));
    }
    all.extend(all.clone().into_iter().map(|predicate| !predicate));
    all
}

/// The reference engine's own bug: a delete by metadata alone that takes the NULL partition along.
#[test]
fn no_comparison_claims_or_even_keeps_a_null_partition() {
    let (i, s, t) = (1, 4, 5);
    let transforms = [
        (i, Transform::Identity),
        (i, Transform::Bucket(4)),
        (i, Transform::Truncate(10)),
        (s, Transform::Identity),
        (s, Transform::Bucket(4)),
        (s, Transform::Truncate(2)),
        (t, Transform::Identity),
        (t, Transform::Year),
        (t, Transform::Month),
        (t, Transform::Day),
        (t, Transform::Hour),
        (t, Transform::Bucket(4)),
    ];
    for (id, transform) in transforms {
        let (name, literal, other) = match id {
            1 => ("i", Datum::int(5), Datum::int(50)),
            4 => ("s", Datum::string("a"), Datum::string("b")),
            _ => ("t", Datum::timestamp_micros(5), Datum::timestamp_micros(1 << 50)),
        };
        let spec = spec(id, transform);
        let mut null = StagedFile::data("file:///t/a.parquet", 0, vec![None]);
        null.record_count = 10;
        for predicate in every_operator(name, &literal, &other) {
            let judge = Judge::new(&predicate, &schema(), [&spec]);
            assert!(!judge.partition_may_match(&null), "{transform} {predicate}");
            assert!(!judge.may_match(&null), "{transform} {predicate}");
            assert!(!judge.partition_all_match(&null), "{transform} {predicate}");
            assert!(!judge.all_match(&null), "{transform} {predicate}");
            let manifest = manifest(true, None, None);
            assert!(!judge.manifest_may_match(&manifest), "{transform} {predicate}");
        }
        let judge = Judge::new(&column(name).is_null(), &schema(), [&spec]);
        assert!(judge.partition_all_match(&null) && judge.all_match(&null), "{transform}");
        assert!(judge.manifest_may_match(&manifest(true, None, None)));
        let judge = Judge::new(&column(name).is_not_null(), &schema(), [&spec]);
        assert!(!judge.may_match(&null) && !judge.all_match(&null), "{transform}");
    }
}

/// Void, and files of a spec that is not known, say nothing.
#[test]
fn a_void_or_unknown_partition_says_nothing() {
    let mut null = ints(0);
    null.partition = vec![None];
    let judge = Judge::new(&column("i").is_null(), &schema(), [&spec(1, Transform::Void)]);
    assert!(!judge.may_match(&null) && judge.partition_may_match(&null));
    null.spec_id = 9;
    let judge = Judge::new(&column("i").is_not_null(), &schema(), [&spec(1, Transform::Identity)]);
    assert!(judge.all_match(&null));
}

fn manifest(contains_null: bool, lower: Option<Datum>, upper: Option<Datum>) -> ManifestFile {
    let bytes = |bound: Option<Datum>| bound.map(|datum| datum.to_bytes().unwrap());
    ManifestFile {
        manifest_path: "file:///t/m.avro".into(),
        manifest_length: 1,
        partition_spec_id: 0,
        content: ManifestContentType::Data,
        sequence_number: 1,
        min_sequence_number: 1,
        added_snapshot_id: 1,
        added_files_count: Some(1),
        existing_files_count: Some(0),
        deleted_files_count: Some(0),
        added_rows_count: Some(1),
        existing_rows_count: Some(0),
        deleted_rows_count: Some(0),
        partitions: Some(vec![FieldSummary {
            contains_null,
            contains_nan: Some(false),
            lower_bound: bytes(lower),
            upper_bound: bytes(upper),
        }]),
        key_metadata: None,
        first_row_id: None,
    }
}

/// `(may, all)` by the partition alone, of a file in partition `value`.
fn in_partition(predicate: &Predicate, id: i32, transform: Transform, value: Datum) -> (bool, bool) {
    let judge = Judge::new(predicate, &schema(), [&spec(id, transform)]);
    let bytes = value.to_bytes().unwrap().to_vec();
    let mut file = StagedFile::data("file:///t/a.parquet", 0, vec![Some(bytes)]);
    file.record_count = 10;
    let answer = (judge.partition_may_match(&file), judge.partition_all_match(&file));
    let listed = manifest(false, Some(value.clone()), Some(value));
    assert_eq!(judge.manifest_may_match(&listed), answer.0, "{predicate} by its manifest");
    answer
}

#[test]
fn partitions_of_each_transform() {
    const DAY: i64 = 86_400_000_000;
    let i = || column("i");
    let t = || column("t");
    let s = || column("s");
    let at = Datum::timestamp_micros;
    let cases = [
        (i().equal_to(Datum::int(7)), 1, Transform::Identity, Datum::int(7), ALL),
        (i().not_equal_to(Datum::int(7)), 1, Transform::Identity, Datum::int(7), NONE),
        (i().less_than(Datum::int(8)), 1, Transform::Identity, Datum::int(7), ALL),
        (i().is_null(), 1, Transform::Identity, Datum::int(7), NONE),
        (i().is_not_null(), 1, Transform::Identity, Datum::int(7), ALL),
        (i().less_than(Datum::int(20)), 1, Transform::Truncate(10), Datum::int(10), ALL),
        (i().less_than(Datum::int(19)), 1, Transform::Truncate(10), Datum::int(10), SOME),
        (i().less_than(Datum::int(10)), 1, Transform::Truncate(10), Datum::int(10), NONE),
        (i().equal_to(Datum::int(19)), 1, Transform::Truncate(10), Datum::int(10), SOME),
        (i().equal_to(Datum::int(20)), 1, Transform::Truncate(10), Datum::int(10), NONE),
        // The spec's test values: bucket[16] of 34 is 3, so nothing else says so.
        (i().equal_to(Datum::int(34)), 1, Transform::Bucket(16), Datum::int(3), SOME),
        (i().equal_to(Datum::int(34)), 1, Transform::Bucket(16), Datum::int(4), NONE),
        (i().not_equal_to(Datum::int(34)), 1, Transform::Bucket(16), Datum::int(4), ALL),
        (i().is_not_in([Datum::int(34), Datum::int(34)]), 1, Transform::Bucket(16), Datum::int(4), ALL),
        (i().less_than(Datum::int(34)), 1, Transform::Bucket(16), Datum::int(4), SOME),
        (s().equal_to(Datum::string("abx")), 4, Transform::Truncate(2), Datum::string("ab"), SOME),
        (s().equal_to(Datum::string("ax")), 4, Transform::Truncate(2), Datum::string("ab"), NONE),
        (s().starts_with(Datum::string("a")), 4, Transform::Truncate(2), Datum::string("ab"), ALL),
        (s().starts_with(Datum::string("ab")), 4, Transform::Truncate(2), Datum::string("ab"), ALL),
        (s().starts_with(Datum::string("abc")), 4, Transform::Truncate(2), Datum::string("ab"), SOME),
        (s().not_starts_with(Datum::string("ab")), 4, Transform::Truncate(2), Datum::string("ab"), NONE),
        (s().equal_to(Datum::string("a")), 4, Transform::Truncate(2), Datum::string("a"), ALL),
        (s().greater_than(Datum::string("aa")), 4, Transform::Truncate(2), Datum::string("ab"), ALL),
        (t().less_than(at(31 * DAY)), 5, Transform::Month, Datum::int(1), NONE),
        (t().less_than(at(59 * DAY)), 5, Transform::Month, Datum::int(1), ALL),
        (t().less_than(at(58 * DAY)), 5, Transform::Month, Datum::int(1), SOME),
        (t().greater_than_or_equal_to(at(365 * DAY)), 5, Transform::Year, Datum::int(1), ALL),
        (t().less_than(at(365 * DAY)), 5, Transform::Year, Datum::int(1), NONE),
        (t().greater_than_or_equal_to(at(5 * DAY)), 5, Transform::Day, Datum::date(5), ALL),
        (t().less_than(at(5 * DAY)), 5, Transform::Day, Datum::date(5), NONE),
        (t().equal_to(at(5 * DAY + 1)), 5, Transform::Day, Datum::date(5), SOME),
        (t().greater_than(at(DAY / 24 - 1)), 5, Transform::Hour, Datum::int(1), ALL),
        (t().greater_than(at(DAY / 12)), 5, Transform::Hour, Datum::int(1), NONE),
        // Before 1970 a partition may hold rows of the one before it.
        (t().less_than(at(-5 * DAY)), 5, Transform::Day, Datum::date(-5), SOME),
        (t().less_than(at(-6 * DAY)), 5, Transform::Day, Datum::date(-5), NONE),
    ];
    for (predicate, id, transform, value, expected) in cases {
        let told = format!("{predicate} in {transform} = {value}");
        assert_eq!(in_partition(&predicate, id, transform, value), expected, "{told}");
    }
}

#[test]
fn a_partition_and_the_bounds_are_joined() {
    let mut file = file(1, Some(0), None, Some((Datum::int(13), Datum::int(25))));
    file.partition = vec![Some(10i32.to_le_bytes().to_vec())];
    let spec = spec(1, Transform::Truncate(10));
    let judge = |predicate| Judge::new(&predicate, &schema(), [&spec]);
    let between = column("i")
        .greater_than_or_equal_to(Datum::int(13))
        .and(column("i").less_than_or_equal_to(Datum::int(19)));
    assert!(judge(between).all_match(&file));
    assert!(!judge(column("i").greater_than(Datum::int(19))).may_match(&file));
}

#[test]
fn a_manifest_is_judged_by_the_range_of_its_partitions() {
    let judge = |predicate, transform| Judge::new(&predicate, &schema(), [&spec(1, transform)]);
    let range = manifest(false, Some(Datum::int(10)), Some(Datum::int(30)));
    let at = |value| column("i").equal_to(Datum::int(value));
    assert!(!judge(at(9), Transform::Identity).manifest_may_match(&range));
    assert!(judge(at(30), Transform::Identity).manifest_may_match(&range));
    assert!(!judge(at(31), Transform::Identity).manifest_may_match(&range));
    assert!(judge(at(39), Transform::Truncate(10)).manifest_may_match(&range));
    assert!(!judge(at(40), Transform::Truncate(10)).manifest_may_match(&range));
    assert!(!judge(column("i").is_null(), Transform::Identity).manifest_may_match(&range));
    let buckets = manifest(false, Some(Datum::int(0)), Some(Datum::int(2)));
    assert!(!judge(at(34), Transform::Bucket(16)).manifest_may_match(&buckets));
    let unsummarised = ManifestFile { partitions: None, ..range };
    assert!(judge(at(9), Transform::Identity).manifest_may_match(&unsummarised));
    let other_spec = ManifestFile { partition_spec_id: 5, ..buckets };
    assert!(judge(at(34), Transform::Bucket(16)).manifest_may_match(&other_spec));
}
