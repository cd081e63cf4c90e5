//! Sets, blobs and files of deletion vectors; against the specification's framing, and against broken bytes.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::deletion_vector::{decode, encode};
use super::*;
use crate::error::ErrorKind;

fn set(positions: impl IntoIterator<Item = u64>) -> PositionSet {
    positions.into_iter().collect()
}

#[test]
fn a_set_says_what_is_new() {
    let mut positions = PositionSet::new();
    assert!(positions.is_empty());
    assert!(positions.insert(7));
    assert!(!positions.insert(7));
    assert_eq!(positions.insert_range(5..10), 4);
    assert_eq!(positions.insert_range(10..10), 0);
    assert_eq!((positions.len(), positions.min(), positions.max()), (5, Some(5), Some(9)));
    assert_eq!(positions.count_in(0..7), 2);
    assert!(positions.contains(9) && !positions.contains(10));
}

#[test]
fn sets_meet() {
    let (a, b) = (set([1, 2, 3, 1 << 40]), set([3, 4, 1 << 40]));
    assert_eq!(a.intersection_len(&b), 2);
    assert_eq!(a.intersection(&b), set([3, 1 << 40]));
    assert!(!a.is_disjoint(&b) && a.is_disjoint(&set([9])));
    let (mut union, mut rest) = (a.clone(), a);
    union.union_with(&b);
    rest.subtract(&b);
    assert_eq!((union, rest), (set([1, 2, 3, 4, 1 << 40]), set([1, 2])));
}

#[test]
fn ranges_are_as_long_as_they_can_be() {
    let border = 1_u64 << 32;
    let mut positions = set([0, 2, 3, 4, 70_000]);
    positions.insert_range(border - 2..border + 3);
    positions.insert_range(65_530..65_540);
    let ranges: Vec<_> = positions.ranges().collect();
    assert_eq!(ranges, [0..1, 2..5, 65_530..65_540, 70_000..70_001, border - 2..border + 3]);
    assert_eq!(PositionSet::new().ranges().next(), None);
    let within = |range: std::ops::Range<u64>| {
        positions.ranges_in(range).map(|range| (range.start, range.end)).collect::<Vec<_>>()
    };
    assert_eq!(within(3..65_535), [(3, 5), (65_530, 65_535)]);
    assert_eq!(within(border - 1..border + 1), [(border - 1, border + 1)]);
    assert_eq!(within(border + 2..u64::MAX), [(border + 2, border + 3)]);
    assert_eq!(within(5..5), []);
    assert_eq!(within(5..65_530), []);
}

/// The frame, byte by byte: length 42 = magic + bitmap, big-endian; bitmap of one key; CRC-32 of what is between.
#[test]
fn a_blob_is_framed_as_the_specification_says() {
    let blob = encode(&set([1, 3]));
    let bitmap = [
        1, 0, 0, 0, 0, 0, 0, 0, // one 32-bit bitmap
        0, 0, 0, 0, // of key 0
        0x3a, 0x30, 0, 0, // without run containers
        1, 0, 0, 0, // one container
        0, 0, 1, 0, // of key 0 and two values
        16, 0, 0, 0, // at byte 16
        1, 0, 3, 0, // the values
    ];
    assert_eq!(blob[..4], (4 + bitmap.len() as u32).to_be_bytes());
    assert_eq!(blob[4..8], [0xd1, 0xd3, 0x39, 0x64]);
    assert_eq!(blob[8..blob.len() - 4], bitmap);
    let mut sum = flate2::Crc::new();
    sum.update(&blob[4..blob.len() - 4]);
    assert_eq!(blob[blob.len() - 4..], sum.sum().to_be_bytes());
    assert_eq!(decode(&blob, Some(2)).unwrap(), set([1, 3]));
}

#[test]
fn runs_are_packed() {
    let mut positions = PositionSet::new();
    positions.insert_range(0..1_000_000);
    assert!(encode(&positions).len() < 400, "{}", encode(&positions).len());
    assert_eq!(decode(&encode(&positions), None).unwrap(), positions);
}

