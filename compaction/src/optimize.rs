//! `OPTIMIZE`: files that are too small, too large, full of deletes or of an older partition spec are rewritten.
//!
//! `survey` plans the table's files, [`groups`](mod@groups) says which are rewritten together, the engine reads each
//! group with its deletes applied and writes it anew, and one change replaces all of them. Rows, row ids and the order
//! of the table's sort order stay; the new files keep the sequence number of the snapshot that was read, so that
//! nothing that was deleted before comes back and nothing that is deleted meanwhile is lost.
//!
//! Who changes rows goes first: statements that are under way when the rewrite is done are waited for, some time, and
//! who changed one of the files meanwhile has won. The groups concerned are left to the next `OPTIMIZE` where others
//! are done, else planned again (`race`).

pub mod groups;
mod race;
mod survey;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use icecap::engine::{OptimizeRequest, StatementResult, Upkeep, UpkeepIntent, UpkeepWrite};
use icecap::sql::Name;
use icecap_table::commit::{Change, FileChanges, RemovedFile, StatementKind, TableChange};
use icecap_table::iceberg::expr::Predicate;
use icecap_table::iceberg::spec::{FormatVersion, MAIN_BRANCH};
use icecap_table::properties::WriteSettings;
use icecap_table::{Error, Result};

use self::groups::Group;
use self::race::Rewritten;
use self::survey::Survey;

/// How far a rewrite has come: what outlives a lost race.
#[derive(Default)]
struct Progress {
    survey: Option<Survey>,
    /// The groups that are written.
    done: Vec<Rewritten>,
    /// Whether files were staged that no change names.
    left_files: bool,
    /// Races lost.
    lost: u32,
}

/// Runs `OPTIMIZE`, or `system.rewrite_data_files`.
///
/// # Errors
/// `Invalid` for a `WHERE` that cannot choose files; else as those of a write.
pub async fn run(upkeep: &Upkeep, request: &OptimizeRequest) -> Result<StatementResult> {
    let loaded = upkeep.load(&request.table).await?;
    let metadata = loaded.document.metadata();
    if metadata.format_version() == FormatVersion::V1 {
        return Err(Error::unsupported(
            "writing to a table of format version 1 is not supported: upgrade it first",
        )
        .with("table", loaded.ident.to_string()));
    }
    let filter = match &request.filter {
        Some(query) => upkeep.condition(&loaded, query).await?,
        None => Predicate::AlwaysTrue,
    };
    let prefix = WriteSettings::from_properties(metadata.properties())?.data_location(metadata.location());
    let uuid = metadata.uuid();
    let survey = upkeep.limited(survey::survey(upkeep, loaded, &filter)).await?;
    if survey.groups.is_empty() {
        return upkeep.nothing_to_do(StatementKind::Optimize, &request.table).await;
    }
    let intent = UpkeepIntent {
        kind: StatementKind::Optimize,
        target: request.table.clone(),
        bases: vec![(uuid, survey.snapshot_id)],
        prefixes: vec![prefix],
    };
    let progress = Arc::new(Mutex::new(Progress { survey: Some(survey), ..Progress::default() }));
    upkeep
        .write(intent, |write, lost| {
            let (progress, upkeep, table) = (Arc::clone(&progress), upkeep.clone(), request.table.clone());
            async move {
                let mut now = std::mem::take(&mut *progress.lock().unwrap_or_else(PoisonError::into_inner));
                if lost.is_some() {
                    now.lost += 1;
                    upkeep.back_off(now.lost).await?;
                    again(&upkeep, &table, &mut now).await?;
                }
                rewrite(&upkeep, write, &mut now).await?;
                if !now.done.is_empty() && upkeep.give_way(write, uuid).await? {
                    again(&upkeep, &table, &mut now).await?;
                    rewrite(&upkeep, write, &mut now).await?;
                }
                let changes = changes(&upkeep, &now)?;
                *progress.lock().unwrap_or_else(PoisonError::into_inner) = now;
                Ok(changes)
            }
        })
        .await
}

