//! The interactive shell as a person sees it: keys on a pseudo-terminal, the screen compared.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod terminal;

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use terminal::{CTRL_C, CTRL_D, ENTER, TAB, Terminal, UP};

const GREETING: &str = concat!(
    "Icecap ",
    env!("CARGO_PKG_VERSION"),
    ", warehouse ./warehouse. End a statement with ; and leave with Ctrl-D. \\? tells more."
);

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &Path) -> Terminal {
    let terminal = Terminal::start(folder, &["sql"], &[]);
    terminal.shows(&[GREETING, "icecap>"]);
    terminal
}

/// Types a line, waits until the shell has drawn it, ends it, and waits for the next prompt. Without the wait between,
/// the prompt that is there already could pass for the next one.
fn line(terminal: &Terminal, text: &str) {
    terminal.press(text);
    terminal.last_line(&format!("icecap> {text}"));
    terminal.press(ENTER);
    terminal.prompt();
}

/// Clears the line and leaves, waiting for the prompt between: keys typed while there is none are the terminal's.
fn leave(terminal: &Terminal) {
    terminal.press("x");
    terminal.until("key", |screen| screen.lines().last().is_some_and(|line| line.ends_with('x')));
    terminal.press(CTRL_C);
    terminal.prompt();
    terminal.press(CTRL_D);
}

#[test]
fn statements_are_typed_run_and_shown() {
    let folder = folder();
    let terminal = open(folder.path());
    line(&terminal, "CREATE TABLE t (id bigint, name string);");
    terminal.press(&format!("SELECT * FROM t WHERE{ENTER}  id > 0{ENTER};{ENTER}"));
    terminal.shows(&[
        GREETING,
        "icecap> CREATE TABLE t (id bigint, name string);",
        "CREATE_TABLE default.t",
        "icecap> SELECT * FROM t WHERE",
        "  id > 0",
        ";",
        " id | name",
        "----+------",
        "(0 rows)",
        "icecap>",
    ]);
    terminal.press(CTRL_D);
    assert!(terminal.end().0.success());
}

#[test]
fn an_error_is_told_and_the_session_goes_on() {
    let folder = folder();
    let terminal = open(folder.path());
    terminal.press(&format!("SELEC 1; SELECT 2 AS two;{ENTER}"));
    terminal.until("error", |screen| {
        screen.contains("error[invalid]: line 1:1: ")
            && screen.ends_with("in statement 1 of 2: SELEC 1\nicecap>")
    });
    terminal.press(&format!("SELECT 1 AS one; SELECT 2 AS two;{ENTER}"));
    let screen = terminal.until("second result", |screen| screen.ends_with("   2\n(1 row)\nicecap>"));
    let results: Vec<&str> = screen.lines().rev().take(9).collect();
    let shown = ["icecap>", "(1 row)", "   2", "-----", " two", "(1 row)", "   1", "-----", " one"];
    assert_eq!(results, shown, "{screen}");
    assert!(terminal.raw().contains("\x1b[1;31merror[invalid]\x1b[0m: "), "errors are red on a terminal");
    terminal.press(&format!("quit{ENTER}"));
    assert!(terminal.end().0.success());
}

