//! Loads the configuration in layers. Flags override the environment, which overrides the file, which overrides the
//! defaults.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::error::ConfigError;
use crate::config::sections::Config;
use crate::config::tree::Tree;
use crate::config::words;

/// The shipped configuration. It is the manual, and it is used if there is no file.
pub const SHIPPED: &str = include_str!("../../config/needledrop.yaml");

/// The path of the configuration if none is named.
const USUAL: &str = "config/needledrop.yaml";

/// The maximum size of a configuration file in bytes.
const LONGEST: u64 = 4 << 20;

/// Settings whose value is text, and which the shipped file mentions only in comments. They are never read as YAML,
/// because a password of digits is not a number.
const TEXT: [&str; 10] = [
    "source.archive",
    "source.format.delimiter",
    "source.format.escape",
    "source.format.quote",
    "store.cassandra.ledger_keyspace",
    "store.cassandra.local_datacenter",
    "store.cassandra.username",
    "store.cassandra.password",
    "store.cassandra.password_file",
    "log.file",
];

/// The keys of the format of files, which may also be only a name.
const FORMAT_KEYS: &str = "source.format.";

/// The prefix of environment variables. `NEEDLEDROP_STORE__KIND` sets `store.kind`.
const PREFIX: &str = "NEEDLEDROP_";

/// The layers that a configuration is made from.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The value of `--config`.
    pub file: Option<PathBuf>,
    /// Pairs of variable and value. Only variables with our prefix are used.
    pub environment: Vec<(String, String)>,
    /// Settings from flags, as path and value: `("log.level", "debug")`.
    pub flags: Vec<(&'static str, String)>,
}

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// The path of the file, or a word for the built-in configuration.
    pub origin: String,
    /// The configuration of the file alone, if other layers changed it. Only this configuration has the lines of the
    /// file.
    pub(super) alone: Option<Box<Config>>,
    /// All settings as a tree, for comparing two versions of the configuration.
    pub tree: Value,
}

impl Layers {
    /// Reads and merges the layers.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or if it has an unknown key or a value of the wrong type.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let (origin, text) = self.text()?;
        let config = parse(&text).map_err(|error| invalid(&origin, &error))?;
        let settings = self.settings();
        let Tree(tree) = read(&text).map_err(|error| invalid(&origin, &error))?;
        if settings.is_empty() {
            return Ok(Loaded { config, origin, alone: None, tree });
        }
        let invalid_setting = |problem: String| ConfigError::Environment {
            variable: culprits(&tree, &settings, &problem),
            problem,
        };
        let merged_tree = with(&tree, &settings).map_err(invalid_setting)?;
        let merged = from_tree(&merged_tree).map_err(invalid_setting)?;
        Ok(Loaded { config: merged, origin, alone: Some(Box::new(config)), tree: merged_tree })
    }

    /// Returns the path of the file that is read, whether it exists or not.
    pub fn path(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| PathBuf::from(USUAL))
    }

    fn text(&self) -> Result<(String, String), ConfigError> {
        let usual = Path::new(USUAL);
        let file = match &self.file {
            Some(file) => file.as_path(),
            None if usual.exists() => usual,
            None => return Ok(("(built in)".to_owned(), SHIPPED.to_owned())),
        };
        let text =
            contents(file).map_err(|error| ConfigError::Unreadable { file: file.to_owned(), error })?;
        Ok((file.display().to_string(), text))
    }

    /// Returns the settings that override the file, weakest first.
    fn settings(&self) -> Vec<Setting> {
        let mut settings: Vec<_> = self
            .environment
            .iter()
            .filter_map(|(name, value)| {
                let path = name.strip_prefix(PREFIX).filter(|path| path.contains("__"))?;
                Some((name.clone(), path.to_lowercase().replace("__", "."), value.clone()))
            })
            .collect();
        settings.sort();
        let flags = self
            .flags
            .iter()
            .map(|(path, value)| (format!("flag for {path}"), (*path).to_owned(), value.clone()));
        settings.extend(flags);
        settings
    }
}

/// Returns the text of a file. A pipe is refused before it is opened, because opening it could wait for ever. The
/// daemon must not hang when it reads the configuration again.
fn contents(file: &Path) -> io::Result<String> {
    let kind = std::fs::metadata(file)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() { "is a folder" } else { "is a pipe or a device" };
        return Err(io::Error::other(format!("{what}, but the configuration must be a regular file")));
    }
    let mut text = String::new();
    File::open(file)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("is longer than {} MiB", LONGEST >> 20)));
    }
    Ok(text)
}

