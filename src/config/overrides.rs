//! Settings from environment variables and flags, which override those of the file.

use serde_json::Value;

use crate::config::error::ConfigError;
use crate::config::feeds::in_short_form;
use crate::config::sections::Config;
use crate::config::tree::Tree;
use crate::config::words;
use crate::config::yaml::{SHIPPED, parse_all, read};
use crate::domain::feed::setting;

/// The prefix of environment variables. `NEEDLEDROP_STORE__KIND` sets `store.kind`.
const PREFIX: &str = "NEEDLEDROP_";

/// Settings whose value is text, and which the shipped file mentions only in comments. They are never read as YAML,
/// because a password of digits is not a number.
const TEXT: [&str; 14] = [
    "source.archive",
    "source.format.comment",
    "source.format.decimal",
    "source.format.delimiter",
    "source.format.escape",
    "source.format.quote",
    "source.format.thousands",
    "store.cassandra.ledger_keyspace",
    "store.cassandra.local_datacenter",
    "store.cassandra.username",
    "store.cassandra.password",
    "store.cassandra.password_file",
    "verify.scratch",
    "log.file",
];

/// Settings that may be only a word: the name of a format, the type of a column, and the share that the daemon verifies. The
/// word is then the value of this key.
const SHORT_FORMS: [(&str, &str); 3] = [("source.format", "kind"), (COLUMNS, "type"), ("verify", "sample")];

/// The columns. Their keys are text, or lists of texts.
const COLUMNS: &str = "source.columns";

/// The keys of columns whose value is not text.
const FLAGS: [&str; 2] = ["zero_fraction", "truncate"];

/// The settings that override the file, weakest first.
pub struct Overrides(Vec<Override>);

struct Override {
    /// The variable or the flag.
    name: String,
    path: String,
    value: String,
}

impl Overrides {
    /// Takes the variables with our prefix, and the flags.
    pub fn new(environment: &[(String, String)], flags: &[(&'static str, String)]) -> Self {
        let variable = |(name, value): &(String, String)| {
            let path = name.strip_prefix(PREFIX).filter(|path| path.contains("__"))?;
            let path = path.to_lowercase().replace("__", ".");
            Some(Override { name: name.clone(), path, value: value.clone() })
        };
        let mut all: Vec<_> = environment.iter().filter_map(variable).collect();
        all.sort_by(|one, other| (&one.name, &one.value).cmp(&(&other.name, &other.value)));
        let flag = |(path, value): &(&str, String)| {
            let (name, path) = (format!("flag for {path}"), (*path).to_owned());
            Override { name, path, value: value.clone() }
        };
        all.extend(flags.iter().map(flag));
        Self(all)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the settings of the file with these, as a tree and for each feed.
    ///
    /// # Errors
    /// Returns an error that names the variable or the flag.
    pub fn apply(&self, file: &Value) -> Result<(Value, Vec<Config>), ConfigError> {
        applied(file, &self.0).map_err(|problem| {
            let of_no_feed = self.0.iter().find_map(|one| Some((one, of_no_feed(file, one)?)));
            let (setting, problem) = match of_no_feed {
                Some((one, problem)) => (one.name.clone(), problem),
                None => (culprits(file, &self.0, &problem), problem),
            };
            ConfigError::Override { setting, problem }
        })
    }
}

fn applied(file: &Value, overrides: &[Override]) -> Result<(Value, Vec<Config>), String> {
    let mut tree = file.clone();
    overrides.iter().try_for_each(|one| set(&mut tree, &one.path, &one.value))?;
    // The location is left out: it refers to the merged tree, which the user never sees.
    let feeds = parse_all(&tree.to_string()).map_err(|error| words::describe(&error))?;
    Ok((tree, feeds))
}

/// Returns the problem if a setting belongs to the feed without a name and only named feeds are declared.
fn of_no_feed(file: &Value, Override { path, .. }: &Override) -> Option<String> {
    let names: Vec<&str> = file.get("feeds")?.as_object()?.keys().map(String::as_str).collect();
    let is_short = ["source", "tables"].contains(&path.split('.').next()?);
    let is_declared = file.get("source").is_some() || file.get("tables").is_some();
    (is_short && !is_declared && !names.is_empty()).then(|| {
        let (names, setting) = (names.join(", "), setting("NAME", path));
        let named = setting.to_uppercase().replace('.', "__");
        format!(
            "{path} is a setting of the feed without a name, which is not declared; of a named feed ({names}) it is \
             {setting} in the file, or the variable {PREFIX}{named}"
        )
    })
}

/// Returns the names of the settings that cause this problem alone. If none does, returns the names of all settings.
fn culprits(file: &Value, overrides: &[Override], problem: &str) -> String {
    let alone =
        |one: &&Override| applied(file, std::slice::from_ref(*one)).is_err_and(|alone| alone == problem);
    let names =
        |found: Vec<&Override>| found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
    let found: Vec<&Override> = overrides.iter().filter(alone).collect();
    names(if found.is_empty() { overrides.iter().collect() } else { found })
}

/// Sets a path such as `store.kind` in the tree. If the value is text in the file or in the shipped configuration, the
/// new value is taken as text. Otherwise it is read as YAML.
fn set(tree: &mut Value, path: &str, value: &str) -> Result<(), String> {
    let shipped = self::read(SHIPPED).map(|Tree(tree)| tree).unwrap_or_default();
    let place = place(tree, path)?;
    let path = in_short_form(path);
    let is_text = place.is_string() || find(&shipped, path).is_some_and(Value::is_string);
    let read: Option<Value> = self::read(value).map(|Tree(tree)| tree).ok();
    // A short form, such as a column's type, has a long form in braces.
    let is_short = |read: &Value| value.starts_with('{') && read.is_object();
    let read = match is_text_of_column(path) {
        true => read.filter(|_| value.starts_with(['[', '"', '\''])),
        false => read.filter(|read| !TEXT.contains(&path) && (!is_text || is_short(read))),
    };
    *place = read.unwrap_or_else(|| Value::String(value.to_owned()));
    Ok(())
}

/// Whether the setting is a key of a column whose value is text, or a list of texts. Only a list or a quoted text is read
/// as YAML: the word `-` would be a list, and the default `0` a number.
fn is_text_of_column(path: &str) -> bool {
    let mut keys = path.strip_prefix(COLUMNS).unwrap_or_default().split('.').skip(2);
    let key = keys.next();
    key.is_some_and(|key| !FLAGS.contains(&key))
}

/// Replaces a setting that is only a word by its long form.
fn lengthen(place: &mut Value, path: &str) {
    let is_prefix =
        |(section, _): &&(&str, &str)| path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    if place.is_string()
        && let Some((_, key)) = SHORT_FORMS.iter().find(is_prefix)
    {
        *place = serde_json::json!({ *key: place });
    }
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
        lengthen(place, in_short_form(path));
        let map = place.as_object_mut().ok_or_else(|| format!("`{path}` is not a setting"))?;
        // Table and column names keep their case; variables usually are upper case.
        let known = map.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        place = map.entry(known.unwrap_or_else(|| name.to_owned())).or_insert(Value::Null);
    }
    Ok(place)
}
