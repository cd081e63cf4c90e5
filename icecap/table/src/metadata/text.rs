//! A metadata file's text in pieces, so that a commit touches only what it changes.
//!
//! A table of a thousand snapshots has a metadata file of a megabyte, of which an append changes a few
//! lines. The top-level members are kept as slices of the stored text, byte for byte, and so are the members
//! of the three lists that grow with every commit; what is old of these lists is compressed once (`list`).

use bytes::Bytes;
use serde_json::Value;

use super::cursor::Cursor;
use super::gzip::Gzip;
use super::list::List;
use crate::error::{Error, Result};

/// The lists that are kept in pieces.
const LISTS: [&str; 3] = ["snapshots", "snapshot-log", "metadata-log"];

/// A member's comma, quotes and colon.
const PUNCTUATION: usize = 4;

/// The text of a JSON object; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Text {
    members: Vec<(String, Node)>,
}

#[derive(Debug, Clone)]
enum Node {
    Whole(Bytes),
    List(List),
}

impl Text {
    /// Cuts the text of a JSON object up.
    ///
    /// # Errors
    /// `Corrupt` when it is none. Values are cut out, not looked into: they are JSON when `json` was read as
    /// JSON before.
    pub(super) fn cut(json: &Bytes) -> Result<Self> {
        let broken = || Error::corrupt("metadata file is not a JSON object");
        let mut members: Vec<(String, Node)> = Vec::new();
        for (key, value) in Cursor::new(json).object().ok_or_else(broken)? {
            let key: String = serde_json::from_slice(&key).map_err(|e| broken().with_source(e))?;
            if members.iter().any(|(other, _)| *other == key) {
                return Err(Error::corrupt("metadata file has a member twice").with("member", key));
            }
            let is_list = LISTS.contains(&key.as_str()) && value.starts_with(b"[");
            let node = match is_list {
                true => Node::List(List::new(Cursor::new(&value).array().ok_or_else(broken)?)),
                false => Node::Whole(value),
            };
            members.push((key, node));
        }
        Ok(Self { members })
    }

    /// Its length in bytes; only what has to be escaped in a key of the top level is not counted.
    pub(super) fn length(&self) -> usize {
        let members = self.members.iter().map(|(key, node)| key.len() + PUNCTUATION + node.len());
        // The braces, without a comma before the first member.
        members.sum::<usize>().saturating_sub(1) + 2
    }

    /// What is held compressed beside the text, in bytes.
    pub(super) fn compressed_bytes(&self) -> usize {
        self.lists().map(|(_, list)| list.compressed_bytes()).sum()
    }

    /// The text of a tree.
    pub(super) fn of(tree: &Value) -> Result<Self> {
        Self::cut(&encoded(tree)?)
    }

    /// This text, which shares what it has in common with `known`: that is compressed already.
    pub(super) fn sharing(mut self, known: &Self) -> Self {
        for (key, node) in &mut self.members {
            let Node::List(list) = node else { continue };
            if let Some((_, known)) = known.lists().find(|(other, _)| other == key) {
                *list = list.sharing(known);
            }
        }
        self
    }

    fn lists(&self) -> impl Iterator<Item = (&str, &List)> {
        self.members.iter().filter_map(|(key, node)| match node {
            Node::List(list) => Some((key.as_str(), list)),
            Node::Whole(_) => None,
        })
    }

    /// The tree of this text.
    pub(super) fn tree(&self) -> Result<Value> {
        decoded(&self.to_bytes())
    }

    /// One member's value, if there is one that is not null.
    pub(super) fn get(&self, key: &str) -> Result<Option<Value>> {
        let Some((_, node)) = self.members.iter().find(|(other, _)| other == key) else { return Ok(None) };
        let mut text = Vec::new();
        node.write(&mut text);
        let value: Value = decoded(&text)?;
        Ok(Some(value).filter(|value| !value.is_null()))
    }

    /// How many members a list has; none when it is absent.
    pub(super) fn list_len(&self, key: &str) -> usize {
        self.lists().find(|(other, _)| *other == key).map_or(0, |(_, list)| list.len())
    }

    /// Replaces a member's value in its place, or adds it at the end.
    pub(super) fn set(&mut self, key: &str, value: &impl serde::Serialize) -> Result<()> {
        let value = Node::Whole(encoded(value)?);
        match self.members.iter_mut().find(|(other, _)| other == key) {
            Some((_, node)) => *node = value,
            None => self.members.push((key.to_owned(), value)),
        }
        Ok(())
    }

    /// Drops the first members of a list, and adds one at its end.
    pub(super) fn roll(&mut self, key: &str, dropped: usize, value: &impl serde::Serialize) -> Result<()> {
        let value = encoded(value)?;
        match self.members.iter_mut().find(|(other, _)| other == key) {
            Some((_, Node::List(list))) => list.roll(dropped, value),
            Some((_, node)) => *node = Node::List(List::new(vec![value])),
            None => self.members.push((key.to_owned(), Node::List(List::new(vec![value])))),
        }
        Ok(())
    }

