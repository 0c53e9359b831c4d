//! The reference clients. They run in a process of their own: this program, started again with other arguments.
//!
//! The reference client has all events parsed in memory, the tables created and the statements prepared before its
//! clocks start. It groups 10,000 events at a time by partition and sends batches of up to 100 rows. It has no
//! ledger, no lease, no file hashes, no receipts and no quarantine. With `--single` each row is a separate insert.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::ExecutionError;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::Consistency;
use tokio::task::JoinSet;
use twox_hash::XxHash64;

use super::statements::{BATCH_ROWS, Row, Statements, TABLES};
use crate::common::Outcome;
use crate::common::events::{self, Event};

pub const GROUPED: &str = "--grouped";
pub const SINGLE: &str = "--single";

/// The number of events that are grouped at a time.
const WINDOW: usize = 10_000;

const IN_FLIGHT: usize = 256;

/// How often a request is tried. On a busy machine a request may take too long.
const TRIES: usize = 10;

/// Rows of one partition, sent as one request.
struct Request {
    table: usize,
    events: Vec<usize>,
}

#[derive(Default)]
struct Queue {
    /// The index of the first event that has not been grouped yet.
    next: usize,
    ready: Vec<Request>,
}

struct Load {
    session: Session,
    statements: Vec<Statements>,
    events: Vec<Event>,
    /// The stamp of the first event.
    stamp: i64,
    grouped: bool,
    queue: Mutex<Queue>,
}

/// Loads the events of a folder and prints the measurements on the last line of stdout.
pub fn main(mode: &str, address: &str, keyspace: &str, folder: &Path) -> Outcome {
    let events = events::parsed(folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let load = Arc::new(Load::new(address, keyspace, events, mode == GROUPED).await?);
        println!("{} events in memory, tables and statements ready", load.events.len());
        let (began, before) = (Instant::now(), clock_gettime(ClockId::ProcessCPUTime));
        Load::all(&load).await?;
        let (seconds, after) = (began.elapsed().as_secs_f64(), clock_gettime(ClockId::ProcessCPUTime));
        let cpu = (Duration::try_from(after)? - Duration::try_from(before)?).as_secs_f64();
        let events = load.events.len();
        println!("{}", serde_json::json!({ "events": events, "seconds": seconds, "cpu": cpu }));
        Ok(())
    })
}

impl Load {
    async fn new(address: &str, keyspace: &str, events: Vec<Event>, grouped: bool) -> Outcome<Self> {
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .build();
        let session = SessionBuilder::new()
            .known_node(address)
            .default_execution_profile_handle(profile.into_handle())
            .build()
            .await?;
        let class = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        session.query_unpaged(format!("CREATE KEYSPACE {keyspace} WITH replication = {class}"), ()).await?;
        let mut statements = Vec::new();
        for (table, insert) in TABLES {
            session.query_unpaged(format!("CREATE TABLE {keyspace}.{table}"), ()).await?;
            let cql = format!("INSERT INTO {keyspace}.{insert} USING TIMESTAMP ?");
            statements.push(Statements::new(session.prepare(cql).await?));
        }
        let stamp = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
        Ok(Self { session, statements, events, stamp, grouped, queue: Mutex::default() })
    }

    /// Runs `IN_FLIGHT` lanes. Each lane sends one request after the other.
    async fn all(load: &Arc<Self>) -> Outcome {
        let mut lanes = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            lanes.spawn(Self::lane(load.clone()));
        }
        while let Some(lane) = lanes.join_next().await {
            lane??;
        }
        Ok(())
    }

    async fn lane(load: Arc<Self>) -> Result<(), ExecutionError> {
        while let Some(request) = load.take() {
            let mut tried = 1;
            while let Err(error) = load.send(&request).await {
                if tried == TRIES {
                    return Err(error);
                }
                tried += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Takes the next request. A window can begin before the previous window is done.
    fn take(&self) -> Option<Request> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.ready.is_empty() {
            let from = queue.next;
            queue.next = (from + WINDOW).min(self.events.len());
            queue.ready =
                if self.grouped { self.groups(from, queue.next) } else { singles(from, queue.next) };
            // Requests are taken from the end and must be sent in order.
            queue.ready.reverse();
        }
        queue.ready.pop()
    }

    /// Groups the rows of a window by partition.
    fn groups(&self, from: usize, to: usize) -> Vec<Request> {
        let mut requests = Vec::new();
        for table in 0..TABLES.len() {
            let mut places: Vec<(u64, usize)> =
                (from..to).map(|at| (self.partition(table, at), at)).collect();
            places.sort_unstable();
            let partitions = places.chunk_by(|a, b| a.0 == b.0);
            requests.extend(
                partitions
                    .flat_map(|rows| rows.chunks(BATCH_ROWS))
                    .map(|rows| Request { table, events: rows.iter().map(|(_, at)| *at).collect() }),
            );
        }
        requests
    }

    fn partition(&self, table: usize, at: usize) -> u64 {
        let event = &self.events[at];
        let [session, user] = [event.session, event.user].map(|n| u64::from(n.cast_unsigned()));
        match table {
            0 => session,
            1 => session << 32 | user,
            _ => XxHash64::oneshot(0, event.song.as_bytes()),
        }
    }

    async fn send(&self, request: &Request) -> Result<(), ExecutionError> {
        let statements = &self.statements[request.table];
        let row = |at: &usize| Row {
            table: request.table,
            event: &self.events[*at],
            // The stamps of two consecutive events are one microsecond apart.
            stamp: self.stamp + i64::try_from(*at).unwrap_or(i64::MAX),
        };
        match request.events.as_slice() {
            [at] => self.session.execute_unpaged(&statements.insert, row(at)).await?,
            many => {
                let rows: Vec<Row<'_>> = many.iter().map(row).collect();
                self.session.batch(&statements.batches[rows.len() - 2], rows).await?
            }
        };
        Ok(())
    }
}

fn singles(from: usize, to: usize) -> Vec<Request> {
    let of = |at| (0..TABLES.len()).map(move |table| Request { table, events: vec![at] });
    (from..to).flat_map(of).collect()
}
