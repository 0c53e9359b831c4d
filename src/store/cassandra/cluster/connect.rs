//! Connects to the cluster, and explains why a connection fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub use scylla::client::Compression;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, MetadataError,
    NewSessionError,
};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::FallthroughRetryPolicy;
pub use scylla::statement::Consistency;

use crate::store::StoreError;
use crate::store::cassandra::cluster::error::is_unable;
use crate::store::cassandra::cluster::settings::Settings;
use crate::store::cassandra::cluster::tls;

/// Connects to the cluster. The driver does not retry requests, because the store does.
///
/// # Errors
/// Returns an error with the cause and the next step if no contact point can be used, or if the configured data centre
/// does not fit the cluster.
pub async fn connect(settings: &Settings) -> Result<Session, StoreError> {
    let error = match with_hosts(settings, &settings.hosts).await {
        Ok(session) => return Ok(session),
        Err(error) if settings.hosts.len() == 1 || error.is_configuration() => return Err(error),
        Err(error) => error,
    };
    let mut reported = error;
    // Try each host on its own. A host that is down must not hide the error of another host, such as a wrong login.
    for host in &settings.hosts {
        match with_hosts(settings, std::slice::from_ref(host)).await {
            Ok(session) => return Ok(session),
            Err(error) if error.is_configuration() => return Err(error),
            // A refused connection explains the least, so any other error is preferred.
            Err(error) if !error.to_string().contains(REFUSED) => reported = error,
            Err(_) => {}
        }
    }
    Err(reported)
}

async fn with_hosts(settings: &Settings, hosts: &[String]) -> Result<Session, StoreError> {
    let mut balance = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &settings.local_datacenter {
        balance = balance.prefer_datacenter(datacenter.clone()).permit_dc_failover(false);
    }
    let profile = ExecutionProfile::builder()
        .consistency(settings.read)
        .request_timeout(Some(settings.request_timeout))
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .load_balancing_policy(balance.build())
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(hosts)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(settings.connect_timeout)
        .hostname_resolution_timeout(Some(settings.connect_timeout))
        .compression(settings.compression)
        .schema_agreement_timeout(Duration::from_secs(30))
        .fetch_schema_metadata(true);
    if let Some((user, password)) = &settings.login {
        builder = builder.user(user, password);
    }
    if let Some(files) = &settings.tls {
        let context = tls::context(files).map_err(|(what, next)| StoreError::Shape {
            store: settings.name(),
            what,
            next: next.to_owned(),
        })?;
        builder = builder.tls_context(Some(context));
    }
    let mut built = tokio::time::timeout(settings.connect_timeout * 4, builder.build()).await;
    // A server that rejects our certificate sends the reason and closes the connection. Sometimes only the close
    // arrives, so connect again.
    for _ in 0..LISTENED {
        match &built {
            Ok(Err(error)) if settings.tls.is_some() && is_broken(&explained(settings, error)) => {
                built = tokio::time::timeout(settings.connect_timeout * 4, builder.build()).await;
            }
            _ => break,
        }
    }
    match built {
        Ok(Ok(session)) => with_datacenter(settings, session),
        Ok(Err(error)) => Err(explained(settings, &error)),
        Err(_) => Err(StoreError::Busy {
            store: settings.name(),
            reason: "connect",
            what: "no contact point answers in time".to_owned(),
            hint: "check store.cassandra.hosts, and that the cluster is up",
        }),
    }
}

fn with_datacenter(settings: &Settings, session: Session) -> Result<Session, StoreError> {
    let state = session.get_cluster_state();
    let known: BTreeSet<&str> =
        state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
    let Some(what) = misplaced(settings.local_datacenter.as_deref(), settings.ledger(), &known) else {
        return Ok(session);
    };
    let next = format!(
        "set store.cassandra.local_datacenter to one of {}, the same for all processes that load into this store",
        listed(&known)
    );
    Err(StoreError::Shape { store: settings.name(), what, next })
}

/// Describes what is wrong with the local data centre `wanted`. `known` are the data centres that have nodes.
fn misplaced(wanted: Option<&str>, ledger: Consistency, known: &BTreeSet<&str>) -> Option<String> {
    match wanted {
        // Requests go to this data centre only. A data centre without nodes would never answer.
        Some(wanted) if !known.contains(wanted) => Some(format!("no node is in data centre {wanted}")),
        // A quorum of one data centre does not see a write in another. Two processes could hold the lease.
        None if known.len() > 1 && ledger == Consistency::LocalQuorum => Some(format!(
            "its nodes are in the data centres {}, and the ledger is kept at the LOCAL_QUORUM of one of them",
            listed(known)
        )),
        _ => None,
    }
}

