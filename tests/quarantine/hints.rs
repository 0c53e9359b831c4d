//! The settings that a refusal suggests are those under which the value is read.

use crate::common::World;

/// Returns the texts between backticks that set a key of the column.
fn settings(detail: &str) -> String {
    let quoted: Vec<&str> = detail.split('`').skip(1).step_by(2).collect();
    quoted.into_iter().filter(|text| text.contains(": ")).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_value_is_read_with_the_settings_that_its_refusal_suggests() {
    for (kind, field) in [
        ("int", "1.234"),
        ("int", "\"1,234 kg\""),
        ("int", "\"NULL\""),
        ("int", " NULL"),
        ("double", "\"1.234,5\""),
        ("double", "\"1,234.5\""),
        ("double", "\"-1 234,5 EUR\""),
        ("decimal", "$12.50"),
        ("timestamp", "2024-03-01 17:30:00.123456+00"),
        ("blob", "yv66vg=="),
    ] {
        let columns = format!("{{ k: text, v: {kind} }}");
        let mut world = World::of(&format!(
            "source:\n  columns: {columns}\ntables:\n  t: {{ partition_key: [k], columns: [v] }}\n"
        ));
        world.drop_file("a.csv", format!("k,v\na,{field}\n"));
        world.once(1);
        let entries = world.json(&["quarantine", "list"]);
        let detail = entries[0]["detail"].as_str().unwrap();
        world.set("source.columns.v", &format!("{{ type: {kind}, {} }}", settings(detail)));
        let output = world.run(&["run", "--once"]);
        assert_eq!(output.code, 0, "{kind} {field}: {detail}: {output:?}");
        assert_eq!(world.accounts()["t"].0, 1, "{kind} {field}: {detail}");
    }
}
