//! The deliveries that earlier versions left in `fixtures`, and what they become. Both stores must end the same.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::common::{World, files};

/// Every delivery: file, generation, state, records = loaded + skipped + quarantined.
const LEFT: [&str; 14] = [
    "2024-01-01.csv 1 loaded 4 = 3 + 1 + 0",
    "2024-01-02.csv 1 loaded 2 = 2 + 0 + 0",
    "2024-01-03.csv 1 loaded 2 = 1 + 0 + 1",
    "2024-01-04.csv 1 loaded 2 = 2 + 0 + 0",
    "2024-01-05.csv 1 loaded 1 = 1 + 0 + 0",
    "2024-01-06.csv 1 incomplete 1 = 1 + 0 + 0",
    "2024-01-07.csv 1 replaced 1 = 1 + 0 + 0",
    "2024-01-07.csv 2 loaded 1 = 1 + 0 + 0",
    "2024-01-08.csv 1 duplicate 0 = 0 + 0 + 0",
    "2024-01-09.csv 1 failed 0 = 0 + 0 + 0",
    "2024-01-10.csv 1 loaded 5 = 2 + 0 + 3",
    "2024-01-11.csv 1 loaded 45 = 45 + 0 + 0",
    "2024-01-14.csv 1 replaced 2 = 2 + 0 + 0",
    "2024-01-15.csv 1 loaded 8 = 8 + 0 + 0",
];

/// A ledger of format 6 also has a file that was loaded with lenient settings, which are no longer declared.
pub const LENIENT: &str = "2024-01-17.csv";
const LENIENT_DELIVERY: &str = "2024-01-17.csv 1 loaded 1 = 1 + 0 + 0";
const LENIENT_ROW: &str = "M|1|1.0|mink|Mia";

/// What a run over the same files changes: interrupted files are completed. The copy of the file that failed has
/// other times, so it is tried once more, and its first generation is replaced. Nothing else is read.
const COMPLETED: [(&str, &str); 4] = [
    ("2024-01-09.csv 1", "2024-01-09.csv 1 replaced 0 = 0 + 0 + 0"),
    ("2024-01-09.csv 2", "2024-01-09.csv 2 failed 0 = 0 + 0 + 0"),
    ("2024-01-12.csv 1", "2024-01-12.csv 1 loaded 12 = 12 + 0 + 0"),
    ("2024-01-13.csv 1", "2024-01-13.csv 1 loaded 2 = 2 + 0 + 0"),
];

/// The expected deliveries after files have changed: files that grow after a provisional record (by a whole line end or
/// by other bytes), an incomplete file, a file that comes back, and a copy.
const GROWN: [(&str, &str); 7] = [
    ("2024-01-02.csv 1", "2024-01-02.csv 1 loaded 3 = 3 + 0 + 0"),
    ("2024-01-03.csv 1", "2024-01-03.csv 1 loaded 3 = 2 + 0 + 1"),
    ("2024-01-04.csv 2", "2024-01-04.csv 2 loaded 2 = 2 + 0 + 0"),
    ("2024-01-06.csv 1", "2024-01-06.csv 1 loaded 2 = 2 + 0 + 0"),
    ("2024-01-13.csv 1", "2024-01-13.csv 1 loaded 2 = 2 + 0 + 0"),
    ("2024-01-14.csv 1", "2024-01-14.csv 1 loaded 8 = 8 + 0 + 0"),
    ("2024-01-16.csv 1", "2024-01-16.csv 1 duplicate 0 = 0 + 0 + 0"),
];

const REPLAYED: [(&str, &str); 1] = [("2024-01-10.csv 1", "2024-01-10.csv 1 loaded 5 = 3 + 0 + 2")];

/// The files that have nothing new after a run over the same files.
const UNCHANGED: [&str; 7] = [
    "2024-01-01.csv",
    "2024-01-02.csv",
    "2024-01-03.csv",
    "2024-01-04.csv",
    "2024-01-05.csv",
    "2024-01-11.csv",
    "2024-01-15.csv",
];

