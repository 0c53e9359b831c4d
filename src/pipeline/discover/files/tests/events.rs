//! The events that can happen to files.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::stage::FILES;
use crate::domain::DeliveryState;

/// An event. An `Index` chooses among the files to which the event can happen.
#[derive(Clone, Debug)]
pub enum Event {
    Listed(usize, u64, bool),
    Closed(usize, u64),
    Changing(usize, u64),
    Touched(usize, u64),
    Take,
    Identified(Index, Finding),
    Finished(Index, DeliveryState, bool),
    Leave,
    Left(Index, bool),
    Gone(usize),
    Wait(u64),
}

/// What identifying a file found.
#[derive(Clone, Debug)]
pub enum Finding {
    Work,
    Unchanged(DeliveryState, bool, bool),
    Entered(DeliveryState),
    PutOff,
    Open,
    Unreadable,
    Behind(usize),
    Requeue,
}

pub fn events() -> impl Strategy<Value = Vec<Event>> {
    use DeliveryState::{Duplicate, Failed, Incomplete, Loaded, Loading, Replaced};
    // Most events find the version that the ledger has, so that files come to leave the inbox.
    let version = select(vec![1u64, 1, 1, 2]);
    let (file, index) = (0..FILES.len(), any::<Index>());
    let found = prop_oneof![
        4 => Just(Finding::Work),
        3 => (select(vec![Loaded, Loaded, Incomplete, Failed]), any::<bool>(), any::<bool>())
            .prop_map(|(state, young, held)| Finding::Unchanged(state, young, held)),
        1 => select(vec![Duplicate, Failed, Incomplete]).prop_map(Finding::Entered),
        1 => Just(Finding::PutOff),
        1 => Just(Finding::Open),
        1 => Just(Finding::Unreadable),
        3 => file.clone().prop_map(Finding::Behind),
        1 => Just(Finding::Requeue),
    ];
    let ends = select(vec![Loaded, Loaded, Loaded, Failed, Incomplete, Replaced, Loading]);
    let event = prop_oneof![
        6 => (file.clone(), version.clone(), any::<bool>()).prop_map(|(f, v, quiet)| Event::Listed(f, v, quiet)),
        3 => (file.clone(), version.clone()).prop_map(|(f, v)| Event::Closed(f, v)),
        4 => (file.clone(), 1u64..3).prop_map(|(f, v)| Event::Changing(f, v)),
        1 => (file.clone(), version).prop_map(|(f, v)| Event::Touched(f, v)),
        4 => Just(Event::Take),
        4 => (index.clone(), found).prop_map(|(at, found)| Event::Identified(at, found)),
        4 => (index.clone(), ends, any::<bool>()).prop_map(|(at, state, held)| Event::Finished(at, state, held)),
        1 => Just(Event::Leave),
        1 => (index, any::<bool>()).prop_map(|(at, gone)| Event::Left(at, gone)),
        1 => file.prop_map(Event::Gone),
        2 => (0u64..40).prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 1..120)
}
