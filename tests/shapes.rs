//! Tests of every shape that the bytes of a file can have: the result is reported, and memory stays bounded.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "shapes/compressed.rs"]
mod compressed;
#[path = "shapes/headers.rs"]
mod headers;
#[path = "shapes/lines.rs"]
mod lines;
#[path = "shapes/memory.rs"]
mod memory;
#[path = "shapes/text.rs"]
mod text;
#[path = "shapes/zip.rs"]
mod zip;

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use common::{World, gzip, until};
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};

const YAML: &str = "source:\n  folder: inbox\n  columns: { k: text, v: text }\n\
                    tables:\n  t: { answers: what is k, partition_key: [k], columns: [v] }\n\
                    store: { sqlite: { path: store.db } }\n";

/// The memory that a process may take, whatever the file is.
const MOST_MEMORY: u64 = 64 << 20;

fn world() -> World {
    World::of(YAML)
}

fn rows(range: std::ops::Range<u32>) -> String {
    range.map(|n| format!("k{n},v{n}\n")).collect()
}

/// Returns rows that do not compress well, so that a compressed file is longer than one read.
fn noise(rows: u32) -> String {
    let value = |n: u32| blake3::hash(&n.to_le_bytes()).to_hex();
    (0..rows).map(|n| format!("k{n},{}\n", value(n))).collect()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Compresses with a checksum, as the zstd tool does. Without a checksum, corrupt bytes may decode to other text.
fn checked_zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns the rows of `t` as pairs.
fn table(world: &World) -> Vec<(String, String)> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    world.tables()["t"].iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
}

/// Loads one file with `run --once` and returns its receipt.
fn loaded(name: &str, bytes: impl AsRef<[u8]>) -> (World, Json) {
    let world = world();
    world.drop_file(name, bytes);
    world.run(&["run", "--once"]);
    let receipt = world.receipt(name);
    (world, receipt)
}

fn counts(receipt: &Json) -> (&str, u64, u64) {
    let count = |key: &str| receipt[key].as_u64().unwrap();
    (receipt["state"].as_str().unwrap(), count("loaded"), count("quarantined"))
}

fn detail(receipt: &Json) -> &str {
    receipt["detail"].as_str().unwrap()
}

fn quarantine(world: &World) -> Vec<Json> {
    world.json(&["quarantine", "list"]).as_array().unwrap().clone()
}
