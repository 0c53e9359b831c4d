//! Counts the deliveries in each state.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{Delivery, DeliveryState, FileKey};

/// Counts deliveries, which may come in any order. A delivery that ended without success counts until a later
/// generation of its file takes its place.
#[derive(Default)]
pub struct States {
    counts: BTreeMap<&'static str, usize>,
    /// The newest generation of each file that ended without success.
    unsuccessful: HashMap<Hashed, (u32, DeliveryState)>,
    /// The newest generation of each file that has several.
    newest: HashMap<Hashed, u32>,
}

/// A file as a hash of 16 bytes, because a ledger may have too many files to keep all keys in memory.
type Hashed = [u8; 16];

impl States {
    pub fn add(&mut self, delivery: &Delivery) {
        let (file, generation) = (hashed(&delivery.file), delivery.generation);
        if generation > 1 {
            let newest = self.newest.entry(file).or_default();
            *newest = generation.max(*newest);
        }
        match delivery.state {
            // The newer generation that took its place is counted.
            _ if delivery.mirrored_by.is_some() => {}
            state @ (DeliveryState::Failed | DeliveryState::Incomplete | DeliveryState::Replaced) => {
                let newest = self.unsuccessful.entry(file).or_insert((generation, state));
                if newest.0 < generation {
                    *newest = (generation, state);
                }
            }
            state => *self.counts.entry(state.name()).or_default() += 1,
        }
    }

    /// Whether a later generation took the place of this one, which did not succeed or is mirrored.
    pub fn is_history(&self, delivery: &Delivery) -> bool {
        let newest = self.newest.get(&hashed(&delivery.file));
        let is_over = delivery.state == DeliveryState::Replaced || delivery.mirrored_by.is_some();
        is_over && newest.is_some_and(|newest| *newest > delivery.generation)
    }

    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = self.counts.clone();
        for (file, (generation, state)) in &self.unsuccessful {
            if self.newest.get(file).is_none_or(|newest| newest == generation) {
                *counts.entry(state.name()).or_default() += 1;
            }
        }
        counts
    }
}

fn hashed(file: &FileKey) -> Hashed {
    let mut hashed = Hashed::default();
    blake3::Hasher::new().update(file.text().as_bytes()).finalize_xof().fill(&mut hashed);
    hashed
}
