//! Records to rows: fields are found in each record, values parsed by the rules of their types.
//!
//! No I/O and no clock: the same bytes give the same rows, always.

mod fields;
mod limit;

use std::sync::Arc;

use encoding_rs::UTF_8;
use tokio::sync::mpsc::{Receiver, Sender};

use crate::config::Quota;
use crate::domain::parse::is_empty;
use crate::domain::value::Cell;
use crate::domain::{
    Frame, Origin, Outcome, Plan, Quarantined, RawChunk, Reason, RowChunk, Rows, Source, Type,
};
use crate::fault;
use crate::heartbeat::Pulse;
use crate::metrics::{self, Queue, Stage};
use crate::pipeline::read::encoding::not_text;
use crate::pipeline::spare::Spare;
use crate::pipeline::split::{self, Malformed, Record, Splitter};
use fields::Fields;
use limit::Limit;

/// The stage: takes chunks until there are no more.
pub async fn run(
    mut input: Receiver<RawChunk>,
    output: Sender<RowChunk>,
    plan: Arc<Plan>,
    quota: Quota,
    spare: Arc<Spare>,
    pulse: Pulse,
) {
    let transform = Transform::new(plan, spare);
    let mut limit = Limit::new(quota);
    // Rows are made when there is a place for them.
    let mut waits = Queue::Rows.wait();
    while let Ok(place) = pulse.during(output.reserve()).await {
        waits.end();
        let Some(raw) = pulse.during(input.recv()).await else { return };
        fault::stuck(Stage::Transform.name()).await;
        Queue::Chunks.depth(input.len());
        let work = Stage::Transform.begin();
        if limit.has_failed(raw.source.id) {
            metrics::settled(raw.span.to.offset - raw.span.from.offset);
        } else {
            let mut chunk = transform.chunk(raw).await;
            limit.check(&mut chunk);
            place.send(chunk);
            work.end();
        }
        waits = Queue::Rows.wait();
    }
}

/// Turns records into rows by the plan.
pub struct Transform {
    plan: Arc<Plan>,
    /// Columns that are in the key of some table: they must not be empty.
    keys: Vec<(usize, String)>,
    /// Columns that are in some table, or that such a column is made from. Others are only checked.
    used: Vec<bool>,
    spare: Arc<Spare>,
}

/// Why a record is refused.
struct Refused {
    column: Option<usize>,
    reason: Reason,
    detail: String,
}

impl Transform {
    pub fn new(plan: Arc<Plan>, spare: Arc<Spare>) -> Self {
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
        Self { plan, keys, used, spare }
    }

    /// One chunk.
    pub async fn chunk(&self, raw: RawChunk) -> RowChunk {
        let mut made = Made::new(self.spare.take_rows(self.plan.columns.len(), raw.frames.len()));
        made.rows.arena().reserve_exact(raw.bytes.len() / 2);
        let mut splitter = Splitter::default();
        let source = Arc::clone(&raw.source);
        let fields = Fields::new(&self.plan, &self.used, &source);
        for frame in &raw.frames {
            let outcome = match splitter.split(raw.record(frame)).await {
                Ok(record) => self
                    .record(&raw, frame, record, &fields, &mut made.rows)
                    .map_err(|refused| self.located(refused, &raw, frame)),
                Err(malformed) => Err(self.malformed(malformed, &raw, frame)),
            };
            made.take(&raw, frame, outcome, &self.plan);
        }
        made.finish(raw)
    }

    fn record(
        &self,
        raw: &RawChunk,
        frame: &Frame,
        record: Record<'_>,
        fields: &Fields<'_>,
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
        rows.add(stamp, |cells, arena| {
            let begin = cells.len();
            fields.parse(record, cells, arena)?;
            self.keys_are_full(cells.get(begin..).unwrap_or_default())
        })?;
        Ok(Outcome::Loaded)
    }

