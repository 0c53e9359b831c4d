//! Comma-separated values: where records end, and their fields.

pub mod fields;
pub mod record_ends;
