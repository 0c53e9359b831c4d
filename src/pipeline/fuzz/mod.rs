//! Runs arbitrary bytes through the reader and the transform as they run in the pipeline. Checks that nothing panics,
//! that the counts add up, and that the records are the same wherever reading pauses, a chunk ends or a load is
//! resumed.
//!
//! `NEEDLEDROP_FUZZ_SECONDS` is the duration in seconds (3 by default). `NEEDLEDROP_SEED` repeats a failure. Add every
//! failing input to [`KNOWN`].

mod account;
mod input;

use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use account::Account;
use encoding_rs::{SHIFT_JIS, UTF_8, UTF_16LE};
use input::{Escaped, Input, input};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, RngAlgorithm, TestError, TestRng, TestRunner};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::messages::{Head, Work};
use super::read::Read;
use super::row_builder::RowBuilder;
use crate::config::{Layers, Write};
use crate::domain::format::{Dialect, FooterLines, LineEnd};
use crate::domain::{
    Delivery, DeliveryContext, DeliveryId, Format, Header, Mapping, Plan, Position, RawChunk, Stamp,
    StampRange, Stamps,
};
use crate::format::decoded::Decoded;
use crate::format::framer::Framer;
use crate::format::stream_error::StreamError;
use crate::format::tail::TailPolicy;
use crate::metrics::heartbeat::Pulse;
use crate::pipeline::byte_source;
use crate::pipeline::hash_checkpoint::{HashCheckpoints, Window};
use crate::pipeline::header_probe::{Opened, Start, framer, open, start};
use crate::pipeline::prefix_check::PrefixCheck;
use crate::source::SourceFile;
use crate::source::suite::memory::{Memory, MemoryFile};
use crate::store::backoff::Backoff;
use crate::store::dry_run::DryRun;
use crate::store::sqlite::SqliteStore;

/// A reader that returns at most this many bytes at a time.
struct Parts<R>(R, usize);

impl<R: AsyncRead + Unpin> AsyncRead for Parts<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut part = vec![0; self.1.min(into.remaining())];
        let mut part = ReadBuf::new(&mut part);
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, &mut part))?;
        into.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

/// The maximum number of bytes read at a time.
const READ: usize = 256 * 1024;

/// The path of the file that is read.
const PATH: &str = "a.csv";

struct Bench {
    runtime: tokio::runtime::Runtime,
    plan: Arc<Plan>,
    write: Write,
    inbox: Memory,
}

