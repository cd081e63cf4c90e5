//! Identities: of writes, attempts and names. Newtypes, so that one cannot be handed in for another.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{Error, Result};

/// One statement's whole effort, and the idempotency key of its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteId(Uuid);

impl WriteId {
    /// Wraps a UUID made by an [`IdSource`](crate::clock::IdSource).
    pub fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The id of statement number `ordinal` (from 0) of a run that a caller named `token`.
    ///
    /// `retry` counts the fenced tries under that token: a fenced write can never commit, so the
    /// statement goes on under the next one.
    pub fn from_token(token: &str, ordinal: u32, retry: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"icecap.write-id.v1\0");
        hash.update((token.len() as u64).to_be_bytes());
        hash.update(token.as_bytes());
        hash.update(ordinal.to_be_bytes());
        hash.update(retry.to_be_bytes());
        Self(uuid_of(&hash.finalize()))
    }

    /// The UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }

    /// An id derived from this write for its part `(step, table, ref, index)`: always the same one, so
    /// that a repeated attempt names the same snapshot.
    pub fn derive_snapshot_id(self, step: &str, table: Uuid, reference: &str, index: u32) -> i64 {
        let mut hash = Sha256::new();
        hash.update(b"icecap.snapshot-id.v1\0");
        hash.update(self.0.as_bytes());
        for part in [step.as_bytes(), table.as_bytes(), reference.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(index.to_be_bytes());
        let digest = hash.finalize();
        let mut first = [0_u8; 8];
        first.copy_from_slice(&digest[..8]);
        // Positive and never zero: readers treat -1 as "no snapshot".
        (i64::from_be_bytes(first) & i64::MAX).max(1)
    }
}

/// The hash of what a statement intends: its parts, each with its length, so that no two lists collide.
pub fn intent_hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"icecap.intent.v1\0");
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

fn uuid_of(digest: &[u8]) -> Uuid {
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for WriteId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| Error::invalid("not a write id: expected a UUID").with("text", text))
    }
}

/// A table's name: its namespace's levels, then its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableIdent {
    /// The namespace's levels, outermost first; never empty.
    pub namespace: Vec<String>,
    /// The table's own name.
    pub name: String,
}

impl TableIdent {
    /// Makes a name.
    pub fn new(namespace: Vec<String>, name: impl Into<String>) -> Self {
        Self { namespace, name: name.into() }
    }

    /// The namespace's levels joined with dots, as Iceberg's JDBC catalog stores them.
    pub fn namespace_name(&self) -> String {
        self.namespace.join(".")
    }
}

impl fmt::Display for TableIdent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace_name(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_a_token_depend_on_every_part_and_on_nothing_else() {
        let id = WriteId::from_token("t", 0, 0);
        assert_eq!(id, WriteId::from_token("t", 0, 0));
        assert_ne!(id, WriteId::from_token("t", 1, 0));
        assert_ne!(id, WriteId::from_token("t", 0, 1));
        assert_ne!(id, WriteId::from_token("u", 0, 0));
        assert_eq!(id.to_string().parse::<WriteId>().unwrap(), id);
    }

    #[test]
    fn snapshot_ids_are_positive() {
        let id = WriteId::from_token("t", 0, 0);
        for index in 0..1000 {
            assert!(id.derive_snapshot_id("main", Uuid::nil(), "main", index) > 0);
        }
    }
}
