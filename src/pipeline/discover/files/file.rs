//! What is known about one file, and what is happening to it.

use std::fmt;
use std::time::Instant;

use crate::domain::{DeliveryId, DeliveryState, FileKey, FileStat};

/// The state of a file, as the log shows it. See docs/file-states.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileState {
    Unknown,
    Known,
    Done,
    Resting,
    Unreadable,
    Failed,
    Incomplete,
    Settling,
    Held,
    Open,
    Ready,
    Behind,
    Identifying,
    Loading,
    Leavable,
    Leaving,
}

impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Known => "known",
            Self::Done => "done",
            Self::Resting => "resting",
            Self::Unreadable => "unreadable",
            Self::Failed => "failed",
            Self::Incomplete => "incomplete",
            Self::Settling => "settling",
            Self::Held => "held",
            Self::Open => "open",
            Self::Ready => "ready",
            Self::Behind => "behind",
            Self::Identifying => "identifying",
            Self::Loading => "loading",
            Self::Leavable => "leavable",
            Self::Leaving => "leaving",
        })
    }
}

/// A file, existing or not. There may be a million of them, so data that only few files have is boxed.
#[derive(Debug, Default)]
pub struct File {
    /// `None` if the ledger has no delivery of this file.
    pub seen: Option<Seen>,
    pub activity: Activity,
    facts: Option<Box<Facts>>,
}

/// The file as it was last identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub noted: FileStat,
    /// Whether there is nothing to do as long as size and times stay the same.
    pub done: bool,
    /// Whether all records of the file are in the tables, under this name or another.
    pub is_complete: bool,
}

/// Facts that only few files have. They do not depend on the activity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub outcome: Option<Outcome>,
    /// The file could not be read, and is tried again at this time.
    pub unreadable: Option<Instant>,
    /// The file could not leave the inbox, and is tried again at this time.
    pub stayed: Option<Instant>,
    /// When the file has rested long enough to leave the inbox.
    pub rest: Option<Instant>,
}

/// How the newest delivery ended, if it does not continue by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Failed,
    /// The delivery waits for more of its file.
    Incomplete(DeliveryId),
}

impl Outcome {
    pub fn new(id: DeliveryId, state: DeliveryState) -> Option<Self> {
        match state {
            DeliveryState::Failed => Some(Self::Failed),
            DeliveryState::Incomplete => Some(Self::Incomplete(id)),
            _ => None,
        }
    }
}

/// What is happening to a file.
#[derive(Debug, Default)]
pub enum Activity {
    #[default]
    Idle,
    /// The file is being written.
    Settling(Box<Paused>),
    /// Only the open tail is left to load, and its writer may not have finished.
    Held(Box<Paused>),
    /// A process has the file open for writing, and nothing of it is loaded until it is closed.
    Open(Box<Paused>),
    /// The file can be taken up.
    Ready(Box<Queued>),
    /// The file waits for another file, whose bytes may be the same.
    Behind(Box<(FileKey, Queued)>),
    Identifying(Box<Queued>, Again),
    Loading(Box<Loading>, Again),
    /// The file can leave the inbox. It is known to be what was loaded, with these times.
    Leavable(Box<FileStat>),
    Leaving(Again),
}

/// `Some` if the file changed during the activity, so that it must be looked at again. The value tells whether its writer
/// has closed it since the change.
pub type Again = Option<bool>;

/// A file that becomes ready at a certain time, unless it changes again.
#[derive(Clone, Copy, Debug)]
pub struct Paused {
    pub noted: FileStat,
    /// When the file was first seen, or since when it is held.
    pub since: Instant,
    pub due: Instant,
}

/// A file that is being identified.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub file: FileKey,
    pub queued: Queued,
}

/// A file that is to be identified.
#[derive(Clone, Copy, Debug)]
pub struct Queued {
    pub noted: FileStat,
    /// When the file was first seen.
    pub since: Instant,
    /// Whether the writer closed the file, or the file was renamed in, and it has not changed since.
    pub closed: bool,
    /// Whether only the open tail of the file is left to load, and the file has not changed since `since`.
    pub quiet: bool,
    /// Whether the file is known with this size and time, and is only compared again because the time was too young to
    /// be trusted.
    pub checked: bool,
    /// Whether a process was seen to have the file open for writing, and this was logged.
    pub was_open: bool,
    /// Whether it waited for another file, which was dealt with since. It has not changed meanwhile.
    pub has_waited: bool,
}

/// A file that was taken up.
#[derive(Clone, Copy, Debug)]
pub struct Loading {
    /// The size and times when the file was opened.
    pub noted: FileStat,
    pub strikes: u32,
}

impl Facts {
    /// Whether the file needs attention, or more bytes.
    pub fn is_trouble(&self) -> bool {
        self.outcome.is_some() || self.unreadable.is_some()
    }
}

