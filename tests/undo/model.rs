//! A model of deliveries that are loaded and undone: the tables are the records of those that count, in the order of their
//! stamps.

use std::collections::BTreeMap;
use std::fs;

use proptest::sample::Index;
use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::common::{Rows, World};

pub const FILES: [&str; 8] = ["a.csv", "b.csv", "c.csv", "d.csv", "e.csv", "f.csv", "g.csv", "h.csv"];

/// Records that often have the same keys.
pub const LINES: [&str; 6] =
    ["1,a,A\n2,b,\n", "1,a,\n", "2,b,B\n3,c,C\n", "1,x,X\n1,a,Y\n", "3,,Z\n2,c,\n", "2,b,Q\n"];

#[derive(Clone, Debug)]
pub enum Act {
    /// Writes a file and loads it.
    Deliver(usize, usize),
    /// Appends to a file. The next load finds it.
    Append(usize, usize),
    /// Undoes one of the deliveries with rows, with `--force` or without it.
    Undo(Index, bool),
    UndoKilledAt(Index, u32),
    Again(usize),
}

pub struct Model {
    world: World,
    /// The records that each generation of a file has, loaded or not.
    contents: BTreeMap<(String, u32), String>,
    /// Whether values were lost by `--force`. The tables are then not compared.
    lossy: bool,
    /// How many undos were done.
    pub done: usize,
}

impl Model {
    pub fn new(world: World) -> Self {
        Self { world, contents: BTreeMap::new(), lossy: false, done: 0 }
    }

    pub fn play(&mut self, act: &Act) {
        match act {
            Act::Deliver(file, lines) => {
                self.world.drop_file(FILES[*file], format!("k,v,w\n{}", LINES[*lines]));
                self.load(&["run", "--once"]);
            }
            Act::Append(file, lines) if self.world.inbox().join(FILES[*file]).exists() => {
                self.world.append(FILES[*file], LINES[*lines]);
            }
            Act::Append(..) => {}
            Act::Again(file) => self.load(&["load", "--again", FILES[*file]]),
            Act::Undo(which, force) => self.undo(*which, *force),
            Act::UndoKilledAt(which, step) => {
                let Some((file, generation)) = self.chosen(*which) else { return };
                let mut undo = self.world.command(&["undo", &file, "--generation", &generation.to_string()]);
                undo.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
            }
        }
    }

    /// Returns one of the deliveries with rows.
    fn chosen(&self, which: Index) -> Option<(String, u32)> {
        let sql = "SELECT path, generation FROM _needledrop_deliveries \
                   WHERE loaded > 0 AND state NOT IN ('undone', 'duplicate') ORDER BY id";
        let all = self.query(sql, |row| Ok((row.get(0)?, row.get(1)?)));
        (!all.is_empty()).then(|| which.get(&all).clone())
    }

    fn load(&mut self, command: &[&str]) {
        let output = self.world.run(command);
        assert!(matches!(output.code, 0..=2), "{output:?}");
        let sql = "SELECT path, max(generation), state, bytes FROM _needledrop_deliveries GROUP BY path";
        let newest: Vec<(String, u32, String, u64)> =
            self.query(sql, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        for (file, generation, state, bytes) in newest {
            let text = fs::read_to_string(self.world.inbox().join(&file)).unwrap_or_default();
            if state == "loaded" && text.len() as u64 == bytes {
                self.contents.insert((file, generation), text);
            }
        }
    }

    fn undo(&mut self, which: Index, force: bool) {
        let Some((file, generation)) = self.chosen(which) else { return };
        let before = self.world.tables();
        let number = generation.to_string();
        let mut arguments = vec!["undo", &file, "--json", "--generation", &number];
        arguments.extend(force.then_some("--force"));
        let output = self.world.run(&arguments);
        match output.code {
            0 => self.lossy |= !output.json()["lost"].as_array().unwrap().is_empty(),
            1 => assert_eq!(self.world.tables(), before, "{output:?}"),
            _ => panic!("{output:?}"),
        }
        self.done += usize::from(output.code == 0);
    }

    fn query<T>(&self, sql: &str, row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        if !self.world.store().exists() {
            return Vec::new();
        }
        let store: Connection = self.world.open_store();
        let mut statement = store.prepare(sql).unwrap();
        let found = statement.query_map([], row).unwrap();
        found.collect::<Result<_, _>>().unwrap()
    }

    pub fn check(&self) {
        if self.lossy || !self.world.store().exists() {
            return;
        }
        let tables = self.world.tables();
        assert_eq!(tables["t"], self.expected(&[0], &[1, 2], false), "t");
        assert_eq!(tables["u"], self.expected(&[1, 0], &[2], true), "u");
        let counted = self.query(
            "SELECT table_name, sum(rows - collisions) FROM _needledrop_counts JOIN _needledrop_deliveries ON id = delivery \
             WHERE state <> 'undone' GROUP BY table_name",
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, usize>(1)?)),
        );
        for (table, rows) in counted {
            assert_eq!(rows, tables[&table].len(), "rows without collisions in {table}");
        }
    }

    /// Asserts that a verification finds nothing wrong, unless it could not read a file.
    pub fn verify(&self) {
        if !self.world.store().exists() {
            return;
        }
        let output = self.world.run(&["verify", "--json"]);
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

    fn records(&self) -> Vec<String> {
        let stamps = self.query(
            "SELECT path, generation, first, base, s.records, d.records FROM _needledrop_stamps AS s \
             JOIN _needledrop_deliveries AS d ON id = delivery WHERE state <> 'undone' ORDER BY base",
            |row| {
                let range: (i64, i64, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
                Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?, range))
            },
        );
        let mut records = BTreeMap::new();
        for (file, generation, (first, base, count, read)) in stamps {
            let text = self.contents.get(&(file, generation)).map_or("", String::as_str);
            let lines = (0_i64..).zip(text.lines().skip(1));
            let of_range = lines.filter(|(n, _)| (first..(first + count).min(read)).contains(n));
            records.extend(of_range.map(|(n, line)| (base + 2 * (n - first), line.to_owned())));
        }
        records.into_values().collect()
    }
}
