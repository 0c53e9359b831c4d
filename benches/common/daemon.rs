//! The shipped daemon and its HTTP answers.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Outcome, Scratch};

const PATIENCE: Duration = Duration::from_secs(300);

/// A daemon on an inbox. It is killed on drop.
pub struct Daemon {
    pub child: Child,
    port: u16,
}

impl Daemon {
    /// Starts the daemon and waits until it is ready.
    pub fn start(scratch: &Scratch) -> Outcome<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command: Command = scratch.needledrop(&["run"]);
        let child = command.env("NEEDLEDROP_HTTP__LISTEN", format!("127.0.0.1:{port}")).spawn()?;
        let daemon = Self { child, port };
        let began = Instant::now();
        while !daemon.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            if began.elapsed() > PATIENCE {
                return Err("the daemon is not ready".into());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(daemon)
    }

    /// Sends a GET request and returns the whole answer, headers included.
    pub fn get(&self, path: &str) -> Outcome<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Waits until the metrics contain this line.
    pub fn until(&self, line: &str) -> Outcome {
        let began = Instant::now();
        while !self.get("/metrics")?.lines().any(|told| told == line) {
            if began.elapsed() > PATIENCE {
                return Err(format!("waited too long for {line}").into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Returns the value of a metric. `name` includes the labels, if there are any.
    pub fn metric(&self, name: &str) -> Outcome<f64> {
        let metrics = self.get("/metrics")?;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.ok_or("no such metric")?.trim().parse()?)
    }

    /// Returns the CPU seconds that the daemon has used so far.
    pub fn cpu(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: Vec<f64> = fields.map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / 100.0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The daemon may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