impl Bench {
    fn new() -> Self {
        let yaml = "source:\n  columns: { n: int, s: text, v: text }\n  skip_when_empty: [s]\n\
                    tables:\n  t: { partition_key: [n], clustering_key: [s], columns: [v] }\n";
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.yaml"), yaml).unwrap();
        let layers = Layers { file: Some(dir.path().join("config.yaml")), ..Layers::default() };
        let loaded = layers.load().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            runtime,
            plan: Arc::new(loaded.plan().unwrap()),
            write: loaded.feeds[0].write.clone(),
            inbox: Memory::growing(),
        }
    }

    fn plan(&self, input: &Input) -> Arc<Plan> {
        let skip_footer = FooterLines::new(input.footer).unwrap();
        let format = Format::Csv(Arc::new(Dialect { lines: input.lines, skip_footer, ..Dialect::default() }));
        Arc::new(Plan { encoding: input.encoding, format, ..Plan::clone(&self.plan) })
    }

    /// Returns the read stage, with chunks of `window` records.
    fn reader(&self, window: usize) -> Read<DryRun<SqliteStore>> {
        Read {
            store: Arc::new(DryRun::new(None)),
            backoff: Backoff {
                limit: None,
                halt: CancellationToken::new(),
                observer: Arc::new(()),
                pulse: Pulse::default(),
            },
            heartbeat: Arc::default(),
            write: Write { window, ..self.write.clone() },
            files_at_once: 1,
            checkpoints: Arc::new(HashCheckpoints::default()),
            buffers: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Reads and transforms a file to its end.
    async fn account(
        &self,
        input: &Input,
        mapping: &Mapping,
        framer: Framer,
        bytes: Decoded<MemoryFile>,
        window: usize,
    ) -> Account {
        let plan = self.plan(input);
        let reader = self.reader(window);
        let source = DeliveryContext {
            plan: Arc::clone(&plan),
            id: DeliveryId(1),
            file: PATH.into(),
            header: Header(Vec::new()),
            mapping: mapping.clone(),
            file_date: None,
            arrived: SystemTime::UNIX_EPOCH,
            records_before: 0,
            quarantined_before: 0,
            skipped_before: 0,
            read: Default::default(),
            halt: Default::default(),
        };
        let stamps = Stamps::new(vec![StampRange { first: 0, base: Stamp(1000), records: 1 << 30 }]);
        let (noted, window) = (bytes.file.noted(), Window::default());
        let head = Head { len: 0, hash: blake3::hash(b"").to_hex().to_string() };
        let (source, tail) = (Arc::new(source), TailPolicy::Load);
        let work = Work { source, stamps, bytes, noted, framer, tail, header_is_tail: false, window, head };
        let (files, taken) = mpsc::channel(1);
        let (chunks, mut read) = mpsc::channel::<RawChunk>(1);
        files.try_send(work).ok().unwrap();
        drop(files);
        let transform = RowBuilder::new(plan, Arc::default());
        let mut account = Account::default();
        let collect = async {
            while let Some(raw) = read.recv().await {
                let most = self.write.window_bytes.0 + input.limit + READ + 8;
                assert!(raw.bytes.len() <= most, "a chunk of {} bytes", raw.bytes.len());
                account.take(raw, &transform).await;
            }
        };
        let (read, ()) = futures::join!(reader.run(taken, chunks), collect);
        read.unwrap();
        account
    }

    /// Reads the file as the pipeline reads it.
    async fn at_once(&self, input: &Input, opened: Opened<MemoryFile>, begin: &Start) -> Account {
        let framer = framer(&self.plan(input), input.limit, (Position::default(), 0), begin, &opened.read);
        self.account(input, &begin.mapping, framer, opened.bytes, usize::MAX).await
    }

    /// Reads the file a few bytes at a time, in small chunks.
    async fn in_parts(&self, input: &Input, begin: &Start) -> Account {
        let bytes = byte_source::open(&self.inbox, &PATH.into(), input.encoding).await.unwrap();
        let mut bytes = bytes.through(|bytes| Parts(bytes, input.part));
        let mut read = Vec::new();
        bytes.read_up_to(&mut read, usize::try_from(begin.mark.offset).unwrap()).await.unwrap();
        let framer = framer(&self.plan(input), input.limit, (Position::default(), 0), begin, &read);
        self.account(input, &begin.mapping, framer, bytes, input.window).await
    }

    /// Reads the file from a position where an earlier process may have ended.
    async fn resumed(&self, input: &Input, begin: &Start, at: &(Position, String)) -> Account {
        let (reach, hash) = at.clone();
        let delivery = self.delivery(reach, hash);
        let verified =
            PrefixCheck::verify(&self.inbox, &PATH.into(), &delivery, input.encoding).await.unwrap();
        let prefix = verified.expect("what was read is still its beginning");
        let framer = prefix.framer(&delivery, &self.plan(input).format, input.limit);
        self.account(input, &begin.mapping, framer, prefix.bytes, input.window).await
    }

    fn delivery(&self, reach: Position, hash: String) -> Delivery {
        Delivery { reach, hash, fingerprint: self.plan.fingerprint.clone(), ..Delivery::empty() }
    }

    /// Returns all decoded bytes that can be read, and whether reading ended because the file is corrupt.
    async fn decoded(&self, input: &Input) -> (Vec<u8>, bool) {
        let mut bytes = byte_source::open(&self.inbox, &PATH.into(), input.encoding).await.unwrap();
        let mut all = Vec::new();
        while bytes.read(&mut all).await.is_ok_and(|read| read > 0) {}
        (all, matches!(bytes.broken(), Some(StreamError::Corrupt(_))))
    }

    fn check(&self, input: &Input) {
        self.inbox.put(PATH, &input.file.0);
        self.runtime.block_on(self.check_file(input));
    }

    async fn check_file(&self, input: &Input) {
        let plan = self.plan(input);
        let (decoded, corrupt) = self.decoded(input).await;
        if let Some(text) = &input.text
            && input.encoding == UTF_8
        {
            assert_eq!(decoded, text.0, "decompression changes nothing");
        }
        let opened = open(&self.inbox, &PATH.into(), input.encoding).await.unwrap();
        let Ok(begin) = start(&opened, &plan).await else { return };
        if !begin.is_complete {
            return;
        }
        let account = self.at_once(input, opened, &begin).await;
        account.obeys_the_laws(Position::default());
        let parts = self.in_parts(input, &begin).await;
        parts.obeys_the_laws(Position::default());
        for (mark, hash) in account.marks.iter().chain(&parts.marks) {
            let before = decoded.get(..usize::try_from(mark.offset).unwrap());
            // How many bytes a decoder returns before it detects corruption depends on the sizes of the reads.
            assert!(before.is_some() || corrupt, "a position beyond the end: {mark:?}");
            let Some(before) = before else { continue };
            assert_eq!(*hash, blake3::hash(before).to_hex().to_string(), "the hash is that of the bytes");
        }
        if corrupt {
            let both = account.records.len().min(parts.records.len());
            assert_eq!(account.records[..both], parts.records[..both]);
            return;
        }
        let same = |one: &Account, other: &Account| {
            (&one.records, &one.rows, one.skipped, &one.end, one.reach())
                == (&other.records, &other.rows, other.skipped, &other.end, other.reach())
        };
        assert!(same(&parts, &account), "in parts {parts:?}\nat once {account:?}");
        let marks: Vec<_> = parts.marks.iter().rev().skip(1).filter(|(mark, _)| mark.record > 0).collect();
        if !marks.is_empty() {
            let at = input.resume.get(&marks);
            let resumed = self.resumed(input, &begin, at).await;
            resumed.obeys_the_laws(at.0);
            assert_eq!(resumed.behind(at.0), account.behind(at.0), "resumed at {at:?}");
            assert_eq!(resumed.end, account.end);
        }
    }
}

/// Inputs that failed once.
const KNOWN: &[(&[u8], usize)] = &[
    (b"", 1),
    (b"n,s,v\n1,a,\"b", 1),
    (b"n,s,v\n1,a,\"b\n\"\"\n\"\"\"\r\n\r", 3),
    (b"\xff\xfen\0", 2),
    (b"\x1f\x8b", 1),
    (b"\x28\xb5\x2f\xfd", 1),
];

#[test]
fn any_bytes_are_read_and_every_count_closes() {
    let bench = Bench::new();
    for (file, part) in KNOWN {
        for encoding in [UTF_8, UTF_16LE, SHIFT_JIS] {
            let (file, resume) = (Escaped(file.to_vec()), any_index());
            let (lines, footer) = (LineEnd::Any, 0);
            let (limit, window, part) = (8, 1, *part);
            bench.check(&Input { text: None, file, encoding, lines, footer, limit, window, part, resume });
        }
    }
    let setting = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let time = Duration::from_secs(setting("NEEDLEDROP_FUZZ_SECONDS").unwrap_or(3));
    let seed = setting("NEEDLEDROP_SEED").unwrap_or_else(|| fastrand::u64(..));
    let (began, mut round) = (Instant::now(), 0);
    while began.elapsed() < time {
        fuzz(&bench, seed.wrapping_add(round));
        round += 1;
    }
    let _ = writeln!(io::stderr(), "fuzz: {} inputs from seed {seed}", round * u64::from(ROUND));
}

/// The number of inputs generated from one seed.
const ROUND: u32 = 100;

fn fuzz(bench: &Bench, seed: u64) {
    let bytes: Vec<u8> = seed.to_le_bytes().repeat(4);
    let cases = Cases { cases: ROUND, failure_persistence: None, ..Cases::default() };
    let mut runner = TestRunner::new_with_rng(cases, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let ran = runner.run(&input(), |input| {
        bench.check(&input);
        Ok(())
    });
    if let Err(TestError::Fail(why, input)) = ran {
        panic!("NEEDLEDROP_SEED={seed}: {why}\n{input:#?}");
    }
}

fn any_index() -> prop::sample::Index {
    use proptest::strategy::ValueTree;
    any::<prop::sample::Index>().new_tree(&mut TestRunner::deterministic()).unwrap().current()
}
