//! Random statements, each planned on some state of the past, against a model of rows: what commits did to the head
//! exactly what it planned, lost nobody's change, and, when serializable, would have planned the same on the head.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use icecap_table::clock::{ManualClock, SeededIds};
use icecap_table::commit::{FileChanges, Isolation, RemovedFile, RowCounts, Validation};
use icecap_table::deletes::deletion_vector;
use icecap_table::iceberg::expr::Reference;
use icecap_table::iceberg::spec::{DataContentType, DataFileFormat, Datum, FormatVersion};
use icecap_table::snapshot::{load_entries, load_manifest_list};
use icecap_table::staged_file::StagedFile;
use icecap_table::storage::{DiskSync, Storage};
use proptest::prelude::*;

use super::*;

/// A row: its key, and the statement that wrote it.
type Row = (i64, u32);

#[derive(Debug, Clone)]
enum Statement {
    Append(usize),
    /// Of keys from the first on, so many; whether data files are written anew.
    Delete(i64, i64, bool),
    Update(i64, i64, bool),
    /// Changes the rows of these keys, and inserts those that are missing.
    Merge(i64, i64, bool),
    /// All rows of the nth file.
    DropFile(usize),
    /// Whether rows keep their sequence number.
    Compact(bool),
}

#[derive(Debug, Clone)]
struct Step {
    statement: Statement,
    /// How many commits ago it was planned.
    lag: usize,
    isolation: Isolation,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = || (0..28_i64, 1..8_i64, proptest::bool::weighted(0.3));
    let statement = prop_oneof![
        2 => (1..6_usize).prop_map(Statement::Append),
        7 => keys().prop_map(|(from, count, cow)| Statement::Delete(from, count, cow)),
        4 => keys().prop_map(|(from, count, cow)| Statement::Update(from, count, cow)),
        3 => keys().prop_map(|(from, count, cow)| Statement::Merge(from, count, cow)),
        1 => (0..3_usize).prop_map(Statement::DropFile),
        1 => any::<bool>().prop_map(Statement::Compact),
    ];
    let isolation = prop_oneof![Just(Isolation::Serializable), Just(Isolation::Snapshot)];
    (statement, 0..4_usize, isolation).prop_map(|(statement, lag, isolation)| Step {
        statement,
        lag,
        isolation,
    })
}

/// A live data file.
#[derive(Debug, Clone)]
struct LiveFile {
    file: StagedFile,
    rows: Vec<Row>,
    gone: BTreeSet<u64>,
    vector: Option<RemovedFile>,
}

impl LiveFile {
    fn live(&self) -> impl Iterator<Item = (u64, Row)> + '_ {
        let all = self.rows.iter().enumerate().map(|(at, row)| (at as u64, *row));
        all.filter(|(at, _)| !self.gone.contains(at))
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    snapshot_id: Option<i64>,
    sequence_number: i64,
    files: Vec<LiveFile>,
}

impl State {
    fn rows(&self) -> BTreeSet<Row> {
        self.files.iter().flat_map(LiveFile::live).map(|(_, row)| row).collect()
    }
}

/// What a statement planned.
struct Planned {
    kind: StatementKind,
    change: Change,
    deletes: BTreeSet<Row>,
    inserts: BTreeSet<Row>,
    /// The keys that it looked at; `None`: none, or not by key.
    keys: Option<std::ops::Range<i64>>,
}

/// The disk without its waiting: nothing here is about power cuts.
#[derive(Debug)]
struct NoSync;

impl DiskSync for NoSync {
    fn sync_file(&self, _: &File) -> std::io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> std::io::Result<()> {
        Ok(())
    }
}

struct Model {
    world: World,
    document: TableDocument,
    version: FormatVersion,
    /// What is in files, by path: rows of data files, positions of position delete files.
    data: HashMap<String, (StagedFile, Vec<Row>)>,
    positions: HashMap<String, Vec<u64>>,
    next_key: i64,
}

