//! The events of daily files, parsed into memory, for benches that start after parsing.

use std::path::Path;

use csv_core::{ReadRecordResult, Reader};
use needledrop::domain::text::widen;

use super::Outcome;

pub struct Event {
    pub artist: String,
    pub first_name: String,
    pub last_name: String,
    pub song: String,
    pub item: i32,
    /// 32 bits wide, as the column is declared.
    pub length: f32,
    /// The length as SQLite stores it.
    pub wide: f64,
    pub session: i32,
    pub user: i32,
}

/// Parses all events of a folder into the fields that go into the tables.
pub fn parsed(folder: &Path) -> Outcome<Vec<Event>> {
    let mut events = Vec::new();
    for path in super::files(folder)? {
        let bytes = std::fs::read(path)?;
        let mut header: Vec<String> = Vec::new();
        records(&bytes, |fields| {
            if header.is_empty() {
                header = fields.iter().map(|field| (*field).to_owned()).collect();
                return Ok(());
            }
            let field =
                |name: &str| header.iter().position(|column| column == name).map_or("", |at| fields[at]);
            if !field("artist").is_empty() {
                let length = field("length").parse()?;
                events.push(Event {
                    artist: field("artist").to_owned(),
                    first_name: field("firstName").to_owned(),
                    last_name: field("lastName").to_owned(),
                    song: field("song").to_owned(),
                    item: field("itemInSession").parse()?,
                    length,
                    wide: widen(length),
                    session: field("sessionId").parse()?,
                    user: field("userId").parse()?,
                });
            }
            Ok(())
        })?;
    }
    Ok(events)
}

fn records(mut bytes: &[u8], mut each: impl FnMut(&[&str]) -> Outcome) -> Outcome {
    let mut reader = Reader::new();
    let (mut text, mut ends) = (vec![0; 1 << 20], vec![0; 64]);
    loop {
        let (result, read, _, count) = reader.read_record(bytes, &mut text, &mut ends);
        bytes = &bytes[read..];
        match result {
            ReadRecordResult::Record => {
                let mut from = 0;
                let mut fields = Vec::with_capacity(count);
                for end in &ends[..count] {
                    fields.push(std::str::from_utf8(&text[from..*end])?);
                    from = *end;
                }
                each(&fields)?;
            }
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::End => return Ok(()),
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                return Err("a record of more than 1 MiB".into());
            }
        }
    }
}
