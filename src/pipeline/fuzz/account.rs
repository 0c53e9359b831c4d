//! Collects what became of the records of a file, and checks the laws that must hold.

use crate::domain::{End, Position, RawChunk};
use crate::pipeline::row_builder::RowBuilder;

/// Number, line, offset and bytes of a record.
pub type Record = (u64, u64, u64, Vec<u8>);

/// What became of the records of a file.
#[derive(Debug, Default, PartialEq)]
pub struct Account {
    /// All records, including those that could not be framed.
    pub records: Vec<Record>,
    pub rows: Vec<String>,
    pub quarantined: Vec<String>,
    pub skipped: u64,
    /// The ends of the chunks, each with the hash of all bytes before it.
    pub marks: Vec<(Position, String)>,
    pub end: Option<End>,
}

impl Account {
    pub fn reach(&self) -> Position {
        self.marks.last().map(|(mark, _)| *mark).unwrap_or_default()
    }

    pub async fn take(&mut self, raw: RawChunk, transform: &RowBuilder) {
        let frames = raw.frames.iter();
        let mut records: Vec<_> = frames
            .map(|frame| (frame.record, frame.line, frame.offset, raw.record(frame).to_vec()))
            .collect();
        let refused = raw.refused.iter();
        records.extend(refused.map(|entry| (entry.record, entry.line, entry.offset, entry.raw.clone())));
        records.sort();
        self.records.extend(records);
        let chunk = transform.chunk(raw).await;
        let sums = chunk.rows.len() as u64 + chunk.skipped + chunk.quarantined.len() as u64;
        assert_eq!(chunk.records(), sums, "records = rows + skipped + quarantined");
        self.skipped += chunk.skipped;
        self.quarantined.extend(chunk.quarantined.iter().map(|entry| format!("{entry:?}")));
        self.rows.extend((0..chunk.rows.len()).map(|row| {
            let values: Vec<_> =
                (0..3).map(|column| format!("{:?}", chunk.rows.value(row, column))).collect();
            format!("{:?} {}", chunk.rows.stamp(row), values.join(" "))
        }));
        self.marks.push((chunk.span.to, chunk.hash.clone()));
        self.end = chunk.end;
    }

    pub fn obeys_the_laws(&self, first: Position) {
        for (n, record) in (first.record..).zip(&self.records) {
            assert_eq!(record.0, n, "records are counted one by one");
        }
        for pair in self.records.windows(2) {
            assert!(pair[0].1 < pair[1].1 && pair[0].2 < pair[1].2, "lines and offsets grow: {pair:?}");
        }
        assert_eq!(self.reach().record, first.record + self.records.len() as u64);
        let sums = self.rows.len() + self.quarantined.len() + usize::try_from(self.skipped).unwrap();
        assert_eq!(self.records.len(), sums, "records = loaded + skipped + quarantined");
    }

    /// Returns the records from this position on, and the end of the last chunk.
    pub fn behind(&self, mark: Position) -> (&[Record], Position) {
        let begin = self.records.partition_point(|record| record.0 < mark.record);
        (&self.records[begin..], self.reach())
    }
}
