//! Feeds by name. The sections `source` and `tables` at the top are the short form for a feed without a name.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::config::sections::{Config, Http, Limits, Log, Shutdown, SourceConfig, Tables, Write};
use crate::config::verify::Verify;
use crate::domain::Feed;
use crate::store::backend::StoreConfig;

/// The sections of one named feed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedConfig {
    source: SourceConfig,
    tables: Tables,
}

/// The whole file: the sections of a feed without a name, feeds with names, and the sections that all feeds share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: Option<SourceConfig>,
    tables: Option<Tables>,
    #[serde(default)]
    feeds: NamedFeeds,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    write: Write,
    #[serde(default)]
    store: StoreConfig,
    #[serde(default)]
    verify: Verify,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    shutdown: Shutdown,
}

/// The settings of each feed, in the order of their names. Each has the sections that all feeds share.
#[derive(Debug)]
pub struct Configs(pub Vec<Config>);

impl<'de> Deserialize<'de> for Configs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let File { source, tables, feeds, limits, write, store, verify, http, log, shutdown } =
            File::deserialize(from)?;
        let mut all = feeds.0;
        match (source, tables) {
            (Some(source), Some(tables)) => all.push((Feed::default(), FeedConfig { source, tables })),
            (None, None) if !all.is_empty() => {}
            (None, _) => return Err(de::Error::missing_field("source")),
            (_, None) => return Err(de::Error::missing_field("tables")),
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let config = |(feed, FeedConfig { source, tables }): (Feed, FeedConfig)| Config {
            source: SourceConfig { feed, ..source },
            tables,
            limits: limits.clone(),
            write: write.clone(),
            store: store.clone(),
            verify: verify.clone(),
            http: http.clone(),
            log: log.clone(),
            shutdown: shutdown.clone(),
        };
        Ok(Self(all.into_iter().map(config).collect()))
    }
}

/// Reads the settings of the first feed.
#[cfg(test)]
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Configs(feeds) = Configs::deserialize(from)?;
        feeds.into_iter().next().ok_or_else(|| de::Error::missing_field("source"))
    }
}

/// Feeds with names, in the order of the file.
#[derive(Debug, Default)]
struct NamedFeeds(Vec<(Feed, FeedConfig)>);

/// The name of a feed.
struct Name(Feed);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        Feed::named(&name).map(Self).ok_or_else(|| {
            let rule = "a name has up to 48 letters, digits, _ and -";
            de::Error::custom(format!("`{name}` cannot be the name of a feed: {rule}"))
        })
    }
}

impl<'de> Deserialize<'de> for NamedFeeds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NamedFeeds::default())
    }
}

impl<'de> Visitor<'de> for NamedFeeds {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping by name")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(Name(feed)) = map.next_key()? {
            // Variables of the environment and some file systems do not tell them apart.
            if let Some((other, _)) =
                self.0.iter().find(|(other, _)| other.name().eq_ignore_ascii_case(feed.name()))
            {
                let message =
                    format!("the feeds `{other}` and `{feed}` differ only in case; rename one of them");
                return Err(de::Error::custom(message));
            }
            self.0.push((feed, map.next_value()?));
        }
        Ok(self)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self, E> {
        Ok(self)
    }
}

/// Returns a setting of a named feed as the short form has it: `source.poll` for `feeds.clicks.source.poll`.
pub fn in_short_form(path: &str) -> &str {
    let of_feed = path.strip_prefix("feeds.").and_then(|path| path.split_once('.'));
    of_feed.map_or(path, |(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Vec<Config>, String> {
        let parsed = serde_saphyr::from_str::<Configs>(yaml);
        parsed.map(|Configs(all)| all).map_err(|error| error.to_string())
    }

    const FEED: &str = "{ source: { columns: { a: int } }, tables: {} }";

    fn names(yaml: &str) -> Vec<String> {
        parse(yaml).unwrap().iter().map(|config| config.source.feed.to_string()).collect()
    }

    #[test]
    fn named_feeds_stand_alone_or_beside_the_short_form() {
        let short = "source: { columns: { a: int } }\ntables: {}\n";
        assert_eq!(names(short), [""]);
        assert_eq!(names(&format!("feeds: {{ b: {FEED}, a: {FEED} }}")), ["a", "b"]);
        assert_eq!(names(&format!("{short}feeds: {{ b: {FEED} }}\nwrite: {{ window: 7 }}")), ["", "b"]);
        assert_eq!(names(&format!("{short}feeds:\n")), [""], "an empty section");
        let all = parse(&format!("{short}feeds: {{ b: {FEED} }}\nwrite: {{ window: 7 }}")).unwrap();
        assert!(all.iter().all(|config| config.write.window == 7), "the other sections are shared");
    }

    #[test]
    fn feeds_that_cannot_be_told_apart_or_are_incomplete_are_refused() {
        for (yaml, expected) in [
            (format!("feeds: {{ a: {FEED}, A: {FEED} }}"), "`a` and `A` differ only in case"),
            (format!("feeds: {{ a/b: {FEED} }}"), "`a/b` cannot be the name of a feed"),
            ("feeds: { a: { source: { columns: { a: int } } } }".to_owned(), "tables"),
            ("feeds: { a: { source: {}, tables: {}, store: {} } }".to_owned(), "columns"),
            ("feeds: {}".to_owned(), "source"),
            ("source: { columns: { a: int } }".to_owned(), "tables"),
            (format!("tables: {{}}\nfeeds: {{ a: {FEED} }}"), "source"),
        ] {
            let error = parse(&yaml).unwrap_err();
            assert!(error.contains(expected), "{yaml}: {error}");
        }
    }

    #[test]
    fn settings_of_a_feed_are_those_of_the_short_form() {
        assert_eq!(in_short_form("feeds.clicks.source.poll"), "source.poll");
        assert_eq!(in_short_form("source.poll"), "source.poll");
        assert_eq!(in_short_form("feeds.clicks"), "feeds.clicks");
    }
}
