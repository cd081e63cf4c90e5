//! Random small tables and random predicates, against a reference that evaluates rows.
//!
//! The reference knows neither facts nor truth sets, and has transforms of its own. It is asked under both
//! ways in which engines treat NaN, signed zeros and `NULL IS NaN`; a judgment must be right under each.

use std::cmp::Ordering;

use chrono::{Datelike, NaiveDate};
use iceberg::expr::{Predicate, PredicateOperator as Op, Reference};
use iceberg::spec::{
    Datum, FieldSummary, ManifestFile, NestedField, PartitionSpec, PrimitiveLiteral as L, PrimitiveType as T,
    Schema, Transform, Type, UnboundPartitionSpec,
};
use iceberg::transform::create_transform_function;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::super::Judge;
use crate::staged_file::StagedFile;

type Row = Vec<Option<Datum>>;

/// How an engine compares.
#[derive(Clone, Copy)]
enum Semantics {
    /// NaN is equal to itself and above everything, `-0.0` is below `0.0`, and NULL is not NaN.
    Total,
    /// IEEE 754: NaN compares false, zeros are equal; whether NULL is NaN is unknown.
    Ieee,
}

#[derive(PartialEq)]
enum Key<'a> {
    Whole(i128),
    Real(f64),
    Bytes(&'a [u8]),
    Uuid([u8; 16]),
}

fn key(datum: &Datum) -> Key<'_> {
    match datum.literal() {
        L::Boolean(v) => Key::Whole(i128::from(*v)),
        L::Int(v) => Key::Whole(i128::from(*v)),
        L::Long(v) => Key::Whole(i128::from(*v)),
        L::Int128(v) => Key::Whole(*v),
        L::Float(v) => Key::Real(f64::from(v.0)),
        L::Double(v) => Key::Real(v.0),
        L::String(v) => Key::Bytes(v.as_bytes()),
        L::Binary(v) => Key::Bytes(v),
        L::UInt128(v) => Key::Uuid(v.to_be_bytes()),
        L::AboveMax | L::BelowMin => panic!("no such value"),
    }
}

fn compare(a: &Datum, b: &Datum, semantics: Semantics) -> Option<Ordering> {
    match (key(a), key(b)) {
        (Key::Whole(a), Key::Whole(b)) => Some(a.cmp(&b)),
        (Key::Bytes(a), Key::Bytes(b)) => Some(a.cmp(b)),
        (Key::Uuid(a), Key::Uuid(b)) => Some(a.cmp(&b)),
        (Key::Real(a), Key::Real(b)) => match semantics {
            Semantics::Ieee => a.partial_cmp(&b),
            Semantics::Total if a.is_nan() || b.is_nan() => Some(a.is_nan().cmp(&b.is_nan())),
            Semantics::Total => Some(a.total_cmp(&b)),
        },
        _ => panic!("values of two kinds"),
    }
}

fn evaluate(predicate: &Predicate, row: &Row, semantics: Semantics) -> Option<bool> {
    let value = |name: &str| row[name[1..].parse::<usize>().unwrap()].as_ref();
    match predicate {
        Predicate::AlwaysTrue => Some(true),
        Predicate::AlwaysFalse => Some(false),
        Predicate::Not(inner) => evaluate(inner.inputs()[0], row, semantics).map(|truth| !truth),
        Predicate::And(both) => match both.inputs().map(|part| evaluate(part, row, semantics)) {
            [Some(false), _] | [_, Some(false)] => Some(false),
            [Some(true), Some(true)] => Some(true),
            _ => None,
        },
        Predicate::Or(both) => match both.inputs().map(|part| evaluate(part, row, semantics)) {
            [Some(true), _] | [_, Some(true)] => Some(true),
            [Some(false), Some(false)] => Some(false),
            _ => None,
        },
        Predicate::Unary(test) => {
            let value = value(test.term().name());
            let nan = match (value, semantics) {
                (Some(datum), _) => Some(datum.is_nan()),
                (None, Semantics::Total) => Some(false),
                (None, Semantics::Ieee) => None,
            };
            match test.op() {
                Op::IsNull => Some(value.is_none()),
                Op::NotNull => Some(value.is_some()),
                Op::IsNan => nan,
                Op::NotNan => nan.map(|nan| !nan),
                other => panic!("{other}"),
            }
        }
        Predicate::Binary(test) => {
            let datum = value(test.term().name())?;
            let order = compare(datum, test.literal(), semantics);
            let starts = || match (key(datum), key(test.literal())) {
                (Key::Bytes(value), Key::Bytes(prefix)) => value.starts_with(prefix),
                _ => panic!("not a string"),
            };
            Some(match test.op() {
                Op::LessThan => order == Some(Ordering::Less),
                Op::LessThanOrEq => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                Op::GreaterThan => order == Some(Ordering::Greater),
                Op::GreaterThanOrEq => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                Op::Eq => order == Some(Ordering::Equal),
                Op::NotEq => order != Some(Ordering::Equal),
                Op::StartsWith => starts(),
                Op::NotStartsWith => !starts(),
                other => panic!("{other}"),
            })
        }
        Predicate::Set(test) => {
            let datum = value(test.term().name())?;
            let found = test
                .literals()
                .iter()
                .any(|literal| compare(datum, literal, semantics) == Some(Ordering::Equal));
            Some(found == (test.op() == Op::In))
        }
    }
}

