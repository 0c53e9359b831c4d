//! Tests that many small files and wide headers cost no more than their size explains. Decompression bombs and huge
//! records are tested in tests/shapes/memory.rs.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::World;
use crate::csv;

/// A thousand files with nothing to load do not hold up the file that has something.
#[test]
fn many_tiny_files_do_not_delay_other_files() {
    let world = World::new();
    for n in 0..1000 {
        world.drop_file(&format!("a{n:04}.csv"), format!("x{n}\n"));
    }
    world.drop_file("z.csv", csv(0..3));
    let began = Instant::now();
    let summary = world.once(1);
    assert_eq!(summary["deliveries"], json!({ "failed": 1000, "loaded": 1 }));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let peak = summary["peak_memory_bytes"].as_u64().unwrap();
    assert!(peak < 100 << 20, "{peak}");
}

#[test]
fn a_header_with_thousands_of_columns_is_one_delivery_and_one_log_line() {
    let world = World::new();
    let (mut wide, mut values) = (csv(0..0).trim_end().to_owned(), String::new());
    let mut columns = 0;
    while wide.len() < 60_000 {
        write!(wide, ",c{columns}").unwrap();
        values.push(',');
        columns += 1;
    }
    let row = "Art,Ann,F,1,Lee,100.5,free,X,7,Song,3";
    world.drop_file("wide.csv", format!("{wide}\n{row}{values}\n"));
    world.drop_file("wider.csv", format!("{wide}{}\n{row}\n", wide.repeat(3)));
    world.drop_file("z.csv", csv(0..3));
    let output = world.run(&["run", "--once", "--json"]);
    assert_eq!(output.json()["deliveries"], json!({ "failed": 1, "loaded": 2 }), "{:?}", output.stderr);
    assert!(columns > 7000 && output.stderr.lines().all(|line| line.len() < 70_000));
    let receipt = world.receipt("wider.csv");
    assert!(receipt["detail"].as_str().unwrap().len() < 500, "{receipt}");
}
