//! Buffers that chunks have left behind, for those that follow.
//!
//! Fresh memory costs a page fault every 4 KiB, which is a tenth of what reading and parsing cost.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{Frame, Rows};

/// Buffers kept of each kind. There are never many chunks under way; more would only lie there.
const KEPT: usize = 2;

/// A bigger one was needed once, for a long record, and goes back to the system.
const LARGEST: usize = 4 << 20;

/// Shared by the stages: those that make chunks take, those that are done with them give.
#[derive(Debug, Default)]
pub struct BufferPool {
    bytes: Mutex<Vec<Vec<u8>>>,
    frames: Mutex<Vec<Vec<Frame>>>,
    rows: Mutex<Vec<Rows>>,
}

impl BufferPool {
    /// Empty, with room for `capacity` at least.
    pub fn take_bytes(&self, capacity: usize) -> Vec<u8> {
        let mut bytes = lock(&self.bytes).pop().unwrap_or_default();
        bytes.clear();
        // Exactly: room is only ever wanted for what follows, and doubling would add up.
        bytes.reserve_exact(capacity);
        bytes
    }

    pub fn take_frames(&self, capacity: usize) -> Vec<Frame> {
        let mut frames = lock(&self.frames).pop().unwrap_or_default();
        frames.clear();
        frames.reserve_exact(capacity);
        frames
    }

    /// Of records with `width` columns.
    pub fn take_rows(&self, width: usize, records: usize) -> Rows {
        match lock(&self.rows).pop() {
            Some(rows) => rows.emptied(width, records),
            None => Rows::new(width, records),
        }
    }

    pub fn give_chunk(&self, bytes: Vec<u8>, frames: Vec<Frame>) {
        if bytes.capacity() <= LARGEST && bytes.capacity() > 0 {
            keep(&self.bytes, bytes);
            keep(&self.frames, frames);
        }
    }

    pub fn give_rows(&self, rows: Rows) {
        if rows.capacity() <= LARGEST {
            keep(&self.rows, rows);
        }
    }
}

fn keep<T>(kept: &Mutex<Vec<T>>, one: T) {
    let mut kept = lock(kept);
    if kept.len() < KEPT {
        kept.push(one);
    }
}

/// Whatever a holder that panicked left is a buffer still.
fn lock<T>(kept: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
