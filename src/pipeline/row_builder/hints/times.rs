//! Suggests settings for dates and times.

use crate::domain::Type;
use crate::domain::reading::TimeForm;

/// Suggests settings for a date or a time.
pub fn hint(kind: Type, declared: &TimeForm, value: &str) -> Option<String> {
    let cut = TimeForm { truncate: true, ..declared.clone() };
    let is_refused = declared.parse(kind.into(), value).is_err();
    let has_date = || TimeForm::default().recognises(value);
    match kind {
        _ if is_refused && cut.parse(kind.into(), value).is_ok() => {
            let what = if kind == Type::Date {
                "time of day can be left out"
            } else {
                "further digits can be cut off"
            };
            Some(format!("if the {what}, set `truncate: true` for the column"))
        }
        Type::Time if has_date() => Some("it has a date: declare the column as a timestamp".to_owned()),
        Type::Date if is_count(value) => Some(
            "if it counts since 1970, declare the column as a timestamp with its `unit`: s, ms or us"
                .to_owned(),
        ),
        // The form fits, so the time is wrong for another reason, such as its zone.
        Type::Date | Type::Timestamp if is_refused && declared.recognises(value) => None,
        _ if !value.bytes().any(|byte| byte.is_ascii_digit()) => None,
        _ if declared.formats.is_empty() => {
            Some("if all values look like this, set `format` for the column".to_owned())
        }
        _ => Some("if values have several forms, list them all in `format` of the column".to_owned()),
    }
}

/// Whether a number is as long as the seconds since 1970 of this century.
fn is_count(value: &str) -> bool {
    value.len() >= 9 && value.bytes().all(|byte| byte.is_ascii_digit())
}
