//! Values as spreadsheets and databases write them.

use super::*;

#[test]
fn words_for_null_are_text_unless_they_are_declared() {
    let columns = [("id", "int"), ("city", "text"), ("score", "double")];
    let world = case("null_literals", "", &columns);
    let rows =
        json!([[1, "Rome", 1.5], [2, "NULL", 2.5], [3, "\\N", 3.5], [4, "N/A", 4.5], [8, "null", 8.5]]);
    let entries = ["NULL", "\\\\N", "NaN"].map(|word| format!("set source.format.null: [\"{word}\"]"));
    refuses(&world, &rows, &(6..).zip(entries).collect::<Vec<_>>());
    let null = "format: { null: ['NULL', '\\N', 'N/A', 'NaN', 'null'] }";
    let world = case("null_literals", null, &columns);
    let rows = json!([
        [1, "Rome", 1.5],
        [2, null, 2.5],
        [3, null, 3.5],
        [4, null, 4.5],
        [5, "Oslo", null],
        [6, "Bern", null],
        [7, "Kyiv", null],
        [8, null, 8.5]
    ]);
    loads(&world, &rows);
}

#[test]
fn numbers_whose_digits_a_spreadsheet_dropped_are_refused() {
    let columns = [("id", "bigint"), ("at", "{ type: timestamp, unit: ms }"), ("what", "text")];
    let entries = [
        (2, "\"1.23457E+15\" must be a whole number"),
        (3, "\"1.54126E+12\" must be a number of milliseconds"),
        (4, "\"3.00E+00\" must be a whole number"),
    ];
    refuses(&case("excel_scientific", "", &columns), &json!([]), &entries);
}

#[test]
fn formulas_around_digits_are_refused_and_can_be_stripped() {
    let columns = [("code", "text"), ("qty", "int")];
    let world = case("excel_equals_quote", "", &columns);
    let help = "if a spreadsheet wrote this formula, have it write the plain values, or set source.format.quote: none";
    refuses(&world, &json!([["00124", 6], ["=\"00125\"", 7]]), &[(2, help)]);
    let strip = "strip: ['\"=\"\"', '\"\"\"', '=\"', '\"']";
    let code = format!("{{ type: text, {strip} }}");
    let world = case("excel_equals_quote", "format: { quote: none }", &[("code", &code), ("qty", "int")]);
    loads(&world, &json!([["00123", 5], ["00124", 6], ["00125", 7]]));
}

#[test]
fn numbers_as_people_write_them_are_refused_and_some_forms_can_be_declared() {
    let name = "numbers_as_people_write";
    let world = case(name, "", &[("id", "int"), ("v", "double")]);
    let values = [
        "1,234.5",
        "1\\u{a0}234.5",
        "1\\u{202f}234.5",
        "$12.50",
        "12.5%",
        "(12.50)",
        "12.50-",
        "\u{2212}12.5",
        "12.5\\u{a0}",
        "1_000",
        "#N/A",
        "12.5 EUR",
    ];
    let entries = values.map(|value| format!("\"{value}\" must be"));
    refuses(&world, &json!([]), &(2..).zip(entries).collect::<Vec<_>>());
    let v = "{ type: double, thousands: \",\", strip: [\"$\", \"%\", \" EUR\"], null: [\"#N/A\"] }";
    let world = case(name, "", &[("id", "int"), ("v", v)]);
    let rows = json!([[1, 1234.5], [4, 12.5], [5, 12.5], [11, null], [12, 12.5]]);
    refuses(&world, &rows, &[3, 4, 7, 8, 9, 10, 11].map(|line| (line, "must be a number")));
}

#[test]
fn words_for_true_and_false_are_refused_unless_they_are_declared() {
    let world = case("boolean_words", "", &[("id", "int"), ("ok", "boolean")]);
    let help =
        "must be true, false, t, f, yes, no, y, n, 1 or 0; if it is a word for true or false, set `\"true\"`";
    let entries = ["on", "1.0", "WAHR", "-1", "X"].map(|word| format!("\"{word}\" {help}"));
    refuses(&world, &json!([[1, 1], [2, 1], [8, 1]]), &(4..).zip(entries).collect::<Vec<_>>());
    let words = "{ type: boolean, \"true\": [wahr, x, \"on\"], \"false\": [falsch] }";
    let world = case("boolean_words", "", &[("id", "int"), ("ok", words)]);
    let entries = [2, 3, 5, 7, 9].map(|line| (line, "must be"));
    refuses(&world, &json!([[3, 1], [5, 1], [7, 1]]), &entries);
}

#[test]
fn what_dsbulk_and_cqlsh_unload_is_loaded_with_its_blobs() {
    let columns = |blob| {
        [
            ("id", "int"),
            ("b", blob),
            ("at", "timestamp"),
            ("d", "date"),
            ("t", "time"),
            ("n", "decimal"),
            ("ok", "boolean"),
        ]
    };
    let row = |id| {
        let (at, t) = ("2024-03-01T17:30:00.123Z", "17:30:00.123456789");
        json!([id, "[202, 254, 186, 190]", at, "2024-03-01", t, "12.50", 1])
    };
    let name = "dsbulk_unload_blob";
    let world = case(name, "", &columns("blob"));
    let help = "\"yv66vg==\" must be 0x followed by an even count of hexadecimal digits; if it is Base64, set \
                `format: base64` for the column";
    refuses(&world, &json!([row(2)]), &[(2, help)]);
    let base64 = "{ type: blob, format: base64 }";
    loads(&case(name, "pattern: [dsbulk.csv], format: dsbulk", &columns(base64)), &json!([row(1)]));
    loads(&case(name, "pattern: [cqlsh.csv]", &columns("blob")), &json!([row(2)]));
}

#[test]
fn a_type_that_does_not_exist_is_refused_with_the_type_that_is_probably_meant() {
    let check = |kind: &str| declared("", &[("id", "int"), ("v", kind)]).run(&["schema"]);
    for kind in ["list<text>", "set<int>", "\"map<text,int>\"", "varchar", "varint", "Int", "TEXT"] {
        assert_eq!(check(kind).code, 0, "{kind}");
    }
    for (kind, near) in [
        ("\"vector<float, 3>\"", ""),
        ("frozen<address>", ""),
        ("counter", ""),
        ("duration", ""),
        ("ascii", "did you mean text?"),
        ("string", "did you mean text?"),
        ("integer", "did you mean int?"),
        ("bool", "did you mean boolean?"),
        ("long", "did you mean bigint?"),
        ("datetime", "did you mean timestamp?"),
    ] {
        let output = check(kind);
        let words = ["source.columns.v: unknown type", near, "the types are text, int"];
        assert!(output.code == 2 && words.iter().all(|words| output.stderr.contains(words)), "{output:?}");
    }
}
