//! The files of an inbox that are not loaded because of their names or because they are no regular files. They are
//! counted, so that nobody has to guess why a file is not loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tracing::{info, warn};

use crate::domain::feed::setting;

/// The files of one listing that are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Files whose names match no pattern.
    pub unmatched: Suffixes,
    /// Files with ignored names, such as temporary files.
    pub ignored: Suffixes,
    pub not_utf8: NotUtf8,
    pub not_files: NotFiles,
}

/// Entries that have the names of files but are none, by what they are: `broken links`, `pipes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotFiles {
    pub kinds: BTreeMap<&'static str, u64>,
}

/// Files whose names are not UTF-8. The ledger cannot name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotUtf8 {
    pub files: u64,
    /// The first of the names, with the bytes that are not UTF-8 escaped.
    pub example: String,
}

/// Numbers of files by the suffix of their names. They take little memory, however many names there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suffixes {
    /// The key is the suffix in lower case, such as `.csv.bz2`. It is empty for names without a suffix.
    pub files: BTreeMap<String, u64>,
    /// Files with further suffixes.
    pub others: u64,
}

/// The maximum number of suffixes that are counted separately.
const SUFFIXES: usize = 20;

/// The number of logged suffixes that are remembered.
const REMEMBERED: usize = 500;

/// The maximum length of a suffix without its dot. What follows the last dot of a longer name is no suffix.
const LONGEST: usize = 12;

/// The maximum number of characters of a name that are shown.
const SHOWN: usize = 200;

/// Suffixes that say nothing about the content, so the suffix before them is named too.
const COMPRESSED: [&str; 10] = ["gz", "zst", "zip", "bz2", "xz", "lz4", "7z", "br", "lzma", "z"];

impl LeftOut {
    /// Describes the files of a feed, or of all feeds if it has no name, whose names match no pattern.
    pub fn unmatched_text(&self, feed: &str) -> Option<String> {
        let setting = setting(feed, "source.pattern");
        let (many, one) = (format!("match no {setting}"), format!("matches no {setting}"));
        let files = files(self.unmatched.total(), &many, &one)?;
        Some(format!("{files}: {}", self.unmatched))
    }

    /// Describes the files with ignored names, if there are any.
    pub fn ignored_text(&self) -> Option<String> {
        let files =
            files(self.ignored.total(), "have hidden or ignored names", "has a hidden or ignored name")?;
        Some(format!("{files}: {}", self.ignored))
    }

    /// Describes the files whose names are not UTF-8, if there are any.
    pub fn not_utf8_text(&self) -> Option<String> {
        let NotUtf8 { files: count, example } = &self.not_utf8;
        let files = files(*count, "have names that are not UTF-8, such as", "has a name that is not UTF-8:")?;
        Some(format!("{files} {example}"))
    }

    /// Describes the entries that are no files, if there are any.
    pub fn not_files_text(&self) -> Option<String> {
        let text = match self.not_files.total() {
            0 => return None,
            1 => "1 entry is no regular file".to_owned(),
            count => format!("{count} entries are no regular files"),
        };
        let kind = |(kind, count): (&&str, &u64)| format!("{kind}: {count}");
        let kinds: Vec<String> = self.not_files.kinds.iter().map(kind).collect();
        Some(format!("{text} ({})", kinds.join(", ")))
    }

    /// Adds the files of another folder.
    pub fn merge(&mut self, other: &Self) {
        other.not_files.kinds.iter().for_each(|(kind, count)| self.not_files.count(kind, *count));
        self.unmatched.merge(&other.unmatched);
        self.ignored.merge(&other.ignored);
        if self.not_utf8.files == 0 {
            self.not_utf8.example.clone_from(&other.not_utf8.example);
        }
        self.not_utf8.files += other.not_utf8.files;
    }

