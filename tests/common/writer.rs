//! A writer that pauses, cuts, rewrites and renames its files while needledrop loads them and is killed. Every row must
//! be a record that the writer wrote, and never a mixture of two records.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::sample::Index;

use super::common::World;

pub const YAML: &str = "source:\n  folder: inbox\n  tail_after: 30s\n  columns: { k: text, v: text, w: text }\n\
                        tables:\n  t: { partition_key: [k], columns: [v, w] }\n\
                        write: { window: 2 }\n";

const FILES: [&str; 3] = ["a.csv", "b.csv", "c.csv"];

/// Longer than the longest wait for an open tail, which is a day.
const LONG: Duration = Duration::from_secs(2 * 86_400);

/// A step of a story.
#[derive(Clone, Debug)]
pub enum Act {
    /// Adds records that the writer is going to write. Each record has one of the keys of the file.
    Records(usize, Vec<(usize, Form)>),
    /// Writes some or all of the pending text. A write may end inside a line end, quotes or a character.
    Write(usize, Option<Index>),
    /// Makes the last write look as if it was long ago.
    Pause(usize),
    Rename(usize, usize),
    /// Cuts off the end of the file, which is written again later.
    Cut(usize, Index),
    /// Rewrites the file with other records, starting at one of its records.
    Rewrite(usize, Index, Vec<(usize, Form)>),
    Run,
    KilledAt(usize),
    /// Two processes load at once. The first is stopped or killed after this many milliseconds.
    Two(u64),
}

/// The form in which a record is written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    Plain,
    /// The fields after the value are in quotes. The first of them contains a quote and a line end.
    Quoted,
}

/// Returns the value that identifies record `number`. The later of two records has the smaller value about half the
/// time.
fn value(number: usize) -> String {
    format!("v{:05}", number * 7919 % 10_007)
}

fn other(number: usize, form: Form) -> String {
    let code = number * 3571 % 10_007;
    match form {
        Form::Plain => format!("w{code:05}é"),
        Form::Quoted => format!("w{code:05},\"\r\né"),
    }
}

fn field(text: &str, form: Form) -> String {
    match form {
        Form::Plain => text.to_owned(),
        Form::Quoted => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}

/// A complete record as the writer intended it: key and values.
type Record = [String; 3];

/// A file that the writer has open.
struct File {
    /// The prefix of all keys in the file, so that no two files have a key in common.
    prefix: String,
    /// The names that the file has had. If it got one of them back, the delivery of that name would resume at its place in
    /// the order, before the records that were loaded under the other names (law 2).
    names: BTreeSet<usize>,
    line_end: &'static str,
    /// The text to write. `written` is the number of bytes written so far.
    text: String,
    written: usize,
    /// The ends of the header and of the records in `text`.
    ends: Vec<usize>,
    records: Vec<Record>,
}

impl File {
    fn push(&mut self, number: usize, key: usize, form: Form) -> Record {
        // The key is last, so that a tail cut inside the key has all its fields.
        let record = [format!("{}-{key}é{key}", self.prefix), value(number), other(number, form)];
        let [key, value, other] = &record;
        let line = [value.clone(), field(other, form), field(key, form)].join(",");
        self.text += &line;
        self.text += self.line_end;
        self.ends.push(self.text.len());
        self.records.push(record.clone());
        record
    }

    /// Keeps the header and some of the records, and forgets the rest of the text.
    fn forget(&mut self, at: Index) {
        let kept = at.index(self.ends.len());
        self.ends.truncate(kept + 1);
        self.records.truncate(kept);
        self.text.truncate(self.ends[kept]);
        self.written = self.written.min(self.text.len());
    }
}

/// The writer, with every record that it ever wrote.
struct Writer<'w> {
    inbox: std::path::PathBuf,
    world: &'w World,
    files: BTreeMap<usize, File>,
    /// The records by their value.
    wrote: BTreeMap<String, Record>,
    begun: usize,
}

impl<'w> Writer<'w> {
    fn new(world: &'w World) -> Self {
        Self { inbox: world.inbox(), world, files: BTreeMap::new(), wrote: BTreeMap::new(), begun: 0 }
    }

    fn file(&mut self, at: usize) -> &mut File {
        self.files.entry(at).or_insert_with(|| {
            self.begun += 1;
            let line_end = ["\r\n", "\n"][self.begun % 2];
            let text = format!("v,w,k{line_end}");
            let ends = vec![text.len()];
            let prefix = format!("{}", self.begun);
            File { prefix, names: [at].into(), line_end, text, written: 0, ends, records: Vec::new() }
        })
    }

    fn records(&mut self, at: usize, records: &[(usize, Form)]) {
        for (key, form) in records {
            let number = self.wrote.len() + 1;
            let record = self.file(at).push(number, *key, *form);
            self.wrote.insert(record[1].clone(), record);
        }
    }

    fn write(&mut self, at: usize, share: impl Fn(usize) -> usize) {
        let inbox = self.inbox.clone();
        let file = self.file(at);
        let end = file.written + share(file.text.len() - file.written + 1);
        let mut open = fs::OpenOptions::new().create(true).append(true).open(inbox.join(FILES[at])).unwrap();
        open.write_all(&file.text.as_bytes()[file.written..end]).unwrap();
        file.written = end;
    }

    fn pause(&self, at: usize) {
        if let Ok(file) = fs::File::open(self.inbox.join(FILES[at])) {
            file.set_modified(SystemTime::now() - LONG).unwrap();
        }
    }

    fn rename(&mut self, from: usize, to: usize) {
        let Some(mut file) = self.files.remove(&from) else { return };
        if !file.names.insert(to) {
            self.files.insert(from, file);
        // The file does not exist before its first write.
        } else if fs::rename(self.inbox.join(FILES[from]), self.inbox.join(FILES[to])).is_ok() {
            self.files.insert(to, file);
        }
    }

