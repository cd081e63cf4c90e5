//! Every rule by itself: one touched file, one snapshot since.

use iceberg::expr::Reference;
use iceberg::spec::{DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal};

use super::*;
use crate::commit::Validation;
use crate::metadata::TableDocument;
use crate::snapshot::fixture::new_table;
use crate::staged_file::StagedFile;

const A: &str = "file:///w/t/data/a.parquet";
const B: &str = "file:///w/t/data/b.parquet";
const PATH_COLUMN: i32 = 2_147_483_546;

fn table(version: FormatVersion) -> TableDocument {
    TableDocument::create(new_table("file:///w/t", version, &[])).unwrap()
}

fn entry(content: DataContentType, path: &str, part: &str) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(content)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::string(part))]))
        .partition_spec_id(0)
        .record_count(3)
        .file_size_in_bytes(10);
    builder
}

fn changed(builder: &DataFileBuilder) -> ChangedFile {
    ChangedFile { spec_id: 0, file: builder.build().unwrap() }
}

/// A data file of partition `part`.
fn data(path: &str, part: &str) -> ChangedFile {
    changed(&entry(DataContentType::Data, path, part))
}

fn vector(path: &str, offset: i64, of: &str) -> ChangedFile {
    let mut builder = entry(DataContentType::PositionDeletes, path, "x");
    builder
        .file_format(DataFileFormat::Puffin)
        .referenced_data_file(Some(of.to_owned()))
        .content_offset(Some(offset))
        .content_size_in_bytes(Some(40));
    changed(&builder)
}

/// A position delete file of all of a partition.
fn positions(part: &str) -> ChangedFile {
    changed(&entry(DataContentType::PositionDeletes, "file:///w/t/data/d.parquet", part))
}

fn positions_of(path: &str) -> ChangedFile {
    let mut builder = entry(DataContentType::PositionDeletes, "file:///w/t/data/d.parquet", "x");
    builder.referenced_data_file(Some(path.to_owned()));
    changed(&builder)
}

fn equality(part: &str) -> ChangedFile {
    let mut builder = entry(DataContentType::EqualityDeletes, "file:///w/t/data/e.parquet", part);
    builder.equality_ids(Some(vec![1]));
    changed(&builder)
}

fn snapshot(operation: Operation, added: Vec<ChangedFile>, removed: Vec<ChangedFile>) -> SnapshotChanges {
    let adds_data = added.iter().any(|added| added.file.content_type() == DataContentType::Data);
    SnapshotChanges { snapshot_id: 5, operation, adds_data, added, removed }
}

fn delete(added: ChangedFile) -> SnapshotChanges {
    snapshot(Operation::Delete, vec![added], vec![])
}

/// An UPDATE: what it deletes lives on in a new file of another partition.
fn update(added: ChangedFile) -> SnapshotChanges {
    snapshot(Operation::Overwrite, vec![added, data("file:///w/t/data/n.parquet", "z")], vec![])
}

fn staged(content: FileContent, of: &str) -> StagedFile {
    let mut file = StagedFile::data("file:///w/t/data/own", 0, vec![Some(b"x".to_vec())]);
    file.content = content;
    file.referenced_data_file = Some(of.to_owned());
    file.content_range = (content == FileContent::DeletionVector).then_some((4, 40));
    file
}

fn files(added: Vec<StagedFile>, removed: Vec<RemovedFile>, isolation: Isolation) -> FileChanges {
    let filter = Some(Reference::new("part").equal_to(Datum::string("x")));
    FileChanges { added, removed, validation: Validation { isolation, filter }, ..FileChanges::default() }
}

fn delta(content: FileContent, isolation: Isolation) -> Change {
    Change::RowDelta(files(vec![staged(content, A)], vec![], isolation))
}

fn dropped(isolation: Isolation) -> Change {
    Change::RowDelta(files(vec![], vec![RemovedFile::data(A)], isolation))
}

fn overwrite(isolation: Isolation) -> Change {
    Change::Overwrite(files(vec![], vec![RemovedFile::data(A)], isolation))
}

fn rewrite(number: Option<i64>) -> Change {
    let mut files = files(vec![], vec![RemovedFile::data(A)], Isolation::Serializable);
    files.data_sequence_number = number;
    Change::Rewrite(files)
}

