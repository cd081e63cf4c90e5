//! Completion: which words may stand where the cursor is.
//!
//! Pure: the names come through [`Names`], so that a slow or broken catalog is somebody else's care.

use super::keywords::{KEYWORDS, READERS};
use super::text::{Kind, Piece, parts, pieces};

/// The names that a statement may use.
pub(super) trait Names {
    /// Every namespace, dotted.
    fn namespaces(&self) -> Vec<String>;
    /// Every table, as namespace and name.
    fn tables(&self) -> Vec<(String, String)>;
    /// The columns of a table, by its name as written in a statement.
    fn columns(&self, table: &str) -> Vec<String>;
}

/// The namespace whose tables need no qualifying.
const DEFAULT_NAMESPACE: &str = "default";

/// Keywords that a table's name follows.
const BEFORE_TABLE: [&str; 11] = [
    "FROM",
    "JOIN",
    "INTO",
    "UPDATE",
    "TABLE",
    "OVERWRITE",
    "DESCRIBE",
    "DESC",
    "USING",
    "OPTIMIZE",
    "VACUUM",
];
/// Keywords that may stand between those and the name.
const BETWEEN: [&str; 4] = ["IF", "NOT", "EXISTS", "TABLE"];
/// Keywords that may stand where a table's name does, but for those that functions are.
const AFTER_TABLE: [&str; 6] = ["IF", "NOT", "EXISTS", "TABLE", "EXTENDED", "SELECT"];
/// Keywords that a namespace follows.
const BEFORE_NAMESPACE: [&str; 4] = ["IN", "SCHEMA", "DATABASE", "NAMESPACE"];

/// The candidates for the word at `at` in `text`, and where that word starts. None within strings and comments.
pub(super) fn complete(text: &str, at: usize, names: &dyn Names) -> (usize, Vec<String>) {
    let Some(before) = text.get(..at) else { return (at, Vec::new()) };
    let mut typed = pieces(before);
    let word = match typed.last() {
        Some(Piece { kind: Kind::Text { open: true } | Kind::Comment { open: true }, .. }) => {
            return (at, Vec::new());
        }
        Some(piece) if piece.kind == Kind::Word && piece.end() == at => typed.pop(),
        _ => None,
    };
    let (start, word) = word.map_or((at, ""), |piece| (piece.start, piece.text));
    let typed = statement(&typed);
    let all = pieces(text);
    let mentions = mentions(around(&all, at));
    let place = Place { typed, word, mentions: &mentions, names };
    let mut found = place.candidates();
    found.sort();
    found.dedup();
    (start, found)
}

/// The pieces behind the last `;`.
fn statement<'p, 'a>(typed: &'p [Piece<'a>]) -> &'p [Piece<'a>] {
    let start = typed.iter().rposition(|piece| piece.kind == Kind::Mark(';')).map_or(0, |at| at + 1);
    &typed[start..]
}

/// The pieces of the statement that the cursor is in.
fn around<'p, 'a>(all: &'p [Piece<'a>], at: usize) -> &'p [Piece<'a>] {
    let end_of = |piece: &Piece<'_>| piece.kind == Kind::Mark(';');
    let start = all.iter().rposition(|piece| end_of(piece) && piece.start < at).map_or(0, |place| place + 1);
    let length = all[start..].iter().position(end_of).unwrap_or(all.len() - start);
    &all[start..start + length]
}

/// A table that a statement names, and what it is called there.
#[derive(Debug, PartialEq, Eq)]
struct Mention {
    table: String,
    alias: Option<String>,
}

/// The tables of a statement.
fn mentions(statement: &[Piece<'_>]) -> Vec<Mention> {
    let is_keyword =
        |piece: &Piece<'_>| KEYWORDS.iter().any(|keyword| piece.text.eq_ignore_ascii_case(keyword));
    let mut found = Vec::new();
    let mut rest = statement.iter().filter(|piece| !matches!(piece.kind, Kind::Comment { .. })).peekable();
    let mut expected = false;
    while let Some(piece) = rest.next() {
        if expected && piece.is_one_of(&BETWEEN) {
            continue;
        }
        let name = expected && piece.kind == Kind::Word && !piece.is_one_of(&["SELECT", "VALUES"]);
        expected = piece.is_one_of(&BEFORE_TABLE);
        if !name {
            continue;
        }
        rest.next_if(|piece| piece.is_one_of(&["AS"]));
        let alias = rest.next_if(|piece| piece.kind == Kind::Word && !is_keyword(piece));
        found.push(Mention { table: piece.text.to_owned(), alias: alias.map(|piece| piece.text.to_owned()) });
        expected = rest.next_if(|piece| piece.kind == Kind::Mark(',')).is_some();
    }
    found
}

/// Where a word is wanted.
struct Place<'a> {
    /// The pieces of the statement before it.
    typed: &'a [Piece<'a>],
    /// What is typed of it.
    word: &'a str,
    mentions: &'a [Mention],
    names: &'a dyn Names,
}

