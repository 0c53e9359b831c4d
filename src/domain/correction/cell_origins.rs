//! Where a cell comes from, by its write time.

use std::collections::BTreeSet;

use crate::domain::correction::Correction;
use crate::domain::{Delivery, DeliveryId, Stamp};

/// Where a cell comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellOrigin {
    /// A record of a delivery that counts.
    Counting,
    /// A record of a delivery that does not count.
    NotCounting,
    /// A correction, which wrote a value that a delivery had given.
    Restored,
    /// Another program. A correction may have written its value again.
    Other,
}

/// The stamps of all deliveries and corrections.
#[derive(Debug)]
pub struct CellOrigins {
    /// Stamps of records: the first, the one after the last, and whether the delivery counts. In order.
    ranges: Vec<(Stamp, Stamp, bool)>,
    restored: BTreeSet<Stamp>,
}

impl CellOrigins {
    /// Returns where a cell with this write time comes from.
    pub fn of(&self, stamp: Stamp) -> CellOrigin {
        if self.restored.contains(&stamp) {
            return CellOrigin::Restored;
        }
        let after = self.ranges.partition_point(|(begin, ..)| *begin <= stamp);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        match range {
            // Records have even stamps.
            Some((_, end, counts)) if stamp < *end && stamp.0 & 1 == 0 => match counts {
                true => CellOrigin::Counting,
                false => CellOrigin::NotCounting,
            },
            _ => CellOrigin::Other,
        }
    }
}

/// Collects the stamps of deliveries.
#[derive(Debug)]
pub struct CellOriginsBuilder {
    origins: CellOrigins,
    without: Option<DeliveryId>,
}

impl CellOriginsBuilder {
    /// Begins with corrections. The delivery `without` counts as undone.
    pub fn new(corrections: &[Correction], without: Option<DeliveryId>) -> Self {
        let restored = corrections.iter().map(|correction| correction.stamps.restored()).collect();
        Self { origins: CellOrigins { ranges: Vec::new(), restored }, without }
    }

    pub fn add(&mut self, delivery: &Delivery) {
        let counts = delivery.counts() && self.without != Some(delivery.id);
        let ranges = delivery.stamps.ranges().iter();
        self.origins.ranges.extend(ranges.map(|range| (range.base, range.end(), counts)));
    }

    pub fn build(mut self) -> CellOrigins {
        self.origins.ranges.sort_unstable();
        self.origins
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::correction::CorrectionStamps;
    use crate::domain::{DeliveryState, StampRange, Stamps};

    fn delivery(id: i64, state: DeliveryState) -> Delivery {
        let stamps = Stamps::new(vec![StampRange { first: 0, base: Stamp(id), records: 5 }]);
        Delivery { id: DeliveryId(id), state, stamps, ..Delivery::empty() }
    }

    #[test]
    fn a_cell_is_of_a_delivery_a_correction_or_another_program() {
        let stamps = CorrectionStamps::new(Stamp(300));
        let (id, tables) = (Some(DeliveryId(200)), BTreeMap::new());
        let corrections = [Correction { stamps, delivery: id, tables, is_settled: true }];
        let mut origins = CellOriginsBuilder::new(&corrections, Some(DeliveryId(100)));
        for (id, state) in [(200, DeliveryState::Undone), (100, DeliveryState::Loaded)] {
            origins.add(&delivery(id, state));
        }
        origins.add(&delivery(400, DeliveryState::Loaded));
        let origins = origins.build();
        let of = |stamp: i64| origins.of(Stamp(stamp));
        assert_eq!(
            [of(100), of(208), of(408)],
            [CellOrigin::NotCounting, CellOrigin::NotCounting, CellOrigin::Counting]
        );
        assert_eq!([of(301), of(302), of(300)], [CellOrigin::Restored, CellOrigin::Other, CellOrigin::Other]);
        assert_eq!([of(99), of(110), of(401), of(410), of(0)], [CellOrigin::Other; 5]);
    }
}
