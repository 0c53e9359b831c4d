//! Finds the earlier generation that a new one replaces, and keeps its rows until the two are compared.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config::{After, OnReplace};
use crate::domain::correction::KeyedRow;
use crate::domain::ledger::DeliveryFilter;
use crate::domain::text::one_line;
use crate::domain::{Delivery, FileKey, Replacement};
use crate::pipeline::discover::identify::Identify;
use crate::pipeline::messages::LoadMode;
use crate::source::Source;
use crate::store::listing::Deliveries;
use crate::store::{Store, StoreError};

/// Why rows were not saved.
enum NotSaved {
    /// It took too long.
    Late,
    Scratch(StoreError),
    Store(StoreError),
}

impl<S: Store, I: Source> Identify<S, I> {
    /// Returns how a new generation of a file replaces the newest earlier one with rows. Keeps the rows of that one, because the
    /// new one overwrites them. If loaded files are moved, the earlier file is read again instead.
    pub(super) async fn replacement(&self, file: &FileKey) -> Result<Option<Replacement>, StoreError> {
        if self.mode == LoadMode::Assumed {
            return Ok(None);
        }
        let filter = DeliveryFilter::Path(file.clone());
        let generations = Deliveries::patiently(&*self.store, &self.backoff, filter).all().await?;
        let Some(earlier) = generations.into_iter().rfind(Delivery::has_rows) else { return Ok(None) };
        if self.after != After::Move {
            self.save_rows(&earlier).await?;
        }
        Ok(Some(Replacement::due(earlier.generation, self.on_replace == OnReplace::Mirror)))
    }

    async fn save_rows(&self, earlier: &Delivery) -> Result<(), StoreError> {
        let file = earlier.file.text();
        let began = Instant::now();
        let saved = self.read_rows(earlier, self.replacements.time_left(self.compare_wait)).await;
        self.replacements.spend(began.elapsed());
        let why = match saved {
            Ok(()) => {
                self.replacements.mark_saved(earlier.id);
                return Ok(());
            }
            Err(NotSaved::Store(error)) => return Err(error),
            Err(NotSaved::Late) => "reading them took longer than limits.compare_wait allows".to_owned(),
            Err(NotSaved::Scratch(error)) => one_line(&error.to_string()),
        };
        info!(file, "the rows of generation {} are not saved for a comparison: {why}", earlier.generation);
        if let Err(error) = self.replacements.forget(earlier.id).await {
            warn!(file, "{error}");
        }
        Ok(())
    }

    async fn read_rows(&self, earlier: &Delivery, limit: Duration) -> Result<(), NotSaved> {
        let (rows, began) = (&self.replacements.earlier, Instant::now());
        let filled = earlier.receipt.tables.iter().filter(|count| count.rows > 0);
        for (table, _) in filled.filter_map(|count| rows.schema().table(&count.table)) {
            let mut from = None;
            loop {
                if self.backoff.halt.is_cancelled() {
                    return Err(NotSaved::Store(StoreError::Closed));
                }
                if began.elapsed() >= limit {
                    return Err(NotSaved::Late);
                }
                let read = || self.store.rows_with_stamps(table, earlier.stamps.clone(), from.clone());
                let page = self.backoff.with(read).await.map_err(NotSaved::Store)?;
                let found = page.found.into_iter().map(KeyedRow::into_table_row).collect();
                rows.put((earlier.id, table), found).await.map_err(NotSaved::Scratch)?;
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}
