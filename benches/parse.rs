//! Measures how many records per second and core the reader and the transform handle, without a store.
//!
//! They are compared with csv-core, which finds the fields of the same bytes and discards them. The reader also reads
//! the files, hashes the bytes and frames them. The transform also parses every value by its type and keeps it. Both
//! sides are timed by the CPU time of the process, so that a helper thread that reads files counts like any other
//! work.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{Outcome, Pairs, Scratch, rate};
use csv_core::{ReadRecordResult, Reader};
use needledrop::config::{Config, Layers};
use needledrop::domain::{
    DeliveryContext, DeliveryId, Feed, FileKey, Header, Plan, Position, RowChunk, Schema, Stamp, StampRange,
    Stamps,
};
use needledrop::format::decoded::Decoded;
use needledrop::format::framer::Framer;
use needledrop::format::tail::TailPolicy;
use needledrop::metrics::heartbeat::Pulse;
use needledrop::pipeline::buffer_pool::BufferPool;
use needledrop::pipeline::hash_checkpoint::{HashCheckpoints, Window};
use needledrop::pipeline::in_turn::InTurn;
use needledrop::pipeline::messages::{Head, Work};
use needledrop::pipeline::read::Read;
use needledrop::pipeline::transform;
use needledrop::source::SourceFile as _;
use needledrop::source::folder::file::FolderFile;
use needledrop::store::Access;
use needledrop::store::backoff::Backoff;
use needledrop::store::sqlite::{Settings, SqliteStore};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;

const TIMES: u32 = 50;

const GOAL: f64 = 0.4;

fn main() -> Outcome {
    let scratch = Scratch::new()?;
    common::scaled(TIMES, &scratch.inbox())?;
    let files = common::files(&scratch.inbox())?;
    let bytes: Vec<Vec<u8>> = files.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    let expected = bytes.iter().map(|bytes| scan(bytes)).sum::<Outcome<u64>>()?;
    let pairs = Pairs::take(
        || {
            let (found, took) = timed(|| stages(&files))?;
            if found == expected {
                Ok(rate(found, took))
            } else {
                Err(format!("{found} of {expected}").into())
            }
        },
        || {
            let (found, took) = timed(|| bytes.iter().map(|bytes| scan(bytes)).sum())?;
            Ok(rate(found, took))
        },
    )?;
    common::compare(
        "reader and transform, no store",
        "records/s and core",
        ["read and transform stages, from files", "bare csv-core, from memory"],
        &pairs,
        GOAL,
        "medians of 5 alternating pairs over the same 61 MB, by CPU time of the process",
    );
    Ok(())
}

/// Runs `work` and returns the CPU time that all threads of this process spent on it.
fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Duration)> {
    let clock = || {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.try_into().unwrap_or(0))
    };
    let began = clock();
    let done = work()?;
    Ok((done, clock() - began))
}

/// Finds fields and records with csv-core. Returns the number of records after the header.
fn scan(mut bytes: &[u8]) -> Outcome<u64> {
    let mut reader = Reader::new();
    let (mut text, mut ends) = (vec![0; 1 << 16], vec![0; 64]);
    let mut records = 0;
    loop {
        let (result, read, _, _) = reader.read_record(bytes, &mut text, &mut ends);
        bytes = &bytes[read..];
        match result {
            ReadRecordResult::Record => records += 1,
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::End => return Ok(records - 1),
            _ => return Err("a record of more than 64 KiB".into()),
        }
    }
}

