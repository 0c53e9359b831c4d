//! The reason a record cannot become rows.

use crate::domain::Reason;

/// The reason a record is refused, and the column of the plan that caused it.
pub struct Refused {
    pub column: Option<usize>,
    pub reason: Reason,
    pub detail: String,
}

impl Refused {
    /// Adds what to do.
    pub fn with(mut self, hint: &str) -> Self {
        self.detail += "; ";
        self.detail += hint;
        self
    }
}
