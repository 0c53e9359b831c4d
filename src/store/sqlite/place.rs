//! Checks that the path still leads to the store that is open.
//!
//! SQLite keeps writing to a file that was removed or replaced, and every commit succeeds. Therefore a commit counts
//! only if the files are still in place after it.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::lock::WriterLock;
use crate::store::sqlite::paths::beside;

/// What happened to the files of the open store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Removed,
    /// Another file is at the path of the store.
    Replaced,
    /// Another database was copied over the open file.
    Overwritten,
    /// The write-ahead log (or its index) was removed or replaced.
    Log,
    /// The file with the writer's lock was removed or replaced.
    Lock,
}

impl Change {
    /// Returns a text for what happened, and a text for what to do about it.
    pub fn describe(self) -> (&'static str, &'static str) {
        let again =
            "start needledrop again: it loads the files that this store lacks; a daemon does this by itself";
        match self {
            Self::Removed => (
                "its file was removed while it was open",
                "put it back, or start needledrop again: it creates a new store and loads the inbox into it",
            ),
            Self::Replaced => ("another file took its place while it was open", again),
            Self::Overwritten => ("another database was copied over its file while it was open", again),
            Self::Log => ("its log (-wal, -shm) was removed while it was open", again),
            Self::Lock => ("its lock file (-writer) was removed while it was open", again),
        }
    }
}

/// Identifies a file independently of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// A path and the file that was found there.
struct Named(PathBuf, Identity);

impl Named {
    fn at(path: PathBuf) -> Option<Self> {
        let meta = path.metadata().ok()?;
        Some(Self(path, Identity::of(&meta)))
    }

    fn is_there(&self) -> bool {
        self.0.metadata().is_ok_and(|meta| Identity::of(&meta) == self.1)
    }
}

/// The files of a store as they were when it was opened.
pub struct Place {
    store: Named,
    /// The `-wal` file, then the `-shm` file. Both are missing on a file system without shared memory.
    log: Vec<Named>,
    lock: Named,
    /// The writer's lock, which is held until the connections are closed.
    _lock: WriterLock,
    /// A descriptor of the store's file. It must outlive the connections, because closing any descriptor of a file
    /// releases all locks that the process has on it.
    file: File,
    header: Mutex<Header>,
}

impl Place {
    /// Records the files of the store that was opened at `path`.
    ///
    /// # Errors
    /// Returns an error if one of the files cannot be read.
    pub fn of(path: &Path, writer: WriterLock) -> io::Result<Self> {
        let file = File::open(path)?;
        let header = Header::of(&file)?;
        let store = Named(path.to_owned(), Identity::of(&file.metadata()?));
        // If `path` is a link, SQLite puts these files next to the target of the link.
        let real = path.canonicalize()?;
        let log = ["-wal", "-shm"].into_iter().filter_map(|end| Named::at(beside(&real, end))).collect();
        let lock = Named(beside(path, "-writer"), Identity::of(&writer.metadata()?));
        Ok(Self { store, log, lock, _lock: writer, file, header: Mutex::new(header) })
    }

    /// Checks that the files are still those that were opened.
    pub fn check(&self) -> Result<(), Change> {
        if !self.store.is_there() {
            let is_gone = self.store.0.metadata().is_err();
            return Err(if is_gone { Change::Removed } else { Change::Replaced });
        }
        if self.is_overwritten() {
            return Err(Change::Overwritten);
        }
        if !self.log.iter().all(Named::is_there) {
            return Err(Change::Log);
        }
        if self.lock.is_there() { Ok(()) } else { Err(Change::Lock) }
    }

    fn is_overwritten(&self) -> bool {
        let mut last = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        match Header::of(&self.file) {
            Ok(now) if now.follows(&last) => {
                *last = now;
                false
            }
            Ok(_) => true,
            // SQLite reports a failing disk itself. An early end means that the file was overwritten.
            Err(error) => error.kind() == ErrorKind::UnexpectedEof,
        }
    }

    /// Cleans up, so that no remaining log can damage the file that is at the path now or is put back there later.
    pub fn leave(&self, connection: &Connection, change: Change) {
        let left = match change {
            // The log is written into the file that it belongs to, even if that file was moved.
            Change::Removed | Change::Replaced | Change::Log => connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                .map_err(io::Error::other),
            Change::Overwritten => self.put_log_aside(connection),
            Change::Lock => Ok(()),
        };
        left.unwrap_or_else(|error| {
            tracing::warn!("{}: its log cannot be cleaned up: {error}", self.store.0.display())
        });
    }

    /// Renames the log, because it belongs to the database that was overwritten.
    fn put_log_aside(&self, connection: &Connection) -> io::Result<()> {
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(io::Error::other)?;
        let mut log = self.log.iter().filter(|log| log.is_there());
        if let Some(Named(log, _)) = log.next() {
            std::fs::rename(log, beside(log, "-of-overwritten"))?;
        }
        // SQLite can rebuild the index from the log.
        log.try_for_each(|Named(index, _)| std::fs::remove_file(index))
    }
}

/// The parts of the header of a database file that identify the database and its age.
struct Header {
    /// Format, page size, user version and application.
    kind: Vec<u8>,
    /// The change counter and the number of pages, compared in this order. The pair never decreases: VACUUM may lower
    /// the number of pages, but it raises the change counter.
    age: (u32, u32),
}

impl Header {
    fn of(file: &File) -> io::Result<Self> {
        let mut bytes = [0; 72];
        file.read_exact_at(&mut bytes, 0)?;
        let number = |at: usize| bytes[at..at + 4].iter().fold(0, |all, byte| (all << 8) | u32::from(*byte));
        Ok(Self { kind: [&bytes[..18], &bytes[60..]].concat(), age: (number(24), number(28)) })
    }

    /// Whether this can be a later state of the same database.
    fn follows(&self, earlier: &Self) -> bool {
        self.kind == earlier.kind && self.age >= earlier.age
    }
}
