//! How much a store is given at a time.

/// Limits of writing.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests under way at the same time.
    pub in_flight: usize,
    /// Rows in a request.
    pub batch_rows: usize,
    /// Bytes in a request.
    pub batch_bytes: usize,
    /// Over all tables; 0 is no limit.
    pub rows_per_second: u64,
    /// No record is longer.
    pub max_record_bytes: usize,
    /// Keys that are remembered by delivery and table to count collisions.
    pub collision_keys: usize,
}
