//! The three-way merge that keeps what the kernel does not model.
//!
//! Given the stored tree, and the model's JSON before and after a change: where the model did not change,
//! the stored node stays, whatever it holds; where it did, the new model's node is taken, object by object
//! and, in lists of things with ids, thing by thing.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// The lists of a metadata file whose members have ids.
const IDENTIFIED: [(&str, &str); 7] = [
    ("snapshots", "snapshot-id"),
    ("schemas", "schema-id"),
    ("partition-specs", "spec-id"),
    ("sort-orders", "order-id"),
    ("statistics", "snapshot-id"),
    ("partition-statistics", "snapshot-id"),
    ("encryption-keys", "key-id"),
];

/// The stored tree with the model's change from `old` to `new` made in it.
pub(super) fn merge(stored: &Value, old: &Value, new: Value) -> Value {
    node(stored, old, new, "")
}

fn node(stored: &Value, old: &Value, new: Value, name: &str) -> Value {
    if *old == new {
        return stored.clone();
    }
    match (stored, old, new) {
        (Value::Object(stored), Value::Object(old), Value::Object(new)) => {
            Value::Object(object(stored, old, new))
        }
        (Value::Array(stored), Value::Array(old), Value::Array(new)) => {
            match IDENTIFIED.iter().find(|(list, _)| *list == name) {
                Some((_, id)) => Value::Array(identified(stored, old, new, id)),
                None => Value::Array(positional(stored, old, new)),
            }
        }
        (_, _, new) => new,
    }
}

fn object(
    stored: &Map<String, Value>,
    old: &Map<String, Value>,
    mut new: Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = Map::new();
    for (key, value) in stored {
        match (old.get(key), new.remove(key)) {
            (Some(old), Some(new)) => merged.insert(key.clone(), node(value, old, new, key)),
            (None, Some(new)) => merged.insert(key.clone(), new),
            // The model knew it, and it is gone.
            (Some(_), None) => None,
            // The model never knew it.
            (None, None) => merged.insert(key.clone(), value.clone()),
        };
    }
    for (key, value) in new {
        // What the model only fills in by itself stays out.
        if old.get(&key) != Some(&value) {
            merged.insert(key, value);
        }
    }
    merged
}

fn identified(stored: &[Value], old: &[Value], new: Vec<Value>, id: &str) -> Vec<Value> {
    let key = |value: &Value| value.get(id).map(Value::to_string);
    let old: HashMap<_, _> = old.iter().map(|value| (key(value), value)).collect();
    let mut added = Vec::new();
    let mut changed = HashMap::new();
    let known: HashMap<_, ()> = stored.iter().map(|value| (key(value), ())).collect();
    for value in new {
        let at = key(&value);
        if known.contains_key(&at) {
            changed.insert(at, value);
        } else {
            added.push(value)
        }
    }
    let mut merged = Vec::with_capacity(changed.len() + added.len());
    for value in stored {
        let at = key(value);
        match (old.get(&at), changed.remove(&at)) {
            (Some(old), Some(new)) => merged.push(node(value, old, new, "")),
            (None, Some(new)) => merged.push(new),
            (Some(_), None) => {}
            (None, None) => merged.push(value.clone()),
        }
    }
    // The model keeps its lists in no order.
    added.sort_by_key(|value| {
        let number = |name: &str| value.get(name).and_then(Value::as_i64);
        (number("sequence-number"), number("timestamp-ms"), number(id))
    });
    merged.append(&mut added);
    merged
}

/// Lists without ids (the logs): a node that the model had before keeps its stored form.
fn positional(stored: &[Value], old: &[Value], new: Vec<Value>) -> Vec<Value> {
    if stored.len() != old.len() {
        return new;
    }
    let mut next = 0;
    new.into_iter()
        .map(|value| match old[next..].iter().position(|before| *before == value) {
            Some(skipped) => {
                next += skipped + 1;
                stored[next - 1].clone()
            }
            None => value,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_did_not_change_keeps_what_the_model_does_not_know() {
        let stored = json!({"x": {"a": 1, "strange": [1.5]}, "b": 2, "unknown": null});
        let old = json!({"x": {"a": 1}, "b": 2, "filled-in": []});
        assert_eq!(merge(&stored, &old, old.clone()), stored);
        let new = json!({"x": {"a": 3}, "filled-in": [], "c": 4});
        assert_eq!(
            merge(&stored, &old, new),
            json!({"x": {"a": 3, "strange": [1.5]}, "unknown": null, "c": 4})
        );
    }

    #[test]
    fn things_are_found_by_their_id_and_new_ones_come_last_in_order() {
        let stored = json!({"snapshots": [
            {"snapshot-id": 2, "odd": true}, {"snapshot-id": 1, "odd": false}, {"snapshot-id": 9}]});
        let old = json!({"snapshots": [{"snapshot-id": 1}, {"snapshot-id": 2}]});
        let new = json!({"snapshots": [
            {"snapshot-id": 7, "sequence-number": 4}, {"snapshot-id": 2}, {"snapshot-id": 8, "sequence-number": 3}]});
        let merged = merge(&stored, &old, new);
        assert_eq!(
            merged,
            json!({"snapshots": [
                {"snapshot-id": 2, "odd": true}, {"snapshot-id": 9},
                {"snapshot-id": 8, "sequence-number": 3}, {"snapshot-id": 7, "sequence-number": 4}]})
        );
    }

    #[test]
    fn a_log_keeps_the_stored_form_of_its_old_entries() {
        let stored = json!({"log": [{"t": 1, "odd": 1}, {"t": 2, "odd": 2}]});
        let old = json!({"log": [{"t": 1}, {"t": 2}]});
        let new = json!({"log": [{"t": 2}, {"t": 3}]});
        assert_eq!(merge(&stored, &old, new), json!({"log": [{"t": 2, "odd": 2}, {"t": 3}]}));
    }
}
