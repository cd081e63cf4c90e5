//! For tests: a small warehouse, a lease that grants everybody, and a store whose answers get lost.

mod world;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use icecap_table::id::TableIdent;
use icecap_table::{Error, Result};

use crate::lease::{Lease, LeaseGuard};
use crate::pointer::{LedgerCommit, Pointer, Publish, Publisher, Swap};

pub use world::World;

/// A lease that always says yes: with it, only the swap keeps commits apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlwaysYes;

#[async_trait]
impl Lease for AlwaysYes {
    async fn acquire(&self, _tables: &[TableIdent], _wait: Duration) -> LeaseGuard {
        LeaseGuard::held(())
    }
}

/// What goes wrong with one publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The request is lost on the way; the answer says unknown.
    LostRequest,
    /// It takes effect, and the answer is lost.
    LostAnswer,
    /// It takes effect only when the next publication is sent; the answer says unknown.
    Delayed,
    /// It is refused before anything is done.
    Refused,
    /// It is never sent and never answered.
    Hangs,
    /// It takes effect and is never answered.
    HangsAfter,
}

/// A publisher whose publications go wrong as told; what is not told goes well.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Publisher>,
    faults: Mutex<VecDeque<Fault>>,
    delayed: Mutex<Vec<(Vec<Swap>, Vec<LedgerCommit>)>>,
}

impl Faulty {
    /// Wraps `inner`; its first publications meet `faults`, in order.
    pub fn new(inner: Arc<dyn Publisher>, faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { inner, faults: Mutex::new(faults.into_iter().collect()), delayed: Mutex::default() }
    }

    /// Tells what the next publications meet, in place of what was told before.
    pub fn expect(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults.into_iter().collect();
    }

    /// Lets the publications that are still under way arrive.
    ///
    /// # Errors
    /// As the wrapped store's `publish`.
    pub async fn arrive(&self) -> Result<()> {
        let delayed = std::mem::take(&mut *self.delayed.lock().unwrap_or_else(PoisonError::into_inner));
        for (swaps, ledger) in delayed {
            self.inner.publish(swaps, ledger).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Publisher for Faulty {
    async fn pointer(&self, ident: &TableIdent) -> Result<Option<Pointer>> {
        self.inner.pointer(ident).await
    }

    async fn namespace_exists(&self, namespace: &[String]) -> Result<bool> {
        self.inner.namespace_exists(namespace).await
    }

    async fn namespace_holds(&self, namespace: &[String]) -> Result<Option<String>> {
        self.inner.namespace_holds(namespace).await
    }

    async fn publish(&self, swaps: Vec<Swap>, ledger: Vec<LedgerCommit>) -> Result<Publish> {
        self.arrive().await?;
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let lost = || Publish::Unknown(Error::commit_state_unknown("the answer was lost"));
        match fault.unwrap_or(Fault::None) {
            Fault::None => self.inner.publish(swaps, ledger).await,
            Fault::LostRequest => Ok(lost()),
            Fault::LostAnswer => {
                self.inner.publish(swaps, ledger).await?;
                Ok(lost())
            }
            Fault::Delayed => {
                self.delayed.lock().unwrap_or_else(PoisonError::into_inner).push((swaps, ledger));
                Ok(lost())
            }
            Fault::Refused => Err(Error::unavailable("the store refused")),
            Fault::Hangs => std::future::pending().await,
            Fault::HangsAfter => {
                self.inner.publish(swaps, ledger).await?;
                std::future::pending().await
            }
        }
    }
}
