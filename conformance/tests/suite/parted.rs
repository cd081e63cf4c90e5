//! How a write is parted: one large file among all tasks, and what `EXPLAIN` and the summary tell of it.

use icecap_conformance::stack::{Session, Warehouse};
use serde_json::{Value, json};

use crate::compare::invariants_hold;

/// Three hundred thousand rows that do not compress, some 20 MB.
const WIDE: &str = "SELECT id, sha512(CAST(id AS varchar)) AS b FROM (
    WITH d(n) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))
    SELECT a.n + 10 * b.n + 100 * c.n + 1000 * e.n + 10000 * f.n + 100000 * g.n AS id
    FROM d a CROSS JOIN d b CROSS JOIN d c CROSS JOIN d e CROSS JOIN d f
    CROSS JOIN (VALUES (0), (1), (2)) g(n)) AS r";

fn plan(session: &mut Session, statement: &str) -> Vec<String> {
    let rows = session.rows(&format!("EXPLAIN {statement}")).unwrap();
    rows.iter().map(|row| row["plan"].as_str().unwrap().to_owned()).collect()
}

/// The tasks of each stage.
fn tasks(plan: &[String]) -> Vec<u64> {
    plan.iter()
        .filter_map(|line| line.strip_prefix("  tasks: "))
        .map(|count| count.parse().unwrap())
        .collect()
}

#[test]
fn one_large_file_is_read_by_several_tasks() {
    let warehouse = Warehouse::new().unwrap().with(&["--threads", "1"], &[]);
    let create = format!(
        "CREATE TABLE big USING iceberg TBLPROPERTIES ('write.parquet.row-group-size-bytes'='2097152') AS {WIDE}"
    );
    warehouse
        .run(&[&create, "CREATE TABLE t (id bigint, b binary) USING iceberg"])
        .unwrap()
        .success()
        .unwrap();
    let files = warehouse.query(&["SELECT DISTINCT _file AS f FROM big"]).unwrap();
    let [file] = files.as_slice() else { panic!("{} files", files.len()) };
    let file = file["f"].as_str().unwrap().to_owned();
    let size = std::fs::metadata(file.trim_start_matches("file://")).unwrap().len();
    assert!(size > 17 << 20, "{size} bytes are small");

    let warehouse = warehouse.with(&["--writers", "2"], &[]);
    let mut session = warehouse.session().unwrap();
    for source in ["big".to_owned(), format!("read_parquet('{file}')")] {
        let insert = format!("INSERT INTO t SELECT * FROM {source}");
        // 16 MiB are worth a task.
        assert_eq!(tasks(&plan(&mut session, &insert)), [2], "{source}");
        let told = session.summary(&insert).unwrap();
        assert_eq!((&told["rows_inserted"], &told["attempts"]), (&json!(300_000), &json!(2)), "{source}");
    }
    let rows = session.rows("SELECT count(*) AS n, count(DISTINCT id) AS d, sum(id) AS s FROM t").unwrap();
    assert_eq!(rows, [json!({"n": 600_000, "d": 300_000, "s": 299_999_u64 * 300_000})]);
    invariants_hold(&warehouse, "default.t");
}

#[test]
fn explain_tells_the_stages_and_the_summary_what_crossed_between_them() {
    let warehouse = Warehouse::new().unwrap().with(&["--writers", "2", "--tasks", "3", "-v"], &[]);
    let digits = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))";
    let mut session = warehouse.session().unwrap();
    session
        .summary("CREATE TABLE src (id bigint, g bigint) USING iceberg PARTITIONED BY (bucket(4, id))")
        .unwrap();
    session
        .summary(&format!("INSERT INTO src SELECT a.n + 10 * b.n, a.n FROM {digits} a(n), {digits} b(n)"))
        .unwrap();
    let create = "CREATE TABLE sums AS SELECT g, sum(id) AS s FROM src GROUP BY g";
    let lines = plan(&mut session, create);
    assert_eq!(tasks(&lines), [3, 3], "{lines:#?}");
    for line in ["Stage 0", "Stage 1", "  reads: stage 0: its own hash partitions", "  writes: data files"] {
        assert!(lines.iter().any(|own| own == line), "no line {line:?} in {lines:#?}");
    }
    let stored = |line: &String| line.starts_with("  writes: an exchange object per task, of ");
    assert!(lines.iter().any(stored), "{lines:#?}");

    let told = session.summary(create).unwrap();
    let number = |name: &str| told[name].as_u64().unwrap_or_default();
    assert_eq!(number("attempts"), 6);
    assert!(number("exchange_bytes_written") >= number("exchange_bytes_read"), "{told}");
    // Three objects are stored; each consumer reads something of some of them.
    assert!(number("exchange_bytes_read") > 100 && number("exchange_requests") > 5, "{told}");

    let analyzed: Vec<Value> =
        session.rows("EXPLAIN ANALYZE INSERT INTO sums SELECT g, sum(id) FROM src GROUP BY g").unwrap();
    let has = |start: &str| analyzed.iter().any(|row| row["plan"].as_str().unwrap().starts_with(start));
    assert!(has("  tasks: 6 attempts, 0 failed") && has("  exchanges: "), "{analyzed:#?}");

    // Without a session, -v tells it too.
    let output =
        warehouse.run(&["CREATE TABLE again AS SELECT g, sum(id) AS s FROM src GROUP BY g"]).unwrap();
    let output = output.success().unwrap();
    let line = output.stderr.lines().find(|line| line.contains("tasks ended")).unwrap_or_default();
    assert!(line.contains("attempts=6") && line.contains("exchange_bytes_read="), "{}", output.stderr);
    drop(session);
    drop(warehouse);
    // One process has no stages.
    let alone = Warehouse::new().unwrap();
    let lines = plan(&mut alone.session().unwrap(), "CREATE TABLE t AS SELECT 1 AS x");
    assert!(!lines.iter().any(|line| line.starts_with("Stage ")), "{lines:#?}");
}
