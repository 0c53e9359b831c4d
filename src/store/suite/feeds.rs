//! Files of several feeds in one ledger.

use std::sync::Arc;

use super::Fixture;
use super::chunks::*;
use crate::domain::ledger::{DeliveryFilter, NewDelivery, Verdict};
use crate::domain::{
    Delivery, DeliveryState, Feed, Feeds, FileKey, Fingerprint, Plan, RowChunk, Rows, Schema, Table, Type,
    Value,
};
use crate::store::{ChunkWriter, Ledger};

pub async fn each_feed_has_its_own_deliveries_of_a_path<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let [plain, clicks] = ["", "clicks"].map(|name| Feed::named(name).unwrap_or_default());
    let files = [&plain, &clicks].map(|feed| FileKey::new(feed, "sub/a"));
    let mut entered = Vec::new();
    for file in [&files[0], &files[1], &files[1]] {
        let new = NewDelivery { file: file.clone(), ..entry("a", Verdict::Load { records: 10 }) };
        entered.push(store.take_up(new).await.unwrap().delivery);
    }
    let known = |all: &[Delivery]| all.iter().map(|one| (one.id, one.generation)).collect::<Vec<_>>();
    let entered = known(&entered);
    assert_eq!(entered.iter().map(|(_, generation)| *generation).collect::<Vec<_>>(), [1, 1, 2]);
    for (file, own, state) in [
        (&files[0], &entered[..1], DeliveryState::Loading),
        (&files[1], &entered[1..], DeliveryState::Replaced),
    ] {
        let all = deliveries(&store, DeliveryFilter::Path(file.clone())).await;
        assert_eq!(known(&all), own, "{file}");
        assert!(all.iter().all(|one| one.file == *file && one.file.text() == file.text()));
        assert_eq!(all[0].state, state, "a new generation settles only those of its feed");
        let newest = deliveries(&store, DeliveryFilter::Newest(file.clone())).await;
        assert_eq!(known(&newest), own[own.len() - 1..], "{file}");
    }
    let (attempt, other) = (plan().attempt, Fingerprint::of("another attempt"));
    let both: Feeds<_> = [(plain.clone(), attempt.clone()), (clicks, other)].into_iter().collect();
    for (feeds, expected) in [
        (both, &[("", "sub/a", entered[0].0, true), ("clicks", "sub/a", entered[2].0, false)][..]),
        (
            Feeds::one(plain, attempt),
            &[("", "sub/a", entered[0].0, true), ("clicks", "sub/a", entered[2].0, false)],
        ),
    ] {
        let mut known = store.known(Arc::new(feeds)).await.unwrap();
        known.sort_by(|one, other| one.file.cmp(&other.file));
        let seen = known.iter().map(|one| (one.file.feed(), one.file.path(), one.id, one.same_attempt));
        assert_eq!(seen.collect::<Vec<_>>(), expected, "also of a feed that is not declared");
    }
}

/// Returns the plan of another feed, which reads the columns in another order. It shares one table with [`plan`].
fn clicks() -> Arc<Plan> {
    let Plan { mut columns, tables, .. } = plan();
    columns.reverse();
    let at = |index: usize| columns.len() - 1 - index;
    let moved = |table: &Table| Table {
        partition_key: table.partition_key.iter().map(|index| at(*index)).collect(),
        clustering_key: table.clustering_key.iter().map(|(index, order)| (at(*index), *order)).collect(),
        columns: table.columns.iter().map(|index| at(*index)).collect(),
        fingerprint: Fingerprint::of("of another feed"),
        ..table.clone()
    };
    let own = Table { name: "clicks".to_owned(), ..moved(&tables[2]) };
    let (feed, tables) = (Feed::named("clicks").unwrap(), vec![own, moved(&tables[0])]);
    Arc::new(Plan { feed, columns, tables, fingerprint: Fingerprint::of("clicks"), ..plan() })
}

/// Returns a chunk of the other feed with one record.
fn of_clicks(delivery: &Delivery, a: Option<&str>) -> RowChunk {
    let mut rows = Rows::new(4, 1);
    let one = || (Type::Int, Some("1".to_owned()));
    let values = [(Type::Int, None), (Type::Text, a.map(str::to_owned)), one(), one()];
    let mut cells = cells(&mut rows, &values);
    rows.push(delivery.stamps.of(0).unwrap(), &mut cells);
    let empty = chunk(delivery, &[Record::Skipped], 0, 1, loaded());
    by(&clicks(), RowChunk { rows, skipped: 0, ..empty })
}

/// A window has chunks of both feeds. The stamps decide, whichever feed a record is of.
pub async fn feeds_share_a_table_whatever_columns_they_read<F: Fixture>() {
    let place = F::new().await;
    let schema = Arc::new(Schema::of([&plan(), &*clicks()]));
    let at = |name: &str| schema.table(name).map(|(at, _)| at).unwrap();
    let store = place.open_with(Arc::clone(&schema)).await;
    let first = take_up(&store, "a", 10).await;
    let file = FileKey::new(&clicks().feed, "a");
    let new = NewDelivery { plan: clicks(), file, ..entry("a", Verdict::Load { records: 10 }) };
    let second = store.take_up(new).await.unwrap().delivery;
    let chunks = vec![of_clicks(&second, Some("y")), chunk(&first, &[row(1, 1, "x", 5)], 0, 1, loaded())];
    let applied = apply_all(&store, chunks).await.unwrap();
    let rows = |at: usize| applied[at].tables.iter().map(|delta| delta.rows).collect::<Vec<_>>();
    assert_eq!((rows(0), rows(1)), (vec![1, 1], vec![1, 1, 1]), "by table of their plans");
    let text = |text: &str| Value::Text(text.to_owned().into());
    let seen = async |name: &str| rows_of(&store, at(name), vec![value(1)]).await;
    let kept = vec![vec![value(1), value(1), text("y"), value(5)]];
    assert_eq!(seen("kept").await, kept, "the later record has no value in the last column");
    assert_eq!(seen("cleared").await, [[value(1), value(1), text("x"), value(5)]]);
    assert_eq!(seen("clicks").await, [[value(1), text("y"), Value::Empty]]);
    let second = deliveries(&store, DeliveryFilter::Path(second.file)).await.remove(0);
    let tables: Vec<_> = second.receipt.tables.iter().map(|count| (&*count.table, count.rows)).collect();
    assert_eq!((tables, second.receipt.closes()), (vec![("clicks", 1), ("kept", 1)], true));
    assert!(clicks().tables.iter().all(|table| !second.is_behind(table)));
    assert!(second.is_behind(&plan().tables[0]), "as another feed declares the table");
    let again = store.backfill(1, Arc::new(of_clicks(&second, Some("y"))), true).await.unwrap();
    assert_eq!((again.tables[0].rows, seen("kept").await), (1, kept));
    let second = deliveries(&store, DeliveryFilter::Path(second.file)).await.remove(0);
    assert!(second.receipt.closes(), "{:?}", second.receipt);
}