    /// Logs what is news since `logged`: new suffixes, and with `more` also further files with known suffixes. Returns
    /// whether anything was logged, and remembers it. Names the feed if it has a name.
    pub fn log(&self, feed: &str, logged: &mut Logged, more: bool) -> bool {
        let (name, feed) = (feed, Some(feed).filter(|feed| !feed.is_empty()));
        let was_not_utf8 = logged.not_utf8;
        let is_new_name = self.not_utf8.files > was_not_utf8 && (more || was_not_utf8 == 0);
        let unmatched = self.unmatched_text(name).filter(|_| logged.unmatched.is_news(&self.unmatched, more));
        let ignored = self.ignored_text().filter(|_| logged.ignored.is_news(&self.ignored, more));
        let not_utf8 = self.not_utf8_text().filter(|_| is_new_name);
        let ignore = setting(name, "source.ignore");
        let not_files = self.not_files_text().filter(|_| self.not_files.is_news(&logged.not_files, more));
        let is_logged = [&unmatched, &ignored, &not_utf8, &not_files].into_iter().any(|text| text.is_some());
        if let Some(text) = unmatched {
            warn!(feed, "{text}; they are not loaded: add a pattern, or add them to {ignore}");
        }
        if let Some(text) = not_utf8 {
            warn!(feed, "{text}; rename it and it will be loaded");
        }
        if let Some(text) = not_files {
            warn!(
                feed,
                "{text}; they are not loaded: mend the links, or put the files themselves into the inbox"
            );
        }
        if let Some(text) = ignored {
            info!(feed, "{text} ({ignore})");
        }
        if is_logged {
            logged.unmatched.remember(&self.unmatched);
            logged.ignored.remember(&self.ignored);
            logged.not_utf8 = self.not_utf8.files;
            logged.not_files.clone_from(&self.not_files);
        }
        is_logged
    }
}

/// What was logged of the files of an inbox that are left out.
#[derive(Clone, Debug, Default)]
pub struct Logged {
    unmatched: LoggedSuffixes,
    ignored: LoggedSuffixes,
    not_utf8: u64,
    not_files: NotFiles,
}

/// The suffixes that were logged, and the numbers of files in the last log line.
#[derive(Clone, Debug, Default)]
struct LoggedSuffixes {
    names: BTreeSet<String>,
    others: u64,
    total: u64,
}

impl LoggedSuffixes {
    /// Whether there is a suffix that was not logged, or more files if that is asked. A suffix may be new only because
    /// it is named now, and was counted among the others before.
    fn is_news(&self, now: &Suffixes, more: bool) -> bool {
        let has_more = now.total() > self.total;
        let is_new = now.files.keys().any(|suffix| !self.names.contains(suffix));
        (is_new && (self.others == 0 || has_more)) || (more && has_more)
    }

    fn remember(&mut self, now: &Suffixes) {
        if self.names.len() > REMEMBERED {
            self.names.clear();
        }
        self.names.extend(now.files.keys().cloned());
        (self.others, self.total) = (now.others, now.total());
    }
}

fn files(count: u64, many: &str, one: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 file {one}")),
        _ => Some(format!("{count} files {many}")),
    }
}

impl NotFiles {
    pub fn add(&mut self, kind: &'static str) {
        self.count(kind, 1);
    }

    fn count(&mut self, kind: &'static str, more: u64) {
        *self.kinds.entry(kind).or_default() += more;
    }

    pub fn total(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// Whether there are kinds that `logged` does not have, or, with `more`, more entries.
    fn is_news(&self, logged: &Self, more: bool) -> bool {
        self.kinds.keys().any(|kind| !logged.kinds.contains_key(kind))
            || (more && self.total() > logged.total())
    }
}

impl NotUtf8 {
    pub fn add(&mut self, name: &[u8]) {
        if self.files == 0 {
            self.example = name.escape_ascii().to_string().chars().take(SHOWN).collect();
        }
        self.files += 1;
    }
}

impl Suffixes {
    /// Counts a file.
    pub fn add(&mut self, name: &str) {
        self.count(suffix(name), 1);
    }

    fn merge(&mut self, other: &Self) {
        other.files.iter().for_each(|(suffix, files)| self.count(suffix.clone(), *files));
        self.others += other.others;
    }

    fn count(&mut self, suffix: String, more: u64) {
        let is_known = self.files.len() < SUFFIXES || self.files.contains_key(&suffix);
        match is_known {
            true => *self.files.entry(suffix).or_default() += more,
            false => self.others += more,
        }
    }

    pub fn total(&self) -> u64 {
        self.files.values().sum::<u64>() + self.others
    }
}

/// Lists the suffixes, the most frequent first: `2 .csv.bz2, 1 without a suffix`.
impl fmt::Display for Suffixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(_, files)| std::cmp::Reverse(**files));
        let named = files.into_iter().map(|(suffix, files)| match suffix.as_str() {
            "" => format!("{files} without a suffix"),
            suffix => format!("{files} {suffix}"),
        });
        let others = (self.others > 0).then(|| format!("{} others", self.others));
        f.write_str(&named.chain(others).collect::<Vec<_>>().join(", "))
    }
}

