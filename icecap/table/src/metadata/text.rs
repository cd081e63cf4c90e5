//! A metadata file's text in pieces, so that a commit touches only what it changes.
//!
//! A table of a thousand snapshots has a metadata file of a megabyte, of which an append changes a few
//! lines. The top-level members are kept as slices of the stored text, byte for byte, and so are the members
//! of the three lists that grow with every commit.

use bytes::Bytes;
use serde_json::Value;

use crate::error::{Error, Result};

/// The lists that are kept in pieces.
const LISTS: [&str; 3] = ["snapshots", "snapshot-log", "metadata-log"];

/// The text of a JSON object; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Text {
    members: Vec<(String, Node)>,
}

#[derive(Debug, Clone)]
enum Node {
    Whole(Bytes),
    List(Vec<Bytes>),
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
                true => Node::List(Cursor::new(&value).array().ok_or_else(broken)?),
                false => Node::Whole(value),
            };
            members.push((key, node));
        }
        Ok(Self { members })
    }

    /// Its length in bytes, without the punctuation between its members.
    pub(super) fn length(&self) -> usize {
        let of = |node: &Node| match node {
            Node::Whole(text) => text.len(),
            Node::List(items) => items.iter().map(Bytes::len).sum(),
        };
        self.members.iter().map(|(key, node)| key.len() + of(node)).sum()
    }

    /// The text of a tree.
    pub(super) fn of(tree: &Value) -> Result<Self> {
        Self::cut(&encoded(tree)?)
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
        match self.members.iter().find(|(other, _)| other == key) {
            Some((_, Node::List(list))) => list.len(),
            _ => 0,
        }
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
            Some((_, Node::List(list))) => {
                list.drain(..dropped.min(list.len()));
                list.push(value);
            }
            Some((_, node)) => *node = Node::List(vec![value]),
            None => self.members.push((key.to_owned(), Node::List(vec![value]))),
        }
        Ok(())
    }

    /// The whole text.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let length: usize = self.members.iter().map(|(key, node)| key.len() + 4 + node.len()).sum();
        let mut text = Vec::with_capacity(length + 2);
        text.push(b'{');
        for (at, (key, node)) in self.members.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            text.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
            text.push(b':');
            node.write(&mut text);
        }
        text.push(b'}');
        text
    }
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Self::Whole(text) => text.len(),
            Self::List(list) => list.iter().map(|text| text.len() + 1).sum::<usize>() + 2,
        }
    }

    fn write(&self, text: &mut Vec<u8>) {
        match self {
            Self::Whole(value) => text.extend_from_slice(value),
            Self::List(list) => {
                text.push(b'[');
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    text.extend_from_slice(value);
                }
                text.push(b']');
            }
        }
    }
}

fn encoded(value: &impl serde::Serialize) -> Result<Bytes> {
    let text = serde_json::to_vec(value);
    text.map(Bytes::from).map_err(|e| Error::bug("metadata cannot be written as JSON").with_source(e))
}

fn decoded(text: &[u8]) -> Result<Value> {
    serde_json::from_slice(text).map_err(|e| Error::corrupt("metadata file is not JSON").with_source(e))
}

/// Finds where the values of one level begin and end.
struct Cursor<'a> {
    json: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(json: &'a Bytes) -> Self {
        Self { json, at: 0 }
    }

    fn peek(&mut self) -> Option<u8> {
        while matches!(self.json.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        found.then_some(())
    }

    fn object(mut self) -> Option<Vec<(Bytes, Bytes)>> {
        let mut members = Vec::new();
        self.eat(b'{')?;
        if self.eat(b'}').is_some() {
            return Some(members);
        }
        loop {
            let key = self.value()?;
            self.eat(b':')?;
            members.push((key, self.value()?));
            if self.eat(b',').is_none() {
                return self.eat(b'}').map(|()| members);
            }
        }
    }

    fn array(mut self) -> Option<Vec<Bytes>> {
        let mut members = Vec::new();
        self.eat(b'[')?;
        if self.eat(b']').is_some() {
            return Some(members);
        }
        loop {
            members.push(self.value()?);
            if self.eat(b',').is_none() {
                return self.eat(b']').map(|()| members);
            }
        }
    }

    /// The text of the next value.
    fn value(&mut self) -> Option<Bytes> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => self.string()?,
            b'{' | b'[' => self.nested()?,
            _ => {
                while !matches!(
                    self.json.get(self.at),
                    None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')
                ) {
                    self.at += 1;
                }
            }
        }
        (self.at > start).then(|| self.json.slice(start..self.at))
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.json.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    fn nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.json.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

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
