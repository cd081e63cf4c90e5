//! Changes of rows: races between them, over a real store and real files.

use icecap_table::commit::{FileChanges, Isolation, RemovedFile, RowCounts, Validation};
use icecap_table::deletes::{PositionSet, deletion_vector};
use icecap_table::iceberg::expr::Reference;
use icecap_table::iceberg::spec::{DataContentType, DataFileFormat, Datum, FormatVersion};
use icecap_table::snapshot::{LiveEntry, load_entries, load_manifest_list};
use icecap_table::staged_file::StagedFile;

use super::faults::{faulty, steps, stop_after};
use super::*;
use crate::service::CommitService;
use crate::testing::Fault;

/// A table with one data file of ten rows, and a service.
struct Table {
    world: World,
    service: CommitService,
    data: StagedFile,
    base: i64,
    _folder: TempDir,
}

const SERIALIZABLE: Isolation = Isolation::Serializable;
const SNAPSHOT: Isolation = Isolation::Snapshot;

impl Table {
    async fn new(version: FormatVersion) -> Self {
        let (folder, world) = world().await;
        let document = world.document_of("t", version, &[]).unwrap();
        world.make("t", document.clone()).await.unwrap();
        let service = world.service();
        let mut append = world.append(id(0), "t", &document, &[10]);
        let Change::Append { files, .. } = &mut append.changes[0].change else { panic!() };
        // Rows 0 to 9.
        files[0].lower_bounds.insert(1, 0_i64.to_le_bytes().to_vec());
        files[0].upper_bounds.insert(1, 9_i64.to_le_bytes().to_vec());
        let data = files[0].clone();
        service.begin(world.begin(id(0))).await.unwrap();
        let base = committed(service.commit(append).await.unwrap()).snapshot_id.unwrap();
        Self { world, service, data, base, _folder: folder }
    }

    fn request(&self, number: u32, kind: StatementKind, change: Change) -> CommitRequest {
        let mut request = self.world.request(id(number), "t", kind, change);
        request.changes[0].base = Some(self.base);
        request
    }

    /// A DELETE or UPDATE of rows of the file, planned on the base; an UPDATE brings a file of the new rows.
    async fn delta(
        &self,
        number: u32,
        kind: StatementKind,
        isolation: Isolation,
        rows: &[u64],
    ) -> CommitRequest {
        let document = self.world.load("t").await.unwrap().unwrap();
        let is_v3 = document.metadata().format_version() == FormatVersion::V3;
        let count = rows.len() as u64;
        let mut added = vec![match is_v3 {
            true => self.world.vector(id(number), &self.data, rows.iter().copied()).await.unwrap(),
            false => self.world.position_deletes(id(number), &self.data, count),
        }];
        let mut counts = RowCounts { deleted: count, ..RowCounts::default() };
        if kind != StatementKind::Delete {
            added.extend(self.world.files(id(number), &document, &[count]));
            counts = RowCounts { updated: count, ..RowCounts::default() };
        }
        let files = FileChanges {
            added,
            rows: counts,
            validation: Validation { isolation, filter: None },
            ..FileChanges::default()
        };
        self.request(number, kind, Change::RowDelta(files))
    }

    async fn commit(&self, request: CommitRequest) -> CommitOutcome {
        self.service.begin(self.world.begin(request.write_id)).await.unwrap();
        self.service.commit(request).await.unwrap()
    }

    async fn live(&self) -> Vec<LiveEntry> {
        assert_eq!(self.world.violations("t").await, [] as [&str; 0]);
        let document = self.world.load("t").await.unwrap().unwrap();
        let metadata = document.metadata();
        let head = metadata.current_snapshot().unwrap();
        let mut all = Vec::new();
        for manifest in load_manifest_list(&self.world.storage, metadata, head).await.unwrap() {
            all.extend(load_entries(&self.world.storage, &manifest).await.unwrap().0);
        }
        all
    }

    /// The positions of the one deletion vector of the table.
    async fn positions(&self) -> Vec<u64> {
        let live = self.live().await;
        let vectors: Vec<_> =
            live.iter().filter(|entry| entry.file.file_format() == DataFileFormat::Puffin).collect();
        assert_eq!(vectors.len(), 1);
        let file = &vectors[0].file;
        let (offset, length) = (file.content_offset().unwrap(), file.content_size_in_bytes().unwrap());
        let range = u64::try_from(offset).unwrap()..u64::try_from(offset + length).unwrap();
        let blob = self.world.storage.read_range(file.file_path(), range).await.unwrap();
        deletion_vector::decode(&blob, Some(file.record_count())).unwrap().iter().collect()
    }

