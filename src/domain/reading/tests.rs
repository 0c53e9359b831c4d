use proptest::prelude::*;

use super::*;
use crate::domain::value::{Type, Unit};

/// Parses a field and returns its value as text, or `None` if it is refused.
fn read(reading: &Reading, form: impl Into<Form>, field: &str) -> Option<String> {
    let mut arena = Vec::new();
    let cell = reading.parse(form.into(), field.as_bytes(), &mut arena).ok()?;
    Some(crate::domain::text::plain(&cell.value(&arena)).into_owned())
}

fn numbers(decimal: char, thousands: Option<char>) -> Reading {
    let form = NumberForm { decimal, thousands, zero_fraction: false };
    Reading { notation: Notation::Number(form), ..Reading::default() }
}

fn times(form: TimeForm) -> Reading {
    Reading { notation: Notation::Time(form), ..Reading::default() }
}

fn formats(formats: &[&str]) -> TimeForm {
    TimeForm { formats: formats.iter().map(ToString::to_string).collect(), ..TimeForm::default() }
}

fn berlin(fold: Fold) -> TimeForm {
    TimeForm { zone: Zone::named("Europe/Berlin").ok(), fold, ..TimeForm::default() }
}

#[test]
fn a_decimal_comma_is_the_only_mark_before_decimals() {
    let reading = numbers(',', None);
    for (field, expected) in [
        ("12,5", Some("12.5")),
        ("-0,25", Some("-0.25")),
        ("1,5e3", Some("1500")),
        ("7", Some("7")),
        (" 7,0 ", Some("7")),
        ("1.5", None),
        ("1.234", None),
        ("1,2,3", None),
        ("--1", None),
        ("1,5x", None),
        ("NaN", None),
    ] {
        assert_eq!(read(&reading, Type::Double, field).as_deref(), expected, "{field}");
    }
    assert_eq!(read(&reading, Type::Decimal, "12,50").as_deref(), Some("12.50"), "the scale is kept");
}

#[test]
fn groups_have_three_digits_each() {
    let reading = numbers(',', Some('.'));
    for (field, expected) in [
        ("1.234.567,89", Some("1234567.89")),
        ("234,5", Some("234.5")),
        ("1234567,5", Some("1234567.5")),
        ("1.234", Some("1234")),
        ("-1.234", Some("-1234")),
        ("12.34", None),
        ("1234.567", None),
        (".234", None),
        ("1.234.56", None),
        ("1..234", None),
        ("1,234.5", None),
    ] {
        assert_eq!(read(&reading, Type::Decimal, field).as_deref(), expected, "{field}");
    }
    assert_eq!(read(&numbers('.', Some('\u{a0}')), Type::Int, "12\u{a0}345").as_deref(), Some("12345"));
}

#[test]
fn zeros_without_a_whole_part_are_no_whole_number() {
    let form = NumberForm { zero_fraction: true, ..NumberForm::default() };
    let reading = Reading { notation: Notation::Number(form), ..Reading::default() };
    assert_eq!(read(&reading, Type::Int, ".0"), None);
    assert_eq!(read(&reading, Type::Int, "0.0").as_deref(), Some("0"));
}

#[test]
fn a_whole_number_may_have_zero_decimals_where_declared() {
    let form = NumberForm { zero_fraction: true, ..NumberForm::default() };
    let reading = Reading { notation: Notation::Number(form), ..Reading::default() };
    for (field, expected) in
        [("39.0", Some("39")), ("39.000", Some("39")), ("39", Some("39")), ("39.5", None), ("39.", None)]
    {
        assert_eq!(read(&reading, Type::Int, field).as_deref(), expected, "{field}");
    }
    assert_eq!(read(&numbers('.', None), Type::Int, "39.0"), None);
    assert_eq!(read(&reading, Type::Tinyint, "300.0"), None, "the range still holds");
}

