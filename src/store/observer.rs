//! Notifications by which a store reports whether it can be used.

use std::fmt::Debug;

/// Whether this process may write to a store, as last confirmed by the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Right {
    #[default]
    Confirmed,
    /// A confirmation is overdue.
    Overdue,
    /// The right was not confirmed in time. Nothing may be written.
    Expired,
}

/// Receives notifications about whether the store can be used.
pub trait StoreObserver: Debug + Send + Sync {
    /// Called when a request waits for the store, with the reason.
    fn store_waits(&self, reason: &'static str);

    /// Called when a request that waited for the store has succeeded.
    fn store_answers(&self);

    /// Called when another process has the right to write. With `differs`, that process loads with tables other than
    /// those declared here.
    fn stands_by(&self, differs: bool);

    /// Called regularly with the current state of the right to write.
    fn right(&self, right: Right);
}

/// Ignores all notifications.
impl StoreObserver for () {
    fn store_waits(&self, _: &'static str) {}

    fn store_answers(&self) {}

    fn stands_by(&self, _: bool) {}

    fn right(&self, _: Right) {}
}
