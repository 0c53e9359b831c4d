//! Installs the recorder, declares the metrics, and answers a scrape.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use crate::domain::{DeliveryState, Feeds, Plan, Reason};
use crate::metrics::declared;
use crate::metrics::declared::*;
use crate::metrics::deliveries::open_records;
use crate::metrics::inbox::{LEFT_OUT, backlog, files_open, left_out};
use crate::metrics::labels::labels;
use crate::metrics::service::ready;
use crate::metrics::stages::Queue;
use crate::metrics::verify::{VERIFIED, WRONG};

/// The source of the answer to `/metrics`.
#[derive(Clone)]
pub struct Scrape {
    recorded: PrometheusHandle,
    process: Collector,
}

impl Scrape {
    /// Returns the current values of all metrics, in the text format of Prometheus.
    pub fn text(&self) -> String {
        self.process.collect();
        self.recorded.render()
    }

    /// Moves samples into buckets, so that they do not pile up if nobody scrapes.
    pub fn upkeep(&self) {
        self.recorded.run_upkeep();
    }
}

/// Installs the recorder and declares all metrics. Counters and gauges then exist before their first event. A histogram
/// appears with its first sample.
///
/// # Errors
/// Returns an error if a recorder is already installed.
pub fn install(plans: &Feeds<Arc<Plan>>) -> Result<Scrape, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for Metric { name, kind, .. } in ALL {
        if let Kind::Histogram(buckets) = kind {
            builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
        }
    }
    let recorded = builder.install_recorder()?;
    declared::describe();
    let process = Collector::new("needledrop_");
    process.describe();
    begin();
    feeds(plans);
    Ok(Scrape { recorded, process })
}

fn begin() {
    for reason in ["locked", "full", "io", "gone", "stamps", "clock"] {
        counter!(WRITE_RETRIES.name, "table" => "*", "reason" => reason).absolute(0);
    }
    for outcome in ["applied", "refused", "unchanged"] {
        counter!(CONFIG_RELOADS.name, "outcome" => outcome).absolute(0);
    }
    Queue::ALL.into_iter().for_each(|queue| queue.depth(0));
    for outcome in VERIFIED {
        counter!(VERIFICATIONS.name, "outcome" => outcome).absolute(0);
    }
    for metric in [&REQUESTS_IN_FLIGHT, &LEDGER_LAG, &LAST_VERIFIED, &NOT_COMPARED] {
        gauge!(metric.name).set(0.0);
    }
    ready(false);
    for metric in [&CONFIG_RELOADED, &STORE_UP] {
        gauge!(metric.name).set(1.0);
    }
    gauge!(BUILD_INFO.name, "version" => env!("CARGO_PKG_VERSION"), "commit" => crate::COMMIT).set(1.0);
}

/// Creates the counters and gauges of the declared feeds and their tables, unless they exist. A reload may add some.
pub fn feeds(plans: &Feeds<Arc<Plan>>) {
    for (feed, plan) in plans.iter() {
        let feed = feed.name();
        for metric in [&UNTERMINATED, &RECORDS_READ, &RECORDS_SKIPPED, &BYTES_READ, &FILES_UNREADABLE] {
            counter!(metric.name, labels(feed, [])).increment(0);
        }
        let by = |metric: &Metric, label: &'static str, value: &str| {
            counter!(metric.name, labels(feed, [(label, value)])).increment(0);
        };
        Reason::ALL.iter().for_each(|reason| by(&RECORDS_QUARANTINED, "reason", reason.name()));
        for table in &plan.tables {
            by(&ROWS_WRITTEN, "table", &table.name);
            for kind in WRONG {
                gauge!(WRONG_ROWS.name, "table" => table.name.clone(), "kind" => kind).increment(0.0);
            }
        }
        DeliveryState::ALL.iter().for_each(|state| by(&DELIVERIES, "state", state.name()));
        ["moved", "deleted", "failed"].iter().for_each(|outcome| by(&FILES_AFTER, "outcome", outcome));
        for metric in
            [&INBOX_LISTED, &LAST_LOADED, &QUARANTINE_OPEN, &BACKLOG_FILES, &BACKLOG_BYTES, &OLDEST_WAITING]
        {
            gauge!(metric.name, labels(feed, [])).increment(0.0);
        }
        for reason in LEFT_OUT {
            gauge!(FILES_LEFT_OUT.name, labels(feed, [("reason", reason)])).increment(0.0);
        }
        for state in ["failed", "incomplete", "unreadable"] {
            gauge!(FILES_OPEN.name, labels(feed, [("state", state)])).increment(0.0);
        }
    }
}

/// Sets the gauges of a feed that is no longer declared to 0, so that no alert concerns it. Its counters stay.
pub fn feed_is_gone(feed: &str) {
    // Neither 0 nor 1 is true of an inbox that nobody lists, and an alert compares neither with NaN.
    gauge!(INBOX_LISTED.name, labels(feed, [])).set(f64::NAN);
    backlog(feed, 0, 0, Duration::ZERO);
    files_open(feed, 0, 0, 0);
    left_out(feed, [0; LEFT_OUT.len()]);
    open_records(feed, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Feed, TableDelta};
    use crate::metrics::deliveries::{delivery, rows};
    use crate::metrics::inbox::inbox_listed;

    /// Scripts and dashboards of earlier versions must find what they found before.
    #[test]
    fn metrics_have_the_feed_as_a_label_if_it_has_a_name() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let plans: Feeds<Arc<Plan>> = ["", "clicks"]
            .map(|name| (Feed::named(name).unwrap_or_default(), Arc::new(Plan::empty())))
            .into_iter()
            .collect();
        metrics::with_local_recorder(&recorder, || {
            feeds(&plans);
            delivery("clicks", DeliveryState::Loaded);
            rows("", "t", &TableDelta { rows: 2, ..TableDelta::default() });
            rows("clicks", "t", &TableDelta { rows: 3, ..TableDelta::default() });
            backlog("clicks", 7, 1, Duration::ZERO);
            // A reload creates the metrics again.
            feeds(&plans);
            inbox_listed("", true);
            feed_is_gone("clicks");
        });
        let text = recorder.handle().render();
        for line in [
            "needledrop_records_read_total 0",
            "needledrop_records_read_total{feed=\"clicks\"} 0",
            "needledrop_deliveries_total{state=\"loaded\"} 0",
            "needledrop_deliveries_total{feed=\"clicks\",state=\"loaded\"} 1",
            "needledrop_rows_written_total{table=\"t\"} 2",
            "needledrop_rows_written_total{feed=\"clicks\",table=\"t\"} 3",
            "needledrop_backlog_files 0",
            "needledrop_backlog_files{feed=\"clicks\"} 0",
            "needledrop_inbox_listed 1",
            "needledrop_inbox_listed{feed=\"clicks\"} NaN",
            "needledrop_files_open{feed=\"clicks\",state=\"failed\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