#[test]
fn null_words_and_units_are_removed_and_a_default_takes_their_place() {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let reading =
        Reading { null: texts(&["NaN", "n/a"]), strip: texts(&[" €", "€"]), ..numbers(',', None) };
    for (field, expected) in [
        ("12,5 €", Some("12.5")),
        ("€12,5", Some("12.5")),
        ("12,5", Some("12.5")),
        ("NaN", Some("")),
        ("n/a", Some("")),
        ("", Some("")),
        ("€", Some("")),
        ("nan", None),
        ("12,5 $", None),
    ] {
        assert_eq!(read(&reading, Type::Double, field).as_deref(), expected, "{field}");
    }
    assert!(reading.is_empty(Type::Double.into(), b"n/a"));
    let filled = Reading { default: Some("0,5".into()), ..reading };
    assert_eq!(read(&filled, Type::Double, "NaN").as_deref(), Some("0.5"));
    assert!(filled.is_empty(Type::Double.into(), b"NaN"), "the field itself is empty");
}

#[test]
fn text_keeps_its_spaces_and_loses_what_is_stripped() {
    let reading = Reading { strip: vec!["=\"".into(), "\"".into()], ..Reading::default() };
    assert_eq!(read(&reading, Type::Text, "=\"00123\"").as_deref(), Some("00123"));
    assert_eq!(read(&reading, Type::Text, " x ").as_deref(), Some(" x "));
}

#[test]
fn words_for_true_and_false_replace_the_usual_ones() {
    let notation = Notation::Words { yes: vec!["ja".into()], no: vec!["nein".into(), "-".into()] };
    let reading = Reading { notation, ..Reading::default() };
    let of = |field: &str| read(&reading, Type::Boolean, field);
    assert_eq!(of("JA").as_deref(), Some("true"));
    assert_eq!(of("-").as_deref(), Some("false"));
    assert_eq!(of("yes"), None);
    let notation = Notation::Words { yes: vec!["да".into()], no: vec!["Нет".into()] };
    let reading = Reading { notation, ..Reading::default() };
    assert_eq!(read(&reading, Type::Boolean, "ДА").as_deref(), Some("true"));
    assert_eq!(read(&reading, Type::Boolean, "нет").as_deref(), Some("false"));
}

#[test]
fn base64_is_decoded_exactly() {
    let reading = Reading { notation: Notation::Base64, ..Reading::default() };
    assert_eq!(read(&reading, Type::Blob, "yv4=").as_deref(), Some("0xcafe"));
    assert_eq!(read(&reading, Type::Blob, "yv4"), None, "without padding");
    assert_eq!(read(&reading, Type::Blob, "yv5="), None, "bits that no byte has");
}