    /// How many live files there are: of data, of deletes.
    async fn counts(&self) -> (usize, usize) {
        let live = self.live().await;
        let data = live.iter().filter(|entry| entry.file.content_type() == DataContentType::Data).count();
        (data, live.len() - data)
    }

    /// Names of the Puffin files that are stored.
    async fn puffins(&self) -> Vec<String> {
        let folder = self.data.path.rsplit_once('/').unwrap().0;
        let all = self.world.storage.list(folder).await.unwrap();
        all.into_iter().filter(|path| path.ends_with(".puffin")).collect()
    }
}

fn conflict(outcome: CommitOutcome) -> String {
    match outcome {
        CommitOutcome::Conflict { why } => why,
        other => panic!("no conflict: {other:?}"),
    }
}

#[tokio::test]
async fn a_delta_is_one_snapshot_and_its_rows_are_told_again() {
    for (version, operation) in [(FormatVersion::V2, "position-delete-files"), (FormatVersion::V3, "dvs")] {
        let table = Table::new(version).await;
        let delete = table.delta(1, StatementKind::Delete, SERIALIZABLE, &[3, 4]).await;
        let outcome = committed(table.commit(delete.clone()).await);
        assert_eq!(outcome.rows, RowCounts { deleted: 2, ..RowCounts::default() });
        assert_eq!((outcome.added_rows, outcome.added_data_files, outcome.added_delete_files), (0, 0, 1));
        assert_eq!(committed(table.service.commit(delete).await.unwrap()), outcome);
        let document = table.world.load("t").await.unwrap().unwrap();
        let summary = document.metadata().current_snapshot().unwrap().summary();
        assert_eq!(summary.operation.as_str(), "delete");
        assert_eq!(summary.additional_properties[&format!("added-{operation}")], "1");
        assert_eq!(summary.additional_properties["total-position-deletes"], "2");
        assert_eq!(table.counts().await, (1, 1));
        // The whole file goes, its deletes with it.
        let files =
            FileChanges { removed: vec![RemovedFile::data(&table.data.path)], ..FileChanges::default() };
        let mut drop = table.request(2, StatementKind::Delete, Change::RowDelta(files));
        drop.changes[0].base = outcome.snapshot_id;
        assert_eq!(committed(table.commit(drop).await).removed_data_files, 1);
        assert_eq!(table.counts().await, (0, 0));
    }
}

#[tokio::test]
async fn two_deletes_of_one_file_become_one_deletion_vector() {
    let table = Table::new(FormatVersion::V3).await;
    let first = table.delta(1, StatementKind::Delete, SERIALIZABLE, &[1, 2]).await;
    let second = table.delta(2, StatementKind::Delete, SERIALIZABLE, &[2, 5]).await;
    let third = table.delta(3, StatementKind::Delete, SNAPSHOT, &[9]).await;
    assert_eq!(committed(table.commit(first).await).rows.deleted, 2);
    // Row 2 was gone when the second came.
    let outcome = committed(table.commit(second).await);
    assert_eq!((outcome.rows.deleted, outcome.added_delete_files), (1, 1));
    assert_eq!(table.positions().await, [1, 2, 5]);
    committed(table.commit(third).await);
    assert_eq!(table.positions().await, [1, 2, 5, 9]);
    // What the statements had staged and the table never named is gone; older snapshots' vectors are kept.
    let puffins = table.puffins().await;
    assert_eq!(puffins.len(), 3, "{puffins:?}");
    assert_eq!(puffins.iter().filter(|path| path.contains("/dv-")).count(), 2);
}

#[tokio::test]
async fn an_update_and_a_delete_of_one_file_meet_only_in_different_rows() {
    use StatementKind::{Delete, Merge, Update};
    for (winner, loser) in [(Update, Delete), (Delete, Update), (Update, Update), (Delete, Merge)] {
        let table = Table::new(FormatVersion::V3).await;
        let first = table.delta(1, winner, SNAPSHOT, &[1, 2]).await;
        let apart = table.delta(2, loser, SNAPSHOT, &[5]).await;
        let overlap = table.delta(3, loser, SNAPSHOT, &[2, 7]).await;
        committed(table.commit(first).await);
        committed(table.commit(apart).await);
        assert_eq!(table.positions().await, [1, 2, 5], "{winner:?} then {loser:?}");
        let before = table.puffins().await;
        let why = conflict(table.commit(overlap).await);
        assert!(why.contains("row 2 of data file") && why.contains(&table.data.path), "{why}");
        // Nothing is left of the attempt; what was staged is the writer's.
        assert_eq!(table.puffins().await, before);
        // Planned again on the newer state it passes.
        let serial = table.delta(4, loser, SERIALIZABLE, &[6]).await;
        if loser != Delete {
            let why = conflict(table.commit(serial).await);
            assert!(why.contains("looked at"), "{why}");
        }
    }
}

