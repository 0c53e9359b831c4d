//! The reason a record cannot become rows.

use crate::domain::Reason;

/// The reason a record is refused, and the column of the plan that caused it.
pub struct Refused {
    pub column: Option<usize>,
    pub reason: Reason,
    pub detail: String,
}
