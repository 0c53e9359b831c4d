//! `store.cassandra`: where the cluster is, who we are, and what an acknowledgement has to mean.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::units::Word;
use super::{ConfigError, Duration};

const SHORTEST_LEASE: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Cassandra {
    /// Contact points; a host may bring its own port.
    pub hosts: Vec<String>,
    pub port: u16,
    pub keyspace: String,
    /// Where ledger and quarantine are, when not in `keyspace`.
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
    /// How long the right to write is held without a renewal.
    #[serde(deserialize_with = "lease")]
    pub lease: Duration,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Consistencies {
    pub write: Consistency,
    pub read: Consistency,
}

/// ANY is none of them: a hint is not yet data.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Consistency {
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
    /// PEM file with the authorities that may have signed the servers' certificates.
    pub ca: PathBuf,
    /// PEM files with our certificate and its key, where the servers ask for one.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Whether the certificate must be for the address that was connected to.
    #[serde(default = "yes")]
    #[serde(deserialize_with = "super::units::flag")]
    pub check_host: bool,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    None,
    Lz4,
    Snappy,
}

fn yes() -> bool {
    true
}

/// It has to outlast an answer that is late.
fn lease<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let lease = Duration::deserialize(from)?;
    if *lease < SHORTEST_LEASE {
        let problem = "store.cassandra.lease is too short to be renewed in time: set it to 1s or more";
        return Err(D::Error::custom(problem));
    }
    Ok(lease)
}

impl Cassandra {
    /// The password, from wherever it is.
    ///
    /// # Errors
    /// A file that cannot be read, or two passwords.
    pub fn password(&self) -> Result<Option<String>, ConfigError> {
        let rule = |problem: String, next: &str| ConfigError::Rule {
            file: String::new(),
            at: String::new(),
            path: "store.cassandra.password_file".to_owned(),
            problem,
            next: next.to_owned(),
        };
        match (&self.password, &self.password_file) {
            (Some(_), Some(_)) => Err(rule("there is a password beside it".to_owned(), "set one of them")),
            (Some(password), None) => Ok(Some(password.clone())),
            (None, None) => Ok(None),
            (None, Some(file)) => match std::fs::read_to_string(file) {
                Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => Err(rule(
                    format!("{}: {error}", file.display()),
                    "name a file with the password that this user can read",
                )),
            },
        }
    }

    /// Where a password is set, but not what it is.
    pub fn told_password(&self) -> &'static str {
        match (&self.password, &self.password_file) {
            (Some(_), _) => "set",
            (None, Some(_)) => "in a file",
            (None, None) => "not set",
        }
    }
}

/// Without the password.
impl std::fmt::Debug for Cassandra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cassandra")
            .field("hosts", &self.hosts)
            .field("keyspace", &self.keyspace)
            .field("username", &self.username)
            .field("password", &self.told_password())
            .finish_non_exhaustive()
    }
}

impl Default for Cassandra {
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

#[cfg(test)]
mod tests {
    use crate::config::Layers;

    fn lease(value: &str) -> Result<std::time::Duration, String> {
        let environment = vec![("NEEDLEDROP_STORE__CASSANDRA__LEASE".to_owned(), value.to_owned())];
        let loaded = Layers { environment, ..Layers::default() }.load();
        loaded.map(|loaded| *loaded.config.store.cassandra.lease).map_err(|error| error.to_string())
    }

    #[test]
    fn a_lease_that_cannot_be_renewed_in_time_is_refused() {
        assert_eq!(lease("1s"), Ok(std::time::Duration::from_secs(1)));
        for short in ["999ms", "0s"] {
            let told = lease(short).unwrap_err();
            for word in ["NEEDLEDROP_STORE__CASSANDRA__LEASE", "lease is too short", "1s or more", "next:"] {
                assert!(told.contains(word), "{told}");
            }
        }
    }
}
