//! Watches the inbox for events of the system. A closed writer or a rename shows that a file is complete.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::source::folder::inbox::Inbox;
use crate::source::{Events, Signal};

/// The maximum number of waiting events. If there are more, the folder is listed instead.
const QUEUE: usize = 4096;

/// A watch on the inbox. The watch ends when this value is dropped.
pub struct Watch {
    signals: Receiver<Signal>,
    /// Whether events were lost.
    overflow: Arc<AtomicBool>,
    /// The device and inode of the folder. Another folder may have its name by now.
    folder: (u64, u64),
    /// The kind of file system, if other machines may change its files.
    elsewhere: Option<&'static str>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Begins to watch the inbox.
    ///
    /// # Errors
    /// Returns an error if the system cannot watch the folder. The caller then relies on polling.
    pub fn begin(inbox: &Inbox) -> notify::Result<Self> {
        let (sender, signals) = mpsc::channel(QUEUE);
        let overflow = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&overflow);
        let names = inbox.clone();
        let handler = move |event: notify::Result<Event>| forward(&names, event, &sender, &lost);
        // Links to folders are not followed, because they may lead anywhere, even back to the inbox.
        let config = notify::Config::default().with_follow_symlinks(false);
        let mut watcher = RecommendedWatcher::new(handler, config)?;
        let mode =
            if inbox.names.subfolders { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let folder = identity(&inbox.folder).map_err(notify::Error::io)?;
        watcher.watch(&inbox.folder, mode)?;
        let elsewhere = elsewhere(&inbox.folder);
        Ok(Self { signals, overflow, folder, elsewhere, _watcher: watcher })
    }

    /// Returns the device and inode of the watched folder.
    pub fn folder(&self) -> (u64, u64) {
        self.folder
    }
}

impl Events for Watch {
    async fn next(&mut self) -> Signal {
        if self.overflow.swap(false, Ordering::Relaxed) {
            return Signal::Lost;
        }
        match self.signals.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    fn gaps(&self) -> Option<String> {
        let kind = self.elsewhere?;
        Some(format!("is on {kind}, which sends no events for what other machines write there"))
    }
}

/// Returns the kind of file system if the folder is on another machine or is served by a program. Its changes may come
/// without events. The numbers are those of linux/magic.h and of statfs(2).
fn elsewhere(folder: &Path) -> Option<&'static str> {
    match u32::try_from(rustix::fs::statfs(folder).ok()?.f_type & 0xffff_ffff).ok()? {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x6573_5546 => Some("FUSE"),
        0x0102_1997 => Some("9P"),
        0x00c3_6400 => Some("Ceph"),
        0x5346_414f => Some("AFS"),
        0x786f_4256 => Some("a folder shared by VirtualBox"),
        _ => None,
    }
}

/// Returns the device and inode of a folder.
///
/// # Errors
/// Returns an error if the folder cannot be seen.
pub fn identity(folder: &Path) -> std::io::Result<(u64, u64)> {
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

/// Translates an event into signals. Opens, reads and closes by readers are ignored, because they include our own.
fn signals(inbox: &Inbox, event: Event) -> Vec<Signal> {
    if event.need_rescan() {
        return vec![Signal::Unclear];
    }
    if matches!(event.kind, EventKind::Remove(_)) {
        let is_inbox = event.paths.contains(&inbox.folder);
        return if is_inbox { vec![Signal::Unclear] } else { Vec::new() };
    }
    let signal = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Signal::Complete,
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => Signal::Changing,
        EventKind::Modify(ModifyKind::Metadata(_)) => Signal::Touched,
        _ => return Vec::new(),
    };
    let of = |place: PathBuf| {
        if inbox.is_file_name(&place) {
            return inbox.key_of(&place).map(signal);
        }
        // A folder that arrives with its files sends no event for each of them.
        (inbox.names.subfolders && place.is_dir()).then_some(Signal::Unclear)
    };
    event.paths.into_iter().filter_map(of).collect()
}
