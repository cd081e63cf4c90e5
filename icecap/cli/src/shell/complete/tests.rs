use super::*;

struct Lake;

impl Names for Lake {
    fn namespaces(&self) -> Vec<String> {
        vec!["default".into(), "sales".into()]
    }

    fn tables(&self) -> Vec<(String, String)> {
        [("default", "trips"), ("default", "Odd Name"), ("sales", "orders")]
            .map(|(namespace, name)| (namespace.into(), name.into()))
            .into()
    }

    fn columns(&self, table: &str) -> Vec<String> {
        let columns: &[&str] = match table {
            "trips" => &["id", "fare", "Pick Up"],
            "sales.orders" => &["id", "total"],
            _ => &[],
        };
        columns.iter().map(|column| (*column).to_owned()).collect()
    }
}

/// Completes at the `|`.
fn at(text: &str) -> (usize, Vec<String>) {
    let place = text.find('|').unwrap();
    complete(&text.replace('|', ""), place, &Lake)
}

fn words(text: &str) -> Vec<String> {
    at(text).1
}

#[test]
fn keywords_come_in_the_case_that_was_begun() {
    assert_eq!(at("SEL|"), (0, vec!["SELECT".to_owned()]));
    assert_eq!(words("sel|"), ["select"]);
    assert!(words("|").contains(&"INSERT".to_owned()));
    assert_eq!(words("SELECT 1; DESCR|"), ["DESCRIBE"]);
}

#[test]
fn tables_stand_behind_from_join_and_into() {
    for text in
        ["SELECT * FROM tr|", "insert into tr|", "SELECT * FROM sales.orders JOIN TR|", "DROP TABLE tr|"]
    {
        let found = words(text);
        assert!(found.contains(&"trips".to_owned()), "{text}: {found:?}");
    }
    assert_eq!(at("SELECT * FROM sa|"), (14, vec!["sales.orders".to_owned()]));
    assert_eq!(words("SELECT * FROM sales.|"), ["sales.orders"]);
    assert_eq!(words("SELECT * FROM odd|"), ["\"Odd Name\""]);
    assert_eq!(words("SELECT * FROM \"od|"), ["\"Odd Name\""]);
    assert_eq!(words("SELECT * FROM read_p|"), ["read_parquet"]);
    let all = words("SELECT * FROM |");
    for name in ["\"Odd Name\"", "sales.", "trips"] {
        assert!(all.contains(&name.to_owned()), "{all:?}");
    }
}

#[test]
fn namespaces_stand_where_one_is_named() {
    assert_eq!(words("SHOW TABLES IN |"), ["default", "sales"]);
    assert_eq!(words("DROP SCHEMA sa|"), ["sales"]);
    assert!(!words("SELECT * FROM trips WHERE id IN |").contains(&"sales".to_owned()));
}

#[test]
fn columns_are_those_of_the_tables_that_the_statement_names() {
    assert_eq!(words("SELECT fa| FROM trips"), ["false", "fare"]);
    assert_eq!(words("SELECT tot| FROM trips, sales.orders"), ["total"]);
    assert_eq!(words("SELECT tot| FROM trips; SELECT * FROM sales.orders"), Vec::<String>::new());
    assert_eq!(words("SELECT * FROM trips WHERE |"), ["\"Pick Up\"", "fare", "id"]);
    assert!(words("INSERT INTO trips (id, f|").contains(&"fare".to_owned()));
}

#[test]
fn a_qualifier_is_a_table_or_its_alias() {
    assert_eq!(at("SELECT t.f| FROM trips AS t"), (7, vec!["t.fare".to_owned()]));
    assert_eq!(words("SELECT t.f| FROM trips t"), ["t.fare"]);
    assert_eq!(words("SELECT trips.| FROM trips"), ["trips.\"Pick Up\"", "trips.fare", "trips.id"]);
    assert_eq!(words("SELECT orders.t| FROM sales.orders"), ["orders.total"]);
    assert_eq!(words("SELECT nobody.t| FROM trips"), Vec::<String>::new());
}

#[test]
fn strings_and_comments_are_left_alone() {
    for text in ["SELECT 'sel|", "SELECT -- sel|", "SELECT /* sel|"] {
        assert_eq!(words(text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(words("SELECT 'é' FROM tri|"), ["trips"]);
}
