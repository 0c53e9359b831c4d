//! Reads the events of files field by field for `export`. Only records that become rows are exported, and none that were
//! discarded in quarantine.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::domain::ledger::DeliveryFilter;
use crate::domain::quarantine::{EntryFilter, Fate};
use crate::domain::{Delivery, DeliveryState, FileKey, Origin, RawChunk};
use crate::format::splitter::Splitter;
use crate::jobs::locate::KeptFiles;
use crate::pipeline::archived_reader::ArchivedReader;
use crate::pipeline::prefix_check::{KeptFileError, VerifiedFile};
use crate::pipeline::row_builder::RowBuilder;
use crate::source::{Found, Source, SourceFile};
use crate::store::listing::{Deliveries, Entries};
use crate::store::{Ledger, QuarantineStore, StoreError};

/// Receives the declared fields of one event.
pub type Each<'a> = dyn FnMut(&mut dyn Iterator<Item = &[u8]>) -> io::Result<()> + 'a;

/// The reason the events of a file were not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output cannot be written.
    #[error("{0}")]
    Output(io::Error),
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] KeptFileError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads events from files.
pub struct Events<I> {
    find: KeptFiles<I>,
    transform: RowBuilder,
}

impl<I: Source> Events<I> {
    pub fn new(find: KeptFiles<I>) -> Self {
        let transform = RowBuilder::new(Arc::clone(&find.plan), Arc::default());
        Self { find, transform }
    }

    /// Exports the events of a delivery, up to the end of what was loaded. Returns the number of loaded records that the
    /// current configuration no longer accepts.
    ///
    /// # Errors
    /// Returns an error if the file or the store cannot be read, or if the output cannot be written.
    pub async fn of_delivery(
        &self,
        store: &impl QuarantineStore,
        delivery: &Delivery,
        each: &mut Each<'_>,
    ) -> Result<u64, ExportError> {
        let beginning = self.find.beginning(delivery).await?;
        let mut kept = self.reader(beginning, &delivery.file, Some(delivery.end_of_records()));
        let mut entries = Entries::new(store, delivery.id, EntryFilter::default());
        let (mut listed, mut missing) = (Vec::new(), delivery.receipt.loaded);
        while let Some(raw) = kept.next().await.map_err(KeptFileError::from)? {
            let end = raw.span.to.offset;
            while delivery.receipt.quarantined > 0
                && listed.last().is_none_or(|(offset, _)| *offset < end)
                && let Some(page) = entries.page().await?
            {
                listed.extend(page.iter().map(|entry| (entry.record.offset, entry.fate)));
            }
            let fates: HashMap<u64, Fate> = listed.iter().copied().collect();
            listed.retain(|(offset, _)| *offset >= end);
            let loaded = self.chunk(raw, &fates, each).await.map_err(ExportError::Output)?;
            missing = missing.saturating_sub(loaded);
        }
        Ok(missing)
    }

    /// Whether a later generation of the file loaded the same records again, from the same kept file. It did so if this one
    /// failed or was replaced before its end, or if the configuration changed. A loaded open tail became another record.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read.
    pub async fn is_read_again(&self, store: &impl Ledger, delivery: &Delivery) -> Result<bool, StoreError> {
        let has_ended = !matches!(delivery.state, DeliveryState::Failed | DeliveryState::Replaced);
        if has_ended && delivery.tail.is_some() {
            return Ok(false);
        }
        let Ok(kept) = self.find.file(delivery).await else { return Ok(false) };
        let mut generations = Deliveries::new(store, DeliveryFilter::Path(delivery.file.clone()));
        while let Some(other) = generations.next().await? {
            let is_later =
                other.counts() && other.generation > delivery.generation && other.receipt.loaded > 0;
            if is_later
                && other.reach.offset >= delivery.reach.offset
                && self.find.file(&other).await.is_ok_and(|other| other == kept)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Exports the events of a file that was not loaded, if `is_new` accepts the hash of its bytes.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or the output cannot be written.
    pub async fn of_file(
        &self,
        found: &Found,
        is_new: &mut impl FnMut(String) -> bool,
        each: &mut Each<'_>,
    ) -> Result<(), ExportError> {
        let KeptFiles { inbox, plan, max_record_bytes, .. } = &self.find;
        let hash =
            VerifiedFile::hash(inbox, &found.file, plan.encoding).await.map_err(KeptFileError::from)?;
        if !is_new(hash) {
            return Ok(());
        }
        let beginning = VerifiedFile::unverified(inbox, &found.file, plan, *max_record_bytes).await?;
        let mut kept = self.reader(beginning, &found.file, None);
        while let Some(raw) = kept.next().await.map_err(KeptFileError::from)? {
            self.chunk(raw, &HashMap::new(), each).await.map_err(ExportError::Output)?;
        }
        Ok(())
    }

    fn reader<F: SourceFile>(
        &self,
        beginning: VerifiedFile<F>,
        file: &FileKey,
        until: Option<u64>,
    ) -> ArchivedReader<F> {
        let file_date = self.find.plan.file_dates.of(file.path()).only();
        ArchivedReader::unstamped(beginning, (file, file_date), until)
            .with_window_bytes(self.find.window_bytes)
    }

    /// Exports the records of a chunk, except those that were discarded. `fates` has the records that are or were in
    /// quarantine, by their offset. Returns the number of loaded records among the exported ones.
    async fn chunk(
        &self,
        mut raw: RawChunk,
        fates: &HashMap<u64, Fate>,
        each: &mut Each<'_>,
    ) -> io::Result<u64> {
        raw.frames.retain(|frame| fates.get(&frame.offset) != Some(&Fate::Discarded));
        let mut loaded = 0;
        let (frames, bytes, source) = (raw.frames.clone(), raw.bytes.clone(), Arc::clone(&raw.source));
        let mut splitter = Splitter::new(&self.find.plan.format);
        let made = self.transform.chunk(raw).await;
        for row in 0..made.rows.len() {
            let record = u64::try_from(made.rows.stamp(row).0 / 2).unwrap_or(0);
            let Ok(at) = frames.binary_search_by_key(&record, |frame| frame.record) else { continue };
            let frame = &frames[at];
            let record = bytes.get(frame.start..frame.start + frame.len).unwrap_or_default();
            let Ok(fields) = splitter.split(record).await else { continue };
            let columns = self.find.plan.columns.iter().zip(&source.mapping.field_of);
            let mut wanted = columns
                .filter(|(column, _)| matches!(column.origin, Origin::Field(_)))
                .map(|(_, field)| field.and_then(|at| fields.get(at)).unwrap_or(b""));
            each(&mut wanted)?;
            let is_loaded = matches!(fates.get(&frame.offset), None | Some(Fate::Replayed));
            loaded += u64::from(is_loaded);
        }
        Ok(loaded)
    }
}