#[test]
fn dates_and_times_are_read_in_the_declared_form() {
    let of = |format: &str, kind: Type, text: &str| {
        let form = formats(&[format]);
        assert_eq!(form.check(kind), Ok(()), "{format}");
        read(&times(form), kind, text)
    };
    use Type::{Date, Time, Timestamp};
    for (format, kind, field, expected) in [
        ("%d.%m.%Y", Date, "01.02.2024", Some("2024-02-01")),
        ("%d.%m.%Y", Date, "1.2.2024", Some("2024-02-01")),
        ("%d.%m.%Y", Date, "01.02.24", None),
        ("%d.%m.%Y", Date, "31.02.2024", None),
        ("%d.%m.%Y", Date, "01.02.2024 ", Some("2024-02-01")),
        ("%d.%m.%Y", Date, "01.02.2024x", None),
        ("%m/%d/%y", Date, "02/01/24", Some("2024-02-01")),
        ("%Y%m%d", Date, "20240201", Some("2024-02-01")),
        ("%Y-%m-%d %H:%M:%S", Date, "2024-02-01 00:00:00", Some("2024-02-01")),
        ("%Y-%m-%d %H:%M:%S", Date, "2024-02-01 10:00:00", None),
        (
            "%Y-%m-%d %H:%M:%S%.f UTC",
            Timestamp,
            "2024-02-01 10:00:00.5 UTC",
            Some("2024-02-01T10:00:00.500Z"),
        ),
        ("%d.%m.%Y %H:%M", Timestamp, "01.02.2024 10:05", Some("2024-02-01T10:05:00.000Z")),
        ("%Y-%m-%dT%H:%M:%S%z", Timestamp, "2024-02-01T10:00:00+0200", Some("2024-02-01T08:00:00.000Z")),
        ("%m/%d/%Y %I:%M:%S %p", Timestamp, "02/01/2024 09:05:00 PM", Some("2024-02-01T21:05:00.000Z")),
        ("%b %d, %Y", Timestamp, "Feb 1, 2024", Some("2024-02-01T00:00:00.000Z")),
        ("%Y-%m-%d %H:%M:%S", Timestamp, "2024-02-01 23:59:60", None),
        ("%Y-%m-%d %H:%M:%S", Timestamp, "1960-02-01 23:59:59", Some("1960-02-01T23:59:59.000Z")),
        ("%Y%m%dT%H%M%SZ", Timestamp, "20260901T120059Z", Some("2026-09-01T12:00:59.000Z")),
        ("%Y-%m-%d %H:%M:%S%.f", Timestamp, "2026-10-20 12:00:00.500", Some("2026-10-20T12:00:00.500Z")),
        ("%Y-%m-%d %H:%M:%S%.f", Timestamp, "2026-10-20 12:00:00.000", Some("2026-10-20T12:00:00.000Z")),
        ("%Y-%m-%d", Date, "+2024-01-02", None),
        ("%m%d%y", Date, "010124", Some("2024-01-01")),
        ("%m%d%y", Date, "10124", None),
        ("%a %d.%m.%Y", Date, "TUE 02.01.2024", Some("2024-01-02")),
        ("%H%M", Time, "0130", Some("01:30:00.000000000")),
        ("%H%M", Time, "130", None),
        ("%H%M%S", Time, "13015", None),
        ("%H:%M", Time, "9:05", Some("09:05:00.000000000")),
        ("%I:%M %p", Time, "9:05 pm", Some("21:05:00.000000000")),
        ("%H:%M:%S", Time, "09:05:60", None),
    ] {
        assert_eq!(of(format, kind, field).as_deref(), expected, "{format} {field}");
    }
}

#[test]
fn decimals_may_end_in_zeros_whatever_precedes_them() {
    let of = |format: &str, text: &str| {
        let form = formats(&[format]);
        assert_eq!(form.check(Type::Timestamp), Ok(()), "{format}");
        read(&times(form), Type::Timestamp, text)
    };
    let expected = |ms: &str| Some(format!("2024-10-20T10:20:30.{ms}Z"));
    for digits in ["5", "50", "500", "500000", "500000000", "005", "0050", "050", "0", "000", "100", "123000"]
    {
        let ms = format!("{digits}00").chars().take(3).collect::<String>();
        assert_eq!(of("%F %T,%f", &format!("2024-10-20 10:20:30,{digits}")), expected(&ms), "{digits}");
        assert_eq!(of("%Y%m%d%H%M%S%f", &format!("20241020102030{digits}")), expected(&ms), "{digits}");
        assert_eq!(of("%F %T%.f", &format!("2024-10-20 10:20:30.{digits}")), expected(&ms), "{digits}");
        assert_eq!(of("%F %H:%M:%S.%f", &format!("2024-10-20 10:20:30.{digits}")), expected(&ms), "{digits}");
        assert_eq!(of("%F %T,%3f", &format!("2024-10-20 10:20:30,{ms}")), expected(&ms), "{digits}");
    }
    assert_eq!(of("%F %T,%f", "2024-10-20 10:20:60,500"), None);
    assert_eq!(of("%F %T,%f", "2024-10-20 10:20:30,5001"), None, "finer than a millisecond");
    assert_eq!(of("%F %T,%f", "2024-10-20 10:20:30,"), None);
    assert_eq!(of("%F %T,%f", "2024-10-20 10:20:30"), None);
}

