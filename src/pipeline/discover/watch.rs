//! Events of the system about the inbox. A closed writer or a rename says that a file is whole.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::inbox::Inbox;

/// Events that wait at most; beyond that the folder is listed instead.
const QUEUE: usize = 4096;

/// What an event says of a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Signal {
    /// Its writer closed it, or it was renamed to this name.
    Whole(PathBuf),
    /// It is being written.
    Changing(PathBuf),
    /// A folder, a lost event: only a listing tells.
    Unclear,
}

/// The watch on the inbox, as long as it is kept.
pub struct Watch {
    pub signals: Receiver<Signal>,
    /// Set when events were lost.
    overflow: Arc<AtomicBool>,
    /// Device and inode of the folder: another one may have its name by now.
    folder: (u64, u64),
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// What the system says; the poll goes on without it.
    pub fn begin(inbox: &Inbox) -> notify::Result<Self> {
        let (sender, signals) = mpsc::channel(QUEUE);
        let overflow = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&overflow);
        let names = inbox.clone();
        let handler = move |event: notify::Result<Event>| forward(&names, event, &sender, &lost);
        let mut watcher = notify::recommended_watcher(handler)?;
        let mode = if inbox.subfolders { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let folder = identity(&inbox.folder).map_err(notify::Error::io)?;
        watcher.watch(&inbox.folder, mode)?;
        Ok(Self { signals, overflow, folder, _watcher: watcher })
    }

    /// Whether this is the folder that is watched.
    pub fn is_on(&self, folder: &Path) -> bool {
        identity(folder).is_ok_and(|found| found == self.folder)
    }

    /// Whether events were lost since this was last asked.
    pub fn has_overflowed(&self) -> bool {
        self.overflow.swap(false, Ordering::Relaxed)
    }
}

fn identity(folder: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(folder).map(|meta| (meta.dev(), meta.ino()))
}

fn forward(inbox: &Inbox, event: notify::Result<Event>, sender: &Sender<Signal>, lost: &AtomicBool) {
    let signals = event.map_or_else(|_| vec![Signal::Unclear], |event| signals(inbox, event));
    for signal in signals {
        if sender.try_send(signal).is_err() {
            lost.store(true, Ordering::Relaxed);
        }
    }
}

/// Opens, reads and closes of readers are not for us: among them are our own.
fn signals(inbox: &Inbox, event: Event) -> Vec<Signal> {
    if event.need_rescan() {
        return vec![Signal::Unclear];
    }
    if matches!(event.kind, EventKind::Remove(_)) {
        let is_inbox = event.paths.contains(&inbox.folder);
        return if is_inbox { vec![Signal::Unclear] } else { Vec::new() };
    }
    let whole = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => true,
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => false,
        _ => return Vec::new(),
    };
    let of = |place: PathBuf| {
        if inbox.is_file_name(&place) {
            return Some(if whole { Signal::Whole(place) } else { Signal::Changing(place) });
        }
        // A folder that came with its files sends no event for each of them.
        (inbox.subfolders && place.is_dir()).then_some(Signal::Unclear)
    };
    event.paths.into_iter().filter_map(of).collect()
}
