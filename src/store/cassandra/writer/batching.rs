//! Queues the rows to be sent. Each request is cut from the queue only when it is taken, so that its rows enter the
//! processor's cache just before they are serialised.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The place of a row to be written: the hash of its partition, its chunk and its row. All three are packed into one
/// number, because places are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u128);

impl Place {
    pub fn new(partition: u64, chunk: u32, row: u32) -> Self {
        Self(u128::from(partition) << 64 | u128::from(chunk) << 32 | u128::from(row))
    }

    pub fn partition(self) -> u64 {
        (self.0 >> 64) as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "the second quarter from below")]
    pub fn chunk(self) -> usize {
        (self.0 >> 32) as u32 as usize
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lowest quarter")]
    pub fn row(self) -> usize {
        self.0 as u32 as usize
    }
}

/// All rows to be sent, and the next row to take.
pub struct PartitionQueue {
    /// For each table that is written: the index of its writer, and its rows, sorted by partition.
    tables: Vec<(usize, Vec<Place>)>,
    next: Mutex<Next>,
    pub began: Instant,
}

/// The next row to take: the index of its table among the tables that are written, and its index in the rows of that
/// table.
#[derive(Clone, Copy, Default)]
struct Next {
    at: usize,
    from: usize,
}

/// Rows of one partition, to be sent together.
#[derive(Clone, Copy)]
pub struct Request<'w> {
    pub at: usize,
    pub writer: usize,
    pub places: &'w [Place],
}

impl PartitionQueue {
    pub fn new(tables: Vec<(usize, Vec<Place>)>, began: Instant) -> Self {
        Self { tables, next: Mutex::default(), began }
    }

    /// The number of tables that are written.
    pub fn tables(&self) -> usize {
        self.tables.len()
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next request. `len` returns how many of the remaining rows of a table form the request.
    pub fn take(&self, len: impl Fn(usize, &[Place]) -> usize) -> Option<Request<'_>> {
        let mut next = self.next();
        loop {
            let Next { at, from } = *next;
            let (writer, places) = self.tables.get(at)?;
            let left = places.get(from..).unwrap_or_default();
            if !left.is_empty() {
                let len = len(*writer, left);
                next.from = from + len;
                return Some(Request { at, writer: *writer, places: left.get(..len).unwrap_or(left) });
            }
            *next = Next { at: at + 1, from: 0 };
        }
    }

    pub fn is_taken(&self) -> bool {
        let Next { at, from } = *self.next();
        at + 1 >= self.tables.len() && self.tables.get(at).is_none_or(|(_, places)| from >= places.len())
    }

    /// Returns the least number of requests. There are more if rows are long.
    pub fn requests(&self, batch_rows: usize) -> usize {
        let partitions = self
            .tables
            .iter()
            .flat_map(|(_, places)| places.chunk_by(|one, other| one.partition() == other.partition()));
        partitions.map(|rows| rows.len().div_ceil(batch_rows)).sum()
    }
}

/// Returns how many of the first rows in `left` form one request. They are in one partition. They are at most `rows`
/// rows, and at most `bytes` bytes unless a single row is longer. No row is longer than `longest`, so most rows need
/// not be measured.
pub fn together(
    left: &[Place],
    rows: usize,
    bytes: usize,
    longest: usize,
    size: impl Fn(&Place) -> usize,
) -> usize {
    let Some(first) = left.first() else { return 0 };
    let is_beside = |place: &&Place| place.partition() == first.partition();
    let beside = left.iter().take(rows).take_while(is_beside).count();
    if longest.saturating_mul(beside) <= bytes {
        return beside;
    }
    let mut sum = 0;
    let fits = |place: &&Place| {
        sum += size(place);
        sum <= bytes
    };
    left.iter().take(beside).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A row size that depends only on the number of the row.
    fn size(place: &Place) -> usize {
        place.row() % 7 + 1
    }

    proptest! {
        #[test]
        fn every_row_is_sent_once_and_requests_are_as_large_as_allowed(
            tables in prop::collection::vec(prop::collection::vec(0..5_u64, 0..60), 0..4),
            rows in 1..8_usize,
            bytes in 1..30_usize,
            longest in 7..20_usize,
        ) {
            let sorted = |partitions: &Vec<u64>| {
                let mut places: Vec<Place> =
                    partitions.iter().zip(0..).map(|(partition, row)| Place::new(*partition, 3, row)).collect();
                places.sort_unstable();
                places
            };
            let tables: Vec<(usize, Vec<Place>)> = tables.iter().map(sorted).enumerate().collect();
            let work = PartitionQueue::new(tables.clone(), Instant::now());
            let least = work.requests(rows);
            let (mut taken, mut requests) = (vec![Vec::new(); tables.len()], 0);
            let cut = |_: usize, left: &[Place]| together(left, rows, bytes, longest, size);
            while let Some(request) = work.take(cut) {
                let sum: usize = request.places.iter().map(size).sum();
                let first = request.places[0];
                prop_assert!(request.places.len() <= rows && (sum <= bytes || request.places.len() == 1));
                prop_assert!(request.places.iter().all(|place| place.partition() == first.partition()));
                taken[request.at].extend_from_slice(request.places);
                if let Some(next) = tables[request.at].1.get(taken[request.at].len()) {
                    let is_full = request.places.len() == rows || sum + size(next) > bytes;
                    prop_assert!(is_full || next.partition() != first.partition());
                }
                requests += 1;
            }
            prop_assert!(work.is_taken());
            prop_assert!(requests >= least, "{} of at least {}", requests, least);
            prop_assert_eq!(taken, tables.into_iter().map(|(_, places)| places).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_place_holds_all_of_its_parts_and_sorts_by_partition_chunk_and_row() {
        let places = [(1, 0, 9), (1, 1, 0), (1, u32::MAX, u32::MAX), (2, 0, 0), (u64::MAX, 0, 1)];
        let all = places.map(|(partition, chunk, row)| Place::new(partition, chunk, row));
        assert!(all.is_sorted());
        let parts = all.map(|place| (place.partition(), place.chunk(), place.row()));
        assert_eq!(parts, places.map(|(partition, chunk, row)| (partition, chunk as usize, row as usize)));
    }
}
