//! Files that are wide, and files in a form that is never accepted.

use super::*;

#[test]
fn a_file_with_2500_columns_is_loaded_and_proposed() {
    let line = |value: &dyn Fn(u32) -> String| (0..2500).map(value).collect::<Vec<_>>().join(",") + "\n";
    let records = (0..20).map(|n| line(&|column| if column == 0 { n.to_string() } else { format!("v{n}") }));
    let file = line(&|column| format!("c{column}")) + &records.collect::<String>();
    let world = declared("", &[("c0", "int"), ("c2499", "text")]);
    world.drop_file("a.csv", file);
    loads(&world, &(0..20).map(|n| json!([n, format!("v{n}")])).collect());
    let init = world.run(&["init", "inbox/a.csv"]);
    assert!(init.code == 0 && init.stdout.contains("c2499: text"), "{:?}", init.stderr);
}

#[test]
fn a_long_file_in_a_form_that_is_never_accepted_fails_at_its_beginning_and_loads_once_its_form_is_declared() {
    let line = |n: u32| format!("{n},2024-03-01 17:30:00.{n:06},x\n");
    let file = format!("id,at,what\n{}", (0..100_000).map(line).collect::<String>());
    let log = |at| declared("", &[("id", "int"), ("at", at), ("what", "text")]);
    let world = log("timestamp");
    world.drop_file("a.csv", &file);
    let words =
        ["9990 of 10000 records were refused", "so none of them was loaded", "in column `at` (value)"];
    fails(&world, "a.csv", &words);
    assert_eq!(quarantined(&world), [], "a file that is refused as a whole does not fill the quarantine");
    let declared = world.path("config.yaml");
    let yaml = fs::read_to_string(&declared).unwrap();
    fs::write(&declared, yaml.replace("at: timestamp", "at: { type: timestamp, truncate: true }")).unwrap();
    world.once(0);
    assert_eq!(world.accounts()["t"], (100_000, 0));
}

#[test]
fn a_file_of_which_nothing_could_be_loaded_is_deleted_only_after_it_is_loaded() {
    let mut world = case("all_refused_and_deleted", "after: delete", ORDERS);
    fails(&world, "a.csv", &["none of its 200 records", "set source.format.extra_fields: ignore_empty_last"]);
    world.set("source.format", "{ extra_fields: ignore_empty_last }");
    world.once(0);
    assert_eq!(world.accounts()["t"], (200, 0));
    assert!(!world.inbox().join("a.csv").exists());
}
