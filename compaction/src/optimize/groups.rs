//! Which data files are rewritten together: a plan's files, sorted out by partition and packed by size.
//!
//! Pure and deterministic: the same files make the same groups, in whatever order they come.

use std::collections::BTreeMap;

use icecap_table::properties::RewriteSettings;
use icecap_table::scan::{DeleteFile, ScanFile, ScanPlan};

/// A file with this part of its rows deleted is rewritten for that alone: three tenths, as Iceberg has it.
const DELETED_TENTHS: u64 = 3;

/// Files that are rewritten together. All are of one partition of one spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The files, as indices into the plan's.
    pub files: Vec<usize>,
    /// Bytes of their rows that are left, about.
    pub bytes: u64,
    /// The size at which a new file is begun, in bytes: what is packed to one file stays one.
    pub roll_bytes: u64,
}

/// The groups of a plan's files.
///
/// A file is taken when it is too small or too large, when much of it is deleted, or when it is of another partition
/// spec than `current_spec`. Small files make a group when there are enough of them, or when they fill a file.
pub fn groups(plan: &ScanPlan, settings: &RewriteSettings, current_spec: i32) -> Vec<Group> {
    let mut partitions: BTreeMap<(i32, String), Vec<Weighed<'_>>> = BTreeMap::new();
    for (at, file) in plan.files.iter().enumerate() {
        let weighed = Weighed::of(at, plan, file, settings, current_spec);
        if weighed.is_taken(settings) {
            // The tuple's text: its values have no order of their own.
            let key = (file.spec_id, format!("{:?}", file.partition));
            partitions.entry(key).or_default().push(weighed);
        }
    }
    let mut groups = Vec::new();
    for mut files in partitions.into_values() {
        // Rows that were written together stay together.
        files.sort_by(|one, other| one.order.cmp(&other.order));
        groups.extend(packed(files, settings).into_iter().filter(|bin| bin.is_worth_it(settings)).map(
            |bin| Group {
                roll_bytes: roll_bytes(bin.bytes, settings),
                files: bin.files.iter().map(|file| file.at).collect(),
                bytes: bin.bytes,
            },
        ));
    }
    groups
}

/// A file, and what speaks for rewriting it.
struct Weighed<'a> {
    at: usize,
    /// Bytes on disk.
    size: u64,
    /// Bytes of the rows that are left.
    bytes: u64,
    /// Whether it is rewritten even alone.
    must: bool,
    order: (i64, &'a str),
}

impl<'a> Weighed<'a> {
    fn of(
        at: usize,
        plan: &ScanPlan,
        file: &'a ScanFile,
        settings: &RewriteSettings,
        current_spec: i32,
    ) -> Self {
        let deletes: Vec<&DeleteFile> = file.deletes.iter().filter_map(|at| plan.deletes.get(*at)).collect();
        let deleted = deletes.iter().map(|deletes| deleted_rows(deletes, file)).fold(0, u64::saturating_add);
        let deleted = deleted.min(file.record_count);
        let size = file.file_size_bytes;
        let left = file.record_count - deleted;
        let share = u128::from(size) * u128::from(left) / u128::from(file.record_count.max(1));
        let is_full_of_deletes = deletes.len() >= settings.min_delete_files
            || (deleted > 0
                && deleted.saturating_mul(10) >= file.record_count.saturating_mul(DELETED_TENTHS))
            || deletes.iter().any(|deletes| deletes.is_equality());
        Self {
            at,
            size,
            bytes: u64::try_from(share).unwrap_or(size),
            must: is_full_of_deletes || file.spec_id != current_spec || size > settings.max_bytes,
            order: (file.data_sequence_number, &file.path),
        }
    }

    fn is_taken(&self, settings: &RewriteSettings) -> bool {
        self.must || self.size < settings.min_bytes
    }
}

/// The rows of `file` that a delete file is known to delete.
fn deleted_rows(deletes: &DeleteFile, file: &ScanFile) -> u64 {
    let is_of_it_alone = deletes.referenced_data_file.as_deref() == Some(file.path.as_str())
        || deletes.path_bounds.as_ref().is_some_and(|(low, high)| low == high && *low == file.path);
    if is_of_it_alone && !deletes.is_equality() { deletes.record_count } else { 0 }
}

#[derive(Default)]
struct Bin<'a> {
    files: Vec<Weighed<'a>>,
    bytes: u64,
}

impl<'a> Bin<'a> {
    fn push(&mut self, file: Weighed<'a>) {
        self.bytes = self.bytes.saturating_add(file.bytes);
        self.files.push(file);
    }

    fn is_worth_it(&self, settings: &RewriteSettings) -> bool {
        let joins = self.files.len() > 1
            && (self.files.len() >= settings.min_files || self.bytes >= settings.min_bytes);
        joins || self.files.iter().any(|file| file.must)
    }
}

/// Bins of about the target's size, filled one after another.
fn packed<'a>(files: Vec<Weighed<'a>>, settings: &RewriteSettings) -> Vec<Bin<'a>> {
    let mut bins: Vec<Bin<'a>> = Vec::new();
    let mut open = Bin::default();
    for file in files {
        let is_full = open.bytes.saturating_add(file.bytes) > settings.target_bytes;
        if is_full && !open.files.is_empty() {
            bins.push(std::mem::take(&mut open));
        }
        open.push(file);
    }
    // A remainder that is no file of its own goes with the last full one.
    match bins.last_mut() {
        Some(last)
            if open.bytes < settings.min_bytes
                && last.bytes.saturating_add(open.bytes) <= settings.max_bytes =>
        {
            open.files.into_iter().for_each(|file| last.push(file));
        }
        _ if !open.files.is_empty() => bins.push(open),
        _ => {}
    }
    bins
}

fn roll_bytes(bytes: u64, settings: &RewriteSettings) -> u64 {
    if bytes <= settings.max_bytes {
        // Estimates are not exact: what was meant to be one file must not end in two, one of them tiny.
        return settings.max_bytes.max(settings.target_bytes);
    }
    let target = settings.target_bytes.max(1);
    let parts = bytes.div_ceil(target);
    let each = bytes.div_ceil(parts.max(1));
    each.saturating_add(each / 20)
}

#[cfg(test)]
mod tests;
