//! Files of several feeds in one ledger.

use super::Fixture;
use super::chunks::*;
use crate::domain::ledger::{DeliveryFilter, NewDelivery, Verdict};
use crate::domain::{Delivery, DeliveryState, Feed, FileKey};
use crate::store::Ledger;

pub async fn each_feed_has_its_own_deliveries_of_a_path<F: Fixture>() {
    let place = F::new().await;
    let store = place.open(shared()).await;
    let [plain, clicks] = ["", "clicks"].map(|name| Feed::named(name).unwrap_or_default());
    let files = [&plain, &clicks].map(|feed| FileKey::new(feed, "sub/a"));
    let mut entered = Vec::new();
    for file in [&files[0], &files[1], &files[1]] {
        let new = NewDelivery { file: file.clone(), ..entry("a", Verdict::Load { records: 10 }) };
        entered.push(store.take_up(new).await.unwrap());
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
    let mut known = store.known(plan().attempt).await.unwrap();
    known.sort_by(|one, other| one.file.cmp(&other.file));
    let seen: Vec<_> = known.iter().map(|one| (one.file.feed(), one.file.path(), one.id)).collect();
    assert_eq!(seen, [("", "sub/a", entered[0].0), ("clicks", "sub/a", entered[2].0)]);
}
