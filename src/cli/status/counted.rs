//! What the status counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use crate::cli::states::States;
use crate::cli::status::backlog::Backlog;
use crate::daemon::app::App;
use crate::domain;
use crate::domain::undeclared::Undeclared;
use crate::domain::{Delivery, DeliveryId, Feed, Feeds, Plan, Receipt};
use crate::jobs::verification::Verification;
use crate::source::left_out::LeftOut;
use crate::store::{Store, StoreError};

/// The number of deliveries that the text output shows.
pub const NEWEST: usize = 10;

/// How many times more deliveries are kept, because those that were replaced are not shown.
const REPLACED: usize = 10;

/// The data of the status, except the list of all deliveries.
#[derive(Default)]
pub struct Status {
    pub states: States,
    /// The maximum number of keys that an estimate of collisions is based on.
    pub sample: u64,
    /// The counts of quarantined records of all deliveries.
    pub quarantine: Receipt,
    pub tables: Vec<Table>,
    /// The newest deliveries.
    pub newest: BTreeMap<DeliveryId, Delivery>,
    pub backlog: Backlog,
    /// The files that are not loaded because of their names.
    pub left_out: LeftOut,
    /// The deliveries of each feed that has some, declared or not.
    pub feeds: BTreeMap<String, OfFeed>,
    pub undeclared: Undeclared,
    /// The last verification by the daemon.
    pub verification: Option<Verification>,
    /// The deliveries whose undo was not completed.
    pub interrupted: Vec<Delivery>,
    /// The only feed that is shown.
    pub asked: Option<Feed>,
}

/// The deliveries of one feed.
#[derive(Default)]
pub struct OfFeed {
    pub states: States,
    pub quarantine: Receipt,
}

#[derive(Default)]
pub struct Table {
    /// The index of the table in the schema.
    pub index: usize,
    pub name: String,
    pub rows: u64,
    pub collisions: u64,
    pub estimated: bool,
    /// The number of deliveries whose records were not all sent to this table.
    pub behind: u64,
    pub count: Option<u64>,
}

impl Status {
    pub async fn new(app: &App, asked: Option<Feed>) -> Self {
        let is_shown = |feed: &Feed| asked.as_ref().is_none_or(|asked| asked == feed);
        let plans: Vec<&Plan> =
            app.feeds.iter().filter(|(feed, _)| is_shown(feed)).map(|(_, input)| &*input.plan).collect();
        let table = |(index, table): (usize, &domain::Table)| {
            let is_filled = plans.iter().any(|plan| plan.table(&table.name).is_some());
            is_filled.then(|| Table { index, name: table.name.clone(), ..Table::default() })
        };
        let tables = app.schema.tables.iter().enumerate().filter_map(table).collect();
        let shown = app.feeds.iter().filter(|(feed, _)| is_shown(feed));
        let listed =
            shown.map(|(feed, input)| async move { (feed.clone(), App::list_inbox(input).await.ok()) });
        let listings: Feeds<_> = join_all(listed).await.into_iter().collect();
        let mut left_out = LeftOut::default();
        listings.values().flatten().for_each(|listing| left_out.merge(&listing.left_out));
        let (backlog, sample) = (Backlog::of(&listings), app.collision_sample());
        Self { tables, backlog, left_out, sample, asked, ..Self::default() }
    }

    pub fn add(&mut self, plans: &Feeds<Arc<Plan>>, delivery: Delivery) {
        if self.asked.as_ref().is_some_and(|asked| !delivery.file.is_of(asked)) {
            return;
        }
        self.states.add(&delivery);
        if !self.feeds.contains_key(delivery.file.feed()) {
            self.feeds.insert(delivery.file.feed().to_owned(), OfFeed::default());
        }
        let receipt = &delivery.receipt;
        if let Some(of_feed) = self.feeds.get_mut(delivery.file.feed()) {
            of_feed.states.add(&delivery);
            add_quarantine(&mut of_feed.quarantine, receipt);
        }
        add_quarantine(&mut self.quarantine, receipt);
        let plan = plans.of(&delivery.file).ok();
        if plan.is_none() {
            self.undeclared.add(&delivery.file, u64::from(delivery.generation == 1), receipt.open());
        }
        for table in &mut self.tables {
            let declared = plan.and_then(|plan| plan.table(&table.name));
            table.behind += u64::from(declared.is_some_and(|(_, declared)| delivery.is_behind(declared)));
            let counts = receipt.tables.iter().filter(|count| count.table == table.name);
            for count in counts.filter(|_| delivery.counts()) {
                table.rows += count.rows;
                table.collisions += count.reported_collisions(self.sample);
                table.estimated |= count.estimated;
            }
        }
        self.backlog.compare(&delivery);
        self.newest.insert(delivery.id, delivery);
        if self.newest.len() > NEWEST * REPLACED {
            self.newest.pop_first();
        }
    }

    pub async fn count(&mut self, store: &impl Store) -> Result<(), StoreError> {
        for table in &mut self.tables {
            table.count = match store.count(table.index).await {
                Ok(count) => Some(count),
                // The table is declared but does not exist yet. The status already reports it as behind.
                Err(StoreError::Shape { .. }) => None,
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }
}

fn add_quarantine(sum: &mut Receipt, receipt: &Receipt) {
    sum.quarantined += receipt.quarantined;
    sum.replayed += receipt.replayed;
    sum.discarded += receipt.discarded;
}
