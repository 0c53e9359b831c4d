//! Hooks with which tests make this module fail. Without tests no hooks are installed.

use std::io;
use std::sync::OnceLock;

/// The functions called at these places.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// Called at each durable step.
    pub step: fn(&'static str),
    /// Called before each read of a file.
    pub read: fn() -> io::Result<()>,
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Installs hooks for the rest of the process. Only the first call has an effect.
pub fn install(hooks: Hooks) {
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
/// Returns the error of the installed hook, which imitates a broken disk.
pub fn read() -> io::Result<()> {
    HOOKS.get().map_or(Ok(()), |hooks| (hooks.read)())
}
