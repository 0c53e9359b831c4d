//! Where the bytes of a delivery lie: in the inbox, or where they were moved to. Names only say where to
//! look; the bytes decide.

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
    /// The file that begins with what was loaded, open at its first record.
    ///
    /// # Errors
    /// What is wrong with the file in the inbox, where no other serves.
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

    /// Where the file lies that begins with what was loaded.
    ///
    /// # Errors
    /// What is wrong with the file in the inbox, where no other serves.
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

    /// The header of that file, whatever is declared.
    ///
    /// # Errors
    /// As [`Self::place`], and when the file has no header.
    pub async fn header(&self, delivery: &Delivery) -> Result<Header, KeptFileError> {
        VerifiedFile::header(&self.place(delivery).await?, self.plan.encoding).await
    }

    /// Of these deliveries the one that a file of the archive is: it may begin with the bytes of several.
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
