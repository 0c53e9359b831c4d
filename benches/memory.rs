//! Measures the resident memory for a file of 10 MB and for a file of 1 GB. Memory must not grow with the input.
//!
//! Both figures are the kernel's high-water mark. The summary reports one, and this bench reads the other while the
//! process runs. `NEEDLEDROP_BENCH_MB` replaces the size of the big file.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::Path;

use common::{Outcome, Scratch};

const MB: u64 = 1_000_000;

const GOAL: u64 = 64 * 1024 * 1024;

/// The size of the real days, without scaling, in bytes.
const ONCE: u64 = 1_180_000;

struct Taken {
    bytes: u64,
    records: u64,
    told: u64,
    seen: u64,
    seconds: f64,
}

fn main() -> Outcome {
    let big = std::env::var("NEEDLEDROP_BENCH_MB").map_or(Ok(1000), |text| text.parse())?;
    let mut taken = Vec::new();
    for size in [10, big] {
        taken.push(load(size * MB)?);
    }
    report(&taken);
    Ok(())
}

fn load(size: u64) -> Outcome<Taken> {
    let scratch = Scratch::new()?;
    let bytes = one_file(&scratch, size)?;
    let run = common::watched(&mut scratch.needledrop(&["run", "--once", "--json"]))?;
    let summary: serde_json::Value = serde_json::from_str(&run.out)?;
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    let (told, records) = (number(&summary["peak_memory_bytes"]), number(&summary["records"]["read"]));
    Ok(Taken { bytes, records, told, seen: run.peak, seconds: run.seconds })
}

/// Writes one file of about this size into the inbox: the scaled days, one after the other.
fn one_file(scratch: &Scratch, size: u64) -> Outcome<u64> {
    let days = scratch.path("days");
    common::scaled(u32::try_from(size / ONCE)?.max(1) + 1, &days)?;
    let place = scratch.inbox().join("2018-11-30-events.csv");
    let mut out = BufWriter::new(File::create(&place)?);
    for (number, day) in common::files(&days)?.iter().enumerate() {
        append(&mut out, day, number == 0)?;
        // Removed at once, so that a gigabyte is not stored twice.
        fs::remove_file(day)?;
    }
    out.flush()?;
    Ok(fs::metadata(&place)?.len())
}

fn append(out: &mut impl Write, day: &Path, with_header: bool) -> Outcome {
    let mut input = BufReader::new(File::open(day)?);
    let mut header = String::new();
    input.read_line(&mut header)?;
    if with_header {
        input.rewind()?;
    }
    std::io::copy(&mut input, out)?;
    Ok(())
}

fn report(taken: &[Taken]) {
    println!("\nresident memory of run --once for one file (MiB)");
    println!("  {:>10} {:>12} {:>8} {:>10} {:>8}", "file", "records", "took", "summary", "VmHWM");
    for Taken { bytes, records, told, seen, seconds } in taken {
        let (file, records) = (format!("{} MB", bytes / MB), common::grouped(float(*records)));
        println!(
            "  {file:>10} {records:>12} {seconds:>6.1} s {:>10.1} {:>8.1}",
            float(*told) / float(1 << 20),
            float(*seen) / float(1 << 20)
        );
    }
    let most = taken.iter().map(|taken| taken.told.max(taken.seen)).max().unwrap_or(0);
    let verdict = if most <= GOAL { "reached" } else { "MISSED" };
    println!("  peak {:.1}, goal at most 64: {verdict}", float(most) / float(1 << 20));
}

#[expect(clippy::cast_precision_loss, reason = "for output only")]
fn float(number: u64) -> f64 {
    number as f64
}
