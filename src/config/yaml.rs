//! Reads a configuration as YAML.

use serde::de::DeserializeOwned;

use crate::config::feeds::Configs;
use crate::config::sections::Config;

/// The shipped configuration. It is the manual, and it is used if there is no file.
pub const SHIPPED: &str = include_str!("../../config/needledrop.yaml");

/// Reads the settings of all feeds.
pub(super) fn parse_all(text: &str) -> Result<Vec<Config>, serde_saphyr::Error> {
    read(text).map(|Configs(feeds)| feeds)
}

/// Reads the settings of the first feed.
#[cfg(test)]
pub(super) fn parse(text: &str) -> Result<Config, serde_saphyr::Error> {
    parse_all(text).map(|mut feeds| feeds.remove(0))
}

/// Reads YAML. `n`, `y`, `no` and `on` are text, as in YAML 1.2, because columns have such names. Comments are passed over;
/// otherwise the library would refuse more than 32 lines of them in a row.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(
        text,
        serde_saphyr::options! { strict_booleans: true, emit_comments: false },
    )
}
