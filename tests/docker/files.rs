//! What the files of the image and the composition say agrees with the rest of the tree. These need no Docker.

use std::collections::BTreeSet;

use serde_json::Value as Json;

fn text(name: &str) -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn composition() -> String {
    text("docker-compose.yaml")
}

/// The values of all lines that begin with this.
fn all<'t>(text: &'t str, beginning: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(beginning)).collect()
}

/// What stands between, the first time.
fn between<'t>(text: &'t str, left: &str, right: &str) -> &'t str {
    text.split_once(left).and_then(|(_, rest)| rest.split_once(right)).unwrap_or_else(|| panic!("{left}")).0
}

#[test]
fn versions_are_those_of_the_tree() {
    let (dockerfile, version) = (text("deploy/Dockerfile"), env!("CARGO_PKG_VERSION"));
    assert_eq!(between(&dockerfile, "image.version=\"", "\""), version);
    assert!(all(&composition(), "image: ").contains(&format!("needledrop:{version}").as_str()));
    let tested = text("tests/cassandra/pom.xml");
    let tested = between(&tested, "<artifactId>cassandra-all</artifactId>\n      <version>", "<");
    assert_eq!(between(&composition(), "image: cassandra:", "\n"), tested);
}

#[test]
fn every_image_has_its_exact_version() {
    let (dockerfile, composition) = (text("deploy/Dockerfile"), composition());
    let images = [all(&dockerfile, "FROM "), all(&composition, "image: ")].concat();
    assert!(images.len() >= 6, "{images:?}");
    for image in images {
        let tag = image.split(' ').next().unwrap().split_once(':').unwrap_or_else(|| panic!("{image}")).1;
        // Of Debian the release alone, which gets its security updates.
        assert!(tag.matches('.').count() == 2 || tag == "bookworm-slim", "{image}");
    }
}

#[test]
fn what_can_be_set_is_in_the_example_and_nothing_else() {
    let composition = composition();
    let asked: BTreeSet<_> = composition
        .split("${")
        .skip(1)
        .map(|rest| between(rest, "", "}").split_once(":-").unwrap())
        .collect();
    let example = text(".env.example");
    let told = all(&example, "# ").into_iter().filter_map(|line| line.split_once('='));
    let told: BTreeSet<_> =
        told.filter(|(name, _)| !name.contains(|c: char| !c.is_uppercase() && c != '_')).collect();
    assert_eq!(asked, told);
}

#[test]
fn prometheus_differs_in_the_address_alone() {
    let read = |name: &str| serde_saphyr::from_str::<Json>(&text(name)).unwrap();
    let (shipped, docker) =
        (text("deploy/prometheus/prometheus.yaml"), read("deploy/prometheus/docker.yaml"));
    let expected = shipped.replace("127.0.0.1:8642", "needledrop:8642");
    assert_eq!(serde_saphyr::from_str::<Json>(&expected).unwrap(), docker);
}

#[test]
fn nothing_is_published_beyond_this_machine() {
    let composition = composition();
    let ports = all(&composition, "ports: ");
    assert_eq!(ports.len(), 3, "of the shared part, Prometheus and Grafana");
    assert!(ports.iter().all(|port| port.starts_with("[\"127.0.0.1:")), "{ports:?}");
}
