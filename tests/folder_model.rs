//! Compares the folder with a model of it. Whatever is written, appended, cut, renamed, copied, deleted and killed,
//! in any order, deliveries, quarantine and tables are what a few plain rules predict.
//!
//! `NEEDLEDROP_MODEL_SECONDS` sets the duration, and `NEEDLEDROP_SEED` repeats a run that failed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper must fail its test")]

mod common;
#[path = "folder_model/model.rs"]
mod model;
#[path = "folder_model/seen.rs"]
mod seen;
#[path = "common/stories.rs"]
mod stories;
#[path = "common/writer.rs"]
mod writer;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use common::{World, gzip};
use model::Model;
use proptest::prelude::*;
use proptest::sample::Index;
use seen::Seen;

const YAML: &str = "source:\n  folder: inbox\n  tail_after: 1h\n  columns: { k: text, v: text, w: text }\n\
                    tables:\n  t: { partition_key: [k], columns: [v, w] }\n\
                    store: { sqlite: { path: store.db } }\n\
                    write: { window: 2 }\n";

/// The files in listing order. The compressed file is never cut.
const FILES: [&str; 4] = ["a.csv", "b.csv", "c.csv.gz", "d.csv"];

/// A change of the folder between two runs.
#[derive(Clone, Debug)]
enum Change {
    Write(usize, String),
    Append(usize, String),
    Cut(usize, Index),
    Rename(usize, usize),
    Copy(usize, usize),
    Delete(usize),
    Touch(usize),
}

/// Some changes and then a run, which may be killed at one of its durable steps.
#[derive(Clone, Debug)]
struct Round {
    changes: Vec<Change>,
    killed_at: Option<usize>,
}

struct Folder {
    world: World,
    model: Model,
}

impl Folder {
    fn new() -> Self {
        let world = World::of(YAML);
        world.once(0);
        Self { world, model: Model::default() }
    }

    fn round(&mut self, round: &Round) {
        for change in &round.changes {
            self.change(change);
        }
        match round.killed_at.filter(|_| cfg!(debug_assertions)) {
            None => self.run(),
            Some(step) => self.killed(step),
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Write(file, text) => self.put(FILES[*file], text),
            Change::Append(file, text) => {
                let name = FILES[*file];
                let before = self.model.text(name);
                if let Some(before) = before.filter(|_| !text.is_empty()) {
                    let bytes = packed(name, text);
                    self.world.append(name, bytes);
                    self.model.put(name, before + text, self.size(name));
                }
            }
            Change::Cut(file, at) => {
                let name = FILES[*file];
                if let Some(text) = self.model.text(name).filter(|_| !is_packed(name)) {
                    let text = text[..at.index(text.len() + 1)].to_owned();
                    let file =
                        fs::OpenOptions::new().write(true).open(self.world.inbox().join(name)).unwrap();
                    file.set_len(text.len() as u64).unwrap();
                    let size = text.len() as u64;
                    self.model.put(name, text, size);
                }
            }
            Change::Rename(from, to) if from != to && is_packed(FILES[*from]) == is_packed(FILES[*to]) => {
                if let Some(text) = self.model.text(FILES[*from]) {
                    let inbox = self.world.inbox();
                    fs::rename(inbox.join(FILES[*from]), inbox.join(FILES[*to])).unwrap();
                    self.model.delete(FILES[*from]);
                    self.model.put(FILES[*to], text, self.size(FILES[*to]));
                }
            }
            Change::Copy(from, to) if from != to => {
                if let Some(text) = self.model.text(FILES[*from]) {
                    self.put(FILES[*to], &text);
                }
            }
            Change::Rename(..) | Change::Copy(..) => {}
            Change::Delete(file) => {
                if self.model.text(FILES[*file]).is_some() {
                    fs::remove_file(self.world.inbox().join(FILES[*file])).unwrap();
                    self.model.delete(FILES[*file]);
                }
            }
            Change::Touch(file) => {
                let name = FILES[*file];
                if let Some(text) = self.model.text(name) {
                    let file = fs::File::open(self.world.inbox().join(name)).unwrap();
                    file.set_modified(std::time::SystemTime::now()).unwrap();
                    self.model.put(name, text, self.size(name));
                }
            }
        }
    }

    fn put(&mut self, name: &str, text: &str) {
        self.world.drop_file(name, packed(name, text));
        self.model.put(name, text.to_owned(), self.size(name));
    }

    fn size(&self, name: &str) -> u64 {
        fs::metadata(self.world.inbox().join(name)).unwrap().len()
    }

    fn run(&mut self) {
        let output = self.world.run(&["run", "--once"]);
        assert!(matches!(output.code, 0 | 1), "{output:?}");
        self.model.run();
        let seen = Seen::of(&self.world);
        assert_eq!(seen.deliveries(), self.model.seen(), "deliveries\n{}", output.stderr);
        seen.obeys_the_laws(&self.model);
    }