#[tokio::test]
async fn position_delete_files_stay_both_and_an_update_is_not_outlived() {
    use StatementKind::{Delete, Update};
    let table = Table::new(FormatVersion::V2).await;
    let requests = [
        table.delta(1, Delete, SERIALIZABLE, &[1]).await,
        table.delta(2, Delete, SERIALIZABLE, &[2]).await,
        table.delta(3, Update, SNAPSHOT, &[3]).await,
    ];
    let [one, two, update] = requests;
    committed(table.commit(one).await);
    committed(table.commit(two).await);
    assert_eq!(table.counts().await, (1, 2));
    let why = conflict(table.commit(update).await);
    assert!(why.contains("whose rows were changed"), "{why}");
    let table = Table::new(FormatVersion::V2).await;
    let update = table.delta(1, Update, SNAPSHOT, &[3]).await;
    let delete = table.delta(2, Delete, SNAPSHOT, &[3]).await;
    committed(table.commit(update).await);
    // Iceberg Java lets the updated row outlive this.
    let why = conflict(table.commit(delete).await);
    assert!(why.contains(&table.data.path) && why.contains("overwrite"), "{why}");
}

#[tokio::test]
async fn a_history_that_cannot_be_told_is_a_conflict() {
    let table = Table::new(FormatVersion::V3).await;
    let mut delete = table.delta(1, StatementKind::Delete, SNAPSHOT, &[1]).await;
    delete.changes[0].base = Some(77);
    let why = conflict(table.commit(delete.clone()).await);
    assert!(why.contains("cannot determine the history of table default.t since snapshot 77"), "{why}");
    // Planned on nothing, everything since is looked at: the file was added then.
    let mut fresh = table.delta(2, StatementKind::Delete, SERIALIZABLE, &[1]).await;
    fresh.changes[0].base = None;
    let why = conflict(table.commit(fresh).await);
    assert!(why.contains("was added by snapshot"), "{why}");
}

#[tokio::test]
async fn a_statement_that_changed_nothing_is_validated_as_what_it_is() {
    let table = Table::new(FormatVersion::V2).await;
    let nothing = |isolation, value: i64| FileChanges {
        validation: Validation { isolation, filter: Some(Reference::new("x").equal_to(Datum::long(value))) },
        ..FileChanges::default()
    };
    let document = table.world.load("t").await.unwrap().unwrap();
    let mut append = table.world.append(id(9), "t", &document, &[3]);
    let Change::Append { files, .. } = &mut append.changes[0].change else { panic!() };
    files[0].lower_bounds.insert(1, 20_i64.to_le_bytes().to_vec());
    files[0].upper_bounds.insert(1, 22_i64.to_le_bytes().to_vec());
    table.service.begin(table.world.begin(id(9))).await.unwrap();
    let head = committed(table.service.commit(append).await.unwrap()).snapshot_id;
    let location = table.world.store_location("t").await;
    for (number, isolation, value, passes) in
        [(1, SERIALIZABLE, 21, false), (2, SERIALIZABLE, 30, true), (3, SNAPSHOT, 21, true)]
    {
        let change = Change::RowDelta(nothing(isolation, value));
        let outcome = table.commit(table.request(number, StatementKind::Merge, change)).await;
        if passes {
            let outcome = committed(outcome);
            assert_eq!((outcome.snapshot_id, outcome.metadata_location), (None, location.clone()));
        } else {
            assert!(conflict(outcome).contains("may hold rows that the statement would have looked at"));
        }
    }
    let now = table.world.load("t").await.unwrap().unwrap();
    assert_eq!(now.metadata().current_snapshot_id(), head);
}

