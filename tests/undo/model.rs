//! A model of deliveries that are loaded and undone: the tables are the records of those that count, in the order of their
//! stamps.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value as Json, json};

use crate::common::{Rows, World};

/// A world with a store that the model reads directly.
pub trait Subject: Deref<Target = World> {
    /// Returns all deliveries, in the order in which they were taken up.
    fn deliveries(&self) -> Vec<Line>;

    /// Returns the contents of the tables `t` and `u`, in the order of their keys.
    fn contents(&self) -> [Rows; 2];

    /// Returns, for each table, the number of its rows and that of the receipts (rows without collisions of the deliveries that
    /// count). Empty if the store does not count collisions between deliveries.
    fn counted(&self) -> Vec<(usize, usize)>;
}

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

/// Records that often have the same keys.
pub const LINES: [&str; 6] =
    ["1,a,A\n2,b,\n", "1,a,\n", "2,b,B\n3,c,C\n", "1,x,X\n1,a,Y\n", "3,,Z\n2,c,\n", "2,b,Q\n"];

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
}

impl<S: Subject> Model<S> {
    pub fn new(subject: S, clears: bool) -> Self {
        Self { subject, contents: BTreeMap::new(), killed: None, lossy: false, clears }
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
                let mut run = self.subject.command(&["run", "--once"]);
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
                let mut undo =
                    self.subject.command(&["undo", &file, "--generation", &generation.to_string()]);
                undo.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
                self.killed = Some((file, generation));
            }
            Act::Complete => self.complete(),
        }
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
        let output = self.subject.run(command);
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
        let output = self.subject.run(&arguments);
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
        let [t, u] = self.subject.contents();
        assert_eq!(t, self.expected(&[0], &[1, 2], false), "t");
        assert_eq!(u, self.expected(&[1, 0], &[2], self.clears), "u");
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
        let output = self.subject.run(&["verify", "--json"]);
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

    /// Returns the loaded records of the deliveries that count, in the order of their stamps.
    fn records(&self) -> Vec<String> {
        let mut records = BTreeMap::new();
        for line in self.subject.deliveries().into_iter().filter(|line| line.state != "undone") {
            let text = self.contents.get(&(line.file, line.generation)).map_or("", String::as_str);
            let mut of_delivery = BTreeMap::new();
            for (n, record) in (0_i64..).zip(text.lines().skip(1)).filter(|(n, _)| *n < line.records) {
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
    ]
}
