//! `icecap verify`: reports on tables, and an exit status for pipelines.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use icecap::engine::{Engine, EngineSettings, METADATA_SUFFIX, VerifyReport};
use icecap_table::Error;
use serde_json::json;

use crate::args::VerifyCommand;
use crate::failure::Failure;
use crate::run::runtime;

/// Verifies the tables one after another and prints what was found.
///
/// # Errors
/// `Corrupt` when a table is not sound, after all reports; of the engine's kinds when one cannot be looked at.
pub(crate) fn run(command: &VerifyCommand) -> Result<(), Failure> {
    let mut settings = command.settings();
    let place = Place::of(command, &settings)?;
    if let Some(folder) = &place.temporary {
        settings.warehouse = folder.to_string_lossy().into_owned();
        settings.catalog = None;
    }
    let runtime = runtime(settings.threads)?;
    let mut unsound = Vec::new();
    let outcome = runtime.block_on(async {
        let engine = Engine::open(settings).await?;
        for table in &command.tables {
            let report = engine.verify(table, !command.metadata_only).await?;
            let text = if command.json { as_json(&report) } else { as_text(&report) };
            // Nobody reads on when standard output is closed; the exit status still tells.
            let _ = io::stdout().write_all(text.as_bytes());
            if !report.is_sound() {
                unsound.push(report.table);
            }
        }
        Ok::<_, Error>(())
    });
    runtime.shutdown_background();
    outcome?;
    match unsound.is_empty() {
        true => Ok(()),
        false => Err(Error::corrupt(format!("not sound: {}", unsound.join(", "))).into()),
    }
}

/// Where the engine opens: opening makes a warehouse that is not there, and a check makes nothing.
struct Place {
    /// A folder of our own, for metadata files that belong to no warehouse.
    temporary: Option<PathBuf>,
}

impl Place {
    fn of(command: &VerifyCommand, settings: &EngineSettings) -> Result<Self, Error> {
        let warehouse = &command.warehouse;
        let folder = warehouse.strip_prefix("file://").unwrap_or(warehouse);
        let has_warehouse = Path::new(folder).is_dir();
        if has_warehouse && settings.has_catalog()? {
            return Ok(Self { temporary: None });
        }
        if !command.tables.iter().all(|table| table.ends_with(METADATA_SUFFIX)) {
            return Err(match &command.catalog {
                Some(catalog) if has_warehouse => Error::not_found(format!(
                    "there is no catalog {catalog}: name one that exists with --catalog"
                )),
                _ => Error::not_found(format!("there is no warehouse {warehouse}: name it with --warehouse")),
            });
        }
        let parent = command.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
        Ok(Self { temporary: Some(parent.join(format!("icecap-verify-{}", std::process::id()))) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(folder) = &self.temporary {
            // A leftover in the temporary folder harms nobody.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn as_json(report: &VerifyReport) -> String {
    let checked = &report.checked;
    let object = json!({
        "table": report.table,
        "sound": report.is_sound(),
        "snapshots": checked.snapshots,
        "manifests": checked.manifests,
        "files": checked.files,
        "rows": checked.rows,
        "data_was_read": report.data_was_read,
        "violations": checked.violations,
    });
    format!("{object}\n")
}

fn as_text(report: &VerifyReport) -> String {
    let checked = &report.checked;
    let looked = format!(
        "{} snapshots, {} manifests, {} files, {} rows{}",
        checked.snapshots,
        checked.manifests,
        checked.files,
        checked.rows,
        if report.data_was_read { ", all data read" } else { ", data not read" }
    );
    if report.is_sound() {
        return format!("{}: sound ({looked})\n", report.table);
    }
    let wrong: Vec<String> = checked.violations.iter().map(|violation| format!("  {violation}\n")).collect();
    format!("{}: {} violations ({looked})\n{}", report.table, wrong.len(), wrong.concat())
}