impl Place<'_> {
    fn candidates(&self) -> Vec<String> {
        let previous = self.typed.last();
        if previous.is_some_and(|piece| piece.is_one_of(&BEFORE_NAMESPACE)) && self.takes_namespaces() {
            return self.matching(self.names.namespaces().iter().map(|name| shown(name)));
        }
        let before = self.typed.iter().rev().find(|piece| !piece.is_one_of(&BETWEEN[..3]));
        if before.is_some_and(|piece| piece.is_one_of(&BEFORE_TABLE)) {
            let mut found = self.tables();
            found.extend(self.keywords(&READERS));
            found.extend(self.keywords(&AFTER_TABLE));
            return found;
        }
        if let Some(found) = self.columns_of_qualifier() {
            return found;
        }
        let mut found = self.columns();
        if !self.word.is_empty() {
            found.extend(self.tables());
        }
        if !self.word.is_empty() || self.typed.is_empty() {
            found.extend(self.keywords(KEYWORDS));
        }
        found
    }

    /// `IN` stands in conditions too: there a namespace makes no sense.
    fn takes_namespaces(&self) -> bool {
        self.typed.first().is_some_and(|piece| piece.is_one_of(&["SHOW", "CREATE", "DROP", "DESCRIBE"]))
    }

    /// Table names; those of the default namespace also without it.
    fn tables(&self) -> Vec<String> {
        let tables = self.names.tables();
        let bare = tables.iter().filter(|(namespace, _)| namespace == DEFAULT_NAMESPACE);
        let bare = bare.map(|(_, name)| quoted(name));
        let full = tables.iter().map(|(namespace, name)| format!("{}.{}", shown(namespace), quoted(name)));
        let full = full.filter(|_| !self.word.is_empty()).collect::<Vec<_>>();
        let mut found = self.matching(bare);
        found.extend(self.matching(full));
        if found.is_empty() || self.word.is_empty() {
            let others = self.names.namespaces().into_iter().filter(|name| name != DEFAULT_NAMESPACE);
            found.extend(self.matching(others.map(|name| format!("{}.", shown(&name)))));
        }
        found
    }

    /// The columns of every table that the statement names.
    fn columns(&self) -> Vec<String> {
        let columns = self.mentions.iter().flat_map(|mention| self.names.columns(&mention.table));
        self.matching(columns.map(|column| quoted(&column)))
    }

    /// Behind `t.` the columns of the table that is called `t` in the statement.
    fn columns_of_qualifier(&self) -> Option<Vec<String>> {
        let (qualifier, _) = self.word.rsplit_once('.')?;
        let wanted = parts(qualifier).join(".");
        let called = |mention: &&Mention| {
            let name = mention.alias.as_deref().unwrap_or(&mention.table);
            let parts = parts(name);
            parts.join(".").eq_ignore_ascii_case(&wanted)
                || parts.last().is_some_and(|last| last.eq_ignore_ascii_case(&wanted))
        };
        let mention = self.mentions.iter().find(called)?;
        let columns = self.names.columns(&mention.table);
        Some(self.matching(columns.iter().map(|column| format!("{qualifier}.{}", quoted(column)))))
    }

    /// Keywords, in the case that the word was begun in.
    fn keywords(&self, keywords: &[&str]) -> Vec<String> {
        let lower = self.word.chars().any(char::is_lowercase);
        let cased = keywords.iter().map(|keyword| match lower {
            true => keyword.to_ascii_lowercase(),
            false => (*keyword).to_owned(),
        });
        self.matching(cased)
    }

    fn matching(&self, names: impl IntoIterator<Item = String>) -> Vec<String> {
        let bare = |text: &str| text.replace(['"', '`'], "").to_lowercase();
        let wanted = bare(self.word);
        names.into_iter().filter(|name| bare(name).starts_with(&wanted)).collect()
    }
}

/// A dotted namespace as it is written.
fn shown(namespace: &str) -> String {
    namespace.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

/// A name as it is written: in quotes where it must be.
pub(super) fn quoted(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|ch| ch.is_ascii_alphanumeric() || ch == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests;
