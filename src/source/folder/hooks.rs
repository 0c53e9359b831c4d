//! Places where tests let this module fail. A build without them has nothing installed here.

use std::io;
use std::sync::OnceLock;

/// What is called at each of these places.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// At each durable step.
    pub step: fn(&'static str),
    /// Before each read of a file.
    pub read: fn() -> io::Result<()>,
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Installs hooks for the rest of the process. Only the first call counts.
pub fn install(hooks: Hooks) {
    // Those of an earlier call stay.
    let _ = HOOKS.set(hooks);
}

/// Marks a durable step.
pub fn step(name: &'static str) {
    if let Some(hooks) = HOOKS.get() {
        (hooks.step)(name);
    }
}

/// Marks a read of a file.
///
/// # Errors
/// As a broken disk gives.
pub fn read() -> io::Result<()> {
    HOOKS.get().map_or(Ok(()), |hooks| (hooks.read)())
}
