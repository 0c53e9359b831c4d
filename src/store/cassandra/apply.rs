//! Chunks into tables, quarantine and ledger: rows first, and only then the ledger (law 1).

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::collisions::Tables;
use super::keys::{Short, short};
use super::ledger::count_of;
use super::rows::{Refusal, Sending, Sent};
use super::stored::Entered;
use super::{Inner, Writing};
use crate::domain::{Delivery, DeliveryId, End, Frame, Mark, Outcome, Quarantined, Reason, RowChunk, State};
use crate::fault;
use crate::ledger::{Applied, TableDelta};
use crate::store::StoreError;

/// So many refusals without one acceptance are not about single records.
const REFUSALS: usize = 10;

pub async fn chunks(inner: &Inner, chunks: &[RowChunk]) -> Result<Vec<Applied>, StoreError> {
    let Some(writing) = &inner.writing else { return dry(inner, chunks).await };
    writing.lease.check().await?;
    in_order(inner, chunks).await?;
    inner.check_tables().await?;
    for chunk in chunks.iter().filter(|chunk| is_provisional_row(chunk)) {
        for table in &inner.plan.tables {
            writing.provisional.remember(&writing.lease, chunk, table).await?;
        }
    }
    writing.provisional.merge(&writing.lease, chunks).await?;
    fault::step("apply before the rows");
    let all: Vec<usize> = (0..inner.plan.tables.len()).collect();
    let sent = sending(inner, writing, chunks).all(&all).await?;
    fault::step("apply after the rows");
    inner.check_tables().await?;
    let judged = judged(writing, chunks, &sent);
    let quarantined = chunks.iter().zip(&judged).flat_map(|(chunk, judged)| {
        let id = chunk.source.id;
        let own = chunk.quarantined.iter().filter(|_| judged.failed.is_none());
        own.chain(&judged.refused).map(move |record| (id, record))
    });
    writing.quarantine.save(&writing.lease, quarantined.collect()).await?;
    fault::step("apply after the quarantine");
    entered(inner, writing, chunks, judged, &sent).await
}

pub fn sending<'s>(inner: &'s Inner, writing: &'s Writing, chunks: &'s [RowChunk]) -> Sending<'s> {
    Sending {
        session: &inner.session,
        settings: &inner.settings,
        lease: &writing.lease,
        pace: &writing.pace,
        writers: &writing.writers,
        chunks,
    }
}

/// Every chunk must continue where its delivery stands; nothing is written of a run that does not.
async fn in_order(inner: &Inner, chunks: &[RowChunk]) -> Result<(), StoreError> {
    let mut marks: HashMap<DeliveryId, Mark> = HashMap::new();
    for chunk in chunks {
        let id = chunk.source.id;
        let mark = match marks.get(&id) {
            Some(mark) => *mark,
            None => inner.ledger.find(id).await?.delivery.reach,
        };
        let advanced = mark.advance(chunk.span);
        marks.insert(id, advanced.map_err(|error| inner.broken(error.to_string()))?);
    }
    Ok(())
}

pub fn is_provisional_row(chunk: &RowChunk) -> bool {
    chunk.ends_provisionally() && chunk.last == Some(Outcome::Loaded)
}

/// What the server's refusals mean for a chunk.
#[derive(Default)]
struct Judged {
    refused: Vec<Quarantined>,
    /// Rows of the chunk that are in quarantine now.
    rows: HashSet<usize>,
    failed: Option<String>,
}

/// Of a delivery and table: refusals without an acceptance between them, and whether there ever was one.
pub type Refusals = Mutex<HashMap<(DeliveryId, usize), (usize, bool)>>;