#[test]
fn forms_that_contradict_each_other_refuse_the_value() {
    let reading = times(formats(&["%d/%m/%Y", "%m/%d/%Y"]));
    assert_eq!(read(&reading, Type::Date, "13/02/2024").as_deref(), Some("2024-02-13"));
    assert_eq!(read(&reading, Type::Date, "02/13/2024").as_deref(), Some("2024-02-13"));
    assert_eq!(read(&reading, Type::Date, "03/03/2024").as_deref(), Some("2024-03-03"));
    assert_eq!(read(&reading, Type::Date, "01/02/2024"), None, "a day in January or in February");
}

#[test]
fn a_form_must_tell_the_whole_value() {
    for (format, kind, problem) in [
        ("%d.%m.", Type::Date, "year, month and day"),
        ("%H:%M", Type::Timestamp, "year, month and day"),
        ("%d.%m.%Y %I:%M", Type::Timestamp, "%I needs %p"),
        ("%d.%m.%Y %H:%M %p", Type::Timestamp, "%p without %I"),
        ("%s", Type::Timestamp, "unit: s"),
        ("%Y", Type::Time, "%Y, a part of a date"),
        ("%d.%m.%Y %ö", Type::Date, "docs/types.md does not list"),
        ("%c", Type::Timestamp, "docs/types.md does not list"),
        ("%Y-%m-%d %j", Type::Date, "day of the year, and also"),
        ("%H:%m", Type::Time, "%m, a part of a date"),
        ("%d %H:%M", Type::Time, "%d, a part of a date"),
        ("%a %H:%M", Type::Time, "%a, a part of a date"),
        ("%H:%M %z", Type::Time, "%z, an offset"),
        ("%d.%m.%Y %H:%m", Type::Timestamp, "%m twice"),
        ("%d.%m.%Y %H:%m", Type::Date, "%m twice"),
        ("%d.%m.%Y %H:%-m", Type::Timestamp, "%m twice"),
        ("%d %b %m %Y", Type::Date, "%b and %m"),
        ("%y-%m-%d %Y", Type::Date, "%y and %Y"),
        ("%F %d", Type::Date, "%F and %d"),
        ("%F %D", Type::Date, "%F and %D"),
        ("%d.%e.%m.%Y", Type::Date, "%d and %e"),
        ("%T:%M", Type::Time, "%T and %M"),
        ("%H:%I %p", Type::Time, "%H and %I"),
        ("%H:%M:%S.%f%f", Type::Time, "%f twice"),
        ("%H:%M:%S%f%.f", Type::Time, "%f twice"),
        ("%I:%M %p %P", Type::Time, "%p and %P"),
        ("%d.%m.%Y %H:%M %z %:z", Type::Timestamp, "%z twice"),
        ("%a %A %d.%m.%Y", Type::Date, "%a and %A"),
        ("%d.%m.%Y %M", Type::Timestamp, "hours, minutes and seconds in order"),
        ("%d.%m.%Y %H:%S", Type::Timestamp, "hours, minutes and seconds in order"),
        ("%I:%M %%p", Type::Time, "%I needs %p"),
    ] {
        let found = formats(&[format]).check(kind).unwrap_err();
        assert!(found.contains(problem), "{format}: {found}");
    }
    for (format, kind) in [
        ("%-I:%M %p", Type::Time),
        ("%l:%M%P", Type::Time),
        ("%H:%M %%p", Type::Time),
        ("%k:%M", Type::Time),
        ("%T%.f", Type::Time),
        ("%R", Type::Time),
        ("%D", Type::Date),
        ("%a, %e %b %Y", Type::Date),
        ("%Y%j", Type::Date),
        ("%F %T%.f%:z", Type::Timestamp),
        ("%F %H:%M:%S,%f", Type::Timestamp),
    ] {
        assert_eq!(formats(&[format]).check(kind), Ok(()), "{format}");
    }
}

