//! The ledger's rows in SQLite. Times are milliseconds since the epoch.

use async_trait::async_trait;
use icecap_table::commit::{BeginWrite, Begun, Committed, RunningWrite, StatementKind, WriteState};
use icecap_table::id::WriteId;
use icecap_table::{Error, Result};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{Durability, Failure, HEARTBEAT_BOUND, Inner, SqliteStore};
use crate::ledger::owner::Life;
use crate::ledger::{Ledger, Owner};
use crate::pointer::LedgerCommit;

#[async_trait]
impl Ledger for SqliteStore {
    async fn begin(&self, write: BeginWrite, owner: Owner) -> Result<Begun> {
        self.write("the write could not be registered", Durability::Process, move |inner, transaction| {
            begin(inner, transaction, &write, owner)
        })
        .await
    }

    async fn heartbeat(&self, write_id: WriteId, round: u32, deadline_ms: i64) -> Result<()> {
        self.write(
            "the write's heartbeat was not recorded",
            Durability::Process,
            move |inner, transaction| {
                let beaten = transaction
                    .prepare_cached(
                        "UPDATE icecap_ledger SET heartbeat_ms = ?3, deadline_ms = ?4
                     WHERE write_id = ?1 AND state = 'active' AND round = ?2",
                    )?
                    .execute(params![write_id.to_string(), round, inner.clock.now_ms(), deadline_ms])?;
                match (beaten, if beaten == 0 { row(transaction, write_id)? } else { None }) {
                    (0, None) => Err(unknown(write_id).into()),
                    // The statement's last heartbeat may cross its commit.
                    (0, Some(Row { state: WriteState::Committed(_), .. })) => Ok(()),
                    (0, Some(row)) => Err(superseded(write_id, round, &row.state).into()),
                    _ => Ok(()),
                }
            },
        )
        .await
    }

    async fn state(&self, write_id: WriteId) -> Result<Option<WriteState>> {
        self.read("the ledger cannot be read", move |_, reader| {
            Ok(row(reader, write_id)?.map(|row| row.state))
        })
        .await
    }

    async fn abandon(&self, write_id: WriteId, round: u32) -> Result<WriteState> {
        // Durable, unlike `begin`: files are deleted on the strength of it.
        self.write("the write could not be fenced", Durability::Power, move |inner, transaction| {
            let now_ms = inner.clock.now_ms();
            match row(transaction, write_id)?.map(|row| row.state) {
                None => {
                    transaction.execute(
                        "INSERT INTO icecap_ledger (write_id, state, round, started_ms, heartbeat_ms, deadline_ms,
                             ended_ms, bases, prefixes) VALUES (?1, 'fenced', ?2, ?3, ?3, ?3, ?3, '[]', '[]')",
                        params![write_id.to_string(), round, now_ms],
                    )?;
                    Ok(WriteState::Fenced)
                }
                Some(WriteState::Active { round: current }) if current == round => {
                    transaction.execute(
                        "UPDATE icecap_ledger SET state = 'fenced', ended_ms = ?2 WHERE write_id = ?1",
                        params![write_id.to_string(), now_ms],
                    )?;
                    Ok(WriteState::Fenced)
                }
                Some(state) => Ok(state),
            }
        })
        .await
    }

    async fn active(&self) -> Result<Vec<RunningWrite>> {
        self.read("the ledger cannot be read", active).await
    }
}

fn active(inner: &Inner, reader: &Connection) -> Result<Vec<RunningWrite>, Failure> {
    let now_ms = inner.clock.now_ms();
    let mut statement = reader.prepare_cached(
        "SELECT write_id, round, heartbeat_ms, deadline_ms, owner, bases, prefixes, kind
         FROM icecap_ledger WHERE state = 'active' ORDER BY write_id",
    )?;
    let mut rows = statement.query([])?;
    let mut running = Vec::new();
    while let Some(found) = rows.next()? {
        let id: String = found.get(0)?;
        let broken =
            |what: &str| Error::corrupt(format!("the ledger's row of a write has {what}")).with("write", &id);
        let write_id = id.parse().map_err(|_| broken("an id that is none"))?;
        let round = found.get(1)?;
        let row = Row {
            state: WriteState::Active { round },
            intent_hash: None,
            heartbeat_ms: found.get(2)?,
            deadline_ms: found.get(3)?,
            owner: found.get(4)?,
        };
        let bases: Vec<(Uuid, i64)> = serde_json::from_str(&found.get::<_, String>(5)?)
            .map_err(|e| broken("bases that cannot be read").with_source(e))?;
        let prefixes = serde_json::from_str(&found.get::<_, String>(6)?)
            .map_err(|e| broken("prefixes that cannot be read").with_source(e))?;
        running.push(RunningWrite {
            write_id,
            round,
            kind: found.get::<_, Option<String>>(7)?.as_deref().and_then(StatementKind::parse),
            is_alive: !is_dead(inner, &row, now_ms),
            bases,
            prefixes,
        });
    }
    Ok(running)
}

/// Why a round may not go on; for every state but committed.
pub(crate) fn superseded(write_id: WriteId, round: u32, state: &WriteState) -> Error {
    match state {
        WriteState::Active { round: current } => Error::fenced(format!(
            "the write was taken over: it is in round {current}, this is round {round}"
        )),
        WriteState::Fenced => Error::fenced("the write is fenced and can never commit"),
        WriteState::Committed(_) => Error::bug("a committed write was judged superseded"),
    }
    .with("write", write_id.to_string())
}

