//! Whether the open store is still the one at its path.
//!
//! SQLite goes on writing to a file that was removed or replaced, and every commit succeeds. So a commit counts only
//! when the files are still in their places behind it.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::lock::WriterLock;

/// What happened to the files of the open store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Removed,
    /// Another file is at its path.
    Replaced,
    /// Another database was copied over its file.
    Overwritten,
    /// The write-ahead log beside it was removed or replaced.
    Log,
    /// The file with the writer's lock was removed or replaced.
    Lock,
}

impl Change {
    /// What happened, and what to do.
    pub fn words(self) -> (&'static str, &'static str) {
        let again =
            "start needledrop again, which loads what this store does not know; a daemon does so by itself";
        match self {
            Self::Removed => (
                "its file was removed while it was open",
                "put it back; or start needledrop again, which makes a new store and loads the inbox into it",
            ),
            Self::Replaced => ("another file took its place while it was open", again),
            Self::Overwritten => ("another database was copied over its file while it was open", again),
            Self::Log => ("its log (-wal, -shm) was removed while it was open", again),
            Self::Lock => ("its lock file (-writer) was removed while it was open", again),
        }
    }
}

/// A file, whatever its name.
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

/// A path and the file that it led to.
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
    /// The log, then its index. A file system without shared memory has neither.
    log: Vec<Named>,
    lock: Named,
    /// Held until the connections are closed.
    _lock: WriterLock,
    /// Must live longer than the connections: closing a file gives up all locks that the process has on it.
    file: File,
    header: Mutex<Header>,
}

impl Place {
    /// The files of a store that was opened at `path`.
    ///
    /// # Errors
    /// What the system says about one of them.
    pub fn of(path: &Path, writer: WriterLock) -> io::Result<Self> {
        let file = File::open(path)?;
        let header = Header::of(&file)?;
        let store = Named(path.to_owned(), Identity::of(&file.metadata()?));
        // SQLite puts them beside the file, not beside a link to it.
        let real = path.canonicalize()?;
        let log = ["-wal", "-shm"].into_iter().filter_map(|end| Named::at(beside(&real, end))).collect();
        let lock = Named(beside(path, "-writer"), Identity::of(&writer.metadata()?));
        Ok(Self { store, log, lock, _lock: writer, file, header: Mutex::new(header) })
    }

    /// Compares the files with those that were opened.
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
            // A disk that fails is for SQLite to tell.
            Err(error) => error.kind() == ErrorKind::UnexpectedEof,
        }
    }

    /// Leaves nothing behind that would damage the file which is at the path now, or comes back to it.
    pub fn leave(&self, connection: &Connection, change: Change) {
        let left = match change {
            // The log goes into the file that it belongs to, wherever that is.
            Change::Removed | Change::Replaced | Change::Log => connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                .map_err(io::Error::other),
            Change::Overwritten => self.put_log_aside(connection),
            Change::Lock => Ok(()),
        };
        left.unwrap_or_else(|error| tracing::warn!("{}: its log is left: {error}", self.store.0.display()));
    }

    /// The log belongs to the database that was overwritten.
    fn put_log_aside(&self, connection: &Connection) -> io::Result<()> {
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(io::Error::other)?;
        let mut log = self.log.iter().filter(|log| log.is_there());
        if let Some(Named(log, _)) = log.next() {
            std::fs::rename(log, beside(log, "-of-overwritten"))?;
        }
        // It is made from the log.
        log.try_for_each(|Named(index, _)| std::fs::remove_file(index))
    }
}

/// A name beside that of the store.
pub fn beside(store: &Path, end: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// What the beginning of a database file tells of it.
struct Header {
    /// Format, page size, user version and application.
    kind: Vec<u8>,
    /// The change counter and the number of pages: neither goes back, nor does VACUUM make them do so together.
    age: (u32, u32),
}

impl Header {
    fn of(file: &File) -> io::Result<Self> {
        let mut bytes = [0; 72];
        file.read_exact_at(&mut bytes, 0)?;
        let number = |at: usize| bytes[at..at + 4].iter().fold(0, |all, byte| (all << 8) | u32::from(*byte));
        Ok(Self { kind: [&bytes[..18], &bytes[60..]].concat(), age: (number(24), number(28)) })
    }

    /// Whether this can be the same database at a later time.
    fn follows(&self, earlier: &Self) -> bool {
        self.kind == earlier.kind && self.age >= earlier.age
    }
}