const TYPES: [T; 15] = [
    T::Boolean,
    T::Int,
    T::Long,
    T::Float,
    T::Double,
    T::Decimal { precision: 9, scale: 2 },
    T::Date,
    T::Time,
    T::Timestamp,
    T::Timestamptz,
    T::TimestampNs,
    T::TimestamptzNs,
    T::String,
    T::Uuid,
    T::Binary,
];

fn of_bytes(bytes: &[u8], ty: &T) -> Datum {
    Datum::try_from_bytes(bytes, ty.clone()).unwrap()
}

/// A value of `ty`: an extreme, or one from a range small enough that values meet.
fn value(ty: &T, rng: &mut StdRng) -> Datum {
    let extreme = rng.random_bool(0.15);
    let whole = |rng: &mut StdRng, low: i64, high: i64| -> i64 {
        if extreme {
            *[low, low + 1, -1, 0, high - 1, high].choose(rng).unwrap()
        } else {
            rng.random_range(-25..25)
        }
    };
    let time = |rng: &mut StdRng, unit: i64| -> i64 {
        let day = 86_400 * unit;
        if extreme {
            return *[i64::MIN, i64::MIN + 1, i64::MAX, 0, -1].choose(rng).unwrap();
        }
        let step = *[unit, 3600 * unit, day, 31 * day, 365 * day].choose(rng).unwrap();
        rng.random_range(-4..5) * step + rng.random_range(-1..2)
    };
    match ty {
        T::Boolean => Datum::bool(rng.random_bool(0.5)),
        T::Int => Datum::int(whole(rng, i64::from(i32::MIN), i64::from(i32::MAX)) as i32),
        T::Long => Datum::long(whole(rng, i64::MIN, i64::MAX)),
        T::Float | T::Double => {
            let edge = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY];
            let real = match extreme {
                true => *edge.choose(rng).unwrap(),
                false => f64::from(rng.random_range(-6..6)) / 2.0,
            };
            if *ty == T::Float { Datum::float(real as f32) } else { Datum::double(real) }
        }
        T::Decimal { .. } => {
            let unscaled =
                if extreme { whole(rng, -999_999_999, 999_999_999) } else { rng.random_range(-900..900) };
            of_bytes(&i128::from(unscaled).to_be_bytes(), ty)
        }
        T::Date if extreme => Datum::date(*[i32::MIN, i32::MAX, -1, 0].choose(rng).unwrap()),
        T::Date => {
            let step = *[1, 31, 365].choose(rng).unwrap();
            Datum::date(rng.random_range(-4..5) * step + rng.random_range(-1..2))
        }
        T::Time => Datum::time_micros(rng.random_range(0..40)).unwrap(),
        T::Timestamp | T::Timestamptz => of_bytes(&time(rng, 1_000_000).to_le_bytes(), ty),
        T::TimestampNs | T::TimestamptzNs => of_bytes(&time(rng, 1_000_000_000).to_le_bytes(), ty),
        T::String => {
            let letters = ['a', 'a', 'b', 'é', '日', '\u{d7ff}', '\u{10ffff}', '\0'];
            let length = rng.random_range(0..5);
            Datum::string((0..length).map(|_| *letters.choose(rng).unwrap()).collect::<String>())
        }
        T::Uuid => {
            let high = *[0u8, 0x7f, 0x80, 0xff].choose(rng).unwrap();
            let mut bytes = [0u8; 16];
            (bytes[0], bytes[15]) = (high, rng.random_range(0..3));
            of_bytes(&bytes, ty)
        }
        _ => {
            let length = rng.random_range(0..4);
            Datum::binary((0..length).map(|_| *[0u8, 1, 0x7f, 0xff].choose(rng).unwrap()).collect::<Vec<_>>())
        }
    }
}

