//! The settings of the store: the cluster, the credentials, and how the cluster is used.

use std::time::Duration;

use scylla::client::Compression;
use scylla::statement::Consistency;

use crate::domain::StampsAhead;
use crate::store::cassandra::cluster::config::{self, Config, PasswordError, Tls};
use crate::store::limits::Limits;

/// The settings of the store.
#[derive(Clone)]
pub struct Settings {
    /// Contact points with their ports.
    pub hosts: Vec<String>,
    pub keyspace: String,
    pub ledger_keyspace: String,
    /// The replication options of keyspaces that are created: name and value, in CQL.
    pub replication: Vec<(String, String)>,
    pub write: Consistency,
    pub read: Consistency,
    pub local_datacenter: Option<String>,
    pub login: Option<(String, String)>,
    /// The user name, and whether there is a password, for messages.
    pub login_description: String,
    pub tls: Option<Tls>,
    pub compression: Option<Compression>,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub lease: Duration,
    pub limits: Limits,
    pub stamps_ahead: StampsAhead,
}

impl Settings {
    /// Creates the settings from the configuration. Reads the password if it is in a file.
    ///
    /// # Errors
    /// Returns an error if the password cannot be read, or if two passwords are configured.
    pub fn new(config: &Config, limits: Limits, stamps_ahead: StampsAhead) -> Result<Self, PasswordError> {
        let with_port = |host: &String| match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() && !name.ends_with(':') => host.clone(),
            _ => format!("{host}:{}", config.port),
        };
        let password = config.password()?.unwrap_or_default();
        let login_description = match &config.username {
            Some(user) => format!("as {user}, password {}", config.password_source()),
            None => "without a login".to_owned(),
        };
        Ok(Self {
            hosts: config.hosts.iter().map(with_port).collect(),
            keyspace: config.keyspace.clone(),
            ledger_keyspace: config.ledger_keyspace.clone().unwrap_or_else(|| config.keyspace.clone()),
            replication: config.replication.iter().map(|(key, word)| (key.clone(), word.0.clone())).collect(),
            write: config.consistency.write,
            read: config.consistency.read,
            local_datacenter: config.local_datacenter.clone(),
            login: config.username.clone().map(|user| (user, password)),
            login_description,
            tls: config.tls.clone(),
            compression: match config.compression {
                config::Compression::None => None,
                config::Compression::Lz4 => Some(Compression::Lz4),
                config::Compression::Snappy => Some(Compression::Snappy),
            },
            connect_timeout: *config.connect_timeout,
            request_timeout: *config.request_timeout,
            lease: *config.lease,
            limits,
            stamps_ahead,
        })
    }

    /// Returns the name of the store for messages.
    pub fn name(&self) -> String {
        format!("cassandra {} at {}", self.keyspace, self.hosts.join(", "))
    }

    /// Returns a consistency that finds every row that was acknowledged.
    pub fn read_back(&self) -> Consistency {
        match self.write {
            Consistency::Any
            | Consistency::One
            | Consistency::LocalOne
            | Consistency::Two
            | Consistency::Three => Consistency::All,
            _ => self.ledger(),
        }
    }

    /// Returns the consistency of the ledger. It is never weaker than that of the tables, and never less than a quorum.
    pub fn ledger(&self) -> Consistency {
        match self.write {
            sure @ (Consistency::All | Consistency::EachQuorum | Consistency::Quorum) => sure,
            // A quorum of three replicas would be weaker than `THREE`.
            Consistency::Three => Consistency::All,
            _ => Consistency::LocalQuorum,
        }
    }
}
