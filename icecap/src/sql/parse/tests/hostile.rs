//! Texts that are deep, long or no SQL at all: the parser answers, and neither panics nor overflows its stack.

use proptest::prelude::*;

use super::*;

/// Runs on a thread with as little stack as a worker of the engine has.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn nothing_overflows_the_stack() {
    let pieces = [
        "(",
        "((",
        "[",
        "{",
        "array[",
        "array<",
        "map(",
        "map<",
        "struct<",
        "struct(",
        "row(",
        "case when ",
        "case ",
        "not ",
        "- ",
        "+ ",
        "interval ",
        "date ",
        "select ",
        "select (",
        "(select ",
        "from (",
        "select * from (",
        "select * from ((",
        "with a as (",
        "exists (",
        "cast(",
        "cast(a as ",
        "try_cast(",
        "f(",
        "x -> ",
        "(x) -> ",
        "(x, y) -> (",
        "a.b(",
        "f(a.",
        "{'a': ",
        "map {",
        "a[1].",
        "a in (select ",
        "from (((",
        "with a as (with b as (",
        "a in (",
        "a between ",
        "values (",
        "union select ",
        "1 + ",
        "a and ",
        "a or not ",
        "a.",
        "a[",
        "a::",
        "a is null ",
        "1, ",
        "join t ",
        "from t, ",
        "lateral (",
        "unnest(",
        "extract(",
        "substring(",
        "position(",
        "trim(",
        "over (",
        "filter (where ",
        "convert(",
        "if(",
        "'a' 'b' ",
        "collate ",
        "at time zone ",
        "prior ",
        "any(",
        "grouping sets ((",
        "decimal '1' ",
        "::int",
        " union all ",
        "intersect (",
        "tuple(",
        "nullable(",
        "nested(",
    ];
    on_a_small_stack(move || {
        for head in ["select ", "select * from ", "insert into t ", "create table t (a ", "select 1 where "] {
            for piece in pieces {
                for times in [30, 45, 60, 5_000] {
                    let _ = parse_script(&format!("{head}{}1", piece.repeat(times)));
                }
            }
        }
    });
}

#[test]
fn long_statements_parse() {
    on_a_small_stack(|| {
        let condition: Vec<String> = (0..4_000).map(|n| format!("a = {n}")).collect();
        let sql = format!("select * from t where {}", condition.join(" or "));
        let error = parse_script(&sql);
        assert!(error.is_ok() || error.unwrap_err().to_string().contains("at most"), "4000 alternatives");
        let rows: Vec<String> = (0..20_000).map(|n| format!("({n}, 'row {n}', {n}.5)")).collect();
        assert_eq!(parse_script(&format!("insert into t values {}", rows.join(", "))).unwrap().len(), 1);
        let list: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
        assert_eq!(parse_script(&format!("select a in ({})", list.join(","))).unwrap().len(), 1);
        let deep = format!("select {}1{}", "(".repeat(20), ")".repeat(20));
        assert_eq!(parse_script(&deep).unwrap().len(), 1);
        let sum = vec!["a"; 150].join(" + ");
        assert_eq!(parse_script(&format!("select {sum}")).unwrap().len(), 1);
    });
}

const VALID: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS db.t (id bigint COMMENT 'k', s struct<a:int,b:array<map<string,decimal(10,2)>>>) \
     PARTITIONED BY (month(d), bucket(16, id)) LOCATION 's3://b/p' TBLPROPERTIES ('table_type'='ICEBERG', 'x'=5)",
    "create table t with (table_type='ICEBERG', partitioning=ARRAY['month(d)','bucket(c,16)']) as select 1 with no data",
    "INSERT INTO a.\"t\" (b, c) VALUES (1, 'x''y'), (-2.5e3, NULL), (cast('1' as row(a int)), X'00')",
    "with recursive a as (select 1 union all select * from a where x < 5) select count(*) filter (where b is not null) \
     over (partition by c order by d nulls first rows between 1 preceding and current row) from a join b using (x) \
     left join lateral (select 1) c on true where x in (1, 2) and y like 'a%' group by rollup (a, b) having sum(x) > 1 \
     order by 1 limit 10 offset 5",
    "select case when a then b else c end, a[1], m['k'], s.f.g, x -> x + 1, interval '1' day, date '2024-01-01' \
     from read_csv('a', header => true), unnest(array[1, 2]) as u(v)",
    "show tables in a like '%x'; describe extended t; drop table if exists t purge; create schema s comment 'x'",
];

fn soup() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "select",
            "from",
            "where",
            "(",
            ")",
            ",",
            ".",
            "*",
            "'a'",
            "\"b\"",
            "`c`",
            "1",
            "2.5",
            "1e5",
            ";",
            "create",
            "table",
            "insert",
            "into",
            "values",
            "as",
            "with",
            "(select 1)",
            "cast",
            "::",
            "int",
            "array",
            "<",
            ">",
            ">>",
            "[",
            "]",
            "map",
            "struct",
            "row",
            ":",
            "=",
            "=>",
            "->",
            "-",
            "+",
            "not",
            "null",
            "and",
            "or",
            "case",
            "when",
            "then",
            "end",
            "in",
            "is",
            "between",
            "union",
            "all",
            "join",
            "on",
            "using",
            "by",
            "name",
            "partitioned",
            "partition",
            "bucket",
            "month",
            "location",
            "comment",
            "tblproperties",
            "for",
            "version",
            "of",
            "timestamp",
            "interval",
            "date",
            "decimal",
            "order",
            "limit",
            "show",
            "tables",
            "drop",
            "describe",
            "exists",
            "if",
            "{",
            "}",
            "||",
            "!",
            "~",
            "@",
            "#",
            "$",
            "$1",
            "?",
            "--",
            "/*",
            "*/",
            "\n",
            "é",
            "\u{0}",
            "'",
            "over",
            "filter",
            "lateral",
            "unnest",
            "recursive",
            "extract",
            "substring",
            "like",
            "escape",
            "fetch",
            "first",
            "rows",
            "only",
        ]),
        prop::sample::select(vec!["a", "t", "x"]),
    ];
    (
        prop::sample::select(vec!["", "select ", "create table t ", "insert into t ", "with "]),
        prop::collection::vec(token, 0..40),
    )
        .prop_map(|(head, tokens)| format!("{head}{}", tokens.join(" ")))
}

fn mutated() -> impl Strategy<Value = String> {
    let mutation = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..5u8, any::<char>());
    (prop::sample::select(VALID.to_vec()), prop::collection::vec(mutation, 1..6)).prop_map(
        |(sql, mutations)| {
            let mut text: Vec<char> = sql.chars().collect();
            for (from, to, kind, ch) in mutations {
                if text.is_empty() {
                    break;
                }
                let (mut from, mut to) = (from.index(text.len()), to.index(text.len()));
                if from > to {
                    std::mem::swap(&mut from, &mut to);
                }
                to = to.min(from + 12);
                match kind {
                    0 => drop(text.drain(from..to)),
                    1 => text.insert(from, ch),
                    2 => text[from] = ch,
                    3 => {
                        let copy = text[from..to].to_vec();
                        text.splice(to..to, copy);
                    }
                    _ => text.truncate(from),
                }
            }
            text.into_iter().collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_soup_of_tokens_makes_it_panic(sql in soup()) {
        let _ = parse_script(&sql);
    }

    #[test]
    fn no_mutation_makes_it_panic(sql in mutated()) {
        let _ = parse_script(&sql);
    }
}

#[test]
fn the_statements_that_are_mutated_are_valid() {
    for sql in VALID {
        parse_script(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}
