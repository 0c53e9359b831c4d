//! Headers, and lines around them.

use super::*;

#[test]
fn lines_before_the_header_are_no_header_and_can_be_skipped() {
    let words = ["it has Report of sales", "all columns with source.format.skip_lines: 2"];
    fails(&case("preamble", "", ORDERS), "a.csv", &words);
    // The third line is blank, so it does not matter whether it is skipped.
    for lines in [2, 3] {
        let format = format!("format: {{ skip_lines: {lines} }}");
        loads(&case("preamble", &format, ORDERS), &ada_bo_cy());
    }
}

#[test]
fn blank_lines_before_the_header_are_ignored() {
    loads(&case("blank_lines_before_header", "", ORDERS), &ada_bo_cy());
}

#[test]
fn a_line_of_units_is_refused_or_belongs_to_the_header() {
    refuses(&case("units_row", "", ORDERS), &ada_bo_cy(), &[(2, "\"[EUR]\" must be a finite number")]);
    loads(&case("units_row", "format: { header: 2 }", ORDERS), &ada_bo_cy());
}

#[test]
fn a_header_and_records_that_all_end_with_a_delimiter_load() {
    for format in ["csv", "{ extra_fields: ignore_empty_last }"] {
        loads(&case("trailing_delimiter_both", &format!("format: {format}"), ORDERS), &ada_bo_cy());
    }
}

#[test]
fn a_name_with_a_line_end_is_declared_with_it() {
    let columns = [("id", "int"), ("amount", "{ type: double, from: \"amount\\n(EUR)\" }")];
    loads(&case("header_with_newline", "", &columns), &json!([[1, 2.5]]));
}

#[test]
fn a_file_of_one_declared_column_is_not_guessed_at() {
    let world = case("one_declared_column", "", &[("line", "{ type: text, from: \"id;name\" }")]);
    refuses(&world, &json!([["1;Ada"]]), &[(3, "2 fields where the header has 1")]);
}

#[test]
fn a_file_with_the_end_of_file_of_dos_is_complete() {
    let world = case("dos_end_of_file", "", ORDERS);
    loads(&world, &ada_bo_cy());
    assert_eq!(world.states()["a.csv"], "loaded");
}

#[test]
fn a_list_without_a_header_has_the_names_and_null_words_of_the_configuration() {
    let columns = [("n", "int"), ("name", "text"), ("kind", "text"), ("country", "text"), ("title", "text")];
    let world = case("ofac_style", "", &columns);
    let words = ["`36` is a value, not a name", "set source.format.header: false", "source.format.names"];
    fails(&world, "list.csv", &words);
    let init = world.run(&["init", "inbox/list.csv"]);
    assert!(init.code == 2 && init.stderr.contains("set source.format.header: false"), "{init:?}");
    let names = "names: [n, name, kind, country, title]";
    let format = format!("format: {{ header: false, {names}, null: ['\"-0- \"'] }}");
    let (moon, oak) = ("MOON FERRIES", "OAK, J.T.");
    let rows = json!([[36, moon, null, "ATLANTIS", null], [173, oak, null, "ATLANTIS", null]]);
    loads(&case("ofac_style", &format, &columns), &rows);
}
