//! Examples of fields that are accepted, with their values, and of fields that are refused.

use super::*;
use crate::domain::parse::refusal::outside;
use crate::domain::text::plain;

/// Returns the text form of the value that `field` parses to, or the rule that it breaks.
fn seen(form: Form, field: &str) -> Result<String, Refusal> {
    let mut arena = Vec::new();
    let cell = parse(form, field.as_bytes(), &mut arena)?;
    Ok(plain(&cell.value(&arena)).into_owned())
}

fn accepts(form: impl Into<Form>, cases: &[(&str, &str)]) {
    let form = form.into();
    for (field, expected) in cases {
        assert_eq!(seen(form, field).as_deref(), Ok(*expected), "{form:?} {field:?}");
    }
}

fn refuses(form: impl Into<Form>, cases: &[&str]) {
    let form = form.into();
    for field in cases {
        assert!(seen(form, field).is_err(), "{form:?} {field:?} gave {:?}", seen(form, field));
    }
}

#[test]
fn whole_numbers_keep_to_their_range() {
    let accepted = [("39", "39"), (" -7 ", "-7"), ("2147483647", "2147483647"), ("", ""), ("  ", "")];
    accepts(Type::Int, &accepted);
    accepts(Type::Int, &[("+5", "5"), ("007", "7"), ("-0", "0")]);
    refuses(
        Type::Int,
        &["2147483648", "39.0", "1e3", "0x10", "١", "4 2", "NaN", "1_000", "7\t", "\r7", "--1"],
    );
    refuses(Type::Tinyint, &["128", "-129"]);
    refuses(Type::Smallint, &["32768"]);
    refuses(Type::Bigint, &["9223372036854775808"]);
    accepts(Type::Bigint, &[("-9223372036854775808", "-9223372036854775808")]);
}

#[test]
fn floats_are_finite_and_never_vanish() {
    accepts(Type::Float, &[("495.3073", "495.3073"), (" 1e3", "1000"), ("-.5", "-0.5"), ("5.", "5")]);
    accepts(Type::Double, &[("495.30731201171875", "495.30731201171875"), ("0e999", "0")]);
    refuses(
        Type::Float,
        &["nan", "inf", "-infinity", "1e39", "1,5", "5 x", "1_0", "1._5", ".", "e5", "1e-50"],
    );
    refuses(Type::Double, &["NaN", "1e309", "1e-400", "1e0001", "1e", "1.2.3", "\t1"]);
}

#[test]
fn no_number_has_a_minus_zero() {
    for kind in [Type::Int, Type::Float, Type::Double, Type::Decimal] {
        accepts(kind, &[("-0", "0")]);
    }
    accepts(Type::Double, &[("-0.0", "0"), ("-0e5", "0")]);
    accepts(Type::Decimal, &[("-0.00", "0.00")]);
}

#[test]
fn decimals_keep_their_scale() {
    let accepted = [("12.50", "12.50"), ("-0.001", "-0.001"), ("1E+2", "100"), ("1e-3", "0.001")];
    accepts(Type::Decimal, &accepted);
    accepts(Type::Decimal, &[("007.50", "7.50"), ("1.50e1", "15.0"), ("12.5e-3", "0.0125"), ("0e5", "0")]);
    accepts(Type::Decimal, &[(".5", "0.5"), ("5.", "5"), ("+1.5e3", "1500"), ("-1.5e1", "-15")]);
    refuses(Type::Decimal, &["1e5000", "NaN", "1.2.3", "twelve", "1_000", "1__0", "1._5", "1_", "0e999"]);
    refuses(Type::Decimal, &["1e100", "1e-100", &"9".repeat(1001), &format!("0.{}", "1".repeat(1001))]);
    assert!(seen(Type::Decimal.into(), &format!("0{}", "9".repeat(1000))).is_ok());
}

#[test]
fn a_timestamp_is_read_as_it_is_written() {
    let accepted = [
        ("2018-11-01T21:01:46.796Z", "2018-11-01T21:01:46.796Z"),
        ("2018-11-01 21:01:46", "2018-11-01T21:01:46.000Z"),
        ("2018-11-01T21:01", "2018-11-01T21:01:00.000Z"),
        ("2018-11-01T23:01:46+02:00", "2018-11-01T21:01:46.000Z"),
        ("2018-11-01 23:01:46.796000+02", "2018-11-01T21:01:46.796Z"),
        ("2018-11-01T16:31-0430", "2018-11-01T21:01:00.000Z"),
        ("2018-11-01", "2018-11-01T00:00:00.000Z"),
        (" 2018-11-01 ", "2018-11-01T00:00:00.000Z"),
    ];
    accepts(Type::Timestamp, &accepted);
    let guessed = [
        "2018-11-01T21:01:46[America/New_York]",
        "2018-11-01T21:01:46[Europe/Berlin]",
        "2018-11-01T21:01:46-04:00[America/New_York]",
        "2016-12-31T23:59:60Z",
        "2018-11-01T12:30:60",
        "2018-11-01T21:01:46,796Z",
        "2018-11-01[u-ca=hebrew]",
        "2018-11-01T21",
        "20181101T210146Z",
        "+002018-11-01T21:01:46Z",
        "2018-11-01t21:01:46z",
        "2018-11-01T21:01:46.796Z\t",
        "2018-11-01T21:01:46 Z",
        "2018-11-01T24:00",
        "2018-11-01Z",
        "2018-11-01T21:01:46+24",
        "2018-11-01T21:01:46+02:",
        "2018-11-01T21:01:46.",
        "2018-11-01T21:01:46.7960000000Z",
    ];
    refuses(Type::Timestamp, &guessed);
    refuses(Type::Timestamp, &["2018-11-01T21:01:46.7961Z", "2018-13-01", "2018-02-29", "yesterday"]);
}