/// The error of a write that has no row.
pub(crate) fn unknown(write_id: WriteId) -> Error {
    Error::invalid("the ledger does not know this write: begin it first").with("write", write_id.to_string())
}

/// Marks a row committed; false when it is not active in its round.
pub(super) fn mark_committed(
    transaction: &Connection,
    row: &LedgerCommit,
    now_ms: i64,
) -> Result<bool, Failure> {
    let outcome = serde_json::to_string(&row.committed)
        .map_err(|e| Error::bug("a write's outcome cannot be recorded").with_source(e))?;
    let changed = transaction
        .prepare_cached(
            "UPDATE icecap_ledger SET state = 'committed', ended_ms = ?3, outcome = ?4
             WHERE write_id = ?1 AND state = 'active' AND round = ?2",
        )?
        .execute(params![row.write_id.to_string(), row.round, now_ms, outcome])?;
    Ok(changed == 1)
}

struct Row {
    state: WriteState,
    intent_hash: Option<Vec<u8>>,
    heartbeat_ms: i64,
    deadline_ms: i64,
    owner: Option<String>,
}

fn row(connection: &Connection, write_id: WriteId) -> Result<Option<Row>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT state, round, intent_hash, heartbeat_ms, deadline_ms, owner, outcome
         FROM icecap_ledger WHERE write_id = ?1",
    )?;
    let found = statement
        .query_row([write_id.to_string()], |row| {
            let state: (String, u32, Option<String>) = (row.get(0)?, row.get(1)?, row.get(6)?);
            Ok((state, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })
        .optional()?;
    let Some(((state, round, outcome), intent_hash, heartbeat_ms, deadline_ms, owner)) = found else {
        return Ok(None);
    };
    let state = match (state.as_str(), outcome) {
        ("active", _) => WriteState::Active { round },
        ("fenced", _) => WriteState::Fenced,
        ("committed", Some(outcome)) => WriteState::Committed(recorded(write_id, &outcome)?),
        _ => return Err(corrupt(write_id).into()),
    };
    Ok(Some(Row { state, intent_hash, heartbeat_ms, deadline_ms, owner }))
}

fn recorded(write_id: WriteId, outcome: &str) -> Result<Committed> {
    serde_json::from_str(outcome).map_err(|e| corrupt(write_id).with_source(e))
}

fn corrupt(write_id: WriteId) -> Error {
    Error::corrupt("the ledger's row of a write cannot be read").with("write", write_id.to_string())
}

fn begin(
    inner: &Inner,
    transaction: &Connection,
    write: &BeginWrite,
    owner: Owner,
) -> Result<Begun, Failure> {
    let now_ms = inner.clock.now_ms();
    let round = match row(transaction, write.write_id)? {
        None => 1,
        Some(found) => {
            if found.intent_hash.as_ref().is_some_and(|hash| hash[..] != write.intent_hash) {
                return Err(Error::invalid(
                    "this id was used for another statement: use a new one, or run the same statement",
                )
                .with("write", write.write_id.to_string())
                .into());
            }
            match found.state {
                WriteState::Committed(committed) => return Ok(Begun::Committed(committed)),
                WriteState::Fenced => {
                    return Err(superseded(write.write_id, 0, &WriteState::Fenced).into());
                }
                WriteState::Active { round } if is_dead(inner, &found, now_ms) => {
                    tracing::info!(write = %write.write_id, round, "taking over a dead write");
                    round.checked_add(1).ok_or_else(|| Error::bug("a write has used up its rounds"))?
                }
                WriteState::Active { .. } => {
                    return Err(Error::unavailable(
                        "another process runs this write: wait for it, or until it is seen to be dead",
                    )
                    .with("write", write.write_id.to_string())
                    .with_retry_after(crate::ledger::HEARTBEAT_EVERY)
                    .into());
                }
            }
        }
    };
    let bases: Vec<(String, i64)> =
        write.bases.iter().map(|(table, base)| (table.to_string(), *base)).collect();
    let json = |value: Result<String, serde_json::Error>| {
        value.map_err(|e| Error::bug("a write cannot be registered").with_source(e))
    };
    let owner = match owner {
        Owner::ThisProcess => inner.owners.mine(now_ms),
        Owner::Remote => None,
    };
    transaction
        .prepare_cached(
            "INSERT INTO icecap_ledger (write_id, state, round, kind, intent_hash, started_ms, heartbeat_ms,
                 deadline_ms, owner, bases, prefixes)
             VALUES (?1, 'active', ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (write_id) DO UPDATE SET round = excluded.round, kind = excluded.kind,
                 heartbeat_ms = excluded.heartbeat_ms, deadline_ms = excluded.deadline_ms, owner = excluded.owner,
                 bases = excluded.bases, prefixes = excluded.prefixes",
        )?
        .execute(params![
            write.write_id.to_string(),
            round,
            write.kind.as_str(),
            write.intent_hash,
            now_ms,
            write.deadline_ms,
            owner,
            json(serde_json::to_string(&bases))?,
            json(serde_json::to_string(&write.prefixes))?,
        ])?;
    Ok(Begun::Active { round })
}

fn is_dead(inner: &Inner, row: &Row, now_ms: i64) -> bool {
    let bound = i64::try_from(HEARTBEAT_BOUND.as_millis()).unwrap_or(i64::MAX);
    now_ms >= row.deadline_ms
        || now_ms.saturating_sub(row.heartbeat_ms) > bound
        || row.owner.as_deref().is_some_and(|owner| inner.owners.life(owner) == Life::Dead)
}
