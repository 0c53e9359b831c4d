//! The read stage: decompresses, hashes and frames bytes into records, several files at once.

mod change;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use crate::config::Write;
use crate::domain::{End, RawChunk, Stamps, stamp};
use crate::format::stream_error::StreamError;
use crate::format::tail::{Judged, judge, judge_header};
use crate::metrics;
use crate::metrics::heartbeat::Heartbeat;
use crate::metrics::{Queue, Stage};
use crate::pipeline::buffer_pool::BufferPool;
use crate::pipeline::hash_checkpoint::{HashCheckpoint, HashCheckpoints};
use crate::pipeline::messages::Work;
use crate::source::SourceFile;
use crate::store::backoff::Backoff;
use crate::store::{Ledger, StoreError, failpoint};

/// The reason to stop filling a chunk.
enum Filled {
    Full,
    Stopped,
    /// The open tail is next, and gets a chunk of its own.
    BeforeTail,
    /// The open tail must be loaded.
    Tail,
    /// The file changed since it was opened.
    Changed,
    /// Reading is over, and the delivery ends like this.
    Over(End),
    /// Reading failed, and what was read since the last chunk is lost.
    Lost(End),
}

/// The read stage.
pub struct Read<S> {
    pub store: Arc<S>,
    pub backoff: Backoff,
    pub heartbeat: Arc<Heartbeat>,
    pub write: Write,
    pub files_at_once: usize,
    pub checkpoints: Arc<HashCheckpoints>,
    pub buffers: Arc<BufferPool>,
    /// When cancelled, the stage passes on what it has read and reads no more.
    pub stop: CancellationToken,
}

impl<S: Ledger> Read<S> {
    /// Reads files until there are no more.
    ///
    /// # Errors
    /// Returns an error if the store cannot give out stamps.
    pub async fn run<F: SourceFile>(
        self,
        files: Receiver<Work<F>>,
        chunks: Sender<RawChunk>,
    ) -> Result<(), StoreError> {
        let (stage, chunks, pulse) = (&self, &chunks, &self.backoff.pulse);
        let files = stream::unfold(files, |mut files| async {
            pulse.during(files.recv()).await.map(|work| (work, files))
        });
        files.map(Ok).try_for_each_concurrent(self.files_at_once, |work| stage.file(work, chunks)).await
    }

    async fn file<F: SourceFile>(
        &self,
        mut work: Work<F>,
        chunks: &Sender<RawChunk>,
    ) -> Result<(), StoreError> {
        // Each file has a pulse of its own, so that other files read at the same time do not hide that it is stuck.
        let pulse = self.heartbeat.begins(Stage::Read);
        let mut stamps = Arc::new(std::mem::take(&mut work.stamps));
        let mut shown = 0;
        loop {
            // Reads only when the queue has room, so that a file that waits for room holds less than one chunk in
            // memory.
            let waits = Queue::Chunks.wait();
            let Ok(room) = pulse.during(chunks.reserve()).await else { return Ok(()) };
            waits.end();
            let reads = Stage::Read.begin();
            failpoint::stuck(Stage::Read.name()).await;
            let filled = pulse.during(self.fill(&mut work)).await;
            if work.source.halt.is_set() {
                return Ok(());
            }
            let is_tail = matches!(filled, Filled::Tail);
            let (end, goes_on) = match filled {
                Filled::Lost(end) => {
                    room.send(abandoned(&work, stamps, end));
                    return Ok(());
                }
                Filled::Full | Filled::BeforeTail | Filled::Changed => (None, true),
                Filled::Stopped if work.framer.is_empty() => break,
                Filled::Stopped => (None, false),
                Filled::Tail => (Some(End::Loaded), false),
                Filled::Over(end) => (Some(end), false),
            };
            if let Some(end) = pulse.during(changed(&mut work)).await {
                room.send(abandoned(&work, stamps, end));
                return Ok(());
            }
            if work.framer.is_empty() && end.is_none() {
                continue;
            }
            if is_tail {
                work.framer.close_tail();
            }
            pulse.during(self.cover(&work, &mut stamps)).await?;
            let position = work.bytes.file.position();
            work.source.read.fetch_add(position.saturating_sub(shown), Ordering::Relaxed);
            shown = shown.max(position);
            let chunk = chunk(&mut work, Arc::clone(&stamps), is_tail, end);
            metrics::handed_on(chunk.span.to.offset - chunk.span.from.offset);
            room.send(chunk);
            reads.end();
            if !goes_on {
                break;
            }
        }
        self.leave(work);
        Ok(())
    }

    /// Reads until there is a complete chunk.
    async fn fill<F: SourceFile>(&self, work: &mut Work<F>) -> Filled {
        let (began, linger): (_, Duration) = (Instant::now(), *self.write.linger);
        let (window, bytes) = (self.write.window, self.write.window_bytes.0);
        let (buffers, room) = (&self.buffers, work.bytes.room(bytes));
        work.framer.make_room(room, |len| buffers.take_bytes(len), |len| buffers.take_frames(len));
        loop {
            work.framer.scan(window, bytes);
            let framer = &work.framer;
            let is_late = framer.records() > 0 && began.elapsed() >= linger;
            if framer.records() >= window || framer.len() >= bytes || is_late {
                return Filled::Full;
            }
            if self.stop.is_cancelled() {
                return Filled::Stopped;
            }
            let before = work.framer.bytes().len();
            match read(work).await {
                Ok(0) => return over(work).await,
                Ok(_) => {}
                Err(error) if work.framer.bytes().len() < before => {
                    return Filled::Lost(broken_off(work, &error));
                }
                Err(error) => return Filled::Over(broken_off(work, &error)),
            }
        }
    }

