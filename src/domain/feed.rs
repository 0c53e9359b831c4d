//! Feeds, and the files of feeds as keys of the ledger.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The name of a feed: a named source. The feed of a configuration that names none has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Feed(Arc<str>);

/// The maximum length of the name of a feed.
const LONGEST: usize = 48;

impl Feed {
    /// Returns the feed with this name: 1 to 48 ASCII letters, digits, `_` and `-`. Returns `None` for other names.
    pub fn named(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.into()))
    }

    /// Returns the name, which is empty for the unnamed feed.
    pub fn name(&self) -> &str {
        &self.0
    }

    pub fn is_named(&self) -> bool {
        !self.0.is_empty()
    }

    /// Returns the path of a setting of this feed in the configuration: `feeds.clicks.source.poll`, or `source.poll` for the
    /// feed without a name.
    pub fn setting(&self, path: &str) -> String {
        setting(self.name(), path)
    }
}

/// Returns the path of a setting of the feed with this name. See [`Feed::setting`].
pub fn setting(feed: &str, path: &str) -> String {
    match feed {
        "" => path.to_owned(),
        feed => format!("feeds.{feed}.{path}"),
    }
}

/// Returns the words for a feed in a message. The feed without a name has an empty name.
pub fn title(name: &str) -> String {
    match name {
        "" => "the feed without a name".to_owned(),
        name => format!("the feed `{name}`"),
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A feed is ordered and hashed like its name.
impl Borrow<str> for Feed {
    fn borrow(&self) -> &str {
        self.name()
    }
}

fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain)
}

/// A file of a feed: the key of ledgers and of file states.
///
/// It is kept as its text form: `PATH` for the unnamed feed, else `FEED//PATH`. An unnamed path that contains `//` is
/// written `//PATH`. Each text has exactly one meaning. Two keys are equal if feed and path are equal.
#[derive(Clone, Debug)]
pub struct FileKey(Arc<str>);

/// Separates feed and path. The name of a feed has no `/`.
const SEPARATOR: &str = "//";

impl FileKey {
    /// Creates the key of a file. The path is relative to the inbox of the feed, with `/` between
    /// folders. It is absolute if the file is outside the inbox.
    pub fn new(feed: &Feed, path: impl Into<Arc<str>>) -> Self {
        let path = path.into();
        match feed.is_named() || separator(&path).is_some() {
            true => Self(format!("{feed}{SEPARATOR}{path}").into()),
            false => Self(path),
        }
    }

    /// Reads a text form.
    pub fn from_text(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text form, as ledgers keep it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Returns the name of the feed, which is empty for the unnamed feed.
    pub fn feed(&self) -> &str {
        self.parts().0
    }

    pub fn path(&self) -> &str {
        self.parts().1
    }

    pub fn is_of(&self, feed: &Feed) -> bool {
        self.feed() == feed.name()
    }

    fn parts(&self) -> (&str, &str) {
        let text = self.text();
        let named = separator(text).map(|at| (&text[..at], &text[at + SEPARATOR.len()..]));
        // In a path that an earlier version wrote, the text before the separator may not be the name of a feed.
        named.filter(|(feed, _)| feed.is_empty() || is_name(feed)).unwrap_or(("", text))
    }
}

/// Returns where the first `//` begins. Keys are compared often, so this is faster than a search for any text.
fn separator(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'/', bytes).find(|at| bytes.get(at + 1) == Some(&b'/'))
}

impl PartialEq for FileKey {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for FileKey {}

impl Hash for FileKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialOrd for FileKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FileKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl fmt::Display for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A file of the unnamed feed.
#[cfg(test)]
impl From<&str> for FileKey {
    fn from(path: &str) -> Self {
        Self::new(&Feed::default(), path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed() -> impl Strategy<Value = Feed> {
        prop_oneof![Just(Feed::default()), "[A-Za-z0-9_-]{1,48}".prop_map(|name| Feed::named(&name).unwrap())]
    }

    /// Paths with many slashes, and with parts that could be names of feeds.
    fn path() -> impl Strategy<Value = String> {
        prop_oneof!["[ab/]{0,8}", any::<String>()]
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_it_was_written(feed in feed(), path in path()) {
            let key = FileKey::new(&feed, path.as_str());
            let read = FileKey::from_text(key.text());
            for key in [&key, &read] {
                prop_assert_eq!((key.feed(), key.path()), (feed.name(), path.as_str()));
            }
            prop_assert!(key == read && key.is_of(&feed));
            prop_assert_eq!(key.to_string(), key.text());
        }

        #[test]
        fn different_files_have_different_texts(one in ("[ab]{0,2}", "[ab/]{0,6}"), other in ("[ab]{0,2}", "[ab/]{0,6}")) {
            let key = |(feed, path): &(String, String)| {
                FileKey::new(&Feed::named(feed).unwrap_or_default(), path.as_str())
            };
            let keys = (key(&one), key(&other));
            prop_assert_eq!(keys.0.text() == keys.1.text(), one == other);
            prop_assert_eq!(keys.0.cmp(&keys.1), one.cmp(&other));
        }

        #[test]
        fn any_text_has_a_meaning(text in path()) {
            let key = FileKey::from_text(text.as_str());
            let again = FileKey::new(&Feed::named(key.feed()).unwrap_or_default(), key.path());
            prop_assert_eq!(&again, &key);
            prop_assert_eq!(key.text(), text);
        }
    }

    #[test]
    fn the_text_is_the_path_unless_feed_or_path_need_a_separator() {
        let path: Arc<str> = "sub/a.csv".into();
        let key = FileKey::new(&Feed::default(), Arc::clone(&path));
        assert!(std::ptr::eq(key.text(), &*path), "the path is not copied");
        let clicks = Feed::named("clicks").unwrap();
        assert_eq!(FileKey::new(&clicks, path).text(), "clicks//sub/a.csv");
        assert_eq!(FileKey::new(&clicks, "/a.csv").text(), "clicks///a.csv");
        assert_eq!(FileKey::from("sub//a.csv").text(), "//sub//a.csv");
        let earlier = FileKey::from_text("a b//c.csv");
        assert_eq!((earlier.feed(), earlier.path()), ("", "a b//c.csv"));
        assert_eq!(size_of::<FileKey>(), 16);
    }

    #[test]
    fn settings_are_named_as_the_configuration_has_them() {
        assert_eq!(Feed::default().setting("source.poll"), "source.poll");
        assert_eq!(Feed::named("clicks").unwrap().setting("source.poll"), "feeds.clicks.source.poll");
    }

    #[test]
    fn a_name_is_short_and_plain() {
        for name in ["a", "Clicks-2_eu", "0", &"x".repeat(48)] {
            assert_eq!(Feed::named(name).unwrap().name(), name);
        }
        for name in ["", "a b", "a/b", "é", ".", &"x".repeat(49)] {
            assert_eq!(Feed::named(name), None, "{name}");
        }
    }
}
