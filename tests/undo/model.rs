//! A model of deliveries that are loaded and undone: the tables are the records of those that count, in the order of their
//! stamps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Deref;
use std::process::Command;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value as Json, json};

use crate::common::{Output, Rows, World};

/// A world with a store that the model reads directly.
pub trait Subject: Deref<Target = World> {
    /// Returns all deliveries, in the order in which they were taken up.
    fn deliveries(&self) -> Vec<Line>;

    /// Returns the contents of the tables `t`, `u` and `n`, in the order of their keys.
    fn contents(&self) -> [Rows; 3];

    /// Returns, for each table, the number of its rows and that of the receipts (rows without collisions of the deliveries that
    /// count). Empty if the store does not count collisions between deliveries.
    fn counted(&self) -> Vec<(usize, usize)>;

    /// Executes a statement of another program in the tables `t`, `u` and `n`.
    fn spoil(&self, statement: &str);
}

/// A table like `t`, in which the record with the greatest `v` gives the row of its key.
pub const NEWEST: &str = "  n: { partition_key: [k], columns: [v, w], newest_by: v }\n";

/// A delivery in the ledger.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pub file: String,
    pub generation: u32,
    pub state: String,
    pub bytes: u64,
    pub records: i64,
    pub loaded: i64,
    /// Ranges of stamps: the first record, its stamp, and the number of records.
    pub stamps: Vec<(i64, i64, i64)>,
}

pub const FILES: [&str; 8] = ["a.csv", "b.csv", "c.csv", "d.csv", "e.csv", "f.csv", "g.csv", "h.csv"];

/// Records that often have the same keys. Some are too long at first.
pub const LINES: [&str; 8] = [
    "1,a,A\n2,b,\n",
    "1,a,\n",
    "2,b,B\n3,c,C\n",
    "1,x,X\n1,a,Y\n",
    "3,,Z\n2,c,\n",
    "2,b,Q\n",
    "2,d,a text that is too long at first\n1,b,E\n",
    "1,a,another text that is too long at first\n3,b,\n",
];

/// The longest record in bytes, at first and later.
const LONGEST: [&str; 2] = ["25", "1000"];

/// What another program does to the tables.
const SPOILS: [&str; 3] =
    ["UPDATE t SET w = 'spoiled' WHERE k = 2", "DELETE FROM n WHERE k = 1", "DELETE FROM t WHERE k = 3"];

#[derive(Clone, Debug)]
pub enum Act {
    /// Writes a file and loads it.
    Deliver(usize, usize),
    /// Writes a file, loads it until the process is killed, and completes the load.
    DeliverKilledAt(usize, usize, u32),
    /// Appends to a file. The next load finds it.
    Append(usize, usize),
    /// Undoes one of the deliveries with rows, with `--force` or without it.
    Undo(Index, bool),
    UndoKilledAt(Index, u32),
    /// Completes an undo that was killed.
    Complete,
    Again(usize),
    /// Accepts long records from now on, or no longer.
    Accept(bool),
    /// Replays the records in quarantine.
    Replay,
    /// Lets another program change rows, and repairs them.
    Repair(usize),
    /// Drops a table and fills it from the files.
    Backfill,
}

pub struct Model<S> {
    subject: S,
    /// The records that each generation of a file has, loaded or not.
    contents: BTreeMap<(String, u32), String>,
    /// An undo that was killed. It is completed later.
    killed: Option<(String, u32)>,
    /// Whether values were lost by `--force`, or a killed undo could not be completed. The tables are then not compared.
    lossy: bool,
    /// Whether an empty field clears the value of the table `u`.
    clears: bool,
    /// Whether long records are accepted.
    accepts_long: bool,
}

impl<S: Subject> Model<S> {
    pub fn new(subject: S, clears: bool) -> Self {
        Self { subject, contents: BTreeMap::new(), killed: None, lossy: false, clears, accepts_long: false }
    }

    /// Plays a story, and checks the tables after each act.
    pub fn tell(mut self, acts: &[Act]) {
        for act in acts {
            self.play(act);
            self.check();
        }
        self.verify();
    }

