//! Finds the file with the bytes of a delivery, in the inbox or among the files that were moved from it. Names only
//! suggest where to look; the bytes decide.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::domain::{Delivery, DeliveryId, FileKey, Header, Plan};
use crate::pipeline::prefix_check::{KeptFileError, VerifiedFile};
use crate::source::Source;

/// Finds kept files.
#[derive(Clone, Debug)]
pub struct KeptFiles<I> {
    pub inbox: I,
    pub plan: Arc<Plan>,
    pub max_record_bytes: usize,
    /// The number of bytes of records that are read at a time.
    pub window_bytes: usize,
}

impl<I: Source> KeptFiles<I> {
    /// Opens the file that begins with what was loaded, at its first record.
    ///
    /// # Errors
    /// If no file can be used, returns the error of the file in the inbox.
    pub async fn beginning(&self, delivery: &Delivery) -> Result<VerifiedFile<I::File>, KeptFileError> {
        let here = self.at(&delivery.file, delivery).await;
        let Err(why) = here else { return here };
        for copy in self.inbox.copies(&delivery.file, delivery.noted).await {
            if let Ok(found) = self.at(&copy, delivery).await {
                return Ok(found);
            }
        }
        Err(why)
    }

    /// Returns the file that begins with what was loaded.
    ///
    /// # Errors
    /// If no file can be used, returns the error of the file in the inbox.
    pub async fn file(&self, delivery: &Delivery) -> Result<FileKey, KeptFileError> {
        let encoding = self.plan.encoding;
        let here = VerifiedFile::verify(&self.inbox, &delivery.file, delivery, encoding).await;
        let Err(why) = here else { return Ok(delivery.file.clone()) };
        for copy in self.inbox.copies(&delivery.file, delivery.noted).await {
            if VerifiedFile::verify(&self.inbox, &copy, delivery, encoding).await.is_ok() {
                return Ok(copy);
            }
        }
        Err(why)
    }

    /// Returns the header of the file that begins with what was loaded, whatever columns are declared.
    ///
    /// # Errors
    /// Returns an error if no file can be used or the file has no valid header.
    pub async fn header(&self, delivery: &Delivery) -> Result<Header, KeptFileError> {
        VerifiedFile::header(&self.inbox, &self.file(delivery).await?, &self.plan).await
    }

    /// Returns which of these deliveries a moved file belongs to. If the file begins with the bytes of several
    /// deliveries, returns the longest one.
    pub async fn delivery_of(&self, moved: &FileKey, deliveries: &[&Delivery]) -> Option<DeliveryId> {
        let files = self.inbox.origins(moved);
        let mut alike: Vec<_> = deliveries.iter().filter(|delivery| files.contains(&delivery.file)).collect();
        alike.sort_by_key(|delivery| Reverse((delivery.reach.offset, delivery.id)));
        for delivery in alike {
            if self.at(moved, delivery).await.is_ok() {
                return Some(delivery.id);
            }
        }
        None
    }

    async fn at(&self, file: &FileKey, delivery: &Delivery) -> Result<VerifiedFile<I::File>, KeptFileError> {
        VerifiedFile::of(&self.inbox, file, delivery, &self.plan, self.max_record_bytes).await
    }
}
