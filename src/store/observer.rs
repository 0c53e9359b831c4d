//! What a store tells whoever watches over it.

use std::fmt::Debug;

/// The right to write to a store, as the store last confirmed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Right {
    #[default]
    Confirmed,
    /// A confirmation is overdue.
    Overdue,
    /// It was not confirmed in time: nothing may be written.
    Expired,
}

/// Is told whether the store can be used.
pub trait StoreObserver: Debug + Send + Sync {
    /// A request waits for the store, for this reason.
    fn store_waits(&self, reason: &'static str);

    /// The store answers again.
    fn store_answers(&self);

    /// Another process writes. With `differs`, it loads with other tables than are declared here.
    fn stands_by(&self, differs: bool);

    /// The right to write was confirmed, or was not.
    fn right(&self, right: Right);
}

/// Nobody watches.
impl StoreObserver for () {
    fn store_waits(&self, _: &'static str) {}

    fn store_answers(&self) {}

    fn stands_by(&self, _: bool) {}

    fn right(&self, _: Right) {}
}
