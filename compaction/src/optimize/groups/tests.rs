use std::collections::BTreeSet;

use icecap_table::iceberg::spec::Literal;
use icecap_table::scan::DeleteKind;
use proptest::prelude::*;

use super::*;

const SETTINGS: RewriteSettings =
    RewriteSettings { target_bytes: 100, min_bytes: 75, max_bytes: 180, min_files: 5, min_delete_files: 2 };

fn file(name: &str, size: u64, partition: i32) -> ScanFile {
    ScanFile {
        path: format!("file:///w/t/data/{name}.parquet"),
        file_size_bytes: size,
        record_count: 100,
        spec_id: 0,
        partition: vec![Some(Literal::int(partition))],
        data_sequence_number: 1,
        file_sequence_number: 1,
        first_row_id: None,
        sort_order_id: None,
        split_offsets: Vec::new(),
        all_rows_match: true,
        deletes: Vec::new(),
        null_counts: BTreeMap::new(),
        value_counts: BTreeMap::new(),
        nan_counts: BTreeMap::new(),
        lower_bounds: BTreeMap::new(),
        upper_bounds: BTreeMap::new(),
    }
}

fn vector(of: &ScanFile, positions: u64) -> DeleteFile {
    DeleteFile {
        kind: DeleteKind::DeletionVector,
        path: "file:///w/t/data/d.puffin".into(),
        file_size_bytes: 100,
        record_count: positions,
        content_range: Some((4, 40)),
        spec_id: of.spec_id,
        partition: of.partition.clone(),
        data_sequence_number: 2,
        referenced_data_file: Some(of.path.clone()),
        path_bounds: None,
        null_counts: BTreeMap::new(),
        lower_bounds: BTreeMap::new(),
        upper_bounds: BTreeMap::new(),
    }
}

fn plan(files: Vec<ScanFile>) -> ScanPlan {
    ScanPlan { files, ..ScanPlan::default() }
}

fn sizes(sizes: &[u64]) -> ScanPlan {
    plan(sizes.iter().enumerate().map(|(at, size)| file(&format!("{at:03}"), *size, 0)).collect())
}

fn found(plan: &ScanPlan) -> Vec<Vec<usize>> {
    groups(plan, &SETTINGS, 0).into_iter().map(|group| group.files).collect()
}

#[test]
fn small_files_are_joined_when_they_are_enough_or_fill_a_file() {
    assert_eq!(found(&sizes(&[1, 1, 1, 1])), Vec::<Vec<usize>>::new());
    assert_eq!(found(&sizes(&[1, 1, 1, 1, 1])), [[0, 1, 2, 3, 4]]);
    assert_eq!(found(&sizes(&[40, 40])), [[0, 1]]);
    assert_eq!(found(&sizes(&[30, 40])), Vec::<Vec<usize>>::new());
    // As large as it should be: left alone.
    assert_eq!(found(&sizes(&[75, 180, 1, 1, 1, 1, 1])), [[2, 3, 4, 5, 6]]);
}

#[test]
fn what_is_left_over_goes_with_the_last_full_file() {
    assert_eq!(found(&sizes(&[50, 50, 50, 50, 20])), [vec![0, 1], vec![2, 3, 4]]);
    let groups = groups(&sizes(&[50, 50, 50, 50, 20]), &SETTINGS, 0);
    assert_eq!(groups[1].bytes, 120);
    assert_eq!(groups[1].roll_bytes, 180);
}

#[test]
fn partitions_do_not_mix() {
    let files: Vec<ScanFile> = (0..12).map(|at| file(&format!("{at:02}"), 1, at % 2)).collect();
    assert_eq!(found(&plan(files)), [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]);
}

#[test]
fn a_file_that_is_too_large_is_split_alone() {
    let plan = sizes(&[181, 100]);
    let groups = groups(&plan, &SETTINGS, 0);
    assert_eq!(groups.len(), 1);
    assert_eq!((&groups[0].files, groups[0].roll_bytes), (&vec![0], 95));
}

#[test]
fn a_file_of_another_spec_is_rewritten_even_alone() {
    let mut old = file("old", 100, 0);
    old.spec_id = 1;
    let plan = plan(vec![file("new", 100, 0), old]);
    assert_eq!(found(&plan), [[1]]);
}

#[test]
fn deletes_speak_for_rewriting_by_number_and_by_share() {
    let with = |deletes: &[u64]| {
        let mut one = file("a", 100, 0);
        one.deletes = (0..deletes.len()).collect();
        let deletes = deletes.iter().map(|count| vector(&one, *count)).collect();
        ScanPlan { deletes, ..plan(vec![one]) }
    };
    assert_eq!(found(&with(&[29])), Vec::<Vec<usize>>::new());
    assert_eq!(found(&with(&[30])), [[0]]);
    assert_eq!(found(&with(&[1, 1])), [[0]]);
    assert_eq!(groups(&with(&[30]), &SETTINGS, 0)[0].bytes, 70);
    let mut by_value = with(&[1]);
    by_value.deletes[0].kind = DeleteKind::EqualityDeletes { field_ids: vec![1] };
    by_value.deletes[0].referenced_data_file = None;
    assert_eq!(found(&by_value), [[0]]);
    // Position deletes of other files say nothing of this one's rows.
    let mut of_others = with(&[90]);
    of_others.deletes[0].referenced_data_file = None;
    assert_eq!(found(&of_others), Vec::<Vec<usize>>::new());
}

#[test]
fn rewriting_again_finds_nothing() {
    let first = sizes(&[9; 40]);
    let outputs: Vec<u64> = groups(&first, &SETTINGS, 0).iter().map(|group| group.bytes).collect();
    assert_eq!(outputs, [99, 99, 162]);
    assert_eq!(found(&sizes(&outputs)), Vec::<Vec<usize>>::new());
}

proptest! {
    /// Every file is in one group at most, the order of the files does not matter, and no group is larger than allowed.
    #[test]
    fn groups_are_disjoint_bounded_and_the_same_in_any_order(
        made in prop::collection::vec((1_u64..400, 0_i32..3, 0_i32..2), 0..60),
        shift in 0_usize..60,
    ) {
        let files: Vec<ScanFile> = made
            .iter()
            .enumerate()
            .map(|(at, (size, partition, spec))| ScanFile { spec_id: *spec, ..file(&format!("{at:03}"), *size, *partition) })
            .collect();
        let names = |plan: &ScanPlan| -> BTreeSet<Vec<String>> {
            groups(plan, &SETTINGS, 0)
                .iter()
                .map(|group| group.files.iter().map(|at| plan.files[*at].path.clone()).collect())
                .collect()
        };
        let straight = plan(files.clone());
        let found = groups(&straight, &SETTINGS, 0);
        let mut seen = BTreeSet::new();
        for group in &found {
            prop_assert!(!group.files.is_empty());
            prop_assert!(group.files.len() == 1 || group.bytes <= SETTINGS.max_bytes);
            let of = |at: &usize| (straight.files[*at].spec_id, straight.files[*at].partition.clone());
            prop_assert!(group.files.iter().all(|at| of(at) == of(&group.files[0])));
            prop_assert!(group.files.iter().all(|at| seen.insert(*at)));
        }
        let mut turned = files;
        if !turned.is_empty() {
            let by = shift % turned.len();
            turned.rotate_left(by);
        }
        prop_assert_eq!(names(&straight), names(&plan(turned)));
    }
}