fn transforms(ty: &T) -> Vec<Transform> {
    use Transform as X;
    let buckets = [X::Bucket(1), X::Bucket(3), X::Bucket(16)];
    let widths = [X::Truncate(1), X::Truncate(2), X::Truncate(10)];
    let mut all = vec![X::Identity, X::Void];
    if !matches!(ty, T::Boolean | T::Float | T::Double) {
        all.extend(buckets);
    }
    if matches!(ty, T::Int | T::Long | T::Decimal { .. } | T::String | T::Binary) {
        all.extend(widths);
    }
    match ty {
        T::Date => all.extend([X::Year, X::Month, X::Day]),
        T::Timestamp | T::Timestamptz | T::TimestampNs | T::TimestamptzNs => {
            all.extend([X::Year, X::Month, X::Day, X::Hour]);
        }
        _ => {}
    }
    all
}

/// The transform by other means than the code under test. `None`: the value is out of its range.
/// `legacy`: periods before 1970 are rounded towards it, as old writers did.
fn transformed(transform: Transform, datum: &Datum, legacy: bool) -> Option<Option<Datum>> {
    let ty = datum.data_type();
    let int = |v: i128| i32::try_from(v).ok().map(Datum::int);
    Some(Some(match (transform, datum.literal()) {
        (Transform::Identity, _) => datum.clone(),
        (Transform::Void, _) => return Some(None),
        (Transform::Bucket(_), L::Long(v)) if matches!(ty, T::TimestampNs | T::TimestamptzNs) => {
            // Microseconds rounded down, as the specification has it.
            let micros = Datum::timestamp_micros(v.div_euclid(1000));
            create_transform_function(&transform).unwrap().transform_literal(&micros).unwrap().unwrap()
        }
        (Transform::Bucket(_), _) => {
            create_transform_function(&transform).unwrap().transform_literal(datum).unwrap().unwrap()
        }
        (Transform::Truncate(w), L::Int(v)) => Datum::int(v.wrapping_sub(v.rem_euclid(w as i32))),
        (Transform::Truncate(w), L::Long(v)) => Datum::long(v.wrapping_sub(v.rem_euclid(i64::from(w)))),
        (Transform::Truncate(w), L::Int128(v)) => {
            of_bytes(&(v - v.rem_euclid(i128::from(w))).to_be_bytes(), ty)
        }
        (Transform::Truncate(w), L::String(v)) => {
            Datum::string(v.chars().take(w as usize).collect::<String>())
        }
        (Transform::Truncate(w), L::Binary(v)) => Datum::binary(v.iter().copied().take(w as usize)),
        (transform, literal) => {
            let (micros, exact_days) = match (ty, literal) {
                (T::Date, L::Int(v)) => (i128::from(*v) * 86_400_000_000, transform == Transform::Day),
                (T::TimestampNs | T::TimestamptzNs, L::Long(v)) => (i128::from(v.div_euclid(1000)), false),
                (_, L::Long(v)) => (i128::from(*v), false),
                other => panic!("{other:?}"),
            };
            let days = i32::try_from(micros.div_euclid(86_400_000_000)).ok()?;
            let date = NaiveDate::from_ymd_opt(1970, 1, 1)?
                .checked_add_signed(chrono::TimeDelta::try_days(i64::from(days))?)?;
            let months = i128::from(date.year() - 1970) * 12 + i128::from(date.month0());
            let midnight = micros.rem_euclid(86_400_000_000) == 0;
            let (period, at_start) = match transform {
                Transform::Year => (i128::from(date.year() - 1970), midnight && date.ordinal() == 1),
                Transform::Month => (months, midnight && date.day() == 1),
                Transform::Day => (i128::from(days), midnight),
                Transform::Hour => (micros.div_euclid(3_600_000_000), micros.rem_euclid(3_600_000_000) == 0),
                other => panic!("{other}"),
            };
            let late = legacy && period < 0 && !at_start && !exact_days;
            match (transform, int(period + i128::from(late))?.literal()) {
                (Transform::Day, L::Int(v)) => Datum::date(*v),
                (_, L::Int(v)) => Datum::int(*v),
                other => panic!("{other:?}"),
            }
        }
    }))
}

