//! Makes the rows of a delivery again from a kept file, under the stamps that its records already have.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::domain::quarantine::{EntryFilter, Fate};
use crate::domain::{Delivery, DeliveryId, RowChunk, path};
use crate::jobs::locate::KeptFiles;
use crate::jobs::same_records;
use crate::pipeline::archived_reader::ArchivedReader;
use crate::pipeline::prefix_check::KeptFileError;
use crate::pipeline::row_builder::RowBuilder;
use crate::source::Source;
use crate::store::backoff::Backoff;
use crate::store::listing::Entries;
use crate::store::{Store, StoreError};

/// The loaded records of a delivery, as rows under the current configuration.
pub struct LoadedRows<'s, S, I: Source> {
    store: (&'s S, &'s Backoff),
    id: DeliveryId,
    kept: ArchivedReader<I::File>,
    transform: RowBuilder,
    /// Whether some records are or were in quarantine.
    has_entries: bool,
}

/// A chunk of loaded records.
pub struct LoadedChunk {
    pub rows: RowChunk,
    /// The number of records that were left out, because they were refused and not replayed. They are in no table.
    pub left_out: u64,
}

impl<'s, S: Store, I: Source> LoadedRows<'s, S, I> {
    /// Opens a kept file of the delivery.
    ///
    /// # Errors
    /// Returns an error if the store does not answer. The inner error says that no kept file with the bytes and the records
    /// that were loaded can be read.
    pub async fn open(
        store: (&'s S, &'s Backoff),
        find: &KeptFiles<I>,
        delivery: &Delivery,
    ) -> Result<Result<Self, KeptFileError>, StoreError> {
        let beginning = match find.beginning(delivery).await {
            Ok(beginning) => beginning,
            Err(why) => return Ok(Err(why)),
        };
        let has_entries = delivery.receipt.quarantined + delivery.receipt.replayed > 0;
        if has_entries || delivery.fingerprint != find.plan.fingerprint {
            let same = same_records::check(store, find, delivery).await?;
            if let Err(why) = same {
                return Ok(Err(why));
            }
        }
        let (id, file, until) = (delivery.id, &delivery.file, delivery.end_of_records());
        let file_date = match path::check(&find.plan, file.path()) {
            Ok(file_date) => file_date,
            Err(why) => return Ok(Err(why.into())),
        };
        let named = (file, file_date);
        let kept = ArchivedReader::new(beginning, id, named, delivery.stamps.clone(), Some(until))
            .with_window_bytes(find.window_bytes);
        let transform = RowBuilder::new(Arc::clone(&find.plan), Arc::default());
        Ok(Ok(Self { store, id, kept, transform, has_entries }))
    }

    /// Returns the next chunk, or `None` after the last one. The last chunk has an end.
    ///
    /// # Errors
    /// Returns an error if the store does not answer. The inner error says that the file cannot be read.
    pub async fn next(&mut self) -> Result<Result<Option<LoadedChunk>, KeptFileError>, StoreError> {
        let mut raw = match self.kept.next().await {
            Ok(Some(raw)) => raw,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error.into())),
        };
        let left_out = match self.has_entries {
            true => raw.leave_out(&self.refused(raw.span.from.record..raw.span.to.record).await?),
            false => 0,
        };
        let rows = self.transform.chunk(raw).await;
        Ok(Ok(Some(LoadedChunk { rows, left_out })))
    }

    /// Returns the numbers of the records in this range that were refused and not replayed. They are in no table.
    async fn refused(&self, records: Range<u64>) -> Result<HashSet<u64>, StoreError> {
        let (store, backoff) = self.store;
        let entries = Entries::patiently(store, backoff, self.id, EntryFilter::default());
        let (mut entries, mut never) = (entries.from(records.start), HashSet::new());
        while let Some(page) = entries.page().await? {
            let in_range = page.iter().take_while(|entry| entry.record.record < records.end);
            let refused = in_range.filter(|entry| entry.fate != Fate::Replayed);
            never.extend(refused.map(|entry| entry.record.record));
            if page.last().is_some_and(|last| last.record.record >= records.end) {
                break;
            }
        }
        Ok(never)
    }
}
