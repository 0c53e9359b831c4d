//! The third stage: turns records into rows.

mod quarantine_limit;

use std::sync::Arc;

use quarantine_limit::QuarantineLimit;
use tokio::sync::mpsc::{Receiver, Sender};

use crate::config::Quota;
use crate::domain::{Plan, RawChunk, RowChunk};
use crate::metrics;
use crate::metrics::heartbeat::Pulse;
use crate::metrics::{Queue, Stage};
use crate::pipeline::buffer_pool::BufferPool;
use crate::pipeline::row_builder::RowBuilder;
use crate::store::failpoint;

/// Transforms chunks until there are no more.
pub async fn run(
    mut input: Receiver<RawChunk>,
    output: Sender<RowChunk>,
    plan: Arc<Plan>,
    quota: Quota,
    buffers: Arc<BufferPool>,
    pulse: Pulse,
) {
    let builder = RowBuilder::new(plan, buffers);
    let mut limit = QuarantineLimit::new(quota);
    // A chunk is transformed only when the output queue has room for its rows.
    let mut waits = Queue::Rows.wait();
    while let Ok(place) = pulse.during(output.reserve()).await {
        waits.end();
        let Some(raw) = pulse.during(input.recv()).await else { return };
        failpoint::stuck(Stage::Transform.name()).await;
        Queue::Chunks.depth(input.len());
        let work = Stage::Transform.begin();
        if limit.has_failed(raw.source.id) {
            metrics::settled(raw.span.to.offset - raw.span.from.offset);
        } else {
            let mut chunk = builder.chunk(raw).await;
            limit.check(&mut chunk);
            place.send(chunk);
            work.end();
        }
        waits = Queue::Rows.wait();
    }
}
