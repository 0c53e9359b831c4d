//! One writer at a time: an advisory lock beside the store, which ends with its process.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::store::StoreError;
use crate::store::sqlite::paths::beside;

/// What the second line says once the store beside it is made.
const MADE: &str = "the store was made";

/// The right to write to one store.
pub struct WriterLock {
    file: File,
    /// There was a store here before, whatever became of it.
    pub was_made: bool,
}

impl WriterLock {
    /// Takes the lock beside `store`, and leaves word of who has it.
    ///
    /// # Errors
    /// `InUse` with the process that has it.
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

    /// The metadata of the locked file.
    ///
    /// # Errors
    /// When the metadata cannot be read.
    pub fn metadata(&self) -> std::io::Result<Metadata> {
        self.file.metadata()
    }

    /// Notes that there is a store now: should it be lost, that is not taken for a beginning.
    ///
    /// # Errors
    /// What the system says.
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
        // Closing the file is not enough: a process that is being spawned has it open until it runs its own program.
        let _ = self.file.unlock();
    }
}

fn holder(file: &mut File) -> String {
    lines(file).next().unwrap_or_else(|| "another process".to_owned())
}

fn lines(file: &mut File) -> impl Iterator<Item = String> {
    let mut text = String::new();
    // Without its words the lock still holds.
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