impl Queued {
    /// Makes a file that was first seen at `since`, and of which nothing else is known.
    pub fn new(noted: FileStat, since: Instant) -> Self {
        let (closed, quiet, checked, was_open, has_waited) = (false, false, false, false, false);
        Self { noted, since, closed, quiet, checked, was_open, has_waited }
    }

    /// Returns the file after a change.
    pub fn changed(self, closed: bool) -> Self {
        Self { closed, quiet: false, checked: false, has_waited: false, ..self }
    }
}

impl Activity {
    pub fn ready(queued: Queued) -> Self {
        Self::Ready(Box::new(queued))
    }

    /// Returns since when the file waits for its writer or its turn. A file that is only held or checked does not count.
    pub fn waits_since(&self) -> Option<Instant> {
        match self {
            Self::Settling(paused) | Self::Open(paused) => Some(paused.since),
            Self::Ready(queued) if queued.checked => None,
            Self::Ready(queued) | Self::Identifying(queued, _) => Some(queued.since),
            Self::Behind(behind) => Some(behind.1.since),
            Self::Idle | Self::Held(_) | Self::Loading(..) | Self::Leavable(_) | Self::Leaving(_) => None,
        }
    }

    /// Returns the size of a file that waits or is being loaded.
    pub fn backlog(&self) -> Option<u64> {
        match self {
            Self::Settling(paused) | Self::Open(paused) => Some(paused.noted.size),
            Self::Ready(queued) if queued.checked => None,
            Self::Ready(queued) | Self::Identifying(queued, _) => Some(queued.noted.size),
            Self::Behind(behind) => Some(behind.1.noted.size),
            Self::Loading(loading, _) => Some(loading.noted.size),
            Self::Idle | Self::Held(_) | Self::Leavable(_) | Self::Leaving(_) => None,
        }
    }

    /// Returns when the file was first seen, if it waits for its writer or its turn.
    pub fn since(&self) -> Option<Instant> {
        match self {
            Self::Settling(paused) | Self::Held(paused) | Self::Open(paused) => Some(paused.since),
            Self::Ready(queued) => Some(queued.since),
            _ => None,
        }
    }

    /// Whether a process was seen to have the file open for writing.
    pub fn was_open(&self) -> bool {
        match self {
            Self::Open(_) => true,
            Self::Ready(queued) => queued.was_open,
            _ => false,
        }
    }

    /// Returns the place for a change of a file that is in use.
    pub fn again(&mut self) -> Option<&mut Again> {
        match self {
            Self::Identifying(_, again) | Self::Loading(_, again) | Self::Leaving(again) => Some(again),
            _ => None,
        }
    }
}

impl File {
    pub fn facts(&self) -> Facts {
        self.facts.as_deref().copied().unwrap_or_default()
    }

    /// Changes the facts. Returns the earlier ones.
    pub fn change_facts(&mut self, change: impl FnOnce(&mut Facts)) -> Facts {
        let before = self.facts();
        let mut facts = before;
        change(&mut facts);
        self.facts = (facts != Facts::default()).then(|| Box::new(facts));
        before
    }

    /// Whether nothing is known about the file, so that it need not be remembered.
    pub fn is_blank(&self) -> bool {
        self.state() == FileState::Unknown && self.seen.is_none() && self.facts.is_none()
    }

    /// Whether there is nothing to do as long as the file has this size and these times.
    pub fn is_done(&self, noted: FileStat) -> bool {
        self.seen.is_some_and(|seen| seen.done && seen.noted == noted)
    }

    pub fn state(&self) -> FileState {
        match self.activity {
            Activity::Idle => self.state_at_rest(),
            Activity::Settling(_) => FileState::Settling,
            Activity::Held(_) => FileState::Held,
            Activity::Open(_) => FileState::Open,
            Activity::Ready(_) => FileState::Ready,
            Activity::Behind(_) => FileState::Behind,
            Activity::Identifying(..) => FileState::Identifying,
            Activity::Loading(..) => FileState::Loading,
            Activity::Leavable(_) => FileState::Leavable,
            Activity::Leaving(_) => FileState::Leaving,
        }
    }

    fn state_at_rest(&self) -> FileState {
        let facts = self.facts();
        match (facts.outcome, self.seen) {
            _ if facts.unreadable.is_some() => FileState::Unreadable,
            (Some(Outcome::Failed), _) => FileState::Failed,
            (Some(Outcome::Incomplete(_)), _) => FileState::Incomplete,
            _ if facts.rest.is_some() => FileState::Resting,
            (_, Some(seen)) if seen.done => FileState::Done,
            (_, Some(_)) => FileState::Known,
            (_, None) => FileState::Unknown,
        }
    }
}
