//! Limits for writing to a store.

/// Limits for writing to a store.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum number of requests in flight.
    pub in_flight: usize,
    /// The maximum number of rows in a request.
    pub batch_rows: usize,
    /// The maximum number of bytes in a request.
    pub batch_bytes: usize,
    /// The maximum number of rows per second over all tables; 0 for no limit.
    pub rows_per_second: u64,
    /// The maximum length of a record.
    pub max_record_bytes: usize,
    /// The maximum number of keys remembered per delivery and table to count collisions.
    pub collision_keys: usize,
}