impl Model {
    /// A data file of rows, with bounds.
    fn data_file(&mut self, number: u32, rows: Vec<Row>) -> StagedFile {
        let mut file = self.world.files(id(number), &self.document, &[rows.len() as u64]).remove(0);
        let keys = || rows.iter().map(|(key, _)| *key);
        if let (Some(least), Some(greatest)) = (keys().min(), keys().max()) {
            file.lower_bounds.insert(1, least.to_le_bytes().to_vec());
            file.upper_bounds.insert(1, greatest.to_le_bytes().to_vec());
        }
        self.data.insert(file.path.clone(), (file.clone(), rows));
        file
    }

    async fn plan(&mut self, number: u32, step: &Step, base: &State) -> Option<Planned> {
        let by_key = |from: i64, count: i64| Some(from..from + count);
        match step.statement {
            Statement::Append(count) => {
                let first = self.next_key;
                self.next_key += count as i64;
                let rows: Vec<Row> = (first..self.next_key).map(|key| (key, number)).collect();
                let inserts = rows.iter().copied().collect();
                let change = Change::Append { files: vec![self.data_file(number, rows)], schema_id: 0 };
                let (kind, deletes) = (StatementKind::Insert, BTreeSet::new());
                Some(Planned { kind, change, deletes, inserts, keys: None })
            }
            Statement::Delete(from, count, cow) => {
                self.rows(number, step, base, StatementKind::Delete, by_key(from, count), cow).await
            }
            Statement::Update(from, count, cow) => {
                self.rows(number, step, base, StatementKind::Update, by_key(from, count), cow).await
            }
            Statement::Merge(from, count, cow) => {
                // Under snapshot isolation two of them may insert one key, as in every database.
                let step = Step { isolation: Isolation::Serializable, ..step.clone() };
                self.rows(number, &step, base, StatementKind::Merge, by_key(from, count), cow).await
            }
            Statement::DropFile(at) => {
                let file = base.files.get(at)?;
                let deletes = file.live().map(|(_, row)| row).collect();
                let files = FileChanges {
                    removed: vec![RemovedFile::data(&file.file.path)],
                    validation: Validation { isolation: Isolation::Snapshot, filter: None },
                    ..FileChanges::default()
                };
                let (kind, change) = (StatementKind::Delete, Change::RowDelta(files));
                Some(Planned { kind, change, deletes, inserts: BTreeSet::new(), keys: None })
            }
            Statement::Compact(keeps) => {
                let rows: Vec<Row> = base.files.iter().flat_map(LiveFile::live).map(|(_, row)| row).collect();
                if rows.is_empty() {
                    return None;
                }
                let removed = base.files.iter().map(|file| RemovedFile::data(&file.file.path)).collect();
                let files = FileChanges {
                    added: vec![self.data_file(number, rows)],
                    removed,
                    data_sequence_number: keeps.then_some(base.sequence_number),
                    ..FileChanges::default()
                };
                let (deletes, inserts) = (BTreeSet::new(), BTreeSet::new());
                let (kind, change) = (StatementKind::Optimize, Change::Rewrite(files));
                Some(Planned { kind, change, deletes, inserts, keys: None })
            }
        }
    }

