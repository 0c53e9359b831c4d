//! Takes back what one delivery wrote, in a store whose rows have only write times. The keys come from the delivery's kept
//! file, or from a scan of the tables if it cannot be read. What the other deliveries give for them comes from their files.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::correction::Correction;
use crate::domain::correction::cell_origins::CellOriginsBuilder;
use crate::domain::quarantine::{EntryFilter, Fate};
use crate::domain::undo::TableUndo;
use crate::domain::{Delivery, DeliveryId, DeliveryState, Feeds, Schema, ledger};
use crate::jobs::locate::KeptFiles;
use crate::jobs::read_again::{Lost, ReadEnd};
use crate::jobs::undo::options::{UndoOptions, Undone};
use crate::jobs::undo::partitions::Target;
use crate::jobs::undo::rewriting::Rewriting;
use crate::source::Source;
use crate::store::backoff::Backoff;
use crate::store::listing::{Deliveries, Entries};
use crate::store::sqlite::expected_rows::ExpectedRows;
use crate::store::{RowRewriter, StoreError};

/// The number of quarantined records that are discarded at once.
const DISCARDED: usize = 100;

/// Undoes deliveries.
pub struct Undoer<S, I> {
    pub store: Arc<S>,
    pub schema: Arc<Schema>,
    pub feeds: Feeds<KeptFiles<I>>,
    pub backoff: Backoff,
    pub stop: CancellationToken,
    /// What the undone delivery alone gives.
    pub own: ExpectedRows,
    /// What the other deliveries give for its keys.
    pub expected: ExpectedRows,
    pub options: UndoOptions,
}

impl<S: RowRewriter, I: Source> Undoer<S, I> {
    /// Takes a delivery out of the tables, or completes an undo that was interrupted.
    ///
    /// # Errors
    /// Returns an error if the rows of a table cannot be corrected, or if the store does not answer.
    pub async fn undo(&self, id: DeliveryId) -> Result<Undone, StoreError> {
        // It may have grown before the right to write was taken.
        let found = self.backoff.with(|| self.store.delivery(id)).await?;
        let delivery = &found.ok_or_else(|| StoreError::Settings("the delivery is gone".to_owned()))?;
        self.refuse_loading().await?;
        let tables = self.tables_of(delivery);
        let indexes: Vec<usize> = tables.iter().map(|(index, _)| *index).collect();
        self.backoff.with(|| self.store.check_tables(&indexes)).await?;
        let names: Vec<String> = tables.into_iter().map(|(_, name)| name).collect();
        match self.collect_own(delivery, &names, &indexes).await? {
            ReadEnd::Done => {}
            ReadEnd::Stopped => return Ok(Undone::Stopped),
            ReadEnd::Lost(why) => return Ok(Undone::Needed(vec![Lost::of(delivery, names, why)])),
        }
        let Some(lost) = self.expect(delivery, &names).await? else { return Ok(Undone::Stopped) };
        if !lost.is_empty() && !self.options.force {
            return Ok(Undone::Needed(lost));
        }
        let done = match self.options.write {
            true => self.correct(delivery, &indexes, !lost.is_empty()).await?,
            false => self.rewriting(delivery, !lost.is_empty(), None).await?.tables(&indexes).await?,
        };
        Ok(done.map_or(Undone::Stopped, |tables| Undone::Done { tables, lost }))
    }

    /// Refuses while a delivery is loaded only in part.
    async fn refuse_loading(&self) -> Result<(), StoreError> {
        let mut all = Deliveries::patiently(&*self.store, &self.backoff, ledger::DeliveryFilter::All);
        while let Some(other) = all.next().await? {
            if other.state == DeliveryState::Loading {
                return Err(StoreError::Settings(format!(
                    "{} is loaded only in part\n  next: run `needledrop run --once`, then undo the file",
                    other.file
                )));
            }
        }
        Ok(())
    }

    /// Counts what changes, enters the undo into the ledger, and changes it. Returns `None` if the run was stopped; the
    /// correction may then be open.
    async fn correct(
        &self,
        delivery: &Delivery,
        tables: &[usize],
        is_incomplete: bool,
    ) -> Result<Option<Vec<TableUndo>>, StoreError> {
        let counted = self.rewriting(delivery, is_incomplete, None).await?.tables(tables).await?;
        let Some(counted) = counted else { return Ok(None) };
        let begin = || self.store.begin_correction(Some(delivery.id), tables.to_vec());
        let correction = self.backoff.with(begin).await?;
        if delivery.state != DeliveryState::Undone {
            self.discard(delivery).await?;
            self.backoff
                .with(|| self.store.enter_undone(delivery.id, counted.clone(), self.options.replaced_by))
                .await?;
        }
        let rewriting = self.rewriting(delivery, is_incomplete, Some(correction)).await?;
        if rewriting.tables(tables).await?.is_none() {
            return Ok(None);
        }
        // Those of attempts that were interrupted are settled too.
        for open in self.corrections().await?.into_iter().filter(|one| is_open_of(one, delivery)) {
            self.backoff.with(|| self.store.settle_correction(open.clone())).await?;
        }
        Ok(Some(counted))
    }

    async fn corrections(&self) -> Result<Vec<Correction>, StoreError> {
        self.backoff.with(|| self.store.corrections()).await
    }

    async fn rewriting(
        &self,
        delivery: &Delivery,
        is_incomplete: bool,
        correction: Option<Correction>,
    ) -> Result<Rewriting<'_, S>, StoreError> {
        let mut origins = CellOriginsBuilder::new(&self.corrections().await?, Some(delivery.id));
        let mut all = Deliveries::patiently(&*self.store, &self.backoff, ledger::DeliveryFilter::All);
        while let Some(other) = all.next().await? {
            origins.add(&other);
        }
        Ok(Rewriting {
            target: Target { store: &*self.store, backoff: &self.backoff, correction },
            schema: &self.schema,
            stop: &self.stop,
            rows: (&self.own, &self.expected),
            origins: origins.build(),
            is_incomplete,
        })
    }

    /// Discards the open records of the delivery in quarantine.
    async fn discard(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let filter = EntryFilter { fate: Some(Fate::Open), ..EntryFilter::default() };
        let mut entries = Entries::patiently(&*self.store, &self.backoff, delivery.id, filter);
        while let Some(page) = entries.page().await? {
            let records: Vec<u64> = page.iter().map(|entry| entry.record.record).collect();
            for some in records.chunks(DISCARDED) {
                self.backoff.with(|| self.store.discard(delivery.id, some.to_vec())).await?;
            }
        }
        Ok(())
    }
}

/// Whether a correction of the delivery has not been completed.
pub fn is_open_of(correction: &Correction, delivery: &Delivery) -> bool {
    !correction.is_settled && correction.delivery == Some(delivery.id)
}
