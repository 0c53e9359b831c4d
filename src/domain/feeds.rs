//! A value for each declared feed, found by the key of a file.

use std::collections::BTreeMap;

use super::feed::{Feed, FileKey};

/// A value for each declared feed, in the order of their names. The feed without a name comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feeds<T>(BTreeMap<Feed, T>);

/// A file belongs to a feed that the configuration does not declare.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", describe(.0))]
pub struct NotDeclared(pub String);

fn describe(feed: &str) -> String {
    match feed {
        "" => "it belongs to the feed without a name, but source and tables are not declared".to_owned(),
        feed => format!("its feed `{feed}` is not declared"),
    }
}

impl<T> Feeds<T> {
    /// Creates the values of no feeds.
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Creates the value of the only feed.
    pub fn one(feed: Feed, value: T) -> Self {
        Self(BTreeMap::from([(feed, value)]))
    }

    /// Returns the value of a file's feed.
    ///
    /// # Errors
    /// Returns an error if the feed is not declared.
    pub fn of(&self, file: &FileKey) -> Result<&T, NotDeclared> {
        self.0.get(file.feed()).ok_or_else(|| NotDeclared(file.feed().to_owned()))
    }

    pub fn of_mut(&mut self, file: &FileKey) -> Option<&mut T> {
        self.0.get_mut(file.feed())
    }

    pub fn get(&self, feed: &Feed) -> Option<&T> {
        self.0.get(feed)
    }

    pub fn get_mut(&mut self, feed: &Feed) -> Option<&mut T> {
        self.0.get_mut(feed)
    }

    pub fn remove(&mut self, feed: &Feed) -> Option<T> {
        self.0.remove(feed)
    }

    pub fn insert(&mut self, feed: Feed, value: T) {
        self.0.insert(feed, value);
    }

    /// Returns the feeds with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&Feed, &T)> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Feed, &mut T)> {
        self.0.iter_mut()
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    /// Makes another value for each feed.
    pub fn map<U>(&self, mut make: impl FnMut(&T) -> U) -> Feeds<U> {
        Feeds(self.0.iter().map(|(feed, value)| (feed.clone(), make(value))).collect())
    }
}

impl<T> FromIterator<(Feed, T)> for Feeds<T> {
    fn from_iter<I: IntoIterator<Item = (Feed, T)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_the_feed_of_a_file() {
        let [plain, clicks, views] =
            ["", "clicks", "views"].map(|name| Feed::named(name).unwrap_or_default());
        let feeds: Feeds<_> = [(views, 3), (plain.clone(), 1), (clicks, 2)].into_iter().collect();
        let of = |text: &str| feeds.of(&FileKey::from_text(text)).copied();
        assert_eq!([of("a.csv"), of("clicks//a.csv"), of("views//sub/a.csv")], [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(of("Clicks//a.csv"), Err(NotDeclared("Clicks".to_owned())), "names keep their case");
        assert_eq!(feeds.map(|value| value * 2).values().copied().collect::<Vec<_>>(), [2, 4, 6]);
        let named = Feeds::one(Feed::named("clicks").unwrap(), ());
        let missing = |text: &str| named.of(&FileKey::from_text(text)).unwrap_err().to_string();
        assert_eq!(missing("old//a.csv"), "its feed `old` is not declared");
        assert!(missing("a.csv").contains("source and tables"), "{}", missing("a.csv"));
        assert_eq!(feeds.iter().next().map(|(feed, _)| feed), Some(&plain));
    }
}
