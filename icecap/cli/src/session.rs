//! `icecap sql --session`: a program runs statements one after another in one process.
//!
//! A request is a line with a JSON text, the SQL. Its answer is a line with one JSON object: `{"rows":[…]}`,
//! `{"summary":{…}}` or `{"error":"error[<kind>]: …"}`, each as `--format json` has it. A statement that fails ends
//! nothing: the next line is the next statement. The process ends when its standard input does.

use std::io::{self, BufRead, Write};

use futures::StreamExt;
use icecap::engine::{Session, StatementResult};
use icecap::plan::from_datafusion;
use icecap::sql::split_script;
use icecap_table::Error;

use crate::args::SqlCommand;
use crate::failure::Failure;
use crate::interrupt::{self, Running};
use crate::output::{Done, Format, OutputError, Screen, Summary, row_writer};
use crate::run::{Turn, open, runtime, written};

/// Answers until standard input ends.
///
/// # Errors
/// When the engine cannot be opened, or the streams break.
pub(crate) fn run(command: &SqlCommand) -> Result<(), Failure> {
    let runtime = runtime(command.threads)?;
    let outcome = runtime.block_on(async {
        let running = Running::default();
        interrupt::watch(running.clone(), None, || {})?;
        let session = open(command).await?.session();
        // This thread is nobody's worker: it may wait for lines.
        for line in io::stdin().lock().lines() {
            let line =
                line.map_err(|error| Error::unavailable("cannot read standard input").with_source(error))?;
            let answer = match serde_json::from_str::<String>(&line) {
                Ok(sql) => answer(&session, &running, &sql).await,
                Err(error) => Err(Error::invalid("a line is not a JSON text").with_source(error).into()),
            };
            let answer = answer.unwrap_or_else(|failure| {
                format!("{{\"error\":{}}}", serde_json::Value::from(failure.to_string()))
            });
            let mut out = io::stdout().lock();
            if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
                // Nobody reads answers any more.
                return Ok(());
            }
        }
        Ok(())
    });
    runtime.shutdown_background();
    outcome
}

/// The answer to the last of a line's statements.
async fn answer(session: &Session, running: &Running, sql: &str) -> Result<String, Failure> {
    let texts = split_script(sql)?;
    let mut last = rows_of(&[]);
    for (at, text) in texts.iter().enumerate() {
        let turn = Turn::parse(text, at + 1, texts.len(), None)?;
        let cancel = running.start(turn.place.clone());
        let result = match session.run(&turn.statement, &cancel).await {
            Ok(result) => encoded(result).await,
            Err(error) => Err(error),
        };
        running.stop();
        last = result.map_err(|error| Failure::of_statement(error, turn.place, None))?;
    }
    Ok(last)
}

/// A result as a line's object.
async fn encoded(result: StatementResult) -> Result<String, Error> {
    let summary = match result {
        StatementResult::Rows(mut rows) => {
            let mut writer = row_writer(Format::Json, rows.schema(), Screen::default());
            let mut lines = Vec::new();
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(from_datafusion)?;
                writer.write(&batch, &mut lines).map_err(in_memory)?;
            }
            writer.finish(&mut lines).map_err(in_memory)?;
            return Ok(rows_of(&lines));
        }
        StatementResult::Written(write) => written(write),
        StatementResult::Done(done) => {
            Summary::Done(Done { statement: done.statement, table: done.table, counts: done.counts })
        }
    };
    Ok(format!("{{\"summary\":{}}}", summary.show(Format::Json).trim_end()))
}

/// Rows that are lines of JSON, as one array.
fn rows_of(lines: &[u8]) -> String {
    let lines = String::from_utf8_lossy(lines);
    format!("{{\"rows\":[{}]}}", lines.lines().collect::<Vec<_>>().join(","))
}

fn in_memory(error: OutputError) -> Error {
    match error {
        OutputError::Failed(error) => error,
        OutputError::Closed => Error::bug("memory was closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_objects_are_one_array() {
        assert_eq!(rows_of(b""), "{\"rows\":[]}");
        assert_eq!(rows_of(b"{\"a\":1}\n{\"a\":\"x\\ny\"}\n"), "{\"rows\":[{\"a\":1},{\"a\":\"x\\ny\"}]}");
    }
}
