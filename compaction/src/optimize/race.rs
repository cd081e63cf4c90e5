//! What a rewrite knows of its groups, so that a lost race costs the lost groups only.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use icecap_table::scan::{DeleteFile, ScanFile, ScanPlan};
use icecap_table::staged_file::StagedFile;

/// A delete file: its location, and where its deletion vector begins.
pub(super) type DeleteKey = (String, Option<i64>);

/// A data file as it was read: its location, and the delete files that were applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) path: String,
    pub(super) deletes: BTreeSet<DeleteKey>,
}

/// A group that is rewritten.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rewritten {
    pub(super) inputs: Vec<Input>,
    pub(super) files: Vec<StagedFile>,
}

pub(super) fn delete_key(deletes: &DeleteFile) -> DeleteKey {
    (deletes.path.clone(), deletes.content_range.map(|(offset, _)| offset))
}

/// A file of a plan as it is read.
pub(super) fn input(plan: &ScanPlan, file: &ScanFile) -> Input {
    let deletes = file.deletes.iter().filter_map(|at| plan.deletes.get(*at)).map(delete_key).collect();
    Input { path: file.path.clone(), deletes }
}

/// Keeps the groups all of whose inputs are in `plan` (all files of the table as it is now) exactly as they were read:
/// reading them now would give the same rows. Returns the inputs of the others.
pub(super) fn keep_untouched(done: &mut Vec<Rewritten>, plan: &ScanPlan) -> HashSet<String> {
    let now: BTreeMap<&str, &ScanFile> = plan.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut lost = HashSet::new();
    done.retain(|group| {
        let is_untouched = group
            .inputs
            .iter()
            .all(|read| now.get(read.path.as_str()).is_some_and(|file| input(plan, file) == *read));
        if !is_untouched {
            lost.extend(group.inputs.iter().map(|read| read.path.clone()));
        }
        is_untouched
    });
    lost
}

/// The delete files of a table (`plan` has all its data files) that apply to no other data file than those in `gone`:
/// once these are gone, they delete nothing.
pub(super) fn dangling<'a>(plan: &'a ScanPlan, gone: &HashSet<&str>) -> Vec<&'a DeleteFile> {
    let mut is_needed = vec![false; plan.deletes.len()];
    let mut applies = vec![false; plan.deletes.len()];
    for file in &plan.files {
        let goes = gone.contains(file.path.as_str());
        for at in &file.deletes {
            if let (Some(needed), Some(applies)) = (is_needed.get_mut(*at), applies.get_mut(*at)) {
                *needed |= !goes;
                *applies = true;
            }
        }
    }
    let all = plan.deletes.iter().zip(is_needed.iter().zip(&applies));
    all.filter(|(_, (needed, applies))| !**needed && **applies).map(|(deletes, _)| deletes).collect()
}

#[cfg(test)]
mod tests {
    use icecap_table::scan::DeleteKind;

    use super::*;

    fn file(path: &str, deletes: &[usize]) -> ScanFile {
        ScanFile {
            path: path.into(),
            file_size_bytes: 1,
            record_count: 1,
            spec_id: 0,
            partition: Vec::new(),
            data_sequence_number: 1,
            file_sequence_number: 1,
            first_row_id: None,
            sort_order_id: None,
            split_offsets: Vec::new(),
            all_rows_match: true,
            deletes: deletes.to_vec(),
            null_counts: BTreeMap::new(),
            value_counts: BTreeMap::new(),
            nan_counts: BTreeMap::new(),
            lower_bounds: BTreeMap::new(),
            upper_bounds: BTreeMap::new(),
        }
    }

    fn deletes(path: &str, offset: Option<i64>) -> DeleteFile {
        DeleteFile {
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
        }
    }

    fn plan(files: Vec<ScanFile>, deletes: Vec<DeleteFile>) -> ScanPlan {
        ScanPlan { files, deletes, ..ScanPlan::default() }
    }

    #[test]
    fn a_group_stays_when_its_inputs_are_as_they_were_read() {
        let before = plan(vec![file("a", &[0]), file("b", &[]), file("c", &[])], vec![deletes("d", Some(4))]);
        let group = |paths: &[usize]| Rewritten {
            inputs: paths.iter().map(|at| input(&before, &before.files[*at])).collect(),
            files: Vec::new(),
        };
        let all = || vec![group(&[0, 1]), group(&[2])];
        let lost = |now: &ScanPlan| {
            let mut done = all();
            let lost = keep_untouched(&mut done, now);
            (done.len(), lost.into_iter().collect::<BTreeSet<_>>())
        };
        assert_eq!(lost(&before), (2, BTreeSet::new()));
        // Another file in the table does not matter, nor where the delete file stands in the plan.
        let more = plan(
            vec![file("x", &[0]), file("a", &[1]), file("b", &[]), file("c", &[])],
            vec![deletes("e", None), deletes("d", Some(4))],
        );
        assert_eq!(lost(&more), (2, BTreeSet::new()));
        // A vector at another place of the same file, a file that is gone, and a new delete file do.
        let of_ab: BTreeSet<String> = ["a".to_owned(), "b".to_owned()].into();
        let moved = plan(vec![file("a", &[0]), file("b", &[]), file("c", &[])], vec![deletes("d", Some(44))]);
        assert_eq!(lost(&moved), (1, of_ab.clone()));
        let gone = plan(vec![file("a", &[0]), file("c", &[])], vec![deletes("d", Some(4))]);
        assert_eq!(lost(&gone), (1, of_ab));
        let deleted = plan(
            vec![file("a", &[0]), file("b", &[]), file("c", &[1])],
            vec![deletes("d", Some(4)), deletes("e", None)],
        );
        assert_eq!(lost(&deleted), (1, ["c".to_owned()].into()));
    }

    #[test]
    fn deletes_dangle_when_all_that_they_apply_to_goes() {
        let table = plan(
            vec![file("a", &[0, 1]), file("b", &[1]), file("c", &[2])],
            vec![
                deletes("of a", Some(4)),
                deletes("of a and b", None),
                deletes("of c", None),
                deletes("of none", None),
            ],
        );
        let names = |gone: &[&str]| -> Vec<String> {
            let gone = gone.iter().copied().collect();
            dangling(&table, &gone).into_iter().map(|deletes| deletes.path.clone()).collect()
        };
        assert_eq!(names(&["a"]), ["of a"]);
        assert_eq!(names(&["b"]), [""; 0]);
        assert_eq!(names(&["a", "b"]), ["of a", "of a and b"]);
        assert_eq!(names(&["c"]), ["of c"]);
    }
}
