//! The result of parsing a field: a value, or the rule that the field breaks.

use crate::domain::record::Reason;
use crate::domain::value::{Cell, Slice};

/// Why a field is not a value of its column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// The broken rule, worded to follow "must be".
    pub rule: &'static str,
}

pub type Parsed = Result<Cell, Refusal>;

pub const fn not(rule: &'static str) -> Refusal {
    Refusal { reason: Reason::Value, rule }
}

pub const fn outside(rule: &'static str) -> Refusal {
    Refusal { reason: Reason::Range, rule }
}

/// The refusal of a value that does not fit into the arena of its chunk.
pub const FULL: Refusal = outside("smaller: a chunk holds at most 4 GiB of values");

pub fn keep(arena: &mut Vec<u8>, bytes: &[u8]) -> Result<Slice, Refusal> {
    Slice::store(arena, bytes).ok_or(FULL)
}