    fn leave<F: SourceFile>(&self, mut work: Work<F>) {
        let (reach, behind) = work.framer.cut_at();
        let id = work.source.id;
        if let Some(hasher) = work.framer.into_hasher().filter(|_| work.bytes.is_plain()) {
            work.window.pop(behind);
            self.checkpoints.save(id, HashCheckpoint { reach, hasher, window: work.window });
        }
    }

    /// Takes a further range of stamps if the file has outgrown its ranges.
    async fn cover<F: SourceFile>(&self, work: &Work<F>, stamps: &mut Arc<Stamps>) -> Result<(), StoreError> {
        let reach = stamps.reach();
        if work.framer.next_record() <= reach {
            return Ok(());
        }
        // Twice the present number of records, so that a growing file needs a further range less and less often.
        let records = (work.framer.next_record() * 2).clamp(10_000, stamp::MAX_RECORDS);
        let range = self.backoff.with(|| self.store.extend(work.source.id, reach, records)).await?;
        let mut more = Stamps::clone(stamps);
        more.push(range);
        *stamps = Arc::new(more);
        Ok(())
    }
}

/// Returns how the delivery ends if the bytes that were read may have changed, or can no longer be checked. What was
/// read since the last chunk is then not passed on.
async fn changed<F: SourceFile>(work: &mut Work<F>) -> Option<End> {
    let what = match change::since_opened(work).await {
        Ok(what) => what?,
        Err(error) => return Some(broken_off(work, &error)),
    };
    let at = work.framer.cut_at().0;
    Some(End::Replaced {
        detail: format!("its file was {what} while it was being read; nothing after byte {at} was loaded"),
    })
}

fn abandoned<F>(work: &Work<F>, stamps: Arc<Stamps>, end: End) -> RawChunk {
    RawChunk { end: Some(end), ..RawChunk::empty(Arc::clone(&work.source), stamps, work.framer.abandon()) }
}

/// Cuts off the complete records, or the tail.
fn chunk<F>(work: &mut Work<F>, stamps: Arc<Stamps>, is_tail: bool, end: Option<End>) -> RawChunk {
    work.framer.cut().into_chunk(Arc::clone(&work.source), stamps, is_tail, end)
}

async fn read<F: SourceFile>(work: &mut Work<F>) -> io::Result<usize> {
    let bytes = work.framer.bytes();
    let before = bytes.len();
    let read = work.bytes.read(bytes).await?;
    work.window.push(bytes.get(before..).unwrap_or(&[]));
    Ok(read)
}

/// Decides how to continue at the end of the file.
async fn over<F: SourceFile>(work: &mut Work<F>) -> Filled {
    match judge(&work.framer, work.source.mapping.fields, work.tail).await {
        Judged::Wait { detail, held } => Filled::Over(End::Incomplete { detail, held }),
        Judged::None if work.header_is_tail => match judge_header(work.tail) {
            Judged::Wait { detail, held } => Filled::Over(End::Incomplete { detail, held }),
            Judged::None | Judged::Load => Filled::Tail,
        },
        Judged::None => Filled::Over(End::Loaded),
        Judged::Load if !work.framer.is_empty() => Filled::BeforeTail,
        Judged::Load => complete(work).await,
    }
}

/// Checks that the file is complete, as was assumed. This is done as late as possible, after the last byte was read.
async fn complete<F: SourceFile>(work: &mut Work<F>) -> Filled {
    if work.bytes.file.has_writer().await {
        let detail =
            "the file may not be complete, because a process has it open for writing; what follows its last \
             line end is not loaded yet"
                .to_owned();
        return Filled::Over(End::Incomplete { detail, held: true });
    }
    match work.bytes.file.look().await {
        Ok(now) if now.has_bytes_of(&work.bytes.file.noted()) => Filled::Tail,
        Ok(_) => {
            // The writer continues, so the signs that the file is complete no longer count.
            work.tail = work.tail.incomplete();
            Filled::Changed
        }
        Err(error) => Filled::Over(broken_off(work, &error)),
    }
}

fn broken_off<F: SourceFile>(work: &Work<F>, error: &io::Error) -> End {
    match work.bytes.broken() {
        Some(cut @ StreamError::Cut(_)) => End::Incomplete { detail: cut.to_string(), held: false },
        Some(corrupt) => {
            End::Failed { detail: format!("{corrupt}; the records before this place stay loaded") }
        }
        // The error comes from the system and not from a decoder. A disk or a network share may recover.
        None => {
            let at = work.framer.cut_at().0;
            End::BrokenOff { detail: format!("reading failed after byte {at}: {error}") }
        }
    }
}
