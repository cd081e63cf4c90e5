//! The engine as a long-lived process, for tests that run thousands of statements: `engine_host DIR [--tasks N] [--plant BUG]`.
//!
//! One statement a line on standard input, as a JSON string; one answer a line on standard output: `{"objects": […]}` with
//! what `icecap sql --format json` prints, or `{"error": "error[<kind>]: …"}`. Ends with its standard input. It is built with
//! the feature `testing`, so that it can hold a planted bug: the `icecap` command that users get never can.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use futures::StreamExt;
use icecap::engine::{Cancel, Engine, EngineSettings, Session, StatementResult};
use icecap::sql::{parse_statement, split_script};
use icecap_cli::output::{Done, Format, Screen, Summary, Written, row_writer};
use icecap_table::testing::{Mutation, plant};
use icecap_table::{Error, Result};
use serde_json::{Value, json};

/// Statements on tables of a few rows gain nothing from more.
const THREADS: usize = 2;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.kind());
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let warehouse = arguments.next().ok_or_else(|| Error::invalid("which warehouse?"))?;
    let mut settings = EngineSettings { threads: Some(THREADS), ..EngineSettings::new(warehouse) };
    while let Some(option) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        match option.as_str() {
            "--tasks" => {
                settings.tasks = Some(value.parse().map_err(|_| Error::invalid("--tasks takes a number"))?);
            }
            "--plant" => {
                let bug = Mutation::named(&value);
                plant(Some(bug.ok_or_else(|| Error::invalid(format!("no bug is called {value}")))?));
            }
            other => return Err(Error::invalid(format!("no option is called {other}"))),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(|error| Error::unavailable("cannot start the worker threads").with_source(error))?;
    let session = runtime.block_on(Engine::open(settings))?.session();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| Error::unavailable("cannot read a statement").with_source(error))?;
        let sql: String = serde_json::from_str(&line)
            .map_err(|error| Error::invalid("a statement is a JSON string").with_source(error))?;
        let answer = match runtime.block_on(objects(&session, &sql)) {
            Ok(objects) => json!({ "objects": objects }),
            Err(error) => json!({ "error": format!("error[{}]: {error}", error.kind()) }),
        };
        writeln!(out, "{answer}")
            .and_then(|()| out.flush())
            .map_err(|error| Error::unavailable("cannot answer").with_source(error))?;
    }
    Ok(())
}

async fn objects(session: &Session, sql: &str) -> Result<Vec<Value>> {
    let mut answered = Vec::new();
    for text in split_script(sql)? {
        let statement = parse_statement(&text)?;
        let mut printed = Vec::new();
        match session.run(&statement, &Cancel::default()).await? {
            StatementResult::Rows(mut rows) => {
                let mut writer = row_writer(Format::Json, rows.schema(), Screen::default());
                let failed = |_| Error::bug("a result could not be printed");
                while let Some(batch) = rows.next().await {
                    let batch = batch.map_err(icecap::plan::from_datafusion)?;
                    writer.write(&batch, &mut printed).map_err(failed)?;
                }
                writer.finish(&mut printed).map_err(failed)?;
            }
            StatementResult::Written(write) => {
                let summary = Summary::Written(Written {
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
                    cost: None,
                    races: write.races,
                });
                printed.extend(summary.show(Format::Json).into_bytes());
            }
            StatementResult::Done(done) => {
                let summary =
                    Summary::Done(Done { statement: done.statement, table: done.table, counts: done.counts });
                printed.extend(summary.show(Format::Json).into_bytes());
            }
        }
        let lines = serde_json::Deserializer::from_slice(&printed).into_iter();
        answered = lines
            .collect::<std::result::Result<Vec<Value>, _>>()
            .map_err(|error| Error::bug("a result is no JSON").with_source(error))?;
    }
    Ok(answered)
}
