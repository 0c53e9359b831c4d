//! The measured node: started for the bench, or named by the environment.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::common::Outcome;

const NAMED: &str = "NEEDLEDROP_TEST_CASSANDRA";

pub struct Node {
    pub address: String,
    /// The folder of the node, if the bench started it.
    own: Option<PathBuf>,
}

impl Node {
    pub fn start() -> Outcome<Self> {
        if let Ok(address) = std::env::var(NAMED) {
            return Ok(Self { address, own: None });
        }
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("cassandra").join("bench");
        // A killed bench may have left its node running and its data in place.
        stop(&place);
        // Created first, so that the node is stopped even if it does not come up.
        let mut node = Self { address: String::new(), own: Some(place.clone()) };
        std::fs::create_dir_all(&place)?;
        stop_when_asked(place.clone())?;
        let [port, storage, jmx] = free_ports()?.map(|port| port.to_string());
        let options = ["--port", &port, "--storage-port", &storage, "--jmx", &jmx, "--heap", "2G"];
        let out = script("start", &place).args(options).stderr(Stdio::inherit()).output()?;
        if !out.status.success() {
            return Err(format!("no node: {}", out.status).into());
        }
        node.address = String::from_utf8(out.stdout)?.trim().to_owned();
        Ok(node)
    }

    pub fn about(&self) -> &'static str {
        if self.own.is_some() { "its own, 2 GiB heap" } else { "named by NEEDLEDROP_TEST_CASSANDRA" }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(place) = &self.own {
            stop(place);
        }
    }
}

fn script(command: &str, place: &Path) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cassandra/node");
    let mut command_line = Command::new(script);
    command_line.arg(command).arg(place).stdin(Stdio::null());
    command_line
}

/// Kills a node and removes its data. Nobody reads the data, so the node need not flush it.
fn stop(place: &Path) {
    if place.is_dir() {
        // The command prints its errors on stderr, and this function could not act on them.
        let _ = script("stop", place).arg("--kill").status();
        let _ = std::fs::remove_dir_all(place);
    }
}

/// Stops the node when this process is interrupted. The node does not share the terminal, so Ctrl-C does not reach
/// it.
fn stop_when_asked(place: PathBuf) -> Outcome {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let watch = move || {
        if signals.forever().next().is_some() {
            stop(&place);
            std::process::exit(130);
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
    Ok(())
}

/// Returns three consecutive free ports below the range that the kernel uses for outgoing connections.
fn free_ports() -> Outcome<[u16; 3]> {
    for _ in 0..100 {
        let first = 20_000 + fastrand::u16(..4000) * 3;
        let ports = [first, first + 1, first + 2];
        if ports.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return Ok(ports);
        }
    }
    Err("no free ports".into())
}