#[test]
fn a_time_without_an_offset_is_in_its_zone() {
    let of = |fold, field: &str| read(&times(berlin(fold)), Type::Timestamp, field);
    assert_eq!(of(Fold::Refuse, "2024-07-01 12:00").as_deref(), Some("2024-07-01T10:00:00.000Z"));
    assert_eq!(of(Fold::Refuse, "2024-12-01 12:00").as_deref(), Some("2024-12-01T11:00:00.000Z"));
    assert_eq!(of(Fold::Refuse, "9999-12-31").as_deref(), Some("9999-12-30T23:00:00.000Z"));
    assert_eq!(of(Fold::Refuse, "2024-07-01T12:00Z").as_deref(), Some("2024-07-01T12:00:00.000Z"));
    assert_eq!(of(Fold::Earlier, "2024-03-31 02:30"), None, "clocks skip this time");
    assert_eq!(of(Fold::Refuse, "2024-10-27 02:30"), None, "clocks show this time twice");
    assert_eq!(of(Fold::Earlier, "2024-10-27 02:30").as_deref(), Some("2024-10-27T00:30:00.000Z"));
    assert_eq!(of(Fold::Later, "2024-10-27 02:30").as_deref(), Some("2024-10-27T01:30:00.000Z"));
}

#[test]
fn digits_that_a_type_does_not_have_are_cut_off_only_where_declared() {
    let cut = times(TimeForm { truncate: true, ..TimeForm::default() });
    for (kind, field, expected) in [
        (Type::Timestamp, "2024-02-01 10:00:00.123456", "2024-02-01T10:00:00.123Z"),
        (Type::Timestamp, "1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999Z"),
        (Type::Time, "10:00:00.1234567891", "10:00:00.123456789"),
        (Type::Date, "2024-02-01 10:00:00", "2024-02-01"),
    ] {
        assert_eq!(read(&cut, kind, field).as_deref(), Some(expected), "{field}");
        assert_eq!(read(&times(TimeForm::default()), kind, field), None, "{field}");
    }
    let form = TimeForm { truncate: true, ..formats(&["%H:%M:%S%.f"]) };
    assert_eq!(read(&times(form), Type::Time, "1:00:00.1234567891").as_deref(), Some("01:00:00.123456789"));
    let of = |unit, field: &str| read(&cut, Form::Since(unit), field);
    assert_eq!(of(Unit::Micros, "1541106106796999").as_deref(), Some("2018-11-01T21:01:46.796Z"));
    assert_eq!(of(Unit::Micros, "-1").as_deref(), Some("1969-12-31T23:59:59.999Z"));
    assert_eq!(of(Unit::Seconds, "1541106106.7969").as_deref(), Some("2018-11-01T21:01:46.796Z"));
    assert_eq!(of(Unit::Seconds, "-0.0001").as_deref(), Some("1969-12-31T23:59:59.999Z"));
}

#[test]
fn a_number_since_1970_may_have_decimals_that_a_timestamp_can_hold() {
    let of = |unit, field: &str| read(&Reading::default(), Form::Since(unit), field);
    assert_eq!(of(Unit::Seconds, "1541106106.796").as_deref(), Some("2018-11-01T21:01:46.796Z"));
    assert_eq!(of(Unit::Seconds, "-0.5").as_deref(), Some("1969-12-31T23:59:59.500Z"));
    assert_eq!(of(Unit::Millis, "1541106106796.0").as_deref(), Some("2018-11-01T21:01:46.796Z"));
    assert_eq!(of(Unit::Micros, "1541106106796000.00").as_deref(), Some("2018-11-01T21:01:46.796Z"));
    let numbers = NumberForm { decimal: ',', ..NumberForm::default() };
    let comma = times(TimeForm { numbers, ..TimeForm::default() });
    let read_with_comma = |field: &str| read(&comma, Form::Since(Unit::Seconds), field);
    assert_eq!(read_with_comma("1709251200,5").as_deref(), Some("2024-03-01T00:00:00.500Z"));
    assert_eq!(read_with_comma("1709251200.5"), None);
    for (unit, field) in [
        (Unit::Seconds, "1541106106.7961"),
        (Unit::Millis, "1541106106796.5"),
        (Unit::Micros, "1541106106796001.0"),
        (Unit::Seconds, "1."),
        (Unit::Seconds, ".5"),
        (Unit::Seconds, "1.5.5"),
        (Unit::Seconds, "99999999999999999999.0"),
    ] {
        assert_eq!(of(unit, field), None, "{field}");
    }
}