#[test]
fn tab_completes_keywords_tables_and_columns() {
    let folder = folder();
    let terminal = open(folder.path());
    line(&terminal, "CREATE TABLE trips (id bigint, pickup_zone string, pickup_time timestamp);");
    terminal.press(&format!("DESCR{TAB} tr{TAB}"));
    terminal.last_line("icecap> DESCRIBE trips");
    terminal.press(CTRL_C);
    terminal.prompt();
    // The part that is common to all, then the list of what is possible.
    terminal.press(&format!("DELETE FROM trips WHERE pi{TAB}"));
    terminal.last_line("icecap> DELETE FROM trips WHERE pickup_");
    terminal.press(TAB);
    terminal.until("list", |screen| screen.contains("pickup_time") && screen.contains("pickup_zone"));
    terminal.press(&format!("z{TAB}"));
    terminal.last_line("icecap> DELETE FROM trips WHERE pickup_zone");
    terminal.press(CTRL_C);
    terminal.prompt();

    // A table made in this session is known at once.
    line(&terminal, "CREATE TABLE untried (x int);");
    terminal.press(&format!("select * from unt{TAB}"));
    terminal.last_line("icecap> select * from untried");
    terminal.press(CTRL_C);
    terminal.prompt();
    line(&terminal, "DROP TABLE untried;");
    terminal.press(&format!("select * from unt{TAB}ouched"));
    terminal.last_line("icecap> select * from untouched");
}

#[test]
fn ctrl_c_clears_the_line_or_stops_the_statement() {
    let folder = folder();
    let terminal = open(folder.path());
    terminal.press(&format!("SELECT 'half{ENTER}a statement"));
    terminal.last_line("a statement");
    terminal.press(CTRL_C);
    terminal.prompt();
    const ENDLESS: &str = "WITH v AS (SELECT unnest(range(1, 3001)) AS n) SELECT max(a.n % b.n + c.n % d.n) AS s \
                           FROM v a, v b, v c, v d;";
    terminal.press(&format!("SELECT 1 AS begun; {ENDLESS}{ENTER}"));
    terminal.until("the first one's result", |screen| screen.contains("(1 row)"));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    terminal.press(CTRL_C);
    terminal.until("error", |screen| screen.contains("error[cancelled]: "));
    terminal.prompt();
    line(&terminal, "SELECT 40 + 2 AS answer;");
    let screen = terminal.screen();
    assert!(screen.ends_with(" answer\n--------\n     42\n(1 row)\nicecap>"), "{screen}");
}

#[test]
fn arrow_up_brings_back_earlier_statements_also_of_earlier_sessions() {
    let folder = folder();
    let terminal = open(folder.path());
    line(&terminal, "SELECT 1 AS one;");
    line(&terminal, " SELECT 'secret' AS hidden;");
    terminal.press(&format!("SELECT 2{ENTER}AS two;{ENTER}"));
    terminal.until("result", |screen| screen.ends_with(" two\n-----\n   2\n(1 row)\nicecap>"));
    terminal.press(UP);
    terminal.until("statement of two lines", |screen| screen.ends_with("icecap> SELECT 2\nAS two;"));
    terminal.press(&format!("{UP}{UP}"));
    terminal.last_line("icecap> SELECT 1 AS one;");
    leave(&terminal);
    assert!(terminal.end().0.success());

    let history = folder.path().join(".local/state/icecap/history");
    let text = std::fs::read_to_string(&history).unwrap();
    assert!(text.contains("SELECT 1 AS one;") && !text.contains("secret"), "{text}");
    let terminal = open(folder.path());
    terminal.press(UP);
    terminal.until("earlier session", |screen| screen.ends_with("icecap> SELECT 2\nAS two;"));
}

#[test]
fn a_history_that_cannot_be_kept_is_no_failure() {
    let folder = folder();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for path in ["file/below", ".", "/proc/none", ""] {
        let terminal = Terminal::start(folder.path(), &["sql"], &[("ICECAP_HISTORY", path)]);
        terminal.prompt();
        line(&terminal, "SELECT 7 AS seven;");
        terminal.press(UP);
        terminal.last_line("icecap> SELECT 7 AS seven;");
        leave(&terminal);
        assert!(terminal.end().0.success(), "{path}");
    }
    let wanted = folder.path().join("elsewhere");
    let terminal = Terminal::start(folder.path(), &["sql"], &[("ICECAP_HISTORY", wanted.to_str().unwrap())]);
    terminal.prompt();
    line(&terminal, "SELECT 7 AS seven;");
    assert!(std::fs::read_to_string(&wanted).unwrap().contains("SELECT 7 AS seven;"));
}

