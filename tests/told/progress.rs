//! Tests that progress and its total count the same bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use needledrop::config::Layers;
use needledrop::daemon::app::App;
use needledrop::daemon::single_pass::LoadOptions;
use needledrop::pipeline::messages::{LoadMode, Scope};
use needledrop::pipeline::run_stats::RunStats;
use tokio_util::sync::CancellationToken;

use crate::common::gzip;
use crate::{config, csv, world};

/// Runs once. Returns the progress at the end, and its expected total.
async fn progress(app: &App) -> (u64, u64) {
    let scope = Scope::Once(app.feeds.values().next().unwrap().source.list().unwrap().files);
    let (expected, stats) = (scope.bytes(), Arc::new(RunStats::default()));
    let options = LoadOptions { mode: LoadMode::New, dry_run: false };
    app.load_once(scope, options, Arc::clone(&stats), CancellationToken::new()).await.unwrap();
    (stats.passed.load(Ordering::Relaxed), expected)
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_reaches_its_total_for_compressed_known_and_duplicate_files() {
    let world = world();
    let yaml = format!(
        "{}store: {{ sqlite: {{ path: {} }} }}\n",
        config("int").replace("source:\n", &format!("source:\n  folder: {}\n", world.inbox().display())),
        world.store().display(),
    );
    std::fs::write(world.path("config.yaml"), yaml).unwrap();
    let app = App::load(&Layers { file: Some(world.path("config.yaml")), ..Layers::default() }).unwrap();
    world.drop_file("a.csv.gz", gzip(csv(20_000, |_| false).as_bytes()));
    world.drop_file("b.csv", csv(1000, |_| false));
    for run in ["first run", "second run"] {
        let (passed, expected) = progress(&app).await;
        assert_eq!(passed, expected, "{run}");
    }
    world.drop_file("c.csv", csv(1000, |_| false));
    world.append("b.csv", "more,1\n");
    let (passed, expected) = progress(&app).await;
    assert_eq!(passed, expected);
}
