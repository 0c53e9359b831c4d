//! Compiles the declaration into a [`Plan`], and checks every rule that spans several keys.

mod limits;
mod source;
mod columns;
mod derived;
mod tables;
mod names;
mod fingerprint;
mod broken;
#[cfg(test)]
mod tests;

use broken::{Broken, Checked};

use super::load::Loaded;
use crate::config::error::ConfigError;
use crate::config::sections::{Config, LooksLikeUtf8};
use crate::config::shared;
use crate::domain::Plan;

impl Loaded {
    /// Checks the declaration as a whole and compiles it.
    ///
    /// # Errors
    /// Returns an error for the first broken rule, with its path.
    pub fn plans(&self) -> Result<Vec<Plan>, ConfigError> {
        compile_all(&self.feeds).map_err(|broken| ConfigError::Rule {
            file: self.origin.clone(),
            at: self.line(&broken).map(|line| format!(":{line}")).unwrap_or_default(),
            path: broken.path,
            problem: broken.problem,
            next: broken.next,
        })
    }

    /// Compiles the declaration of the first feed.
    #[cfg(test)]
    pub fn plan(&self) -> Result<Plan, ConfigError> {
        self.plans().map(|mut plans| plans.remove(0))
    }

    /// Returns the line of a broken rule in the file. `None` if another layer breaks the rule.
    fn line(&self, broken: &Broken) -> Option<u64> {
        let Some(alone) = &self.alone else { return broken.line };
        let same = |found: &Broken| (&found.path, &found.problem) == (&broken.path, &broken.problem);
        compile_all(alone).err().filter(same)?.line
    }
}

/// Compiles the plan of each feed, and checks the feeds against each other.
fn compile_all(feeds: &[Config]) -> Checked<Vec<Plan>> {
    let of_feed = |config: &Config| compile(config).map_err(|broken| broken.of(&config.source.feed));
    let plans = feeds.iter().map(of_feed).collect::<Checked<Vec<_>>>()?;
    let pairs: Vec<_> = feeds.iter().zip(&plans).collect();
    shared::check(&pairs).map_err(|(path, problem, next)| Broken::new(&path, problem, next))?;
    Ok(plans)
}

/// Compiles the plan of a feed. Rules are checked in this order, and only the first broken rule is reported.
fn compile(config: &Config) -> Checked<Plan> {
    let Config { source, limits, .. } = config;
    limits::check(config)?;
    let encoding = source::encoding(source)?;
    source::check_archive(source)?;
    let columns = columns::compile(source)?;
    let skip_when_empty = columns::skipped(source, &columns)?;
    let tables = tables::compile(config, &columns, &skip_when_empty)?;
    let format = source::format(source, &columns)?.of(&source.feed);
    let fingerprint = fingerprint::plan(&source.feed, &format, &columns, &tables);
    let attempt = fingerprint::attempt(&fingerprint, config, encoding, &columns);
    let rules = fingerprint::rules(&fingerprint, limits, &columns);
    Ok(Plan {
        feed: source.feed.clone(),
        format,
        file_dates: source.file_dates,
        encoding,
        refuses_utf8: source.looks_like_utf8 == LooksLikeUtf8::Refuse,
        columns,
        skip_when_empty,
        tables,
        fingerprint,
        attempt,
        rules,
    })
}