#[tokio::test]
async fn changes_of_rows_that_are_wrong_in_themselves_are_errors() {
    let table = Table::new(FormatVersion::V3).await;
    let good = table.delta(1, StatementKind::Delete, SNAPSHOT, &[1]).await;
    table.service.begin(table.world.begin(id(1))).await.unwrap();
    let edited = |edit: &dyn Fn(&mut FileChanges)| {
        let mut request = good.clone();
        let Change::RowDelta(files) = &mut request.changes[0].change else { panic!() };
        edit(files);
        request
    };
    let data = RemovedFile::data(&table.data.path);
    for (request, kind) in [
        (edited(&|files| files.added.push(files.added[0].clone())), ErrorKind::Invalid),
        (
            edited(&|files| {
                let mut other = files.added[0].clone();
                other.content_range = Some((5, 6));
                files.added.push(other);
            }),
            ErrorKind::Invalid,
        ),
        (
            edited(&|files| {
                files.added[0].referenced_data_file = None;
                files.added[0].deleted_positions.clear();
            }),
            ErrorKind::Invalid,
        ),
        (edited(&|files| files.removed = vec![data.clone()]), ErrorKind::Invalid),
        (
            edited(&|files| files.removed = vec![RemovedFile::data("x"), RemovedFile::data("x")]),
            ErrorKind::Invalid,
        ),
        (edited(&|files| files.added[0].path = "file:///etc/x.puffin".into()), ErrorKind::Denied),
        (edited(&|files| files.data_sequence_number = Some(1)), ErrorKind::Invalid),
    ] {
        let error = table.service.commit(request.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error} for {request:?}");
    }
    // A file to be removed that no history tells of.
    let outcome = table.service.commit(edited(&|files| files.removed = vec![RemovedFile::data("x")])).await;
    assert!(conflict(outcome.unwrap()).contains("no longer in the table"));
    let mut rewrite = good.clone();
    let files = FileChanges { data_sequence_number: Some(7), removed: vec![data], ..FileChanges::default() };
    rewrite.changes[0].change = Change::Rewrite(files);
    assert_eq!(table.service.commit(rewrite).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(table.world.stray_metadata("t").await.unwrap(), [] as [&str; 0]);
    assert_eq!(committed(table.service.commit(good).await.unwrap()).rows.deleted, 1);
}

#[tokio::test]
async fn lost_answers_of_a_delta_that_is_united_are_found_in_the_ledger() {
    for faults in [
        &[Fault::LostAnswer][..],
        &[Fault::LostRequest],
        &[Fault::Delayed],
        &[Fault::Delayed, Fault::LostAnswer],
        &[Fault::LostRequest, Fault::Delayed, Fault::Delayed],
    ] {
        let table = Table::new(FormatVersion::V3).await;
        let first = table.delta(1, StatementKind::Delete, SERIALIZABLE, &[1]).await;
        let second = table.delta(2, StatementKind::Delete, SERIALIZABLE, &[2]).await;
        committed(table.commit(first).await);
        let (faulty, service) = faulty(&table.world, faults);
        service.begin(table.world.begin(id(2))).await.unwrap();
        let outcome = committed(service.commit(second).await.unwrap());
        faulty.arrive().await.unwrap();
        assert_eq!(table.world.store_location("t").await, outcome.metadata_location, "{faults:?}");
        assert_eq!(table.positions().await, [1, 2], "{faults:?}");
        assert_eq!(history(&table.world, "t").await.0.len(), 3, "{faults:?}");
        assert_eq!(table.world.stray_metadata("t").await.unwrap(), [] as [&str; 0], "{faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_of_a_delta_may_stop_listening_at_any_moment() {
    let table = Table::new(FormatVersion::V3).await;
    let mut finished = 0;
    let mut expected = PositionSet::new();
    // One step further each time; every statement was planned on the base, so all but the first are united.
    for turns in 0..200_u32 {
        if finished == 2 {
            break;
        }
        let number = turns + 1;
        let request =
            table.delta(number, StatementKind::Delete, SERIALIZABLE, &[u64::from(turns % 10)]).await;
        expected.insert(u64::from(turns % 10));
        let service = table.world.service();
        service.begin(table.world.begin(id(number))).await.unwrap();
        finished += usize::from(stop_after(service.commit(request.clone()), steps(turns)).await.is_some());
        committed(service.commit(request).await.unwrap());
    }
    assert_eq!(finished, 2, "no commit ran to its end: the turns are too few to cover every step");
    assert_eq!(table.positions().await, expected.iter().collect::<Vec<_>>());
}
