//! The parts of a delivery whose file grew: where each ended. Bounded, however often the file grows.

/// Where the parts of a delivery ended, in decoded bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// In ascending order, at most [`Self::KEPT`].
    ends: Vec<u64>,
    /// How many there were.
    count: u64,
}

impl Parts {
    /// Ends that are kept: the first and the newest ones.
    pub const KEPT: usize = 32;

    /// `count` parts, of which these ends are known, in ascending order.
    pub fn new(ends: Vec<u64>, count: u64) -> Self {
        let count = count.max(ends.len() as u64);
        let mut parts = Self { ends, count };
        parts.bound();
        parts
    }

    /// Adds a part that ends here; one that ends where the last one did is none.
    pub fn push(&mut self, end: u64) {
        if self.ends.last() != Some(&end) {
            self.ends.push(end);
            self.count += 1;
            self.bound();
        }
    }

    /// Adds a part end that `count` already includes.
    pub fn keep(&mut self, end: u64) {
        self.ends.push(end);
        self.count = self.count.max(self.ends.len() as u64);
        self.bound();
    }

    fn bound(&mut self) {
        let surplus = self.ends.len().saturating_sub(Self::KEPT);
        if surplus > 0 {
            self.ends.drain(1..=surplus);
        }
    }

    /// The first end and the newest ones.
    pub fn ends(&self) -> &[u64] {
        &self.ends
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_newest_ends_are_kept() {
        let mut parts = Parts::default();
        (1..=1000).for_each(|end| parts.push(end));
        parts.push(1000);
        assert_eq!((parts.count(), parts.ends().len()), (1000, Parts::KEPT));
        assert_eq!((parts.ends().first(), parts.ends().last()), (Some(&1), Some(&1000)));
        assert_eq!(Parts::new(parts.ends().to_vec(), parts.count()), parts);
    }
}
