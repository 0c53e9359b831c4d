//! Suggests settings for a record with more or fewer fields than the header. Nothing is added or left out by itself.

use crate::domain::Format;
use crate::format::splitter::SplitRecord;

/// Returns what to set if this record is meant for a header of `names`, with its bytes in the file.
pub fn hint(format: &Format, names: &[String], bytes: &[u8], record: SplitRecord<'_>) -> String {
    let set = |setting: &str| format.setting(setting);
    let (found, wanted) = (record.len(), names.len());
    let begins_with = |mark: &[u8]| record.get(0).is_some_and(|first| first.starts_with(mark));
    if found == wanted + 1 && record.ends_empty() {
        let setting = set("extra_fields: ignore_empty_last");
        format!("the last one is empty: if all lines end with a delimiter, set {setting}")
    } else if wanted == found + 1 && names.last().is_some_and(String::is_empty) {
        let setting = set("extra_fields: ignore_empty_last");
        format!("the last name of the header is empty: if it ends with a delimiter, set {setting}")
    } else if bytes.trim_ascii().is_empty() {
        let (trim, rows) = (set("trim: true"), set("blank_rows: skip"));
        format!("the line is blank: if blank lines are no records, set {trim} and {rows}")
    } else if begins_with(b"#") {
        format!("if lines that begin with # are no records, set {}", set("comment: \"#\""))
    } else if record.iter().any(|field| field.starts_with(b"'")) {
        format!("if fields are in single quotes, set {}", set("quote: \"'\""))
    } else if found > wanted {
        let setting = set("extra_fields: ignore");
        format!(
            "a field with the delimiter in its text needs quotes; if the last fields mean nothing, set {setting}"
        )
    } else {
        format!("if the last fields may be missing, set {}", set("missing_fields: pad"))
    }
}