/// Bounds as a writer makes them, strings and bytes cut to `keep` characters.
fn bounds(values: &[&Datum], keep: Option<usize>) -> (Option<Datum>, Option<Datum>) {
    let order = |a: &&&Datum, b: &&&Datum| compare(a, b, Semantics::Total).unwrap();
    let (Some(low), Some(high)) = (values.iter().min_by(order), values.iter().max_by(order)) else {
        return (None, None);
    };
    let Some(keep) = keep else { return (Some((*low).clone()), Some((*high).clone())) };
    match (low.literal(), high.literal()) {
        (L::String(low), L::String(high)) => {
            let cut: Vec<char> = high.chars().take(keep).collect();
            let up = if cut.len() == high.chars().count() {
                Some(high.clone())
            } else {
                cut.iter().rposition(|c| char::from_u32(*c as u32 + 1).is_some()).map(|at| {
                    let next = char::from_u32(cut[at] as u32 + 1).unwrap();
                    cut[..at].iter().copied().chain([next]).collect()
                })
            };
            (Some(Datum::string(low.chars().take(keep).collect::<String>())), up.map(Datum::string))
        }
        (L::Binary(low), L::Binary(high)) => {
            let cut = &high[..high.len().min(keep)];
            let up = if cut.len() == high.len() {
                Some(high.clone())
            } else {
                cut.iter().rposition(|b| *b < 0xff).map(|at| [&cut[..at], &[cut[at] + 1]].concat())
            };
            (Some(Datum::binary(low.iter().copied().take(keep))), up.map(Datum::binary))
        }
        _ => (Some((*low).clone()), Some((*high).clone())),
    }
}

/// A bound's bytes, in the type from before a promotion where it fits and chance wants it.
fn encode(datum: &Datum, rng: &mut StdRng) -> Vec<u8> {
    match datum.literal() {
        L::Long(v) if *datum.data_type() == T::Long && rng.random_bool(0.3) => match i32::try_from(*v) {
            Ok(narrow) => narrow.to_le_bytes().to_vec(),
            Err(_) => v.to_le_bytes().to_vec(),
        },
        L::Double(v) if f64::from(v.0 as f32).to_bits() == v.0.to_bits() && rng.random_bool(0.3) => {
            (v.0 as f32).to_le_bytes().to_vec()
        }
        L::Int128(v) => v.to_be_bytes().to_vec(),
        _ => datum.to_bytes().unwrap().to_vec(),
    }
}

fn predicate(types: &[T], rows: &[Row], depth: usize, rng: &mut StdRng) -> Predicate {
    if depth > 0 && rng.random_bool(0.6) {
        let left = predicate(types, rows, depth - 1, rng);
        return match rng.random_range(0..3) {
            0 => !left,
            1 => left.and(predicate(types, rows, depth - 1, rng)),
            _ => left.or(predicate(types, rows, depth - 1, rng)),
        };
    }
    let at = rng.random_range(0..types.len());
    let ty = &types[at];
    let column = Reference::new(format!("c{at}"));
    let floating = matches!(ty, T::Float | T::Double);
    let bytes = matches!(ty, T::String | T::Binary);
    let mut literal = || {
        let near = rows.choose(rng).and_then(|row| row[at].clone()).filter(|_| rng.random_bool(0.5));
        let datum = near.unwrap_or_else(|| value(ty, rng));
        match datum.literal() {
            L::Int(v) if *ty == T::Int && rng.random_bool(0.2) => {
                Datum::long(i64::from(*v) + *[0, 1i64 << 35, -(1i64 << 35)].choose(rng).unwrap())
            }
            L::Long(v) if *ty == T::Long && i32::try_from(*v).is_ok() && rng.random_bool(0.2) => {
                Datum::int(*v as i32)
            }
            _ => datum,
        }
    };
    let (a, b, c) = (literal(), literal(), literal());
    match rng.random_range(0..14) {
        0 => column.less_than(a),
        1 => column.less_than_or_equal_to(a),
        2 => column.greater_than(a),
        3 => column.greater_than_or_equal_to(a),
        4 | 5 => column.equal_to(a),
        6 => column.not_equal_to(a),
        7 => column.is_in([a, b, c]),
        8 => column.is_not_in([a, b]),
        9 => column.is_null(),
        10 => column.is_not_null(),
        11 if bytes => column.starts_with(a),
        12 if bytes => column.not_starts_with(a),
        11 if floating => column.is_nan(),
        12 if floating => column.is_not_nan(),
        _ => column
            .greater_than_or_equal_to(a.clone())
            .and(Reference::new(format!("c{at}")).less_than_or_equal_to(b)),
    }
}

