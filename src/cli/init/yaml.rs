//! Writes the configuration as YAML. It has comments and is valid without changes.

use std::fmt::Write as _;

use super::names::Place;
use super::read::Sheet;
use crate::cli::init::column::Column;
use crate::cli::init::key;
use crate::cli::init::key::Guess;
use crate::domain::format::Dialect;
use crate::domain::{Feed, Format};

/// The width at which lists are wrapped.
const WIDTH: usize = 100;

pub fn configuration(place: &Place, sheet: &Sheet, columns: &[Column]) -> String {
    let seen: Vec<_> = columns.iter().map(|column| &column.seen).collect();
    let guess = key::guess(&seen, sheet.records.len());
    [head(place, sheet), source(place, sheet, columns), tables(place, sheet, columns, &guess), store(place)]
        .join("\n")
}

/// Returns the entry of this feed for `feeds:`, to be added to a configuration.
pub fn entry(feed: &Feed, place: &Place, sheet: &Sheet, columns: &[Column]) -> String {
    let seen: Vec<_> = columns.iter().map(|column| &column.seen).collect();
    let guess = key::guess(&seen, sheet.records.len());
    let sections = [source(place, sheet, columns), tables(place, sheet, columns, &guess)].concat();
    let indented: String = sections.lines().map(|line| format!("    {line}\n")).collect();
    let note = "# Add this entry to `feeds:` of the configuration that also has the store.\n\n";
    format!("{}{note}feeds:\n  {}:\n{indented}", head(place, sheet), plain(feed.name()))
}

fn head(place: &Place, sheet: &Sheet) -> String {
    let mut text = format!(
        "# Proposed by `needledrop init` from {} of {}.\n\
         # Check the types and, above all, the key: see CHOOSE below. Settings that are left out have their\n\
         # defaults; config/needledrop.yaml, which comes with needledrop, describes all settings.\n",
        counted(sheet.records.len(), "record"),
        quoted(&place.file),
    );
    if sheet.left_out > 0 {
        let _ = writeln!(
            text,
            "# {} with too many or too few fields, malformed quotes or invalid UTF-8 would go to quarantine.",
            counted(sheet.left_out, "further record"),
        );
    }
    text
}

fn source(place: &Place, sheet: &Sheet, columns: &[Column]) -> String {
    let patterns: Vec<_> = place.patterns.iter().map(|pattern| quoted(pattern)).collect();
    let columns: String = columns.iter().map(column).collect();
    format!(
        "source:\n\
         \x20 # The inbox, and the names of the files that are loaded.\n\
         \x20 folder: {}\n\
         \x20 pattern: [{}]\n\
         \x20 # Whether files in subfolders are loaded.\n\
         \x20 subfolders: false\n\
         {}\
         \x20 # Each column has the narrowest type that fits all its values seen. A record with a value that does\n\
         \x20 # not fit goes to quarantine. double rounds; decimal keeps an amount as it is written.\n\
         \x20 columns:\n\
         {columns}\
         \x20 # A record in which one of these columns is empty is not loaded: it is counted as skipped.\n\
         \x20 skip_when_empty: []\n",
        quoted(&place.folder),
        patterns.join(", "),
        [encoding(sheet), format(sheet)].concat(),
    )
}

fn encoding(sheet: &Sheet) -> String {
    if sheet.encoding == encoding_rs::UTF_8 {
        return String::new();
    }
    format!("  # The encoding of the files.\n  encoding: {}\n", sheet.encoding.name().to_ascii_lowercase())
}

/// Returns the delimiter, if it is not a comma, and the number of lines at the end that are no records.
fn format(sheet: &Sheet) -> String {
    let Format::Csv(dialect) = &sheet.format;
    let (mut settings, mut note) = (Vec::new(), String::new());
    if dialect.delimiter != Dialect::default().delimiter {
        settings.push(format!("delimiter: \"{}\"", dialect.delimiter));
    }
    if sheet.footer > 0 {
        settings.push(format!("skip_footer: {}", sheet.footer));
        let last = match sheet.footer {
            1 => "line of this file seems".to_owned(),
            lines => format!("{lines} lines of this file seem"),
        };
        note = format!(
            "  # skip_footer: the last {last} to sum it up. Remove it if other files do not end so.\n"
        );
    }
    if settings.is_empty() {
        return String::new();
    }
    format!("{note}  # How the files are written.\n  format: {{ {} }}\n", settings.join(", "))
}

