//! Tests of nodes that require a login, a certificate and permissions.

use std::time::Duration;

use needledrop::domain::StampsAhead;
use needledrop::store::cassandra::cluster::config::Tls;
use needledrop::store::cassandra::cluster::connect::{Consistency, connect};
use needledrop::store::cassandra::cluster::settings::Settings;
use needledrop::store::limits::Limits;
use scylla::client::session::Session;

use crate::common::{HEADER, World, events};
use crate::{Node, PORT, alone};

/// Asserts that `check` exits with this code and prints this word, and that it prints no password.
fn told(world: &World, code: i32, word: &str) {
    let output = world.run(&["check"]);
    assert_eq!(output.code, code, "{word}: {output:?}");
    assert!(output.stdout.contains(word), "{word}: {output:?}");
    assert!(!output.stdout.contains("s3cret") && !output.stderr.contains("s3cret"), "{output:?}");
}

/// Asserts that `check` names the certificate that the node requires. In TLS 1.3 the node judges the certificate after the
/// client's handshake. So the client may see a lost connection before it reads why.
fn without_certificate(world: &World) {
    let output = world.run(&["check"]);
    let is_told = match output.code {
        2 => output.stdout.contains("TLS fails"),
        3 => output.stdout.contains("a client certificate, set store.cassandra.tls"),
        _ => false,
    };
    assert!(is_told, "{output:?}");
}

impl Node {
    fn file(&self, name: &str) -> String {
        self.folder.join("tls").join(name).to_str().unwrap().to_owned()
    }

    /// Returns a value for `store.cassandra.tls` with the client's certificate.
    fn tls(&self, ca: &str, more: &str) -> String {
        let [ca, certificate, key] = [ca, "client.pem", "client.key"].map(|name| self.file(name));
        format!("{{ ca: {ca}, certificate: {certificate}, key: {key}{more} }}")
    }
}

#[test]
fn login_and_tls_are_required_and_each_failure_is_reported() {
    let Some((_alone, place)) = alone() else { return };
    let port = (PORT + 1).to_string();
    let options = ["--port", &port, "--storage-port", "7400", "--jmx", "7401", "--auth", "--tls"];
    let rights =
        ["--yaml", "permissions_validity: 50ms", "--yaml", "minimum_timestamp_warn_threshold: 3650d"];
    let options = [&options[..], &rights].concat();
    let node = Node::start(place.path().join("node"), &options);
    let tls = |ca: &str| node.tls(ca, "");
    let world = |tls: Option<String>, password: Option<&str>| {
        let mut world = World::new()
            .with("store.kind", "cassandra")
            // The first contact point is dead.
            .with("store.cassandra.hosts", &format!("[\"127.0.0.9:9\", \"127.0.0.1:{port}\"]"))
            .with("store.cassandra.keyspace", "guarded")
            .with("store.patience", "3s");
        if let Some(tls) = tls {
            world.set("store.cassandra.tls", &tls);
        }
        if let Some(password) = password {
            world.set("store.cassandra.username", "cassandra");
            world.set("store.cassandra.password", password);
        }
        world.drop_file("2018-11-01-events.csv", HEADER.to_owned() + &events(0..5));
        world
    };
    told(&world(Some(tls("ca.pem")), None), 2, "requires a login");
    told(&world(Some(tls("ca.pem")), Some("s3cret")), 2, "login is refused");
    told(&world(Some(tls("other-ca.pem")), Some("cassandra")), 2, "TLS fails");
    without_certificate(&world(Some(format!("{{ ca: {} }}", node.file("ca.pem"))), Some("cassandra")));
    told(&world(None, Some("cassandra")), 3, "TLS");
    let right = world(Some(tls("ca.pem")), Some("cassandra"));
    told(&right, 0, "password set");
    assert_eq!(right.once(0)["records"]["loaded"], 5);
    assert_eq!(right.json(&["status", "--count"])["deliveries"].as_array().unwrap().len(), 1);
    told(&right, 0, "minimum_timestamp_warn_threshold is 3650d, and the server warns of stamps beyond it");
    rights_that_are_documented_suffice(&node, &world);
}

