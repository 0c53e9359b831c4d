//! Finds the file with the bytes of a delivery, in the inbox or in the archive. Names only suggest where to look; the
//! bytes decide.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::{Delivery, DeliveryId, Header, Plan};
use crate::pipeline::prefix_check::{KeptFileError, VerifiedFile};
use crate::source::folder::archive::Archive;
use crate::source::folder::inbox::Inbox;

/// Finds kept files.
#[derive(Clone, Debug)]
pub struct KeptFiles {
    pub inbox: Inbox,
    pub archive: Arc<Archive>,
    pub plan: Arc<Plan>,
    pub max_record_bytes: usize,
}

impl KeptFiles {
    /// Opens the file that begins with what was loaded, at its first record.
    ///
    /// # Errors
    /// If no file can be used, returns the error of the file in the inbox.
    pub async fn beginning(&self, delivery: &Delivery) -> Result<VerifiedFile, KeptFileError> {
        let here = self.at(&self.inbox.place(&delivery.path), delivery).await;
        let Err(why) = here else { return here };
        for place in self.archive.candidates(&delivery.path, delivery.noted) {
            if let Ok(found) = self.at(&place, delivery).await {
                return Ok(found);
            }
        }
        Err(why)
    }

    /// Returns the place of the file that begins with what was loaded.
    ///
    /// # Errors
    /// If no file can be used, returns the error of the file in the inbox.
    pub async fn place(&self, delivery: &Delivery) -> Result<PathBuf, KeptFileError> {
        let here = self.inbox.place(&delivery.path);
        let Err(why) = VerifiedFile::verify(&here, delivery, self.plan.encoding).await else {
            return Ok(here);
        };
        for place in self.archive.candidates(&delivery.path, delivery.noted) {
            if VerifiedFile::verify(&place, delivery, self.plan.encoding).await.is_ok() {
                return Ok(place);
            }
        }
        Err(why)
    }

    /// Returns the header of the file that begins with what was loaded, whatever columns are declared.
    ///
    /// # Errors
    /// Returns an error if no file can be used or the file has no valid header.
    pub async fn header(&self, delivery: &Delivery) -> Result<Header, KeptFileError> {
        VerifiedFile::header(&self.place(delivery).await?, &self.plan).await
    }

    /// Returns which of these deliveries a file of the archive belongs to. If the file begins with the bytes of several
    /// deliveries, returns the longest one.
    pub async fn delivery_of(&self, place: &Path, deliveries: &[&Delivery]) -> Option<DeliveryId> {
        let paths = self.archive.paths_of(place);
        let mut alike: Vec<_> = deliveries.iter().filter(|delivery| paths.contains(&delivery.path)).collect();
        alike.sort_by_key(|delivery| Reverse((delivery.reach.offset, delivery.id)));
        for delivery in alike {
            if self.at(place, delivery).await.is_ok() {
                return Some(delivery.id);
            }
        }
        None
    }

    async fn at(&self, place: &Path, delivery: &Delivery) -> Result<VerifiedFile, KeptFileError> {
        VerifiedFile::of(place, delivery, &self.plan, self.max_record_bytes).await
    }
}
