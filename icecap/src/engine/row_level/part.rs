//! What a statement has done so far, in parts: each is what one run of the delta stage came to.
//!
//! After a lost race, a part stays as far as the data files that it deletes rows of are what they were. A file in which
//! it found nothing does not have to be read again, whatever becomes of the part.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use icecap_table::commit::{RemovedFile, RowCounts};
use icecap_table::deletes::PositionSet;
use icecap_table::scan::{DeleteFile, ScanFile, ScanPlan};
use icecap_table::staged_file::StagedFile;

/// What one run of the delta stage came to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Part {
    /// The data files of which rows go, by location.
    pub(super) touched: BTreeMap<String, Touched>,
    /// Data files written: new rows, and those that stay of data files that are written again. A file may hold rows of
    /// any of those touched.
    pub(super) staged: Vec<StagedFile>,
    /// What was done to rows.
    pub(super) rows: RowCounts,
    /// Whether data files are written again.
    pub(super) rewrites: bool,
}

/// A data file of which rows go.
#[derive(Debug, PartialEq)]
pub(super) struct Touched {
    /// How many.
    pub(super) rows: u64,
    pub(super) fate: Fate,
}

/// What becomes of a data file of which rows go.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    /// It goes.
    Removed,
    /// A new delete file of it holds these positions (V3: all of it; V2: the new ones), and these files go.
    Deletes { positions: PositionSet, replaced: Vec<RemovedFile> },
}

/// Drops what is not true any more, where only the files in `unchanged` are what they were. Returns the unchanged files
/// that have to be read again, because a part that found rows in them is dropped.
pub(super) fn keep(parts: &mut Vec<Part>, unchanged: &HashSet<&str>) -> HashSet<String> {
    let mut again = HashSet::new();
    parts.retain_mut(|part| {
        let stays = |path: &String| unchanged.contains(path.as_str());
        if part.touched.keys().all(stays) {
            return true;
        }
        if !part.staged.is_empty() {
            // Which of the new files hold rows of the files that changed is not known.
            again.extend(part.touched.keys().filter(|path| stays(path)).cloned());
            return false;
        }
        // Without new rows nothing but deletes was counted.
        let Part { touched, rows, .. } = part;
        touched.retain(|path, touched| {
            let stays = stays(path);
            if !stays {
                rows.deleted = rows.deleted.saturating_sub(touched.rows);
            }
            stays
        });
        !part.touched.is_empty()
    });
    again
}

/// The data files that are in both plans and would be read alike: same rows, same deletes.
pub(super) fn unchanged<'a>(before: &ScanPlan, now: &'a ScanPlan) -> HashSet<&'a str> {
    let known: BTreeMap<&str, &ScanFile> =
        before.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let is_same = |file: &&ScanFile| {
        known.get(file.path.as_str()).is_some_and(|other| {
            deletes(before, other) == deletes(now, file)
                // What a row's place gives it: its id (V3) above all, which a file may get late.
                && (file.record_count, file.first_row_id, file.data_sequence_number, file.spec_id)
                    == (other.record_count, other.first_row_id, other.data_sequence_number, other.spec_id)
                && (&file.partition, file.all_rows_match) == (&other.partition, other.all_rows_match)
        })
    };
    now.files.iter().filter(is_same).map(|file| file.path.as_str()).collect()
}

/// The delete files of a data file: location, and where a deletion vector begins.
fn deletes<'a>(plan: &'a ScanPlan, file: &ScanFile) -> BTreeSet<(&'a str, Option<i64>)> {
    let key = |delete: &'a DeleteFile| (delete.path.as_str(), delete.content_range.map(|(offset, _)| offset));
    file.deletes.iter().filter_map(|at| plan.deletes.get(*at)).map(key).collect()
}

#[cfg(test)]
mod tests {
    use icecap_table::scan::DeleteKind;

    use super::super::position_file::tests::scan_file;
    use super::*;