    /// A DELETE, UPDATE or MERGE of a range of keys.
    async fn rows(
        &mut self,
        number: u32,
        step: &Step,
        base: &State,
        kind: StatementKind,
        keys: Option<std::ops::Range<i64>>,
        copy_on_write: bool,
    ) -> Option<Planned> {
        let range = keys.clone()?;
        let (mut added, mut removed, mut new) = (Vec::new(), Vec::new(), Vec::<Row>::new());
        let mut deletes = BTreeSet::new();
        for live in &base.files {
            let acted: Vec<(u64, Row)> = live.live().filter(|(_, row)| range.contains(&row.0)).collect();
            if acted.is_empty() {
                continue;
            }
            deletes.extend(acted.iter().map(|(_, row)| *row));
            if copy_on_write {
                removed.push(RemovedFile::data(&live.file.path));
                let left: Vec<Row> =
                    live.live().map(|(_, row)| row).filter(|row| !range.contains(&row.0)).collect();
                if !left.is_empty() {
                    added.push(self.data_file(number, left));
                }
                continue;
            }
            let acted = acted.iter().map(|(at, _)| *at);
            if self.version == FormatVersion::V3 {
                let all = live.gone.iter().copied().chain(acted);
                added.push(self.world.vector(id(number), &live.file, all).await.unwrap());
                removed.extend(live.vector.clone());
            } else {
                let positions: Vec<u64> = acted.collect();
                let file = self.world.position_deletes(id(number), &live.file, positions.len() as u64);
                self.positions.insert(file.path.clone(), positions);
                added.push(file);
            }
        }
        if kind != StatementKind::Delete {
            new.extend(deletes.iter().map(|(key, _)| (*key, number)));
        }
        if kind == StatementKind::Merge {
            let there: BTreeSet<i64> = deletes.iter().map(|(key, _)| *key).collect();
            new.extend(range.clone().filter(|key| !there.contains(key)).map(|key| (key, number)));
        }
        if !new.is_empty() {
            added.push(self.data_file(number, new.clone()));
        }
        let column = || Reference::new("x");
        let filter = column()
            .greater_than_or_equal_to(Datum::long(range.start))
            .and(column().less_than(Datum::long(range.end)));
        let files = FileChanges {
            added,
            removed,
            rows: RowCounts { deleted: deletes.len() as u64, ..RowCounts::default() },
            validation: Validation { isolation: step.isolation, filter: Some(filter) },
            ..FileChanges::default()
        };
        let change = if copy_on_write { Change::Overwrite(files) } else { Change::RowDelta(files) };
        Some(Planned { kind, change, deletes, inserts: new.into_iter().collect(), keys })
    }

    /// The table as it is stored, checked.
    async fn state(&self) -> State {
        assert_eq!(self.world.violations("t").await, [] as [&str; 0]);
        let document = self.world.load("t").await.unwrap().unwrap();
        let metadata = document.metadata();
        let Some(head) = metadata.current_snapshot() else { return State::default() };
        let mut files: BTreeMap<String, LiveFile> = BTreeMap::new();
        let mut deletes = Vec::new();
        for manifest in load_manifest_list(&self.world.storage, metadata, head).await.unwrap() {
            for entry in load_entries(&self.world.storage, &manifest).await.unwrap().0 {
                if entry.file.content_type() != DataContentType::Data {
                    deletes.push(entry);
                    continue;
                }
                let path = entry.file.file_path().to_owned();
                let (file, rows) = self.data[&path].clone();
                let file = LiveFile { file, rows, gone: BTreeSet::new(), vector: None };
                assert!(files.insert(path, file).is_none());
            }
        }
        for entry in deletes {
            let file = &entry.file;
            // None dangles: what deletes rows in one file alone goes with it.
            let of = files.get_mut(&file.referenced_data_file().unwrap()).unwrap();
            if file.file_format() == DataFileFormat::Puffin {
                let (offset, length) =
                    (file.content_offset().unwrap(), file.content_size_in_bytes().unwrap());
                let range = u64::try_from(offset).unwrap()..u64::try_from(offset + length).unwrap();
                let blob = self.world.storage.read_range(file.file_path(), range).await.unwrap();
                of.gone.extend(deletion_vector::decode(&blob, Some(file.record_count())).unwrap().iter());
                assert!(of.vector.is_none());
                of.vector = Some(RemovedFile::deletion_vector(file.file_path(), offset));
            } else {
                of.gone.extend(&self.positions[file.file_path()]);
            }
        }
        State {
            snapshot_id: Some(head.snapshot_id()),
            sequence_number: head.sequence_number(),
            files: files.into_values().collect(),
        }
    }
}

