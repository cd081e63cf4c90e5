//! The order of one process's commits: per table one line, first come, first served.
//!
//! A request stands in the line of each of its tables, taken in the order of their names, so that two
//! requests never wait for each other.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use icecap_table::id::TableIdent;
use tokio::sync::{Mutex as Line, OwnedMutexGuard};

/// The lines of all tables that are being committed to.
#[derive(Debug, Default)]
pub struct TableQueues {
    lines: Mutex<HashMap<TableIdent, Weak<Line<()>>>>,
}

/// A request's turn on its tables; the next ones come when it is dropped.
#[derive(Debug)]
pub struct Turn {
    _places: Vec<OwnedMutexGuard<()>>,
}

impl TableQueues {
    /// Waits for the turn on all of `tables`.
    pub async fn turn(&self, tables: &[TableIdent]) -> Turn {
        let tables: BTreeSet<&TableIdent> = tables.iter().collect();
        let mut places = Vec::with_capacity(tables.len());
        for table in tables {
            places.push(self.line(table).lock_owned().await);
        }
        Turn { _places: places }
    }

    fn line(&self, table: &TableIdent) -> Arc<Line<()>> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(table).and_then(Weak::upgrade) {
            return line;
        }
        // Only lines in use are kept.
        lines.retain(|_, line| line.strong_count() > 0);
        let line = Arc::new(Line::new(()));
        lines.insert(table.clone(), Arc::downgrade(&line));
        line
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn table(name: &str) -> TableIdent {
        TableIdent::new(vec!["db".into()], name)
    }

    async fn has_to_wait(queues: &TableQueues, tables: &[TableIdent]) -> bool {
        tokio::time::timeout(Duration::from_millis(20), queues.turn(tables)).await.is_err()
    }

    #[tokio::test]
    async fn a_turn_excludes_others_on_the_same_tables_only() {
        let queues = TableQueues::default();
        let turn = queues.turn(&[table("b"), table("a"), table("a")]).await;
        assert!(has_to_wait(&queues, &[table("a")]).await);
        assert!(has_to_wait(&queues, &[table("c"), table("b")]).await);
        assert!(!has_to_wait(&queues, &[table("c")]).await);
        drop(turn);
        assert!(!has_to_wait(&queues, &[table("a"), table("b"), table("c")]).await);
        assert!(queues.lines.lock().unwrap().len() <= 3);
    }
}
