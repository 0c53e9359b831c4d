//! Buffers of finished chunks, reused for new chunks.
//!
//! Newly allocated memory costs a page fault every 4 KiB, which is a tenth of the cost of reading and parsing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{Frame, Rows};

/// The number of buffers kept of each kind. Few chunks are under way at a time, so more buffers would lie unused.
const KEPT: usize = 2;

/// The capacity above which a buffer is freed instead of kept. Only an exceptionally long record needs more.
const LARGEST: usize = 4 << 20;

/// Buffers shared by the stages. The stages that make chunks take buffers; the stages that finish chunks return them.
#[derive(Debug, Default)]
pub struct BufferPool {
    bytes: Mutex<Vec<Vec<u8>>>,
    frames: Mutex<Vec<Vec<Frame>>>,
    rows: Mutex<Vec<Rows>>,
}

impl BufferPool {
    /// Returns an empty buffer with room for at least `capacity` bytes.
    pub fn take_bytes(&self, capacity: usize) -> Vec<u8> {
        let mut bytes = lock(&self.bytes).pop().unwrap_or_default();
        bytes.clear();
        // Exactly this much: the caller knows what it needs, and doubling would add up over all buffers.
        bytes.reserve_exact(capacity);
        bytes
    }

    pub fn take_frames(&self, capacity: usize) -> Vec<Frame> {
        let mut frames = lock(&self.frames).pop().unwrap_or_default();
        frames.clear();
        frames.reserve_exact(capacity);
        frames
    }

    /// Returns empty rows with room for `records` records of `width` columns.
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

/// Ignores poisoning: a buffer is usable even if its last holder panicked.
fn lock<T>(kept: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