/// Whether what was committed to `head` is right.
fn check(step: &Step, planned: &Planned, head: &BTreeSet<Row>, after: &BTreeSet<Row>) {
    let mut expected: BTreeSet<Row> = head.difference(&planned.deletes).copied().collect();
    expected.extend(&planned.inserts);
    assert_eq!(*after, expected, "{step:?} on {head:?}");
    for row in planned.deletes.difference(head) {
        // Somebody else deleted it; a DELETE does not mind, as long as the key is not there with other values.
        assert_eq!(planned.kind, StatementKind::Delete, "{row:?} was changed twice by {step:?}");
        assert!(!head.iter().any(|other| other.0 == row.0), "{row:?} was moved, and {step:?} lost it");
    }
    let is_serializable = step.isolation == Isolation::Serializable || planned.kind == StatementKind::Merge;
    if let Some(keys) = &planned.keys
        && is_serializable
    {
        let now: BTreeSet<Row> = head.iter().filter(|row| keys.contains(&row.0)).copied().collect();
        assert!(now.is_subset(&planned.deletes), "{step:?} missed some of {now:?}");
        if planned.kind == StatementKind::Merge {
            assert_eq!(now, planned.deletes, "{step:?} would have merged otherwise");
        }
    }
}

async fn run(version: FormatVersion, steps: Vec<Step>) -> (u32, u32) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_000_000));
    let mut world = World::open_with(folder.path(), clock, Arc::new(SeededIds::new(1))).await.unwrap();
    world.storage = Storage::local_with_sync(Arc::new(NoSync));
    let document = world.document_of("t", version, &[]).unwrap();
    world.make("t", document.clone()).await.unwrap();
    let service = world.service();
    let (data, positions) = (HashMap::new(), HashMap::new());
    let mut model = Model { world, document, version, data, positions, next_key: 0 };
    let mut states = Vec::new();
    let (mut commits, mut conflicts) = (0, 0);
    // Three files of rows first.
    let first =
        (0..3).map(|_| Step { statement: Statement::Append(8), lag: 0, isolation: Isolation::Snapshot });
    states.push(State::default());
    for (number, step) in first.chain(steps).enumerate() {
        let number = u32::try_from(number).unwrap();
        let at = states.len() - 1 - step.lag.min(states.len().saturating_sub(4));
        let base = states[at].clone();
        let Some(planned) = model.plan(number, &step, &base).await else { continue };
        let mut request = model.world.request(id(number), "t", planned.kind, planned.change.clone());
        request.changes[0].base = base.snapshot_id;
        service.begin(model.world.begin(id(number))).await.unwrap();
        let head = states.last().unwrap().clone();
        match service.commit(request).await.unwrap() {
            CommitOutcome::Committed(_) => {
                let state = model.state().await;
                check(&step, &planned, &head.rows(), &state.rows());
                if state.snapshot_id != head.snapshot_id {
                    states.push(state);
                }
                commits += 1;
            }
            CommitOutcome::Conflict { why } => {
                assert_ne!(base.snapshot_id, head.snapshot_id, "{step:?} raced with nobody: {why}");
                assert_eq!(model.state().await.snapshot_id, head.snapshot_id);
                conflicts += 1;
            }
            CommitOutcome::Rejected { requirement } => panic!("{step:?} was rejected: {requirement}"),
        }
    }
    (commits, conflicts)
}

/// How many random runs a test run makes; `ICECAP_RANDOM_RACES` asks for more.
fn cases() -> u32 {
    std::env::var("ICECAP_RANDOM_RACES").ok().and_then(|asked| asked.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_commits_did_what_it_planned_and_lost_nobodys_change(
        is_v3 in any::<bool>(),
        steps in proptest::collection::vec(step(), 4..20),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let version = if is_v3 { FormatVersion::V3 } else { FormatVersion::V2 };
        runtime.block_on(run(version, steps));
    }
}

/// The random runs mean something only while both happen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_outcomes_occur() {
    let races = |isolation| {
        let delete = |from, lag| Step { statement: Statement::Delete(from, 2, false), lag, isolation };
        let update = |from, lag| Step { statement: Statement::Update(from, 2, false), lag, isolation };
        vec![update(0, 0), delete(1, 1), delete(4, 2), update(4, 1), delete(20, 3)]
    };
    assert_eq!(run(FormatVersion::V3, races(Isolation::Snapshot)).await, (6, 2));
    assert_eq!(run(FormatVersion::V2, races(Isolation::Snapshot)).await, (5, 3));
}
