use std::path::Path;

use icecap_commit_service::Parts;
use icecap_commit_service::testing::World;
use icecap_table::ErrorKind;
use icecap_table::commit::{Change, CommitClient, StatementKind};
use icecap_table::id::WriteId;

use super::*;

async fn open(folder: &Path) -> (World, Parts, Catalog) {
    let world = World::open(folder).await.unwrap();
    let parts = world.parts();
    let catalog =
        Catalog::open(world.store.clone(), world.storage.clone(), world.policy.clone()).await.unwrap();
    (world, parts, catalog)
}

fn levels(name: &str) -> Vec<String> {
    name.split('/').map(str::to_owned).collect()
}

#[tokio::test]
async fn a_new_catalog_has_the_namespace_default_and_takes_nested_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, catalog) = open(folder.path()).await;
    assert_eq!(catalog.list_namespaces().await.unwrap(), [levels("default")]);
    let properties = BTreeMap::from([("comment".to_owned(), "x".to_owned())]);
    catalog.create_namespace(&levels("a/b"), properties.clone()).await.unwrap();
    assert_eq!(catalog.list_namespaces().await.unwrap(), [levels("a"), levels("a/b"), levels("default")]);
    assert_eq!(catalog.namespace_properties(&levels("a/b")).await.unwrap(), properties);
    for bad in ["a.b", "", "a//b"] {
        let error = catalog.create_namespace(&levels(bad), BTreeMap::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad:?}");
    }
    assert_eq!(catalog.create_namespace(&[], BTreeMap::new()).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(catalog.drop_namespace(&levels("a")).await.unwrap_err().kind(), ErrorKind::Invalid);
    catalog.drop_namespace(&levels("a/b")).await.unwrap();
    assert_eq!(catalog.list_namespaces().await.unwrap(), [levels("default")]);
    assert_eq!(catalog.list_tables(&levels("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_table_is_found_as_the_commit_service_left_it() {
    let folder = tempfile::tempdir().unwrap();
    let (world, _, catalog) = open(folder.path()).await;
    let ident = world.table("t");
    assert_eq!(catalog.table_location(&ident).await.unwrap(), None);
    let error = catalog.load_table(&ident).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "table default.t does not exist"));

    let document = world.create("t", &[]).await.unwrap();
    let loaded = catalog.load_table(&ident).await.unwrap();
    assert_eq!(loaded.document.metadata().uuid(), document.metadata().uuid());
    assert_eq!(catalog.table_location(&ident).await.unwrap(), Some(loaded.metadata_location.clone()));
    assert_eq!(catalog.list_tables(&levels("default")).await.unwrap(), std::slice::from_ref(&ident));
    let dotted = TableIdent::new(vec!["a.b".into()], "t");
    assert_eq!(catalog.table_location(&dotted).await.unwrap(), None);

    let service = world.service();
    let write = WriteId::from_token("catalog", 0, 0);
    service.begin(world.begin(write)).await.unwrap();
    service.commit(world.append(write, "t", &document, &[3])).await.unwrap();
    let after = catalog.load_table(&ident).await.unwrap();
    assert_eq!(after.document.metadata().snapshots().len(), 1);
    assert_ne!(after.metadata_location, loaded.metadata_location);

    let write = WriteId::from_token("catalog", 1, 0);
    service.begin(world.begin(write)).await.unwrap();
    service.commit(world.request(write, "t", StatementKind::DropTable, Change::Drop)).await.unwrap();
    assert_eq!(catalog.list_tables(&levels("default")).await.unwrap(), []);
}

#[tokio::test]
async fn a_missing_metadata_file_is_damage_and_one_elsewhere_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let (world, _, catalog) = open(folder.path()).await;
    world.create("t", &[]).await.unwrap();
    let location = world.store_location("t").await.unwrap();
    world.storage.delete(&location).await.unwrap();
    world.storage.cache().forget(&location);
    assert_eq!(catalog.load_table(&world.table("t")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let raw = rusqlite::Connection::open(world.store.path()).unwrap();
    raw.execute("UPDATE iceberg_tables SET metadata_location = 'file:///etc/passwd'", []).unwrap();
    assert_eq!(catalog.load_table(&world.table("t")).await.unwrap_err().kind(), ErrorKind::Denied);
}
