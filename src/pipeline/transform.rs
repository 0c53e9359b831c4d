//! Records to rows: fields are found by csv-async, values parsed by the rules of their types.
//!
//! No I/O and no clock: the same bytes give the same rows, always.

use std::collections::HashMap;
use std::sync::Arc;

use csv_async::{AsyncReaderBuilder, ByteRecord, Terminator};
use tokio::sync::mpsc::{Receiver, Sender};

use crate::config::Quota;
use crate::domain::parse::{Refusal, check_encoding, parse};
use crate::domain::value::{Cell, Slice};
use crate::domain::{
    DeliveryId, End, Frame, Origin, Outcome, Plan, Quarantined, RawChunk, Reason, RowChunk, Rows, Source,
    Type,
};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// What of a refused value is shown; the whole of it is in the raw bytes.
const SHOWN: usize = 64;

/// The stage: takes chunks until there are no more.
pub async fn run(mut input: Receiver<RawChunk>, output: Sender<RowChunk>, plan: Arc<Plan>, quota: Quota) {
    let transform = Transform::new(plan);
    let mut limit = Limit::new(quota);
    while let Some(raw) = input.recv().await {
        if limit.has_failed(raw.source.id) {
            continue;
        }
        let mut chunk = transform.chunk(raw).await;
        limit.check(&mut chunk);
        if output.send(chunk).await.is_err() {
            return;
        }
    }
}

/// Turns records into rows by the plan.
pub struct Transform {
    plan: Arc<Plan>,
    /// Columns that are in the key of some table: they must not be empty.
    keys: Vec<(usize, String)>,
    /// Columns that are in some table, or that such a column is made from. Others are only checked.
    used: Vec<bool>,
}

/// Why a record is refused.
struct Refused {
    column: Option<usize>,
    reason: Reason,
    detail: String,
}

impl Transform {
    pub fn new(plan: Arc<Plan>) -> Self {
        let mut keys: Vec<(usize, String)> = Vec::new();
        let mut used = vec![false; plan.columns.len()];
        for table in &plan.tables {
            for index in
                table.key().filter(|index| !keys.iter().any(|(known, _)| known == index)).collect::<Vec<_>>()
            {
                keys.push((index, table.name.clone()));
            }
            for index in table.all() {
                used[index] = true;
                if let Some(Origin::DateOf(of)) = plan.columns.get(index).map(|column| &column.origin) {
                    used[*of] = true;
                }
            }
        }
        Self { plan, keys, used }
    }

    /// One chunk.
    pub async fn chunk(&self, raw: RawChunk) -> RowChunk {
        let mut made = Made::new(&raw, self.plan.columns.len());
        let mut reader = AsyncReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .create_reader(raw.bytes.as_slice());
        let mut record = ByteRecord::new();
        let mut cells = Vec::with_capacity(self.plan.columns.len());
        for frame in &raw.frames {
            // The frames were cut by the same rules, so there is a record for each.
            if !matches!(reader.read_byte_record(&mut record).await, Ok(true)) {
                record.clear();
            }
            let outcome = self.record(&raw, frame, &record, &mut cells, &mut made.rows);
            made.take(&raw, frame, outcome, &self.plan);
        }
        drop(reader);
        made.finish(raw)
    }

    fn record(
        &self,
        raw: &RawChunk,
        frame: &Frame,
        record: &ByteRecord,
        cells: &mut Vec<Cell>,
        rows: &mut Rows,
    ) -> Result<Outcome, Refused> {
        let source = &raw.source;
        if record.len() != source.mapping.fields {
            let detail = format!("{} fields where the header has {}", record.len(), source.mapping.fields);
            return Err(Refused { column: None, reason: Reason::Fields, detail });
        }
        if self.is_skipped(source, record) {
            return Ok(Outcome::Skipped);
        }
        let Some(stamp) = raw.stamps.of(frame.record) else {
            let detail = "there is no stamp for this record; please report this".to_owned();
            return Err(Refused { column: None, reason: Reason::Refused, detail });
        };
        let begin = rows.arena().len();
        cells.clear();
        match self.cells(source, record, cells, rows.arena()) {
            Ok(()) => rows.push(stamp, cells),
            Err(refused) => {
                rows.arena().truncate(begin);
                return Err(refused);
            }
        }
        Ok(Outcome::Loaded)
    }

    fn is_skipped(&self, source: &Source, record: &ByteRecord) -> bool {
        self.plan.skip_when_empty.iter().any(|column| {
            let field = field(source, record, *column);
            let is_text = self.plan.columns.get(*column).is_some_and(|column| column.kind == Type::Text);
            field.is_empty() || (!is_text && field.trim_ascii().is_empty())
        })
    }

    fn cells(
        &self,
        source: &Source,
        record: &ByteRecord,
        cells: &mut Vec<Cell>,
        arena: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        for (index, column) in self.plan.columns.iter().enumerate() {
            let begin = arena.len();
            let cell = match &column.origin {
                Origin::Field(_) => {
                    let field = field(source, record, index);
                    let parsed = match (column.kind, self.used[index]) {
                        // The most frequent kind: not copied where nobody asks for it.
                        (Type::Text, false) => check_encoding(field).map(|()| Cell::Empty),
                        (kind, _) => parse(kind, field, arena),
                    };
                    parsed.map_err(|refusal| refused(index, &refusal, field))?
                }
                Origin::DateOf(of) => day_of(cells.get(*of)),
                Origin::FileDate => source.file_date.map_or(Cell::Empty, Cell::Date),
                Origin::FileName => file_name(source, arena),
            };
            if self.used[index] {
                cells.push(cell);
            } else {
                arena.truncate(begin);
                cells.push(Cell::Empty);
            }
        }
        self.keys_are_full(cells)
    }

