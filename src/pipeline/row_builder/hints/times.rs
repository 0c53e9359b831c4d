//! Suggests settings for dates and times.

use crate::domain::Type;
use crate::domain::reading::TimeForm;

/// Suggests settings for a date or a time.
pub fn hint(kind: Type, declared: &TimeForm, value: &str) -> Option<String> {
    let cut = TimeForm { truncate: true, ..declared.clone() };
    let is_refused = declared.parse(kind.into(), value).is_err();
    let is_plain = declared.formats.is_empty();
    match kind {
        _ if is_refused && cut.parse(kind.into(), value).is_ok() => {
            let is_date = kind == Type::Date;
            let what = if is_date { "time of day can be left out" } else { "further digits can be cut off" };
            Some(format!("if the {what}, set `truncate: true` for the column"))
        }
        // No form has these parts, or the form fits and the time is wrong for another reason, such as its zone.
        _ if !value.bytes().any(|byte| byte.is_ascii_digit()) => None,
        _ if is_refused && declared.has_form_of(kind, value) => None,
        Type::Time if has_date(value) => Some("it has a date: declare the column as a timestamp".to_owned()),
        Type::Timestamp if is_time_of_day(value) => {
            Some("it has no date: declare the column as a time".to_owned())
        }
        Type::Date if is_count(value) && is_plain => Some(
            "if it counts since 1970, declare the column as a timestamp with its `unit`: s, ms or us"
                .to_owned(),
        ),
        Type::Timestamp if is_count(value) && *declared == TimeForm::default() => None,
        Type::Timestamp if is_count(value) => Some(
            "if it counts since 1970, declare its `unit` (s, ms or us) and neither `format` nor `zone`"
                .to_owned(),
        ),
        _ if is_plain && !(declared.zone.is_some() && ends_with_zone(value)) => {
            Some("if all values look like this, set `format` for the column".to_owned())
        }
        _ if is_plain => None,
        _ => Some("if values have several forms, list them all in `format` of the column".to_owned()),
    }
}

/// Whether a number is as long as the seconds, milliseconds or microseconds since 1970 of this century.
fn is_count(value: &str) -> bool {
    matches!(value.len(), 10 | 13 | 16) && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether digits precede the hour.
fn has_date(value: &str) -> bool {
    let hour = value.split(':').next().unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_digit());
    value.contains(':') && hour.bytes().any(|byte| byte.is_ascii_digit())
}

fn is_time_of_day(value: &str) -> bool {
    TimeForm::default().parse(Type::Time.into(), value).is_ok()
}

/// Whether the name of a time zone follows the time. `Z` is an offset.
fn ends_with_zone(value: &str) -> bool {
    value.len() > 10 && value.ends_with(|c: char| c.is_ascii_alphabetic() && c != 'Z')
}
