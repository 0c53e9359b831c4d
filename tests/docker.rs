//! Tests of the image and the composition on a real Docker: `make test-docker`.
//!
//! The tests build the image, which takes minutes. They run only if `NEEDLEDROP_TEST_DOCKER` is set. Otherwise they
//! report that they were not run. tests/docker/README.md describes what stands in for images that cannot be pulled.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a failing helper must fail its test"
)]

mod common;

#[path = "docker/composition.rs"]
mod composition;
#[path = "docker/files.rs"]
mod files;
#[path = "docker/image.rs"]
mod image;

use std::time::{Duration, Instant};

use composition::Composition;
use serde_json::{Value as Json, json};

/// A real day, and a song that it contains.
const FILE: &str = "2018-11-07-events.csv";
const SONG: [&str; 3] = ["session_item", "sessionId=338", "itemInSession=4"];

/// Less than `stop_grace_period`, after which Docker would kill the container.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

fn song() -> Json {
    let (artist, song) = ("Faithless", "Music Matters (Mark Knight Dub)");
    json!([{ "sessionId": 338, "itemInSession": 4, "artist": artist, "song": song, "length": 495.3073 }])
}

/// Asserts that the dropped file is loaded once and that its rows are in the tables.
fn assert_loaded(of: &Composition) {
    let receipt = of.needledrop(&["receipt", FILE, "--json"]);
    assert_eq!((&receipt["state"], &receipt["closes"]), (&json!("loaded"), &json!(true)), "{receipt}");
    assert_eq!(of.needledrop(&["status", "--json"])["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(of.needledrop(&[&["query"], &SONG[..], &["--json"]].concat()), song());
}

fn drop_and_load(of: &Composition) {
    of.drop_file(FILE);
    of.until(&format!("{FILE} is loaded"), || {
        let receipt = of.try_needledrop(&["receipt", FILE, "--json"])?;
        (receipt["state"] == "loaded").then_some(())
    });
    assert_loaded(of);
}

/// Asserts that the container has no capabilities, that it can write only to its own places, that no process is left
/// behind, and that nothing is open to the network.
fn assert_confined(of: &Composition) {
    assert_eq!(of.exec(&["id", "-u"]), "8642");
    let status = of.exec(&["cat", "/proc/1/status"]);
    let line =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!((line("Name:"), line("NoNewPrivs:")), ("needledrop".to_owned(), "1".to_owned()));
    assert!(["CapPrm:", "CapEff:", "CapBnd:"].iter().all(|set| line(set) == "0000000000000000"), "{status}");
    of.exec(&["touch", "/tmp/x"]);
    assert!(
        of.refusal(&["exec", "-T", "-u", "root", of.service(), "touch", "/x"])
            .contains("Read-only file system")
    );
    assert!(of.refusal(&["exec", "-T", of.service(), "touch", "/inbox/x"]).contains("Permission denied"));
    let about = of.inspect();
    assert_eq!(about["HostConfig"]["ReadonlyRootfs"], true);
    let bound = about["HostConfig"]["PortBindings"].as_object().unwrap().values();
    assert!(bound.flat_map(|of| of.as_array().unwrap()).all(|of| of["HostIp"] == "127.0.0.1"), "{about}");
    assert_eq!(of.zombies(), 0, "health checks and `exec` leave no zombies");
}

/// Asserts that a scanner finds the dependencies: in the binary, and in a file.
fn assert_dependencies_are_listed(of: &Composition) {
    of.exec(&["grep", "-q", r"\.dep-v0", "/usr/local/bin/needledrop"]);
    let sbom = of.exec(&["cat", "/usr/share/doc/needledrop/sbom.cdx.json"]);
    let sbom: Json = serde_json::from_str(&sbom).unwrap();
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    let components = sbom["components"].as_array().unwrap();
    assert!(components.iter().any(|component| component["name"] == "scylla"), "{sbom}");
}

/// Sends SIGTERM to the first process of the container. Asserts that it ends by itself, in time and with exit code 0.
fn assert_stops(of: &Composition) {
    let began = Instant::now();
    of.compose(&["stop", of.service()]);
    assert!(began.elapsed() < STOPS_WITHIN, "{:?}", began.elapsed());
    assert_eq!(of.inspect()["State"]["ExitCode"], 0, "{}", of.logs());
}

/// Takes the composition down and up again. Asserts that the rows are still there and that the file is not read
/// again.
fn assert_kept(of: &Composition) {
    of.compose(&["down"]);
    of.up();
    of.until("it is ready", || (of.get("/readyz")?.0 == 200).then_some(()));
    assert_loaded(of);
    let (_, metrics) = of.get("/metrics").unwrap();
    assert!(metrics.lines().any(|line| line == "needledrop_records_read_total 0"), "{metrics}");
}

#[test]
fn cassandra_needledrop_prometheus_and_grafana_work_together() {
    let Some(of) = Composition::new("needledrop", &["needledrop", "prometheus", "grafana"]) else { return };
    of.up();
    of.until("it is healthy", || (of.health() == "healthy").then_some(()));
    drop_and_load(&of);
    assert_confined(&of);
    let up = of.until("Prometheus scrapes it", || of.prometheus("up == 1"));
    let metric = json!({ "__name__": "up", "job": "needledrop", "instance": "needledrop:8642" });
    assert_eq!(up["metric"], metric);
    let rules = of.ask(of.prometheus_port, "/api/v1/rules").unwrap();
    assert!(rules.contains("NeedledropDown") && rules.contains("\"type\":\"recording\""), "{rules}");
    of.until("Grafana answers", || of.ask(of.grafana_port, "/api/health"));
    assert_stops(&of);
    assert_kept(&of);
}

#[test]
fn the_sqlite_composition_works_and_its_health_is_visible() {
    let Some(of) = Composition::new("sqlite", &["sqlite"]) else { return };
    of.up();
    of.until("it is healthy", || (of.health() == "healthy").then_some(()));
    drop_and_load(&of);
    assert_confined(&of);
    assert_dependencies_are_listed(&of);
    of.signal("STOP");
    of.until("it hangs, which is seen", || (of.health() == "unhealthy").then_some(()));
    of.signal("CONT");
    of.until("it is healthy again", || (of.health() == "healthy").then_some(()));
    assert_stops(&of);
    assert_kept(&of);
}

#[test]
fn the_image_is_small_and_describes_itself() {
    if !image::wanted() {
        return;
    }
    image::build();
    let about = image::made();
    assert_eq!(about["Config"]["User"], "8642:8642");
    let labels = &about["Config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(labels["org.opencontainers.image.revision"], image::COMMIT);
    let (whole, base) = (about["Size"].as_u64().unwrap(), image::base()["Size"].as_u64().unwrap());
    assert!(whole - base < 40_000_000, "the image is {} bytes larger than its base", whole - base);
    // No daemon listens in this container.
    let (code, said) = image::run(&["health"]);
    assert_eq!(code, 1, "{said}");
    assert!(!said.is_empty());
    let version = format!("needledrop {} ({})", env!("CARGO_PKG_VERSION"), &image::COMMIT[..12]);
    assert_eq!(image::run(&["--version"]), (0, version));
}