    fn keys_are_full(&self, cells: &[Cell]) -> Result<(), Refused> {
        let empty = self.keys.iter().find(|(index, _)| cells.get(*index).is_none_or(|cell| cell.is_empty()));
        let Some((index, table)) = empty else { return Ok(()) };
        let detail = format!("is empty, and the key of {table} needs it");
        Err(Refused { column: Some(*index), reason: Reason::EmptyKey, detail })
    }
}

fn field<'r>(source: &Source, record: &'r ByteRecord, column: usize) -> &'r [u8] {
    let at = source.mapping.field_of.get(column).copied().flatten();
    at.and_then(|at| record.get(at)).unwrap_or(b"")
}

fn day_of(cell: Option<&Cell>) -> Cell {
    match cell {
        Some(Cell::Timestamp(ms)) => i32::try_from(ms.div_euclid(DAY)).map_or(Cell::Empty, Cell::Date),
        _ => Cell::Empty,
    }
}

fn file_name(source: &Source, arena: &mut Vec<u8>) -> Cell {
    let name = source.path.rsplit('/').next().unwrap_or_default();
    Slice::store(arena, name.as_bytes()).map_or(Cell::Empty, Cell::Text)
}

fn refused(column: usize, refusal: &Refusal, field: &[u8]) -> Refused {
    let value = String::from_utf8_lossy(field);
    let shown: String = value.chars().take(SHOWN).collect();
    let more = if shown.len() < value.len() { "…" } else { "" };
    let detail = format!("{shown:?}{more} must be {}", refusal.rule);
    Refused { column: Some(column), reason: refusal.reason, detail }
}

/// What a chunk has become so far.
struct Made {
    rows: Rows,
    quarantined: Vec<Quarantined>,
    skipped: u64,
    last: Option<Outcome>,
}

impl Made {
    fn new(raw: &RawChunk, width: usize) -> Self {
        let mut rows = Rows::new(width, raw.frames.len());
        rows.arena().reserve(raw.bytes.len() / 2);
        Self { rows, quarantined: Vec::new(), skipped: 0, last: None }
    }

    fn take(&mut self, raw: &RawChunk, frame: &Frame, outcome: Result<Outcome, Refused>, plan: &Plan) {
        match outcome {
            Ok(outcome) => {
                self.skipped += u64::from(outcome == Outcome::Skipped);
                self.last = Some(outcome);
            }
            Err(refused) => {
                let column = refused.column.and_then(|index| plan.columns.get(index));
                self.quarantined.push(Quarantined {
                    record: frame.record,
                    line: frame.line,
                    offset: frame.offset,
                    len: frame.len as u64,
                    column: column.map(|column| column.name.clone()),
                    reason: refused.reason,
                    detail: refused.detail,
                    raw: raw.bytes.get(frame.start..frame.start + frame.len).unwrap_or(&[]).to_vec(),
                });
                self.last = Some(Outcome::Quarantined);
            }
        }
    }

    fn finish(mut self, raw: RawChunk) -> RowChunk {
        self.quarantined.extend(raw.refused);
        self.quarantined.sort_by_key(|entry| entry.record);
        RowChunk {
            source: raw.source,
            span: raw.span,
            rows: self.rows,
            quarantined: self.quarantined,
            skipped: self.skipped,
            hash: raw.hash,
            last: self.last,
            end: raw.end,
        }
    }
}

/// `limits.max_quarantined`, delivery by delivery.
struct Limit {
    quota: Quota,
    /// Records and quarantined ones of the deliveries under way, and whether they failed.
    seen: HashMap<DeliveryId, (u64, u64, bool)>,
}

impl Limit {
    fn new(quota: Quota) -> Self {
        Self { quota, seen: HashMap::new() }
    }

    fn has_failed(&self, id: DeliveryId) -> bool {
        self.seen.get(&id).is_some_and(|(_, _, failed)| *failed)
    }

    fn check(&mut self, chunk: &mut RowChunk) {
        if self.quota == Quota::Off {
            return;
        }
        let before = (chunk.source.records_before, chunk.source.quarantined_before, false);
        let (records, quarantined, failed) = self.seen.entry(chunk.source.id).or_insert(before);
        *records += chunk.records();
        *quarantined += chunk.quarantined.len() as u64;
        if self.quota.exceeded(*quarantined, *records, chunk.end.is_some()) {
            let detail = format!(
                "{quarantined} of {records} records were quarantined, more than limits.max_quarantined ({}); \
                 see `needledrop quarantine list`, then mend the file or raise the limit",
                self.quota
            );
            chunk.end = Some(End::Failed { detail });
            *failed = true;
            chunk.source.halt.cancel();
        } else if chunk.end.is_some() {
            self.seen.remove(&chunk.source.id);
        }
    }
}
