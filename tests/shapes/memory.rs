//! Tests of files that could take a lot of memory.

use super::*;

/// Writes a record of this many NUL bytes between two other records. The sparse file takes no room on the disk.
fn monster(world: &World, len: u64) {
    let mut file = File::create(world.inbox().join("a.csv")).unwrap();
    file.write_all(b"k,v\na,1\n").unwrap();
    file.seek(SeekFrom::Current(len.cast_signed())).unwrap();
    file.write_all(b"\nb,2\n").unwrap();
}

#[test]
fn a_record_longer_than_the_limit_of_memory_is_one_quarantine_entry() {
    const LEN: u64 = 300 << 20;
    let world = world();
    monster(&world, LEN);
    let summary = world.once(1);
    assert!(summary["peak_memory_bytes"].as_u64().unwrap() < MOST_MEMORY, "{summary}");
    assert_eq!(counts(&world.receipt("a.csv")), ("loaded", 2, 1));
    let entry = &quarantine(&world)[0];
    assert_eq!((&entry["line"], &entry["byte"], &entry["bytes"]), (&json!(3), &json!(8), &json!(LEN)));
    assert_eq!(entry["raw"].as_str().unwrap().len(), 4096);
    assert_eq!(table(&world).len(), 2);
}

#[test]
fn a_file_without_a_line_end_is_refused_and_a_record_without_one_waits() {
    let world = world();
    File::create(world.inbox().join("a.csv")).unwrap().set_len(300 << 20).unwrap();
    let mut file = File::create(world.inbox().join("b.csv")).unwrap();
    file.write_all(b"k,v\na,1\n").unwrap();
    file.set_len(300 << 20).unwrap();
    let summary = world.once(1);
    assert!(summary["peak_memory_bytes"].as_u64().unwrap() < MOST_MEMORY, "{summary}");
    let receipt = world.receipt("a.csv");
    assert_eq!(counts(&receipt), ("failed", 0, 0));
    assert!(detail(&receipt).contains("does not end within"), "{receipt}");
    let receipt = world.receipt("b.csv");
    assert_eq!(counts(&receipt), ("incomplete", 1, 0));
    assert!(detail(&receipt).contains("line 3 is longer than limits.max_record_bytes"), "{receipt}");
}

/// Long records are read a few at a time, whatever their number.
#[test]
fn a_backfill_of_long_records_takes_little_memory() {
    let mut world = world();
    let mut file = File::create(world.inbox().join("a.csv")).unwrap();
    file.write_all(b"k,v\n").unwrap();
    let long = "x".repeat(900_000);
    (0..100).for_each(|n| writeln!(file, "{n},{long}").unwrap());
    world.once(0);
    world.set("tables.narrow", "{ partition_key: [k], columns: [] }");
    let filled = world.json(&["load", "--table", "narrow"]);
    assert_eq!(filled["records"]["loaded"], 100, "{filled}");
    assert!(filled["peak_memory_bytes"].as_u64().unwrap() < MOST_MEMORY, "{filled}");
}

/// Returns compressed text that repeats `part` this many times.
fn bomb(begin: &str, part: &[u8], times: u32, end: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(begin.as_bytes()).unwrap();
    (0..times).for_each(|_| encoder.write_all(part).unwrap());
    encoder.write_all(end.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_decompression_bomb_of_zeros_is_one_quarantine_entry() {
    let world = world();
    let bytes = bomb("k,v\na,1\n", &[0; 1 << 20], 1024, "\nb,2\n");
    assert!(bytes.len() < 8 << 20);
    world.drop_file("a.csv.gz", bytes);
    let summary = world.once(1);
    assert!(summary["peak_memory_bytes"].as_u64().unwrap() < MOST_MEMORY, "{summary}");
    assert_eq!(counts(&world.receipt("a.csv.gz")), ("loaded", 2, 1));
}

#[test]
fn a_decompression_bomb_of_one_repeated_line_is_loaded_record_by_record() {
    let world = world();
    world.drop_file("a.csv.gz", bomb("k,v\n", "a,b\n".repeat(10_000).as_bytes(), 20, ""));
    let summary = world.once(0);
    assert!(summary["peak_memory_bytes"].as_u64().unwrap() < MOST_MEMORY, "{summary}");
    let receipt = world.receipt("a.csv.gz");
    assert_eq!(counts(&receipt), ("loaded", 200_000, 0));
    assert_eq!(receipt["tables"]["t"]["collisions"], 199_999);
}

#[test]
fn zstd_frames_take_their_window_and_no_more() {
    let world = world();
    for file in 0..4 {
        let rows = (0..100).map(|n| format!("{file}-{n},{}\n", noise(1000)[n..].replace(['\n', ','], " ")));
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(23).unwrap();
        encoder.write_all(format!("k,v\n{}", rows.collect::<String>()).as_bytes()).unwrap();
        world.drop_file(&format!("{file}.csv.zst"), encoder.finish().unwrap());
    }
    let summary = world.once(0);
    assert_eq!(summary["records"]["loaded"], 400);
    let windows = 4 * (8 << 20);
    assert!(summary["peak_memory_bytes"].as_u64().unwrap() < MOST_MEMORY + windows, "{summary}");
}

#[test]
fn a_zstd_frame_with_a_huge_window_is_refused() {
    let pack = |window: u32| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window).unwrap();
        encoder.write_all(format!("k,v\n{}", noise(10)).as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let (_, receipt) = loaded("a.csv.zst", pack(23));
    assert_eq!(counts(&receipt), ("loaded", 10, 0));
    let (_, receipt) = loaded("a.csv.zst", pack(27));
    assert_eq!(counts(&receipt), ("failed", 0, 0));
    assert!(detail(&receipt).contains("window of over 8 MiB"), "{receipt}");
}

/// Returns the resident memory of a daemon with this many waiting files. The files are still being written, or they
/// wait for their turn.
fn resident(files: u32, settle: &str, stuck: bool) -> u64 {
    let world = world().with("source.settle", settle);
    for number in 0..files {
        world.drop_file(&format!("drop-{number:06}.csv"), format!("k,v\n{number},x\n"));
    }
    let stage = world.path("stuck");
    if stuck {
        // By then the files are old enough to be taken up at once.
        std::thread::sleep(std::time::Duration::from_secs(2));
        std::fs::write(&stage, "discover").unwrap();
    }
    let daemon = world.daemon_with(&[("NEEDLEDROP_STUCK", stage.display().to_string())]);
    let backlog = format!("needledrop_backlog_files {files}");
    until("all files wait", || match stuck {
        true => daemon.log().contains("stuck: discover").then_some(()),
        false => daemon.get("/metrics")?.1.lines().any(|line| line == backlog).then_some(()),
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Law 7: a few hundred bytes for each name in the inbox, wherever it waits.
#[test]
fn a_waiting_file_takes_at_most_300_bytes() {
    let waits = [("1h", false), ("1s", true)].into_iter();
    // Stages get stuck in debug builds only.
    for (settle, stuck) in waits.filter(|(_, stuck)| cfg!(debug_assertions) || !stuck) {
        let measure = |_| {
            let (few, many) = (resident(1_000, settle, stuck), resident(31_000, settle, stuck));
            many.saturating_sub(few) / 30_000
        };
        // What the allocator keeps for itself differs by twenty bytes a name from run to run.
        let least = (0..4).map(measure).find(|bytes| *bytes <= 300);
        assert!(least.is_some(), "settle {settle}: more than 300 bytes a name in each of four runs");
    }
}
