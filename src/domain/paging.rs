//! Collects the items of one page, which is bounded in number and in bytes.

use crate::domain::ledger::Page;

/// The number of bytes at which a page ends.
pub const PAGE_BYTES: u64 = 1024 * 1024;

/// Collects one page: up to a number of items, or fewer once their bytes reach [`PAGE_BYTES`].
#[derive(Debug)]
pub struct Paging<T> {
    found: Vec<T>,
    /// The number of items that were added or skipped, and their bytes.
    read: (usize, u64),
    most: usize,
}

impl<T> Paging<T> {
    pub fn new(most: usize) -> Self {
        Self { found: Vec::new(), read: (0, 0), most }
    }

    /// Adds an item of this size. Returns false when the page is full.
    pub fn push(&mut self, item: T, bytes: u64) -> bool {
        self.skip(bytes);
        self.found.push(item);
        !self.is_full()
    }

    /// Counts an item that was read but does not belong to the listing. A page may then have no item.
    pub fn skip(&mut self, bytes: u64) {
        self.read = (self.read.0 + 1, self.read.1 + bytes);
    }

    pub fn is_full(&self) -> bool {
        self.read.0 >= self.most || self.read.1 >= PAGE_BYTES
    }

    /// Returns how many more items fit if they are as large as the items so far. At least one.
    pub fn room(&self) -> usize {
        let (count, bytes) = self.read;
        let average = (bytes / (count as u64).max(1)).max(1);
        let by_bytes = usize::try_from(PAGE_BYTES.saturating_sub(bytes) / average).unwrap_or(usize::MAX);
        by_bytes.min(self.most.saturating_sub(count)).max(1)
    }

    pub fn last(&self) -> Option<&T> {
        self.found.last()
    }

    pub fn end<C>(self, next: Option<C>) -> Page<T, C> {
        Page { found: self.found, next }
    }
}
