//! Proposes names for the columns and the table, and the pattern for similar files.

use std::path::Path;

use crate::cli::init::error::InitError;
use crate::domain::parse::days;

/// The maximum length of a name that `check` accepts. A name begins with a letter and continues with letters, digits
/// and `_`.
const LONGEST: usize = 48;

/// The folder and the name of a file, with what is proposed from them.
#[derive(Debug)]
pub struct Place {
    pub folder: String,
    pub file: String,
    pub patterns: Vec<String>,
    pub table: String,
}

pub fn place(path: &Path) -> Result<Place, InitError> {
    let refused = || InitError::Path { file: path.to_owned() };
    let file = path.file_name().and_then(|name| name.to_str()).ok_or_else(refused)?;
    let folder = path.parent().and_then(Path::to_str).ok_or_else(refused)?;
    let folder = if folder.is_empty() { "." } else { folder };
    let plain = unpacked(file);
    let undated = dated(plain).map_or(plain.to_owned(), |(before, after)| format!("{before}{after}"));
    let stem = undated.rsplit_once('.').map_or(undated.as_str(), |(stem, _)| stem);
    Ok(Place {
        folder: folder.to_owned(),
        file: file.to_owned(),
        patterns: patterns(plain),
        table: table(spoken(stem)),
    })
}

/// The suffixes of compressed files.
const PACKED: [&str; 3] = [".gz", ".zst", ".zip"];

/// Returns a name without the suffix of a compressed file.
fn unpacked(file: &str) -> &str {
    let begin = |suffix: &&str| file.len().checked_sub(suffix.len()).filter(|at| file.is_char_boundary(*at));
    let ends = |at: usize, suffix: &str| file[at..].eq_ignore_ascii_case(suffix).then_some(&file[..at]);
    PACKED.iter().find_map(|suffix| ends(begin(suffix)?, suffix)).unwrap_or(file)
}

/// Returns the name of the table. SQLite reserves names that begin with `sqlite_`.
fn table(name: String) -> String {
    match name {
        none if none.is_empty() => "records".to_owned(),
        taken if taken.to_lowercase().starts_with("sqlite_") => spoken(&format!("t_{taken}")),
        name => name,
    }
}

/// Returns patterns that match other days of the same file, compressed or not. Without a date in the name, they match
/// any file with the same extension. The next file will have another name, and a file that does not fit fails with a
/// message that names it, instead of being overlooked.
fn patterns(file: &str) -> Vec<String> {
    let escape = glob::Pattern::escape;
    let pattern = match (dated(file), file.rsplit_once('.')) {
        (Some((before, after)), _) => format!("{}*{}", escape(before), escape(after)),
        (None, Some((_, extension))) => format!("*.{}", escape(extension)),
        (None, None) => escape(file),
    };
    std::iter::once("").chain(PACKED).map(|packed| format!("{pattern}{packed}")).collect()
}

/// Returns what is before and after the date in a name. A time that follows the date is left out too.
fn dated(name: &str) -> Option<(&str, &str)> {
    let mut before = char::from(b' ');
    for (start, first) in name.char_indices() {
        let rest = name.get(start..).unwrap_or_default();
        if let Some(len) = date_len(rest).filter(|_| !before.is_ascii_digit()) {
            return Some((name.get(..start)?, after_time(rest.get(len..)?)));
        }
        before = first;
    }
    None
}

/// Returns the length of the date at the beginning of `text`.
fn date_len(text: &str) -> Option<usize> {
    let ends = |len: usize| !text.as_bytes().get(len).is_some_and(u8::is_ascii_digit);
    [10, 8].into_iter().find(|len| text.get(..*len).is_some_and(is_date) && ends(*len))
}

/// Whether the text is a date such as `2018-11-01`, with `-`, `_` or `.`, or a date such as `20181101`.
fn is_date(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let (Some(year), Some(month), Some(day)) = (digits.get(..4), digits.get(4..6), digits.get(6..)) else {
        return false;
    };
    let is_separated = |separator: &str| text == [year, month, day].join(separator);
    ["-", "_", ".", ""].into_iter().any(is_separated) && days(&format!("{year}-{month}-{day}")).is_some()
}

/// Returns the text without leading groups of digits such as `T0300Z` or `-02`.
fn after_time(text: &str) -> &str {
    let group = text.trim_start_matches(['T', '-', '_', '.', ':']);
    let rest = group.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == group.len() {
        return text;
    }
    after_time(rest.strip_prefix('Z').unwrap_or(rest))
}

