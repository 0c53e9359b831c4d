//! A real Prometheus that runs for one test, and its answers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::common::{free_port, until};

/// Returns the path of a tool of Prometheus, if it is installed. `NEEDLEDROP_TEST_PROMETHEUS` requires the tool.
pub fn tool(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|place| place.is_file());
    let required = std::env::var_os("NEEDLEDROP_TEST_PROMETHEUS").is_some();
    assert!(found.is_some() || !required, "{name} is not here; `make test-monitoring` installs it");
    if found.is_none() {
        eprintln!("NOTE: NOT RUN, {name} is not installed; `make test-monitoring` installs it and runs this");
    }
    found
}

/// A server that scrapes every second, with the rules of the tree.
pub struct Prometheus {
    server: Child,
    port: u16,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts a server that scrapes daemons on these ports. Its configuration is the shipped one with other addresses
    /// and intervals. Returns `None` if Prometheus is not installed.
    pub fn start(ports: &[u16]) -> Option<Self> {
        let binary = tool("prometheus")?;
        let dir = TempDir::new().unwrap();
        let targets: Vec<_> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let rules = super::file("deploy/prometheus");
        let shipped = super::text("deploy/prometheus/prometheus.yaml");
        let config = shipped
            .replace("\"127.0.0.1:8642\"", &targets.join(", "))
            .replace("interval: 15s", "interval: 1s")
            .replace("- recording.yaml", &format!("- {}", rules.join("recording.yaml").display()))
            .replace("- alerts.yaml", &format!("- {}", rules.join("alerts.yaml").display()));
        assert!(config.contains(&targets[0]) && config.matches("interval: 1s").count() == 2, "{config}");
        fs::write(dir.path().join("prometheus.yaml"), config).unwrap();
        let port = free_port();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let server = Command::new(binary)
            .arg(format!("--config.file={}", dir.path().join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let prometheus = Self { server, port, _dir: dir };
        until("Prometheus has scraped all", || {
            let up = prometheus.try_ask("/api/v1/query?", &[("query", "up == 1")])?;
            (up["result"].as_array()?.len() == ports.len()).then_some(())
        });
        Some(prometheus)
    }

    /// Returns the current value of each series.
    pub fn now(&self, query: &str) -> Vec<f64> {
        let answer = self.ask("/api/v1/query?", &[("query", query)]);
        answer["result"].as_array().unwrap().iter().map(|series| value(series).unwrap()).collect()
    }

    /// Returns the values of each series over the last seconds, one value per second.
    pub fn lately(&self, query: &str, seconds: u64) -> Vec<Vec<f64>> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let (from, to) = ((now - seconds).to_string(), now.to_string());
        let range = [("query", query), ("start", &from), ("end", &to), ("step", "1")];
        let answer = self.ask("/api/v1/query_range?", &range);
        let number = |pair: &Json| pair[1].as_str().unwrap().parse::<f64>().unwrap();
        let series = answer["result"].as_array().unwrap().iter();
        series.map(|series| series["values"].as_array().unwrap().iter().map(number).collect()).collect()
    }

    /// Returns the labels of each series of a metric.
    pub fn series(&self, metric: &str) -> Vec<Json> {
        self.ask("/api/v1/series?", &[("match[]", metric)]).as_array().unwrap().clone()
    }

    /// Returns the alerts that are pending or firing.
    pub fn alerts(&self) -> Vec<String> {
        let alerts = self.ask("/api/v1/alerts?", &[])["alerts"].as_array().unwrap().clone();
        alerts.iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Json {
        self.try_ask(path, parameters).unwrap_or_else(|| panic!("no answer to {parameters:?}"))
    }

    fn try_ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Json> {
        let query: Vec<_> =
            parameters.iter().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        // With HTTP 1.0 the answer comes in one piece.
        write!(stream, "GET {path}{} HTTP/1.0\r\nHost: localhost\r\n\r\n", query.join("&")).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let answer: Json = serde_json::from_str(body).ok()?;
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        Some(answer["data"].clone())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // The server may have ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn value(series: &Json) -> Option<f64> {
    series["value"][1].as_str()?.parse().ok()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
