//! An open file of a [`Memory`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::{Content, Memory, lock};
use crate::domain::FileStat;
use crate::source::SourceFile;

/// An open file of a [`Memory`].
#[derive(Debug)]
pub struct MemoryFile {
    memory: Memory,
    content: Content,
    noted: FileStat,
    position: Arc<AtomicU64>,
}

impl MemoryFile {
    pub(super) fn new(memory: Memory, content: Content, offset: u64) -> Self {
        let noted = lock(&content).1;
        Self { memory, content, noted, position: Arc::new(AtomicU64::new(offset)) }
    }
}

/// Returns up to `len` bytes from `offset` on.
fn part(content: &Content, offset: u64, len: usize) -> Vec<u8> {
    let from = usize::try_from(offset).unwrap();
    lock(content).0.iter().skip(from).take(len).copied().collect()
}

impl SourceFile for MemoryFile {
    fn noted(&self) -> FileStat {
        self.noted
    }

    fn note(&mut self, now: FileStat) {
        self.noted = now;
    }

    async fn look(&self) -> io::Result<FileStat> {
        drop(self.memory.works()?);
        Ok(lock(&self.content).1)
    }

    async fn had_writer(&self) -> bool {
        self.has_writer().await
    }

    async fn has_writer(&self) -> bool {
        false
    }

    async fn again(&self) -> io::Result<Self> {
        drop(self.memory.works()?);
        Ok(Self::new(self.memory.clone(), Arc::clone(&self.content), 0))
    }

    fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    async fn at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        drop(self.memory.works()?);
        Ok(part(&self.content, offset, len))
    }

    async fn read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        drop(self.memory.works()?);
        let read = part(&self.content, self.position(), into.capacity() - into.len());
        self.position.fetch_add(read.len() as u64, Ordering::Relaxed);
        into.extend_from_slice(&read);
        Ok(read.len())
    }

    fn reader(&self) -> io::Result<Pin<Box<dyn AsyncRead + Send + Sync>>> {
        drop(self.memory.works()?);
        Ok(Box::pin(Reader(Arc::clone(&self.content), Arc::clone(&self.position))))
    }
}

/// A reader of a file, with the position of the file.
struct Reader(Content, Arc<AtomicU64>);

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = part(&self.0, self.1.load(Ordering::Relaxed), into.remaining());
        self.1.fetch_add(read.len() as u64, Ordering::Relaxed);
        into.put_slice(&read);
        Poll::Ready(Ok(()))
    }
}
