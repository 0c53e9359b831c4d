//! The configuration. [`Config`] has the keys of `config/needledrop.yaml`. The shipped file is the manual and the
//! default.

mod change;
mod columns;
mod error;
mod feeds;
mod format;
#[cfg(test)]
mod examples;
mod load;
mod overrides;
mod patterns;
mod plan;
mod sections;
mod text;
mod shared;
mod tree;
mod verify;
mod words;
mod yaml;

pub use change::changed;
pub use columns::{Clustering, Column, Derived, Named};
pub use error::ConfigError;
pub use load::{Layers, Loaded};
pub use sections::{
    ARCHIVE, After, Config, Empty, FinalNewline, Http, Limits, Log, LogFormat, OnReplace, OpenFiles,
    Shutdown, SourceConfig, Table, Tables, Write,
};
pub use verify::Verify;
pub use yaml::SHIPPED;

pub use crate::domain::quota::Quota;
pub use crate::domain::units::{Duration, Size};