fn judged(kind: StatementKind, change: &Change, since: &[SnapshotChanges]) -> FilesVerdict {
    let document = table(FormatVersion::V3);
    let metadata = document.metadata();
    let judge = conflict_judge(change, metadata);
    let partitions =
        [A, B].map(|path| (path.to_owned(), (0, Struct::from_iter([Some(Literal::string("x"))]))));
    validate_files(kind, change, metadata, since, judge.as_ref(), &partitions.into())
}

fn passes(kind: StatementKind, change: &Change, since: &[SnapshotChanges]) -> Rebase {
    match judged(kind, change, since) {
        FilesVerdict::Apply(rebase) => rebase,
        FilesVerdict::Conflict(why) => panic!("{why}"),
    }
}

fn fails(kind: StatementKind, change: &Change, since: &[SnapshotChanges]) -> String {
    match judged(kind, change, since) {
        FilesVerdict::Apply(rebase) => panic!("applied: {rebase:?}"),
        FilesVerdict::Conflict(why) => why,
    }
}

use FileContent::{DeletionVector, PositionDeletes};
use Isolation::{Serializable, Snapshot as SnapshotIsolation};
use StatementKind::{Delete, Insert, Merge, Optimize, Update};

#[test]
fn with_no_commit_since_everything_passes() {
    for change in [delta(DeletionVector, Serializable), overwrite(Serializable), rewrite(None)] {
        assert_eq!(passes(Merge, &change, &[]), Rebase::default());
    }
}

#[test]
fn rows_that_came_in_matter_to_serializable_statements_whose_filter_they_may_match() {
    let [here, there] = ["x", "y"]
        .map(|part| [snapshot(Operation::Append, vec![data("file:///w/t/data/n.parquet", part)], vec![])]);
    for kind in [Delete, Update, Merge, Insert] {
        for change in [delta(PositionDeletes, Serializable), overwrite(Serializable), dropped(Serializable)] {
            let why = fails(kind, &change, &here);
            assert!(why.contains("n.parquet") && why.contains("was added by snapshot 5 (append)"), "{why}");
            passes(kind, &change, &there);
        }
        for change in [delta(PositionDeletes, SnapshotIsolation), overwrite(SnapshotIsolation)] {
            passes(kind, &change, &here);
        }
    }
    passes(Optimize, &rewrite(None), &here);
    // A compaction brings no rows.
    let compacted =
        [snapshot(Operation::Replace, vec![data("file:///w/t/data/n.parquet", "x")], vec![data(B, "x")])];
    passes(Merge, &delta(PositionDeletes, Serializable), &compacted);
    // Without a filter all rows count.
    let mut all = files(vec![], vec![], Serializable);
    all.validation.filter = None;
    fails(Merge, &Change::RowDelta(all), &there);
}

#[test]
fn a_file_that_went_is_a_conflict_unless_nothing_is_left_to_delete() {
    let by = |operation, added| [snapshot(operation, added, vec![data(A, "x")])];
    let deleted = by(Operation::Delete, vec![]);
    let new = || vec![data("file:///w/t/data/n.parquet", "z")];
    let (rewritten, compacted) = (by(Operation::Overwrite, new()), by(Operation::Replace, new()));
    for change in [delta(DeletionVector, SnapshotIsolation), dropped(SnapshotIsolation)] {
        assert_eq!(passes(Delete, &change, &deleted).gone, BTreeSet::from([A.to_owned()]));
        for since in [&rewritten, &compacted] {
            let why = fails(Delete, &change, since);
            assert!(why.contains(A) && why.contains("was removed by snapshot 5"), "{why}");
        }
        for kind in [Update, Merge] {
            fails(kind, &change, &deleted);
        }
    }
    // The new file holds the rows that were left of it.
    for since in [&deleted, &rewritten, &compacted] {
        fails(Delete, &overwrite(SnapshotIsolation), since);
        fails(Optimize, &rewrite(Some(1)), since);
    }
    // An empty compaction is not a delete.
    fails(Delete, &dropped(SnapshotIsolation), &by(Operation::Replace, vec![]));
    passes(
        Delete,
        &delta(DeletionVector, SnapshotIsolation),
        &[snapshot(Operation::Delete, vec![], vec![data(B, "x")])],
    );
}

