//! What a request must be before anything is read for it, and what its files must be for a table.

use std::collections::HashSet;

use icecap_table::commit::{CommitOutcome, CommitRequest, FileChanges};
use icecap_table::iceberg::spec::{FormatVersion, TableMetadata};
use icecap_table::id::{TableIdent, WriteId};
use icecap_table::location::Policy;
use icecap_table::snapshot::check_staged_paths;
use icecap_table::staged_file::{FileContent, StagedFile};
use icecap_table::{Error, Result};

use super::files_of;

/// The only branch that is written yet.
const MAIN: &str = "main";

/// Checks a request's form: its names and its files, as far as no table is needed for it.
pub(super) fn request(request: &CommitRequest) -> Result<()> {
    if request.changes.is_empty() {
        return Err(Error::invalid("the commit request changes nothing"));
    }
    let mut paths = HashSet::new();
    for change in &request.changes {
        if change.change.is_of_namespace() {
            if request.changes.len() > 1 {
                return Err(Error::invalid("a namespace is changed together with something else"));
            }
            return namespace(&change.ident);
        }
        name(&change.ident)?;
        if change.reference != MAIN {
            return Err(Error::unsupported(format!(
                "writing to branch {:?} is not supported yet",
                change.reference
            )));
        }
        let takes_deletes = change.change.file_changes().is_some();
        for file in files_of(&change.change) {
            if file.content != FileContent::Data && !takes_deletes {
                return Err(Error::invalid("an append adds data files only").with("path", file.path.clone()));
            }
            if !paths.insert((file.path.as_str(), file.content_range)) {
                return Err(Error::invalid("a staged file is named twice").with("path", file.path.clone()));
            }
        }
        if let Some(files) = change.change.file_changes() {
            file_changes(files)?;
        }
    }
    Ok(())
}

/// Checks the form of changes of files: each names what it is about, once.
fn file_changes(files: &FileChanges) -> Result<()> {
    let mut vectors = HashSet::new();
    for file in files.added.iter().filter(|file| file.content != FileContent::Data) {
        let bad = |why: &str| Err(Error::invalid(why).with("path", file.path.clone()));
        let named = file.deleted_positions.iter().map(|deleted| deleted.data_file.as_str());
        let named: Vec<&str> = named.chain(file.referenced_data_file.as_deref()).collect();
        if named.is_empty() {
            return bad("a staged delete file does not say which data files it concerns");
        }
        if file.content == FileContent::DeletionVector {
            if named.iter().any(|path| *path != named[0]) {
                return bad("a deletion vector concerns one data file");
            }
            if !vectors.insert(named[0]) {
                return bad("two deletion vectors concern one data file");
            }
        }
    }
    let mut removed = HashSet::new();
    for file in &files.removed {
        if !removed.insert(file) {
            return Err(Error::invalid("a file is removed twice").with("path", file.path.clone()));
        }
        if vectors.contains(file.path.as_str()) {
            return Err(Error::invalid("a data file is removed and gets a deletion vector")
                .with("path", file.path.clone()));
        }
    }
    Ok(())
}

/// Whether a name can be kept in the catalog's layout, which joins a namespace's levels with dots.
pub(super) fn name(ident: &TableIdent) -> Result<()> {
    let bad = |why: &str| Err(Error::invalid(format!("table name {ident} {why}")));
    if ident.name.is_empty() || ident.namespace.is_empty() || ident.namespace.iter().any(String::is_empty) {
        return bad("has an empty part");
    }
    if ident.namespace.iter().any(|level| level.contains('.')) {
        return bad("has a dot inside a namespace level, which the catalog cannot tell from a separator");
    }
    Ok(())
}

/// Whether a name is one of a namespace that the catalog's layout can keep.
fn namespace(ident: &TableIdent) -> Result<()> {
    if !ident.name.is_empty() {
        return Err(Error::invalid(format!("{ident} is the name of a table, not of a namespace")));
    }
    if ident.namespace.is_empty() || ident.namespace.iter().any(String::is_empty) {
        return Err(Error::invalid("a namespace name is empty"));
    }
    match ident.namespace.iter().find(|level| level.contains('.')) {
        Some(level) => Err(Error::invalid(format!(
            "namespace level {level:?} has a dot, which the catalog cannot tell from a separator: use another name"
        ))),
        None => Ok(()),
    }
}

/// Checks that a table takes data files at all.
pub(super) fn writable(ident: &TableIdent, metadata: &TableMetadata) -> Result<()> {
    if metadata.format_version() == FormatVersion::V1 {
        return Err(Error::unsupported(format!(
            "writing to the format version 1 table {ident} is not supported: set its property 'format-version' to '2'"
        )));
    }
    Ok(())
}

/// Checks that staged files lie where only their write may put them, and where the policy allows it.
///
/// # Errors
/// `Denied`, naming the path; `Invalid` when it is no location.
pub(super) fn files(
    write_id: WriteId,
    metadata: &TableMetadata,
    files: &[StagedFile],
    policy: &Policy,
) -> Result<()> {
    for file in files {
        policy.check(&file.path)?;
    }
    check_staged_paths(metadata, write_id, files)
}

/// The outcome of a request one of whose requirements does not hold.
pub(super) fn rejected(requirement: impl Into<String>) -> CommitOutcome {
    CommitOutcome::Rejected { requirement: requirement.into() }
}
