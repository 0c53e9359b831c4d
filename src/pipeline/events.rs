//! The events of files as they are, field by field, for `export`: those records that become rows.

use std::io;
use std::sync::Arc;

use super::discover::begun::Beginning;
use super::discover::inbox::Found;
use super::find::Find;
use super::kept::Kept;
use super::split::Splitter;
use super::transform::Transform;
use crate::domain::{Delivery, DeliveryId, Origin, RawChunk, Stamp, StampRange, Stamps};

/// Where events go: the declared fields of one event.
pub type Each<'a> = dyn FnMut(&mut dyn Iterator<Item = &[u8]>) -> io::Result<()> + 'a;

/// Reads events from files.
pub struct Events {
    find: Find,
    transform: Transform,
}

impl Events {
    pub fn new(find: Find) -> Self {
        let transform = Transform::new(Arc::clone(&find.plan), Arc::default());
        Self { find, transform }
    }

    /// The events of a delivery, as far as it was loaded; the inner error is why it cannot be read.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub async fn of_delivery(
        &self,
        delivery: &Delivery,
        each: &mut Each<'_>,
    ) -> io::Result<Result<(), String>> {
        match self.find.beginning(delivery).await {
            Ok(beginning) => self.play(beginning, &delivery.path, delivery.reach.offset, each).await,
            Err(why) => Ok(Err(why)),
        }
    }

    /// The events of a file that was not loaded, if `is_new` accepts the hash of its bytes.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub async fn of_file(
        &self,
        file: &Found,
        is_new: &mut impl FnMut(String) -> bool,
        each: &mut Each<'_>,
    ) -> io::Result<Result<(), String>> {
        let place = self.find.inbox.place(&file.path);
        let hash = match Beginning::hash(&place, self.find.plan.encoding).await {
            Ok(hash) => hash,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if !is_new(hash) {
            return Ok(Ok(()));
        }
        match Beginning::unverified(&place, &self.find.plan, self.find.max_record_bytes).await {
            Ok(beginning) => self.play(beginning, &file.path, u64::MAX, each).await,
            Err(why) => Ok(Err(why)),
        }
    }

    async fn play(
        &self,
        beginning: Beginning,
        path: &str,
        until: u64,
        each: &mut Each<'_>,
    ) -> io::Result<Result<(), String>> {
        // Every record its own stamp: rows are told apart by it.
        let stamps = Stamps::new(vec![StampRange { first: 0, base: Stamp(0), records: u64::MAX / 4 }]);
        let mut kept = Kept::new(beginning, DeliveryId(0), path, stamps, until);
        loop {
            match kept.next().await {
                Ok(Some(raw)) => self.chunk(raw, each).await?,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
    }

    async fn chunk(&self, raw: RawChunk, each: &mut Each<'_>) -> io::Result<()> {
        let (frames, bytes, source) = (raw.frames.clone(), raw.bytes.clone(), Arc::clone(&raw.source));
        let mut splitter = Splitter::default();
        let made = self.transform.chunk(raw).await;
        for row in 0..made.rows.len() {
            let record = u64::try_from(made.rows.stamp(row).0 / 2).unwrap_or(0);
            let Ok(at) = frames.binary_search_by_key(&record, |frame| frame.record) else { continue };
            let frame = &frames[at];
            let record = bytes.get(frame.start..frame.start + frame.len).unwrap_or_default();
            let Ok(fields) = splitter.split(record).await else { continue };
            let columns = self.find.plan.columns.iter().zip(&source.mapping.field_of);
            let mut wanted = columns
                .filter(|(column, _)| matches!(column.origin, Origin::Field(_)))
                .map(|(_, field)| field.and_then(|at| fields.get(at)).unwrap_or(b""));
            each(&mut wanted)?;
        }
        Ok(())
    }
}