struct File {
    staged: StagedFile,
    tuple: Vec<Option<Datum>>,
    rows: Vec<Row>,
}

/// The rows as files of `spec`, one for each partition, with metrics as complete as chance wants them.
fn files(
    types: &[T],
    spec: &PartitionSpec,
    rows: Vec<Row>,
    legacy: bool,
    rng: &mut StdRng,
) -> Option<Vec<File>> {
    let mut files: Vec<File> = Vec::new();
    for row in rows {
        let mut tuple = Vec::new();
        for field in spec.fields() {
            tuple.push(match &row[field.source_id as usize - 1] {
                Some(datum) => transformed(field.transform, datum, legacy)?,
                None => None,
            });
        }
        match files.iter_mut().find(|file| file.tuple == tuple) {
            Some(file) => file.rows.push(row),
            None => {
                let bytes = |field: &Option<Datum>| {
                    field.as_ref().map(|datum| encode(datum, &mut StdRng::seed_from_u64(0)))
                };
                let staged = StagedFile::data("file:///f", spec.spec_id(), tuple.iter().map(bytes).collect());
                files.push(File { staged, tuple, rows: vec![row] });
            }
        }
    }
    for File { staged, rows, .. } in &mut files {
        staged.record_count = rows.len() as u64;
        for (at, ty) in types.iter().enumerate() {
            let id = at as i32 + 1;
            let known: Vec<&Datum> = rows.iter().filter_map(|row| row[at].as_ref()).collect();
            let proper: Vec<&Datum> = known.iter().copied().filter(|datum| !datum.is_nan()).collect();
            if rng.random_bool(0.8) {
                staged.value_counts.insert(id, rows.len() as u64);
            }
            if rng.random_bool(0.85) {
                staged.null_counts.insert(id, (rows.len() - known.len()) as u64);
            }
            if matches!(ty, T::Float | T::Double) && rng.random_bool(0.85) {
                staged.nan_counts.insert(id, (known.len() - proper.len()) as u64);
            }
            let keep = rng.random_bool(0.5).then(|| rng.random_range(1..4));
            let (lower, upper) = bounds(&proper, keep);
            if let Some(lower) = lower.filter(|_| rng.random_bool(0.85)) {
                staged.lower_bounds.insert(id, encode(&lower, rng));
            }
            if let Some(upper) = upper.filter(|_| rng.random_bool(0.85)) {
                staged.upper_bounds.insert(id, encode(&upper, rng));
            }
        }
    }
    Some(files)
}

/// The manifest that lists all of `files`.
fn manifest(files: &[File], spec: &PartitionSpec) -> ManifestFile {
    let summary = |at: usize| {
        let values: Vec<&Datum> = files.iter().filter_map(|file| file.tuple[at].as_ref()).collect();
        let proper: Vec<&Datum> = values.iter().copied().filter(|datum| !datum.is_nan()).collect();
        let (lower, upper) = bounds(&proper, None);
        let bytes =
            |bound: Option<Datum>| bound.map(|datum| encode(&datum, &mut StdRng::seed_from_u64(0)).into());
        FieldSummary {
            contains_null: values.len() < files.len(),
            contains_nan: Some(proper.len() < values.len()),
            lower_bound: bytes(lower),
            upper_bound: bytes(upper),
        }
    };
    let partitions = (0..spec.fields().len()).map(summary).collect();
    ManifestFile { partitions: Some(partitions), ..super::manifest(false, None, None) }
}

#[derive(Default)]
struct Tally {
    judged: u32,
    pruned: u32,
    pruned_by_partition: u32,
    strict: u32,
    manifests_pruned: u32,
}