    fn resize(&self, at: usize) {
        if let Ok(open) = fs::OpenOptions::new().write(true).open(self.inbox.join(FILES[at])) {
            open.set_len(self.files[&at].written as u64).unwrap();
        }
    }

    fn act(&mut self, act: &Act, two: &dyn Fn(u64)) {
        match act {
            Act::Records(at, records) => self.records(*at, records),
            Act::Write(at, share) => {
                self.write(*at, |most| share.map_or(most - 1, |share| share.index(most)))
            }
            Act::Pause(at) => self.pause(*at),
            Act::Rename(from, to) if from == to => {}
            Act::Rename(from, to) => self.rename(*from, *to),
            Act::Cut(at, to) => {
                let file = self.file(*at);
                file.written = to.index(file.written + 1);
                self.resize(*at);
            }
            Act::Rewrite(at, from, records) => {
                self.file(*at).forget(*from);
                self.resize(*at);
                self.records(*at, records);
            }
            Act::Run => run(self.world),
            Act::KilledAt(step) => {
                let mut command = self.world.command(&["run", "--once"]);
                command.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
            }
            Act::Two(millis) => two(*millis),
        }
    }

    /// Checks that each row comes from one record. Only the key may be cut, because it is the last field of a line.
    fn assert_not_mixed(&self, rows: &[Record]) {
        for row in rows {
            let [key, value, _] = row;
            let record = self.wrote.get(value).unwrap_or_else(|| panic!("nobody wrote {row:?}"));
            let is_cut = !key.is_empty() && record[0].starts_with(key.as_str());
            assert!(is_cut && row[1..] == record[1..], "{row:?} mixes {record:?} with another");
        }
    }

    /// Writes the rest of every file and one more record, so that no file is a copy of earlier contents.
    fn finish(&mut self) {
        let all: BTreeSet<usize> = self.files.keys().copied().collect();
        for at in all {
            self.records(at, &[(4, Form::Plain)]);
            self.write(at, |most| most - 1);
            self.pause(at);
        }
    }

    /// Checks that the table has the last record of each key of each file.
    fn assert_final(&self, rows: &[Record]) {
        let records = self.files.values().flat_map(|file| &file.records);
        let last: BTreeMap<&str, &Record> = records.map(|record| (record[0].as_str(), record)).collect();
        let found: BTreeMap<&str, &Record> = rows.iter().map(|row| (row[0].as_str(), row)).collect();
        for (key, record) in last {
            assert_eq!(found.get(key), Some(&record), "the last record on its key");
        }
    }
}

fn run(world: &World) {
    let output = world.run(&["run", "--once"]);
    assert!(matches!(output.code, 0 | 1), "{output:?}");
}

/// Plays a story. `rows` reads keys and values from the table, and `two` lets two processes load at once.
pub fn play(world: &World, acts: &[Act], rows: impl Fn() -> Vec<Record>, two: impl Fn(u64)) {
    let mut writer = Writer::new(world);
    for act in acts {
        writer.act(act, &two);
        if matches!(act, Act::Run | Act::KilledAt(_) | Act::Two(_)) {
            writer.assert_not_mixed(&rows());
        }
    }
    writer.finish();
    run(world);
    let found = rows();
    writer.assert_not_mixed(&found);
    writer.assert_final(&found);
}

/// Records with few keys, so that two records with the same stamps often fall on the same row.
fn records() -> impl Strategy<Value = Vec<(usize, Form)>> {
    let form = prop_oneof![3 => Just(Form::Plain), 1 => Just(Form::Quoted)];
    prop::collection::vec((0..2usize, form), 1..5)
}

fn act() -> impl Strategy<Value = Act> {
    let file = 0..FILES.len();
    let at = any::<Index>;
    prop_oneof![
        4 => (file.clone(), records()).prop_map(|(file, records)| Act::Records(file, records)),
        6 => (file.clone(), share()).prop_map(|(file, share)| Act::Write(file, share)),
        2 => file.clone().prop_map(Act::Pause),
        1 => (file.clone(), file.clone()).prop_map(|(from, to)| Act::Rename(from, to)),
        1 => (file.clone(), at()).prop_map(|(file, to)| Act::Cut(file, to)),
        2 => (file, at(), records()).prop_map(|(file, from, records)| Act::Rewrite(file, from, records)),
        2 => Just(Act::Run),
        4 => killed(),
        1 => (20..120u64).prop_map(Act::Two),
    ]
}

fn share() -> impl Strategy<Value = Option<Index>> {
    prop::option::of(any::<Index>())
}

fn killed() -> impl Strategy<Value = Act> {
    (1..25usize).prop_map(Act::KilledAt)
}

/// The file has other contents at the next run: rows sent by the killed run may have the stamps of other records.
fn rewritten_after_a_kill() -> impl Strategy<Value = Vec<Act>> {
    (0..FILES.len(), [records(), records()], [share(), share()], any::<Index>(), killed()).prop_map(
        |(file, [before, after], [first, then], from, killed)| {
            let rewrite = Act::Rewrite(file, from, after);
            vec![
                Act::Records(file, before),
                Act::Write(file, first),
                killed,
                rewrite,
                Act::Write(file, then),
                Act::Run,
            ]
        },
    )
}

pub fn acts() -> impl Strategy<Value = Vec<Act>> {
    let some = prop_oneof![4 => act().prop_map(|act| vec![act]), 1 => rewritten_after_a_kill()];
    prop::collection::vec(some, 5..30).prop_map(|acts| acts.concat())
}