/// Checks the permissions that docs/guarantees.md lists under "Permissions".
fn rights_that_are_documented_suffice(node: &Node, world: &dyn Fn(Option<String>, Option<&str>) -> World) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let session = runtime.block_on(superuser(node));
    let cql = |cql: &str| runtime.block_on(session.query_unpaged(cql, ())).map(|_| ()).unwrap();
    let of = |role: &str, keyspace: &str, create: &str| {
        cql(&format!("CREATE ROLE {role} WITH PASSWORD = 'cassandra' AND LOGIN = true"));
        let mut world = world(Some(node.tls("ca.pem", "")), Some("cassandra"));
        world.set("store.cassandra.username", role);
        world.set("store.cassandra.keyspace", keyspace);
        world.set("store.create_schema", create);
        world
    };
    // The tables exist.
    let reader = of("reader", "guarded", "false");
    cql("GRANT SELECT ON KEYSPACE guarded TO reader");
    let output = reader.run(&["run", "--once"]);
    assert_eq!(output.code, 3, "{output:?}");
    assert!(
        output.stderr.contains("grant this role the permissions that docs/guarantees.md lists"),
        "{output:?}"
    );
    for command in [&["status"][..], &["query", "session_item", "sessionId=7"], &["export"]] {
        let output = reader.run(command);
        assert_eq!(output.code, 0, "a role that may only read can run {command:?}: {output:?}");
    }
    let loader = of("loader", "guarded", "false");
    cql("GRANT SELECT ON KEYSPACE guarded TO loader");
    cql("GRANT MODIFY ON KEYSPACE guarded TO loader");
    loader.drop_file("2018-11-02-events.csv", HEADER.to_owned() + &events(5..9));
    all_commands(&loader, 4);
    // The tables are to be created, in a keyspace that exists.
    cql("CREATE KEYSPACE own WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}");
    let maker = of("maker", "own", "true");
    for right in ["CREATE", "SELECT", "MODIFY"] {
        cql(&format!("GRANT {right} ON KEYSPACE own TO maker"));
    }
    all_commands(&maker, 5);
    // The keyspace is to be created too.
    let founder = of("founder", "found", "true");
    cql("GRANT CREATE ON ALL KEYSPACES TO founder");
    all_commands(&founder, 5);
}

/// Runs a load and the commands that people use.
fn all_commands(world: &World, loaded: u64) {
    assert_eq!(world.once(0)["records"]["loaded"], loaded);
    for command in [
        &["check"][..],
        &["status", "--count"],
        &["receipt", "2018-11-01-events.csv"],
        &["quarantine", "list"],
        &["quarantine", "replay"],
        &["schema"],
        &["query", "session_item", "sessionId=7"],
        &["export"],
        &["load", "--table", "user_song"],
    ] {
        let output = world.run(command);
        assert!(matches!(output.code, 0 | 1), "{command:?}: {output:?}");
        assert!(!output.stderr.contains("grant this role"), "{command:?}: {output:?}");
    }
}

async fn superuser(node: &Node) -> Session {
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| node.file(name).into());
    let settings = Settings {
        hosts: vec![format!("127.0.0.1:{}", PORT + 1)],
        keyspace: "guarded".to_owned(),
        ledger_keyspace: "guarded".to_owned(),
        replication: Vec::new(),
        write: Consistency::One,
        read: Consistency::One,
        local_datacenter: None,
        login: Some(("cassandra".to_owned(), "cassandra".to_owned())),
        tls: Some(Tls { ca, certificate: Some(certificate), key: Some(key), check_host: true }),
        compression: None,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(12),
        lease: Duration::from_secs(10),
        login_description: String::new(),
        limits: Limits {
            in_flight: 1,
            batch_rows: 1,
            batch_bytes: 1,
            rows_per_second: 0,
            max_record_bytes: 1,
            collision_keys: 1,
        },
        stamps_ahead: StampsAhead::Wait,
    };
    connect(&settings).await.unwrap()
}

#[test]
fn a_certificate_for_another_address_is_refused_unless_check_host_is_false() {
    let Some((_alone, place)) = alone() else { return };
    let port = (PORT + 2).to_string();
    let options = ["--address", "127.0.0.4", "--port", &port, "--storage-port", "7410", "--jmx", "7411"];
    let node = Node::start(
        place.path().join("node"),
        &[&options[..], &["--tls", "--tls-for", "127.0.0.9"]].concat(),
    );
    let world = |ca: &str, more: &str| {
        let world = World::new()
            .with("store.kind", "cassandra")
            .with("store.cassandra.hosts", &format!("[\"127.0.0.4:{port}\"]"))
            .with("store.cassandra.keyspace", "named")
            .with("store.cassandra.tls", &node.tls(ca, more))
            .with("store.patience", "3s");
        world.drop_file("2018-11-01-events.csv", HEADER.to_owned() + &events(0..5));
        world
    };
    told(&world("ca.pem", ""), 2, "TLS fails");
    told(&world("other-ca.pem", ", check_host: false"), 2, "TLS fails");
    let right = world("ca.pem", ", check_host: false");
    told(&right, 0, "without a login");
    assert_eq!(right.once(0)["records"]["loaded"], 5);
}
