//! The writing half: temporary name, sync, final name, directory sync.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::{DiskSync, STORE, TEMPORARY_PREFIX, blocking, io_error};

/// What a write does when its name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfExists {
    Fail,
    Replace,
}

/// One object to write.
#[derive(Debug)]
pub(super) struct WriteJob {
    pub(super) sync: Arc<dyn DiskSync>,
    pub(super) sequence: Arc<AtomicU64>,
    pub(super) target: PathBuf,
    pub(super) if_exists: IfExists,
}

impl WriteJob {
    pub(super) fn directory(&self) -> &FsPath {
        self.target.parent().unwrap_or(FsPath::new("/"))
    }

    /// Writes a whole object under its name; its directory is still to be synced.
    pub(super) fn write(&self, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
        let (mut file, temporary) = self.create()?;
        fill(&mut file).map_err(|e| io_error(&temporary.0, e))?;
        self.finish(&file, temporary)
    }

    pub(super) fn sync_directory(&self) -> Result<()> {
        self.sync.sync_directory(self.directory()).map_err(|e| io_error(self.directory(), e))
    }

    /// Opens a new temporary file beside the target, making directories as needed.
    fn create(&self) -> Result<(File, Temporary)> {
        let process = std::process::id();
        loop {
            let number = self.sequence.fetch_add(1, Ordering::Relaxed);
            let path = self.directory().join(format!("{TEMPORARY_PREFIX}{process}-{number}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, Temporary(path))),
                // Left by a dead process of the same number, or made by one in another container.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.make_directory(self.directory())?,
                Err(e) => return Err(io_error(&path, e)),
            }
        }
    }

    /// Makes a directory and its missing parents; each new name is synced in its parent.
    fn make_directory(&self, directory: &FsPath) -> Result<()> {
        let Some(parent) = directory.parent() else { return Ok(()) };
        match fs::create_dir(directory) {
            Ok(()) => self.sync.sync_directory(parent).map_err(|e| io_error(parent, e)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.make_directory(parent)?;
                self.make_directory(directory)
            }
            Err(e) => Err(io_error(directory, e)),
        }
    }

    /// Syncs the file and gives it its name.
    fn finish(&self, file: &File, temporary: Temporary) -> Result<()> {
        self.sync.sync_file(file).map_err(|e| io_error(&temporary.0, e))?;
        match self.if_exists {
            IfExists::Replace => temporary.rename(&self.target),
            IfExists::Fail => match fs::hard_link(&temporary.0, &self.target) {
                Ok(()) => Ok(()),
                Err(e) if has_no_links(&e) => self.claim(temporary),
                Err(e) => Err(e),
            },
        }
        .map_err(|e| io_error(&self.target, e))
    }

    /// The way of file systems without hard links: the empty file claims the name, then it is replaced.
    fn claim(&self, temporary: Temporary) -> io::Result<()> {
        File::create_new(&self.target)?;
        temporary.rename(&self.target)
    }
}

fn has_no_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied | io::ErrorKind::TooManyLinks
    )
}

/// A temporary file's name; removed when this is dropped.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Temporary {
    fn rename(mut self, target: &FsPath) -> io::Result<()> {
        fs::rename(&self.0, target)?;
        self.0 = PathBuf::new();
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // A name that stays behind is recognisable; there is nobody to tell here.
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// An upload in parts. Parts are written at their offsets, in any order; dropping it removes the file.
#[derive(Debug)]
pub(super) struct Upload {
    job: Arc<WriteJob>,
    open: Option<(Arc<File>, Temporary)>,
    length: u64,
    /// Parts handed out and not yet written.
    missing: Arc<AtomicUsize>,
}

impl Upload {
    pub(super) fn start(job: WriteJob) -> Result<Self> {
        let (file, temporary) = job.create()?;
        let open = Some((Arc::new(file), temporary));
        Ok(Self { job: Arc::new(job), open, length: 0, missing: Arc::default() })
    }
}

fn over() -> Error {
    Error::Generic { store: STORE, source: "the upload is completed or aborted already".into() }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some((file, temporary)) = &self.open else { return Box::pin(async { Err(over()) }) };
        let (file, path, missing) = (Arc::clone(file), temporary.0.clone(), Arc::clone(&self.missing));
        let mut offset = self.length;
        self.length += data.content_length() as u64;
        missing.fetch_add(1, Ordering::AcqRel);
        Box::pin(blocking(move || {
            for chunk in &data {
                file.write_all_at(chunk, offset).map_err(|e| io_error(&path, e))?;
                offset += chunk.len() as u64;
            }
            missing.fetch_sub(1, Ordering::AcqRel);
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (file, temporary) = self.open.take().ok_or_else(over)?;
        if self.missing.load(Ordering::Acquire) != 0 {
            return Err(Error::Generic {
                store: STORE,
                source: "a part of the upload was not written".into(),
            });
        }
        let job = Arc::clone(&self.job);
        blocking(move || {
            job.finish(&file, temporary)?;
            job.sync_directory()
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.open = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fsync;
    use super::*;

    /// What happens on a file system without hard links.
    #[test]
    fn a_claimed_name_is_not_overwritten_either() {
        let folder = tempfile::tempdir().unwrap();
        let job = WriteJob {
            sync: Arc::new(Fsync),
            sequence: Arc::default(),
            target: folder.path().join("f"),
            if_exists: IfExists::Fail,
        };
        let claim = |content: &[u8]| {
            let (mut file, temporary) = job.create().unwrap();
            io::Write::write_all(&mut file, content).unwrap();
            job.claim(temporary)
        };
        claim(b"first").unwrap();
        assert_eq!(claim(b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&job.target).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for kind in [io::ErrorKind::Unsupported, io::ErrorKind::PermissionDenied, io::ErrorKind::TooManyLinks]
        {
            assert!(has_no_links(&kind.into()));
        }
        assert!(!has_no_links(&io::ErrorKind::AlreadyExists.into()));
    }
}
