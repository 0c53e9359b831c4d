//! Connections, bounded in number, in size and in time: whoever holds many of them open, or sends a byte now and
//! then, keeps nobody else from an answer.

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

/// Connections at the same time. The next one takes the place of the oldest: an answer takes milliseconds, so that
/// one only waits.
const CONNECTIONS: usize = 256;

/// How long a request may take to come, from the answer before it on.
const REQUEST: Duration = Duration::from_secs(10);

/// Bytes of a request up to its body, which nobody reads.
const HEAD: usize = 16 * 1024;

const HEADERS: usize = 64;

/// How long to wait when the system has no more files for connections.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Serves until `stop`, and then what was asked before.
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

/// For one more.
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

/// One connection, until its client, or `over`, ends it. What goes wrong on it is for its client to see.
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
