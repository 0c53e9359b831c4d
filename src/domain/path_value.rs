//! Values that a column takes from the path of its file.

use std::borrow::Cow;

use regex::Regex;

/// The name that Hive writes for an empty value.
const HIVE_EMPTY: &str = "__HIVE_DEFAULT_PARTITION__";

/// Which part of a path, relative to the inbox, is the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathValue {
    /// The whole path.
    Whole,
    /// The last part of the path.
    Name,
    /// The text that the group of a pattern matches.
    Matched(PathPattern),
    /// The value of the folder `NAME=VALUE`, as Hive and Spark write it.
    Hive(String),
}

/// Why a path has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoValue {
    /// Nothing in the path matches.
    Missing,
    /// The group of the pattern spans several folders.
    SeveralFolders,
    /// Several parts of the path match, with different values.
    SeveralValues,
    /// The decoded value is not UTF-8.
    NotText,
}

impl PathValue {
    /// Returns the value for a file with this path. It may be empty.
    ///
    /// # Errors
    /// Returns why the path has none.
    pub fn of<'p>(&self, path: &'p str) -> Result<Cow<'p, str>, NoValue> {
        match self {
            Self::Whole => Ok(Cow::Borrowed(path)),
            Self::Name => Ok(Cow::Borrowed(path.rsplit('/').next().unwrap_or(path))),
            Self::Matched(pattern) => match only(pattern.groups(path))? {
                part if part.contains('/') => Err(NoValue::SeveralFolders),
                part => Ok(Cow::Borrowed(part)),
            },
            Self::Hive(name) => hive(path, name),
        }
    }

    /// Describes the part, for messages and fingerprints.
    pub fn describe(&self) -> String {
        match self {
            Self::Whole => "path".to_owned(),
            Self::Name => "name".to_owned(),
            Self::Matched(pattern) => format!("match of `{}`", pattern.text),
            Self::Hive(name) => format!("folder `{name}=…`"),
        }
    }
}

/// A regular expression with one group.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: String,
    regex: Regex,
}

/// The error for a text that is not a [`PathPattern`].
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    #[error("`{text}` is not a regular expression: {reason}")]
    Invalid { text: String, reason: String },
    #[error("`{0}` has no group, so it is not known which part is the value")]
    NoGroup(String),
    #[error("`{0}` has several groups, so it is not known which one is the value")]
    SeveralGroups(String),
}

impl PathPattern {
    /// # Errors
    /// Returns an error if the text is not a regular expression with exactly one group.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let text = text.to_owned();
        let regex = match Regex::new(&text) {
            Ok(regex) => regex,
            Err(error) => {
                let reason = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                return Err(PatternError::Invalid { text, reason });
            }
        };
        match regex.captures_len() {
            2 => Ok(Self { text, regex }),
            0 | 1 => Err(PatternError::NoGroup(text)),
            _ => Err(PatternError::SeveralGroups(text)),
        }
    }

    /// Returns what the group is in each match.
    fn groups<'p>(&self, path: &'p str) -> impl Iterator<Item = &'p str> {
        self.regex.captures_iter(path).filter_map(|found| Some(found.get(1)?.as_str()))
    }
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathPattern {}

/// Returns the value that all matches have.
fn only<'p>(mut values: impl Iterator<Item = &'p str>) -> Result<&'p str, NoValue> {
    let first = values.next().ok_or(NoValue::Missing)?;
    if values.all(|other| other == first) { Ok(first) } else { Err(NoValue::SeveralValues) }
}

/// Returns the value of the folder `NAME=VALUE`, with its percent signs decoded.
fn hive<'p>(path: &'p str, name: &str) -> Result<Cow<'p, str>, NoValue> {
    let (folders, _) = path.rsplit_once('/').ok_or(NoValue::Missing)?;
    let values = folders.split('/').filter_map(|folder| folder.strip_prefix(name)?.strip_prefix('='));
    match only(values)? {
        HIVE_EMPTY => Ok(Cow::Borrowed("")),
        value => percent_decoded(value).ok_or(NoValue::NotText),
    }
}

