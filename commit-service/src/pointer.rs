//! The pointer: the catalog's record of each table's current metadata location, and its conditional swap.
//!
//! [`Publisher::publish`] is the one atomic step on which all correctness rests: every swap and every ledger
//! row of a request happen together, or none does.

pub mod sqlite;

use std::collections::BTreeMap;

use async_trait::async_trait;
use icecap_table::commit::Committed;
use icecap_table::id::{TableIdent, WriteId};
use icecap_table::{Error, Result};

/// What a catalog entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A table.
    Table,
    /// A view.
    View,
    /// A namespace: its levels are the name's, whose last part is empty. It has no metadata file.
    Namespace,
}

/// A catalog entry as it is at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// What it is.
    pub object: ObjectKind,
    /// Location of its current metadata file.
    pub location: String,
}

/// What a swap requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// That the name is free, and that its namespace exists.
    Absent,
    /// That the current metadata location is this one. Nothing else counts: a version column of ours would
    /// overlook the commits of other engines.
    Location(String),
    /// Of a namespace: that it exists; where it goes, that it holds nothing too.
    Present,
}

/// What a swap makes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The entry points to this metadata file.
    Location(String),
    /// The entry stays as it is: the write only had to be validated against it.
    Same,
    /// The entry gets another name.
    RenameTo(TableIdent),
    /// The namespace exists, with these properties.
    Namespace(BTreeMap<String, String>),
    /// The entry is removed.
    Gone,
}

/// One conditional change of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// The entry's name.
    pub ident: TableIdent,
    /// What it must be.
    pub object: ObjectKind,
    /// Its condition.
    pub expect: Expect,
    /// Its effect.
    pub next: Next,
}

/// The ledger row that a publication makes committed. Its own condition: the row is active, in this round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCommit {
    /// The write.
    pub write_id: WriteId,
    /// The round under which it runs.
    pub round: u32,
    /// What is recorded, to be told again.
    pub committed: Committed,
}

/// How a publication ended.
#[derive(Debug)]
pub enum Publish {
    /// All of it happened.
    Published,
    /// Nothing happened: an entry is not as a swap expects.
    Lost,
    /// Nothing happened: a ledger row is not active in its round.
    Refused,
    /// It was sent, and no trustworthy answer came back.
    Unknown(Error),
}

/// A pointer store.
#[async_trait]
pub trait Publisher: Send + Sync + std::fmt::Debug {
    /// The entry of that name; `None` when the name is free.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be read; `Corrupt` when the entry breaks the catalog's layout.
    async fn pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>>;

    /// Whether a namespace exists.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be read.
    async fn namespace_exists(&self, namespace: &[String]) -> Result<bool>;

    /// The first of the tables and namespaces in a namespace; `None` when it is empty or does not exist.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be read.
    async fn namespace_holds(&self, namespace: &[String]) -> Result<Option<String>>;

    /// Does all swaps and marks all ledger rows committed, in one atomic step, or nothing.
    ///
    /// Asking again after [`Publish::Unknown`] is safe: whichever of the two takes effect first makes the
    /// ledger's condition of the other one false.
    ///
    /// # Errors
    /// Only what certainly had no effect is an error (`Unavailable`, `Unsupported`, `Exhausted`); anything
    /// doubtful is [`Publish::Unknown`].
    async fn publish(&self, swaps: Vec<Swap>, ledger: Vec<LedgerCommit>) -> Result<Publish>;
}
