//! Checks that a kept file is still divided into the records that the ledger has. Stamps and quarantine entries belong to
//! records by their numbers, which change with `source.format` and `limits.max_record_bytes`.

use std::collections::{HashMap, VecDeque};

use crate::domain::quarantine::EntryFilter;
use crate::domain::{Delivery, RawChunk};
use crate::jobs::locate::KeptFiles;
use crate::pipeline::archived_reader::ArchivedReader;
use crate::pipeline::prefix_check::KeptFileError;
use crate::source::Source;
use crate::store::backoff::Backoff;
use crate::store::listing::Entries;
use crate::store::{Store, StoreError};

/// Reads the file of a delivery up to the end of what was loaded.
///
/// # Errors
/// Returns an error if the store does not answer. The inner error says that the file cannot be read, or that it has other
/// records.
pub async fn check<S: Store, I: Source>(
    (store, backoff): (&S, &Backoff),
    find: &KeptFiles<I>,
    delivery: &Delivery,
) -> Result<Result<(), KeptFileError>, StoreError> {
    let beginning = match find.beginning(delivery).await {
        Ok(beginning) => beginning,
        Err(why) => return Ok(Err(why)),
    };
    let until = Some(delivery.end_of_records());
    let mut kept = ArchivedReader::unstamped(beginning, (&delivery.file, None), until)
        .with_window_bytes(find.window_bytes);
    let mut entries = Refused {
        entries: Entries::patiently(store, backoff, delivery.id, EntryFilter::default()),
        page: VecDeque::new(),
    };
    let mut records = 0;
    loop {
        match kept.next().await {
            Ok(Some(chunk)) if entries.are_in(&chunk).await? => records = chunk.span.to.record,
            Ok(None) if records == delivery.reach.record => return Ok(Ok(())),
            Ok(_) => return Ok(Err(KeptFileError::OtherRecords)),
            Err(error) => return Ok(Err(error.into())),
        }
    }
}

/// The entries in quarantine that were not compared yet.
struct Refused<'s, S> {
    entries: Entries<'s, S>,
    /// The number of each record, and its offset.
    page: VecDeque<(u64, u64)>,
}

impl<S: Store> Refused<'_, S> {
    /// Whether the entries of records in this chunk begin where its records begin.
    async fn are_in(&mut self, chunk: &RawChunk) -> Result<bool, StoreError> {
        let frames = chunk.frames.iter().map(|frame| (frame.record, frame.offset));
        let refused = chunk.refused.iter().map(|entry| (entry.record, entry.offset));
        let offsets: HashMap<u64, u64> = frames.chain(refused).collect();
        loop {
            while let Some((record, offset)) = self.page.front() {
                match offsets.get(record) {
                    _ if *record >= chunk.span.to.record => return Ok(true),
                    Some(found) if found == offset => _ = self.page.pop_front(),
                    _ => return Ok(false),
                }
            }
            let Some(page) = self.entries.page().await? else { return Ok(true) };
            self.page.extend(page.iter().map(|entry| (entry.record.record, entry.record.offset)));
        }
    }
}