impl World {
    /// Creates a world with the inbox and the configuration of a ledger of this format, without a store.
    pub fn of_format(format: u32) -> Self {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let world = Self::of(&fs::read_to_string(fixtures.join("0.1.0/needledrop.yaml")).unwrap());
        world.copy_in(&files(&fixtures.join("0.1.0/inbox")));
        if has_lenient(format) {
            world.copy_in(&files(&fixtures.join("format-6/inbox")));
        }
        world.with("source.settle", "20ms")
    }

    /// Returns every delivery as a line. Asserts that every receipt closes.
    pub fn deliveries(&self) -> Vec<String> {
        let status = self.json(&["status"]);
        let line = |delivery: &Json| {
            let n = |key: &str| delivery[key].as_u64().unwrap();
            let (records, counts) = (n("records"), ["loaded", "skipped", "quarantined"].map(n));
            assert_eq!(records, counts.iter().sum::<u64>(), "{delivery}");
            let [loaded, skipped, quarantined] = counts;
            let text = |key: &str| delivery[key].as_str().unwrap();
            let (file, state, generation) = (text("file"), text("state"), n("generation"));
            format!("{file} {generation} {state} {records} = {loaded} + {skipped} + {quarantined}")
        };
        let mut lines: Vec<String> = status["deliveries"].as_array().unwrap().iter().map(line).collect();
        lines.sort();
        lines
    }

    /// Returns the quarantine entries as lines: file, record, state.
    pub fn entries(&self) -> Vec<String> {
        let found = self.json(&["quarantine", "list", "--all"]);
        let line = |entry: &Json| {
            format!(
                "{} {} {}",
                entry["file"].as_str().unwrap(),
                entry["record"],
                entry["state"].as_str().unwrap()
            )
        };
        let mut lines: Vec<String> = found.as_array().unwrap().iter().map(line).collect();
        lines.sort();
        lines
    }

    /// Returns the receipts of the files that have nothing new.
    pub fn unchanged(&self) -> Vec<Json> {
        UNCHANGED.iter().map(|file| self.receipt(file)).collect()
    }

    /// Runs once over the same files and once over files that grew. Then replays the quarantine, which must try
    /// `replayed` records. `left` and `unchanged` are the deliveries and receipts before. `further` is what else
    /// the two runs change.
    pub fn continues(
        &self,
        left: &[String],
        unchanged: &[Json],
        further: [&[(&str, &str)]; 2],
        replayed: u64,
    ) {
        let completed = self.completes(left, unchanged, further[0]);
        self.grow();
        self.once(0);
        let grown = changed(&changed(&completed, &GROWN), further[1]);
        assert_eq!(self.deliveries(), grown);
        let done = self.run(&["quarantine", "replay", "--json"]).json();
        assert_eq!((&done["tried"], &done["loaded"]), (&json!(replayed), &json!(1)), "{done}");
        assert_eq!(self.deliveries(), changed(&grown, &REPLAYED));
        assert_eq!(self.once(0)["records"]["read"], 0);
        assert_eq!(self.deliveries(), changed(&grown, &REPLAYED));
    }

    /// Runs once over the same files. Returns the deliveries after that.
    pub fn completes(&self, left: &[String], unchanged: &[Json], further: &[(&str, &str)]) -> Vec<String> {
        self.once(1);
        let completed = changed(&changed(left, &COMPLETED), further);
        assert_eq!(self.deliveries(), completed);
        for (file, before) in UNCHANGED.iter().zip(unchanged) {
            let now = self.receipt(file);
            for kept in ["hash", "tables", "stamps", "part_count", "taken_up", "ends_without_newline"] {
                assert_eq!(now[kept], before[kept], "{file}: {kept}");
            }
        }
        assert_eq!(self.receipt("2024-01-02.csv")["ends_without_newline"], true);
        let grown = self.receipt("2024-01-11.csv");
        assert_eq!((&grown["part_count"], grown["parts"].as_array().unwrap().len()), (&json!(45), 32));
        assert!(grown["stamps"].as_array().unwrap().len() > 1, "{grown}");
        completed
    }