    fn part(touched: &[(&str, u64)], staged: &[&str]) -> Part {
        let touched: BTreeMap<String, Touched> = touched
            .iter()
            .map(|(path, rows)| ((*path).to_owned(), Touched { rows: *rows, fate: Fate::Removed }))
            .collect();
        let deleted = touched.values().map(|touched| touched.rows).sum();
        Part {
            touched,
            staged: staged.iter().map(|path| StagedFile::data(*path, 0, Vec::new())).collect(),
            rows: RowCounts { deleted, ..RowCounts::default() },
            rewrites: false,
        }
    }

    fn kept(parts: Vec<Part>, unchanged: &[&str]) -> (Vec<(Vec<String>, u64)>, Vec<String>) {
        let mut parts = parts;
        let mut again: Vec<String> =
            keep(&mut parts, &unchanged.iter().copied().collect()).into_iter().collect();
        again.sort();
        let left = parts.iter().map(|part| (part.touched.keys().cloned().collect(), part.rows.deleted));
        (left.collect(), again)
    }

    #[test]
    fn deletes_are_dropped_by_file_and_new_rows_with_all_that_they_may_be_of() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let both = || vec![part(&[("a", 2), ("b", 3)], &[]), part(&[("c", 1), ("d", 4)], &["new"])];
        assert_eq!(
            kept(both(), &["a", "b", "c", "d"]),
            (vec![(names(&["a", "b"]), 5), (names(&["c", "d"]), 5)], vec![])
        );
        // A file that nothing was found in does not matter.
        assert_eq!(
            kept(both(), &["a", "c", "d"]),
            (vec![(names(&["a"]), 2), (names(&["c", "d"]), 5)], vec![])
        );
        assert_eq!(kept(both(), &["a", "b", "d"]), (vec![(names(&["a", "b"]), 5)], names(&["d"])));
        assert_eq!(kept(both(), &[]), (vec![], vec![]));
    }

    #[test]
    fn a_file_is_what_it_was_when_its_deletes_are() {
        let delete = |path: &str, offset: Option<i64>| DeleteFile {
            kind: DeleteKind::PositionDeletes,
            path: path.into(),
            file_size_bytes: 1,
            record_count: 1,
            content_range: offset.map(|offset| (offset, 10)),
            spec_id: 0,
            partition: Vec::new(),
            data_sequence_number: 2,
            referenced_data_file: None,
            path_bounds: None,
            null_counts: BTreeMap::new(),
            lower_bounds: BTreeMap::new(),
            upper_bounds: BTreeMap::new(),
        };
        let file =
            |path: &str, deletes: &[usize]| ScanFile { deletes: deletes.to_vec(), ..scan_file(path, 9) };
        let plan = |files: Vec<ScanFile>, deletes: Vec<DeleteFile>| ScanPlan {
            files,
            deletes,
            ..ScanPlan::default()
        };
        let same = |now: &ScanPlan| {
            let before = plan(vec![file("a", &[0]), file("b", &[])], vec![delete("d", Some(4))]);
            let mut same: Vec<String> = unchanged(&before, now).into_iter().map(str::to_owned).collect();
            same.sort();
            same.join(" ")
        };
        let d = || delete("d", Some(4));
        // Where the delete file stands in a plan says nothing.
        assert_eq!(same(&plan(vec![file("b", &[]), file("a", &[1])], vec![delete("e", None), d()])), "a b");
        assert_eq!(same(&plan(vec![file("c", &[]), file("b", &[])], vec![])), "b");
        assert_eq!(same(&plan(vec![file("a", &[0]), file("b", &[0])], vec![d()])), "a");
        assert_eq!(same(&plan(vec![file("a", &[0])], vec![delete("d", Some(44))])), "");
        let mut named = file("b", &[]);
        named.first_row_id = Some(3);
        assert_eq!(same(&plan(vec![named], vec![])), "");
    }
}
