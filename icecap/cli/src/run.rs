//! Statements through the engine, one after another, and their results to where they belong.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use icecap::dispatch::usage;
use icecap::engine::{Cancel, Engine, EngineSettings, Progress, Session, StatementResult, Writers};
use icecap::plan::from_datafusion;
use icecap::sql::{ParsedStatement, Statement, StatementText, parse_statement, split_script};
use icecap_compaction::Compaction;
use icecap_table::{Error, Result};

use crate::args::{SqlCommand, WriterCommand, WritersArg};
use crate::failure::{Failure, Place};
use crate::interrupt::{self, Running};
use crate::output::{Done, Format, OutputError, Screen, Summary, Written, row_writer};
use crate::progress::Shown;

/// Output is handed to the system in pieces of this size.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Runs the statements of all scripts, in order; stops at the first that fails.
///
/// Each statement is parsed when its turn comes: a mistake in a later one takes nothing back.
pub(crate) fn run(command: &SqlCommand, scripts: &[String]) -> Result<(), Failure> {
    let mut texts = Vec::new();
    for script in scripts {
        texts.extend(split_script(script)?);
    }
    let total = texts.len();
    let mut statements =
        texts.iter().enumerate().map(|(at, text)| Turn::parse(text, at + 1, total, command.token.as_ref()));
    // What cannot be parsed opens (and so makes) no warehouse.
    let Some(first) = statements.next().transpose()? else { return Ok(()) };

    let runtime = runtime(command.threads)?;
    let outcome = runtime.block_on(async {
        let running = Running::default();
        interrupt::watch(running.clone(), command.token.clone(), || {})?;
        let engine = open(command).await?;
        let mut runner = Runner::new(command, &engine, running);
        let mut next = Some(Ok(first));
        while let Some(turn) = next {
            runner.run(turn?).await?;
            next = statements.next();
        }
        Ok(())
    });
    // Tasks of a cancelled statement may still hold threads; the process does not wait for them.
    runtime.shutdown_background();
    outcome
}

/// The worker threads.
///
/// # Errors
/// `Unavailable` when the system gives none.
pub(crate) fn runtime(threads: Option<usize>) -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder
        .enable_all()
        .build()
        .map_err(|error| Error::unavailable("cannot start the worker threads").with_source(error))
}

/// Opens the engine that the command line describes.
///
/// # Errors
/// As [`Engine::open`].
pub(crate) async fn open(command: &SqlCommand) -> Result<Engine> {
    let engine = Engine::open(settings(command)?).await?;
    Ok(engine.with_maintenance(Arc::new(Compaction)))
}

/// A statement whose turn it is.
pub(crate) struct Turn {
    pub(crate) statement: ParsedStatement,
    pub(crate) place: Place,
    /// Whether its result is wanted on standard output.
    pub(crate) last: bool,
}

impl Turn {
    /// Parses a statement, one of `total`.
    ///
    /// # Errors
    /// `Invalid` when it is no SQL.
    pub(crate) fn parse(
        text: &StatementText<'_>,
        number: usize,
        total: usize,
        token: Option<&String>,
    ) -> Result<Self, Failure> {
        let place = |writes| Place { number, total, text: text.text.to_owned(), writes };
        match parse_statement(text) {
            Ok(statement) => {
                let place = place(statement.statement.may_write());
                Ok(Self { statement, place, last: number == total })
            }
            Err(error) => Err(Failure::of_statement(error, place(false), token.cloned())),
        }
    }

    /// Whether names of tables or columns may be others afterwards.
    pub(crate) fn changes_names(&self) -> bool {
        self.place.writes && !matches!(self.statement.statement, Statement::Insert(_))
    }
}

/// Runs statements one after another.
pub(crate) struct Runner<'a> {
    command: &'a SqlCommand,
    engine: Engine,
    session: Session,
    progress: Progress,
    running: Running,
}

impl<'a> Runner<'a> {
    /// A runner on `engine`, whose statements `running` tells of and stops.
    pub(crate) fn new(command: &'a SqlCommand, engine: &Engine, running: Running) -> Self {
        let (session, progress) = (engine.session(), engine.progress());
        Self { command, engine: engine.clone(), session, progress, running }
    }

    /// Runs one statement and shows its result.
    pub(crate) async fn run(&mut self, turn: Turn) -> Result<(), Failure> {
        let Place { number, total, writes, .. } = turn.place;
        tracing::debug!(number, total, writes, text = turn.place.text, "statement starts");
        let cancel = self.running.start(turn.place.clone());
        let before = self.engine.requests();
        let outcome = self.result(&turn, &cancel).await;
        self.running.stop();
        let requests = self.engine.requests().since(&before);
        match requests.total() {
            0 => tracing::info!(number, total, done = outcome.is_ok(), "statement ended"),
            _ => {
                tracing::info!(number, total, done = outcome.is_ok(), s3_requests = %requests, "statement ended")
            }
        }
        match outcome {
            Ok(()) | Err(OutputError::Closed) => Ok(()),
            Err(OutputError::Failed(error)) => {
                Err(Failure::of_statement(error, turn.place, self.command.token.clone()))
            }
        }
    }

