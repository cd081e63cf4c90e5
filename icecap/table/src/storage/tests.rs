use std::fs;
use std::io;
use std::path::Path as FsPath;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use object_store::memory::InMemory;
use object_store::{GetOptions, MultipartUpload as _, PutPayload};

use super::*;
use crate::error::ErrorKind;

/// Counts the syncs, and fails them when told to.
#[derive(Debug, Default)]
struct Counting {
    files: AtomicUsize,
    directories: AtomicUsize,
    fails: AtomicBool,
}

impl Counting {
    fn take(&self) -> (usize, usize) {
        (self.files.swap(0, Ordering::SeqCst), self.directories.swap(0, Ordering::SeqCst))
    }
}

impl DiskSync for Counting {
    fn sync_file(&self, file: &fs::File) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files.fetch_add(1, Ordering::SeqCst);
        file.sync_all()
    }

    fn sync_directory(&self, directory: &FsPath) -> io::Result<()> {
        assert!(directory.is_dir());
        self.directories.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

struct Fixture {
    storage: Storage,
    sync: Arc<Counting>,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let sync = Arc::new(Counting::default());
        let storage = Storage::local_with_sync(sync.clone());
        Self { storage, sync, folder: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> String {
        format!("file://{}/{name}", self.folder.path().display())
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn names_on_disk_are_the_raw_bytes_of_the_location() {
    let fixture = Fixture::new();
    let names = ["a b", "%20", "100%", "#1", "é~ü", "x=a%2Fb", "q\"'", "[1]^`|<>", "semi;colon:and=&+,@!"];
    for name in names {
        let location = fixture.at(&format!("d e/{name}"));
        fixture.storage.put_new(&location, Bytes::copy_from_slice(name.as_bytes())).await.unwrap();
        let on_disk = fs::read(fixture.folder.path().join("d e").join(name)).unwrap();
        assert_eq!(on_disk, name.as_bytes());
        assert_eq!(fixture.storage.read(&location).await.unwrap(), name.as_bytes());
        assert_eq!(fixture.storage.size(&location).await.unwrap(), name.len() as u64);
    }
    let mut expected: Vec<String> = names.iter().map(|name| fixture.at(&format!("d e/{name}"))).collect();
    expected.sort();
    assert_eq!(fixture.storage.list(&fixture.at("d e")).await.unwrap(), expected);
}

#[tokio::test]
async fn other_engines_spellings_reach_the_same_file() {
    let fixture = Fixture::new();
    fixture.storage.put_new(&fixture.at("t/f"), Bytes::from_static(b"x")).await.unwrap();
    let path = fixture.folder.path().display();
    for location in [format!("{path}/t/f"), format!("file:{path}/t/f"), format!("file://{path}//t/f")] {
        assert_eq!(fixture.storage.read(&location).await.unwrap(), "x", "{location}");
    }
    assert_eq!(fixture.storage.list(&format!("{path}")).await.unwrap(), [fixture.at("t/f")]);
}

#[tokio::test]
async fn every_write_syncs_its_file_and_every_name_its_directory() {
    let fixture = Fixture::new();
    let bytes = || Bytes::from_static(b"x");
    // Two new folders, each synced in its parent, then the file and its folder.
    fixture.storage.put_new(&fixture.at("a/b/1"), bytes()).await.unwrap();
    assert_eq!(fixture.sync.take(), (1, 3));
    fixture.storage.put_new(&fixture.at("a/b/2"), bytes()).await.unwrap();
    assert_eq!(fixture.sync.take(), (1, 1));
    // Together, a folder is synced once.
    let together = ["a/b/3", "a/b/4", "a/b/5", "a/6"].map(|name| (fixture.at(name), bytes()));
    fixture.storage.put_all_new(together.to_vec()).await.unwrap();
    assert_eq!(fixture.sync.take(), (4, 2));
    let (store, path) = fixture.storage.object_store(&fixture.at("a/b/7")).unwrap();
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part(PutPayload::from_static(b"one")).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(fixture.sync.take(), (1, 1));
    assert_eq!(fixture.names("a/b"), ["1", "2", "3", "4", "5", "7"]);
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let fixture = Fixture::new();
    let location = fixture.at("t/f");
    fixture.storage.put_new(&location, Bytes::from_static(b"first")).await.unwrap();
    let error = fixture.storage.put_new(&location, Bytes::from_static(b"second")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let (store, path) = fixture.storage.object_store(&location).unwrap();
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part(PutPayload::from_static(b"third")).await.unwrap();
    assert!(matches!(upload.complete().await, Err(object_store::Error::AlreadyExists { .. })));
    let written =
        fixture.storage.file_io().new_output(&location).unwrap().write(Bytes::from_static(b"4")).await;
    assert!(written.is_err());
    assert_eq!(fixture.storage.read(&location).await.unwrap(), "first");
    assert_eq!(fixture.names("t"), ["f"]);
    // Only who asks for it by the store's own default replaces.
    store.put(&path, PutPayload::from_static(b"fifth")).await.unwrap();
    assert_eq!(fixture.storage.read(&location).await.unwrap(), "fifth");
}

#[tokio::test]
async fn of_many_writers_of_one_name_exactly_one_wins() {
    let fixture = Fixture::new();
    let location = fixture.at("new/folder/f");
    let writers = (0..16_u8).map(|n| {
        // A storage of its own each, as another process has.
        let (storage, location) = (Storage::local_with_sync(fixture.sync.clone()), location.clone());
        tokio::spawn(async move { storage.put_new(&location, Bytes::from(vec![n; 1000])).await.map(|()| n) })
    });
    let results = futures::future::join_all(writers).await;
    let winners: Vec<u8> =
        results.iter().filter_map(|r| r.as_ref().unwrap().as_ref().ok()).copied().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(fixture.storage.read(&location).await.unwrap(), vec![winners[0]; 1000]);
    assert_eq!(fixture.names("new/folder"), ["f"]);
}

#[tokio::test]
async fn a_failed_write_leaves_nothing_behind() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.folder.path().join("t")).unwrap();
    fixture.sync.fails.store(true, Ordering::SeqCst);
    let error = fixture.storage.put_new(&fixture.at("t/f"), Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    let (store, path) = fixture.storage.object_store(&fixture.at("t/g")).unwrap();
    let mut upload = store.put_multipart(&path).await.unwrap();
    assert_eq!(fixture.names("t").len(), 1);
    assert!(fixture.names("t")[0].starts_with(TEMPORARY_PREFIX));
    assert_eq!(fixture.storage.list(&fixture.at("t")).await.unwrap(), Vec::<String>::new());
    upload.put_part(PutPayload::from_static(b"x")).await.unwrap();
    upload.complete().await.unwrap_err();
    let mut aborted = store.put_multipart(&path).await.unwrap();
    aborted.abort().await.unwrap();
    drop(store.put_multipart(&path).await.unwrap());
    assert_eq!(fixture.names("t"), Vec::<String>::new());
    // A file where a folder should be.
    fs::write(fixture.folder.path().join("file"), "x").unwrap();
    fixture.storage.put_new(&fixture.at("file/g"), Bytes::new()).await.unwrap_err();
}

#[tokio::test]
async fn parts_may_arrive_in_any_order() {
    let fixture = Fixture::new();
    let location = fixture.at("big");
    let (store, path) = fixture.storage.object_store(&location).unwrap();
    let mut upload = store.put_multipart(&path).await.unwrap();
    let parts: Vec<_> = (0..8_u8).map(|n| upload.put_part(PutPayload::from(vec![n; 1 << 20]))).collect();
    for part in parts.into_iter().rev() {
        part.await.unwrap();
    }
    upload.complete().await.unwrap();
    let expected: Vec<u8> = (0..8_u8).flat_map(|n| vec![n; 1 << 20]).collect();
    // Larger than what is read eagerly.
    assert_eq!(fixture.storage.read(&location).await.unwrap(), expected);
    let ranges =
        store.get_ranges(&path, &[0..2, (1 << 20) - 1..(1 << 20) + 1, (8 << 20) - 1..9 << 20]).await.unwrap();
    assert_eq!(ranges, [&[0_u8, 0][..], &[0, 1], &[7]]);
    // A part that was never written must not become a hole.
    let mut holed = store.put_multipart(&Path::parse(format!("{path}2")).unwrap()).await.unwrap();
    drop(holed.put_part(PutPayload::from_static(b"lost")));
    holed.put_part(PutPayload::from_static(b"kept")).await.unwrap();
    holed.complete().await.unwrap_err();
    assert_eq!(fixture.names(""), ["big"]);
}

#[tokio::test]
async fn what_is_absent_is_not_found_and_deleting_it_is_fine() {
    let fixture = Fixture::new();
    let location = fixture.at("none/f");
    assert_eq!(fixture.storage.read(&location).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fixture.storage.size(&location).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fixture.storage.read(&fixture.at("")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fixture.storage.list(&fixture.at("none")).await.unwrap(), Vec::<String>::new());
    fixture.storage.delete(&location).await.unwrap();
    fixture.storage.put_new(&location, Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(fixture.storage.read_range(&location, 2..5).await.unwrap(), "234");
    assert_eq!(fixture.storage.read_range(&location, 8..50).await.unwrap(), "89");
    fixture.storage.read_range(&location, 10..11).await.unwrap_err();
    assert_eq!(fixture.storage.read_at_most(&location, 10).await.unwrap(), "0123456789");
    assert_eq!(fixture.storage.read_at_most(&location, 9).await.unwrap_err().kind(), ErrorKind::Corrupt);
    fixture.storage.delete(&location).await.unwrap();
    assert_eq!(fixture.storage.read(&location).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_store_lists_copies_and_keeps_preconditions() {
    let fixture = Fixture::new();
    for name in ["a/1", "a/b/2", "c/3"] {
        fixture.storage.put_new(&fixture.at(name), Bytes::from_static(b"x")).await.unwrap();
    }
    let (store, root) = fixture.storage.object_store(&fixture.at("")).unwrap();
    let child = |name: &str| Path::parse(format!("{root}/{name}")).unwrap();
    let listed = store.list_with_delimiter(Some(&child("a"))).await.unwrap();
    assert_eq!(listed.common_prefixes, [child("a/b")]);
    assert_eq!(listed.objects.iter().map(|o| o.location.clone()).collect::<Vec<_>>(), [child("a/1")]);
    store.copy_if_not_exists(&child("a/1"), &child("d/1")).await.unwrap();
    store.copy_if_not_exists(&child("a/1"), &child("d/1")).await.unwrap_err();
    store.rename(&child("d/1"), &child("d/2")).await.unwrap();
    assert_eq!(fixture.names("d"), ["2"]);
    let tag = store.head(&child("d/2")).await.unwrap().e_tag;
    let unchanged = store.get_opts(&child("d/2"), GetOptions::new().with_if_none_match(tag)).await;
    assert!(matches!(unchanged, Err(object_store::Error::NotModified { .. })));
}

#[tokio::test]
async fn objects_are_found_by_the_beginning_of_their_names() {
    let files = Fixture::new();
    let storage = files.storage.clone().with_store("s3://b", Arc::new(InMemory::new()));
    for folder in [files.at("f"), "s3://b/f".to_owned()] {
        for name in ["a-1", "b-1", "b-2", "bb-1", "c-1"] {
            storage.put_new(&format!("{folder}/{name}"), Bytes::from_static(b"x")).await.unwrap();
        }
        let found = storage.list_named(&folder, "b-").await.unwrap();
        assert_eq!(found, [format!("{folder}/b-1"), format!("{folder}/b-2")]);
        assert_eq!(storage.list_named(&folder, "d").await.unwrap(), [""; 0]);
        assert_eq!(storage.list_named(&format!("{folder}/none"), "b").await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn schemes_that_are_set_up_are_served_and_others_named() {
    let storage = Storage::local().with_store("s3://bucket", Arc::new(InMemory::new()));
    storage.put_new("s3://bucket/a/b", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(storage.read("s3a://bucket/a/b").await.unwrap(), "x");
    assert_eq!(storage.list("s3://bucket/a").await.unwrap(), ["s3://bucket/a/b"]);
    storage.put_all_new(vec![("s3://bucket/c".into(), Bytes::new())]).await.unwrap();
    let error = storage.read("s3://other/a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("s3://other"), "{error}");
    assert_eq!(storage.read("a/b").await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(storage.read("/a/../b").await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn the_kernel_reads_and_writes_through_the_same_storage() {
    let fixture = Fixture::new();
    let io = fixture.storage.file_io();
    let location = fixture.at("k/f");
    assert!(!io.exists(&location).await.unwrap());
    let mut writer = io.new_output(&location).unwrap().writer().await.unwrap();
    writer.write(Bytes::from_static(b"ab")).await.unwrap();
    writer.write(Bytes::from_static(b"cd")).await.unwrap();
    assert!(!io.exists(&location).await.unwrap());
    writer.close().await.unwrap();
    writer.close().await.unwrap_err();
    let input = io.new_input(&location).unwrap();
    assert_eq!(input.read().await.unwrap(), "abcd");
    assert_eq!(input.metadata().await.unwrap().size, 4);
    assert_eq!(input.reader().await.unwrap().read(1..3).await.unwrap(), "bc");
    io.delete_prefix(fixture.at("k")).await.unwrap();
    assert!(!io.exists(&location).await.unwrap());
}

#[tokio::test]
async fn what_lies_outside_is_neither_read_nor_looked_at_nor_written() {
    let fixture = Fixture::new();
    let (inside, outside) = (fixture.at("w/t/a"), fixture.at("elsewhere/a"));
    for location in [&inside, &outside] {
        fixture.storage.put_new(location, Bytes::from_static(b"x")).await.unwrap();
    }
    let policy = Policy::new(&fixture.at("w"), &[]).unwrap();
    let storage = fixture.storage.clone().within(&policy);
    assert_eq!(storage.read(&inside).await.unwrap(), "x");
    assert_eq!(storage.list(&fixture.at("w/t")).await.unwrap(), [inside]);
    let dotted = fixture.at("w/t/../../elsewhere/a");
    for location in [&outside, &dotted] {
        let denials = [
            storage.read(location).await.map(|_| ()),
            storage.read_at_most(location, 10).await.map(|_| ()),
            storage.read_range(location, 0..1).await.map(|_| ()),
            storage.size(location).await.map(|_| ()),
            storage.delete(location).await,
            storage.list(location).await.map(|_| ()),
            storage.objects(location).map(|_| ()),
            storage.put_new(location, Bytes::new()).await,
            storage.put_all_new(vec![(location.clone(), Bytes::new())]).await,
            storage.object_store(location).map(|_| ()),
        ];
        for (at, denial) in denials.into_iter().enumerate() {
            let kind = denial.unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::Denied | ErrorKind::Invalid), "{at} {location}: {kind:?}");
        }
    }
    assert_eq!(fixture.names("elsewhere"), ["a"]);
}
