//! Finds settings with which the header of a file would have the declared columns, to name them in a message.

use std::sync::Arc;

use encoding_rs::Encoding;

use crate::domain::format::{Delimiter, Dialect, HeaderRule};
use crate::domain::header::COMMON_DELIMITERS;
use crate::domain::lenient_settings::Comment;
use crate::domain::{Format, Header, text};
use crate::format::header;

/// The maximum number of lines that are tried as lines before the header.
const LINES: u64 = 30;

/// A change of the format.
struct Change {
    delimiter: Option<char>,
    trim: bool,
    /// Whether lines that begin with `#` are no records.
    comment: bool,
    /// The number of further lines to skip.
    lines: u64,
}

/// Returns the settings with which the header has all columns, or with another delimiter at least more of them. `read` has
/// the first bytes of the file, and `ended` is whether they are all its bytes. `columns` tells how many columns a header
/// has, and how many there are. With `is_told`, a header that needs only another delimiter has said so itself.
pub async fn advice(
    format: &Format,
    (read, ended): (&[u8], bool),
    encoding: &'static Encoding,
    columns: impl Fn(&Header) -> (usize, usize),
    is_told: bool,
) -> Option<String> {
    let Format::Csv(dialect) = format;
    let (mut most, mut nearly) = (0, None);
    for change in changes(dialect, has_comments(read)) {
        let Some(changed) = change.of(dialect) else { continue };
        let found = header::find(&Format::Csv(Arc::new(changed)), read, ended, encoding).await;
        let Ok((found, wanted)) = found.map(|found| columns(&found.header)) else { continue };
        let is_only_delimiter = change.lines == 0 && !change.trim && !change.comment;
        if found == wanted {
            return (!is_only_delimiter || !is_told).then(|| {
                format!("the header has all columns with {}: set it", change.describe(format, dialect))
            });
        }
        if is_only_delimiter && found > most {
            (most, nearly) = (found, change.delimiter.map(|_| (change, wanted)));
        }
    }
    let (change, wanted) = nearly.filter(|_| !is_told)?;
    let set = change.describe(format, dialect);
    Some(format!("the header has {most} of {wanted} columns with {set}: set it, and correct the other names"))
}

/// Whether only lines at the beginning of a file begin with `#`, so that they are hardly records.
fn has_comments(read: &[u8]) -> bool {
    let mut lines = read.split(|byte| *byte == b'\n').skip_while(|line| line.starts_with(b"#"));
    read.starts_with(b"#") && lines.all(|line| !line.starts_with(b"#"))
}

/// Returns all changes to try, those of few lines first.
fn changes(dialect: &Dialect, has_comments: bool) -> impl Iterator<Item = Change> {
    let others = COMMON_DELIMITERS
        .into_iter()
        .filter(|other| dialect.delimiter.bytes() != other.to_string().as_bytes());
    let delimiters: Vec<Option<char>> = [None].into_iter().chain(others.map(Some)).collect();
    let comments = [(true, 0)].into_iter().filter(move |_| has_comments && dialect.lenient.comment.is_none());
    let lines = (0..=LINES).map(|lines| (false, lines));
    comments.chain(lines).flat_map(move |(comment, lines)| {
        delimiters
            .clone()
            .into_iter()
            .flat_map(move |delimiter| [false, true].map(|trim| Change { delimiter, trim, comment, lines }))
    })
}

impl Change {
    /// Returns the changed dialect, if it is valid.
    fn of(&self, dialect: &Dialect) -> Option<Dialect> {
        let mut changed = dialect.clone();
        if let Some(delimiter) = self.delimiter {
            changed.delimiter = Delimiter::new(&delimiter.to_string())?;
        }
        if self.comment {
            changed.lenient.comment = Comment::new("#");
        }
        changed.lenient.trim |= self.trim;
        changed.skip_lines = changed.skip_lines.saturating_add(self.lines);
        let has_header = matches!(changed.header, HeaderRule::Lines(_));
        (has_header && changed.check().is_ok()).then_some(changed)
    }

    /// Returns the settings of the change.
    fn describe(&self, format: &Format, dialect: &Dialect) -> String {
        let delimiter = self.delimiter.map(|delimiter| ("delimiter", text::yaml(&delimiter.to_string())));
        let trim = self.trim.then(|| ("trim", "true".to_owned()));
        let skipped = dialect.skip_lines.saturating_add(self.lines);
        let lines = (self.lines > 0).then(|| ("skip_lines", skipped.to_string()));
        let comment = self.comment.then(|| ("comment", "\"#\"".to_owned()));
        let settings = delimiter.into_iter().chain(comment).chain(lines).chain(trim);
        let settings: Vec<String> =
            settings.map(|(key, value)| format!("{}: {value}", format.setting(key))).collect();
        settings.join(" and ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Feed;

    fn advice(feed: &str, text: &str) -> Option<String> {
        let feed = Feed::named(feed).unwrap_or_default();
        let (format, names) = (Format::default().of(&feed), ["id", "name", "n"]);
        let columns = |header: &Header| {
            let is_found = |name: &&&str| header.0.iter().any(|found| found == **name);
            (names.iter().filter(is_found).count(), names.len())
        };
        let is_told = !text.contains(',');
        let found = super::advice(&format, (text.as_bytes(), true), encoding_rs::UTF_8, columns, is_told);
        futures::executor::block_on(found)
    }

    #[test]
    fn settings_that_give_the_header_all_columns_are_named() {
        let cases = [
            ("id;name;n\n1;a;2\n", None),
            ("id; name; n\n", Some("delimiter: \";\" and source.format.trim: true")),
            ("Report of 2024\nmade by hand, today\nid,name,n\n1,a,2\n", Some("skip_lines: 2")),
            ("Report\n\nid|name|n\n", Some("delimiter: \"|\" and source.format.skip_lines: 1")),
            ("id, name, n\n1, a, 2\n", Some("trim: true")),
            ("# by hand\nid,name,n\n", Some("comment: \"#\"")),
            ("# by hand\nid,name,n\n#1,a,2\n", Some("skip_lines: 1")),
            ("# by hand\n# today\nid;name;n\n", Some("delimiter: \";\" and source.format.comment: \"#\"")),
            ("id,nome,n\n1,a,2\n", None),
            ("id;name;n;price (EUR, net)\n", Some("delimiter: \";\"")),
        ];
        for (text, expected) in cases {
            let expected = expected
                .map(|settings| format!("the header has all columns with source.format.{settings}: set it"));
            assert_eq!(advice("", text), expected, "{text:?}");
        }
        let named = advice("clicks", "id; name; n\n").unwrap();
        let settings =
            "feeds.clicks.source.format.delimiter: \";\" and feeds.clicks.source.format.trim: true";
        assert!(named.contains(settings), "{named}");
        let nearly = "the header has 2 of 3 columns with source.format.delimiter: \";\": set it, and correct the other names";
        assert_eq!(advice("", "id;nome;n;price (EUR, net)\n").as_deref(), Some(nearly));
        assert_eq!(advice("", "id;nome;n\n"), None, "the header is one field and says so itself");
    }
}
