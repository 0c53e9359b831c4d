//! The configuration. [`Config`] has the keys of `config/needledrop.yaml`. The shipped file is the manual and the
//! default.

mod change;
mod columns;
mod error;
mod format;
#[cfg(test)]
mod examples;
mod load;
mod plan;
mod sections;
mod tree;
mod words;

pub use change::changed;
pub use columns::{Clustering, Column, Derived, Named};
pub use error::ConfigError;
pub use load::{Layers, Loaded, SHIPPED};
pub use sections::{
    ARCHIVE, After, Config, Empty, FinalNewline, Http, Limits, Log, LogFormat, Shutdown, SourceConfig, Table,
    Tables, Write,
};

pub use crate::domain::units::{Duration, Quota, Size};