#[test]
fn parts_of_a_timestamp_are_cut_in_their_zone() {
    let ms = 1_719_873_000_000; // 2024-07-01T22:30:00Z, the next day in Berlin.
    let part = |of, zone: Option<&str>| TimePart { of, zone: zone.map(|name| Zone::named(name).unwrap()) };
    let text = |part: TimePart| crate::domain::text::plain(&part.cut(ms).unwrap().value(&[])).into_owned();
    assert_eq!(text(part(Precision::Hour, None)), "2024-07-01T22:00:00.000Z");
    assert_eq!(text(part(Precision::Hour, Some("Asia/Kolkata"))), "2024-07-01T22:30:00.000Z");
    assert_eq!(text(part(Precision::Day, None)), "2024-07-01");
    assert_eq!(text(part(Precision::Day, Some("Europe/Berlin"))), "2024-07-02");
    assert_eq!(text(part(Precision::Month, None)), "2024-07-01");
    let last = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z
    let day = |zone| {
        part(Precision::Day, zone)
            .cut(last)
            .map(|cell| crate::domain::text::plain(&cell.value(&[])).into_owned())
    };
    assert_eq!(day(None).as_deref(), Some("9999-12-31"));
    assert_eq!(day(Some("America/New_York")).as_deref(), Some("9999-12-31"));
    assert_eq!(day(Some("Europe/Berlin")), None, "the next year has five digits");
    let first = -62_167_219_200_000; // 0000-01-01T00:00Z, 53 minutes before the hour in Berlin.
    assert_eq!(part(Precision::Hour, Some("Europe/Berlin")).cut(first), None, "the hour begins in year -1");
    assert!(part(Precision::Hour, None).cut(first).is_some());
    let before = part(Precision::Month, None).cut(-1).unwrap();
    assert_eq!(crate::domain::text::plain(&before.value(&[])), "1969-12-01");
}

/// Whatever decides what a field becomes is in the fingerprint of its table.
#[test]
fn each_part_of_a_declared_form_changes_the_declaration() {
    let words = |yes: &str| Notation::Words { yes: vec![yes.to_owned()], no: vec!["n".to_owned()] };
    let notations = [
        Notation::Plain,
        Notation::Number(NumberForm { decimal: ',', ..NumberForm::default() }),
        Notation::Number(NumberForm { thousands: Some(' '), ..NumberForm::default() }),
        Notation::Number(NumberForm { zero_fraction: true, ..NumberForm::default() }),
        words("y"),
        words("j"),
        Notation::Base64,
        Notation::Time(TimeForm::default()),
        Notation::Time(formats(&["%Y"])),
        Notation::Time(berlin(Fold::Refuse)),
        Notation::Time(berlin(Fold::Later)),
        Notation::Time(TimeForm { truncate: true, ..TimeForm::default() }),
        Notation::Time(TimeForm {
            numbers: NumberForm { decimal: ',', ..NumberForm::default() },
            ..TimeForm::default()
        }),
    ];
    let of_notations = notations.map(|notation| Reading { notation, ..Reading::default() });
    let others = [
        Reading { null: vec!["x".to_owned()], ..Reading::default() },
        Reading { strip: vec!["x".to_owned()], ..Reading::default() },
        Reading { default: Some("x".to_owned()), ..Reading::default() },
    ];
    let declarations: Vec<_> = of_notations.iter().chain(&others).map(Reading::declaration).collect();
    for (at, declaration) in declarations.iter().enumerate() {
        assert!(!declarations[..at].contains(declaration), "{declaration}");
    }
}

