//! The kernel's partition transforms against the test values of the table specification.
//!
//! Nothing of ours is tested here but the choice of kernel: a release that changed one of these values would
//! put rows into partitions where no other engine looks for them.

use iceberg::spec::{Datum, Transform};
use iceberg::transform::create_transform_function;
use uuid::Uuid;

fn apply(transform: Transform, value: &Datum) -> Option<Datum> {
    create_transform_function(&transform).unwrap().transform_literal(value).unwrap()
}

/// Appendix B, "32-bit hash requirements". The bucket is the hash without its sign, modulo N.
#[test]
fn buckets_are_those_of_appendix_b() {
    let uuid = Uuid::parse_str("f79c3e09-677c-4bbd-a479-3f349cb785e7").unwrap();
    let nanoseconds = 1_510_871_468_000_001_001;
    let cases: [(Datum, i32); 16] = [
        (Datum::int(34), 2_017_239_379),
        (Datum::long(34), 2_017_239_379),
        (Datum::decimal_from_str("14.20").unwrap(), -500_754_589),
        (Datum::date_from_str("2017-11-16").unwrap(), -653_330_422),
        (Datum::time_from_str("22:31:08").unwrap(), -662_762_989),
        (Datum::timestamp_from_str("2017-11-16T22:31:08").unwrap(), -2_047_944_441),
        (Datum::timestamp_from_str("2017-11-16T22:31:08.000001").unwrap(), -1_207_196_810),
        (Datum::timestamptz_from_str("2017-11-16T14:31:08-08:00").unwrap(), -2_047_944_441),
        (Datum::timestamptz_from_str("2017-11-16T14:31:08.000001-08:00").unwrap(), -1_207_196_810),
        (Datum::timestamp_nanos(1_510_871_468_000_000_000), -2_047_944_441),
        (Datum::timestamp_nanos(nanoseconds), -1_207_196_810),
        (Datum::timestamptz_nanos(nanoseconds), -1_207_196_810),
        (Datum::string("iceberg"), 1_210_000_089),
        (Datum::uuid(uuid), 1_488_055_340),
        (Datum::fixed([0, 1, 2, 3]), -188_683_207),
        (Datum::binary([0, 1, 2, 3]), -188_683_207),
    ];
    for (value, hash) in cases {
        for buckets in [2, 16, 100, i32::MAX] {
            let expected = Datum::int((hash & i32::MAX) % buckets);
            let transform = Transform::Bucket(buckets.unsigned_abs());
            assert_eq!(apply(transform, &value), Some(expected), "bucket[{buckets}]({value})");
        }
    }
}

/// "Truncate transform details".
#[test]
fn truncation_goes_down_also_below_zero_and_counts_characters() {
    let ten = Transform::Truncate(10);
    for (value, expected) in [(1, 0), (9, 0), (10, 10), (-1, -10), (-10, -10), (-11, -20)] {
        assert_eq!(apply(ten, &Datum::int(value)), Some(Datum::int(expected)), "{value}");
        assert_eq!(apply(ten, &Datum::long(value)), Some(Datum::long(expected)), "{value}");
    }
    let decimal = |text: &str| Datum::decimal_from_str(text).unwrap();
    // Width 50 on unscaled values; the kernel hands the unscaled value back.
    for (value, unscaled) in [("10.65", "1050"), ("-0.05", "-50"), ("0.00", "0")] {
        let truncated = apply(Transform::Truncate(50), &decimal(value)).unwrap();
        assert_eq!(truncated.literal(), decimal(unscaled).literal(), "{value}");
    }
    let three = Transform::Truncate(3);
    for (value, expected) in
        [("iceberg", "ice"), ("ic", "ic"), ("", ""), ("äöüß", "äöü"), ("🧊🧊🧊🧊", "🧊🧊🧊")]
    {
        assert_eq!(apply(three, &Datum::string(value)), Some(Datum::string(expected)));
    }
}

#[test]
fn times_before_the_epoch_belong_to_the_unit_below() {
    // (microseconds, year, month, day, hour)
    let cases = [
        ("2017-11-16T22:31:08.000001", 47, 574, 17_486, 419_686),
        ("1970-01-01T00:00:00", 0, 0, 0, 0),
        ("1969-12-31T23:59:59.999999", -1, -1, -1, -1),
        ("1969-12-31T00:00:00", -1, -1, -1, -24),
        ("1969-01-01T00:00:00", -1, -12, -365, -8_760),
        ("1968-12-31T23:00:00", -2, -13, -366, -8_761),
        ("1900-02-28T12:00:00", -70, -839, -25_509, -612_204),
        ("9999-12-31T23:59:59.999999", 8_029, 96_359, 2_932_896, 70_389_527),
    ];
    for (text, year, month, day, hour) in cases {
        let stamp = Datum::timestamp_from_str(text).unwrap();
        let zoned = Datum::timestamptz_from_str(format!("{text}+00:00")).unwrap();
        for value in [&stamp, &zoned] {
            assert_eq!(apply(Transform::Year, value), Some(Datum::int(year)), "{text}");
            assert_eq!(apply(Transform::Month, value), Some(Datum::int(month)), "{text}");
            assert_eq!(apply(Transform::Day, value), Some(Datum::date(day)), "{text}");
            assert_eq!(apply(Transform::Hour, value), Some(Datum::int(hour)), "{text}");
        }
        let date = Datum::date(day);
        assert_eq!(apply(Transform::Year, &date), Some(Datum::int(year)), "{text}");
        assert_eq!(apply(Transform::Month, &date), Some(Datum::int(month)), "{text}");
        assert_eq!(apply(Transform::Day, &date), Some(Datum::date(day)), "{text}");
    }
    for (nanoseconds, day, hour) in [(-1, -1, -1), (0, 0, 0), (-86_400_000_000_001, -2, -25)] {
        let value = Datum::timestamp_nanos(nanoseconds);
        assert_eq!(apply(Transform::Day, &value), Some(Datum::date(day)), "{nanoseconds}");
        assert_eq!(apply(Transform::Hour, &value), Some(Datum::int(hour)), "{nanoseconds}");
    }
}

#[test]
fn identity_keeps_and_void_drops() {
    let void = create_transform_function(&Transform::Void).unwrap();
    for value in [Datum::int(7), Datum::string("é"), Datum::date(-3), Datum::bool(true)] {
        assert_eq!(apply(Transform::Identity, &value), Some(value.clone()));
        assert_eq!(void.transform_literal(&value).unwrap(), None);
    }
}