    /// The column of the malformed field, and where in the file its quote is.
    fn malformed(&self, malformed: Malformed, raw: &RawChunk, frame: &Frame) -> Refused {
        let column = raw.source.mapping.field_of.iter().position(|field| *field == Some(malformed.field));
        let detail = malformed.describe(self.byte(frame.offset + malformed.at as u64));
        Refused { column, reason: Reason::Quote, detail }
    }

    /// Of a field that is no text: which byte is not, and where.
    fn located(&self, refused: Refused, raw: &RawChunk, frame: &Frame) -> Refused {
        if refused.reason != Reason::Encoding {
            return refused;
        }
        let field =
            refused.column.and_then(|column| raw.source.mapping.field_of.get(column).copied().flatten());
        let record = raw.record(frame);
        let places = split::places(record).unwrap_or_default();
        let place = field.and_then(|field| places.get(field).cloned()).unwrap_or(0..record.len());
        let field = record.get(place.clone()).unwrap_or_default();
        let Some((within, byte)) = not_text(field) else { return refused };
        let at = self.byte(frame.offset + (place.start + within) as u64);
        let what = match field.get(within) {
            Some(0) => "a NUL byte".to_owned(),
            _ => format!("{byte:#04x}, which is not {}", self.plan.encoding.name()),
        };
        let detail = format!("{}; at byte {at} is {what}", refused.detail);
        Refused { detail, ..refused }
    }

    /// A place in the decoded bytes.
    fn byte(&self, at: u64) -> String {
        let of = if self.plan.encoding == UTF_8 { "" } else { " of the file as UTF-8" };
        format!("{at}{of}")
    }

    fn is_skipped(&self, source: &Source, record: Record<'_>) -> bool {
        self.plan.skip_when_empty.iter().any(|column| {
            let at = source.mapping.field_of.get(*column).copied().flatten();
            let field = at.and_then(|at| record.get(at)).unwrap_or_default();
            let kind = self.plan.columns.get(*column).map_or(Type::Text, |column| column.kind);
            is_empty(kind, field)
        })
    }

    fn keys_are_full(&self, cells: &[Cell]) -> Result<(), Refused> {
        let empty = self.keys.iter().find(|(index, _)| cells.get(*index).is_none_or(|cell| cell.is_empty()));
        let Some((index, table)) = empty else { return Ok(()) };
        let detail = format!("is empty, and the key of {table} needs it");
        Err(Refused { column: Some(*index), reason: Reason::EmptyKey, detail })
    }
}

/// What a chunk has become so far.
struct Made {
    rows: Rows,
    quarantined: Vec<Quarantined>,
    skipped: u64,
}

impl Made {
    fn new(rows: Rows) -> Self {
        Self { rows, quarantined: Vec::new(), skipped: 0 }
    }