    /// The whole text.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.length());
        for (at, (key, node)) in self.members.iter().enumerate() {
            begin(&mut text, at, key);
            node.write(&mut text);
        }
        end(&mut text, self.members.is_empty());
        text
    }

    /// The whole text as a gzip file of one member.
    pub(super) fn to_gzip(&self) -> Result<Vec<u8>> {
        let mut gzip = Gzip::new();
        let mut loose = Vec::new();
        for (at, (key, node)) in self.members.iter().enumerate() {
            begin(&mut loose, at, key);
            match node {
                Node::Whole(value) => loose.extend_from_slice(value),
                Node::List(list) => list.compress(&mut gzip, &mut loose)?,
            }
        }
        end(&mut loose, self.members.is_empty());
        gzip.add_text(&loose)?;
        Ok(gzip.finish())
    }
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::Whole(text) => text.len(),
            Self::List(list) => list.length(),
        }
    }

    fn write(&self, text: &mut Vec<u8>) {
        match self {
            Self::Whole(value) => text.extend_from_slice(value),
            Self::List(list) => list.write(text),
        }
    }
}

/// Writes what comes before a member's value.
fn begin(text: &mut Vec<u8>, at: usize, key: &str) {
    text.push(if at > 0 { b',' } else { b'{' });
    text.extend_from_slice(Value::from(key).to_string().as_bytes());
    text.push(b':');
}

fn end(text: &mut Vec<u8>, is_empty: bool) {
    text.extend_from_slice(if is_empty { b"{}" } else { b"}" });
}

fn encoded(value: &impl serde::Serialize) -> Result<Bytes> {
    let text = serde_json::to_vec(value);
    text.map(Bytes::from).map_err(|e| Error::bug("metadata cannot be written as JSON").with_source(e))
}

fn decoded(text: &[u8]) -> Result<Value> {
    serde_json::from_slice(text).map_err(|e| Error::corrupt("metadata file is not JSON").with_source(e))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::super::gzip::tests::inflated;
    use super::*;

    fn cut(json: &str) -> Result<Text> {
        Text::cut(&Bytes::copy_from_slice(json.as_bytes()))
    }

    #[test]
    fn what_is_not_changed_keeps_its_text() {
        let mut text =
            cut(r#" { "a\u0062" : 1.50 , "snapshots" : [ {"x":"}]\"\\"} , 2 ] , "z" : null } "#).unwrap();
        assert_eq!(text.get("ab").unwrap(), Some(json!(1.5)));
        assert_eq!((text.get("z").unwrap(), text.get("y").unwrap()), (None, None));
        assert_eq!((text.list_len("snapshots"), text.list_len("z")), (2, 0));
        text.roll("snapshots", 1, &json!(3)).unwrap();
        text.roll("metadata-log", 5, &json!({"a": 1})).unwrap();
        text.set("z", &7).unwrap();
        let expected = r#"{"ab":1.50,"snapshots":[2,3],"z":7,"metadata-log":[{"a":1}]}"#;
        assert_eq!(String::from_utf8(text.to_bytes()).unwrap(), expected);
        text.roll("z", 0, &1).unwrap();
        assert_eq!(text.get("z").unwrap(), Some(json!([1])));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for json in [
            "",
            "[]",
            "1",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":}",
            "{\"a\":\"\\",
            "{\"a\":[",
            "{1:2}",
        ] {
            cut(json).expect_err(json);
        }
        assert!(cut(r#"{"a":1,"\u0061":2}"#).unwrap_err().to_string().contains("twice"));
        assert_eq!(cut("{ }").unwrap().to_bytes(), b"{}");
    }

    proptest! {
        #[test]
        fn any_object_comes_back(members in proptest::collection::btree_map(".{0,6}", any::<Leaf>(), 0..6)) {
            let tree = Value::Object(members.into_iter().map(|(key, leaf)| (key, leaf.0)).collect());
            let pretty = serde_json::to_string_pretty(&tree).unwrap();
            prop_assert_eq!(cut(&pretty).unwrap().tree().unwrap(), tree.clone());
            prop_assert_eq!(Text::of(&tree).unwrap().tree().unwrap(), tree);
        }

        #[test]
        fn the_compressed_text_is_the_text(
            members in proptest::collection::btree_map(".{0,6}", any::<Leaf>(), 0..6),
            lists in proptest::collection::vec((0..LISTS.len(), 0..200_usize), 0..3),
            added in proptest::collection::vec((0..LISTS.len(), 0..3_usize, any::<Leaf>()), 0..9),
        ) {
            let mut tree: Map<String, Value> = members.into_iter().map(|(key, leaf)| (key, leaf.0)).collect();
            tree.extend(lists.into_iter().map(|(list, length)| (LISTS[list].to_owned(), (0..length).collect())));
            let mut text = Text::of(&Value::Object(tree)).unwrap();
            prop_assert_eq!(inflated(&text.to_gzip().unwrap()), text.to_bytes());
            for (list, dropped, leaf) in added {
                text.roll(LISTS[list], dropped, &leaf.0).unwrap();
                prop_assert_eq!(inflated(&text.to_gzip().unwrap()), text.to_bytes());
            }
            let again = Text::of(&text.tree().unwrap()).unwrap().sharing(&text);
            prop_assert_eq!(again.tree().unwrap(), text.tree().unwrap());
            prop_assert_eq!(inflated(&again.to_gzip().unwrap()), again.to_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Text::cut(&Bytes::from(bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\{\\}\\[\\],:\" \\\\a1]{0,40}") {
            let _ = cut(&text);
        }
    }

    #[derive(Debug)]
    struct Leaf(Value);

    impl Arbitrary for Leaf {
        type Parameters = ();
        type Strategy = BoxedStrategy<Self>;

        fn arbitrary_with((): ()) -> Self::Strategy {
            prop_oneof![
                any::<i64>().prop_map(|n| Self(json!(n))),
                ".{0,8}".prop_map(|s| Self(json!([s, {"k": s}, [], null]))),
                any::<bool>().prop_map(|b| Self(json!({"b": b}))),
            ]
            .boxed()
        }
    }
}
