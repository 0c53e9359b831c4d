//! Finds what changed in a configuration, and which changes have to wait for a restart.

use serde_json::Value;

use crate::config::sections::Config;

/// Returns the settings that differ between two trees, such as `source.pattern` or `tables.user_song`.
pub fn changed(old: &Value, new: &Value) -> Vec<String> {
    let mut changed = Vec::new();
    for section in differing(old, new).into_iter().filter(|section| section != "feeds") {
        let (old, new) = (&old[&section], &new[&section]);
        match differing(old, new) {
            // Only the order of the keys differs, or the section is not in both trees.
            inner if inner.is_empty() => changed.push(section),
            inner => changed.extend(inner.into_iter().map(|name| format!("{section}.{name}"))),
        }
    }
    let none = Value::Object(serde_json::Map::new());
    let feeds =
        |tree: &'_ Value| if tree["feeds"].is_object() { tree["feeds"].clone() } else { none.clone() };
    let (old, new) = (&feeds(old), &feeds(new));
    for feed in differing(old, new) {
        let within = self::changed(&old[&feed], &new[&feed]);
        // The feed was added or removed.
        changed.extend(within.is_empty().then(|| format!("feeds.{feed}")));
        changed.extend(within.into_iter().map(|setting| format!("feeds.{feed}.{setting}")));
    }
    changed
}

/// Returns the keys whose values differ. The order of keys within a value matters, because it is the order of the
/// columns.
fn differing(old: &Value, new: &Value) -> Vec<String> {
    let names = |tree: &Value| tree.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    let (Some(mut all), Some(more)) = (names(old), names(new)) else { return Vec::new() };
    all.extend(more.into_iter().filter(|name| old.get(name).is_none()));
    let text = |tree: &Value, name: &str| tree[name].to_string();
    all.retain(|name| text(old, name) != text(new, name));
    all
}

impl Config {
    /// Keeps the settings of `running` that cannot change while the process runs. Returns the names of those that would
    /// have changed.
    pub fn keep_from(&mut self, running: &Self) -> Vec<&'static str> {
        let mut kept = Vec::new();
        let mut keep = |name, differs| {
            if differs {
                kept.push(name)
            }
        };
        keep("store.kind", self.store.kind != running.store.kind);
        keep("store.sqlite", self.store.sqlite != running.store.sqlite);
        keep("store.cassandra", self.store.cassandra != running.store.cassandra);
        keep("http.listen", self.http != running.http);
        keep("log", self.log != running.log);
        self.store.kind = running.store.kind;
        self.store.sqlite = running.store.sqlite.clone();
        self.store.cassandra = running.store.cassandra.clone();
        self.http = running.http.clone();
        self.log = running.log.clone();
        kept
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_named_with_their_section() {
        let old = json!({ "source": { "poll": "30s", "folder": "a" }, "tables": { "x": { "k": 1 } } });
        let new =
            json!({ "source": { "poll": "1s", "folder": "a" }, "tables": { "x": { "k": 1 }, "y": {} } });
        assert_eq!(changed(&old, &new), ["source.poll", "tables.y"]);
        assert_eq!(changed(&new, &old), ["source.poll", "tables.y"]);
        assert!(changed(&old, &old).is_empty());
        let more = json!({ "source": { "poll": "30s", "folder": "a" }, "tables": { "x": { "k": 1 } }, "log": { "level": "warn" } });
        assert_eq!(changed(&old, &more), ["log"]);
        let feeds = |feeds: Value| json!({ "feeds": feeds, "log": 1 });
        let (one, two) = (feeds(json!({ "a": { "source": { "poll": "30s" } } })), json!({ "log": 1 }));
        assert_eq!(changed(&one, &two), ["feeds.a"]);
        assert_eq!(changed(&two, &one), ["feeds.a"]);
        let other = feeds(json!({ "a": { "source": { "poll": "1s" } }, "b": {} }));
        assert_eq!(changed(&one, &other), ["feeds.a.source.poll", "feeds.b"]);
        let original: Value = serde_json::from_str(r#"{"a":{"b":{"x":1,"y":2}}}"#).unwrap();
        let swapped: Value = serde_json::from_str(r#"{"a":{"b":{"y":2,"x":1}}}"#).unwrap();
        assert_eq!(changed(&original, &swapped), ["a.b"], "an export has the columns in this order");
    }

    #[test]
    fn settings_that_need_a_restart_are_kept_and_named() {
        let running = crate::config::yaml::parse(crate::config::yaml::SHIPPED).unwrap();
        let text = crate::config::yaml::SHIPPED
            .replace("127.0.0.1:8642", "127.0.0.1:8643")
            .replace("level: info", "level: warn")
            .replace("path: data/needledrop.db", "path: other.db")
            .replace("lease: 10s", "lease: 11s")
            .replace("kind: sqlite", "kind: cassandra")
            .replace("poll: 30s", "poll: 3s");
        let mut new = crate::config::yaml::parse(&text).unwrap();
        let kept = new.keep_from(&running);
        assert_eq!(kept, ["store.kind", "store.sqlite", "store.cassandra", "http.listen", "log"]);
        assert_eq!(new.http, running.http);
        assert_eq!(new.source.poll.as_secs(), 3);
        assert!(new.keep_from(&running).is_empty());
    }
}