#[test]
fn help_and_unknown_commands_teach() {
    let folder = folder();
    let terminal = open(folder.path());
    line(&terminal, "\\d");
    assert!(terminal.screen().contains("there is no such command; \\? lists them"), "{}", terminal.screen());
    line(&terminal, "help");
    let screen = terminal.screen();
    assert!(
        screen.contains("Ctrl-C     stops the running statement") && screen.contains("\\q  quit"),
        "{screen}"
    );
    terminal.press(&format!("\\q{ENTER}"));
    assert!(terminal.end().0.success());
}

#[test]
fn without_colours_there_is_no_escape_for_them() {
    let folder = folder();
    let terminal = Terminal::start(folder.path(), &["sql"], &[("NO_COLOR", "1")]);
    terminal.prompt();
    line(&terminal, "SELEC 1;");
    let raw = terminal.raw();
    assert!(raw.contains("error[invalid]: "), "{raw}");
    assert!(!raw.contains("\x1b[1;3"), "{raw:?}");
}

#[test]
fn being_told_to_end_leaves_the_terminal_as_it_was() {
    let folder = folder();
    let terminal = open(folder.path());
    terminal.press("SELECT half");
    terminal.last_line("icecap> SELECT half");
    terminal.signal("-TERM");
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(1));
    assert!(screen.contains("error[cancelled]: stopped"), "{screen}");
}

#[test]
fn a_terminal_with_statements_given_opens_no_shell() {
    let folder = folder();
    let terminal = Terminal::start(folder.path(), &["sql", "-e", "SELECT 1 AS one"], &[]);
    let (status, screen) = terminal.end();
    assert!(status.success());
    assert_eq!(screen, " one\n-----\n   1\n(1 row)");
    let terminal = Terminal::start(folder.path(), &["sql", "--id", "t"], &[]);
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(1));
    assert!(screen.starts_with("error[invalid]: --id is for statements that are run again"), "{screen}");
}

#[test]
fn a_pipe_opens_no_shell() {
    let folder = folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_icecap"))
        .args(["sql", "--format", "csv"])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"SELECT 1 AS one").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "one\n1\n");
    assert!(!folder.path().join(".local").exists());
}

#[test]
fn arrow_bytes_are_not_sent_to_a_terminal() {
    let folder = folder();
    let terminal = Terminal::start(folder.path(), &["sql", "--format", "arrow", "-e", "SELECT 1"], &[]);
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(1));
    assert!(screen.starts_with("error[invalid]: --format arrow writes bytes for programs"), "{screen}");
}

/// Rows without end.
const ENDLESS_INSERT: &str = "CREATE TABLE t (n bigint); INSERT INTO t \
    SELECT a.n + b.n FROM (SELECT unnest(range(1, 3001)) AS n) a, (SELECT unnest(range(1, 1000001)) AS n) b";

#[test]
fn a_long_write_shows_how_far_it_is_and_leaves_no_trace_of_that() {
    let folder = folder();
    let terminal = Terminal::start(folder.path(), &["sql", "-e", ENDLESS_INSERT], &[]);
    terminal.until("progress", |screen| {
        let mut lines = screen.lines();
        let shown = lines.next() == Some("CREATE_TABLE default.t") && lines.next().is_some_and(is_progress);
        shown && lines.next().is_none()
    });
    terminal.press(CTRL_C);
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(1));
    assert!(screen.contains("error[cancelled]: "), "{screen}");
    assert!(!screen.contains("rows/s"), "{screen}");
}

/// Like `1.2M rows written, 240k rows/s, 0:05`, with some rows.
fn is_progress(line: &str) -> bool {
    let counted =
        line.split_once(" rows written, ").is_some_and(|(count, _)| count != "0" && !count.is_empty());
    counted && line.contains(" rows/s, 0:")
}
