//! What `load` says of a file that a user names and that cannot be loaded.

use serde_json::json;

use crate::common::{Output, World};
use crate::{FILE, log_line, world};

fn load(world: &World, path: &str) -> Output {
    world.run(&["load", path])
}

#[test]
fn a_named_file_that_has_failed_says_why_and_what_to_do() {
    let world = world();
    world.drop_file(FILE, "k,other\na,1\n");
    world.drop_file("good.csv", "k,v\na,1\n");
    world.once(1);
    for path in ["inbox/day.csv", "inbox"] {
        let output = load(&world, path);
        assert!(output.code == 1 && output.stdout.contains("deliveries  1 failed\n"), "{output:?}");
        let line = log_line(&output.stderr, "failed before, and nothing has changed since");
        for text in ["file=\"day.csv\"", "the header has no column `v`", "next: ", "load it with --again"] {
            assert!(line.contains(text), "{line}");
        }
    }
    let dry = world.run(&["load", "inbox/day.csv", "--dry-run", "--json"]);
    assert_eq!((dry.code, &dry.json()["deliveries"]), (1, &json!({ "failed": 1 })), "{dry:?}");
    assert_eq!(load(&world, "inbox/good.csv").code, 0);
    assert_eq!(world.once(0)["deliveries"], json!({}), "a pass over the inbox reports what is new");
    assert_eq!(world.generations(FILE), 1);
}

#[test]
fn a_named_file_that_is_incomplete_says_what_it_lacks() {
    let world = world();
    world.drop_file(FILE, "k,v\na,1\nb,\"2\n");
    world.once(1);
    let output = load(&world, "inbox/day.csv");
    assert!(output.code == 1 && output.stdout.contains("deliveries  1 incomplete\n"), "{output:?}");
    log_line(&output.stderr, "is still incomplete: ");
    world.append(FILE, "\"\nc,3\n");
    assert_eq!(load(&world, "inbox/day.csv").code, 1, "the second record is no number");
    assert_eq!(load(&world, "inbox/day.csv").code, 0);
}
