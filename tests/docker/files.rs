//! Tests that the files of the image and the composition agree with the rest of the tree. They need no Docker.

use std::collections::BTreeSet;

use serde_json::Value as Json;

fn text(name: &str) -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn composition() -> String {
    text("docker-compose.yaml")
}

/// Returns the rest of every line that begins with this text.
fn all<'t>(text: &'t str, beginning: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(beginning)).collect()
}

/// Returns the text between `left` and `right`, at their first occurrence.
fn between<'t>(text: &'t str, left: &str, right: &str) -> &'t str {
    text.split_once(left).and_then(|(_, rest)| rest.split_once(right)).unwrap_or_else(|| panic!("{left}")).0
}

#[test]
fn versions_match_those_of_the_tree() {
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
        // Debian is named by its release only, so that it gets security updates.
        assert!(tag.matches('.').count() == 2 || tag == "bookworm-slim", "{image}");
    }
}

#[test]
fn the_example_lists_exactly_the_variables_of_the_composition() {
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
fn the_prometheus_configurations_differ_only_in_the_address() {
    let read = |name: &str| serde_saphyr::from_str::<Json>(&text(name)).unwrap();
    let (shipped, docker) =
        (text("deploy/prometheus/prometheus.yaml"), read("deploy/prometheus/docker.yaml"));
    let expected = shipped.replace("127.0.0.1:8642", "needledrop:8642");
    assert_eq!(serde_saphyr::from_str::<Json>(&expected).unwrap(), docker);
}

#[test]
fn ports_are_published_only_on_this_machine() {
    let composition = composition();
    let ports = all(&composition, "ports: ");
    assert_eq!(ports.len(), 3, "needledrop (shared by both services), Prometheus and Grafana");
    assert!(ports.iter().all(|port| port.starts_with("[\"127.0.0.1:")), "{ports:?}");
}
