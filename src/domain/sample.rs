//! A random share of the partitions of all tables.

use std::hash::{BuildHasher, Hash, RandomState};

use crate::domain::share::Share;

/// Chooses a share of the partitions by a keyed hash. The same value always makes the same choice, and each new value makes
/// another one.
#[derive(Clone, Debug)]
pub struct Sample {
    pub share: Share,
    key: RandomState,
}

impl Sample {
    /// Creates a sample with a new random key.
    pub fn new(share: Share) -> Self {
        Self { share, key: RandomState::new() }
    }

    /// Whether the sample has the partition with this key.
    pub fn has(&self, partition: impl Hash) -> bool {
        !self.share.is_exceeded(self.key.hash_one(partition), u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(sample: &Sample) -> Vec<u32> {
        (0..10_000).filter(|n| sample.has(n)).collect()
    }

    #[test]
    fn a_sample_has_about_its_share_and_always_the_same_partitions() {
        let tenth = Sample::new(Share::percent(10));
        let found = chosen(&tenth);
        // The expected number is 1,000 with a standard deviation of 30.
        assert!((700..1300).contains(&found.len()), "{}", found.len());
        assert_eq!(found, chosen(&tenth.clone()));
        assert_ne!(found, chosen(&Sample::new(Share::percent(10))), "another sample has others");
        assert_eq!(chosen(&Sample::new(Share::percent(100))).len(), 10_000);
    }
}
