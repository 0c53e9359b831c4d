//! Records of which only the beginning is in quarantine, whole, from the file they came in.

use std::io;

use crate::domain::{Delivery, Quarantined};
use crate::pipeline::discover::opened::read_or_end;
use crate::pipeline::find::Find;
use crate::pipeline::read::source::ByteSource;

/// Reads records of one delivery in their order.
pub struct Whole {
    find: Find,
    delivery: Delivery,
    /// Opened, once its bytes are known to be those that were loaded, or why not.
    opened: Option<Result<Bytes, String>>,
}

struct Bytes {
    source: ByteSource,
    read: Vec<u8>,
    /// Decoded bytes before `read`.
    before: u64,
}

impl Whole {
    pub fn new(find: Find, delivery: Delivery) -> Self {
        Self { find, delivery, opened: None }
    }

    /// The bytes of a record that lies behind those asked for before.
    ///
    /// # Errors
    /// Why they cannot be had, in words.
    pub async fn record(&mut self, record: &Quarantined) -> Result<Vec<u8>, String> {
        if self.opened.is_none() {
            self.opened = Some(self.open().await);
        }
        let told = |why: &str| {
            format!("of long records only the beginning was kept, and the file cannot be read: {why}")
        };
        match &mut self.opened {
            Some(Ok(bytes)) => match bytes.cut(record.offset, record.len).await {
                Ok(cut) if cut.starts_with(&record.raw) => Ok(cut),
                Ok(_) => Err(told("its bytes are not those that were loaded")),
                Err(error) => Err(told(&error.to_string())),
            },
            Some(Err(why)) => Err(told(why)),
            None => Err(told("it was not opened")),
        }
    }

    async fn open(&self) -> Result<Bytes, String> {
        let place = self.find.place(&self.delivery).await?;
        let source = ByteSource::open(&place, self.find.plan.encoding).await;
        let source = source.map_err(|error| error.to_string())?;
        Ok(Bytes { source, read: Vec::new(), before: 0 })
    }
}

impl Bytes {
    /// These bytes of the file; fewer where it ends.
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
