use super::*;
use crate::error::ErrorKind;

#[test]
fn the_spellings_of_one_file_are_one_location() {
    for text in
        ["/w/a b/t", "file:/w/a b/t", "file:///w/a b/t", "FILE:///w//a b/t/", "file://localhost/w/a b/t"]
    {
        assert_eq!(Location::parse(text).unwrap().to_uri(), "file:///w/a b/t", "{text}");
    }
    for text in ["s3://b/k", "s3a://b/k", "S3N://b/k/"] {
        assert_eq!(Location::parse(text).unwrap().to_uri(), "s3://b/k", "{text}");
    }
    assert_eq!(Location::parse("file:///w/%20/é").unwrap().path(), "/w/%20/é");
    for text in ["relative/path", "file:relative", "file://host/path", "s3:///key", "s3:bucket", ""] {
        assert_eq!(Location::parse(text).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
    }
}

#[test]
fn what_a_user_types_becomes_a_location() {
    assert_eq!(to_location("/w/./a/../b//c/").unwrap(), "file:///w/b/c");
    assert_eq!(to_location("/../..").unwrap(), "file:///");
    assert_eq!(to_location("file:/w/x").unwrap(), "file:///w/x");
    assert_eq!(to_location("s3://bucket/x/").unwrap(), "s3://bucket/x");
    let here = std::env::current_dir().unwrap();
    assert_eq!(to_location("./w:1").unwrap(), format!("file://{}/w:1", here.display()));
    assert_eq!(to_location("").unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_table_gets_a_folder_of_its_own() {
    let ident = TableIdent::new(vec!["My Db".into(), "..".into()], "Größe/*");
    let uuid = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_dead_beef);
    assert_eq!(table_location("file:///w/", &ident, uuid), "file:///w/my_db/__/gr____e__-deadbeef");
    let long = TableIdent::new(vec!["d".into()], "é".repeat(500));
    assert_eq!(table_location("s3://b", &long, uuid), format!("s3://b/d/{}-deadbeef", "_".repeat(120)));
    assert_eq!(table_location("s3://b", &TableIdent::new(vec![], ""), uuid), "s3://b/_-deadbeef");
}

#[test]
fn below_means_whole_segments() {
    let policy = Policy::new("/w", &["s3://bucket/allowed".into()]).unwrap();
    for good in [
        "file:///w/t",
        "file:/w/t/data/x.parquet",
        "/w/t",
        "/w/t/",
        "/w/a b/%20/é/x=a%2Fb/#1",
        "s3://bucket/allowed",
        "s3://bucket/allowed/t",
        "s3a://bucket/allowed/t",
    ] {
        policy.check(good).unwrap_or_else(|e| panic!("{good}: {e}"));
    }
    for elsewhere in [
        "file:///w",
        "file:///w/",
        "/wx/t",
        "/",
        "s3://bucket/allowedx",
        "s3://bucket",
        "s3://other/allowed/t",
        "hdfs://w/t",
    ] {
        let error = policy.check(elsewhere).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{elsewhere}");
        assert!(error.to_string().contains("--allow-location"), "{error}");
    }
}

/// Strings that have broken other catalogs, and their neighbours.
const ATTACKS: [&str; 44] = [
    "file:///w/../etc/passwd",
    "file:///w/t/../../x",
    "file:///w/./t",
    "file:///w/t/..",
    "file:///w/t/.",
    "file:///w/%2e%2e/x",
    "file:///w/%2E%2e/x",
    "file:///w/.%2e/x",
    "file:///w/%252e%252e/x",
    "file:///w/%2e%2e%2fetc",
    "file:///w/t%2f..%2f..",
    "file:///w/t%5c..%5c..",
    "file:///w/t\\..\\..",
    "file:///w/t/*",
    "file:///w/t?versionId=1",
    "file:///w/${user}",
    "file:///w/$HOME",
    "file:///w/{a,b}",
    "file:///w/t\0x",
    "file:///w/t%00x",
    "file:///w/t\nx",
    "file:///w/t\rx",
    "file:///w/t\tx",
    "file:///w/t\u{7f}x",
    "file:///w/t\u{85}x",
    "file://evil/w/t",
    "file://w/t",
    "file:w/t",
    "w/t",
    "../w/t",
    "",
    "//w/../t",
    "file:////etc/passwd",
    "FILE:///etc/passwd",
    "s3://bucket/allowed/../x",
    "s3://bucket/allowed//x",
    "s3://bucket//allowed/x",
    "s3://bucket@evil/allowed/x",
    "s3://bucket:80/allowed/x",
    "s3://bucket%2fallowed/x",
    "s3://*/allowed/x",
    "s3://bucket/allowed*/x",
    "s3:///allowed/x",
    "http://169.254.169.254/latest/meta-data",
];

#[test]
fn no_attack_string_is_accepted() {
    let policy = Policy::new("/w", &["s3://bucket/allowed".into()]).unwrap();
    for attack in ATTACKS {
        let error = policy.check(attack).expect_err(attack);
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Denied), "{attack:?}: {error:?}");
    }
}

#[test]
fn a_file_that_is_only_read_may_have_another_engines_name_but_not_another_place() {
    let policy = Policy::new("/w", &["s3://bucket/allowed".into()]).unwrap();
    for name in [
        "file:///w/t/data/p=a*b/x.parquet",
        "file:/w/t/data/p=a?b/x.parquet",
        "file:///w/t/data/p={a}$/x.parquet",
        "s3a://bucket/allowed/t//data/x.parquet",
    ] {
        assert!(policy.check(name).is_err() || name.starts_with("file:/w"), "{name}");
        policy.check_readable(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for elsewhere in [
        "file:///etc/passwd",
        "/etc/passwd",
        "file:///w/../etc/passwd",
        "file:///w/%2e%2e/etc/passwd",
        "file:///w/t/..\\..\\x",
        "file:///wide/x",
        "s3://bucket/allowed/../x",
        "s3://bucket/allowedx",
        "s3://bucket@evil/allowed/x",
        "s3://other/allowed/x",
        "http://169.254.169.254/latest/meta-data",
    ] {
        let error = policy.check_readable(elsewhere).expect_err(elsewhere);
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Denied), "{elsewhere:?}: {error:?}");
    }
}
