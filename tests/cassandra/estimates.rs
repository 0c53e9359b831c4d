//! Tests of collision counts that are estimated from a sample of the keys.

use serde_json::Value as Json;

use crate::place::Place;

const YAML: &str = "source:\n  columns: { k: int, n: int }\n\
                    tables:\n  t: { partition_key: [k], columns: [n] }\n";

/// Creates a place that remembers so few keys that larger counts are estimates.
fn place() -> Option<Place> {
    Place::of(YAML).map(|place| place.with("limits.collision_keys", "256").with("write.window", "500"))
}

fn csv(keys: impl Iterator<Item = u32>) -> String {
    format!("k,n\n{}", keys.map(|k| format!("{k},1\n")).collect::<String>())
}

fn told(place: &Place) -> [Json; 3] {
    let summary = place.json(&["status"])["tables"]["t"].clone();
    let receipt = place.receipt("a.csv")["tables"]["t"].clone();
    assert_eq!(receipt["estimated"], true, "{receipt}");
    assert_eq!(summary["estimated"], true, "{summary}");
    assert!(place.run(&["status"]).stdout.contains("≈"));
    [summary["collisions"].clone(), receipt["collisions"].clone(), receipt["rows"].clone()]
}

#[test]
fn distinct_keys_have_zero_estimated_collisions() {
    let Some(place) = place() else { return };
    place.drop_file("a.csv", csv(0..20_000));
    let run = place.once(0);
    assert_eq!(run["tables"]["t"]["collisions"], 0, "{run}");
    assert_eq!(told(&place), [0, 0, 20_000].map(Json::from));
}

#[test]
fn many_collisions_are_reported_as_an_estimate() {
    let Some(place) = place() else { return };
    place.drop_file("a.csv", csv((0..20_000).map(|n| n % 5000)));
    let run = place.once(0);
    let near = 10_000..20_000;
    for collisions in [&run["tables"]["t"]["collisions"], &told(&place)[0], &told(&place)[1]] {
        assert!(near.contains(&collisions.as_u64().unwrap()), "{collisions}");
    }
}
