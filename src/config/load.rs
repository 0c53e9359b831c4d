//! Loads the configuration in layers. Flags override the environment, which overrides the file, which overrides the
//! defaults.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::error::ConfigError;
use crate::config::overrides::Overrides;
use crate::config::sections::{Config, Http};
use crate::config::tree::Tree;
use crate::config::words;
use crate::config::yaml::{SHIPPED, parse_all, read};

/// The path of the configuration if none is named.
const USUAL: &str = "config/needledrop.yaml";

/// The maximum size of a configuration file in bytes.
const LONGEST: u64 = 4 << 20;

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
    /// The settings of each feed, at least one.
    pub feeds: Vec<Config>,
    /// The path of the file, or a word for the built-in configuration.
    pub origin: String,
    /// The configuration of the file alone, if other layers changed it. Only this configuration knows the line numbers
    /// of the file.
    pub(super) alone: Option<Vec<Config>>,
    /// All settings as a tree, for comparing two versions of the configuration.
    pub tree: Value,
}

impl Loaded {
    /// Returns the settings of the port, which all feeds share.
    pub fn http(&self) -> Http {
        self.feeds.first().map_or_else(Http::default, |config| config.http.clone())
    }
}

impl Layers {
    /// Reads and merges the layers.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or if it has an unknown key or a value of the wrong type.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let (origin, text) = self.text()?;
        let feeds = parse_all(&text).map_err(|error| invalid(&origin, &error))?;
        let overrides = Overrides::new(&self.environment, &self.flags);
        let Tree(tree) = read(&text).map_err(|error| invalid(&origin, &error))?;
        if overrides.is_empty() {
            return Ok(Loaded { feeds, origin, alone: None, tree });
        }
        let (tree, merged) = overrides.apply(&tree)?;
        Ok(Loaded { feeds: merged, origin, alone: Some(feeds), tree })
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

/// Makes an error without the source excerpt, which would repeat the file.
fn invalid(origin: &str, error: &serde_saphyr::Error) -> ConfigError {
    let at = error.location().map(|at| format!(":{}", at.line())).unwrap_or_default();
    ConfigError::Invalid { file: origin.to_owned(), at, problem: words::describe(error) }
}

#[cfg(test)]
mod tests;
