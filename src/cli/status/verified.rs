//! The last verification by the daemon.

use serde_json::{Value as Json, json};

use crate::cli::render::{grouped, time};
use crate::daemon::app::App;
use crate::jobs::verification::{ComparedTable, Verification};

/// Returns the lines about the last verification. There are none if the daemon never verifies.
pub fn lines(last: Option<&Verification>, app: &App) -> Vec<String> {
    let Some(last) = last else {
        let is_on = app.config.verify.sample.is_some();
        return is_on.then(|| "nothing yet".to_owned()).into_iter().collect();
    };
    let Verification { sample, .. } = last;
    let (at, rows) = (time(last.at), grouped(last.rows()));
    let wrong: Vec<_> = last.tables.iter().filter(|table| !table.is_right()).collect();
    let result = if wrong.is_empty() { "none is wrong" } else { "some are wrong:" };
    let lost = match last.not_compared {
        0 => String::new(),
        lost => format!("; {} deliveries could not be compared", grouped(lost)),
    };
    let first = format!("{rows} rows at {at} ({sample} of the partitions): {result}{lost}");
    std::iter::once(first).chain(wrong.into_iter().map(of_table)).collect()
}

fn of_table(table: &ComparedTable) -> String {
    let counts = table.wrong().map(|(kind, rows)| format!("{} {kind}", grouped(rows))).join(", ");
    let name = &table.table;
    format!("{name}: {counts}; `needledrop verify {name}` names them")
}

/// Returns the last verification with the time in the form of the other times.
pub fn json(last: &Verification) -> Json {
    let mut all = json!(last);
    all["at"] = json!(time(last.at));
    all
}
