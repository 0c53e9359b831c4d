//! A proposed column.

use crate::cli::init::key::Seen;
use crate::domain::{Type, Unit};

/// A column of the file as it is proposed.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    /// The name in the header, if it differs from `name`.
    pub from: Option<String>,
    pub kind: Type,
    /// The unit of its numbers, if they may count since 1970. This is a guess, so it is written as a comment.
    pub unit: Option<Unit>,
    /// Whether its values would be numbers if their commas were decimal points.
    pub has_decimal_commas: bool,
    pub seen: Seen,
}
