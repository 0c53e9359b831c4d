//! HTTP connections with limits on their number, size and time. A client that holds many connections open, or sends a
//! byte now and then, does not keep other clients from an answer.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The maximum number of open connections. A further connection replaces the oldest one. An answer takes milliseconds,
/// so the oldest connection is only waiting.
const CONNECTIONS: usize = 256;

/// How long a request may take to arrive, counted from the previous answer.
const REQUEST: Duration = Duration::from_secs(10);

/// The maximum size in bytes of a request up to its body. The body is not read.
const HEAD: usize = 16 * 1024;

/// The maximum number of headers in a request.
const HEADERS: usize = 64;

/// How long to wait if the system has no more file descriptors for connections.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, then answers the requests that arrived before.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let (mut open, mut oldest) = (FuturesUnordered::new(), VecDeque::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    make_room(&mut oldest);
                    let over = CancellationToken::new();
                    oldest.push_back(over.clone());
                    open.push(answer(stream, router.clone(), stop.clone(), over));
                }
                Err(_) => tokio::time::sleep(EXHAUSTED).await,
            },
        }
    }
    drop(listener);
    while open.next().await.is_some() {}
}

/// Makes room for one more connection, if necessary by ending the oldest one.
fn make_room(oldest: &mut VecDeque<CancellationToken>) {
    if oldest.len() < CONNECTIONS {
        return;
    }
    oldest.retain(|over| !over.is_cancelled());
    if oldest.len() >= CONNECTIONS
        && let Some(oldest) = oldest.pop_front()
    {
        oldest.cancel();
    }
}

/// Serves one connection until its client or `over` ends it. Errors are ignored, because they affect only this client.
async fn answer(stream: TcpStream, router: Router, stop: CancellationToken, over: CancellationToken) {
    let _ended = over.clone().drop_guard();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(HEAD)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = over.cancelled() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
