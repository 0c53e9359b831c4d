//! Reads the loaded records of a delivery once more from its kept file, as rows, or says why it cannot.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::{Delivery, DeliveryId, Feeds, FileKey, Plan, RowChunk, ledger};
use crate::jobs::loaded_rows::LoadedRows;
use crate::jobs::locate::KeptFiles;
use crate::pipeline::prefix_check::KeptFileError;
use crate::source::Source;
use crate::store::backoff::Backoff;
use crate::store::listing::Deliveries;
use crate::store::{Store, StoreError};

/// A delivery whose records cannot be made again as they were loaded.
#[derive(Debug)]
pub struct Lost {
    pub id: DeliveryId,
    pub file: FileKey,
    pub generation: u32,
    pub why: LostError,
    /// The tables for which its records were wanted.
    pub tables: Vec<String>,
}

/// Why the records of a delivery cannot be made again as they were loaded.
#[derive(Debug, thiserror::Error)]
pub enum LostError {
    #[error(transparent)]
    File(#[from] KeptFileError),
    #[error(
        "table {0}, as it is declared now, lacks its records; fill it with `needledrop load --table {0}` first"
    )]
    Declaration(String),
    #[error("its feed no longer declares table {0}; declare it there again")]
    Undeclared(String),
    #[error(
        "it was loaded under another configuration of its source or tables, which may have given other values"
    )]
    Configuration,
    #[error("the current configuration accepts {made} of its records, and {loaded} were loaded")]
    Rows { made: u64, loaded: u64 },
    #[error("some of its records were entered with --assume-loaded, and have no stamps in the tables")]
    Assumed,
}

impl Lost {
    pub fn of(delivery: &Delivery, tables: Vec<String>, why: LostError) -> Self {
        let Delivery { id, file, generation, .. } = delivery;
        Self { id: *id, file: file.clone(), generation: *generation, why, tables }
    }

    /// Returns the delivery with each of the tables.
    pub fn of_tables(&self) -> impl Iterator<Item = (DeliveryId, String)> + '_ {
        self.tables.iter().map(|table| (self.id, table.clone()))
    }
}

/// Reads deliveries again.
pub struct ReadAgain<'r, S, I> {
    pub store: (&'r S, &'r Backoff),
    pub feeds: &'r Feeds<KeptFiles<I>>,
    pub stop: &'r CancellationToken,
    /// Whether a delivery is read only if the same configuration loaded it. Its records then give the same values.
    pub same_values: bool,
}

/// How reading a delivery again ended.
#[derive(Debug)]
pub enum ReadEnd {
    Done,
    Stopped,
    Lost(LostError),
}

impl<S: Store, I: Source> ReadAgain<'_, S, I> {
    /// Reads all deliveries again for which `tables_of` names tables. Returns those that cannot be read, or `None` if the run was
    /// stopped.
    ///
    /// # Errors
    /// Returns an error if the store does not answer, or the error of `take`.
    pub async fn each(
        &self,
        tables_of: impl Fn(&Delivery) -> Vec<String>,
        take: impl AsyncFn(Arc<RowChunk>) -> Result<(), StoreError>,
    ) -> Result<Option<Vec<Lost>>, StoreError> {
        let (store, backoff) = self.store;
        let mut all = Deliveries::patiently(store, backoff, ledger::DeliveryFilter::All);
        let mut lost = Vec::new();
        while let Some(delivery) = all.next().await? {
            let tables = tables_of(&delivery);
            if tables.is_empty() {
                continue;
            }
            let end = match delivery.receipt.assumed {
                0 => self.delivery(&delivery, &tables, &take).await?,
                _ => ReadEnd::Lost(LostError::Assumed),
            };
            match end {
                ReadEnd::Done => {}
                ReadEnd::Stopped => return Ok(None),
                ReadEnd::Lost(why) => lost.push(Lost::of(&delivery, tables, why)),
            }
        }
        Ok(Some(lost))
    }

    /// Reads the loaded records of a delivery as rows of these tables. `take` gets each chunk, whose plan has only them.
    ///
    /// # Errors
    /// Returns an error if the store does not answer, or the error of `take`.
    pub async fn delivery(
        &self,
        delivery: &Delivery,
        tables: &[String],
        mut take: impl AsyncFnMut(Arc<RowChunk>) -> Result<(), StoreError>,
    ) -> Result<ReadEnd, StoreError> {
        let find = match self.feeds.of(&delivery.file) {
            Ok(find) => find,
            Err(why) => return Ok(ReadEnd::Lost(KeptFileError::from(why).into())),
        };
        let mut declared = Vec::new();
        for name in tables {
            match find.plan.table(name) {
                Some((_, table)) if !delivery.is_behind(table) => declared.push(table.clone()),
                Some(_) => return Ok(ReadEnd::Lost(LostError::Declaration(name.clone()))),
                None => return Ok(ReadEnd::Lost(LostError::Undeclared(name.clone()))),
            }
        }
        if self.same_values && delivery.fingerprint != find.plan.fingerprint {
            return Ok(ReadEnd::Lost(LostError::Configuration));
        }
        // With all tables, a record without a key for a table that was added later would be refused in every table.
        let plan = Arc::new(Plan { tables: declared, ..Plan::clone(&find.plan) });
        let find = &KeptFiles { plan, inbox: find.inbox.clone(), ..*find };
        let mut kept = match LoadedRows::open(self.store, find, delivery).await? {
            Ok(kept) => kept,
            Err(why) => return Ok(ReadEnd::Lost(why.into())),
        };
        let (mut made, loaded) = (0, delivery.receipt.loaded);
        loop {
            if self.stop.is_cancelled() {
                return Ok(ReadEnd::Stopped);
            }
            match kept.next().await? {
                Ok(Some(chunk)) => {
                    made += chunk.rows.rows.len() as u64;
                    take(Arc::new(chunk.rows)).await?;
                }
                Ok(None) if made == loaded => return Ok(ReadEnd::Done),
                Ok(None) => return Ok(ReadEnd::Lost(LostError::Rows { made, loaded })),
                Err(why) => return Ok(ReadEnd::Lost(why.into())),
            }
        }
    }
}
