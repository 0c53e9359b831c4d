//! The events of files as they are, field by field, for `export`: those records that become rows.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::discover::begun::Beginning;
use super::discover::inbox::{self, Found, Inbox};
use super::read::frame::Tail;
use super::read::split;
use super::transform::Transform;
use crate::domain::{Delivery, DeliveryId, Origin, Plan, RawChunk, Source, Stamp, StampRange, Stamps};

/// Where events go: the declared fields of one event.
pub type Each<'a> = dyn FnMut(&mut dyn Iterator<Item = &[u8]>) -> io::Result<()> + 'a;

/// Reads events from files.
pub struct Events {
    plan: Arc<Plan>,
    inbox: Inbox,
    max_record_bytes: usize,
    transform: Transform,
}

/// Records that are looked at together.
const WINDOW: usize = 1000;

impl Events {
    pub fn new(plan: Arc<Plan>, inbox: Inbox, max_record_bytes: usize) -> Self {
        let transform = Transform::new(Arc::clone(&plan));
        Self { plan, inbox, max_record_bytes, transform }
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
        let place = self.inbox.place(&delivery.path);
        match Beginning::of(&place, delivery, &self.plan, self.max_record_bytes).await {
            Ok(beginning) => self.play(beginning, &delivery.path, delivery.reach.offset, each).await,
            Err(why) => Ok(Err(why)),
        }
    }

    /// The events of a file that was not loaded, unless its bytes were seen before.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub async fn of_file(
        &self,
        file: &Found,
        seen: &mut HashSet<String>,
        each: &mut Each<'_>,
    ) -> io::Result<Result<(), String>> {
        let place = self.inbox.place(&file.path);
        let hash = match Beginning::hash(&place).await {
            Ok(hash) => hash,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if !seen.insert(hash) {
            return Ok(Ok(()));
        }
        match Beginning::unverified(&place, &self.plan, self.max_record_bytes).await {
            Ok(beginning) => self.play(beginning, &file.path, u64::MAX, each).await,
            Err(why) => Ok(Err(why)),
        }
    }

    async fn play(
        &self,
        mut beginning: Beginning,
        path: &str,
        until: u64,
        each: &mut Each<'_>,
    ) -> io::Result<Result<(), String>> {
        let fields = beginning.mapping.fields;
        let source = Arc::new(source(path, &beginning));
        let framer = &mut beginning.framer;
        framer.truncate(until);
        loop {
            framer.scan(WINDOW);
            if framer.records() < WINDOW && framer.reach() < until {
                match beginning.bytes.read(framer.bytes()).await {
                    Ok(0) => {}
                    Ok(_) => {
                        framer.truncate(until);
                        continue;
                    }
                    Err(error) => return Ok(Err(error.to_string())),
                }
            }
            let last = framer.records() < WINDOW;
            if last
                && let Tail::Record(tail) = framer.tail()
                && split(tail).await.len() >= fields
            {
                framer.close_tail();
            }
            self.chunk(framer.cut(), &source, each).await?;
            if last {
                return Ok(Ok(()));
            }
        }
    }

    async fn chunk(
        &self,
        cut: super::read::frame::Cut,
        source: &Arc<Source>,
        each: &mut Each<'_>,
    ) -> io::Result<()> {
        // Every record its own stamp: rows are told apart by it.
        let first = cut.span.from.record;
        let stamps = Stamps::new(vec![StampRange { first, base: Stamp(0), records: u64::from(u32::MAX) }]);
        let frames = cut.frames.clone();
        let bytes = cut.bytes.clone();
        let raw = RawChunk {
            source: Arc::clone(source),
            stamps: Arc::new(stamps),
            span: cut.span,
            bytes: cut.bytes,
            frames: cut.frames,
            refused: cut.refused,
            hash: cut.hash,
            end: None,
        };
        let made = self.transform.chunk(raw).await;
        for row in 0..made.rows.len() {
            let record = first + u64::try_from(made.rows.stamp(row).0 / 2).unwrap_or(0);
            let Ok(at) = frames.binary_search_by_key(&record, |frame| frame.record) else { continue };
            let frame = &frames[at];
            let fields = split(&bytes[frame.start..frame.start + frame.len]).await;
            let columns = self.plan.columns.iter().zip(&source.mapping.field_of);
            let mut wanted = columns
                .filter(|(column, _)| matches!(column.origin, Origin::Field(_)))
                .map(|(_, field)| field.and_then(|at| fields.get(at)).unwrap_or(b""));
            each(&mut wanted)?;
        }
        Ok(())
    }
}

fn source(path: &str, beginning: &Beginning) -> Source {
    Source {
        id: DeliveryId(0),
        path: path.to_owned(),
        mapping: beginning.mapping.clone(),
        file_date: inbox::date(path),
        arrived: SystemTime::now(),
        records_before: 0,
        quarantined_before: 0,
        halt: CancellationToken::new(),
    }
}
