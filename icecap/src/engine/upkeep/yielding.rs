//! Upkeep lets others go first: whoever changes rows loses its work to a rewrite of their files, and upkeep can wait.

use std::collections::BTreeSet;
use std::time::Duration;

use icecap_table::id::WriteId;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Upkeep, UpkeepWrite};
use crate::Result;

/// How long upkeep waits for others at least, however little it has done itself, and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// The first pause between two looks at the ledger, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

impl Upkeep {
    /// Waits for the statements under way that change rows of the table `uuid`: those that the ledger shows now, not
    /// those that begin meanwhile, and no longer than the statement has taken so far (five seconds at least, a minute
    /// at most). Returns whether there was one.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt` when the ledger cannot be read; `Cancelled`, `Exhausted`.
    pub async fn give_way(&self, write: UpkeepWrite, uuid: Uuid) -> Result<bool> {
        self.run.limited(self.wait_for_rows(write, uuid)).await
    }

    /// Pauses after the `lost`-th race lost in a row, each time up to twice as long, so that two who are after the same
    /// files do not meet again.
    ///
    /// # Errors
    /// `Cancelled`, `Exhausted`.
    pub async fn back_off(&self, lost: u32) -> Result<()> {
        let longest = PAUSES.0.saturating_mul(1 << lost.min(10)).min(PAUSES.1);
        let pause = async {
            tokio::time::sleep(self.jittered(longest)).await;
            Ok(())
        };
        self.run.limited(pause).await
    }

    async fn wait_for_rows(&self, write: UpkeepWrite, uuid: Uuid) -> Result<bool> {
        let patience = self.run.started.elapsed().clamp(PATIENCE.0, PATIENCE.1);
        let until = Instant::now() + patience;
        let mut waited_for = self.changing_rows(write, uuid).await?;
        let is_any = !waited_for.is_empty();
        let mut pause = PAUSES.0;
        while !waited_for.is_empty() {
            if Instant::now() >= until {
                tracing::info!(
                    writes = waited_for.len(),
                    "upkeep waits no longer for those that change rows"
                );
                break;
            }
            tokio::time::sleep(self.jittered(pause)).await;
            pause = (pause * 2).min(PAUSES.1);
            let now = self.changing_rows(write, uuid).await?;
            waited_for.retain(|write| now.contains(write));
        }
        Ok(is_any)
    }

    /// The writes alive that change rows of the table.
    async fn changing_rows(&self, own: UpkeepWrite, uuid: Uuid) -> Result<BTreeSet<WriteId>> {
        let active = self.active_writes().await?.into_iter();
        let others = active.filter(|write| {
            write.write_id != own.id()
                && write.is_alive
                && write.kind.is_some_and(|kind| kind.changes_rows())
                && write.bases.iter().any(|(table, _)| *table == uuid)
        });
        Ok(others.map(|write| write.write_id).collect())
    }

    /// Between half and all of a pause.
    fn jittered(&self, full: Duration) -> Duration {
        let [low, high, ..] = self.run.parts.ids.uuid().as_u128().to_le_bytes();
        full / 2 + full.mul_f64(f64::from(u16::from_le_bytes([low, high])) / f64::from(u16::MAX) / 2.0)
    }
}