    fn play(&mut self, act: &Act) {
        match act {
            Act::Deliver(file, lines) => {
                self.subject.drop_file(FILES[*file], format!("k,v,w\n{}", LINES[*lines]));
                self.load(&["run", "--once"]);
            }
            Act::DeliverKilledAt(file, lines, step) => {
                self.subject.drop_file(FILES[*file], format!("k,v,w\n{}", LINES[*lines]));
                let mut run = self.command(&["run", "--once"]);
                run.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
                self.load(&["run", "--once"]);
            }
            Act::Append(file, lines) if self.subject.inbox().join(FILES[*file]).exists() => {
                self.subject.append(FILES[*file], LINES[*lines]);
            }
            Act::Append(..) => {}
            Act::Again(file) => self.load(&["load", "--again", FILES[*file]]),
            Act::Undo(which, force) => {
                if let Some(chosen) = self.chosen(*which) {
                    self.undo(&chosen, *force);
                }
            }
            Act::UndoKilledAt(which, step) => {
                self.complete();
                let Some((file, generation)) = self.chosen(*which) else { return };
                let mut undo = self.command(&["undo", &file, "--generation", &generation.to_string()]);
                undo.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
                self.killed = Some((file, generation));
            }
            Act::Complete => self.complete(),
            Act::Accept(long) => self.accepts_long = *long,
            Act::Replay if self.subject.deliveries().is_empty() => {}
            Act::Replay => {
                let output = self.run(&["quarantine", "replay"]);
                assert!(matches!(output.code, 0..=2), "{output:?}");
            }
            Act::Repair(which) => self.repair(SPOILS[*which]),
            Act::Backfill => self.backfill(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.subject.command(arguments);
        command.env("NEEDLEDROP_LIMITS__MAX_RECORD_BYTES", LONGEST[usize::from(self.accepts_long)]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Output::of(&mut self.command(arguments))
    }

    /// Spoils a table and repairs it, unless a killed undo waits to be completed.
    fn repair(&mut self, spoil: &str) {
        if self.killed.is_some() || self.subject.deliveries().is_empty() {
            return;
        }
        self.subject.spoil(spoil);
        let output = self.run(&["verify", "--repair", "--json"]);
        let found = output.json();
        self.lossy |= found["not_compared"] != json!([]);
    }

    /// Drops the table `n` and fills it again, if the kept files have everything that was loaded.
    fn backfill(&mut self) {
        let all = self.subject.deliveries();
        let is_kept = |line: &Line| line.generation == self.newest(&line.file) || line.loaded == 0;
        if self.killed.is_some() || all.is_empty() || !all.iter().all(is_kept) {
            return;
        }
        self.subject.spoil("DROP TABLE n");
        self.load(&["run", "--once"]);
        self.lossy |= self.run(&["load", "--table", "n"]).code != 0;
    }

    /// Completes an undo that was killed after it had changed the ledger.
    fn complete(&mut self) {
        let Some(killed) = self.killed.take() else { return };
        let is_undone =
            |line: &Line| (&line.file, line.generation) == (&killed.0, killed.1) && line.state == "undone";
        if self.subject.deliveries().iter().any(is_undone) {
            self.lossy |= !self.undo(&killed, false);
        }
    }

    /// Returns one of the deliveries with rows.
    fn chosen(&self, which: Index) -> Option<(String, u32)> {
        let mut all = self.subject.deliveries();
        all.retain(|line| line.loaded > 0 && !matches!(line.state.as_str(), "undone" | "duplicate"));
        (!all.is_empty()).then(|| which.get(&all)).map(|line| (line.file.clone(), line.generation))
    }

    fn load(&mut self, command: &[&str]) {
        let output = self.run(command);
        assert!(matches!(output.code, 0..=2), "{output:?}");
        for Line { file, generation, state, bytes, .. } in self.subject.deliveries() {
            let text = fs::read_to_string(self.subject.inbox().join(&file)).unwrap_or_default();
            if state == "loaded" && text.len() as u64 == bytes && generation == self.newest(&file) {
                self.contents.insert((file, generation), text);
            }
        }
    }

    fn newest(&self, file: &str) -> u32 {
        let all = self.subject.deliveries().into_iter().filter(|line| line.file == *file);
        all.map(|line| line.generation).max().unwrap_or(0)
    }

    /// Undoes a delivery. Returns false if it was refused.
    fn undo(&mut self, (file, generation): &(String, u32), force: bool) -> bool {
        let before = self.subject.contents();
        let number = generation.to_string();
        let mut arguments = vec!["undo", file, "--json", "--generation", &number];
        arguments.extend(force.then_some("--force"));
        let output = self.run(&arguments);
        match output.code {
            0 => self.lossy |= !output.json()["lost"].as_array().unwrap().is_empty(),
            1 => assert_eq!(self.subject.contents(), before, "{output:?}"),
            _ => panic!("{output:?}"),
        }
        output.code == 0
    }

    fn check(&self) {
        if self.lossy || self.killed.is_some() {
            return;
        }
        let [t, u, n] = self.subject.contents();
        assert_eq!(t, self.expected(&[0], &[1, 2], false), "t");
        assert_eq!(u, self.expected(&[1, 0], &[2], self.clears), "u");
        assert_eq!(n, self.newest_rows(), "n");
        for (rows, counted) in self.subject.counted() {
            assert_eq!(rows, counted, "rows without collisions");
        }
    }

    /// Asserts that a verification finds nothing wrong, unless it could not read a file.
    fn verify(&mut self) {
        self.complete();
        self.check();
        if self.subject.deliveries().is_empty() {
            return;
        }
        let output = self.run(&["verify", "--json"]);
        let found = output.json();
        if found["not_compared"] == json!([]) && !self.lossy {
            assert_eq!(output.code, 0, "{found}");
        }
    }

    /// Applies the records of all deliveries that count, in the order of their stamps.
    fn expected(&self, key: &[usize], values: &[usize], clears: bool) -> Rows {
        let mut rows: BTreeMap<Vec<String>, Vec<Json>> = BTreeMap::new();
        for line in self.records() {
            let fields: Vec<&str> = line.split(',').collect();
            if fields[1].is_empty() {
                continue;
            }
            let cell = |at: &usize| match fields[*at] {
                "" => Json::Null,
                text if *at == 0 => json!(text.parse::<i64>().unwrap()),
                text => json!(text),
            };
            let place = key.iter().map(|at| fields[*at].to_owned()).collect();
            let row = rows
                .entry(place)
                .or_insert_with(|| key.iter().map(cell).chain(values.iter().map(|_| Json::Null)).collect());
            for (at, value) in values.iter().map(cell).enumerate() {
                if clears || !value.is_null() {
                    row[key.len() + at] = value;
                }
            }
        }
        rows.into_values().collect()
    }

    /// Returns the rows of the table [`NEWEST`].
    fn newest_rows(&self) -> Rows {
        let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in self.records() {
            let fields: Vec<String> = line.split(',').map(str::to_owned).collect();
            let is_older = rows.get(&fields[0]).is_some_and(|row| fields[1] < row[1]);
            if !fields[1].is_empty() && !is_older {
                rows.insert(fields[0].clone(), fields);
            }
        }
        let text = |text: &String| if text.is_empty() { Json::Null } else { json!(text) };
        let row = |fields: Vec<String>| {
            vec![json!(fields[0].parse::<i64>().unwrap()), text(&fields[1]), text(&fields[2])]
        };
        rows.into_values().map(row).collect()
    }

    /// Returns the loaded records of the deliveries that count, in the order of their stamps.
    fn records(&self) -> Vec<String> {
        let (mut records, left_out) = (BTreeMap::new(), self.left_out());
        for line in self.subject.deliveries().into_iter().filter(|line| line.state != "undone") {
            let name = (line.file, line.generation);
            let text = self.contents.get(&name).map_or("", String::as_str);
            let mut of_delivery = BTreeMap::new();
            let is_loaded = |n: i64| n < line.records && !left_out.contains(&(name.clone(), n));
            for (n, record) in (0_i64..).zip(text.lines().skip(1)).filter(|(n, _)| is_loaded(*n)) {
                // The newest range that begins at or before the record has its stamp.
                let range = line.stamps.iter().rev().find(|(first, ..)| *first <= n);
                let Some((first, base, _)) = range else { continue };
                of_delivery.insert(base + 2 * (n - first), record.to_owned());
            }
            records.append(&mut of_delivery);
        }
        records.into_values().collect()
    }
}

/// The file and the generation of a delivery, and the number of a record.
type Place = ((String, u32), i64);

impl<S: Subject> Model<S> {
    /// Returns the records that are in quarantine or were discarded.
    fn left_out(&self) -> BTreeSet<Place> {
        let listed = self.run(&["quarantine", "list", "--all", "--json"]);
        let entries = if listed.code == 0 { listed.json() } else { json!([]) };
        let entries = entries.as_array().unwrap().iter().filter(|entry| entry["state"] != "replayed");
        let place = |entry: &Json| {
            let generation = u32::try_from(entry["generation"].as_u64().unwrap()).unwrap();
            ((entry["file"].as_str().unwrap().to_owned(), generation), entry["record"].as_i64().unwrap())
        };
        entries.map(place).collect()
    }
}

pub fn act() -> impl Strategy<Value = Act> {
    let (file, lines, which) = (0..FILES.len(), 0..LINES.len(), any::<Index>);
    prop_oneof![
        8 => (file.clone(), lines.clone()).prop_map(|(file, lines)| Act::Deliver(file, lines)),
        2 => (file.clone(), lines.clone(), 1..30_u32).prop_map(|(file, lines, step)| Act::DeliverKilledAt(file, lines, step)),
        4 => (file.clone(), lines).prop_map(|(file, lines)| Act::Append(file, lines)),
        4 => which().prop_map(|which| Act::Undo(which, false)),
        1 => which().prop_map(|which| Act::Undo(which, true)),
        2 => (which(), 1..6_u32).prop_map(|(which, step)| Act::UndoKilledAt(which, step)),
        1 => Just(Act::Complete),
        1 => file.prop_map(Act::Again),
        2 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Act::Accept),
        3 => Just(Act::Replay),
        2 => (0..SPOILS.len()).prop_map(Act::Repair),
        1 => Just(Act::Backfill),
    ]
}
