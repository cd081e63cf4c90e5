//! A namespace made or dropped: the same ledger, the same atomic step as a table's change, and no files.

use icecap_table::commit::{Change, TableChange};
use icecap_table::{Error, Result};

use super::Committer;
use super::attempt::{Attempt, Preparation, outcome};
use super::check::rejected;
use crate::pointer::{Expect, Next, ObjectKind, Swap};

impl Committer {
    /// Fills `attempt` with the change of one namespace, judged by the catalog as it is now.
    ///
    /// # Errors
    /// `NotFound` when the namespace to be dropped does not exist; `Invalid` while it holds anything.
    pub(super) async fn prepare_namespace(
        &self,
        change: &TableChange,
        attempt: &mut Attempt,
    ) -> Result<Preparation> {
        let levels = &change.ident.namespace;
        let name = change.ident.namespace_name();
        let exists = self.publisher.namespace_exists(levels).await?;
        let (expect, next) = match &change.change {
            Change::CreateNamespace { properties, .. } if !exists => {
                (Expect::Absent, Next::Namespace(properties.clone()))
            }
            Change::CreateNamespace { if_not_exists: true, .. } => (Expect::Present, Next::Same),
            Change::CreateNamespace { .. } => {
                return Ok(Preparation::Refused(rejected(format!(
                    "namespace {name} exists already: say IF NOT EXISTS to go on"
                ))));
            }
            Change::DropNamespace { if_exists: true } if !exists => (Expect::Absent, Next::Same),
            Change::DropNamespace { .. } if !exists => {
                return Err(Error::not_found(format!("namespace {name} does not exist")));
            }
            Change::DropNamespace { .. } => match self.publisher.namespace_holds(levels).await? {
                Some(held) => {
                    return Err(Error::invalid(format!(
                        "namespace {name} is not empty, it holds {held}: drop what is in it first"
                    )));
                }
                None => (Expect::Present, Next::Gone),
            },
            _ => return Err(Error::bug("a change of a table was taken for one of a namespace")),
        };
        attempt.tables.push(outcome(&change.ident, &[]));
        attempt.swaps.push(Swap { ident: change.ident.clone(), object: ObjectKind::Namespace, expect, next });
        Ok(Preparation::Ready)
    }
}