fn listed(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

/// The error reason for a connection that ended before the login.
const BROKEN: &str = "setup";

/// How often to connect again until a server gives the reason for closing the connection.
const LISTENED: usize = 4;

fn is_broken(error: &StoreError) -> bool {
    matches!(error, StoreError::Busy { reason: BROKEN, .. })
}

const REFUSED: &str = "the connection is refused";

const TLS_NEXT: &str =
    "correct store.cassandra.tls: the CA, the client certificate, and the address in the server certificate";

/// Explains the failure of the last contact point, with the next step.
fn explained(settings: &Settings, error: &NewSessionError) -> StoreError {
    let store = settings.name();
    let configuration =
        |what: String, next: &str| StoreError::Shape { store: store.clone(), what, next: next.to_owned() };
    let busy = |reason, what: String, hint| StoreError::Busy { store: store.clone(), reason, what, hint };
    match error {
        NewSessionError::FailedToResolveAnyHostname(names) => busy(
            "connect",
            format!("cannot resolve {}", names.join(", ")),
            "check the names in store.cassandra.hosts",
        ),
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
            last_connection_error,
        })) => match last_connection_error {
            ConnectionError::ConnectTimeout => {
                busy("connect", "no answer in time".to_owned(), "check store.cassandra.hosts and firewalls")
            }
            ConnectionError::IoError(error) => io_error(error, &busy, &configuration),
            ConnectionError::ConnectionSetupRequestError(setup) => match setup.get_error() {
                ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, words)
                    if is_unable(words) =>
                {
                    let hint = "check which nodes are down, and replicate system_auth to several nodes";
                    busy("connect", format!("the cluster cannot check the login: {words}"), hint)
                }
                ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, words) => {
                    configuration(
                        format!("the login is refused: {words}"),
                        "correct store.cassandra.username and its password",
                    )
                }
                ConnectionSetupRequestErrorKind::MissingAuthentication => configuration(
                    "the cluster requires a login".to_owned(),
                    "set store.cassandra.username and password_file",
                ),
                // A server that requires a client certificate reports a missing one only after the handshake (TLS 1.3).
                other if other.to_string().contains("fatal alert") => {
                    configuration(format!("TLS fails: {other}"), TLS_NEXT)
                }
                other => busy(
                    BROKEN,
                    format!("the connection cannot be set up: {other}"),
                    "if the server expects TLS or a client certificate, set store.cassandra.tls",
                ),
            },
            other => busy("connect", other.to_string(), "check store.cassandra.hosts"),
        },
        other => busy("connect", other.to_string(), "check store.cassandra.hosts"),
    }
}

fn io_error(
    error: &std::io::Error,
    busy: &dyn Fn(&'static str, String, &'static str) -> StoreError,
    configuration: &dyn Fn(String, &str) -> StoreError,
) -> StoreError {
    let words = error.to_string();
    if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        return configuration(format!("TLS fails: {words}"), TLS_NEXT);
    }
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => {
            busy("connect", REFUSED.to_owned(), "start the cluster, or correct hosts and port")
        }
        _ => busy("connect", words, "check the network, and whether the server expects TLS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cassandra::tests::settings_at;

    /// Returns the number of replicas that a write waits for if there are `of` replicas.
    fn replicas(consistency: Consistency, of: u32) -> u32 {
        match consistency {
            Consistency::Any => 0,
            Consistency::One | Consistency::LocalOne => 1,
            Consistency::Two => 2,
            Consistency::Three => 3,
            Consistency::All => of,
            _ => of / 2 + 1,
        }
    }

    #[test]
    fn the_ledger_waits_for_at_least_as_many_replicas_as_the_tables() {
        use Consistency::{All, EachQuorum, LocalOne, LocalQuorum, One, Quorum, Three, Two};
        for write in [One, LocalOne, Two, Three, LocalQuorum, Quorum, EachQuorum, All] {
            let ledger = Settings { write, ..settings_at(String::new(), "ks") }.ledger();
            for of in 3..9 {
                assert!(replicas(ledger, of) >= replicas(write, of), "{write:?} of {of}: {ledger:?}");
                assert!(replicas(ledger, of) > of / 2, "a quorum, {write:?} of {of}: {ledger:?}");
            }
        }
    }

    #[test]
    fn a_local_quorum_needs_one_known_data_centre() {
        let (one, two) = (BTreeSet::from(["east"]), BTreeSet::from(["east", "west"]));
        let local = Consistency::LocalQuorum;
        let text = misplaced(None, local, &two).unwrap();
        assert!(text.contains("east, west"), "{text}");
        assert_eq!(misplaced(Some("west"), local, &two), None);
        assert_eq!(misplaced(None, local, &one), None);
        for everywhere in [Consistency::Quorum, Consistency::EachQuorum, Consistency::All] {
            assert_eq!(misplaced(None, everywhere, &two), None);
        }
        assert_eq!(misplaced(Some("north"), local, &two).unwrap(), "no node is in data centre north");
    }
}