#[test]
fn all_of_the_years_0_to_9999_are_accepted() {
    let ends = [
        ("0000-01-01", "0000-01-01T00:00:00.000Z"),
        ("9999-12-31", "9999-12-31T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("9999-12-31T22:59:59-01:00", "9999-12-31T23:59:59.000Z"),
    ];
    accepts(Type::Timestamp, &ends);
    accepts(Form::Since(Unit::Millis), &[("253402300799999", "9999-12-31T23:59:59.999Z")]);
    accepts(Form::Since(Unit::Seconds), &[("-62167219200", "0000-01-01T00:00:00.000Z")]);
    accepts(Type::Date, &[("0000-01-01", "0000-01-01"), ("9999-12-31", "9999-12-31")]);
    for (form, beyond) in [
        (Form::Plain(Type::Timestamp), "0000-01-01T00:00:00+00:01"),
        (Form::Plain(Type::Timestamp), "9999-12-31T23:59:59-00:01"),
        (Form::Since(Unit::Millis), "253402300800000"),
        (Form::Since(Unit::Seconds), "-62167219201"),
        (Form::Since(Unit::Seconds), "9223372036854775807"),
        (Form::Since(Unit::Micros), "99999999999999999999"),
    ] {
        let refusal = seen(form, beyond).unwrap_err();
        assert_eq!(refusal, outside("in the years 0000 to 9999"), "{beyond}");
    }
}

#[test]
fn a_number_is_a_timestamp_only_with_a_unit() {
    for number in ["1541106106796", "1709251200", "20240301", "0", "-1", "1.54158E+12"] {
        let refusal = seen(Type::Timestamp.into(), number).unwrap_err();
        assert!(refusal.rule.contains("declare it as { type: timestamp, unit: s | ms | us }"), "{number}");
    }
    accepts(Form::Since(Unit::Seconds), &[("1709251200", "2024-03-01T00:00:00.000Z")]);
    accepts(
        Form::Since(Unit::Millis),
        &[
            ("1541106106796", "2018-11-01T21:01:46.796Z"),
            ("-1", "1969-12-31T23:59:59.999Z"),
            (" 0 ", "1970-01-01T00:00:00.000Z"),
        ],
    );
    accepts(Form::Since(Unit::Micros), &[("-1541106106796000", "1921-03-02T02:58:13.204Z"), ("", "")]);
    refuses(Form::Since(Unit::Micros), &["1541106106796001"]);
    refuses(Form::Since(Unit::Millis), &["2018-11-01", "+1", "1.", "1e3", "1_0", "-", "--1", "1\t"]);
}

#[test]
fn dates_and_times_have_one_form() {
    accepts(Type::Date, &[("2018-11-01", "2018-11-01"), ("1969-12-31", "1969-12-31")]);
    refuses(
        Type::Date,
        &["2018-11-31", "01.11.2018", "2018-11-01T00:00", "20181101", "-999-01-01", "2018-11-1"],
    );
    accepts(Type::Time, &[("21:01", "21:01:00.000000000"), ("21:01:46.5", "21:01:46.500000000")]);
    accepts(Type::Time, &[("23:59:59.999999999", "23:59:59.999999999")]);
    let guessed = ["23:59:60", "12:30:60.5", "21:01:46,5", "21:01[Europe/Berlin]", "21", "2101", "24:00"];
    refuses(Type::Time, &guessed);
    refuses(Type::Time, &["25:00", "9:00", "21:01:46Z", "2018-11-01T21:01", "T21:01", "21:01:46.1234567890"]);
}

#[test]
fn all_other_types_have_one_form() {
    let v1 = "b54adc00-67f9-11d9-9669-0800200c9a66";
    let v4 = "7f2c0f62-3a3c-4a89-9a5d-0d1b6f0f4a11";
    accepts(Type::Boolean, &[("TRUE", "true"), ("n", "false"), ("1", "true")]);
    refuses(Type::Boolean, &["2", "ja"]);
    accepts(Type::Uuid, &[(&v4.to_uppercase(), v4)]);
    refuses(Type::Uuid, &["7f2c0f623a3c4a899a5d0d1b6f0f4a11", "x"]);
    accepts(Type::Timeuuid, &[(v1, v1)]);
    refuses(Type::Timeuuid, &[v4]);
    accepts(Type::Blob, &[("0xCAfe", "0xcafe"), ("0x", "0x")]);
    refuses(Type::Blob, &["cafe", "0xcaf", "0xzz", " 0xca", "0Xca", " "]);
    accepts(Type::Inet, &[("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::ffff:10.0.0.1", "10.0.0.1")]);
    refuses(Type::Inet, &["localhost", "127.0.0.1:80", "010.0.0.1", "10.1", "::1%eth0", "1::2::3"]);
    accepts(Type::Text, &[(" kept\t", " kept\t")]);
}

#[test]
fn bytes_that_are_not_text_are_an_encoding_error() {
    for field in [&b"caf\xe9"[..], b"a\0b"] {
        let refusal = parse(Type::Text, field, &mut Vec::new()).unwrap_err();
        assert_eq!(refusal.reason, Reason::Encoding);
    }
}

#[test]
fn only_spaces_are_empty_unless_they_are_text() {
    for (_, kind) in Type::ALL {
        let keeps = matches!(kind, Type::Text | Type::Blob);
        assert!(is_empty(kind, b"") && is_empty(kind, b"  ") != keeps && !is_empty(kind, b"\t"), "{kind}");
    }
}