fn column(column: &Column) -> String {
    let name = plain(&column.name);
    let note = match column.unit {
        _ if column.seen.distinct == 0 => "  # no value was seen".to_owned(),
        _ if column.has_decimal_commas => {
            "  # decimal commas? Then { type: double, decimal: \",\" }".to_owned()
        }
        Some(unit) => format!("  # times since 1970? Then {{ type: timestamp, unit: {unit} }}"),
        None => String::new(),
    };
    match &column.from {
        None => format!("    {name}: {}{note}\n", column.kind),
        Some(from) => format!("    {name}: {{ type: {}, from: {} }}{note}\n", column.kind, quoted(from)),
    }
}

fn tables(place: &Place, sheet: &Sheet, columns: &[Column], guess: &Guess) -> String {
    let name = |index: &usize| columns.get(*index).map(|column| plain(&column.name)).unwrap_or_default();
    let key: Vec<String> = guess.key.iter().map(name).collect();
    let (partition, clustering) = key.split_at(1);
    let others = (0..columns.len()).filter(|index| !guess.key.contains(index));
    let others: Vec<_> = others.map(|index| name(&index)).collect();
    let answers = format!("the record with this {}", key.join(", "));
    format!(
        "tables:\n{}  {}:\n    answers: {}\n    partition_key: [{}]\n    clustering_key: [{}]\n{}",
        choose(sheet, columns, guess),
        plain(&place.table),
        quoted(&answers),
        partition.join(", "),
        clustering.join(", "),
        wrapped("    columns: [", "      ", &others, "]"),
    )
}

/// Returns a comment with what the user must know to choose the key.
fn choose(sheet: &Sheet, columns: &[Column], guess: &Guess) -> String {
    let mut text = format!(
        "  # CHOOSE: this key is a guess from {}; check it against the question the table answers.\n\
         \x20 # Every query gives the whole partition key. Rows with the same partition key are stored together.\n\
         \x20 # The clustering key sorts the rows of a partition. Both keys together identify one row.\n",
        counted(sheet.records.len(), "record"),
    );
    if sheet.records.is_empty() {
        return text;
    }
    if !guess.unique {
        text += "  # No column and no combination that was tried is unique: several records would become one row.\n";
    }
    let serve = columns.iter().filter(|column| column.seen.never_empty);
    let serve: Vec<_> = serve.map(|column| format!("{} {}", column.name, column.seen.distinct)).collect();
    if serve.is_empty() {
        return text
            + "  # A key must not be empty, but every column sometimes is: those records would go to quarantine.\n";
    }
    text += "  # A key must not be empty. These columns never were; the numbers are their distinct values:\n";
    text + &wrapped("  #   ", "  #   ", &serve, "")
}

/// Returns the section of the store. Each inbox needs a store of its own, because a ledger knows only one inbox.
fn store(place: &Place) -> String {
    let path = quoted(&format!("data/{}.db", place.table));
    format!("store:\n  kind: sqlite\n  sqlite:\n    path: {path}\n")
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Formats a list on as many lines as it needs.
fn wrapped(first: &str, next: &str, words: &[String], end: &str) -> String {
    let mut text = String::new();
    let mut line = first.to_owned();
    for (index, word) in words.iter().enumerate() {
        let comma = if index + 1 < words.len() { "," } else { end };
        if index > 0 && line.len() + word.len() + comma.len() > WIDTH {
            text.extend([line.trim_end(), "\n"]);
            next.clone_into(&mut line);
        }
        line.extend([word, comma, " "]);
    }
    if words.is_empty() {
        line.push_str(end);
    }
    text + line.trim_end() + "\n"
}

/// Returns a valid name, in quotes if YAML would take it for something else.
fn plain(name: &str) -> String {
    const WORDS: [&str; 12] =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"];
    if WORDS.iter().any(|word| word.eq_ignore_ascii_case(name)) { quoted(name) } else { name.to_owned() }
}

/// Formats any text as a double-quoted YAML scalar: a JSON string in which characters that YAML does not allow are
/// escaped.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut quoted = String::with_capacity(json.len());
    for c in json.chars() {
        let is_break = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
        if c.is_control() || is_break {
            let _ = write!(quoted, "\\u{:04x}", u32::from(c));
        } else {
            quoted.push(c);
        }
    }
    quoted
}
