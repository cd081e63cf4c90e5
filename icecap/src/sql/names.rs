//! How names match: case-insensitively, an exact match first, an ambiguity being an error.

use icecap_table::{Error, Result};

/// The key under which names that differ in case only are equal.
pub fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// The one of `names` that `wanted` means: the exact one, else the only one that differs in case alone.
///
/// # Errors
/// `Invalid` when several differ in case alone.
pub fn find<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Result<Option<&'a str>> {
    let key = folded(wanted);
    let mut found: Option<&str> = None;
    let mut second: Option<&str> = None;
    for name in names {
        if name == wanted {
            return Ok(Some(name));
        }
        if folded(name) == key {
            match found {
                None => found = Some(name),
                Some(first) if first != name => second = Some(name),
                Some(_) => {}
            }
        }
    }
    match (found, second) {
        (Some(first), Some(second)) => Err(Error::invalid(format!(
            "the name {wanted} is ambiguous: {first} and {second} differ in case only, so write one of them exactly"
        ))),
        (found, _) => Ok(found),
    }
}

/// The position in `names` of the one that `wanted` means, as [`find`] decides.
///
/// # Errors
/// `Invalid` when several differ in case alone.
pub fn position(wanted: &str, names: &[&str]) -> Result<Option<usize>> {
    let found = find(wanted, names.iter().copied())?;
    Ok(found.and_then(|found| names.iter().position(|name| *name == found)))
}

/// Whether `name` matches the pattern of a `SHOW` statement.
///
/// `*` and `%` stand for any characters, `|` separates alternatives, case does not count; everything else stands
/// for itself, `_` too, because it is part of so many names. Hive's `.*` is read as `*`.
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let name: Vec<char> = folded(name).chars().collect();
    folded(pattern).replace(".*", "*").split('|').any(|alternative| {
        let pattern: Vec<char> = alternative.trim().chars().collect();
        matches_wildcards(&pattern, &name)
    })
}

/// Matches greedily, going back to the last wildcard only: linear in practice, quadratic at worst.
fn matches_wildcards(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some('*' | '%') => {
                back = Some((at, seen));
                at += 1;
            }
            Some(ch) if *ch == name[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    at = star + 1;
                    seen = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at.min(pattern.len())..].iter().all(|ch| matches!(ch, '*' | '%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_match_comes_first_and_an_ambiguity_is_an_error() {
        assert_eq!(find("id", ["a", "ID"]).unwrap(), Some("ID"));
        assert_eq!(find("Id", ["id", "ID", "Id"]).unwrap(), Some("Id"));
        assert_eq!(find("x", ["id"]).unwrap(), None);
        assert_eq!(find("ID", ["id", "id"]).unwrap(), Some("id"));
        assert_eq!(find("STRASSE", ["straße"]).unwrap(), None);
        assert_eq!(find("ÄÖ", ["äö"]).unwrap(), Some("äö"));
        assert_eq!(position("B", &["a", "b"]).unwrap(), Some(1));
        assert_eq!(
            find("iD", ["id", "ID"]).unwrap_err().to_string(),
            "the name iD is ambiguous: id and ID differ in case only, so write one of them exactly"
        );
    }

    #[test]
    fn patterns_have_wildcards_and_alternatives() {
        assert!(matches_pattern("*", ""));
        assert!(matches_pattern("page*", "Page_Views"));
        assert!(matches_pattern("%view%", "page_views"));
        assert!(matches_pattern("a|page_.*", "page_views"));
        assert!(matches_pattern("flights", "flights"));
        assert!(matches_pattern("a*b*c", "aXXbYYbZc"));
        assert!(!matches_pattern("flight", "flights"));
        assert!(!matches_pattern("a*b", "ac"));
        assert!(!matches_pattern("page_views", "page-views"));
        assert!(!matches_pattern("", "a"));
        let slow = format!("{}b", "*a".repeat(200));
        assert!(!matches_pattern(&slow, &"a".repeat(2_000)));
    }
}
