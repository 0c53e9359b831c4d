//! Where the names of the fields come from, and when a name is that of a column.

use std::borrow::Cow;

/// Where the names of the fields come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderRule {
    /// The file has a header. The names are in the first of this many lines, which is at least 1.
    Lines(u64),
    /// The file has no header. Its fields have these names.
    Names(Vec<String>),
}

/// When a name of a header is that of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameMatch {
    /// If all their characters are equal.
    #[default]
    Exact,
    /// If they differ in nothing but case and the white space around them.
    Relaxed,
}

impl NameMatch {
    pub fn is_same(self, one: &str, other: &str) -> bool {
        self.normal(one) == self.normal(other)
    }

    /// Returns a name without what may differ in it.
    pub fn normal(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Exact => Cow::Borrowed(name),
            Self::Relaxed => Cow::Owned(name.trim().to_lowercase()),
        }
    }
}
