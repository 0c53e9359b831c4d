//! Dates, times and timestamps as other programs write them.

use super::*;

/// A world with a case of the columns `id`, `at` and `what`.
fn log(name: &str, at: &str) -> World {
    case(name, "", &[("id", "int"), ("at", at), ("what", "text")])
}

fn times(world: &World) -> Vec<(u64, String)> {
    let time = |row: &Vec<Json>| (row[0].as_u64().unwrap(), row[1].as_str().unwrap().to_owned());
    world.tables()["t"].iter().map(time).collect()
}

#[test]
fn times_finer_than_a_millisecond_are_refused_or_cut_off_if_this_is_declared() {
    let (name, words) = (
        "microsecond_timestamps",
        "no finer than a millisecond; if the further digits can be cut off, set `truncate: true`",
    );
    let world = log(name, "timestamp");
    let whole = json!([[5, "2024-03-01T17:30:00.123Z", "cqlsh COPY TO"]]);
    refuses(&world, &whole, &[2, 3, 4, 5].map(|line| (line, words)));
    let world = log(name, "{ type: timestamp, truncate: true }");
    world.once(0);
    assert_eq!(times(&world), [1, 2, 3, 4, 5].map(|id| (id, "2024-03-01T17:30:00.123Z".to_owned())));
}

#[test]
fn timestamps_of_bigquery_snowflake_mail_and_java_are_read_by_their_forms() {
    let name = "foreign_timestamp_forms";
    let world = log(name, "timestamp");
    world.once(1);
    let entries = quarantined(&world);
    assert_eq!(entries.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4, 5, 7, 10]);
    assert!(entries.iter().all(|(_, detail)| detail.contains("set `format` for the column")), "{entries:?}");
    assert_eq!(times(&world).len(), 3);
    let forms = "[\"%F %T%.f UTC\", \"%F %T Z\", \"%F %T %z\", \"%a, %d %b %Y %T GMT\", \"%FT%RZ\", \"%FT%T%:z\", \
                 \"%F %T+00\", \"%FT%TZ[UTC]\"]";
    let world = log(name, &format!("{{ type: timestamp, format: {forms} }}"));
    world.once(0);
    let at = |id| format!("2024-03-01T17:30:00.{}Z", if id == 2 { "500" } else { "000" });
    assert_eq!(times(&world), (1..=9).map(|id| (id, at(id))).collect::<Vec<_>>());
}

#[test]
fn other_forms_of_dates_are_refused_and_can_be_declared() {
    let name = "other_date_forms";
    let words = "must be a date like 2018-11-01; if all values look like this, set `format` for the column";
    refuses(
        &case(name, "", &[("id", "int"), ("day", "date")]),
        &json!([]),
        &[2, 3, 4, 5, 6, 7, 8, 9]
            .map(|line| (line, if line == 9 { "if it means an empty field" } else { words })),
    );
    let forms = "[\"%d/%m/%Y\", \"%Y%m%d\", \"%F %T\", \"%d-%b-%y\", \"%d.%m.%Y\", \"%Y/%m/%d\", \"%F\"]";
    let day = format!("{{ type: date, format: {forms}, truncate: true }}");
    let world = case(name, "", &[("id", "int"), ("day", &day)]);
    let rows: Vec<Json> = (1..=7).map(|id| json!([id, "2024-02-01"])).collect();
    refuses(&world, &json!(rows), &[(9, "\"0000-00-00\" must be")]);
}

#[test]
fn other_forms_of_times_are_refused_and_can_be_declared() {
    let nine = "09:05:00.000000000";
    let world = case("time_forms", "", &[("id", "int"), ("t", "time")]);
    let words = "at most nine decimals; if all values look like this, set `format` for the column";
    let no_time = "\"09:05:60\" must be a time of day like 21:01:46.796, at most nine decimals";
    let told = |line| if line == 6 { no_time } else { words };
    refuses(&world, &json!([[6, nine]]), &[2, 3, 4, 5, 6].map(|line| (line, told(line))));
    let world = case(
        "time_forms",
        "",
        &[("id", "int"), ("t", "{ type: time, format: [\"%H:%M\", \"%I:%M:%S %p\", \"%H%M\"] }")],
    );
    let rows = json!([[1, nine], [2, "21:05:30.000000000"], [4, nine], [6, nine]]);
    refuses(&world, &rows, &[(4, "\"24:00\" must be"), (6, "\"09:05:60\" must be")]);
}
