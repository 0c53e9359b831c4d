//! Delimiter-separated values: where records end, and their fields.

pub mod fields;
pub mod malformed;
pub mod record_ends;
pub mod rich;
#[cfg(test)]
mod tests;
