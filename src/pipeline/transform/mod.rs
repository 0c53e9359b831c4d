//! The third stage: turns records into rows.

mod quarantine_limit;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::Arc;

use quarantine_limit::QuarantineLimit;
use tokio::sync::mpsc::Sender;

use crate::config::Quota;
use crate::domain::{FirstRecords, RawChunk, RowChunk};
use crate::metrics;
use crate::metrics::heartbeat::Pulse;
use crate::metrics::{Queue, Stage};
use crate::pipeline::buffer_pool::BufferPool;
use crate::pipeline::in_turn::InTurn;
use crate::pipeline::row_builder::by_plan::RowBuilders;
use crate::store::failpoint;

/// Transforms chunks until there are no more.
pub async fn run(
    mut input: InTurn<RawChunk>,
    output: Sender<RowChunk>,
    quota: Quota,
    buffers: Arc<BufferPool>,
    pulse: Pulse,
) {
    let mut builders = RowBuilders::new(Arc::clone(&buffers));
    let mut limit = QuarantineLimit::new(quota, FirstRecords::default());
    // A chunk is transformed only when the output queue has room for its rows.
    let mut waits = Queue::Rows.wait();
    while let Ok(place) = pulse.during(output.reserve()).await {
        waits.end();
        let Some(raw) = pulse.during(input.recv()).await else { break };
        failpoint::stuck(Stage::Transform.name()).await;
        Queue::Chunks.depth(input.waiting());
        let work = Stage::Transform.begin();
        if raw.source.halt.is_set() {
            metrics::settled(raw.span.to.offset - raw.span.from.offset);
            limit.forget(raw.source.id);
        } else {
            let judged = limit.take(builders.of(&raw.source.plan).chunk(raw).await);
            work.end();
            judged.dropped.into_iter().for_each(|chunk| drop_chunk(chunk, &buffers));
            let mut passed = judged.passed.into_iter();
            if let Some(first) = passed.next() {
                place.send(first);
            }
            for chunk in passed {
                // Writing may have ended because of an error.
                let _ = pulse.during(output.send(chunk)).await;
            }
        }
        waits = Queue::Rows.wait();
    }
    limit.into_held().for_each(|chunk| drop_chunk(chunk, &buffers));
}

/// Drops a chunk that is not written.
fn drop_chunk(chunk: RowChunk, buffers: &BufferPool) {
    metrics::settled(chunk.len());
    buffers.give_chunk(chunk.bytes, chunk.frames);
    buffers.give_rows(chunk.rows);
}
