//! Why a record cannot become rows.

use crate::domain::Reason;

/// Why a record is refused, and by which column of the plan.
pub struct Refused {
    pub column: Option<usize>,
    pub reason: Reason,
    pub detail: String,
}