/// The name of a variable or flag, the path that it sets, and the value.
type Setting = (String, String, String);

fn with(tree: &Value, settings: &[Setting]) -> Result<Value, String> {
    let mut tree = tree.clone();
    for (_, path, value) in settings {
        set(&mut tree, path, value)?;
    }
    Ok(tree)
}

fn merged(tree: &Value, settings: &[Setting]) -> Result<Config, String> {
    from_tree(&with(tree, settings)?)
}

/// Returns the names of the settings that cause this problem alone. If none does, returns the names of all settings.
fn culprits(tree: &Value, settings: &[Setting], problem: &str) -> String {
    let alone = |setting: &&Setting| {
        merged(tree, std::slice::from_ref(*setting)).is_err_and(|alone| alone == problem)
    };
    let names =
        |found: Vec<&Setting>| found.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join(", ");
    let found: Vec<&Setting> = settings.iter().filter(alone).collect();
    names(if found.is_empty() { settings.iter().collect() } else { found })
}

pub(super) fn parse(text: &str) -> Result<Config, serde_saphyr::Error> {
    read(text)
}

/// Reads YAML. `n`, `y`, `no` and `on` are text, as in YAML 1.2, because columns have such names.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(text, serde_saphyr::options! { strict_booleans: true })
}

/// Makes an error without the source excerpt, which would repeat the file.
fn invalid(origin: &str, error: &serde_saphyr::Error) -> ConfigError {
    let at = error.location().map(|at| format!(":{}", at.line())).unwrap_or_default();
    ConfigError::Invalid { file: origin.to_owned(), at, problem: words::describe(error) }
}

/// Sets a path such as `store.kind` in the tree. If the value is text in the file or in the shipped configuration, the
/// new value is taken as text. Otherwise it is read as YAML.
fn set(tree: &mut Value, path: &str, value: &str) -> Result<(), String> {
    let shipped = self::read(SHIPPED).map(|Tree(tree)| tree).unwrap_or_default();
    let place = place(tree, path)?;
    let is_text = place.is_string() || find(&shipped, path).is_some_and(Value::is_string);
    let read: Option<Value> = self::read(value).map(|Tree(tree)| tree).ok();
    // A short form, such as a column's type, has a long form in braces.
    let is_short = |read: &Value| value.starts_with('{') && read.is_object();
    let read = read.filter(|read| !TEXT.contains(&path) && (!is_text || is_short(read)));
    *place = read.unwrap_or_else(|| Value::String(value.to_owned()));
    Ok(())
}

fn find<'t>(tree: &'t Value, path: &str) -> Option<&'t Value> {
    path.split('.').try_fold(tree, |place, name| place.get(name))
}

fn place<'t>(tree: &'t mut Value, path: &str) -> Result<&'t mut Value, String> {
    let mut place = tree;
    for name in path.split('.') {
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        if path.starts_with(FORMAT_KEYS) && place.is_string() {
            *place = serde_json::json!({ "kind": place });
        }
        let map = place.as_object_mut().ok_or_else(|| format!("`{path}` is not a setting"))?;
        // Table and column names keep their case; variables usually are upper case.
        let known = map.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        place = map.entry(known.unwrap_or_else(|| name.to_owned())).or_insert(Value::Null);
    }
    Ok(place)
}

