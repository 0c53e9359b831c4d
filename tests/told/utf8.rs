//! A file that is UTF-8 is not read in another encoding: the first message shows what would be misread.

use crate::common::World;
use crate::first_message::world;

const CITIES: &str = "id;customer;amount\n1;Zürich;2,5\n2;Köln;3\n";

fn customers(world: &World) -> Vec<String> {
    world.tables()["t"].iter().map(|row| row[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_file_that_is_utf8_is_not_read_in_another_encoding() {
    let expected = "`Zürich` at byte 21 would be read as `ZÃ¼rich`";
    let mut world = world().with("source.format", "excel");
    world.drop_file("a.csv", CITIES);
    let check = world.run(&["check"]);
    assert!(check.code == 1 && check.stdout.contains(expected), "{check:?}");
    let output = world.run(&["run", "--once"]);
    assert!(output.code == 1 && output.stderr.contains(expected), "{output:?}");
    let detail = world.receipt("a.csv")["detail"].as_str().unwrap().to_owned();
    for setting in ["set source.encoding: utf-8", "set source.looks_like_utf8: ignore"] {
        assert!(detail.contains(setting), "{detail}");
    }
    assert!(customers(&world).is_empty());
    // A failed file is tried again once the configuration changes.
    world.set("source.looks_like_utf8", "ignore");
    world.once(0);
    assert_eq!(customers(&world), ["ZÃ¼rich", "KÃ¶ln"]);
    let world = world.with("source.encoding", "utf-8");
    assert_eq!(world.run(&["load", "inbox/a.csv", "--again"]).code, 0);
    assert_eq!(customers(&world), ["Zürich", "Köln"]);
}

#[test]
fn a_file_in_the_declared_encoding_is_loaded_and_may_not_grow_by_utf8() {
    let world = world().with("source.format", "excel");
    world.drop_file("a.csv", encoding_rs::WINDOWS_1252.encode(CITIES).0);
    world.drop_file("b.csv", "id;customer;amount\n3;Bern;1\n");
    world.once(0);
    assert_eq!(customers(&world), ["Zürich", "Köln", "Bern"]);
    world.append("b.csv", "4;Genève;1\n");
    let output = world.run(&["run", "--once"]);
    assert!(output.code == 1 && output.stderr.contains("would be read as `GenÃ¨ve`"), "{output:?}");
    assert_eq!((world.states()["b.csv"].as_str(), customers(&world).len()), ("failed", 3));
}
