//! One writer at a time: an advisory lock beside the store, which ends with its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::StoreError;

/// The right to write to one store.
pub struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Takes the lock beside `store`, and leaves word of who has it.
    ///
    /// # Errors
    /// `InUse` with the process that has it.
    pub fn take(store: &Path) -> Result<Self, StoreError> {
        let path = beside(store);
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
        sign(&mut file).map_err(system)?;
        Ok(Self { _file: file })
    }
}

fn beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push("-writer");
    PathBuf::from(name)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "another process".to_owned(),
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    let command: Vec<String> = std::env::args().take(4).collect();
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "process {} ({})", std::process::id(), command.join(" "))
}
