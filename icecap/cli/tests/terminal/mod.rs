//! A person at a terminal: keys go to the command through a pseudo-terminal, and what it shows is read from the
//! screen that a terminal would draw.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty};

/// The screen's size.
pub const ROWS: u16 = 30;
/// The screen's width.
pub const COLUMNS: u16 = 100;

/// How long something may take to appear: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

pub const TAB: &str = "\t";
pub const ENTER: &str = "\r";
pub const UP: &str = "\x1b[A";
pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";

pub struct Terminal {
    pty: Arc<Pty>,
    screen: Arc<Mutex<vt100::Parser>>,
    raw: Arc<Mutex<Vec<u8>>>,
    child: Child,
    /// Ends when the other side is closed and all is read.
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts the command in `folder`, which is its home too.
    pub fn start(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(Size::new(ROWS, COLUMNS)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_icecap")).args(args).current_dir(folder);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("ICECAP_") || name.starts_with("XDG_")) {
                command = command.env_remove(name);
            }
        }
        command = command.env("TERM", "xterm-256color").env("HOME", folder).env_remove("NO_COLOR");
        let child = command.envs(variables.iter().copied()).spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(ROWS), size(COLUMNS), 0)));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let (source, shown, kept) = (Arc::clone(&pty), Arc::clone(&screen), Arc::clone(&raw));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                match (&*source).read(&mut bytes) {
                    // Linux says EIO when the other side is closed.
                    Ok(0) => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                    Ok(count) => {
                        kept.lock().unwrap().extend_from_slice(&bytes[..count]);
                        shown.lock().unwrap().process(&bytes[..count]);
                    }
                }
            }
        });
        Self { pty, screen, raw, child, reader }
    }

    /// Presses keys.
    pub fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// What the screen shows, without blank lines at its end.
    pub fn screen(&self) -> String {
        let screen = self.screen.lock().unwrap();
        let rows: Vec<String> =
            screen.screen().rows(0, COLUMNS).map(|row| row.trim_end().to_owned()).collect();
        rows.join("\n").trim_end().to_owned()
    }

    /// Every byte that came.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw.lock().unwrap()).into_owned()
    }

    /// Waits until the screen satisfies `wanted`.
    #[track_caller]
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(started.elapsed() < PATIENCE, "no {what} on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the screen shows exactly these lines.
    #[track_caller]
    pub fn shows(&self, lines: &[&str]) {
        let wanted = lines.join("\n");
        let started = Instant::now();
        while self.screen() != wanted {
            if started.elapsed() > PATIENCE {
                assert_eq!(self.screen(), wanted);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a last line.
    #[track_caller]
    pub fn last_line(&self, line: &str) -> String {
        self.until(line, |screen| screen.lines().last() == Some(line))
    }

    /// Waits for an empty prompt.
    #[track_caller]
    pub fn prompt(&self) -> String {
        self.last_line("icecap>")
    }

    /// Sends a signal to the process.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits for the command to end.
    pub fn end(mut self) -> (ExitStatus, String) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it said last may still be on its way.
                while !self.reader.is_finished() && started.elapsed() < PATIENCE {
                    std::thread::sleep(Duration::from_millis(10));
                }
                return (status, self.screen());
            }
            assert!(started.elapsed() < PATIENCE, "still running:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(length: u16) -> std::num::NonZero<u16> {
    std::num::NonZero::new(length).unwrap()
}
