use std::collections::HashSet;

use futures::StreamExt as _;
use futures::executor::block_on;

use super::*;
use crate::config::{Layers, SHIPPED};
use crate::domain::Header;
use crate::domain::parse::parse;

fn options(dir: &Path, days: u32, rows: u32, seed: u64) -> Options {
    Options { dir: dir.to_owned(), days, rows, seed }
}

/// Returns the bytes of each file.
fn made(days: u32, rows: u32, seed: u64) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let paths = write(&options(dir.path(), days, rows, seed)).unwrap();
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, paths.len(), "a hidden file was left behind");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Returns the records of a file, parsed by a library that did not write them.
fn records(bytes: &[u8]) -> Vec<Vec<String>> {
    let reader = csv_async::AsyncReaderBuilder::new().has_headers(false).create_reader(bytes);
    let records = block_on(reader.into_records().collect::<Vec<_>>());
    records.into_iter().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// Returns the records of all files, without the headers.
fn all(files: &[Vec<u8>]) -> Vec<Vec<String>> {
    files.iter().flat_map(|bytes| records(bytes).split_off(1)).collect()
}

#[test]
fn the_names_are_days_and_the_folder_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = dir.path().join("a/b");
    let paths = write(&options(&inbox, 31, 2, SEED)).unwrap();
    assert_eq!(paths[0], inbox.join("2018-11-01-events.csv"));
    assert_eq!(paths[30], inbox.join("2018-12-01-events.csv"));
}

#[test]
fn the_same_seed_gives_the_same_bytes_everywhere() {
    // This hash is pinned. It may change only on purpose, not with the machine or a version.
    let hash = blake3::hash(&made(DAYS, ROWS, SEED).concat()).to_hex();
    assert_eq!(hash.as_str(), "f65d36c5981d374537667a85763326ed217a8af8014927ff7b8074457a676024");
}

#[test]
fn more_days_leave_the_earlier_ones_alone_and_another_seed_does_not() {
    assert_eq!(made(2, 50, 7), made(4, 50, 7)[..2]);
    let (a, b) = (made(3, 50, 7), made(3, 50, 8));
    assert!(a.iter().zip(&b).all(|(a, b)| a != b));
    let bodies: HashSet<_> =
        a.iter().chain(&b).map(|bytes| all(std::slice::from_ref(bytes))[0][3..].to_vec()).collect();
    assert_eq!(bodies.len(), 6, "{bodies:?}");
}

#[test]
fn every_file_has_its_rows_and_keys_are_unique_over_all() {
    for (days, rows) in [(5, 300), (40, 7), (3, 1), (2, 5000)] {
        let records = all(&made(days, rows, 3));
        assert_eq!(records.len(), (days * rows) as usize);
        let keys: HashSet<_> = records.iter().map(|record| (&record[12], &record[4])).collect();
        assert_eq!(keys.len(), records.len());
    }
    assert!(all(&made(2, 0, 3)).is_empty());
}

#[test]
fn a_day_looks_like_a_day() {
    for (number, bytes) in made(DAYS, ROWS, SEED).iter().enumerate() {
        let records = all(std::slice::from_ref(bytes));
        let times: Vec<u64> = records.iter().map(|record| record[15].parse().unwrap()).collect();
        assert!(times.is_sorted());
        let midnight = (u64::from(FIRST_DAY) + number as u64) * 86_400_000;
        assert!(times.iter().all(|at| (midnight..midnight + 86_400_000).contains(at)));
        let switches = records.windows(2).filter(|two| two[0][12] != two[1][12]).count();
        let sessions: HashSet<_> = records.iter().map(|record| &record[12]).collect();
        assert!(switches > sessions.len(), "sessions must interleave");
        for session in sessions {
            let items = records.iter().filter(|record| record[12] == *session).map(|record| &record[4]);
            assert!(items.enumerate().all(|(n, item)| *item == n.to_string()));
        }
    }
}

#[test]
fn about_one_record_in_seven_is_not_a_song() {
    let records = all(&made(DAYS, ROWS, SEED));
    let percent =
        |is: fn(&[String]) -> bool| 100 * records.iter().filter(|record| is(record)).count() / records.len();
    let others = percent(|record| record[10] != "NextSong");
    assert!((12..=18).contains(&others), "{others} %");
    let out = percent(|record| record[1] == "Logged Out");
    assert!((1..=6).contains(&out), "{out} %");
    for record in &records {
        let is_song = record[10] == "NextSong";
        assert!([0, 6, 13].iter().all(|field| record[*field].is_empty() != is_song), "{record:?}");
        let is_out = record[1] == "Logged Out";
        assert!([2, 3, 5, 8, 11, 16].iter().all(|field| record[*field].is_empty() == is_out), "{record:?}");
    }
}

#[test]
fn quotes_commas_and_letters_occur() {
    let bytes = made(DAYS, ROWS, SEED).concat();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("\"\"") && text.contains(", ") && !text.is_ascii());
    assert!(!text.contains('\r') && text.ends_with('\n'));
}

#[test]
fn a_file_with_other_content_is_kept_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let paths = write(&options(dir.path(), 2, 5, 1)).unwrap();
    let before = fs::metadata(&paths[0]).unwrap().modified().unwrap();
    assert_eq!(write(&options(dir.path(), 2, 5, 1)).unwrap(), paths);
    assert_eq!(fs::metadata(&paths[0]).unwrap().modified().unwrap(), before);
    fs::write(&paths[1], "mine").unwrap();
    let error = write(&options(dir.path(), 2, 5, 1)).unwrap_err().to_string();
    assert!(error.contains("2018-11-02-events.csv"), "{error}");
    assert!(
        error.contains("next: name another folder, or use the same --rows and --seed as before"),
        "{error}"
    );
    assert_eq!(fs::read(&paths[1]).unwrap(), b"mine");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn too_many_days_or_sessions_are_refused_before_any_file_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for (days, rows) in [(u32::MAX, 0), (1, u32::MAX), (36_525, 1_000_000)] {
        let error = write(&options(dir.path(), days, rows, 1)).unwrap_err();
        assert!(matches!(error, SampleError::TooMany { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_shipped_configuration_accepts_every_event() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), SHIPPED).unwrap();
    let layers = Layers { file: Some(file.path().to_owned()), ..Layers::default() };
    let plan = layers.load().unwrap().plan().unwrap();
    let mut records = records(&made(1, ROWS, SEED)[0]);
    let mapping = Header(records.remove(0)).map(&plan).unwrap();
    for record in records.iter().filter(|record| !record[0].is_empty()) {
        for (column, field) in plan.columns.iter().zip(&mapping.field_of) {
            let cell = parse(column.kind, record[field.unwrap()].as_bytes(), &mut Vec::new()).unwrap();
            assert!(!cell.is_empty(), "{}: {record:?}", column.name);
        }
    }
}
