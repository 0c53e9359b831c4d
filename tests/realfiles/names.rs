//! Names, folders and compressions.

use super::*;

#[test]
fn unsupported_compression_is_reported_as_left_out_or_named_in_the_error_if_a_pattern_matches() {
    let ada = json!([[1, "Ada", 12.5, "2024-03-01", 1]]);
    let world = case("other_compressions", "", ORDERS);
    let output = world.run(&["run", "--once"]);
    let left_out = "5 files match no source.pattern: 1 .csv.bz2, 1 .csv.xz, 1 .tsv, 1 .txt, 1 .zip";
    assert!(output.code == 0 && output.stdout.contains(left_out), "{output:?}");
    assert_eq!(rows(&world), ada, "the gzip file is a duplicate of the zip archive");
    let world = case("other_compressions", "pattern: [\"*\"]", ORDERS);
    assert_eq!(world.once(1)["deliveries"], json!({ "duplicate": 3, "failed": 3, "loaded": 1 }));
    assert_eq!(rows(&world), ada);
    for (file, words) in [
        ("a.csv.bz2", "compressed by bzip2"),
        ("b.csv.xz", "compressed by xz"),
        ("e.tsv", "set source.format.delimiter: \"\\t\""),
    ] {
        let receipt = world.receipt(file);
        let detail = receipt["detail"].as_str().unwrap();
        assert!(detail.contains(words) && detail.contains("next: "), "{receipt}");
    }
}

#[test]
fn patterns_with_folders_match_the_path() {
    let world = case("pattern_with_folder", "pattern: [\"day1/*.csv\", \"day2/**/*.csv\"]", ORDERS);
    let ada_bo_cy = ada_bo_cy();
    loads(&world, &json!([ada_bo_cy[0], ada_bo_cy[1]]));
}

#[test]
fn dates_in_names_and_folders_are_found_and_no_order_of_day_and_month_is_guessed() {
    let yaml = "source: { folder: inbox, columns: { id: int, customer: text }, derive: { d: { file_date } } }\n\
                tables: { t: { answers: x, partition_key: [d], clustering_key: [id] } }\n\
                store: { sqlite: { path: store.db } }\n";
    let mut world = World::of(yaml);
    copy(&inputs("date_forms_in_names"), &world.inbox());
    assert_eq!(world.once(1)["deliveries"], json!({ "failed": 1, "loaded": 4 }));
    let days = |days: &[u64]| days.iter().map(|n| json!([format!("2024-03-0{n}"), n])).collect::<Json>();
    assert_eq!(rows(&world), days(&[1, 2, 4, 5]));
    let detail = world.receipt("orders-03-03-2024.csv")["detail"].clone();
    assert!(detail.as_str().unwrap().contains("source.file_dates: day_first"), "{detail}");
    world.set("source.file_dates", "day_first");
    world.once(0);
    assert_eq!(rows(&world), days(&[1, 2, 3, 4, 5]));
}

#[test]
fn files_with_the_same_name_in_two_folders_are_both_archived() {
    let world = case("archive_same_basename", "after: move", ORDERS);
    let ada_bo_cy = ada_bo_cy();
    loads(&world, &json!([ada_bo_cy[0], ada_bo_cy[1]]));
    for file in ["a/part.csv", "b/part.csv"] {
        let archived = fs::read(world.inbox().join(".archive").join(file)).unwrap();
        assert_eq!(archived, input("archive_same_basename", file), "{file}");
        assert!(!world.inbox().join(file).exists(), "{file}");
    }
}

#[test]
fn two_links_to_one_file_are_a_delivery_and_a_duplicate() {
    let world = case("hard_links", "", ORDERS);
    fs::hard_link(world.inbox().join("a.csv"), world.inbox().join("b.csv")).unwrap();
    assert_eq!(world.once(0)["deliveries"], json!({ "duplicate": 1, "loaded": 1 }));
    assert_eq!(rows(&world), json!([ada_bo_cy()[0]]));
}
