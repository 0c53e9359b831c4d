//! Times and queues of the stages.

use std::time::Instant;

use metrics::{Histogram, gauge, histogram};

use crate::metrics::declared::{QUEUE_DEPTH, QUEUE_WAIT, STAGE_SECONDS};

/// The stages of the pipeline, in the order of the data flow.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    Discover,
    Read,
    Transform,
    Write,
}

/// The queues between the stages.
#[derive(Clone, Copy, Debug)]
pub enum Queue {
    Files,
    Chunks,
    Rows,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Read => "read",
            Self::Transform => "transform",
            Self::Write => "write",
        }
    }

    /// Starts to measure a piece of work of this stage.
    pub fn begin(self) -> Measured {
        Measured { histogram: histogram!(STAGE_SECONDS.name, "stage" => self.name()), began: Instant::now() }
    }
}

impl Queue {
    pub const ALL: [Self; 3] = [Self::Files, Self::Chunks, Self::Rows];

    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Chunks => "chunks",
            Self::Rows => "rows",
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a 64-bit float")]
    pub fn depth(self, depth: usize) {
        gauge!(QUEUE_DEPTH.name, "queue" => self.name()).set(depth as f64);
    }

    /// Starts to measure how long an item waits for room in this queue.
    pub fn wait(self) -> Measured {
        Measured { histogram: histogram!(QUEUE_WAIT.name, "queue" => self.name()), began: Instant::now() }
    }
}

/// A time measurement in progress. Code that uses it need not read a clock.
pub struct Measured {
    histogram: Histogram,
    began: Instant,
}

impl Measured {
    /// Ends the measurement and records it.
    pub fn end(self) {
        self.histogram.record(self.began.elapsed().as_secs_f64());
    }
}