/// Which refusals are not about single records (law 5): ten in a row, or all of a delivery.
fn hopeless_tables(writing: &Writing, chunks: &[RowChunk], sent: &Sent) -> HashSet<(DeliveryId, usize)> {
    let mut known = writing.refusals.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hopeless = HashSet::new();
    let ids: HashSet<DeliveryId> = chunks.iter().map(|chunk| chunk.source.id).collect();
    for id in ids {
        let of = || chunks.iter().enumerate().filter(move |(_, chunk)| chunk.source.id == id);
        let rows: usize = of().map(|(_, chunk)| chunk.rows.len()).sum();
        let ends = of().any(|(_, chunk)| chunk.end.is_some());
        for table in 0..sent.tables.len() {
            let own = |refusal: &&Refusal| refusal.table == table && of().any(|(at, _)| at == refusal.chunk);
            let refused = sent.refused.iter().filter(own).count();
            let (row, ever) = known.get(&(id, table)).copied().unwrap_or((0, false));
            let accepted = rows > refused;
            let row = if accepted { 0 } else { row + refused };
            let ever = ever || accepted;
            if row >= REFUSALS || (ends && row > 0 && !ever) {
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

/// What the refusals mean, chunk by chunk.
fn judged(writing: &Writing, chunks: &[RowChunk], sent: &Sent) -> Vec<Judged> {
    let mut all: Vec<Judged> = chunks.iter().map(|_| Judged::default()).collect();
    let hopeless_tables = hopeless_tables(writing, chunks, sent);
    let is_hopeless = |chunk: &RowChunk, table| hopeless_tables.contains(&(chunk.source.id, table));
    for refusal in &sent.refused {
        let (Some(judged), Some(chunk)) = (all.get_mut(refusal.chunk), chunks.get(refusal.chunk)) else {
            continue;
        };
        if is_hopeless(chunk, refusal.table) {
            judged.failed.get_or_insert_with(|| hopeless(refusal));
        } else if judged.rows.insert(refusal.row) {
            judged.refused.push(quarantined(chunk, refusal));
        }
    }
    // What follows a chunk that failed, of the same delivery, is not taken either.
    let mut failed: HashMap<DeliveryId, String> = HashMap::new();
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

fn hopeless(refusal: &Refusal) -> String {
    format!(
        "the server takes no row of it: {}; see to the table, then `needledrop load --again`",
        refusal.words
    )
}

fn quarantined(chunk: &RowChunk, refusal: &Refusal) -> Quarantined {
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

/// The ledger, once for each delivery.
async fn entered(
    inner: &Inner,
    writing: &Writing,
    chunks: &[RowChunk],
    judged: Vec<Judged>,
    sent: &Sent,
) -> Result<Vec<Applied>, StoreError> {
    let mut applied: Vec<Applied> = vec![Applied::default(); chunks.len()];
    let mut done: HashSet<DeliveryId> = HashSet::new();
    for chunk in chunks {
        let id = chunk.source.id;
        if !done.insert(id) {
            continue;
        }
        let own: Vec<usize> = (0..chunks.len()).filter(|at| chunks[*at].source.id == id).collect();
        let delivery = inner.ledger.find(id).await?.delivery;
        let mut keys = writing.collisions.of(&delivery).await?;
        let counted = counted(writing, &mut keys, chunks, &judged, &own);
        let reach = own.last().map_or(0, |at| kept_up_to(&chunks[*at]));
        let saves = writing
            .writers
            .iter()
            .zip(&counted.new)
            .map(|(writer, new)| writing.collisions.save(&writing.lease, id, &writer.name, reach, new));
        futures::future::try_join_all(saves).await?;
        fault::step("apply before the ledger");
        let change = |entered: &mut Entered| {
            for at in &own {
                advance(inner, entered, &chunks[*at], &judged[*at], &counted, *at)?;
            }
            Ok(())
        };
        let (entered, ()) = inner.ledger.change(&writing.lease, id, change).await?;
        fault::step("apply after the ledger");
        if entered.delivery.state == State::Loading {
            writing.collisions.keep(id, keys).await;
        }
        for at in own {
            applied[at] = told(&chunks[at], &judged[at], &counted, at, sent);
        }
    }
    for (applied, judged) in applied.iter_mut().zip(judged) {
        (applied.refused, applied.failed) = (judged.refused, judged.failed);
    }
    Ok(applied)
}

/// A provisional last record may be taken back: the keys are those of what is before it.
fn kept_up_to(chunk: &RowChunk) -> u64 {
    match &chunk.end {
        Some(End::Loaded { provisional: Some((mark, _)) }) => mark.offset,
        _ => chunk.span.to.offset,
    }
}

/// What the keys of some chunks came to.
struct Counted {
    /// By chunk and table: collisions; negative where an estimate was corrected.
    collisions: HashMap<(usize, usize), i64>,
    /// By table: keys to be saved.
    new: Vec<Vec<Short>>,
    /// By table.
    estimated: Vec<bool>,
    /// Tables in which the provisional last record fell on a key of its own delivery.
    collided: Vec<String>,
}

fn counted(
    writing: &Writing,
    keys: &mut Tables,
    chunks: &[RowChunk],
    judged: &[Judged],
    own: &[usize],
) -> Counted {
    let mut counted = Counted {
        collisions: HashMap::new(),
        new: vec![Vec::new(); writing.writers.len()],
        estimated: Vec::new(),
        collided: Vec::new(),
    };
    let mut scratch = Vec::new();
    for (table, (writer, keys)) in writing.writers.iter().zip(keys.iter_mut()).enumerate() {
        for at in own.iter().copied().filter(|at| judged[*at].failed.is_none()) {
            let chunk = &chunks[at];
            let open = if is_provisional_row(chunk) { chunk.rows.len().checked_sub(1) } else { None };
            let mut hashes = Vec::with_capacity(chunk.rows.len());
            let mut collisions = 0;
            for row in (0..chunk.rows.len()).filter(|row| !judged[at].rows.contains(row)) {
                let hash = short(writer.key(&chunk.rows, row, &mut scratch));
                if open != Some(row) {
                    hashes.push(hash);
                } else if keys.contains(hash) || hashes.contains(&hash) {
                    // Its own key is not remembered: it may be taken back.
                    collisions += 1;
                    counted.collided.push(writer.name.clone());
                }
            }
            let (rows, before) = (hashes.len(), keys.distinct());
            counted.new[table].extend(keys.add(hashes));
            let grown = i64::try_from(keys.distinct()).unwrap_or(0) - i64::try_from(before).unwrap_or(0);
            collisions += i64::try_from(rows).unwrap_or(0) - grown;
            counted.collisions.insert((at, table), collisions);
        }
        counted.estimated.push(keys.is_estimate());
    }
    counted
}

fn advance(
    inner: &Inner,
    entered: &mut Entered,
    chunk: &RowChunk,
    judged: &Judged,
    counted: &Counted,
    at: usize,
) -> Result<(), StoreError> {
    let delivery = &mut entered.delivery;
    if let Some(why) = &judged.failed {
        (delivery.state, delivery.detail) = (State::Failed, why.clone());
        return Ok(());
    }
    let refused = judged.refused.len() as u64;
    let loaded = chunk.rows.len() as u64 - refused;
    let reach = delivery.reach.advance(chunk.span);
    delivery.reach = reach.map_err(|error| inner.broken(error.to_string()))?;
    delivery.hash.clone_from(&chunk.hash);
    let receipt = &mut delivery.receipt;
    receipt.records = delivery.reach.record;
    receipt.loaded += loaded;
    receipt.skipped += chunk.skipped;
    receipt.quarantined += chunk.quarantined.len() as u64 + refused;
    for (table, declared) in inner.plan.tables.iter().enumerate() {
        let count = count_of(receipt, &declared.name);
        count.rows += loaded;
        let collisions = counted.collisions.get(&(at, table)).copied().unwrap_or(0);
        count.collisions = count.collisions.saturating_add_signed(collisions);
        count.estimated |= counted.estimated.get(table).copied().unwrap_or(false);
    }
    ended(entered, chunk, counted);
    Ok(())
}

fn ended(entered: &mut Entered, chunk: &RowChunk, counted: &Counted) {
    let delivery = &mut entered.delivery;
    match &chunk.end {
        None => {}
        Some(End::Loaded { provisional }) => {
            delivery.state = State::Loaded;
            if delivery.receipt.parts.last() != Some(&delivery.reach.offset) {
                delivery.receipt.parts.push(delivery.reach.offset);
            }
            if let Some(at) = provisional {
                delivery.provisional = Some(at.clone());
                entered.outcome = outcome(chunk.last, &counted.collided);
            }
        }
        Some(End::Incomplete { detail }) => {
            (delivery.state, delivery.detail) = (State::Incomplete, detail.clone());
        }
        Some(End::Failed { detail }) => {
            (delivery.state, delivery.detail) = (State::Failed, detail.clone());
        }
    }
}

/// What became of a provisional record, and in which tables it was a collision.
fn outcome(last: Option<Outcome>, collided: &[String]) -> String {
    match last {
        Some(Outcome::Loaded) => format!("loaded {}", collided.join(",")),
        Some(Outcome::Skipped) => "skipped".to_owned(),
        Some(Outcome::Quarantined) | None => "quarantined".to_owned(),
    }
}

/// The account without its provisional last record.
pub fn without_provisional(entered: &mut Entered) -> Option<Delivery> {
    let before = entered.delivery.clone();
    let (mark, hash) = entered.delivery.provisional.take()?;
    let delivery = &mut entered.delivery;
    (delivery.reach, delivery.hash) = (mark, hash);
    let receipt = &mut delivery.receipt;
    receipt.records = mark.record;
    match entered.outcome.split_once(' ').map_or((entered.outcome.as_str(), ""), |parts| parts) {
        ("loaded", collided) => {
            receipt.loaded = receipt.loaded.saturating_sub(1);
            for count in &mut receipt.tables {
                count.rows = count.rows.saturating_sub(1);
                let was = collided.split(',').any(|table| table == count.table);
                count.collisions = count.collisions.saturating_sub(u64::from(was));
            }
        }
        ("skipped", _) => receipt.skipped = receipt.skipped.saturating_sub(1),
        _ => receipt.quarantined = receipt.quarantined.saturating_sub(1),
    }
    entered.outcome.clear();
    Some(before)
}

fn told(chunk: &RowChunk, judged: &Judged, counted: &Counted, at: usize, sent: &Sent) -> Applied {
    let rows = if judged.failed.is_some() { 0 } else { (chunk.rows.len() - judged.rows.len()) as u64 };
    let delta = |(table, (_, took)): (usize, &(u64, Duration))| TableDelta {
        rows,
        collisions: u64::try_from(counted.collisions.get(&(at, table)).copied().unwrap_or(0)).unwrap_or(0),
        took: *took,
    };
    Applied { tables: sent.tables.iter().enumerate().map(delta).collect(), ..Applied::default() }
}

/// Nothing is written, not even to the ledger: it moves on in memory.
async fn dry(inner: &Inner, chunks: &[RowChunk]) -> Result<Vec<Applied>, StoreError> {
    in_order(inner, chunks).await?;
    let mut applied = Vec::new();
    for (at, chunk) in chunks.iter().enumerate() {
        let counted = Counted {
            collisions: HashMap::new(),
            new: Vec::new(),
            estimated: Vec::new(),
            collided: Vec::new(),
        };
        let change = |entered: &mut Entered| advance(inner, entered, chunk, &Judged::default(), &counted, at);
        inner.ledger.change_in_memory(chunk.source.id, change).await?;
        let rows = chunk.rows.len() as u64;
        let delta = TableDelta { rows, ..TableDelta::default() };
        applied.push(Applied { tables: vec![delta; inner.plan.tables.len()], ..Applied::default() });
    }
    Ok(applied)
}
