//! The stamps of ledger rows: the epoch of the lease, then a sequence.

/// The number of bits below the epoch in the stamp of a ledger row. The stamps of an epoch begin at `epoch << EPOCH`,
/// so a row of a later epoch always wins.
pub const EPOCH: u32 = 38;

/// Returns the epoch in which a ledger row with this stamp was written.
pub fn epoch_of(stamp: i64) -> i64 {
    stamp >> EPOCH
}

/// Returns the first stamp of the epoch in which `stamp` lies.
pub fn first_of(stamp: i64) -> i64 {
    epoch_of(stamp) << EPOCH
}
