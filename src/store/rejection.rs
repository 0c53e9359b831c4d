//! Decides what rejected rows mean: a single record goes to quarantine, many in a row fail their delivery (law 5).

use std::collections::{HashMap, HashSet};

use crate::domain::{DeliveryId, Frame, Quarantined, Reason, RowChunk};

/// This many rejections in a row mean that the problem is not a single record.
const REFUSALS: usize = 10;

/// A single row that the store rejected.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// The index of the table in the plan of the chunk.
    pub table: usize,
    pub chunk: usize,
    pub row: usize,
    /// The error text of the store.
    pub words: String,
}

/// The consequences of rejections for a chunk.
#[derive(Default)]
pub struct Judged {
    pub refused: Vec<Quarantined>,
    /// The indexes of the rows of the chunk that go to quarantine.
    pub rows: HashSet<usize>,
    pub failed: Option<String>,
}

/// For each delivery and table: how many of the most recent rows were rejected without an accepted row between them,
/// and whether any row was ever accepted.
pub type Rejections = HashMap<(DeliveryId, usize), (usize, bool)>;

/// Returns the deliveries and tables where the problem is not a single record (law 5): ten rejections in a row, or no
/// accepted row in the whole delivery.
fn hopeless_tables(
    known: &mut Rejections,
    chunks: &[&RowChunk],
    refused: &[Rejection],
) -> HashSet<(DeliveryId, usize)> {
    let mut hopeless = HashSet::new();
    let ids: HashSet<DeliveryId> = chunks.iter().map(|chunk| chunk.source.id).collect();
    for id in ids {
        let (begins, rows) = begins(chunks, id);
        let own = || chunks.iter().filter(|chunk| chunk.source.id == id);
        let ends = own().any(|chunk| chunk.end.is_some());
        // Rows may have been accepted by an earlier process, or before the file grew.
        let was_accepted = own().any(|chunk| chunk.source.loaded_before() > 0);
        let tables = own().next().map_or(0, |chunk| chunk.source.plan.tables.len());
        for table in 0..tables {
            let refused = places(refused, table, &begins);
            let (row, ever) = known.get(&(id, table)).copied().unwrap_or((0, false));
            let ever = ever || was_accepted || rows > refused.len();
            let (longest, row) = in_a_row(row, rows, &refused);
            if longest >= REFUSALS || (ends && row > 0 && !ever) {
                hopeless.insert((id, table));
            }
            if ends || (row, ever) == (0, false) {
                known.remove(&(id, table));
            } else {
                known.insert((id, table), (row, ever));
            }
        }
    }
    hopeless
}

/// Returns the index of the first row of each chunk among all rows of the delivery, and the number of all these rows.
fn begins(chunks: &[&RowChunk], id: DeliveryId) -> (HashMap<usize, usize>, usize) {
    let (mut begins, mut rows) = (HashMap::new(), 0);
    for (at, chunk) in chunks.iter().enumerate().filter(|(_, chunk)| chunk.source.id == id) {
        begins.insert(at, rows);
        rows += chunk.rows.len();
    }
    (begins, rows)
}

/// Returns the indexes of the rows that a table rejected, in order.
fn places(refused: &[Rejection], table: usize, begins: &HashMap<usize, usize>) -> Vec<usize> {
    let own = refused.iter().filter(|refusal| refusal.table == table);
    let mut places: Vec<usize> =
        own.filter_map(|refusal| Some(begins.get(&refusal.chunk)? + refusal.row)).collect();
    places.sort_unstable();
    places
}

/// Returns the length of the longest run of rejections, and the length of the run at the end. `before` rejections
/// directly precede these `rows` rows, and `refused` contains the indexes of the rejected rows.
fn in_a_row(before: usize, rows: usize, refused: &[usize]) -> (usize, usize) {
    let (mut longest, mut row, mut next) = (before, before, 0);
    for place in refused {
        row = if *place == next { row + 1 } else { 1 };
        longest = longest.max(row);
        next = place + 1;
    }
    (longest, if next < rows { 0 } else { row })
}

/// The deliveries that have failed, with the reason.
pub type Failed = HashMap<DeliveryId, String>;