fn run(seed: u64, tally: &mut Tally) {
    let rng = &mut StdRng::seed_from_u64(seed);
    let types: Vec<T> = (0..rng.random_range(1..4)).map(|_| TYPES.choose(rng).unwrap().clone()).collect();
    let fields = types.iter().enumerate().map(|(at, ty)| {
        NestedField::optional(at as i32 + 1, format!("c{at}"), Type::Primitive(ty.clone())).into()
    });
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let mut unbound = UnboundPartitionSpec::builder().with_spec_id(0);
    let mut used = Vec::new();
    for field in 0..rng.random_range(0..3) {
        let at = rng.random_range(0..types.len());
        let transform = *transforms(&types[at]).choose(rng).unwrap();
        if !used.contains(&(at, transform.dedup_name())) {
            used.push((at, transform.dedup_name()));
            unbound = unbound.add_partition_field(at as i32 + 1, format!("p{field}"), transform).unwrap();
        }
    }
    let spec = unbound.build().bind(schema.clone()).unwrap();
    let nulls = *[0.0, 0.2, 0.5].choose(rng).unwrap();
    let rows: Vec<Row> = (0..rng.random_range(1..7))
        .map(|_| types.iter().map(|ty| (!rng.random_bool(nulls)).then(|| value(ty, rng))).collect())
        .collect();
    let legacy = rng.random_bool(0.2);
    let Some(files) = files(&types, &spec, rows.clone(), legacy, rng) else { return };
    for _ in 0..4 {
        let predicate = predicate(&types, &rows, 3, rng);
        let judge = Judge::new(&predicate, &schema, [&spec]);
        let mut any_row_matches = false;
        for file in &files {
            let predicate = &predicate;
            let matches = |semantics| {
                file.rows.iter().map(move |row| evaluate(predicate, row, semantics) == Some(true))
            };
            let some = matches(Semantics::Total).chain(matches(Semantics::Ieee)).any(|yes| yes);
            let all = matches(Semantics::Total).chain(matches(Semantics::Ieee)).all(|yes| yes);
            any_row_matches |= some;
            let told =
                || format!("seed {seed}: {predicate} over {:?} as {:?} {:?}", file.rows, spec, file.staged);
            let may = judge.may_match(&file.staged);
            let partition_may = judge.partition_may_match(&file.staged);
            assert!(may || !some, "pruned a match, {}", told());
            assert!(partition_may || !some, "partition pruned a match, {}", told());
            assert!(!judge.all_match(&file.staged) || all, "claimed too much, {}", told());
            assert!(
                !judge.partition_all_match(&file.staged) || all,
                "partition claimed too much, {}",
                told()
            );
            tally.judged += 1;
            tally.pruned += u32::from(!may);
            tally.pruned_by_partition += u32::from(!partition_may);
            tally.strict += u32::from(judge.all_match(&file.staged));
        }
        let kept = judge.manifest_may_match(&manifest(&files, &spec));
        assert!(kept || !any_row_matches, "seed {seed}: manifest pruned a match of {predicate}");
        tally.manifests_pruned += u32::from(!kept);
    }
}

#[test]
fn no_judgment_is_ever_wrong() {
    let mut tally = Tally::default();
    for seed in 0..10_000 {
        run(seed, &mut tally);
    }
    // A judge that never says anything would pass; this one must say a lot.
    assert!(tally.judged > 50_000, "{}", tally.judged);
    assert!(tally.pruned * 4 > tally.judged, "{} of {} pruned", tally.pruned, tally.judged);
    assert!(tally.pruned_by_partition * 20 > tally.judged, "{} by partition", tally.pruned_by_partition);
    assert!(tally.strict * 8 > tally.judged, "{} strict", tally.strict);
    assert!(tally.manifests_pruned * 100 > tally.judged, "{} manifests", tally.manifests_pruned);
}

/// Keeps the reference honest where it matters most.
#[test]
fn the_reference_follows_sql() {
    let row = vec![None];
    let five = || Datum::int(5);
    for semantics in [Semantics::Total, Semantics::Ieee] {
        assert_eq!(evaluate(&Reference::new("c0").not_equal_to(five()), &row, semantics), None);
        assert_eq!(evaluate(&!Reference::new("c0").is_in([five()]), &row, semantics), None);
        assert_eq!(evaluate(&Reference::new("c0").is_null(), &row, semantics), Some(true));
    }
}
