//! Reads complete records from their file, for records whose beginning alone is in quarantine.

use std::io;

use crate::domain::{Delivery, Quarantined};
use crate::format::decoded::Decoded;
use crate::jobs::locate::KeptFiles;
use crate::jobs::replay::untried::UntriedError;
use crate::pipeline::byte_source;
use crate::pipeline::header_probe::read_or_end;
use crate::pipeline::prefix_check::KeptFileError;
use crate::source::{Source, SourceFile};

/// Reads records of one delivery in order.
pub struct FullRecords<I: Source> {
    find: KeptFiles<I>,
    delivery: Delivery,
    opened: Opened<I::File>,
}

/// The file, once its bytes were compared with what was loaded.
enum Opened<F> {
    NotYet,
    Open(Box<Bytes<F>>),
    Unreadable,
}

struct Bytes<F> {
    source: Decoded<F>,
    read: Vec<u8>,
    /// The number of decoded bytes before `read`.
    before: u64,
}

impl<I: Source> FullRecords<I> {
    pub fn new(find: KeptFiles<I>, delivery: Delivery) -> Self {
        Self { find, delivery, opened: Opened::NotYet }
    }

    /// Reads the bytes of a record. Records must be read in the order of their offsets.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or has other bytes. If the file cannot be opened, only the first
    /// error contains the cause.
    pub async fn record(&mut self, record: &Quarantined) -> Result<Vec<u8>, UntriedError> {
        if matches!(self.opened, Opened::NotYet) {
            self.opened = Opened::Unreadable;
            self.opened = Opened::Open(Box::new(self.open().await.map_err(UntriedError::NoFile)?));
        }
        let Opened::Open(bytes) = &mut self.opened else { return Err(UntriedError::NoFileBefore) };
        let cut = bytes.cut(record.offset, record.len).await;
        let cut = cut.map_err(|error| UntriedError::NoFile(error.into()))?;
        if cut.starts_with(&record.raw) {
            Ok(cut)
        } else {
            Err(UntriedError::NoFile(KeptFileError::OtherBytes))
        }
    }

    async fn open(&self) -> Result<Bytes<I::File>, KeptFileError> {
        let file = self.find.file(&self.delivery).await?;
        let source = byte_source::open(&self.find.inbox, &file, self.find.plan.encoding).await?;
        Ok(Bytes { source, read: Vec::new(), before: 0 })
    }
}

impl<F: SourceFile> Bytes<F> {
    /// Returns the bytes at this offset, or fewer if the file ends there.
    async fn cut(&mut self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        self.skip_to(offset).await?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        while self.read.len() < len && read_or_end(&mut self.source, &mut self.read).await? > 0 {}
        Ok(self.read.iter().take(len).copied().collect())
    }

    async fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        loop {
            let beyond = usize::try_from(offset.saturating_sub(self.before)).unwrap_or(usize::MAX);
            let gone = beyond.min(self.read.len());
            self.read.drain(..gone);
            self.before += gone as u64;
            if self.before >= offset || read_or_end(&mut self.source, &mut self.read).await? == 0 {
                return Ok(());
            }
        }
    }
}