/// Decides what rejections mean for each chunk. Chunks of a delivery in `failed` fail too.
pub fn judged(
    known: &mut Rejections,
    chunks: &[&RowChunk],
    refused: &[Rejection],
    mut failed: Failed,
) -> Vec<Judged> {
    let mut all: Vec<Judged> = chunks.iter().map(|_| Judged::default()).collect();
    let hopeless_tables = hopeless_tables(known, chunks, refused);
    let is_hopeless = |chunk: &RowChunk, table| hopeless_tables.contains(&(chunk.source.id, table));
    for refusal in refused {
        let (Some(judged), Some(chunk)) = (all.get_mut(refusal.chunk), chunks.get(refusal.chunk)) else {
            continue;
        };
        if is_hopeless(chunk, refusal.table) {
            judged.failed.get_or_insert_with(|| hopeless(refusal));
        } else if judged.rows.insert(refusal.row) {
            judged.refused.push(quarantined(chunk, refusal));
        }
    }
    // The rejections that make a delivery fail may all be in earlier chunks.
    for (judged, chunk) in all.iter_mut().zip(chunks).filter(|(_, chunk)| chunk.end.is_some()) {
        if hopeless_tables.iter().any(|(id, _)| *id == chunk.source.id) {
            judged.failed.get_or_insert_with(|| NOTHING_TAKEN.to_owned());
        }
    }
    // Once a chunk has failed, later chunks of the same delivery fail too.
    for (judged, chunk) in all.iter_mut().zip(chunks) {
        if let Some(why) = failed.get(&chunk.source.id) {
            judged.failed = Some(why.clone());
        }
        if let Some(why) = &judged.failed {
            failed.insert(chunk.source.id, why.clone());
            judged.refused.clear();
        }
        judged.refused.sort_by_key(|entry| entry.record);
    }
    all
}

const NOTHING_TAKEN: &str = "the store rejects all its rows: `needledrop quarantine list` shows why; repair the \
                             table, then run `needledrop load --again`";

fn hopeless(refusal: &Rejection) -> String {
    format!(
        "the store rejects all its rows: {}; repair the table, then run `needledrop load --again`",
        refusal.words
    )
}

/// Puts every rejected record of a chunk into quarantine. Rejections in a row do not fail the delivery.
pub fn each(chunk: &RowChunk, refused: &[Rejection]) -> Judged {
    let mut judged = Judged::default();
    for refusal in refused {
        if judged.rows.insert(refusal.row) {
            judged.refused.push(quarantined(chunk, refusal));
        }
    }
    judged
}

fn quarantined(chunk: &RowChunk, refusal: &Rejection) -> Quarantined {
    let number = chunk.stamps.number(chunk.rows.stamp(refusal.row)).unwrap_or(chunk.span.from.record);
    let frame = chunk.frames.binary_search_by_key(&number, |frame| frame.record).ok();
    let frame = frame.and_then(|at| chunk.frames.get(at)).copied();
    let Frame { line, offset, start, len, .. } =
        frame.unwrap_or(Frame { record: number, line: 0, offset: 0, start: 0, len: 0 });
    Quarantined {
        record: number,
        line,
        offset,
        len: len as u64,
        column: None,
        reason: Reason::Refused,
        detail: refusal.words.clone(),
        raw: chunk.bytes.get(start..start + len).unwrap_or_default().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::domain::{Cell, DeliveryContext, End, Header, Mapping, Plan, Position, Rows, Stamp, Table};

    /// Returns the last chunk of a delivery. It has one row, after this many skipped and loaded records.
    fn last_chunk(skipped_before: u64, loaded_before: u64) -> RowChunk {
        let mapping = Mapping { fields: 0, field_of: Vec::new(), ignored: Vec::new() };
        let named = (Header(Vec::new()), mapping);
        let table = Table { partition_key: vec![0], ..Table::empty("t") };
        let plan = Arc::new(Plan { tables: vec![table], ..Plan::empty() });
        let mut source = DeliveryContext::new(plan, DeliveryId(1), "a.csv".into(), named, None, UNIX_EPOCH);
        (source.records_before, source.skipped_before) = (skipped_before + loaded_before, skipped_before);
        let mut rows = Rows::new(1, 1);
        rows.push(Stamp(2), &mut vec![Cell::Whole(1)]);
        let empty = RowChunk::end_at(Position::default(), Arc::new(source), Arc::default(), End::Loaded);
        RowChunk { rows, ..empty }
    }

    #[test]
    fn a_skipped_record_does_not_count_as_an_accepted_row() {
        let judged = |chunk: RowChunk| {
            let rejection = Rejection { table: 0, chunk: 0, row: 0, words: "no".to_owned() };
            judged(&mut Rejections::new(), &[&chunk], &[rejection], Failed::new()).remove(0)
        };
        assert!(judged(last_chunk(3, 0)).failed.is_some(), "the table accepted no row at all");
        let after_a_row = judged(last_chunk(3, 1));
        assert_eq!((after_a_row.failed, after_a_row.refused.len()), (None, 1));
    }

    #[test]
    fn an_accepted_row_ends_a_run_of_rejections() {
        assert_eq!(in_a_row(0, 3, &[]), (0, 0));
        assert_eq!(in_a_row(4, 0, &[]), (4, 4), "nothing new is known");
        assert_eq!(in_a_row(4, 2, &[]), (4, 0));
        assert_eq!(in_a_row(0, 3, &[0, 1, 2]), (3, 3));
        assert_eq!(in_a_row(4, 3, &[0, 1]), (6, 0), "the earlier run continues");
        assert_eq!(in_a_row(4, 3, &[1, 2]), (4, 2), "an accepted row ends the earlier run");
        assert_eq!(in_a_row(0, 8, &[0, 2, 3, 4, 7]), (3, 1));
    }
}
