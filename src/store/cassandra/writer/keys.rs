//! Counts the collisions within a delivery: rows whose key an earlier row of the delivery already had.
//!
//! A key is remembered by the first 40 bits of its hash. Among 65,536 keys, two have the same 40 bits with a
//! probability of 1 in 500. Above a limit, a key is remembered only if its hash begins with a number of zero bits, and
//! the count becomes an estimate. The estimate depends only on the keys, so a process that resumes the delivery
//! computes the same estimate.

/// The first 40 bits of a key's hash.
pub type Short = [u8; 5];

/// The keys of one delivery in one table.
#[derive(Clone, Debug)]
pub struct Keys {
    sorted: Vec<Short>,
    /// The number of leading bits that must be zero for a hash to be remembered.
    zeros: u32,
    limit: usize,
}

impl Keys {
    pub fn new(limit: usize) -> Self {
        Self { sorted: Vec::new(), zeros: 0, limit: limit.max(1) }
    }

    /// Adds the keys of some rows. Returns the keys that are new and remembered, sorted.
    pub fn add(&mut self, hashes: Vec<Short>) -> Vec<Short> {
        let mut hashes = sorted(hashes);
        hashes.retain(|hash| self.samples(*hash));
        // Both lists are sorted, so each search begins where the previous search ended.
        let mut rest = self.sorted.as_slice();
        hashes.retain(|hash| {
            rest = rest.get(smaller(rest, *hash)..).unwrap_or_default();
            rest.first() != Some(hash)
        });
        // Reserve only a quarter more than is needed. Doubling the capacity would leave more memory unused.
        if self.sorted.capacity() < self.sorted.len() + hashes.len() {
            self.sorted.reserve_exact(hashes.len() + self.sorted.len() / 4);
        }
        merge(&mut self.sorted, &hashes);
        while self.sorted.len() > self.limit && self.zeros < 30 {
            self.zeros += 1;
            // The hashes are sorted, so the hashes with the most leading zeros come first.
            let stay = self.sorted.partition_point(|hash| leading_zeros(*hash) >= self.zeros);
            self.sorted.truncate(stay);
        }
        hashes
    }

    fn samples(&self, hash: Short) -> bool {
        leading_zeros(hash) >= self.zeros
    }

    /// Returns the number of different keys so far. It is exact unless [`Self::is_estimate`] returns true.
    pub fn distinct(&self) -> u64 {
        (self.sorted.len() as u64) << self.zeros
    }

    pub fn is_estimate(&self) -> bool {
        self.zeros > 0
    }
}

/// Sorts the hashes and removes duplicates. They are sorted as numbers, which are faster to compare than bytes.
fn sorted(mut hashes: Vec<Short>) -> Vec<Short> {
    let mut numbers: Vec<u64> = hashes.iter().map(|hash| number(*hash)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    hashes.clear();
    hashes.extend(numbers.into_iter().map(short));
    hashes
}

/// Returns how many hashes at the beginning of `sorted` are smaller than `hash`, in steps that double.
fn smaller(sorted: &[Short], hash: Short) -> usize {
    let is_smaller = |at: usize| sorted.get(at).is_some_and(|other| *other < hash);
    let (mut from, mut step) = (0, 1);
    while is_smaller(from + step - 1) {
        (from, step) = (from + step, step * 2);
    }
    let near = sorted.get(from..sorted.len().min(from + step)).unwrap_or_default();
    from + near.partition_point(|other| *other < hash)
}

/// Returns the part of a hash that is remembered.
pub fn short(hash: u64) -> Short {
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    [a, b, c, d, e]
}

fn number([a, b, c, d, e]: Short) -> u64 {
    u64::from_be_bytes([a, b, c, d, e, 0xff, 0xff, 0xff])
}

fn leading_zeros(hash: Short) -> u32 {
    number(hash).leading_zeros()
}

/// Merges `new` into `sorted` in place, starting from the back. A new list for each chunk would fragment the memory.
fn merge(sorted: &mut Vec<Short>, new: &[Short]) {
    let mut old = sorted.len();
    sorted.extend_from_slice(new);
    let mut left = new.len();
    while let Some(last) = left.checked_sub(1).and_then(|at| new.get(at).copied()) {
        let to = old + left - 1;
        match old.checked_sub(1).and_then(|at| sorted.get(at).copied()).filter(|before| *before > last) {
            Some(before) => {
                sorted[to] = before;
                old -= 1;
            }
            None => {
                sorted[to] = last;
                left -= 1;
            }
        }
    }
}

/// Returns the hashes as they are stored.
pub fn packed(hashes: &[Short]) -> Vec<u8> {
    hashes.as_flattened().to_vec()
}

pub fn unpacked(bytes: &[u8]) -> Vec<Short> {
    bytes.as_chunks().0.to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_exact_up_to_the_limit_and_the_same_after_a_resume(
            rows in prop::collection::vec(prop::collection::vec(0u64..400, 0..60), 0..12),
            limit in 1usize..300,
        ) {
            // Spread the keys over all bits, as a hash does.
            let spread = |key: &u64| short((key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let (mut keys, mut kept, mut all) = (Keys::new(limit), Vec::new(), std::collections::BTreeSet::new());
            for rows in &rows {
                let hashes: Vec<Short> = rows.iter().map(spread).collect();
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

    proptest! {
        #[test]
        fn all_smaller_keys_are_counted(mut of in prop::collection::vec(0..50_u64, 0..40), hash in 0..50_u64) {
            of.sort_unstable();
            let sorted: Vec<Short> = of.iter().map(|hash| short(*hash << 24)).collect();
            let hash = short(hash << 24);
            prop_assert_eq!(smaller(&sorted, hash), sorted.iter().filter(|other| **other < hash).count());
        }
    }

    #[test]
    fn an_estimate_is_close_to_the_real_number() {
        let mut keys = Keys::new(1000);
        for from in (0..100_000_u64).step_by(500) {
            keys.add(
                (from..from + 500).map(|key| short((key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect(),
            );
        }
        assert!(keys.is_estimate());
        assert!((80_000..120_000).contains(&keys.distinct()), "{}", keys.distinct());
    }
}
