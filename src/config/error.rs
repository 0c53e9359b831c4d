//! Errors in a configuration.

use std::path::PathBuf;

/// Why there is no valid configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{file}: {error}\n  next: use --config to name a file that can be read")]
    Unreadable { file: PathBuf, error: std::io::Error },
    #[error("{file}{at}: {problem}\n  next: correct the file; config/needledrop.yaml describes every key")]
    Invalid { file: String, at: String, problem: String },
    #[error("{setting}: {problem}\n  next: correct it, or leave it out")]
    Override { setting: String, problem: String },
    #[error("{file}{at}: {path}: {problem}\n  next: {next}")]
    Rule { file: String, at: String, path: String, problem: String, next: String },
}