/// Returns `None` if the bytes are not text.
fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let digits = digits.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = others.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "region=eu%2Fwest/day=2024-03-05/shop-17.csv";

    #[test]
    fn a_pattern_gives_the_text_of_its_group() {
        let of = |pattern: &str| {
            PathValue::Matched(PathPattern::new(pattern).unwrap()).of(PATH).map(Cow::into_owned)
        };
        assert_eq!(of(r"shop-(\d+)\.csv$").as_deref(), Ok("17"));
        assert_eq!(of("day=([^/]*)/").as_deref(), Ok("2024-03-05"));
        assert_eq!(of("day=(x)/"), Err(NoValue::Missing));
        assert_eq!(of("region=(.*)/"), Err(NoValue::SeveralFolders), "a greedy pattern takes two folders");
        assert_eq!(of("([0-9]+)"), Err(NoValue::SeveralValues), "the year or the shop");
    }

    #[test]
    fn a_pattern_needs_exactly_one_group() {
        let error = |text: &str| PathPattern::new(text).unwrap_err().to_string();
        assert!(error("a/b").contains("no group"), "{}", error("a/b"));
        assert!(error("(a)/(b)").contains("several groups"));
        assert!(error("(a").contains("not a regular expression: error: unclosed group"), "{}", error("(a"));
    }

    #[test]
    fn a_hive_folder_gives_its_decoded_value() {
        let of = |path: &str, name: &str| PathValue::Hive(name.to_owned()).of(path).map(Cow::into_owned);
        assert_eq!(of(PATH, "region").as_deref(), Ok("eu/west"));
        assert_eq!(of(PATH, "day").as_deref(), Ok("2024-03-05"));
        assert_eq!(of(PATH, "shop"), Err(NoValue::Missing));
        assert_eq!(of("day=__HIVE_DEFAULT_PARTITION__/a.csv", "day").as_deref(), Ok(""));
        assert_eq!(of("a/day=5.csv", "day"), Err(NoValue::Missing), "the file itself is no folder");
        assert_eq!(of("d=50%25%/a.csv", "d").as_deref(), Ok("50%%"));
        assert_eq!(of("d=%ff/a.csv", "d"), Err(NoValue::NotText));
        assert_eq!(of("d=a%+5b/a.csv", "d").as_deref(), Ok("a%+5b"));
        assert_eq!(of("d=1/d=2/a.csv", "d"), Err(NoValue::SeveralValues));
        assert_eq!(of("d=1/d=1/a.csv", "d").as_deref(), Ok("1"));
    }

    #[test]
    fn the_whole_path_and_the_name_are_values() {
        assert_eq!(PathValue::Whole.of("a/b.csv").as_deref(), Ok("a/b.csv"));
        assert_eq!(PathValue::Name.of("a/b.csv").as_deref(), Ok("b.csv"));
    }

    /// The description is a part of fingerprints.
    #[test]
    fn other_parts_of_a_path_have_other_descriptions() {
        let pattern = |text: &str| PathValue::Matched(PathPattern::new(text).unwrap());
        let hive = |name: &str| PathValue::Hive(name.to_owned());
        let all = [PathValue::Whole, PathValue::Name, pattern("(a)"), pattern("(b)"), hive("a"), hive("b")];
        for (at, one) in all.iter().enumerate() {
            assert!(
                all[..at].iter().all(|other| other != one && other.describe() != one.describe()),
                "{one:?}"
            );
        }
    }

    #[test]
    fn the_name_of_a_hive_folder_is_whole() {
        let of = |path: &str| PathValue::Hive("day".to_owned()).of(path).map(Cow::into_owned);
        assert_eq!(of("daytime=5/a.csv"), Err(NoValue::Missing));
        assert_eq!(of("daytime=5/day=6=7/a.csv").as_deref(), Ok("6=7"));
    }
}
