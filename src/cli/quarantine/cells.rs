//! Puts each field of a quarantined record into the cell of its column, whatever header its file has.

use std::collections::{HashMap, HashSet};

use crate::domain::quarantine::QuarantineEntry;
use crate::domain::{Feed, FieldNames, Format, Header, Origin, Plan};
use crate::format::splitter::{Splitter, places};

/// The name of the last cell. It holds the part of a record that belongs to no column.
const REST: &str = "rest";

/// Decides which field goes into which cell.
pub struct Cells {
    cells: Vec<Cell>,
    /// The cells of the columns that plans declare.
    columns: Vec<ColumnCell>,
    /// The cell of each other name. The number distinguishes several occurrences of one name in a header.
    cell_of: HashMap<(String, usize), usize>,
}

/// A cell of each line.
struct Cell {
    name: String,
    /// Whether the name is that of a header. Otherwise it is a name that a header may have.
    is_from_header: bool,
}

/// The cell of a column of a feed.
struct ColumnCell {
    feed: Feed,
    names: FieldNames,
    cell: usize,
}

impl Cells {
    /// Creates cells for the columns that plans declare, in their order. Feeds that read the same field share its cell.
    pub fn new<'p>(plans: impl Iterator<Item = &'p Plan>) -> Self {
        let mut cells = Self { cells: Vec::new(), columns: Vec::new(), cell_of: HashMap::new() };
        for plan in plans {
            let of_others = cells.cell_of.clone();
            for column in &plan.columns {
                let Origin::Field(names) = &column.origin else { continue };
                let shared = names.iter().find_map(|name| of_others.get(&(name.to_owned(), 0)).copied());
                let cell = shared.unwrap_or(cells.cells.len());
                for name in names.iter() {
                    cells.cell_of.entry((name.to_owned(), 0)).or_insert(cell);
                }
                if shared.is_none() {
                    cells.cells.push(Cell { name: names.first().to_owned(), is_from_header: false });
                }
                cells.columns.push(ColumnCell { feed: plan.feed.clone(), names: names.clone(), cell });
            }
        }
        cells
    }

    /// Adds the columns of a delivery's header. A cell has the name that the first header gives it, so that a corrected
    /// list is a file of its feed.
    pub fn add(&mut self, header: &Header, plan: &Plan) {
        for (field, before) in counted(header) {
            match self.cell(field, before, plan) {
                None => {
                    self.cell_of.insert((field.to_owned(), before), self.cells.len());
                    self.cells.push(Cell { name: field.to_owned(), is_from_header: true });
                }
                Some(cell) => self.cells.get_mut(cell).into_iter().for_each(|cell| cell.is_called(field)),
            }
        }
    }

    /// Returns the cell of each field of a header, up to the first field without a cell.
    pub fn layout(&self, header: &Header, plan: &Plan) -> Vec<usize> {
        counted(header).into_iter().map_while(|(field, before)| self.cell(field, before, plan)).collect()
    }

    /// Returns the cell of a field. The plan finds its columns in the header as it does when it loads the file.
    fn cell(&self, field: &str, before: usize, plan: &Plan) -> Option<usize> {
        let rule = plan.format.name_match();
        let is_field = |column: &&ColumnCell| {
            column.feed == plan.feed && column.names.iter().any(|name| rule.is_same(field, name))
        };
        let column = self.columns.iter().filter(|_| before == 0).find(is_field).map(|column| column.cell);
        column.or_else(|| self.cell_of.get(&(field.to_owned(), before)).copied())
    }

    /// Returns the names above the cells. The other columns of the listing have the names `others`. A name that is taken
    /// gets a number.
    pub fn names(&self, others: &[&str]) -> Vec<String> {
        let mut taken = others.iter().copied().chain([REST]).map(str::to_owned).collect();
        let free = self.cells.iter().map(|cell| free_name(&cell.name, &mut taken));
        free.chain([REST.to_owned()]).collect()
    }

    /// Distributes the fields of a record to the cells of its header's layout. Without a header, or if the record
    /// cannot be split, the whole record is in the last cell. If the record has more or fewer fields than the header,
    /// they are matched from the start, and the rest of the record is in the last cell unchanged.
    pub async fn of(&self, format: &Format, layout: &[usize], entry: &QuarantineEntry) -> Vec<Vec<u8>> {
        let raw = entry.record.raw.as_slice();
        let mut cells = vec![Vec::new(); self.cells.len()];
        let mut rest = raw;
        let mut splitter = Splitter::new(format);
        if !layout.is_empty()
            && let (Ok(places), Ok(fields)) = (places(format, raw), splitter.split(raw).await)
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

impl Cell {
    /// Takes the name that a header has, if it has none from an earlier header.
    fn is_called(&mut self, field: &str) {
        if !self.is_from_header {
            (self.name, self.is_from_header) = (field.to_owned(), true);
        }
    }
}

/// Returns this name, or with the next number that makes it differ from those that are taken.
fn free_name(name: &str, taken: &mut HashSet<String>) -> String {
    let mut free = name.to_owned();
    let mut number = 2;
    while !taken.insert(free.clone()) {
        free = format!("{name} ({number})");
        number += 1;
    }
    free
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
