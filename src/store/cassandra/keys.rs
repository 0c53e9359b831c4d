//! Collisions within a delivery: how many of its rows fell on a key that one of them had made.
//!
//! Keys are remembered by a hash of 64 bits. Above a limit only those whose hash begins with some zero
//! bits are, and the count becomes an estimate: a function of the keys alone, so that a process that
//! resumes the delivery comes to the same.

/// The keys of one delivery in one table.
#[derive(Clone, Debug)]
pub struct Keys {
    sorted: Vec<u64>,
    /// Leading bits that must be zero for a hash to be remembered.
    zeros: u32,
    limit: usize,
}

impl Keys {
    pub fn new(limit: usize) -> Self {
        Self { sorted: Vec::new(), zeros: 0, limit: limit.max(1) }
    }

    /// Adds the keys of some rows; those that are new and remembered are returned, sorted.
    pub fn add(&mut self, mut hashes: Vec<u64>) -> Vec<u64> {
        hashes.sort_unstable();
        hashes.dedup();
        hashes.retain(|hash| self.samples(*hash) && self.sorted.binary_search(hash).is_err());
        let old = std::mem::take(&mut self.sorted);
        self.sorted = merged(old, &hashes);
        while self.sorted.len() > self.limit && self.zeros < 40 {
            self.zeros += 1;
            // Sorted: those that begin with zeros come first.
            let stay = self.sorted.partition_point(|hash| hash.leading_zeros() >= self.zeros);
            self.sorted.truncate(stay);
        }
        hashes
    }

    pub fn contains(&self, hash: u64) -> bool {
        self.sorted.binary_search(&hash).is_ok()
    }

    fn samples(&self, hash: u64) -> bool {
        hash.leading_zeros() >= self.zeros
    }

    /// Different keys so far; exact unless [`Self::is_estimate`].
    pub fn distinct(&self) -> u64 {
        (self.sorted.len() as u64) << self.zeros
    }

    pub fn is_estimate(&self) -> bool {
        self.zeros > 0
    }
}

fn merged(old: Vec<u64>, new: &[u64]) -> Vec<u64> {
    if old.last() < new.first() {
        let mut all = old;
        all.extend_from_slice(new);
        return all;
    }
    let mut all = Vec::with_capacity(old.len() + new.len());
    let mut new = new.iter().copied().peekable();
    for hash in old {
        while let Some(before) = new.next_if(|before| *before < hash) {
            all.push(before);
        }
        all.push(hash);
    }
    all.extend(new);
    all
}

/// Hashes as they lie in the store.
pub fn packed(hashes: &[u64]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect()
}

pub fn unpacked(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|hash| u64::from_be_bytes(*hash)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exact_up_to_the_limit_and_the_same_after_coming_back(
            rows in prop::collection::vec(prop::collection::vec(0u64..400, 0..60), 0..12),
            limit in 1usize..300,
        ) {
            // Spread over all 64 bits, as hashes are.
            let spread = |key: &u64| (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let (mut keys, mut kept, mut all) = (Keys::new(limit), Vec::new(), std::collections::BTreeSet::new());
            for rows in &rows {
                let hashes: Vec<u64> = rows.iter().map(spread).collect();
                all.extend(hashes.iter().copied());
                kept.push(packed(&keys.add(hashes)));
            }
            if all.len() <= limit {
                prop_assert!(!keys.is_estimate());
                prop_assert_eq!(keys.distinct(), all.len() as u64);
            }
            prop_assert!(keys.sorted.len() <= limit.max(1));
            let mut again = Keys::new(limit);
            for kept in kept {
                again.add(unpacked(&kept));
            }
            prop_assert_eq!(again.sorted, keys.sorted);
            prop_assert_eq!(again.zeros, keys.zeros);
        }
    }

    #[test]
    fn an_estimate_is_near() {
        let mut keys = Keys::new(1000);
        for from in (0..100_000_u64).step_by(500) {
            keys.add((from..from + 500).map(|key| (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect());
        }
        assert!(keys.is_estimate());
        assert!((80_000..120_000).contains(&keys.distinct()), "{}", keys.distinct());
    }
}
