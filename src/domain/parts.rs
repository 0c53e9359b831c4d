//! The parts of a delivery whose file grew. Their memory is bounded, however often the file grows.

/// Where the parts of a delivery ended, in decoded bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// At most [`Self::KEPT`] ends, in ascending order.
    ends: Vec<u64>,
    /// The number of parts, including those whose ends are not kept.
    count: u64,
}

impl Parts {
    /// The maximum number of ends that are kept: the first one, and the newest of the others.
    pub const KEPT: usize = 32;

    /// Creates a list of `count` parts with these known ends, in ascending order.
    pub fn new(ends: Vec<u64>, count: u64) -> Self {
        let count = count.max(ends.len() as u64);
        let mut parts = Self { ends, count };
        parts.bound();
        parts
    }

    /// Adds a part that ends at `end`, unless the last part ended there.
    pub fn push(&mut self, end: u64) {
        if self.ends.last() != Some(&end) {
            self.ends.push(end);
            self.count += 1;
            self.bound();
        }
    }

    /// Removes the last part if it ends at `end`.
    pub fn forget(&mut self, end: u64) {
        if self.ends.last() == Some(&end) {
            self.ends.pop();
            self.count -= 1;
        }
    }

    /// Adds the end of a part that `count` already includes.
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

    /// Returns the first end and the newest ends.
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