/// Returns the suffix of a name in lower case, with its dot. Returns an empty text if the name has none. Digits alone
/// are no suffix: they count, as in the rotated logs `app.log.1` and `app.log.2`.
fn suffix(name: &str) -> String {
    let mut parts = name.trim_start_matches('.').rsplit('.');
    let suffix_of = |part: &str, rest: bool| {
        let is_suffix =
            (1..=LONGEST).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        (rest && is_suffix).then(|| part.to_ascii_lowercase())
    };
    let mut next = || {
        let part = parts.next()?;
        suffix_of(part, parts.clone().next().is_some())
    };
    let Some(last) = next().filter(|last| last.bytes().any(|b| b.is_ascii_alphabetic())) else {
        return String::new();
    };
    let before = COMPRESSED.contains(&last.as_str()).then(next).flatten();
    let before = before.filter(|part| part.bytes().any(|b| b.is_ascii_alphabetic()));
    before.map_or_else(|| format!(".{last}"), |before| format!(".{before}.{last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_file_is_named_with_both_suffixes() {
        for (name, expected) in [
            ("a.csv.BZ2", ".csv.bz2"),
            ("a.TXT", ".txt"),
            ("a.2024.gz", ".gz"),
            ("a.gz", ".gz"),
            ("README", ""),
            (".hidden", ""),
            (".a.csv.crc", ".crc"),
            ("a.b c", ""),
            ("a.", ""),
            ("a.conflict-2024-03-01-101010", ""),
            ("app.log.10", ""),
            ("a.2024", ""),
            ("a.é", ""),
        ] {
            assert_eq!(suffix(name), expected, "{name}");
        }
    }

    #[test]
    fn new_suffixes_are_logged_at_once_and_more_files_only_on_request() {
        let of = |names: &[&str]| {
            let mut left_out = LeftOut::default();
            names.iter().for_each(|name| left_out.unmatched.add(name));
            left_out
        };
        let nothing = LeftOut::default();
        let after = |earlier: &LeftOut| {
            let mut logged = Logged::default();
            earlier.log("", &mut logged, false);
            logged
        };
        let is_news = |now: &[&str], before: &[&str], more| of(now).log("", &mut after(&of(before)), more);
        assert!(!is_news(&[], &[], true));
        assert!(is_news(&["a.txt"], &[], false));
        assert!(!is_news(&["a.txt", "b.txt"], &["a.txt"], false));
        assert!(is_news(&["a.txt", "b.txt"], &["a.txt"], true));
        assert!(is_news(&["a.pdf"], &["a.txt"], false));
        assert!(!is_news(&["a.txt"], &["a.txt", "b.txt"], true), "there are fewer now");
        let mut unnamed = nothing.clone();
        unnamed.not_utf8.add(b"caf\xe9.csv");
        assert!(unnamed.log("", &mut after(&nothing), false) && !unnamed.log("", &mut after(&unnamed), true));
        let mut linked = nothing.clone();
        linked.not_files.add("pipes");
        linked.not_files.add("pipes");
        assert!(linked.log("", &mut after(&nothing), false) && !linked.log("", &mut after(&linked), true));
        linked.not_files.add("broken links");
        let text = "3 entries are no regular files (broken links: 1, pipes: 2)";
        assert_eq!(linked.not_files_text().unwrap(), text);
        assert_eq!(unnamed.not_utf8_text().unwrap(), "1 file has a name that is not UTF-8: caf\\xe9.csv");
    }

    #[test]
    fn a_suffix_that_was_logged_or_counted_among_the_others_is_no_news() {
        let of = |range: std::ops::Range<u32>| {
            let mut left_out = LeftOut::default();
            range.for_each(|n| left_out.unmatched.add(&format!("a.x{n}")));
            left_out
        };
        let mut logged = Logged::default();
        assert!(of(10..50).log("", &mut logged, false));
        for gone in 11..40 {
            assert!(!of(gone..50).log("", &mut logged, false), "{gone}");
        }
        assert!(of(11..60).log("", &mut logged, false), "there are more than before");
        let mut logged = Logged::default();
        assert!(of(1..3).log("", &mut logged, false) && of(2..4).log("", &mut logged, false));
        assert!(!of(1..2).log("", &mut logged, false), "it was logged before");
    }

    #[test]
    fn the_most_frequent_suffixes_are_listed_first_and_their_number_is_bounded() {
        let mut suffixes = Suffixes::default();
        ["a.txt", "b.pdf", "c.PDF", "d"].iter().for_each(|name| suffixes.add(name));
        assert_eq!(suffixes.to_string(), "2 .pdf, 1 without a suffix, 1 .txt");
        (0..100).for_each(|n| suffixes.add(&format!("a.x{n}")));
        assert_eq!((suffixes.files.len(), suffixes.total()), (SUFFIXES, 104));
        assert!(suffixes.to_string().ends_with("83 others"));
    }
}
