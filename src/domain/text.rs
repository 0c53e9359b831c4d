//! Values as text: the one form in which a value is shown, and stored if the store has no type for it.
//!
//! Timestamps, dates and times have a fixed width, so that their text sorts like the values.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::civil;

use super::value::Value;

/// Formats a count of bytes for people: 512 bytes, 3.1 MB.
pub fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{}.{} {unit}", count / size, count % size * 10 / size),
        None if count == 1 => "1 byte".to_owned(),
        None => format!("{count} bytes"),
    }
}

/// Formats a value as `query --csv` prints it. The parser can read it back. An empty value is "".
pub fn plain<'a>(value: &'a Value<'_>) -> Cow<'a, str> {
    match value {
        Value::Empty => Cow::Borrowed(""),
        Value::Text(text) | Value::Decimal(text) | Value::Collection(text) => Cow::Borrowed(text),
        Value::Blob(bytes) => Cow::Owned(hex(bytes)),
        Value::Uuid(id) => Cow::Owned(id.hyphenated().to_string()),
        Value::Inet(ip) => Cow::Owned(ip.to_string()),
        Value::Whole(n) => Cow::Owned(n.to_string()),
        Value::Float(x) => Cow::Owned(x.to_string()),
        Value::Double(x) => Cow::Owned(x.to_string()),
        Value::Boolean(yes) => Cow::Borrowed(if *yes { "true" } else { "false" }),
        Value::Timestamp(ms) => Cow::Owned(timestamp(*ms)),
        Value::Date(days) => Cow::Owned(date(*days)),
        Value::Time(ns) => Cow::Owned(time(*ns)),
    }
}

/// Returns the 64-bit number that is written like this 32-bit number: 495.3073, not 495.30731201171875. Rounding the
/// result to 32 bits gives `x` again.
pub fn widen(x: f32) -> f64 {
    // Nine significant digits always suffice for 32 bits; most values need seven or fewer.
    few_decimals(x).unwrap_or_else(|| x.to_string().parse().unwrap_or(f64::from(x)))
}

/// Finds the shortest decimal without writing it out, if the result is certain. Every product below is exact, and the
/// quotient of two exact numbers is rounded in the same way as the decimal.
fn few_decimals(x: f32) -> Option<f64> {
    const WHOLE: f32 = 16_777_216.0; // 2^24: every whole number below it is exact in 32 bits.
    const SCALES: [f64; 8] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
    if !(1e-3..WHOLE).contains(&x.abs()) {
        return None;
    }
    for scale in SCALES {
        let scaled = f64::from(x) * scale;
        let rounded = scaled.round();
        let widened = rounded / scale;
        #[expect(clippy::cast_possible_truncation, reason = "it is tried whether it leads back")]
        if widened as f32 == x {
            // If two decimals are equally near, the text form decides.
            return ((scaled - rounded).abs() < 0.5).then_some(widened);
        }
    }
    None
}

/// Formats a message as one line for a log. Characters that cannot be seen are escaped.
pub fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    visible(&lines.join("; "))
}

/// Escapes the characters that cannot be seen, as in `a\tb` and `12\u{a0}5`. Spaces stay as they are.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Writes a text as YAML, in double quotes.
pub fn yaml(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\t' => quoted.push_str("\\t"),
            c if is_invisible(c) => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns a YAML list of these texts and one more.
pub fn yaml_list(texts: &[String], more: &str) -> String {
    let texts: Vec<String> = texts.iter().map(|text| yaml(text)).chain([yaml(more)]).collect();
    format!("[{}]", texts.join(", "))
}

/// Whether a character is not seen on a screen, or looks like a space and is none.
pub fn is_invisible(c: char) -> bool {
    // Characters of width zero, and those that change the direction of the text.
    let is_format = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || (c.is_whitespace() && c != ' ') || is_format
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Formats milliseconds since 1970 as `YYYY-MM-DDTHH:MM:SS.mmmZ`.
pub fn timestamp(ms: i64) -> String {
    // jiff::Timestamp is not used, because its range ends a day before the end of the year 9999.
    let epoch = civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let at = epoch.checked_add(jiff::SignedDuration::from_millis(ms));
    at.map_or_else(|_| ms.to_string(), |at| format!("{at:.3}Z"))
}

/// Formats days since 1970-01-01 as `YYYY-MM-DD`.
pub fn date(days: i32) -> String {
    let epoch = civil::Date::constant(1970, 1, 1);
    let span = jiff::Span::new().try_days(days);
    span.and_then(|days| epoch.checked_add(days)).map_or_else(|_| days.to_string(), |day| day.to_string())
}

/// Formats nanoseconds since midnight as `HH:MM:SS.nnnnnnnnn`.
pub fn time(ns: i64) -> String {
    let (seconds, nanos) = (ns / 1_000_000_000, ns % 1_000_000_000);
    format!("{:02}:{:02}:{:02}.{nanos:09}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_song_length_is_shown_as_it_was_written() {
        assert_eq!(widen(495.3073).to_string(), "495.3073");
    }

    #[test]
    fn widening_follows_the_text_if_two_decimals_are_equally_near() {
        for x in [1_048_576.0 + 0.25, 32_768.0f32 + 0.0625, 0.5, 0.0, 16_777_215.0, 16_777_218.0, 1e-3, 1e10]
        {
            assert_eq!(widen(x).to_string(), x.to_string());
        }
    }

    proptest! {
        #[test]
        fn widening_loses_nothing(bits in any::<u32>()) {
            let x = f32::from_bits(bits);
            prop_assume!(x.is_finite());
            #[expect(clippy::cast_possible_truncation, reason = "the narrowing is what is tested")]
            let back = widen(x) as f32;
            prop_assert_eq!(back.to_bits(), x.to_bits());
        }

        #[test]
        fn widening_equals_parsing_the_text(cents in 0i32..100_000_000, scale in 0i32..8, bits in 0x3a83_126fu32..0x4b80_0000) {
            #[expect(clippy::cast_precision_loss, reason = "any value will do")]
            let written = cents as f32 / 10f32.powi(scale);
            for x in [written, -written, f32::from_bits(bits)] {
                prop_assert_eq!(widen(x).to_bits(), x.to_string().parse::<f64>().unwrap().to_bits(), "{}", x);
            }
        }

        #[test]
        fn timestamps_sort_as_text(a in -62_167_219_200_000i64..=253_402_300_799_999, b in -62_167_219_200_000i64..=253_402_300_799_999) {
            prop_assert_eq!(timestamp(a).cmp(&timestamp(b)), a.cmp(&b));
        }

        #[test]
        fn times_sort_as_text(a in 0i64..86_400_000_000_000, b in 0i64..86_400_000_000_000) {
            prop_assert_eq!(time(a).cmp(&time(b)), a.cmp(&b));
        }
    }
}
