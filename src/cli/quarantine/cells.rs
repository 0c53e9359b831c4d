//! The fields of quarantined records, each in the cell of its column, whatever header its file has.

use std::collections::HashMap;

use crate::domain::{DeliveryId, Header, Origin, Plan};
use crate::pipeline::split::{Splitter, places};
use crate::quarantine::Entry;

/// The cell behind all columns: what has no column.
const REST: &str = "rest";

/// Which field goes into which cell.
pub struct Cells {
    /// The name over each cell.
    names: Vec<String>,
    /// The cell of a name in a header, counted where it is there more than once.
    cell_of: HashMap<(String, usize), usize>,
    /// Headers that differ, as the cells of their fields, and which of them a delivery has.
    layouts: Vec<Vec<usize>>,
    of: HashMap<DeliveryId, usize>,
}

impl Cells {
    /// The declared columns first, in their order.
    pub fn new(plan: &Plan) -> Self {
        let mut cells =
            Self { names: Vec::new(), cell_of: HashMap::new(), layouts: Vec::new(), of: HashMap::new() };
        for column in &plan.columns {
            if let Origin::Field(field) = &column.origin {
                cells.cell_of.entry((field.clone(), 0)).or_insert(cells.names.len());
                cells.names.push(column.name.clone());
            }
        }
        cells
    }

    /// Takes in the header of a delivery; without one its records stay in one piece.
    pub fn add(&mut self, id: DeliveryId, header: Option<Header>) {
        let Some(Header(fields)) = header else { return };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut layout = Vec::with_capacity(fields.len());
        for field in &fields {
            let before = seen.entry(field).or_default();
            layout.push(self.cell(field, *before));
            *before += 1;
        }
        let known = self.layouts.iter().position(|other| *other == layout);
        let at = known.unwrap_or(self.layouts.len());
        if known.is_none() {
            self.layouts.push(layout);
        }
        self.of.insert(id, at);
    }

    fn cell(&mut self, field: &str, before: usize) -> usize {
        let next = self.names.len();
        let cell = *self.cell_of.entry((field.to_owned(), before)).or_insert(next);
        if cell == next {
            let is_taken = self.names.iter().any(|name| name == field);
            self.names.push(if is_taken { format!("{field} ({})", before + 1) } else { field.to_owned() });
        }
        cell
    }

    /// The names over the cells.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.names.iter().map(String::as_str).chain([REST]).map(str::to_owned)
    }

    /// The fields of a record. Those of one with more or fewer than its header follow it as far as it goes;
    /// what is left, or cannot be told apart, is in the last cell as it came.
    pub async fn of(&self, entry: &Entry) -> Vec<Vec<u8>> {
        let raw = entry.record.raw.as_slice();
        let mut cells = vec![Vec::new(); self.names.len()];
        let layout = self.of.get(&entry.delivery).and_then(|at| self.layouts.get(*at));
        let mut rest = raw;
        let mut splitter = Splitter::default();
        if let (Some(layout), Ok(places), Ok(fields)) = (layout, places(raw), splitter.split(raw).await) {
            for (cell, field) in layout.iter().zip(fields.iter()) {
                if let Some(cell) = cells.get_mut(*cell) {
                    *cell = field.to_vec();
                }
            }
            let left = places.get(layout.len()).map_or(raw.len(), |place| place.start);
            rest = raw.get(left..).unwrap_or_default();
        }
        cells.push(rest.to_vec());
        cells
    }
}
