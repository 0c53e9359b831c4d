//! An open file of a folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use rustix::fs::OFlags;
use tokio::io::AsyncRead;

use crate::domain::FileStat;
use crate::source::SourceFile;
use crate::source::folder::{hooks, open_writers};

/// The number of bytes that a reader requests from the file at a time. Each request costs two thread switches.
const READ: usize = 256 * 1024;

/// An open file. It stays the same file even if its name belongs to another file by now.
#[derive(Debug)]
pub struct FolderFile {
    file: Arc<File>,
    /// The size and times when the file was opened, or when it was last checked for changes.
    noted: FileStat,
}

impl FolderFile {
    /// Opens the file at its beginning.
    ///
    /// # Errors
    /// Returns an error if the path cannot be opened or is not a file.
    pub async fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(path, 0).await
    }

    /// Opens the file at an offset.
    ///
    /// # Errors
    /// Returns an error if the path cannot be opened or is not a file.
    pub async fn open_at(path: &Path, offset: u64) -> io::Result<Self> {
        let path = path.to_owned();
        off_thread(move || {
            let (mut file, noted) = opened(&path)?;
            file.seek(io::SeekFrom::Start(offset))?;
            Ok(Self { file: Arc::new(file), noted })
        })
        .await
    }

    /// Returns the current path of the open file, wherever its name leads by now.
    ///
    /// # Errors
    /// Returns an error if the link in `/proc` cannot be read.
    pub fn real_place(&self) -> io::Result<PathBuf> {
        std::fs::read_link(self.descriptor())
    }

    fn descriptor(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

impl SourceFile for FolderFile {
    fn noted(&self) -> FileStat {
        self.noted
    }

    fn note(&mut self, now: FileStat) {
        self.noted = now;
    }

    async fn look(&self) -> io::Result<FileStat> {
        let file = Arc::clone(&self.file);
        off_thread(move || Ok(note(&file.metadata()?))).await
    }

    async fn has_writer(&self) -> bool {
        let file = Arc::clone(&self.file);
        let seen = off_thread(move || Ok(open_writers::has_writer(&file.metadata()?))).await;
        seen.unwrap_or(false)
    }

    async fn had_writer(&self) -> bool {
        let file = Arc::clone(&self.file);
        let seen = off_thread(move || Ok(open_writers::had_writer(&file.metadata()?))).await;
        seen.unwrap_or(false)
    }

    async fn again(&self) -> io::Result<Self> {
        Self::open(&self.descriptor()).await
    }

    fn position(&self) -> u64 {
        rustix::fs::tell(&self.file).unwrap_or(0)
    }

    async fn at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = Arc::clone(&self.file);
        off_thread(move || {
            let mut bytes = vec![0; len];
            let mut read = 0;
            while read < len {
                match file.read_at(&mut bytes[read..], offset + read as u64) {
                    Ok(0) => break,
                    Ok(more) => read += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(read);
            Ok(bytes)
        })
        .await
    }

    async fn read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        let (file, mut bytes) = (Arc::clone(&self.file), std::mem::take(into));
        let (read, bytes) = off_thread(move || Ok((fill(&file, &mut bytes), bytes))).await?;
        *into = bytes;
        read
    }

    fn reader(&self) -> io::Result<Pin<Box<dyn AsyncRead + Send + Sync>>> {
        let mut file = tokio::fs::File::from_std(self.file.try_clone()?);
        file.set_max_buf_size(READ);
        Ok(Box::pin(file))
    }
}

/// Opens without blocking: since the last check the file may have been replaced by a pipe that nobody writes to.
fn opened(path: &Path) -> io::Result<(File, FileStat)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok((file, note(&meta)))
}

/// Runs work that may wait for the disk on a separate thread, so that it blocks no task.
///
/// # Errors
/// Returns the error of `work`, or an error if `work` panics.
pub async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Reads once into the spare capacity, without clearing it first.
fn fill(file: &File, into: &mut Vec<u8>) -> io::Result<usize> {
    hooks::read()?;
    loop {
        match rustix::io::read(file, rustix::buffer::spare_capacity(into)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Returns the size and times of a file.
pub fn note(meta: &std::fs::Metadata) -> FileStat {
    use std::os::unix::fs::MetadataExt;
    FileStat {
        size: meta.len(),
        mtime: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
        ctime: meta.ctime() * 1_000_000_000 + meta.ctime_nsec(),
    }
}
