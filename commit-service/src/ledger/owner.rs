//! Whether the process that runs a write still lives.
//!
//! Each process that begins a write holds a lock on a file of its own, in a folder beside the catalog, for as
//! long as it lives; the ledger row names the file. The operating system frees the lock however the process
//! ends, so a successor sees the death at once, also across containers that share the disk, and a reused
//! process id cannot mislead it. Where locks do not work, heartbeats alone decide.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// How many files of the dead one process clears away when it makes its own.
const SWEEP_LIMIT: usize = 64;

/// The folder of lock files, and this process's own.
#[derive(Debug)]
pub(crate) struct OwnerLocks {
    folder: PathBuf,
    mine: Mutex<Option<OwnLock>>,
}

/// What a lock file says of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Alive,
    Dead,
    Unknown,
}

#[derive(Debug)]
struct OwnLock {
    name: String,
    path: PathBuf,
    _locked: File,
}

impl Drop for OwnLock {
    fn drop(&mut self) {
        // A file left behind is harmless: the next process sweeps it.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl OwnerLocks {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, mine: Mutex::new(None) }
    }

    /// The name of this process's lock file, made at the first call; `None` where that does not work.
    pub(crate) fn mine(&self, now_ms: i64) -> Option<String> {
        let mut mine = self.mine.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if mine.is_none() {
            match make(&self.folder, now_ms) {
                Ok(made) => {
                    *mine = Some(made);
                    sweep(&self.folder);
                }
                Err(error) => {
                    tracing::debug!(folder = %self.folder.display(), %error, "no owner lock, heartbeats decide");
                }
            }
        }
        mine.as_ref().map(|own| own.name.clone())
    }

    /// What the lock file `name` of a ledger row says.
    pub(crate) fn life(&self, name: &str) -> Life {
        let mine = self.mine.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if mine.as_ref().is_some_and(|own| own.name == name) {
            return Life::Alive;
        }
        // The name comes from a file that others write too: it must not lead out of the folder.
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Life::Unknown;
        }
        probe(&self.folder.join(name))
    }
}

fn make(folder: &Path, now_ms: i64) -> std::io::Result<OwnLock> {
    std::fs::create_dir_all(folder)?;
    let process = std::process::id();
    let mut number = 0_u32;
    loop {
        let name = format!("{}-{process}-{number}", now_ms.max(0));
        // Locked under another name first: a sweep can never meet it unlocked under its own.
        let early = folder.join(format!("{name}.new"));
        match OpenOptions::new().write(true).create_new(true).open(&early) {
            Ok(file) => {
                let path = folder.join(&name);
                let locked = file.try_lock().map_err(std::io::Error::from);
                // A link, because a rename would replace the file of another catalog opened by this process.
                let linked = locked.and_then(|()| std::fs::hard_link(&early, &path));
                let _ = std::fs::remove_file(&early);
                match linked {
                    Ok(()) => return Ok(OwnLock { name, path, _locked: file }),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists && number < 10_000 => number += 1,
                    Err(error) => return Err(error),
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < 10_000 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

fn probe(path: &Path) -> Life {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Life::Dead,
        Err(_) => return Life::Unknown,
    };
    // Shared, so that two who ask at once do not take each other for the owner.
    match file.try_lock_shared() {
        Ok(()) => Life::Dead,
        Err(TryLockError::WouldBlock) => Life::Alive,
        Err(TryLockError::Error(_)) => Life::Unknown,
    }
}

fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.take(SWEEP_LIMIT).flatten() {
        let path = entry.path();
        if path.extension().is_none() && probe(&path) == Life::Dead {
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_alive_while_it_holds_its_lock_and_dead_at_once_after() {
        let folder = tempfile::tempdir().unwrap();
        let ours = OwnerLocks::new(folder.path().join("owners"));
        let theirs = OwnerLocks::new(folder.path().join("owners"));
        let name = theirs.mine(5).unwrap();
        assert_eq!(theirs.mine(9).unwrap(), name);
        assert_ne!(ours.mine(5).unwrap(), name);
        assert_eq!(ours.life(&name), Life::Alive);
        assert_eq!(theirs.life(&name), Life::Alive);
        drop(theirs);
        assert_eq!(ours.life(&name), Life::Dead);
    }

    #[test]
    fn a_crashed_owners_file_is_dead_and_swept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1-1-0"), b"").unwrap();
        let ours = OwnerLocks::new(folder.path().to_owned());
        assert_eq!(ours.life("1-1-0"), Life::Dead);
        let name = ours.mine(7).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, [std::ffi::OsString::from(name)]);
    }

    #[test]
    fn a_name_never_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let ours = OwnerLocks::new(folder.path().join("owners"));
        for name in ["", "../catalog.db", "/etc/passwd", "a"] {
            assert_eq!(ours.life(name), Life::Unknown);
        }
    }
}
