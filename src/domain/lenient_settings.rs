//! The settings that say what a format tolerates. By default it tolerates nothing.

use std::fmt;

/// The settings that let records differ from the format in a declared way. The default is strict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LenientSettings {
    /// A line that begins with this text, where a record could begin, is not a record.
    pub comment: Option<Comment>,
    /// Whether blanks around a field are not part of it.
    pub trim: bool,
    /// Whether records of nothing but delimiters are skipped.
    pub skip_blank_rows: bool,
    /// Whether records that repeat the header are skipped.
    pub skip_repeated_headers: bool,
    pub extra_fields: ExtraFields,
    /// Whether fields that a record lacks at its end are empty.
    pub pad_missing: bool,
}

/// What happens to a record with more fields than the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtraFields {
    #[default]
    Refuse,
    /// The fields after those of the header are left out.
    Ignore,
    /// One more field is left out if it is empty. An empty last name in the header is no name.
    IgnoreEmptyLast,
}

impl LenientSettings {
    /// Whether a record with this number of fields has the fields of a header with `names` names. `is_empty` is whether
    /// its last field is empty.
    pub fn fits(&self, fields: usize, names: usize, is_empty: bool) -> bool {
        match self.extra_fields {
            _ if fields == names => true,
            _ if fields < names => self.pad_missing,
            ExtraFields::Refuse => false,
            ExtraFields::Ignore => true,
            ExtraFields::IgnoreEmptyLast => fields == names + 1 && is_empty,
        }
    }

    /// Describes the settings that are not strict, for fingerprints.
    pub fn declaration(&self) -> impl Iterator<Item = String> {
        let comment = self.comment.as_ref().map(|comment| format!("comment {comment}"));
        let extra =
            (self.extra_fields != ExtraFields::Refuse).then(|| format!("extra {:?}", self.extra_fields));
        let flags = [
            (self.trim, "trim"),
            (self.skip_blank_rows, "skip blank rows"),
            (self.skip_repeated_headers, "skip repeated headers"),
            (self.pad_missing, "pad"),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name.to_owned());
        comment.into_iter().chain(extra).chain(flags)
    }
}

/// The text with which comment lines begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment(Box<str>);

impl Comment {
    /// The maximum length in bytes.
    pub const LONGEST: usize = 16;

    /// Returns `None` if the text is empty, longer than [`Self::LONGEST`], or has a character that ends a line.
    pub fn new(text: &str) -> Option<Self> {
        let is_valid = (1..=Self::LONGEST).contains(&text.len()) && !text.contains(['\0', '\n', '\r']);
        is_valid.then(|| Self(text.into()))
    }

    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Comment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}