/// Runs the two stages as the pipeline does, all on one thread. Returns the number of records.
fn stages(files: &[PathBuf]) -> Outcome<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let loaded = Layers::default().load()?;
        let plan = Arc::new(loaded.plans()?.into_iter().next().ok_or("no feed")?);
        let config = loaded.feeds.into_iter().next().ok_or("no feed")?;
        let (files_in, files_out) = mpsc::channel(config.write.queue);
        let (chunks_in, chunks) = mpsc::channel(config.write.queue);
        let (rows_in, rows) = mpsc::channel(config.write.queue);
        let buffers = Arc::new(BufferPool::default());
        let read = reader(&config, &plan, &buffers)?.run(files_out, chunks_in);
        let quota = config.limits.max_quarantined;
        let transform =
            transform::run(InTurn::new(vec![chunks]), rows_in, quota, Arc::clone(&buffers), Pulse::default());
        let (opened, read, (), records) = futures::join!(
            open_all(files, &plan, &config, files_in),
            read,
            transform,
            drained(rows, &buffers)
        );
        opened?;
        read?;
        Ok(records)
    })
}

/// Creates the reader. It needs its store only for stamps, and these files bring all the stamps they need.
fn reader(config: &Config, plan: &Arc<Plan>, buffers: &Arc<BufferPool>) -> Outcome<Read<SqliteStore>> {
    let schema = Arc::new(Schema::of([&**plan]));
    let store = SqliteStore::open(&Settings::at("/nowhere/store.db"), schema, Access::Dry)?;
    let backoff = Backoff {
        limit: None,
        halt: CancellationToken::new(),
        observer: Arc::new(()),
        pulse: Pulse::default(),
    };
    Ok(Read {
        store: Arc::new(store),
        backoff,
        heartbeat: Arc::default(),
        write: config.write.clone(),
        files_at_once: config.source.files_at_once,
        checkpoints: Arc::new(HashCheckpoints::default()),
        buffers: Arc::clone(buffers),
        stop: CancellationToken::new(),
    })
}

async fn open_all(
    files: &[PathBuf],
    plan: &Arc<Plan>,
    config: &Config,
    into: Sender<Work<FolderFile>>,
) -> Outcome {
    for (number, path) in files.iter().enumerate() {
        let limit = config.limits.max_record_bytes.0;
        into.send(open(path, i64::try_from(number)?, plan, limit).await?).await?;
    }
    Ok(())
}

async fn open(path: &Path, number: i64, plan: &Arc<Plan>, limit: usize) -> Outcome<Work<FolderFile>> {
    let mut bytes = Decoded::new(FolderFile::open(path).await?, encoding_rs::UTF_8).await?;
    let mut head = Vec::new();
    bytes.read(&mut head).await?;
    let end = head.iter().position(|byte| *byte == b'\n').ok_or("no header")?;
    let names = std::str::from_utf8(&head[..end])?.trim_end().split(',').map(str::to_owned);
    let header = Header(names.collect());
    let mapping = header.map(plan)?;
    let at = Position { offset: end as u64 + 1, record: 0, line: 1 };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head[..=end]);
    let mut framer = Framer::new(&plan.format, limit, Position::default(), at, hasher);
    framer.bytes().extend_from_slice(&head[end + 1..]);
    let source = DeliveryContext {
        plan: Arc::clone(plan),
        id: DeliveryId(number),
        file: FileKey::new(&Feed::default(), path.display().to_string()),
        header,
        mapping,
        file_date: None,
        arrived: SystemTime::now(),
        records_before: 0,
        quarantined_before: 0,
        skipped_before: 0,
        read: Default::default(),
        halt: Default::default(),
    };
    let range = StampRange { first: 0, base: Stamp(number << 40), records: 1 << 30 };
    let stamps = Stamps::new(vec![range]);
    let (noted, window) = (bytes.file.noted(), Window::default());
    let head = Head { len: 0, hash: blake3::hash(b"").to_hex().to_string() };
    let (source, tail) = (Arc::new(source), TailPolicy::Load);
    Ok(Work { source, stamps, bytes, noted, framer, tail, header_is_tail: false, window, head })
}

/// Takes chunks as the writer does, without writing them. Returns the number of records.
async fn drained(mut rows: Receiver<RowChunk>, buffers: &BufferPool) -> u64 {
    let mut records = 0;
    while let Some(chunk) = rows.recv().await {
        records += chunk.records();
        buffers.give_chunk(chunk.bytes, chunk.frames);
        buffers.give_rows(chunk.rows);
    }
    records
}