    /// Runs with an abort at this step. Every delivery must be as before the run, as after a complete run, or partly
    /// loaded, and the tables must have what is durable.
    fn killed(&mut self, step: usize) {
        let heads = Seen::of(&self.world).heads();
        let mut command = self.world.command(&["run", "--once"]);
        let output = command.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
        if output.status.code().is_some() {
            self.model.run();
        } else {
            let seen = Seen::of(&self.world);
            let (now, noted, discarded) = (seen.heads(), seen.noted(), seen.discarded());
            let anew = |at: usize| heads.get(at) != now.get(at);
            let is = |flags: &[bool], at: usize| flags.get(at) == Some(&true);
            let found = seen.deliveries();
            self.model.was_killed(&found, anew, |at| is(&noted, at), |at| is(&discarded, at));
        }
        let seen = Seen::of(&self.world);
        assert_eq!(seen.deliveries(), self.model.seen(), "{}", String::from_utf8_lossy(&output.stderr));
        seen.obeys_the_laws(&self.model);
    }
}

fn is_packed(name: &str) -> bool {
    name.ends_with(".gz")
}

fn packed(name: &str, text: &str) -> Vec<u8> {
    if is_packed(name) { gzip(text.as_bytes()) } else { text.as_bytes().to_vec() }
}

fn lines() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "c", "d", ""]);
    let value = prop_oneof![2 => Just(String::new()), 5 => (0..30u8).prop_map(|n| n.to_string())];
    let record = (key, value.clone(), value).prop_map(|(k, v, w)| format!("{k},{v},{w}\n"));
    let line = prop_oneof![20 => record, 1 => Just("a,1\n".to_owned()), 1 => Just("b,1,2,3\n".to_owned()), 1 => Just("\n".to_owned())];
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
}

/// The text that may follow the last line end of a file, and with which a file may continue.
fn tail() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(""), 1 => Just("a"), 1 => Just("b,7"), 1 => Just("c,8,"), 1 => Just("d,9,9"), 1 => Just("a,1,2,3")]
        .prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    let header =
        prop::sample::select(vec!["k,v,w\n", "k,v,w\n", "k,v,w\n", "w,k,x,v\n", "k,v\n", "k,v,w", "k,v", ""]);
    // Sometimes more than the head by which files are compared.
    let long = prop_oneof![5 => Just(0usize), 1 => Just(70_000)];
    (header, long, lines(), tail()).prop_map(|(header, long, lines, tail)| {
        let first = if long > 0 { format!("a,{},\n", "x".repeat(long)) } else { String::new() };
        match header.ends_with('\n') {
            true => header.to_owned() + &first + &lines + &tail,
            false => header.to_owned(),
        }
    })
}

fn change() -> impl Strategy<Value = Change> {
    let file = 0..FILES.len();
    prop_oneof![
        4 => (file.clone(), text()).prop_map(|(file, text)| Change::Write(file, text)),
        4 => (file.clone(), lines(), tail()).prop_map(|(file, lines, tail)| Change::Append(file, lines + &tail)),
        2 => (file.clone(), tail(), lines()).prop_map(|(file, tail, lines)| Change::Append(file, tail + "\n" + &lines)),
        2 => (file.clone(), any::<Index>()).prop_map(|(file, at)| Change::Cut(file, at)),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Change::Rename(from, to)),
        3 => (file.clone(), file.clone()).prop_map(|(from, to)| Change::Copy(from, to)),
        1 => file.clone().prop_map(Change::Delete),
        1 => file.prop_map(Change::Touch),
    ]
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let killed_at = prop::option::weighted(0.25, 1usize..12);
    let round = (prop::collection::vec(change(), 1..4), killed_at);
    prop::collection::vec(round.prop_map(|(changes, killed_at)| Round { changes, killed_at }), 1..10)
}

fn play(rounds: &[Round]) {
    let mut folder = Folder::new();
    rounds.iter().for_each(|round| folder.round(round));
    // The first run completes whatever was killed. The second run has nothing left to do.
    folder.run();
    folder.run();
}

#[test]
fn any_history_of_the_folder_ends_as_its_model() {
    stories::play("folder model", Duration::from_secs(10), 300, rounds(), |rounds| play(rounds));
}

#[test]
fn no_row_mixes_two_records_of_a_writer() {
    stories::play("writer", Duration::from_secs(10), 300, writer::acts(), |acts| {
        let world = World::of(writer::YAML);
        writer::play(&world, acts, || rows(&world), |millis| two(&world, millis));
    });
}

fn rows(world: &World) -> Vec<[String; 3]> {
    if !world.store().exists() {
        return Vec::new();
    }
    let store = world.open_store();
    // The first run may have been killed before it created the table.
    let Ok(mut statement) = store.prepare("SELECT k, v, w FROM t") else { return Vec::new() };
    let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// The second process finds the store locked until the first process is killed.
fn two(world: &World, millis: u64) {
    let [mut first, mut second] = [(); 2].map(|()| {
        let child = world.command(&["run", "--once"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn();
        std::thread::sleep(Duration::from_millis(millis / 2));
        child.unwrap()
    });
    first.kill().unwrap();
    first.wait().unwrap();
    second.wait().unwrap();
}
