//! `DROP TABLE`, and namespaces made and dropped.

use std::collections::BTreeMap;

use icecap_table::commit::{Change, StatementKind, TableChange};
use icecap_table::id::TableIdent;

use super::insert::MAIN;
use super::resolve::below_catalog;
use super::session::Run;
use super::write::Intent;
use super::{DoneSummary, StatementResult};
use crate::sql::Name;
use crate::{Error, ErrorKind, Result};

fn done(statement: &str, name: String) -> StatementResult {
    let statement = statement.to_owned();
    StatementResult::Done(DoneSummary { statement, table: Some(name), ..DoneSummary::default() })
}

impl Run {
    /// Runs `DROP TABLE`: the table leaves the catalog, its files stay for orphan removal and for time travel by
    /// metadata file.
    pub(super) async fn drop_table(
        &self,
        name: &Name,
        if_exists: bool,
        purge: bool,
    ) -> Result<StatementResult> {
        if purge {
            return Err(Error::unsupported(
                "DROP TABLE … PURGE is not supported yet: DROP TABLE takes the table out of the catalog and leaves its files",
            ));
        }
        let kind = StatementKind::DropTable;
        let target = name.normalised().join(".");
        let loaded = match self.limited(self.parts.load(name)).await {
            Ok(loaded) => loaded,
            Err(error) if error.kind() == ErrorKind::NotFound && if_exists => {
                return Ok(done(kind.as_str(), target));
            }
            Err(error) => return self.replay_or(kind, target, error).await.map(as_done),
        };
        let metadata = loaded.document.metadata();
        let change = TableChange {
            ident: loaded.ident.clone(),
            uuid: Some(metadata.uuid()),
            reference: MAIN.to_owned(),
            base: metadata.current_snapshot_id(),
            change: Change::Drop,
        };
        let intent = Intent { kind, target, bases: Vec::new(), prefixes: Vec::new() };
        self.write(intent, |_| async move { Ok(vec![change]) }).await.map(as_done)
    }

    /// Runs `CREATE SCHEMA`.
    pub(super) async fn create_namespace(
        &self,
        name: &Name,
        if_not_exists: bool,
        comment: Option<&str>,
        location: Option<&str>,
        properties: &[(String, String)],
    ) -> Result<StatementResult> {
        let kind = StatementKind::CreateNamespace;
        let target = name.normalised().join(".");
        let planned = async {
            // One that exists in another spelling is the same.
            let levels = match self.parts.find_namespace(below_catalog(&self.parts, name)).await? {
                Some(existing) => existing,
                None => self.parts.new_namespace(name),
            };
            let mut all: BTreeMap<String, String> = properties.iter().cloned().collect();
            if let Some(comment) = comment {
                all.insert("comment".to_owned(), comment.to_owned());
            }
            if let Some(location) = location {
                let location = icecap_table::location::to_location(location)?;
                self.parts.policy.check(location.trim_end_matches('/'))?;
                all.insert("location".to_owned(), location);
            }
            Ok((levels, all))
        };
        let (levels, properties) = match self.limited(planned).await {
            Ok(planned) => planned,
            Err(error) => return self.replay_or(kind, target, error).await.map(as_done),
        };
        self.change_namespace(kind, target, levels, Change::CreateNamespace { properties, if_not_exists })
            .await
    }

    /// Whether the namespace exists is the committer's question, so that a repeated token finds its outcome.
    async fn change_namespace(
        &self,
        kind: StatementKind,
        target: String,
        levels: Vec<String>,
        change: Change,
    ) -> Result<StatementResult> {
        let change = TableChange {
            ident: TableIdent::new(levels, String::new()),
            uuid: None,
            reference: MAIN.to_owned(),
            base: None,
            change,
        };
        let intent = Intent { kind, target, bases: Vec::new(), prefixes: Vec::new() };
        self.write(intent, |_| async move { Ok(vec![change]) }).await.map(as_done)
    }

    /// Runs `DROP SCHEMA`.
    pub(super) async fn drop_namespace(
        &self,
        name: &Name,
        if_exists: bool,
        cascade: bool,
    ) -> Result<StatementResult> {
        if cascade {
            return Err(Error::unsupported(
                "DROP SCHEMA … CASCADE is not supported yet: drop the namespace's tables first",
            ));
        }
        let kind = StatementKind::DropNamespace;
        let target = name.normalised().join(".");
        let found = self.parts.find_namespace(below_catalog(&self.parts, name));
        let levels = match self.limited(found).await {
            Ok(found) => found.unwrap_or_else(|| self.parts.new_namespace(name)),
            Err(error) => return self.replay_or(kind, target, error).await.map(as_done),
        };
        self.change_namespace(kind, target, levels, Change::DropNamespace { if_exists }).await
    }
}

pub(super) fn as_done(result: StatementResult) -> StatementResult {
    match result {
        StatementResult::Written(summary) => done(&summary.statement, summary.table),
        other => other,
    }
}
