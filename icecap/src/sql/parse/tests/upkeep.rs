//! OPTIMIZE, VACUUM and CALL.

use icecap_table::ErrorKind;

use super::*;

#[test]
fn athenas_upkeep() {
    let Statement::Optimize { name: table, filter } = parse("OPTIMIZE db.t REWRITE DATA USING BIN_PACK")
    else {
        panic!("no OPTIMIZE")
    };
    assert_eq!((table, filter), (name(&["db", "t"]), None));
    let sql = "optimize `Db`.t rewrite data using bin_pack where d >= date '2026-01-01' and c in ('a', 'b')";
    let Statement::Optimize { filter: Some(filter), .. } = parse(sql) else { panic!("no condition") };
    assert_eq!(filter.to_string(), "SELECT * FROM \"Db\".t WHERE d >= DATE '2026-01-01' AND c IN ('a', 'b')");
    assert_eq!(parse("vacuum db.t"), Statement::Vacuum { name: name(&["db", "t"]) });
    assert!(parse("VACUUM t").may_write());
    for wrong in [
        "OPTIMIZE t",
        "OPTIMIZE t REWRITE DATA",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK d = 1",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE a = 1 ORDER BY a",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE a = 1 GROUP BY a",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE a = 1 UNION SELECT 1",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE a = 1 LIMIT 1",
        "OPTIMIZE t REWRITE DATA USING BIN_PACK WHERE a = 1; x",
        "VACUUM",
        "VACUUM t RETAIN 1 HOURS",
    ] {
        assert_eq!(parse_script(wrong).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
    }
}

#[test]
fn a_call_takes_times() {
    let Statement::Call { args, .. } = parse(
        "CALL system.expire_snapshots('db.t', older_than => TIMESTAMP '2026-01-31 00:00:00', retain_last => 2)",
    ) else {
        panic!("no CALL")
    };
    assert_eq!(args[1].1, crate::sql::ast::Value::Timestamp("2026-01-31 00:00:00".into()));
}