/// Java's writer names every key up to the greatest, of empty bitmaps too.
#[test]
fn empty_parts_are_read_over() {
    let mut bytes = 3_u64.to_le_bytes().to_vec();
    for (key, value) in [(0_u32, None), (1, None), (2, Some(5_u32))] {
        bytes.extend(key.to_le_bytes());
        roaring::RoaringBitmap::from_iter(value).serialize_into(&mut bytes).unwrap();
    }
    let positions = PositionSet::from_portable(&bytes).unwrap();
    assert_eq!(positions, set([(2 << 32) + 5]));
    assert_eq!(PositionSet::from_portable(&positions.to_portable()).unwrap(), positions);
}

fn refused(blob: &[u8], expected: Option<u64>) -> String {
    let error = decode(blob, expected).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    error.to_string()
}

fn framed(bitmap: &[u8]) -> Vec<u8> {
    let mut blob = (bitmap.len() as u32 + 4).to_be_bytes().to_vec();
    blob.extend([0xd1, 0xd3, 0x39, 0x64]);
    blob.extend(bitmap);
    let sum = crc32fast::hash(&blob[4..]);
    blob.extend(sum.to_be_bytes());
    blob
}

#[test]
fn every_lie_of_a_blob_is_told() {
    let good = encode(&set([1, 3]));
    assert!(refused(&good, Some(3)).contains("holds 2 positions, and 3 are recorded"));
    assert!(refused(&good[..good.len() - 1], None).contains("says"));
    assert!(refused(&[], None).contains("0 bytes"));
    for (at, what) in [(3, "says"), (4, "magic"), (good.len() - 1, "checksum"), (12, "checksum")] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(refused(&bad, None).contains(what), "{at}: {}", refused(&bad, None));
    }
    let bitmap = good[8..good.len() - 4].to_vec();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bitmap = bitmap.clone();
        change(&mut bitmap);
        refused(&framed(&bitmap), None)
    };
    assert!(with(&|b| b.push(0)).contains("bytes follow"));
    assert!(with(&|b| b[11] = 0x80).contains("out of range"));
    assert!(with(&|b| b[0] = 2).contains("ends early"));
    assert!(with(&|b| b[7] = 0xff).contains("ends early"));
    assert!(with(&|b| b[28] = 9).contains("cannot be read"), "values do not ascend");
    // Two bitmaps of one key.
    let twice = with(&|b| {
        b[0] = 2;
        let part = b[8..].to_vec();
        b.extend(part);
    });
    assert!(twice.contains("do not ascend"), "{twice}");
}

