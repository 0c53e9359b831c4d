//! Reports what a verification found: metrics and log.

use std::time::Duration;

use tracing::{info, warn};

use crate::domain::Schema;
use crate::jobs::verification::Verification;
use crate::jobs::verify::{SourceRecord, Verified};
use crate::metrics;

/// Sets the metrics. Only declared tables have some.
pub fn measure(last: &Verification, declared: &Schema) {
    for table in last.tables.iter().filter(|table| declared.table(&table.table).is_some()) {
        metrics::wrong_rows(&table.table, table.wrong());
    }
    let at = Duration::from_millis(u64::try_from(last.at).unwrap_or_default());
    metrics::verified(at, last.not_compared);
}

/// Logs the result. The log has no values of rows, only where they come from.
pub fn report(result: &Verification, verified: &Verified) {
    let Verification { sample, seconds, .. } = result;
    let wrong: Vec<_> = result.tables.iter().filter(|table| !table.is_right()).collect();
    if wrong.is_empty() {
        info!("verify: {} rows are right ({sample} of the partitions, {seconds:.1} s)", result.rows());
    }
    for table in wrong {
        let counts = table.wrong().map(|(kind, rows)| format!("{rows} {kind}")).join(", ");
        let name = &table.table;
        warn!("verify: table {name}: {counts} of {} rows; `needledrop verify {name}` names them", table.rows);
    }
    for table in &verified.tables {
        for SourceRecord { file, line } in table.examples.iter().filter_map(|example| example.origin.as_ref())
        {
            warn!(file, line, "verify: table {}: the row of this record is wrong", table.name);
        }
    }
    for lost in &verified.lost {
        warn!(file = %lost.file, generation = lost.generation, "verify: not compared: {}", lost.why);
    }
}