    fn take(&mut self, raw: &RawChunk, frame: &Frame, outcome: Result<Outcome, Refused>, plan: &Plan) {
        match outcome {
            Ok(outcome) => self.skipped += u64::from(outcome == Outcome::Skipped),
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
                    raw: raw.record(frame).to_vec(),
                });
            }
        }
    }

    fn finish(mut self, raw: RawChunk) -> RowChunk {
        self.quarantined.extend(raw.refused);
        self.quarantined.sort_by_key(|entry| entry.record);
        RowChunk {
            source: raw.source,
            stamps: raw.stamps,
            span: raw.span,
            rows: self.rows,
            quarantined: self.quarantined,
            skipped: self.skipped,
            hash: raw.hash,
            bytes: raw.bytes,
            frames: raw.frames,
            is_tail: raw.is_tail,
            end: raw.end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Column, DeliveryId, Empty, Fingerprint, Mapping, Mark, Order, Stamp, StampRange, Stamps, Table,
    };
    use crate::pipeline::read::frame::{Cut, Framer, Tail};
    use csv_async::{AsyncReaderBuilder, ByteRecord, Terminator};
    use proptest::prelude::*;

    /// Three fields: a key, one that must be there, a text.
    fn plan() -> Arc<Plan> {
        let column = |name: &str, kind| Column {
            name: name.into(),
            exact: false,
            kind,
            unit: None,
            origin: Origin::Field(name.into()),
        };
        let fingerprint = Fingerprint::of("test");
        let table = Table {
            name: "t".into(),
            exact: false,
            answers: String::new(),
            partition_key: vec![0],
            clustering_key: vec![(1, Order::Ascending)],
            columns: vec![2],
            statics: Vec::new(),
            empty: Empty::Keep,
            options: Vec::new(),
            fingerprint: fingerprint.clone(),
        };
        let columns = vec![column("n", Type::Int), column("s", Type::Text), column("v", Type::Text)];
        let attempt = fingerprint.clone();
        Arc::new(Plan {
            encoding: UTF_8,
            columns,
            skip_when_empty: vec![1],
            tables: vec![table],
            fingerprint,
            attempt,
            rules: Fingerprint::of("rules"),
        })
    }

    fn raw(cut: Cut) -> RawChunk {
        let source = Source {
            id: DeliveryId(1),
            path: "2018-11-01.csv".into(),
            header: crate::domain::Header(["n", "s", "v"].map(String::from).to_vec()),
            mapping: Mapping { fields: 3, field_of: vec![Some(0), Some(1), Some(2)], ignored: Vec::new() },
            file_date: None,
            arrived: std::time::SystemTime::UNIX_EPOCH,
            records_before: 0,
            quarantined_before: 0,
            skipped_before: 0,
            read: Default::default(),
            halt: tokio_util::sync::CancellationToken::new(),
        };
        let stamps = Stamps::new(vec![StampRange { first: 0, base: Stamp(1000), records: 10_000 }]);
        let (source, stamps) = (Arc::new(source), Arc::new(stamps));
        let Cut { span, bytes, frames, refused, hash } = cut;
        RawChunk { source, stamps, span, bytes, frames, refused, hash, is_tail: false, end: None }
    }

    fn reader(bytes: &[u8]) -> csv_async::AsyncReader<&[u8]> {
        AsyncReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .create_reader(bytes)
    }

    /// All records of these bytes as csv-async reads them.
    async fn parsed(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let (mut reader, mut record, mut all) = (reader(bytes), ByteRecord::new(), Vec::new());
        while reader.read_byte_record(&mut record).await.unwrap() {
            all.push(record.iter().map(<[u8]>::to_vec).collect());
        }
        all
    }

    /// Rows, quarantine and counts, as text.
    #[derive(Debug, Default, PartialEq)]
    struct Account {
        rows: Vec<String>,
        quarantined: Vec<String>,
        skipped: u64,
        fields: Vec<Vec<Vec<u8>>>,
        end: Mark,
        hash: String,
    }

    impl Account {
        async fn take(&mut self, framer: &mut Framer, transform: &Transform) {
            let raw = raw(framer.cut());
            let (mut splitter, mut malformed) = (Splitter::default(), Vec::new());
            for frame in &raw.frames {
                // What is found in a frame is what csv-async finds in it, and it is one record.
                let bytes = raw.record(frame);
                let alone = parsed(&[b"\n", bytes].concat()).await;
                assert_eq!(alone.len(), 1);
                match splitter.split(bytes).await {
                    Ok(record) => {
                        assert_eq!(record.ascii, bytes.is_ascii() && !bytes.contains(&0));
                        let fields: Vec<Vec<u8>> = record.iter().map(<[u8]>::to_vec).collect();
                        assert_eq!(alone, [fields]);
                    }
                    // csv-async takes any quote for something.
                    Err(_) => malformed.push(frame.record),
                }
                self.fields.extend(alone);
            }
            let framed: Vec<u64> = raw.frames.iter().map(|frame| frame.record).collect();
            let chunk = transform.chunk(raw).await;
            let quotes = chunk.quarantined.iter().filter(|entry| entry.reason == Reason::Quote);
            let quotes = quotes.map(|entry| entry.record).filter(|record| framed.contains(record));
            assert_eq!(quotes.collect::<Vec<_>>(), malformed);
            assert_eq!(
                chunk.records(),
                chunk.rows.len() as u64 + chunk.skipped + chunk.quarantined.len() as u64
            );
            self.end = self.end.advance(chunk.span).unwrap();
            self.skipped += chunk.skipped;
            self.hash.clone_from(&chunk.hash);
            self.quarantined.extend(chunk.quarantined.iter().map(|entry| format!("{entry:?}")));
            let row = |row| {
                let values = (0..3).map(|column| format!("{:?}", chunk.rows.value(row, column)));
                format!("{:?} {}", chunk.rows.stamp(row), values.collect::<Vec<_>>().join(" "))
            };
            self.rows.extend((0..chunk.rows.len()).map(row));
        }
    }

    async fn account(bytes: &[u8], cuts: &[usize], limit: usize, window: usize) -> Account {
        let transform = Transform::new(plan(), Arc::default());
        let mut framer = Framer::new(limit, Mark::default(), Mark::default(), blake3::Hasher::new());
        let (mut account, mut from) = (Account::default(), 0);
        for to in cuts.iter().copied().chain([bytes.len()]) {
            framer.bytes().extend_from_slice(&bytes[from..to]);
            from = to;
            framer.scan(window, usize::MAX);
            while framer.records() >= window {
                account.take(&mut framer, &transform).await;
                framer.scan(window, usize::MAX);
            }
        }
        if matches!(framer.tail(), Tail::Nothing | Tail::Record(_)) {
            framer.close_tail();
        }
        account.take(&mut framer, &transform).await;
        let sums = account.rows.len() + account.quarantined.len() + usize::try_from(account.skipped).unwrap();
        assert_eq!(account.end.record, sums as u64, "records = loaded + skipped + quarantined");
        let end = usize::try_from(account.end.offset).unwrap();
        assert_eq!(account.hash, blake3::hash(&bytes[..end]).to_hex().to_string());
        account
    }

    /// Bytes that mean something to CSV, whole fields and lines, and any others.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let special = prop::sample::select(b"\"\"\"\n\n,,\ra1 \xef\xbb\xbf\xff\0".to_vec());
        let pieces: Vec<&[u8]> = vec![
            b"1,a,b\n",
            b"2,\"x\ny\",\"q\"\"q\"\r\n",
            b"3,,\n",
            b"x,a,b\n",
            b"\"",
            b"\"\"",
            b",",
            b"\n",
            b"\r\n",
            b"\xef\xbb\xbf",
            b"4,\xff,c\n",
            b"5,a\n",
            b"6,a,b,c\n",
            b"\n\n\r\n",
            b"7,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,b\n",
            b"8,\"O\"Brien,\"A\"nn\n",
            b"9,5\" pipe,b\n",
        ];
        let piece = prop_oneof![
            6 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
            4 => special.prop_map(|byte| vec![byte]),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    fn now<T>(work: impl Future<Output = T>) -> T {
        futures::executor::block_on(work)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]
        #[test]
        fn cutting_the_bytes_anywhere_gives_the_same_rows_and_quarantine(
            bytes in bytes(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            limit in prop_oneof![1usize..40, Just(1000)],
            window in 1usize..6,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let at_once = now(account(&bytes, &[], limit, usize::MAX));
            prop_assert_eq!(&now(account(&bytes, &cuts, limit, window)), &at_once);
            let each: Vec<usize> = (0..bytes.len()).collect();
            prop_assert_eq!(&now(account(&bytes, &each, limit, 1)), &at_once);
        }

        /// Where no record is too long and no line ends in a carriage return, the frames are what
        /// csv-async would have read from the file itself.
        #[test]
        fn records_are_those_that_csv_async_finds_in_the_file(mut bytes in bytes()) {
            bytes.retain(|byte| *byte != b'\r');
            let mut file = vec![b'\n'];
            file.extend_from_slice(&bytes);
            let framed = now(account(&bytes, &[], 100_000, usize::MAX));
            let mut found = now(parsed(&file));
            if framed.end.offset < bytes.len() as u64 {
                // An open quote at the end is waited for; csv-async takes it for a record.
                found.pop();
            }
            prop_assert_eq!(framed.fields, found);
        }
    }
}