fn from_tree(tree: &Value) -> Result<Config, String> {
    // The location is left out: it refers to the merged tree, which the user never sees.
    parse(&tree.to_string()).map_err(|error| words::describe(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, Log, Quota, Shutdown, Write};
    use crate::store::backend::{Kind, StoreConfig};

    fn layers(pairs: &[(&str, &str)]) -> Layers {
        let environment =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Layers { environment, ..Layers::default() }
    }

    #[test]
    fn the_shipped_file_states_the_defaults() {
        let shipped = parse(SHIPPED).unwrap();
        let bare = "source: { columns: { a: int } }\ntables: {}";
        let bare = parse(bare).unwrap();
        let view = |config: &Config| {
            let source = &config.source;
            let arrival =
                (source.folder.clone(), source.pattern.clone(), source.subfolders, source.files_at_once);
            let arrival = (arrival, source.ignore.clone());
            let times = (*source.settle, *source.poll);
            format!(
                "{arrival:?} {times:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                config.limits, config.write, config.store, config.http, config.log, config.shutdown
            )
        };
        assert_eq!(view(&shipped), view(&bare));
        let parts = (
            Limits::default(),
            Write::default(),
            StoreConfig::default(),
            Log::default(),
            Shutdown::default(),
        );
        assert_eq!(parts.0.max_quarantined, Quota::Off);
    }

    #[test]
    fn a_misspelt_key_is_refused_with_its_line() {
        let text = SHIPPED.replace("  settle: 2s", "  setle: 2s");
        let line = 1 + text.lines().position(|line| line.contains("setle:")).unwrap();
        let error = invalid("x.yaml", &parse(&text).unwrap_err()).to_string();
        assert!(error.starts_with(&format!("x.yaml:{line}: ")), "{error}");
        assert!(error.contains("setle"), "{error}");
    }

    #[test]
    fn the_environment_beats_the_file_and_flags_beat_both() {
        let mut layers = layers(&[
            ("NEEDLEDROP_LOG__LEVEL", "warn"),
            ("NEEDLEDROP_WRITE__WINDOW", "7"),
            ("NEEDLEDROP_SOURCE__SETTLE", "5s"),
            ("NEEDLEDROP_LIMITS__MAX_QUARANTINED", "2%"),
            ("NEEDLEDROP_CONFIG", "ignored, it is not a setting"),
        ]);
        layers.flags.push(("log.level", "debug".to_owned()));
        let config = layers.load().unwrap().config;
        assert_eq!(config.log.level, "debug");
        assert_eq!(config.write.window, 7);
        assert_eq!(config.source.settle.as_secs(), 5);
        assert_eq!(config.limits.max_quarantined, Quota::Share(0.02));
        assert_eq!(config.store.kind, Kind::Sqlite);
    }

    #[test]
    fn a_path_from_the_environment_is_taken_as_it_is() {
        let config = layers(&[
            ("NEEDLEDROP_STORE__SQLITE__PATH", "/x/x #1.db"),
            ("NEEDLEDROP_SOURCE__FOLDER", "/tmp/a: b"),
        ]);
        let config = config.load().unwrap().config;
        assert_eq!(config.store.sqlite.path.to_str(), Some("/x/x #1.db"));
        assert_eq!(config.source.folder.to_str(), Some("/tmp/a: b"));
    }

    #[test]
    fn a_password_is_taken_as_it_is() {
        for password in ["0123", "1e5", "null", "yes", "a: b", "#x", "{x}", "[x", " x", "\"x\"", "*x", "!x"] {
            let config =
                layers(&[("NEEDLEDROP_STORE__CASSANDRA__PASSWORD", password)]).load().unwrap().config;
            assert_eq!(config.store.cassandra.password().unwrap().as_deref(), Some(password));
        }
    }

    #[test]
    fn a_table_can_be_declared_by_several_variables() {
        let config = layers(&[
            ("NEEDLEDROP_TABLES__BY_LEVEL__COLUMNS", "[userId]"),
            ("NEEDLEDROP_TABLES__BY_LEVEL__PARTITION_KEY", "[level]"),
        ]);
        assert_eq!(config.load().unwrap().config.tables.0.len(), 4);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = layers(&[("NEEDLEDROP_STORE__KINDD", "sqlite")]).load().unwrap_err().to_string();
        assert!(error.contains("NEEDLEDROP_STORE__KINDD") && error.contains("kindd"), "{error}");
        let error = layers(&[("NEEDLEDROP_WRITE__LINGER", "20")]).load().unwrap_err().to_string();
        assert!(error.contains("NEEDLEDROP_WRITE__LINGER") && error.contains("duration"), "{error}");
    }

    fn lease(value: &str) -> Result<std::time::Duration, String> {
        let environment = vec![("NEEDLEDROP_STORE__CASSANDRA__LEASE".to_owned(), value.to_owned())];
        let loaded = Layers { environment, ..Layers::default() }.load();
        loaded.map(|loaded| *loaded.config.store.cassandra.lease).map_err(|error| error.to_string())
    }

    #[test]
    fn a_lease_that_is_too_short_to_be_renewed_is_refused() {
        assert_eq!(lease("1s"), Ok(std::time::Duration::from_secs(1)));
        for short in ["999ms", "0s"] {
            let error = lease(short).unwrap_err();
            for word in ["NEEDLEDROP_STORE__CASSANDRA__LEASE", "lease is too short", "1s or more", "next:"] {
                assert!(error.contains(word), "{error}");
            }
        }
    }
}