#[test]
fn spaces_belong_to_text_only_and_a_text_is_stripped_once() {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let reading = Reading { null: texts(&["-", " x "]), strip: texts(&["$"]), ..Reading::default() };
    for (kind, field, expected) in [
        (Type::Int, " - ", Some("")),
        (Type::Int, " x ", Some("")),
        (Type::Int, " $ 5 ", Some("5")),
        (Type::Int, "$5$", None),
        (Type::Int, "$$5", None),
        (Type::Int, "\t5", None),
        (Type::Text, " - ", Some(" - ")),
        (Type::Text, "$$5", Some("$5")),
        (Type::Text, "$5$", Some("5$")),
        (Type::Text, "$", Some("")),
        (Type::Text, "$-", Some("-")),
    ] {
        assert_eq!(read(&reading, kind, field).as_deref(), expected, "{kind} {field:?}");
    }
}

#[test]
fn forms_that_disagree_about_the_clock_or_the_offset_refuse_the_value() {
    let clock = times(formats(&["%Y-%m-%d %H:%M", "%Y-%m-%d %M:%H"]));
    assert_eq!(
        read(&clock, Type::Timestamp, "2024-01-02 03:40").as_deref(),
        Some("2024-01-02T03:40:00.000Z")
    );
    assert_eq!(read(&clock, Type::Timestamp, "2024-01-02 03:04"), None);
    let times_only = times(formats(&["%H:%M", "%M:%H"]));
    assert_eq!(read(&times_only, Type::Time, "03:04"), None);
}

#[test]
fn values_stay_in_the_years_0000_to_9999_and_hours_begin_before_them() {
    let of = |field: &str| {
        read(
            &times(TimeForm { zone: Zone::named("America/New_York").ok(), ..TimeForm::default() }),
            Type::Timestamp,
            field,
        )
    };
    assert_eq!(of("9999-12-31 12:00").as_deref(), Some("9999-12-31T17:00:00.000Z"));
    assert_eq!(of("9999-12-31 23:00"), None, "in UTC the year has five digits");
    let hour = TimePart { of: Precision::Hour, zone: None }.cut(-1).unwrap();
    assert_eq!(crate::domain::text::plain(&hour.value(&[])), "1969-12-31T23:00:00.000Z");
    let month = TimePart { of: Precision::Month, zone: Zone::named("Europe/Berlin").ok() };
    let month = month.cut(1_719_786_600_000).unwrap(); // 2024-06-30T22:30:00Z, July in Berlin.
    assert_eq!(crate::domain::text::plain(&month.value(&[])), "2024-07-01");
}

proptest! {
    #[test]
    fn numbers_that_need_no_rewriting_are_read_as_all_others(
        text in "[0-9.,+e' -]{0,12}|[+-]?[0-9]{1,9}[.,]?[0-9]{0,9}",
        decimal in prop::sample::select(vec!['.', ',']),
        thousands in prop::sample::select(vec![None, Some('.'), Some(','), Some('\'')]),
        kind in prop::sample::select(vec![Type::Int, Type::Bigint, Type::Float, Type::Double, Type::Decimal, Type::Varint]),
    ) {
        let form = NumberForm { decimal, thousands: thousands.filter(|mark| *mark != decimal), zero_fraction: false };
        let mut arenas = [Vec::new(), Vec::new()];
        let rewritten = form.plain(kind.into(), &text).ok_or(not("a number"));
        let expected = rewritten.and_then(|plain| parse(kind, plain.as_bytes(), &mut arenas[0]));
        prop_assert_eq!((form.parse(kind.into(), &text, &mut arenas[1]), &arenas[1]), (expected, &arenas[0]));
    }
}