#[test]
fn a_merge_minds_rows_that_went_from_files_that_it_did_not_touch() {
    let gone = [snapshot(Operation::Delete, vec![], vec![data(B, "x")])];
    let elsewhere = [snapshot(Operation::Delete, vec![], vec![data(B, "y")])];
    for change in [delta(DeletionVector, Serializable), overwrite(Serializable)] {
        assert!(fails(Merge, &change, &gone).contains("which the MERGE looked at"));
        passes(Merge, &change, &elsewhere);
        passes(Update, &change, &gone);
        assert!(fails(Merge, &change, &[delete(positions_of(B))]).contains("looked at were deleted"));
    }
    passes(Merge, &delta(DeletionVector, SnapshotIsolation), &gone);
}

#[test]
fn rewritten_files_mind_every_new_delete() {
    for since in
        [delete(positions_of(A)), delete(positions("x")), delete(vector("v", 4, A)), update(positions_of(A))]
    {
        let since = [since];
        assert!(fails(Delete, &overwrite(SnapshotIsolation), &since).contains("whose rows were rewritten"));
        for number in [None, Some(1)] {
            fails(Optimize, &rewrite(number), &since);
        }
    }
    for since in
        [delete(positions_of(B)), delete(positions("y")), delete(vector("v", 4, B)), delete(equality("y"))]
    {
        let since = [since];
        passes(Delete, &overwrite(SnapshotIsolation), &since);
        passes(Optimize, &rewrite(None), &since);
    }
    // Equality deletes go on applying where rows keep their number.
    let since = [update(equality("x"))];
    fails(Delete, &overwrite(SnapshotIsolation), &since);
    fails(Optimize, &rewrite(None), &since);
    passes(Optimize, &rewrite(Some(1)), &since);
}

#[test]
fn position_delete_files_stay_beside_those_of_a_delete_and_of_nothing_else() {
    let change = delta(PositionDeletes, SnapshotIsolation);
    for winner in [positions_of(A), positions("x")] {
        passes(Delete, &change, &[delete(winner.clone())]);
        // The rows that it updated live on elsewhere: Iceberg Java lets them outlive the DELETE.
        assert!(fails(Delete, &change, &[update(winner.clone())]).contains("overwrite"));
        for kind in [Update, Merge] {
            fails(kind, &change, &[delete(winner.clone())]);
        }
    }
    for kind in [Delete, Update, Merge] {
        passes(kind, &change, &[update(positions_of(B))]);
        passes(kind, &change, &[update(positions("y"))]);
    }
    let since = [update(equality("x"))];
    passes(Delete, &change, &since);
    fails(Update, &change, &since);
    // Serializable: an UPDATE reads what its filter says.
    fails(Update, &delta(PositionDeletes, Serializable), &[delete(positions_of(B))]);
    passes(Delete, &delta(PositionDeletes, Serializable), &[delete(positions_of(A))]);
}

#[test]
fn paths_in_bounds_tell_what_a_position_delete_file_concerns() {
    let bounded = |lower: &str, upper: &str| {
        let mut builder = entry(DataContentType::PositionDeletes, "file:///w/t/data/d.parquet", "x");
        builder
            .lower_bounds([(PATH_COLUMN, Datum::string(lower))].into())
            .upper_bounds([(PATH_COLUMN, Datum::string(upper))].into());
        changed(&builder)
    };
    let change = delta(PositionDeletes, SnapshotIsolation);
    for (lower, upper, concerns) in [(A, A, true), (B, B, false), (A, B, true), (B, "file:///z", false)] {
        let since = [delete(bounded(lower, upper))];
        if concerns {
            fails(Update, &change, &since);
        } else {
            passes(Update, &change, &since);
        }
        assert_eq!(needs_partitions(&since), lower != upper);
    }
}

#[test]
fn whole_files_are_dropped_over_deletes_and_not_over_updates() {
    for winner in [positions_of(A), vector("v", 4, A)] {
        passes(Delete, &dropped(SnapshotIsolation), &[delete(winner.clone())]);
        assert!(
            fails(Delete, &dropped(SnapshotIsolation), &[update(winner.clone())]).contains("dropped whole")
        );
        fails(Update, &dropped(SnapshotIsolation), &[delete(winner)]);
    }
    // As Iceberg Java: what an equality delete of another engine was about nobody knows.
    passes(Delete, &dropped(SnapshotIsolation), &[update(equality("x"))]);
}

