//! `needledrop health`: asks whether the daemon is alive or ready. The health check of a container runs it.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::config::Layers;

/// How long the daemon has to answer. It takes milliseconds, and the caller of this command has a limit of its own.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum size of an answer in bytes, more than the daemon ever sends.
const LONGEST: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Check whether the daemon can load files now, not only whether it is alive
    #[arg(long)]
    ready: bool,
    /// The address of the daemon, instead of http.listen; the configuration is not read then
    #[arg(long, value_name = "IP:PORT", env = "NEEDLEDROP_HTTP__LISTEN")]
    listen: Option<SocketAddr>,
}

pub async fn run(layers: &Layers, arguments: &Arguments) -> CommandResult {
    let listen = arguments.listen.map_or_else(|| layers.load().map(|loaded| loaded.http().listen), Ok)?;
    let address = reachable(listen)?;
    let path = if arguments.ready { "/readyz" } else { "/healthz" };
    let problem = match tokio::time::timeout(TIMEOUT, ask(address, path)).await {
        Ok(Ok(answer)) => return print(address, &answer),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
    };
    let next = "start the daemon with `needledrop run`, or see its log; use --listen to ask another address";
    Err(unhealthy(address, &problem, next))
}

/// Returns the address to ask. A daemon that listens on all addresses is asked on the loopback address.
fn reachable(listen: SocketAddr) -> Result<SocketAddr, Failure> {
    if listen.port() == 0 {
        let next = "look up the port in the log of the daemon, and name it with --listen";
        return Err(Failure::usage(format!("{listen}: the daemon listens on any free port\n  next: {next}")));
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, listen.port()))
}

/// Whether a needledrop daemon answers at this address.
pub async fn is_needledrop(listen: SocketAddr) -> bool {
    let Ok(address) = reachable(listen) else { return false };
    let answer = tokio::time::timeout(TIMEOUT, ask(address, "/metrics")).await;
    matches!(answer, Ok(Ok(answer)) if answer.contains("needledrop_build_info"))
}

/// Sends one request. HTTP/1.0 is enough for one request to our own daemon, because the answer ends when the connection
/// closes.
async fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Prints the answer of the daemon in its own words.
fn print(address: SocketAddr, answer: &str) -> CommandResult {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => write!(std::io::stdout(), "{body}")?,
        Some("503") => {
            let next = "wait; the daemon continues by itself when that is over, and its log says more";
            return Err(unhealthy(address, body.trim_end(), next));
        }
        _ => {
            let next = "set http.listen or --listen to the address of the daemon";
            return Err(unhealthy(address, "this is not needledrop", next));
        }
    }
    Ok(Exit::Done)
}

/// Makes a failure with exit code 1, as health checks expect it. No answer counts as a failure too.
fn unhealthy(address: SocketAddr, problem: &str, next: &str) -> Failure {
    Failure { exit: Exit::Short, message: format!("{address}: {problem}\n  next: {next}") }
}