    fn grow(&self) {
        self.append("2024-01-02.csv", "\nA,5.0,Ann,g,q,late,5\n");
        self.append("2024-01-03.csv", "\r\nC,3.0,Cyd,g,q,surf,3\n");
        self.append("2024-01-04.csv", "0\n");
        self.append("2024-01-06.csv", ",g,q,eft,2\n");
        self.append("2024-01-13.csv", "\n");
        for (file, copy) in [("2024-01-15.csv", "2024-01-14.csv"), ("2024-01-01.csv", "2024-01-16.csv")] {
            fs::copy(self.inbox().join(file), self.inbox().join(copy)).unwrap();
        }
    }
}

fn has_lenient(format: u32) -> bool {
    matches!(format, 6..=9)
}

/// Returns the deliveries of a ledger of this format. These lines are added, or take the place of others.
pub fn left(format: u32, lines: &[&str]) -> Vec<String> {
    let generation = |line: &&str| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
    let is_other = |line: &&&str| !lines.iter().any(|own| generation(own) == generation(line));
    let lenient = has_lenient(format).then_some(&LENIENT_DELIVERY);
    let others = LEFT.iter().filter(is_other).chain(lenient);
    sorted(others.chain(lines).map(|line| (*line).to_owned()))
}

fn changed(before: &[String], changes: &[(&str, &str)]) -> Vec<String> {
    let is_kept = |line: &&String| !changes.iter().any(|(name, _)| line.starts_with(name));
    let kept = before.iter().filter(is_kept).cloned();
    sorted(kept.chain(changes.iter().map(|(_, line)| (*line).to_owned())))
}

/// Returns the final rows of `by_station`, from a ledger of this format: station, hour, temperature, note, observer.
pub fn by_station(format: u32) -> Vec<String> {
    let few = "A|1|9.5|open|Abe A|2|2.0||Ann A|3|4.5||Ann A|5|5.0|late|Ann B|1|3.5|bee|Bob C|1|1.5|sea|Cyd \
               C|3|3.0|surf|Cyd D|1|1.5|dee|Dan D|2|2.5|deer|Dan D|20|2.5|deer|Dan E|1|1.0|eel|Eve \
               E|2|2.0|eft|Eve F|1|7.0|fox|Flo H|1|1.0|hen|Hal H|2|2.0|hare|Hal H|3|3.0|hawk|Hal \
               I|0|0.0|ice|Ida K|1|1.0|kit|Kim K|2|2.0|koi|Kim";
    let few = few.split_whitespace().map(str::to_owned);
    let grown = (1..45).map(|n| format!("I|{n}|{n}.5|ice|Ida"));
    let interrupted = (0..12).map(|n| format!("J|{n}|{n}.0|jay|Jon"));
    let renamed = (0..8).map(|n| format!("L|{n}|{n}.0|lark|Lou"));
    let lenient = has_lenient(format).then(|| LENIENT_ROW.to_owned());
    sorted(few.chain(grown).chain(interrupted).chain(renamed).chain(lenient))
}

/// Returns the final rows of `by_hour`: hour, station, temperature, note. In this table an empty column erases the
/// earlier value.
pub fn by_hour(format: u32) -> Vec<String> {
    let row = |row: &String| {
        let fields: Vec<&str> = row.split('|').collect();
        let note = if row.starts_with("A|1|") { "" } else { fields[3] };
        format!("{}|{}|{}|{note}", fields[1], fields[0], fields[2])
    };
    sorted(by_station(format).iter().map(row))
}

pub fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}
