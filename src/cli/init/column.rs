//! A column that is proposed.

use crate::cli::init::key::Seen;
use crate::domain::{Type, Unit};

/// A column of the file as it is proposed.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    /// The name in the header, where it is another one.
    pub from: Option<String>,
    pub kind: Type,
    /// What its numbers may count since 1970: a guess, so it becomes a comment.
    pub unit: Option<Unit>,
    pub seen: Seen,
}
