//! The form in which the stores keep how a delivery replaces an earlier generation of its file: JSON.

use crate::domain::Replacement;

/// Returns the saved form.
pub fn text(replacement: Option<&Replacement>) -> Option<String> {
    replacement.map(|replacement| serde_json::json!(replacement).to_string())
}

/// Reads the saved form.
pub fn parse(text: Option<String>) -> Option<Replacement> {
    text.and_then(|text| serde_json::from_str(&text).ok())
}

/// Whether something is left to do for the saved replacement.
pub fn is_due(text: Option<String>) -> bool {
    parse(text).is_some_and(|replacement| replacement.is_due())
}
