//! Counts what became of the open records of one delivery.

use std::collections::BTreeMap;

use tracing::warn;

use crate::domain::ledger::Applied;
use crate::domain::quarantine::Replay;
use crate::domain::{Delivery, FileKey, Plan, TableDelta};
use crate::jobs::replay::untried::UntriedError;

/// What became of the open records of one delivery.
#[derive(Debug)]
pub struct Settled {
    pub file: FileKey,
    pub generation: u32,
    pub loaded: u64,
    pub skipped: u64,
    pub discarded: u64,
    /// The number of records still open, by reason.
    pub open: BTreeMap<&'static str, u64>,
    /// What was written to each table, by name.
    pub tables: BTreeMap<String, TableDelta>,
    /// Whether some records were loaded under another declaration of the tables.
    pub other_declaration: bool,
    /// Why some records could not be tried.
    pub untried: Option<String>,
}

impl Settled {
    /// Begins to count for a delivery. `plan` is that of its feed, if the feed is declared.
    pub fn of(delivery: &Delivery, plan: Option<&Plan>) -> Self {
        let is_other = |plan: &Plan| delivery.receipt.loaded > 0 && delivery.fingerprint != plan.fingerprint;
        Self {
            file: delivery.file.clone(),
            generation: delivery.generation,
            loaded: 0,
            skipped: 0,
            discarded: 0,
            open: BTreeMap::new(),
            tables: BTreeMap::new(),
            other_declaration: plan.is_some_and(is_other),
            untried: None,
        }
    }

    /// Returns the number of records that a replay processed.
    pub fn tried(&self) -> u64 {
        self.loaded + self.skipped + self.open.values().sum::<u64>()
    }

    pub fn still_open(&mut self, reason: &'static str) {
        *self.open.entry(reason).or_default() += 1;
    }

    /// Logs why records cannot be tried, once for each delivery.
    pub fn cannot(&mut self, why: &UntriedError) {
        if self.untried.is_none() {
            warn!(file = self.file.text(), "records stay open in quarantine: {why}");
            self.untried = Some(why.to_string());
        }
    }

    pub fn add(&mut self, retried: &Replay, applied: &Applied) {
        self.loaded += (retried.chunk.rows.len() - applied.refused.len()) as u64;
        self.skipped += retried.skipped.len() as u64;
        for entry in retried.chunk.quarantined.iter().chain(&applied.refused) {
            self.still_open(entry.reason.name());
        }
        for (table, delta) in retried.chunk.source.plan.tables.iter().zip(&applied.tables) {
            let sum = self.tables.entry(table.name.clone()).or_default();
            sum.rows += delta.rows;
            sum.collisions += delta.collisions;
            sum.older += delta.older;
        }
    }
}
