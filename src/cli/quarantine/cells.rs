//! Puts each field of a quarantined record into the cell of its column, whatever header its file has.

use std::collections::HashMap;

use crate::domain::quarantine::QuarantineEntry;
use crate::domain::{Format, Header, Origin, Plan};
use crate::format::splitter::{Splitter, places};

/// The name of the last cell. It holds the part of a record that belongs to no column.
const REST: &str = "rest";

/// Decides which field goes into which cell.
pub struct Cells {
    format: Format,
    /// The name above each cell.
    names: Vec<String>,
    /// The cell of each name in a header. The number distinguishes several occurrences of one name.
    cell_of: HashMap<(String, usize), usize>,
}

impl Cells {
    /// Creates cells for the declared columns, in their order.
    pub fn new(plan: &Plan) -> Self {
        let mut cells = Self { format: plan.format.clone(), names: Vec::new(), cell_of: HashMap::new() };
        for column in &plan.columns {
            if let Origin::Field(field) = &column.origin {
                cells.cell_of.entry((field.clone(), 0)).or_insert(cells.names.len());
                cells.names.push(column.name.clone());
            }
        }
        cells
    }

    /// Adds the columns of a delivery's header.
    pub fn add(&mut self, header: &Header) {
        for (field, before) in counted(header) {
            self.cell(field, before);
        }
    }

    /// Returns the cell of each field of a header, up to the first field without a cell.
    pub fn layout(&self, header: &Header) -> Vec<usize> {
        let cell = |(field, before): (&str, usize)| self.cell_of.get(&(field.to_owned(), before)).copied();
        counted(header).into_iter().map_while(cell).collect()
    }

    fn cell(&mut self, field: &str, before: usize) {
        let next = self.names.len();
        if *self.cell_of.entry((field.to_owned(), before)).or_insert(next) == next {
            let is_taken = self.names.iter().any(|name| name == field);
            self.names.push(if is_taken { format!("{field} ({})", before + 1) } else { field.to_owned() });
        }
    }

    /// Returns the names above the cells.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.names.iter().map(String::as_str).chain([REST]).map(str::to_owned)
    }

    /// Distributes the fields of a record to the cells of its header's layout. Without a header, or if the record
    /// cannot be split, the whole record is in the last cell. If the record has more or fewer fields than the header,
    /// they are matched from the start, and the rest of the record is in the last cell unchanged.
    pub async fn of(&self, layout: &[usize], entry: &QuarantineEntry) -> Vec<Vec<u8>> {
        let raw = entry.record.raw.as_slice();
        let mut cells = vec![Vec::new(); self.names.len()];
        let mut rest = raw;
        let mut splitter = Splitter::new(&self.format);
        if !layout.is_empty()
            && let (Ok(places), Ok(fields)) = (places(&self.format, raw), splitter.split(raw).await)
        {
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

/// Returns the names in a header, each with the number of its earlier occurrences.
fn counted(Header(fields): &Header) -> Vec<(&str, usize)> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    fields
        .iter()
        .map(|field| {
            let before = seen.entry(field).or_default();
            *before += 1;
            (field.as_str(), *before - 1)
        })
        .collect()
}
