//! The files that wait in the inboxes.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{Delivery, DeliveryId, DeliveryState, Feeds, FileKey, FileStat};
use crate::source::{Found, Listing};

/// The files in the inbox of each feed, and whether each is new or changed. `None` if the inbox cannot be read.
#[derive(Default)]
pub struct Backlog(BTreeMap<String, Option<HashMap<FileKey, File>>>);

/// A file in the inbox, with its newest delivery if the file has not changed since that delivery.
struct File {
    stat: FileStat,
    newest: Option<DeliveryId>,
    is_new: bool,
}

impl Backlog {
    /// Begins with all files of the inboxes. `None` means that an inbox cannot be listed.
    pub fn of(listings: &Feeds<Option<Listing>>) -> Self {
        let file = |found: Found| (found.file, File { stat: found.noted, newest: None, is_new: true });
        let all = |listing: &Listing| listing.files.iter().cloned().map(file).collect();
        Self(listings.iter().map(|(feed, of)| (feed.name().to_owned(), of.as_ref().map(all))).collect())
    }

    pub fn compare(&mut self, delivery: &Delivery) {
        let files = self.0.get_mut(delivery.file.feed()).and_then(Option::as_mut);
        let file = files.and_then(|files| files.get_mut(&delivery.file));
        if let Some(file) = file.filter(|file| file.newest < Some(delivery.id)) {
            file.newest = Some(delivery.id);
            file.is_new = is_new(file.stat, delivery);
        }
    }

    /// Returns the number of new or changed files of one feed or of all feeds, and their total size in bytes.
    pub fn sum(&self, feed: Option<&str>) -> Option<(usize, u64)> {
        let wanted = self.0.iter().filter(|(name, _)| feed.is_none_or(|feed| *name == feed));
        let listed = wanted.map(|(_, files)| files.as_ref()).collect::<Option<Vec<_>>>()?;
        let new = || listed.iter().flat_map(|files| files.values()).filter(|file| file.is_new);
        Some((new().count(), new().map(|file| file.stat.size).sum()))
    }
}

/// Whether the size or the times of the file differ from those in the ledger, or the delivery is not finished.
fn is_new(found: FileStat, delivery: &Delivery) -> bool {
    let known = delivery.noted;
    // An untrusted version never equals the version of a file, so only its size and mtime are compared.
    let changed = !found.has_bytes_of(&known) || (!known.is_untrusted() && known != found);
    changed || matches!(delivery.state, DeliveryState::Loading | DeliveryState::Waiting)
}
