use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const HOUR_MS: i64 = 3_600_000;

/// Hours before now, and the parent's place in the list.
type Made = (i64, Option<usize>);

const NOW_MS: i64 = 1_800_000_000_000;

/// A table of snapshots 1, 2, 3, … made so long ago; references as they are stored.
fn table(snapshots: &[Made], refs: &Value) -> TableDocument {
    let all: Vec<Value> = snapshots
        .iter()
        .enumerate()
        .map(|(at, (hours, parent))| {
            let mut snapshot = json!({
                "snapshot-id": at + 1, "sequence-number": at + 1, "timestamp-ms": NOW_MS - hours * HOUR_MS,
                "manifest-list": format!("file:///w/t/metadata/snap-{}.avro", at + 1),
                "summary": {"operation": "append"}, "schema-id": 0
            });
            if let Some(parent) = parent {
                snapshot["parent-snapshot-id"] = (parent + 1).into();
            }
            snapshot
        })
        .collect();
    let current = refs.get("main").and_then(|main| main["snapshot-id"].as_i64()).unwrap_or(-1);
    let tree = json!({
        "format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1", "location": "file:///w/t",
        "last-sequence-number": snapshots.len(), "last-updated-ms": NOW_MS, "last-column-id": 1,
        "schemas": [{"type": "struct", "schema-id": 0,
            "fields": [{"id": 1, "name": "a", "required": false, "type": "long"}]}],
        "current-schema-id": 0, "partition-specs": [{"spec-id": 0, "fields": []}], "default-spec-id": 0,
        "last-partition-id": 999, "sort-orders": [{"order-id": 0, "fields": []}], "default-sort-order-id": 0,
        "properties": {}, "current-snapshot-id": current, "refs": refs, "snapshots": all,
        "snapshot-log": [], "metadata-log": []
    });
    TableDocument::parse(tree.to_string().as_bytes()).unwrap()
}

fn policy(hours: i64, min_snapshots: u64) -> Policy {
    Policy {
        now_ms: NOW_MS,
        older_than_ms: NOW_MS - hours * HOUR_MS,
        min_snapshots,
        max_ref_age_ms: i64::MAX,
    }
}

fn branch(snapshot: usize) -> Value {
    json!({"snapshot-id": snapshot, "type": "branch"})
}

fn gone(document: &TableDocument, policy: &Policy) -> Vec<i64> {
    expiry(document, policy, &HashSet::new()).unwrap().snapshots
}

/// 1 ← 2 ← 3 ← 4, 40, 30, 20 and 10 hours old.
const CHAIN: [Made; 4] = [(40, None), (30, Some(0)), (20, Some(1)), (10, Some(2))];

#[test]
fn a_branch_keeps_what_is_young_and_so_many_at_least() {
    let document = table(&CHAIN, &json!({"main": branch(4)}));
    assert_eq!(gone(&document, &policy(25, 1)), [1, 2]);
    assert_eq!(gone(&document, &policy(25, 3)), [1]);
    assert_eq!(gone(&document, &policy(0, 1)), [1, 2, 3]);
    assert_eq!(gone(&document, &policy(0, 100)), [0_i64; 0]);
    assert_eq!(gone(&document, &policy(100, 1)), [0_i64; 0]);
}

#[test]
fn the_head_stays_however_old() {
    let document = table(&[(400, None)], &json!({"main": branch(1)}));
    assert_eq!(gone(&document, &policy(0, 1)), [0_i64; 0]);
}

#[test]
fn pinned_snapshots_stay() {
    let document = table(&CHAIN, &json!({"main": branch(4)}));
    let expiry = expiry(&document, &policy(0, 1), &HashSet::from([2])).unwrap();
    assert_eq!(expiry.snapshots, [1, 3]);
}

#[test]
fn branches_and_tags_have_rules_of_their_own() {
    let refs = json!({
        "main": branch(4),
        "audit": {"snapshot-id": 3, "type": "branch", "min-snapshots-to-keep": 2, "max-snapshot-age-ms": HOUR_MS},
        "year": {"snapshot-id": 1, "type": "tag"},
    });
    // 1 by its tag, 2 and 3 by the other branch, 4 is main's head.
    assert_eq!(gone(&table(&CHAIN, &refs), &policy(0, 1)), [0_i64; 0]);
    let refs = json!({
        "main": branch(4),
        "audit": {"snapshot-id": 3, "type": "branch", "max-ref-age-ms": 19 * HOUR_MS},
        "year": {"snapshot-id": 1, "type": "tag", "max-ref-age-ms": 41 * HOUR_MS},
    });
    let found = expiry(&table(&CHAIN, &refs), &policy(0, 1), &HashSet::new()).unwrap();
    assert_eq!(found, Expiry { snapshots: vec![2, 3], references: vec!["audit".into()] });
}

#[test]
fn main_never_expires_and_others_do_by_the_tables_own_age() {
    let refs = json!({"main": branch(1), "old": branch(1)});
    let strict = Policy { max_ref_age_ms: HOUR_MS, ..policy(0, 1) };
    let found = expiry(&table(&[(400, None)], &refs), &strict, &HashSet::new()).unwrap();
    assert_eq!(found, Expiry { snapshots: vec![], references: vec!["old".into()] });
}

#[test]
fn a_snapshot_without_a_reference_stays_until_it_is_old() {
    // 3 was staged on 1 and never published.
    let document = table(&[(40, None), (30, Some(0)), (20, Some(0))], &json!({"main": branch(2)}));
    assert_eq!(gone(&document, &policy(25, 5)), [0_i64; 0]);
    assert_eq!(gone(&document, &policy(15, 5)), [3]);
}

#[test]
fn a_table_without_snapshots_lets_nothing_go() {
    assert_eq!(gone(&table(&[], &json!({})), &policy(0, 1)), [0_i64; 0]);
}

proptest! {
    /// Whatever the history: heads, pins and what is young in a branch stay, and only old ones go.
    #[test]
    fn nothing_goes_that_is_needed(
        parents in prop::collection::vec((0_i64..100, 0_usize..20), 1..20),
        heads in prop::collection::vec(0_usize..20, 1..4),
        pins in prop::collection::hash_set(1_i64..20, 0..4),
        hours in 0_i64..100,
        min in 1_u64..4,
    ) {
        let made: Vec<Made> = parents
            .iter()
            .enumerate()
            .map(|(at, (hours, parent))| (*hours, (at > 0).then(|| parent % at.max(1))))
            .collect();
        let names = ["main", "a", "b", "c"];
        let refs: serde_json::Map<String, Value> = heads
            .iter()
            .zip(names)
            .map(|(head, name)| (name.to_owned(), branch(head % made.len() + 1)))
            .collect();
        let document = table(&made, &Value::Object(refs));
        let found = expiry(&document, &policy(hours, min), &pins).unwrap();
        for id in &found.snapshots {
            let (age, _) = made[usize::try_from(*id - 1).unwrap()];
            prop_assert!(!pins.contains(id));
            prop_assert!(heads.iter().all(|head| (head % made.len() + 1) as i64 != *id));
            // Clocks may go back along a chain: then what is young behind something old goes too.
            let chain_is_ordered = made.iter().all(|(h, p)| p.is_none_or(|p| made[p].0 >= *h));
            prop_assert!(age > hours || !chain_is_ordered);
        }
    }
}
