//! How many deliveries are in which state.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{Delivery, State};

/// Counts deliveries in the order they were taken up. What ended without success counts until a later generation of
/// its path takes its place.
#[derive(Default)]
pub struct States {
    counts: BTreeMap<&'static str, usize>,
    /// Paths whose newest generation is not counted yet.
    unsuccessful: HashMap<String, State>,
}

impl States {
    pub fn add(&mut self, delivery: &Delivery) {
        self.unsuccessful.remove(&delivery.path);
        match delivery.state {
            state @ (State::Failed | State::Incomplete | State::Replaced) => {
                self.unsuccessful.insert(delivery.path.clone(), state);
            }
            state => *self.counts.entry(state.name()).or_default() += 1,
        }
    }

    pub fn counts(self) -> BTreeMap<&'static str, usize> {
        let mut counts = self.counts;
        for state in self.unsuccessful.values() {
            *counts.entry(state.name()).or_default() += 1;
        }
        counts
    }
}
