//! The last verification, as it is kept in the store for other processes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::Share;
use crate::jobs::verify::{Verified, VerifiedTable};
use crate::store::{SavedResults, StoreError};

/// The name under which the store keeps the result.
const JOB: &str = "verify";

/// A verification that has ended. Later versions may add fields.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Verification {
    /// When it ended, in milliseconds since 1970.
    pub at: i64,
    pub seconds: f64,
    /// The share of the partitions that were compared, such as `1 %`.
    pub sample: String,
    pub deliveries: u64,
    pub records: u64,
    /// The number of deliveries that could not be compared.
    pub not_compared: u64,
    pub tables: Vec<ComparedTable>,
}

/// The result for one table.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ComparedTable {
    pub table: String,
    pub rows: u64,
    pub missing: u64,
    pub different: u64,
    pub extra: u64,
}

impl ComparedTable {
    fn of(VerifiedTable { name, rows, missing, different, extra, .. }: &VerifiedTable) -> Self {
        let (table, rows) = (name.clone(), *rows);
        Self { table, rows, missing: *missing, different: *different, extra: *extra }
    }

    /// Returns the numbers of wrong rows by kind.
    pub fn wrong(&self) -> [(&'static str, u64); 3] {
        [("missing", self.missing), ("different", self.different), ("extra", self.extra)]
    }

    pub fn is_right(&self) -> bool {
        self.wrong().iter().all(|(_, rows)| *rows == 0)
    }
}

impl Verification {
    pub fn of(verified: &Verified, sample: Share, at: i64, seconds: f64) -> Self {
        // A delivery may be lost for several tables.
        let lost: BTreeSet<_> = verified.lost.iter().map(|lost| lost.id).collect();
        Self {
            at,
            seconds,
            sample: sample.to_string(),
            deliveries: verified.deliveries,
            records: verified.records,
            not_compared: lost.len() as u64,
            tables: verified.tables.iter().map(ComparedTable::of).collect(),
        }
    }

    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Returns the last verification of a store. `None` if there was none, or if a later version wrote it in another form.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub async fn last(store: &impl SavedResults) -> Result<Option<Self>, StoreError> {
        let saved = store.saved_result(JOB).await?;
        Ok(saved.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Makes this the last verification of a store.
    ///
    /// # Errors
    /// Returns an error if the store does not answer.
    pub async fn save(&self, store: &impl SavedResults) -> Result<(), StoreError> {
        store.save_result(JOB, serde_json::json!(self).to_string()).await
    }
}