/// Brings what was done up to the table as it is now. Groups whose inputs are not what was read are dropped; only when
/// none is left, their files are planned again.
async fn again(upkeep: &Upkeep, table: &Name, progress: &mut Progress) -> Result<()> {
    let loaded = upkeep.load(table).await?;
    let mut survey = upkeep.limited(survey::all_files(upkeep, loaded)).await?;
    let lost = race::keep_untouched(&mut progress.done, &survey.plan);
    progress.left_files |= !lost.is_empty();
    let is_rest_done = !progress.done.is_empty();
    tracing::info!(
        files = lost.len(),
        is_rest_done,
        "files that were rewritten were changed by another write"
    );
    if !is_rest_done {
        survey.choose(|file| lost.contains(&file.path))?;
    }
    let planned = survey.groups.iter().map(|group| group.files.len()).sum();
    if progress.lost > 0 {
        upkeep.planned_again(planned, survey.plan.files.len());
    }
    progress.survey = Some(survey);
    Ok(())
}

/// Rewrites what is still to be.
async fn rewrite(upkeep: &Upkeep, write: UpkeepWrite, progress: &mut Progress) -> Result<()> {
    let Some(survey) = &mut progress.survey else {
        return Err(Error::bug("a rewrite without a survey of its table"));
    };
    let groups = std::mem::take(&mut survey.groups);
    let survey = &*survey;
    let running: Vec<_> = groups
        .iter()
        .enumerate()
        .map(|(number, group)| one(upkeep, write, survey, number, group).boxed())
        .collect();
    let mut written: Vec<(usize, Rewritten, bool)> =
        stream::iter(running).buffer_unordered(upkeep.tasks_at_once()).try_collect().await?;
    // So that the same files make the same change, whichever group was the first to be done.
    written.sort_by_key(|(number, ..)| *number);
    for (_, group, left_files) in written {
        progress.done.push(group);
        progress.left_files |= left_files;
    }
    Ok(())
}

/// The change that replaces all inputs by all outputs.
fn changes(upkeep: &Upkeep, progress: &Progress) -> Result<Vec<TableChange>> {
    let Some(survey) = &progress.survey else {
        return Err(Error::bug("a rewrite without a survey of its table"));
    };
    if progress.done.is_empty() {
        return Ok(Vec::new());
    }
    let added: Vec<_> = progress.done.iter().flat_map(|group| group.files.clone()).collect();
    if progress.left_files {
        upkeep.keep_only(added.iter().map(|file| file.path.clone()));
    }
    let gone: HashSet<&str> =
        progress.done.iter().flat_map(|group| &group.inputs).map(|input| input.path.as_str()).collect();
    let data = survey.plan.files.iter().filter(|file| gone.contains(file.path.as_str()));
    let data = data.map(|file| RemovedFile::data(file.path.clone()));
    let deletes =
        race::dangling(&survey.plan, &gone).into_iter().map(|deletes| match deletes.content_range {
            Some((offset, _)) if deletes.is_deletion_vector() => {
                RemovedFile::deletion_vector(deletes.path.clone(), offset)
            }
            _ => RemovedFile::delete_file(deletes.path.clone()),
        });
    let metadata = survey.loaded.document.metadata();
    let change = FileChanges {
        added,
        removed: data.chain(deletes).collect(),
        schema_id: metadata.current_schema_id(),
        // Rows keep what was true of them: equality deletes that came before were applied, later ones still apply.
        data_sequence_number: Some(survey.sequence_number),
        ..FileChanges::default()
    };
    Ok(vec![TableChange {
        ident: survey.loaded.ident.clone(),
        uuid: Some(metadata.uuid()),
        reference: MAIN_BRANCH.to_owned(),
        base: Some(survey.snapshot_id),
        change: Change::Rewrite(change),
    }])
}

/// Rewrites one group; gives its number, what it was and became, and whether more files were left.
async fn one(
    upkeep: &Upkeep,
    write: UpkeepWrite,
    survey: &Survey,
    number: usize,
    group: &Group,
) -> Result<(usize, Rewritten, bool)> {
    let plan = survey.part(&group.files);
    let inputs = plan.files.iter().map(|file| race::input(&plan, file)).collect();
    let rewritten = upkeep.rewrite(write, &survey.loaded, plan, group.roll_bytes).await?;
    Ok((number, Rewritten { inputs, files: rewritten.files }, rewritten.left_files))
}
