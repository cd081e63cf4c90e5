//! The catalog's names for completion: asked for when first needed, kept until a statement may have changed them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use arrow::array::{Array, StringArray};
use futures::StreamExt;
use icecap::engine::{Cancel, Session, StatementResult};
use icecap::sql::{StatementText, parse_statement};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::complete::{Names, quoted};
use super::text::parts;

/// How long a person waits for names before there are none.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long names are believed: others may change the catalog.
const FRESH: Duration = Duration::from_secs(60);
/// Names kept of one kind.
const MOST_NAMES: usize = 10_000;
/// Namespaces whose tables are listed.
const MOST_NAMESPACES: usize = 200;
/// Tables whose columns are kept.
const MOST_TABLES: usize = 100;

/// Names of one catalog, cached.
pub(super) struct Vocabulary {
    session: Session,
    runtime: Handle,
    kept: RefCell<Kept>,
}

struct Kept {
    since: Instant,
    namespaces: Option<Vec<String>>,
    tables: Option<Vec<(String, String)>>,
    columns: HashMap<String, Vec<String>>,
}

impl Kept {
    fn nothing() -> Self {
        Self { since: Instant::now(), namespaces: None, tables: None, columns: HashMap::new() }
    }
}

impl Vocabulary {
    /// The names that `session` sees, which is used for nothing else. Must not be asked from within `runtime`.
    pub(super) fn new(session: Session, runtime: Handle) -> Self {
        Self { session, runtime, kept: RefCell::new(Kept::nothing()) }
    }

    /// Forgets everything: a statement may have changed it.
    pub(super) fn forget(&self) {
        self.kept.replace(Kept::nothing());
    }

    fn forget_the_old(&self) {
        if self.kept.borrow().since.elapsed() > FRESH {
            self.forget();
        }
    }

    /// The namespaces, unless that takes too long.
    fn listed_namespaces(&self) -> Option<Vec<String>> {
        self.forget_the_old();
        if let Some(found) = &self.kept.borrow().namespaces {
            return Some(found.clone());
        }
        let found = self.ask("SHOW NAMESPACES", "namespace")?;
        self.kept.borrow_mut().namespaces = Some(found.clone());
        Some(found)
    }

    /// A column of text of a statement's rows, none when it fails; nothing when it takes too long: it may be asked again.
    fn ask(&self, sql: &str, column: &str) -> Option<Vec<String>> {
        let answer = async {
            let statement = parse_statement(&StatementText { text: sql, line: 1, column: 1 }).ok()?;
            let StatementResult::Rows(mut rows) = self.session.run(&statement, &Cancel::new()).await.ok()?
            else {
                return None;
            };
            let mut found = Vec::new();
            while let Some(batch) = rows.next().await {
                let batch = batch.ok()?;
                let texts = batch.column_by_name(column)?.as_any().downcast_ref::<StringArray>()?;
                let texts = (0..texts.len()).filter(|row| texts.is_valid(*row)).map(|row| texts.value(row));
                found.extend(texts.take(MOST_NAMES - found.len()).map(str::to_owned));
            }
            Some(found)
        };
        let answer = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await });
        answer.ok().map(Option::unwrap_or_default)
    }
}

impl Names for Vocabulary {
    fn namespaces(&self) -> Vec<String> {
        self.listed_namespaces().unwrap_or_default()
    }

    fn tables(&self) -> Vec<(String, String)> {
        self.forget_the_old();
        if let Some(found) = &self.kept.borrow().tables {
            return found.clone();
        }
        let mut found = Vec::new();
        let Some(namespaces) = self.listed_namespaces() else { return found };
        for namespace in namespaces.into_iter().take(MOST_NAMESPACES) {
            let dotted = namespace.split('.').map(always_quoted).collect::<Vec<_>>().join(".");
            let asked = self.ask(&format!("SHOW TABLES IN {dotted}"), "table_name");
            let Some(tables) = asked else { return found };
            let room = MOST_NAMES - found.len();
            found.extend(tables.into_iter().take(room).map(|table| (namespace.clone(), table)));
        }
        self.kept.borrow_mut().tables = Some(found.clone());
        found
    }

    fn columns(&self, table: &str) -> Vec<String> {
        self.forget_the_old();
        if let Some(found) = self.kept.borrow().columns.get(table) {
            return found.clone();
        }
        // Written anew from its parts: what was typed may be half a statement.
        let name = parts(table).iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".");
        let Some(found) = self.ask(&format!("DESCRIBE {name}"), "col_name") else { return Vec::new() };
        let columns = &mut self.kept.borrow_mut().columns;
        if columns.len() >= MOST_TABLES {
            columns.clear();
        }
        columns.insert(table.to_owned(), found.clone());
        found
    }
}

fn always_quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