#[test]
fn deletion_vectors_are_united_with_the_newest_one() {
    let base = RemovedFile::deletion_vector("v0", 4);
    let change =
        |isolation| Change::RowDelta(files(vec![staged(DeletionVector, A)], vec![base.clone()], isolation));
    let replace = |operation, new: ChangedFile, old: ChangedFile, more: Vec<ChangedFile>| {
        snapshot(operation, [vec![new], more].concat(), vec![old])
    };
    let first = replace(Operation::Delete, vector("v1", 4, A), vector("v0", 4, A), vec![]);
    let second = replace(Operation::Delete, vector("v2", 60, A), vector("v1", 4, A), vec![]);
    for (kind, disjoint) in [(Delete, false), (Update, true), (Merge, true)] {
        let rebase = passes(kind, &change(SnapshotIsolation), &[first.clone(), second.clone()]);
        assert_eq!(rebase.replaced, HashSet::from([base.clone()]));
        let [unite] = rebase.unite.as_slice() else { panic!("{rebase:?}") };
        assert_eq!((unite.data_file.as_str(), unite.added, unite.disjoint), (A, 0, disjoint));
        assert_eq!(unite.base.as_ref().map(|place| place.path.as_str()), Some("v0"));
        assert_eq!((unite.current.path.as_str(), unite.current.offset), ("v2", 60));
        assert_eq!(unite.current_key, RemovedFile::deletion_vector("v2", 60));
    }
    // An UPDATE in between, of other rows as it must be.
    let updated = vec![data("file:///w/t/data/n.parquet", "z")];
    let moved = replace(Operation::Overwrite, vector("v2", 60, A), vector("v1", 4, A), updated);
    let rebase = passes(Delete, &change(Serializable), &[first.clone(), moved]);
    assert!(rebase.unite[0].disjoint);
    // Then the file went, with all rows: nothing is left to be united.
    let gone = snapshot(Operation::Delete, vec![], vec![data(A, "x"), vector("v1", 4, A)]);
    let rebase = passes(Delete, &change(SnapshotIsolation), &[first.clone(), gone]);
    assert!(rebase.unite.is_empty() && rebase.gone.contains(A));
    assert_eq!(rebase.replaced, HashSet::from([base.clone()]));
    // One that came and went leaves rows that both planned without.
    let undone = snapshot(Operation::Overwrite, vec![], vec![vector("v1", 4, A)]);
    fails(Delete, &change(SnapshotIsolation), &[first, undone]);
    // A serializable UPDATE reads the rows that were deleted.
    let others = [delete(vector("v9", 4, B))];
    fails(Update, &change(Serializable), &others);
    passes(Update, &change(SnapshotIsolation), &others);
}

#[test]
fn a_delete_file_that_is_gone_for_another_reason_is_a_conflict() {
    let removed = vec![RemovedFile::delete_file("file:///w/t/data/d.parquet")];
    let change = Change::RowDelta(files(vec![staged(DeletionVector, A)], removed, SnapshotIsolation));
    let since = [snapshot(Operation::Delete, vec![], vec![positions_of(B)])];
    assert!(fails(Delete, &change, &since).contains("d.parquet is no longer in the table"));
    // Folded into the vector that ours takes in.
    let since = [snapshot(Operation::Delete, vec![vector("v1", 4, A)], vec![positions_of(A)])];
    assert_eq!(passes(Delete, &change, &since).replaced.len(), 1);
}

#[test]
fn a_union_holds_both_and_tells_what_both_deleted() {
    let set = |positions: &[u64]| positions.iter().copied().collect::<crate::deletes::PositionSet>();
    let place = VectorPlace { path: "v".into(), offset: 4, length: 40, count: 1 };
    let mut unite = Unite {
        data_file: A.into(),
        added: 0,
        base: None,
        current: place,
        current_key: RemovedFile::deletion_vector("v", 4),
        disjoint: false,
    };
    let (ours, base, current) = (set(&[1, 2, 7]), set(&[1]), set(&[1, 2, 3]));
    let union = unite.union(&ours, Some(&base), &current).unwrap();
    assert_eq!((union.positions, union.twice), (set(&[1, 2, 3, 7]), 1));
    unite.disjoint = true;
    let why = unite.union(&ours, Some(&base), &current).unwrap_err();
    assert!(why.contains("row 2 of data file") && why.contains(A), "{why}");
    // What the base had is nobody's change.
    assert_eq!(unite.union(&set(&[1, 7]), Some(&base), &current).unwrap().twice, 0);
    assert!(unite.union(&set(&[1, 7]), None, &current).is_err());
}