#[test]
fn a_short_blob_cannot_claim_much_memory() {
    // 65,536 containers without their bytes; 2⁶⁴ bitmaps.
    let mut claim = u64::MAX.to_le_bytes().to_vec();
    claim.extend([0; 4]);
    claim.extend([0x3b, 0x30, 0xff, 0xff]);
    refused(&framed(&claim), None);
    let mut claim = 1_u64.to_le_bytes().to_vec();
    claim.extend([0; 4]);
    claim.extend([0x3a, 0x30, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    refused(&framed(&claim), None);
}

#[test]
fn a_puffin_file_lists_its_blobs() {
    let mut writer = PuffinWriter::new();
    assert!(writer.is_empty());
    let sets = [("s3://b/a \"quoted\".parquet", set([1, 3])), ("file:///b", set(0..1000))];
    let places: Vec<_> =
        sets.iter().map(|(path, positions)| writer.add_deletion_vector(path, positions)).collect();
    assert_eq!(writer.len() as i64, places[1].0 + places[1].1);
    let file = writer.finish();
    assert_eq!((&file[..4], &file[file.len() - 4..]), (&b"PFA1"[..], &b"PFA1"[..]));
    assert_eq!(file[file.len() - 8..file.len() - 4], [0; 4]);
    let length = u32::from_le_bytes(file[file.len() - 12..file.len() - 8].try_into().unwrap()) as usize;
    let footer = &file[file.len() - 12 - length..file.len() - 12];
    assert_eq!(&file[file.len() - 16 - length..file.len() - 12 - length], b"PFA1");
    let footer: serde_json::Value = serde_json::from_slice(footer).unwrap();
    assert!(footer["properties"]["created-by"].as_str().unwrap().starts_with("Icecap"));
    for (((path, positions), (offset, length)), blob) in
        sets.iter().zip(&places).zip(footer["blobs"].as_array().unwrap())
    {
        assert_eq!(
            *blob,
            serde_json::json!({
                "type": "deletion-vector-v1", "fields": [2_147_483_645_i32],
                "snapshot-id": -1, "sequence-number": -1, "offset": offset, "length": length,
                "properties": { "referenced-data-file": path, "cardinality": positions.len().to_string() },
            })
        );
        let (offset, length) = (*offset as usize, *length as usize);
        assert_eq!(decode(&file[offset..offset + length], Some(positions.len())).unwrap(), *positions);
    }
}

/// Spark 4.1 with Iceberg 1.12 wrote it: `DELETE … WHERE id % 1000 = 7 OR id BETWEEN 50000 AND 150000 OR id = 199999`
/// over the ids 0 to 199999 in their order.
#[test]
fn a_deletion_vector_of_spark_is_understood() {
    let file = include_bytes!("testdata/spark.puffin");
    let positions = decode(&file[4..4 + 475], Some(100_102)).unwrap();
    let expected =
        (0..200_000_u64).filter(|id| id % 1000 == 7 || (50_000..=150_000).contains(id) || *id == 199_999);
    assert!(positions.iter().eq(expected));
    // Written again it is the same, byte for byte.
    assert_eq!(encode(&positions), &file[4..4 + 475]);
}

/// Positions that lie close together, in blocks, and far apart.
fn positions() -> impl Strategy<Value = BTreeSet<u64>> {
    let far = prop::collection::btree_set(0..1_u64 << 63, 0..20);
    let near = (0_u64..1 << 34, prop::collection::btree_set(0_u64..200_000, 0..300));
    let block = (0_u64..1 << 34, 0_u64..70_000);
    (far, near, block).prop_map(|(far, (base, near), (start, length))| {
        let near = near.into_iter().map(|at| base + at);
        far.into_iter().chain(near).chain(start..start + length).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blobs_come_back(expected in positions()) {
        let positions = set(expected.iter().copied());
        let blob = encode(&positions);
        let back = decode(&blob, Some(expected.len() as u64)).unwrap();
        prop_assert_eq!(&back, &positions);
        prop_assert!(back.iter().eq(expected.iter().copied()));
        let mut last = None;
        let mut count = 0;
        for range in back.ranges() {
            prop_assert!(last.is_none_or(|last| last < range.start));
            prop_assert!(range.clone().all(|at| expected.contains(&at)));
            count += range.end - range.start;
            last = Some(range.end);
        }
        prop_assert_eq!(count, expected.len() as u64);
    }

    #[test]
    fn random_bytes_break_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, None);
        let _ = PositionSet::from_portable(&bytes);
        let _ = decode(&framed(&bytes), None);
    }

    #[test]
    fn damaged_bitmaps_break_nothing(
        expected in positions(), at in any::<prop::sample::Index>(), flip in 1_u8.., cut in any::<prop::sample::Index>(),
    ) {
        let mut bitmap = set(expected).to_portable();
        let at = at.index(bitmap.len());
        bitmap[at] ^= flip;
        if let Ok(positions) = PositionSet::from_portable(&bitmap) {
            // Whatever it became, it is a set like any other.
            prop_assert!(positions.ranges().map(|range| range.end - range.start).sum::<u64>() == positions.len());
            let _ = positions.max().is_none_or(|max| max < 1 << 63);
        }
        let _ = PositionSet::from_portable(&bitmap[..cut.index(bitmap.len())]);
    }
}