/// Returns a valid name for each header. A valid header is kept unless an earlier one is equal, ignoring case. All
/// others get a new name.
pub fn columns(headers: &[String]) -> Vec<String> {
    let mut taken = std::collections::HashSet::new();
    let mut names: Vec<Option<String>> = Vec::new();
    for header in headers {
        let keeps = is_valid(header) && taken.insert(header.to_lowercase());
        names.push(keeps.then(|| header.clone()));
    }
    let made = names.into_iter().zip(headers).enumerate();
    made.map(|(index, (name, header))| name.unwrap_or_else(|| free(header, index, &mut taken))).collect()
}

fn is_valid(name: &str) -> bool {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_plain && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= LONGEST
}

/// Returns an unused name with the letters and digits of the header. It has a number if another column has that name
/// already.
fn free(header: &str, index: usize, taken: &mut std::collections::HashSet<String>) -> String {
    let base = Some(spoken(header)).filter(|name| !name.is_empty());
    let base = base.unwrap_or_else(|| format!("column_{}", index + 1));
    let mut name = base.clone();
    let mut number = 2_u32;
    while !taken.insert(name.to_lowercase()) {
        let end = format!("_{number}");
        name = base.chars().take(LONGEST - end.len()).collect::<String>() + &end;
        number += 1;
    }
    name
}

/// Returns the letters and digits of a text, with `_` in place of anything between them. Empty if there are none.
fn spoken(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("_");
    let begins = name.starts_with(|c: char| c.is_ascii_digit());
    let name = if begins { format!("c_{name}") } else { name };
    name.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_the_name_becomes_a_star() {
        let cases = [
            ("2018-11-01-events.csv", "*-events.csv", "events"),
            ("events_20181101.csv", "events_*.csv", "events"),
            ("trades-2026.03.02T0300Z.csv", "trades-*.csv", "trades"),
            ("a-2018_11_01-02-b.csv", "a-*-b.csv", "a_b"),
            ("2018-11-01.csv", "*.csv", "records"),
            ("2018-13-01-events.csv", "*.csv", "c_2018_13_01_events"),
            ("120181101.csv", "*.csv", "c_120181101"),
            ("[new] 2018-11-01 what?.csv", "[[]new[]] * what[?].csv", "new_what"),
            ("events.csv", "*.csv", "events"),
            ("Tägliche Käufe.txt", "*.txt", "T_gliche_K_ufe"),
            ("plain", "plain", "plain"),
            ("sqlite_log.csv", "*.csv", "t_sqlite_log"),
            ("日本-2018-11-01-語.csv", "日本-*-語.csv", "records"),
        ];
        for (file, pattern, table) in cases {
            let place = place(&Path::new("in/box").join(file)).unwrap();
            assert_eq!((place.patterns[0].as_str(), place.table.as_str()), (pattern, table), "{file}");
            assert!(glob::Pattern::new(pattern).unwrap().matches(file), "{file}");
            assert_eq!(place.folder, "in/box");
        }
        assert_eq!(place(Path::new("x.csv")).unwrap().folder, ".");
        let packed = place(Path::new("x.csv.GZ")).unwrap();
        assert_eq!((packed.patterns[0].as_str(), packed.patterns[3].as_str()), ("*.csv", "*.csv.zip"));
        assert!(place(Path::new("/")).is_err());
    }

    fn named(headers: &[&str]) -> Vec<String> {
        columns(&headers.iter().map(|header| (*header).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_valid_and_differ_ignoring_case() {
        assert_eq!(named(&["artist", "itemInSession"]), ["artist", "itemInSession"]);
        assert_eq!(named(&["Time (UTC)", "_id", "2nd"]), ["Time_UTC", "id", "c_2nd"]);
        assert_eq!(named(&["id", "ID", "_id", "Id"]), ["id", "ID_2", "id_3", "Id_4"]);
        assert_eq!(named(&["a b", "a_b"]), ["a_b_2", "a_b"]);
        assert_eq!(named(&["", "é", "column_1"]), ["column_1_2", "column_2", "column_1"]);
        let long = "x".repeat(60);
        let names = named(&[&long, &format!("{long}y")]);
        assert_eq!((names[0].len(), names[1].len()), (48, 48));
        assert!(names[1].ends_with("_2"));
    }
}
