//! Counts the deliveries in each state.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{Delivery, DeliveryState};

/// Counts deliveries, which may come in any order. A delivery that ended without success counts until a later
/// generation of its path takes its place.
#[derive(Default)]
pub struct States {
    counts: BTreeMap<&'static str, usize>,
    /// The newest generation of each path that ended without success.
    unsuccessful: HashMap<Path, (u32, DeliveryState)>,
    /// The newest generation of each path that has several.
    newest: HashMap<Path, u32>,
}

/// A path as a hash of 16 bytes, because a ledger may have too many paths to keep them all in memory.
type Path = [u8; 16];

impl States {
    pub fn add(&mut self, delivery: &Delivery) {
        let (path, generation) = (hashed(&delivery.path), delivery.generation);
        if generation > 1 {
            let newest = self.newest.entry(path).or_default();
            *newest = generation.max(*newest);
        }
        match delivery.state {
            state @ (DeliveryState::Failed | DeliveryState::Incomplete | DeliveryState::Replaced) => {
                let newest = self.unsuccessful.entry(path).or_insert((generation, state));
                if newest.0 < generation {
                    *newest = (generation, state);
                }
            }
            state => *self.counts.entry(state.name()).or_default() += 1,
        }
    }

    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = self.counts.clone();
        for (path, (generation, state)) in &self.unsuccessful {
            if self.newest.get(path).is_none_or(|newest| newest == generation) {
                *counts.entry(state.name()).or_default() += 1;
            }
        }
        counts
    }
}

fn hashed(path: &str) -> Path {
    let mut hashed = Path::default();
    blake3::Hasher::new().update(path.as_bytes()).finalize_xof().fill(&mut hashed);
    hashed
}
