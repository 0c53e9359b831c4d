//! Allows one writer at a time, by an advisory lock on a file beside the store. The lock ends with its process.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::store::StoreError;
use crate::store::sqlite::paths::beside;

/// The second line of the lock file after the store was created.
const MADE: &str = "the store was made";

/// The right to write to one store.
pub struct WriterLock {
    file: File,
    /// Whether a store was ever created here, even if it no longer exists.
    pub was_made: bool,
}

impl WriterLock {
    /// Takes the lock beside `store`, and writes into the lock file which process holds it.
    ///
    /// # Errors
    /// Returns `InUse` if another process holds the lock, or `System` if the lock file cannot be opened or written.
    pub fn take(store: &Path) -> Result<Self, StoreError> {
        let path = beside(store, "-writer");
        let name = store.display().to_string();
        let system = |error: std::io::Error| StoreError::System {
            store: name.clone(),
            what: format!("{}: {error}", path.display()),
            next: "make the folder writable for this user".to_owned(),
        };
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(system)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { holder: holder(&mut file), store: name });
            }
            Err(TryLockError::Error(error)) => return Err(system(error)),
        }
        let was_made = lines(&mut file).nth(1).is_some_and(|line| line == MADE);
        sign(&mut file, was_made).map_err(system)?;
        Ok(Self { file, was_made })
    }

    /// Returns the metadata of the lock file.
    ///
    /// # Errors
    /// Returns an error if the metadata cannot be read.
    pub fn metadata(&self) -> std::io::Result<Metadata> {
        self.file.metadata()
    }

    /// Writes into the lock file that the store was created. If the store is lost later, the next start can report the
    /// loss instead of treating it as a first start.
    ///
    /// # Errors
    /// Returns an error if the lock file cannot be written.
    pub fn made(&mut self) -> std::io::Result<()> {
        if !self.was_made {
            sign(&mut self.file, true)?;
            self.was_made = true;
        }
        Ok(())
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that is being spawned keeps it open until it executes its
        // program.
        let _ = self.file.unlock();
    }
}

fn holder(file: &mut File) -> String {
    lines(file).next().unwrap_or_else(|| "another process".to_owned())
}

fn lines(file: &mut File) -> impl Iterator<Item = String> {
    let mut text = String::new();
    // The lock is valid even if its text cannot be read.
    let _ = file.read_to_string(&mut text);
    text.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect::<Vec<_>>().into_iter()
}

fn sign(file: &mut File, made: bool) -> std::io::Result<()> {
    let command: Vec<String> = std::env::args().take(4).collect();
    file.set_len(0)?;
    file.rewind()?;
    let made = if made { MADE } else { "" };
    write!(file, "process {} ({})\n{made}\n", std::process::id(), command.join(" "))
}
