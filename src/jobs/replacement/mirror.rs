//! Undoes the earlier generations of files, so that the tables have only what the newest gives.

use std::collections::{BTreeMap, BTreeSet};

use tracing::info;

use crate::domain::ledger::DeliveryFilter;
use crate::domain::replacement::Mirror;
use crate::domain::text::one_line;
use crate::domain::{Delivery, DeliveryId, DeliveryState};
use crate::jobs::read_again::Lost;
use crate::jobs::replacement::{DueReplacement, Settler};
use crate::jobs::undo::Undo;
use crate::jobs::undo::options::{UndoOptions, Undone};
use crate::source::Source;
use crate::store::StoreError;
use crate::store::listing::{Deliveries, newest};

/// What the ledger says about the mirrors that are due.
struct MirrorPlan {
    /// The generations to undo.
    to_undo: BTreeSet<DeliveryId>,
    /// For earlier generations that have a duplicate: the current file that is the duplicate. Its rows must stay.
    copies: BTreeMap<DeliveryId, String>,
    /// Undone deliveries of which rows may be left.
    interrupted: BTreeSet<DeliveryId>,
}

impl<I: Source> Settler<I> {
    /// Undoes the earlier generations of the files that are mirrors. Returns false if the run was stopped.
    pub(super) async fn mirror(&self, due: &mut [DueReplacement]) -> Result<bool, StoreError> {
        if due.iter().all(|replacing| replacing.replacement.mirror != Mirror::Due) {
            return Ok(true);
        }
        let plan = self.plan(due).await?;
        for replacing in due.iter_mut().filter(|replacing| replacing.replacement.mirror == Mirror::Due) {
            let mirror = match self.undo_earlier(replacing, &plan).await {
                Ok(Some(mirror)) => mirror,
                Ok(None) => return Ok(false),
                Err(error) => {
                    self.warn_unless_fatal(replacing, error)?;
                    Mirror::Due
                }
            };
            replacing.replacement.mirror = mirror;
            self.save(replacing).await?;
        }
        Ok(true)
    }

    /// Returns what becomes of the earlier generations of one file, or `None` if the run was stopped.
    async fn undo_earlier(
        &self,
        replacing: &DueReplacement,
        plan: &MirrorPlan,
    ) -> Result<Option<Mirror>, StoreError> {
        let DueReplacement { delivery, generations, .. } = replacing;
        let open = delivery.receipt.open();
        if open > 0 {
            info!(
                file = delivery.file.text(),
                "what only its earlier content gave stays until its {open} records in quarantine are replayed or discarded"
            );
            return Ok(Some(Mirror::Due));
        }
        let left: Vec<&Delivery> = generations.iter().filter(|one| plan.has_rows(one)).collect();
        if let Some(why) = left.iter().find_map(|earlier| self.refusal(earlier, plan)) {
            return Ok(Some(Mirror::Refused(why)));
        }
        for earlier in left {
            match self.undo(delivery.generation, plan).run(&self.store, earlier).await? {
                Undone::Done { .. } => {}
                Undone::Stopped => return Ok(None),
                Undone::Needed(lost) => return Ok(Some(Mirror::Refused(needed(&lost)))),
            }
        }
        Ok(Some(Mirror::Done))
    }

    /// Finds what is undone by all mirrors together, so that none needs the bytes of what another one takes back.
    async fn plan(&self, due: &[DueReplacement]) -> Result<MirrorPlan, StoreError> {
        let interrupted = self.backoff.with(|| self.store.interrupted_undos()).await?;
        let mut plan = MirrorPlan {
            to_undo: BTreeSet::new(),
            copies: BTreeMap::new(),
            interrupted: interrupted.into_iter().map(|one| one.id).collect(),
        };
        let earlier =
            |replacing: &DueReplacement| replacing.generations.iter().map(|one| one.id).collect::<Vec<_>>();
        let all: BTreeSet<DeliveryId> = due.iter().flat_map(earlier).collect();
        let mut copies = Vec::new();
        let mut listed = Deliveries::patiently(&*self.store, &self.backoff, DeliveryFilter::All);
        while let Some(other) = listed.next().await? {
            if let (DeliveryState::Duplicate, Some(of)) = (other.state, other.same_as)
                && all.contains(&of)
            {
                copies.push((of, other));
            }
        }
        for (of, copy) in copies {
            let current = self.backoff.with(|| newest(&*self.store, &copy.file)).await?;
            if current.is_some_and(|current| current.id == copy.id) {
                plan.copies.insert(of, copy.file.text().to_owned());
            }
        }
        for replacing in due.iter().filter(|replacing| replacing.replacement.mirror == Mirror::Due) {
            let left = || replacing.generations.iter().filter(|one| plan.has_rows(one));
            if left().all(|earlier| self.refusal(earlier, &plan).is_none()) {
                let left: Vec<DeliveryId> = left().map(|one| one.id).collect();
                plan.to_undo.extend(left);
            }
        }
        Ok(plan)
    }

    fn undo(&self, by: u32, plan: &MirrorPlan) -> Undo<I> {
        Undo {
            schema: self.schema.clone(),
            feeds: self.feeds.clone(),
            scratch: self.scratch.clone(),
            backoff: self.backoff.clone(),
            stop: self.stop.clone(),
            options: UndoOptions {
                write: true,
                force: false,
                replaced_by: Some(by),
                also_undone: plan.to_undo.clone(),
            },
        }
    }

    /// Says why the rows of an earlier generation cannot be taken back, if this is so.
    fn refusal(&self, earlier: &Delivery, plan: &MirrorPlan) -> Option<String> {
        let generation = earlier.generation;
        if earlier.receipt.assumed > 0 {
            return Some(format!(
                "another program wrote rows of generation {generation} (`load --assume-loaded`)"
            ));
        }
        let counts = earlier.receipt.tables.iter().filter(|count| count.rows > 0);
        let undeclared = counts.map(|count| &count.table).find(|name| self.schema.table(name).is_none());
        if let Some(table) = undeclared {
            return Some(format!("table {table} has rows of generation {generation} and is not declared"));
        }
        let copy = plan.copies.get(&earlier.id)?;
        Some(format!("{copy} has the bytes of generation {generation}, so the rows are its rows too"))
    }
}

impl MirrorPlan {
    /// Whether a generation has rows that count, or may have some that an interrupted undo left.
    fn has_rows(&self, one: &Delivery) -> bool {
        one.has_rows() || self.interrupted.contains(&one.id)
    }
}

fn needed(lost: &[Lost]) -> String {
    let first =
        lost.first().map(|lost| format!("{}, generation {}: {}", lost.file, lost.generation, lost.why));
    let first = one_line(&first.unwrap_or_default());
    match lost.len() {
        1 => format!("a file is needed that cannot be read as it was loaded: {first}"),
        more => format!("{more} files are needed that cannot be read as they were loaded, such as {first}"),
    }
}
