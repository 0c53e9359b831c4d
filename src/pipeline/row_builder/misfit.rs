//! Suggests settings for a record with more or fewer fields than the header. Nothing is added or left out by itself.

use crate::domain::Format;
use crate::domain::header::COMMON_DELIMITERS;
use crate::format::splitter::{SplitRecord, is_blank};

/// Returns what to set if this record is meant for a header of `names`, with its bytes in the file.
pub fn hint(format: &Format, names: &[String], bytes: &[u8], record: SplitRecord<'_>) -> Option<String> {
    let Format::Csv(dialect) = format;
    let set = |setting: &str| format.setting(setting);
    let (found, wanted) = (record.len(), names.len());
    if is_blank(format, bytes) {
        let rows = set("blank_rows: skip");
        Some(format!("if records of nothing but delimiters are blank lines, set {rows}"))
    } else if bytes.trim_ascii().is_empty() {
        let (trim, rows) = (set("trim: true"), set("blank_rows: skip"));
        Some(format!("the line is blank: if blank lines are no records, set {trim} and {rows}"))
    } else if found == wanted + 1 && record.ends_empty() {
        let setting = set("extra_fields: ignore_empty_last");
        Some(format!("the last one is empty: if all lines end with a delimiter, set {setting}"))
    } else if wanted == found + 1 && names.last().is_some_and(String::is_empty) {
        let setting = set("extra_fields: ignore_empty_last");
        Some(format!("the last name of the header is empty: if it ends with a delimiter, set {setting}"))
    } else if dialect.lenient.comment.is_none() && is_comment(record) {
        Some(format!("if lines that begin with # are no records, set {}", set("comment: \"#\"")))
    } else if record.iter().any(is_in_single_quotes) {
        Some(format!("if fields are in single quotes, set {}", set("quote: \"'\"")))
    } else if found > wanted {
        let quotes = "a field with the delimiter in its text needs quotes; ";
        let quotes = if dialect.quote.is_some() { quotes } else { "" };
        Some(format!("{quotes}if the last fields mean nothing, set {}", set("extra_fields: ignore")))
    } else {
        let may_be_cut = found > 1 || (wanted == 2 && is_word(bytes));
        may_be_cut.then(|| format!("if the last fields may be missing, set {}", set("missing_fields: pad")))
    }
}

fn is_comment(record: SplitRecord<'_>) -> bool {
    let first = record.get(0).unwrap_or_default();
    first.starts_with(b"# ") || (first.starts_with(b"#") && record.len() == 1)
}

fn is_in_single_quotes(field: &[u8]) -> bool {
    field.len() > 1 && field.starts_with(b"'") && field.ends_with(b"'")
}

/// Whether a line is a single value, and neither a rule of dashes nor fields between other delimiters.
fn is_word(line: &[u8]) -> bool {
    line.iter().any(u8::is_ascii_alphanumeric)
        && !line.iter().any(|byte| COMMON_DELIMITERS.contains(&char::from(*byte)))
}
