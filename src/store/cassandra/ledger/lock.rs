//! Maps whose holder may have panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was entered stays true when a holder panicked.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
