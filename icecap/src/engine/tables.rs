//! `DROP TABLE`, and namespaces made and dropped.

use std::collections::BTreeMap;

use icecap_table::commit::{Change, StatementKind, TableChange};

use super::insert::MAIN;
use super::session::Run;
use super::write::Intent;
use super::{DoneSummary, StatementResult};
use crate::sql::Name;
use crate::{Error, ErrorKind, Result};

fn done(statement: &str, name: String) -> StatementResult {
    StatementResult::Done(DoneSummary { statement: statement.to_owned(), table: Some(name) })
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
        const STATEMENT: &str = "CREATE_DATABASE";
        let levels = self.parts.new_namespace(name);
        if let Some(existing) = self.parts.find_namespace(&name.0).await? {
            return match if_not_exists {
                true => Ok(done(STATEMENT, existing.join("."))),
                false => Err(Error::already_exists(format!(
                    "namespace {} exists already: say IF NOT EXISTS to go on",
                    existing.join(".")
                ))),
            };
        }
        let mut all: BTreeMap<String, String> = properties.iter().cloned().collect();
        if let Some(comment) = comment {
            all.insert("comment".to_owned(), comment.to_owned());
        }
        if let Some(location) = location {
            let location = icecap_table::location::to_location(location)?;
            self.parts.policy.check(location.trim_end_matches('/'))?;
            all.insert("location".to_owned(), location);
        }
        match self.parts.catalog.create_namespace(&levels, all).await {
            Ok(()) => Ok(done(STATEMENT, levels.join("."))),
            // Somebody else made it in between.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && if_not_exists => {
                Ok(done(STATEMENT, levels.join(".")))
            }
            Err(error) => Err(error),
        }
    }

    /// Runs `DROP SCHEMA`.
    pub(super) async fn drop_namespace(
        &self,
        name: &Name,
        if_exists: bool,
        cascade: bool,
    ) -> Result<StatementResult> {
        const STATEMENT: &str = "DROP_DATABASE";
        if cascade {
            return Err(Error::unsupported(
                "DROP SCHEMA … CASCADE is not supported yet: drop the namespace's tables first",
            ));
        }
        let namespace = match self.parts.namespace(name).await {
            Ok(namespace) => namespace,
            Err(error) if error.kind() == ErrorKind::NotFound && if_exists => {
                return Ok(done(STATEMENT, name.normalised().join(".")));
            }
            Err(error) => return Err(error),
        };
        self.parts.catalog.drop_namespace(&namespace).await?;
        Ok(done(STATEMENT, namespace.join(".")))
    }
}

pub(super) fn as_done(result: StatementResult) -> StatementResult {
    match result {
        StatementResult::Written(summary) => done(&summary.statement, summary.table),
        other => other,
    }
}
