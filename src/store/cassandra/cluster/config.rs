//! The section `store.cassandra` of the configuration: the cluster, the credentials and the consistency levels.

use std::collections::BTreeMap;
use std::path::PathBuf;

use scylla::statement::Consistency;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::domain::units::{self, Duration, Word};

const SHORTEST_LEASE: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Contact points. A host may include its own port.
    pub hosts: Vec<String>,
    pub port: u16,
    pub keyspace: String,
    /// The keyspace of ledger and quarantine, if it is not `keyspace`.
    pub ledger_keyspace: Option<String>,
    pub replication: BTreeMap<String, Word>,
    pub consistency: Consistencies,
    pub local_datacenter: Option<String>,
    pub username: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    pub tls: Option<Tls>,
    pub compression: Compression,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    /// How long the right to write lasts without a renewal.
    #[serde(deserialize_with = "lease")]
    pub lease: Duration,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Consistencies {
    #[serde(with = "ConsistencyNames")]
    pub write: Consistency,
    #[serde(with = "ConsistencyNames")]
    pub read: Consistency,
}

/// The consistency levels that can be configured. `ANY` is left out, because a hint is not yet data.
#[derive(Deserialize)]
#[serde(remote = "Consistency", rename_all = "SCREAMING_SNAKE_CASE")]
enum ConsistencyNames {
    One,
    Two,
    Three,
    Quorum,
    All,
    LocalQuorum,
    EachQuorum,
    LocalOne,
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the authorities that may sign the servers' certificates.
    pub ca: PathBuf,
    /// PEM files with our certificate and its key, if the servers require one.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Whether the server's certificate must match the address of the connection.
    #[serde(default = "yes")]
    #[serde(deserialize_with = "units::flag")]
    pub check_host: bool,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    None,
    Lz4,
    Snappy,
}

/// Why the password cannot be determined.
#[derive(Debug, thiserror::Error)]
#[error("store.cassandra.password_file: {problem}\n  next: {next}")]
pub struct PasswordError {
    pub problem: String,
    pub next: &'static str,
}

fn yes() -> bool {
    true
}

/// Reads the duration of the lease. It must be long enough for a late response to a renewal.
fn lease<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let lease = Duration::deserialize(from)?;
    if *lease < SHORTEST_LEASE {
        let problem = "store.cassandra.lease is too short to be renewed in time: set it to 1s or more";
        return Err(D::Error::custom(problem));
    }
    Ok(lease)
}

impl Config {
    /// Returns the password, or reads it from `password_file`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or if both `password` and `password_file` are set.
    pub fn password(&self) -> Result<Option<String>, PasswordError> {
        match (&self.password, &self.password_file) {
            (Some(_), Some(_)) => {
                let problem = "store.cassandra.password is set too".to_owned();
                Err(PasswordError { problem, next: "set only one of them" })
            }
            (Some(password), None) => Ok(Some(password.clone())),
            (None, None) => Ok(None),
            (None, Some(file)) => match std::fs::read_to_string(file) {
                Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => {
                    let problem = format!("{}: {error}", file.display());
                    Err(PasswordError {
                        problem,
                        next: "name a file with the password that this user can read",
                    })
                }
            },
        }
    }

    /// Returns the name of the cluster for messages.
    pub fn name(&self) -> String {
        format!("cassandra {} at {}", self.keyspace, self.hosts.join(", "))
    }

    /// Describes where the password is set, without revealing it.
    pub fn password_source(&self) -> &'static str {
        match (&self.password, &self.password_file) {
            (Some(_), _) => "set",
            (None, Some(_)) => "in a file",
            (None, None) => "not set",
        }
    }
}

/// Omits the password.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cassandra")
            .field("hosts", &self.hosts)
            .field("keyspace", &self.keyspace)
            .field("username", &self.username)
            .field("password", &self.password_source())
            .finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Self {
        let replication = [("class", "SimpleStrategy"), ("replication_factor", "1")];
        Self {
            hosts: vec!["127.0.0.1".to_owned()],
            port: 9042,
            keyspace: "sparkify".to_owned(),
            ledger_keyspace: None,
            replication: replication.map(|(name, word)| (name.to_owned(), Word(word.to_owned()))).into(),
            consistency: Consistencies::default(),
            local_datacenter: None,
            username: None,
            password: None,
            password_file: None,
            tls: None,
            compression: Compression::None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(12),
            lease: Duration::from_secs(10),
        }
    }
}

impl Default for Consistencies {
    fn default() -> Self {
        Self { write: Consistency::LocalQuorum, read: Consistency::LocalQuorum }
    }
}