    async fn result(&self, turn: &Turn, cancel: &Cancel) -> Result<(), OutputError> {
        let format = self.command.format;
        let shown = Shown::start(self.progress.clone(), self.command.verbosity);
        let result = self.session.run(&turn.statement, cancel).await?;
        match result {
            StatementResult::Rows(rows) if turn.last => print(rows, format, shown).await,
            StatementResult::Rows(rows) => {
                let count = count(rows).await?;
                drop(shown);
                // Programs that read JSON or CSV get nothing that they did not ask for.
                if format == Format::Table {
                    let rows = if count == 1 { "row" } else { "rows" };
                    let number = turn.place.number;
                    say(&format!("statement {number}: {count} {rows}, not shown: only the last result is\n"));
                }
                Ok(())
            }
            StatementResult::Written(write) => {
                drop(shown);
                if let Some(cost) = &write.cost {
                    tell_cost(cost);
                }
                report(&written(write), format, turn.last)
            }
            StatementResult::Done(done) => {
                drop(shown);
                let done = Done { statement: done.statement, table: done.table, counts: done.counts };
                report(&Summary::Done(done), format, turn.last)
            }
        }
    }
}

fn settings(command: &SqlCommand) -> Result<EngineSettings> {
    Ok(EngineSettings {
        warehouse: command.warehouse.clone(),
        catalog: command.catalog.clone(),
        memory_bytes: command.memory_bytes,
        threads: command.threads,
        temp_dir: command.temp_dir.clone(),
        timeout: command.timeout,
        allow_location: command.allow_location.clone(),
        allow_read: command.allow_read.clone(),
        writers: writers(command)?,
        token: command.token.clone(),
        tasks: command.tasks,
        slots: command.slots,
        ..EngineSettings::default()
    })
}

fn writers(command: &SqlCommand) -> Result<Writers> {
    match &command.writers {
        WritersArg::InProcess => Ok(Writers::InProcess),
        WritersArg::Children(slots) => {
            let path = std::env::current_exe().map_err(|error| {
                Error::unavailable("cannot find the program that writer processes are started from")
                    .with_source(error)
            })?;
            let program = WriterCommand::program(path, command.threads, command.verbosity);
            Ok(Writers::Children { slots: *slots, program })
        }
        WritersArg::Lambda(function) => Ok(Writers::Lambda { function: function.clone() }),
    }
}

/// Logs what a statement's tasks took.
fn tell_cost(cost: &icecap::engine::Cost) {
    tracing::info!(
        place = cost.place.as_str(),
        attempts = cost.attempts,
        failed_attempts = cost.failed_attempts,
        cold_starts = cost.cold_starts,
        wall_ms = cost.wall_ms,
        billed_ms = cost.billed_ms,
        gb_seconds = cost.gb_seconds,
        exchange_bytes_written = cost.exchange.bytes_written,
        exchange_bytes_read = cost.exchange.bytes_read,
        exchange_requests = cost.exchange.requests,
        "tasks ended"
    );
}

/// A write's summary as it is shown.
pub(crate) fn written(write: icecap::engine::WriteSummary) -> Summary {
    Summary::Written(Written {
        statement: write.statement,
        table: write.table,
        rows_inserted: write.rows_inserted,
        rows_updated: write.rows_updated,
        rows_deleted: write.rows_deleted,
        data_files: Some(write.data_files),
        delete_files: write.delete_files,
        bytes_written: write.bytes_written,
        snapshot_id: write.snapshot_id,
        seconds: write.seconds,
        // Of one attempt in this process nothing is to be told: it is not paid for, and not repeated.
        cost: write.cost.filter(|cost| cost.place != usage::Place::InProcess || cost.attempts > 1),
        races: write.races,
    })
}

/// The last result: rows to standard output as they come. On a terminal they take the place of the progress.
async fn print(mut rows: SendableRecordBatchStream, format: Format, shown: Shown) -> Result<(), OutputError> {
    let screen = Screen::of_stdout();
    let mut shown = Some(shown);
    let mut writer = row_writer(format, rows.schema(), screen);
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    while let Some(batch) = rows.next().await {
        if screen.columns.is_some() {
            shown.take();
        }
        writer.write(&batch.map_err(from_datafusion)?, &mut out)?;
    }
    drop(shown);
    writer.finish(&mut out)?;
    Ok(out.flush()?)
}

/// An earlier result: run to its end, because it may fail, and counted.
async fn count(mut rows: SendableRecordBatchStream) -> Result<u64> {
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        count += batch.map_err(from_datafusion)?.num_rows() as u64;
    }
    Ok(count)
}

fn report(summary: &Summary, format: Format, last: bool) -> Result<(), OutputError> {
    if !last {
        say(&summary.show(format));
        return Ok(());
    }
    let bytes = summary.encode(format)?;
    let mut out = io::stdout().lock();
    out.write_all(&bytes).and_then(|()| out.flush()).map_err(|error| match error.into() {
        OutputError::Closed => OutputError::Closed,
        // It is the telling that failed: nobody may take this for a write that can be run again.
        OutputError::Failed(error) => OutputError::Failed(
            Error::new(error.kind(), "the statement took effect, but its summary could not be written")
                .with_source(error),
        ),
    })
}

/// Tells something on standard error; nobody is left to tell when that is closed.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
