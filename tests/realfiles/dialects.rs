//! Delimiters, quotes and encodings.

use super::*;

const NOTES: Columns<'_> = &[("id", "int"), ("note", "text"), ("tag", "text")];

#[test]
fn an_export_with_semicolons_and_decimal_commas_loads_as_excel() {
    let file = "orders.csv";
    let words = ["the header is one field with 4 `;`", "set source.format.delimiter: \";\""];
    fails(&case("semicolon_decimal_comma", "", ORDERS), file, &words);
    let world = case("semicolon_decimal_comma", "format: { kind: excel, thousands: \".\" }", ORDERS);
    loads(&world, &ada_bo_cy());
}

#[test]
fn a_sep_line_of_excel_is_named_and_can_be_skipped() {
    let words = ["it has sep=,", "source.format.skip_lines: 1"];
    let world = case("excel_sep_line", "", ORDERS);
    fails(&world, "a.csv", &words);
    let init = world.run(&["init", "inbox/a.csv"]);
    assert!(init.code == 2 && init.stdout.is_empty(), "a column called sep is no proposal: {init:?}");
    loads(&case("excel_sep_line", "format: { skip_lines: 1 }", ORDERS), &ada_bo_cy());
}

#[test]
fn unicode_text_of_excel_loads_after_doing_what_the_messages_say() {
    let (name, file) = ("excel_unicode_text", "a.csv");
    fails(&case(name, "", ORDERS), file, &["UTF-16LE", "set source.encoding: utf-16le"]);
    let tabs = ["it has id", "one field with 4 `\\t`: set source.format.delimiter: \"\\t\""];
    fails(&case(name, "encoding: utf-16le", ORDERS), file, &tabs);
    for format in ["{ delimiter: \"\\t\" }", "tsv"] {
        loads(&case(name, &format!("encoding: utf-16le, format: {format}"), ORDERS), &ada_bo_cy());
    }
}

#[test]
fn tabs_and_pipes_are_named_and_can_be_declared() {
    let ada_bo_cy = ada_bo_cy();
    for (format, row, other, words) in [
        ("tsv", 0, "p.csv", "one field with 4 `|`: set source.format.delimiter: \"|\""),
        ("{ delimiter: \"|\" }", 1, "t.csv", "one field with 4 `\\t`: set source.format.delimiter: \"\\t\""),
    ] {
        let world = case("tab_and_pipe", &format!("format: {format}"), ORDERS);
        assert_eq!(world.once(1)["deliveries"], json!({ "failed": 1, "loaded": 1 }), "{format}");
        assert_eq!(rows(&world), json!([ada_bo_cy[row]]));
        let detail = world.receipt(other)["detail"].clone();
        assert!(detail.as_str().unwrap().contains(words), "{detail}");
    }
}

/// It has semicolons at the end of each line, a second header line, decimal commas, compact dates, and lines that
/// describe the columns at its end.
#[test]
fn a_table_of_a_national_bank_loads_and_its_last_lines_are_refused_or_skipped() {
    let columns = [
        ("d", "{ type: date, from: dzien, format: \"%Y%m%d\" }"),
        ("eur", "{ type: decimal, from: \"1 EUR\" }"),
    ];
    let name = "national_bank_table";
    let words = ["one field with 4 `;`: set source.format.delimiter: \";\""];
    fails(&case(name, "encoding: iso-8859-2", &columns), "a.csv", &words);
    let keys = "delimiter: \";\", decimal: \",\", header: 2, extra_fields: ignore_empty_last";
    let with = |keys: &str| case(name, &format!("encoding: iso-8859-2, format: {{ {keys} }}"), &columns);
    let rates = json!([["2031-05-07", "4.1111"], ["2031-05-08", "4.3333"]]);
    let (first, second) = ("\"skr\u{f3}t\" must be a date", "\"opis\" must be a date");
    refuses(&with(keys), &rates, &[(6, first), (7, second)]);
    loads(&with(&format!("{keys}, skip_footer: 2")), &rates);
}

#[test]
fn single_quotes_are_quotes_if_this_is_declared() {
    let world = case("single_quotes", "", NOTES);
    let rows = json!([[1, "'plain'", "'x'"], [3, "'it''s'", "'z'"]]);
    refuses(&world, &rows, &[(3, "in single quotes, set source.format.quote: \"'\"")]);
    let world = case("single_quotes", "format: { quote: \"'\" }", NOTES);
    loads(&world, &json!([[1, "plain", "x"], [2, "with, comma", "y"], [3, "it's", "z"]]));
}

#[test]
fn json_in_quotes_is_loaded_and_json_without_quotes_is_refused() {
    let world = case("embedded_json", "", NOTES);
    let rows = json!([[1, "{\"tax\":{\"state\":0.07,\"list\":[1,2]}}", "a"]]);
    let words = "put the field in quotes; a quote that is part of the text is written twice";
    refuses(&world, &rows, &[(3, words), (4, words)]);
}
