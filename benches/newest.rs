//! Measures what `newest_by` costs: the same files are loaded into one table with it and without it. The first load finds no
//! row. The second one, of almost the same files under other names, finds a row for each key.

mod common;
#[path = "cassandra/node.rs"]
mod node;

use std::path::Path;
use std::process::Command;

use common::{Outcome, Pairs, Scratch, events, rate};
use node::Node;

const TIMES: u32 = 20;

/// The least ratio of both rates. Reading before writing takes a request for each key in Cassandra; SQLite reads the row anyway.
const MIN_RATIOS: [(&str, f64); 2] = [("SQLite", 0.6), ("Cassandra", 0.15)];

fn yaml(newest_by: &str) -> String {
    format!(
        "source:\n  folder: inbox\n  skip_when_empty: [artist]\n  columns: {{ artist: text, itemInSession: int, length: float, \
         sessionId: int, song: text }}\ntables:\n  session_item: {{ partition_key: [sessionId], clustering_key: [itemInSession], \
         columns: [artist, song, length]{newest_by} }}\n"
    )
}

/// Copies files under other names, each without its last record, so that they are no duplicates.
fn copied(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir(to)?;
    for (number, file) in common::files(from)?.iter().enumerate() {
        let text = std::fs::read_to_string(file)?;
        let end = text.trim_end().rfind('\n').map_or(text.len(), |at| at + 1);
        std::fs::write(to.join(format!("again-{number}.csv")), &text[..end])?;
    }
    Ok(())
}

/// Two folders with the same files: one whose table has `newest_by`, and one without it.
struct Sides {
    sides: [Scratch; 2],
    node: Option<Node>,
    loads: u32,
}

impl Sides {
    fn new() -> Outcome<Self> {
        let sides = [Scratch::new()?, Scratch::new()?];
        for (side, newest_by) in sides.iter().zip([", newest_by: length", ""]) {
            common::scaled(TIMES, &side.inbox())?;
            copied(&side.inbox(), &side.path("again"))?;
            std::fs::write(side.path("bench.yaml"), yaml(newest_by))?;
        }
        Ok(Self { sides, node: None, loads: 0 })
    }

    fn command(&self, side: usize, arguments: &[&str]) -> Command {
        let mut command = self.sides[side].needledrop(arguments);
        command.env("NEEDLEDROP_CONFIG", self.sides[side].path("bench.yaml"));
        if let Some(node) = &self.node {
            command.env("NEEDLEDROP_STORE__KIND", "cassandra");
            command.env("NEEDLEDROP_STORE__CASSANDRA__HOSTS", format!("[\"{}\"]", node.address));
            command.env("NEEDLEDROP_STORE__CASSANDRA__KEYSPACE", format!("bench_newest_{}", self.loads));
        }
        command
    }

    /// Loads into a new store, then the same files again. Returns both rates.
    fn load(&mut self, side: usize, count: u64) -> Outcome<[f64; 2]> {
        self.loads += 1;
        self.sides[side].remove(&self.sides[side].store());
        common::finish(&mut self.command(side, &["schema", "--apply"]))?;
        let first = common::finish(&mut self.command(side, &["run", "--once"]))?;
        let mut again = self.command(side, &["run", "--once"]);
        let again = common::finish(again.env("NEEDLEDROP_SOURCE__FOLDER", "again"))?;
        Ok([rate(count, first), rate(count, again)])
    }

    fn measure(&mut self, (store, goal): (&str, f64), count: u64) -> Outcome {
        let (mut first, mut again) = (Pairs::default(), Pairs::default());
        for pair in 0..=common::PAIRS {
            let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                let [new, known] = self.load(side, count)?;
                // The first pair warms up.
                if pair > 0 {
                    let side =
                        |pairs: &mut Pairs, rate| [&mut pairs.ours, &mut pairs.theirs][side].push(rate);
                    side(&mut first, new);
                    side(&mut again, known);
                }
            }
        }
        let node =
            self.node.as_ref().map_or_else(String::new, |node| format!("; the node: {}", node.about()));
        for (what, pairs) in [("no row is there", &first), ("a row is there for each key", &again)] {
            common::compare(
                &format!("one {store} table, {what}"),
                "events/s",
                ["newest_by", "without"],
                pairs,
                goal,
                &format!("medians of 5 alternating pairs, whole processes{node}"),
            );
        }
        Ok(())
    }
}

fn main() -> Outcome {
    let mut sides = Sides::new()?;
    let count = events::parsed(&sides.sides[0].inbox())?.len() as u64;
    let [sqlite, cassandra] = MIN_RATIOS;
    sides.measure(sqlite, count)?;
    sides.node = Some(Node::start()?);
    sides.measure(cassandra, count)
}
