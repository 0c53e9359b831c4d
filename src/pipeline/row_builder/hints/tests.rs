use std::sync::Arc;

use super::*;
use crate::domain::reading::Zone;

#[test]
fn settings_are_suggested_for_numbers_as_people_write_them() {
    let cases = [
        (Type::Double, "12,5", "`decimal: \",\"`"),
        (Type::Double, "1,234.5", "`thousands: \",\"`"),
        (Type::Decimal, "12.50 EUR", "`strip: \" EUR\"`"),
        (Type::Double, "$12.50", "`strip: \"$\"`"),
        (Type::Int, "1\u{a0}234", "`thousands: \"\\U000000A0\"`"),
        (Type::Int, "1,234", "`thousands: \",\"`"),
        (Type::Int, "N/A", "source.format.null: [\"N/A\"]"),
        (Type::Bigint, "\\N", "source.format.null: [\"\\\\N\"]"),
        (Type::Double, "21 \u{b0}C", "`strip: \" \u{b0}C\"`"),
        (Type::Int, "1.234", "`decimal: \",\"` and `thousands: \".\"`"),
        (Type::Double, "1.234,5", "`decimal: \",\"` and `thousands: \".\"`"),
        (Type::Int, "1,234 kg", "`thousands: \",\"` and `strip: \" kg\"`"),
        (Type::Double, "-1 234,5 EUR", "`decimal: \",\"` and `thousands: \" \"` and `strip: \" EUR\"`"),
        (Type::Int, "39.0", "set `zero_fraction: true` for the column"),
        (Type::Int, "39.000", "`zero_fraction: true` for the column; if its point separates thousands, set"),
        (Type::Int, "1.234", "if its point separates thousands, set"),
        (
            Type::Double,
            "1,234",
            "if its comma is a decimal comma, set `decimal: \",\"` for the column; if its comma separates thousands, set",
        ),
        (Type::Int, "1,000", "if its comma separates thousands, set `thousands: \",\"` for the column"),
        (Type::Double, "\u{a0}5", "if the blank beside it can be left out, set `strip: \"\\U000000A0\"`"),
        (Type::Date, "0000-00-00", "if it means an empty field"),
        (Type::Timestamp, "21:31:00", "declare the column as a time"),
        (Type::Time, "01.03.2024 09:00", "declare the column as a timestamp"),
        (Type::Bigint, "1.234.567", "`decimal: \",\"` and `thousands: \".\"`"),
        (Type::Int, " NULL", "set `null: [\"NULL\"]` for the column"),
        (Type::Int, "NULL", "or `null: [\"NULL\"]` for the column if it is in quotes"),
        (Type::Date, "01.02.2024", "`format`"),
        (Type::Date, "2024-03-01 17:30:00.123456", "the time of day can be left out, set `truncate: true`"),
        (Type::Date, "2024-03-01 00:00:00", "`format`"),
        (Type::Date, "1709251200", "declare the column as a timestamp with its `unit`"),
        (Type::Time, "2024-03-01 17:30", "declare the column as a timestamp"),
        (Type::Timestamp, "2024-03-01 17:30:00.123456+00", "`truncate: true`"),
        (Type::Timestamp, "2024-03-01 17:30:00.5 UTC", "`format`"),
        (Type::Time, "17:30:00.1234567891", "`truncate: true`"),
        (Type::Boolean, "ja", "`\"true\"` and `\"false\"`"),
        (Type::Blob, "yv66vg==", "`format: base64`"),
    ];
    for (kind, value, expected) in cases {
        let found = hint(&Format::default(), &Column::of_field("c", kind), value.as_bytes());
        assert!(found.as_ref().is_some_and(|found| found.contains(expected)), "{value}: {found:?}");
    }
    for (kind, value) in [
        (Type::Double, "abc"),
        (Type::Double, "\u{2212}12.5"),
        (Type::Double, "<0.5"),
        (Type::Double, "(12.50)"),
        (Type::Int, "1.5.2"),
        (Type::Int, "12.50 EUR"),
        (Type::Int, "12,5"),
        (Type::Date, "x"),
        (Type::Uuid, "1,5"),
        (Type::Blob, "cafe"),
        (Type::Blob, "0xCAFEBA"),
        (Type::Double, "5k"),
        (Type::Date, "2024-02-30"),
        (Type::Time, "25:00:00"),
    ] {
        let found = hint(&Format::default(), &Column::of_field("c", kind), value.as_bytes());
        assert_eq!(found, None, "{value}");
    }
}

#[test]
fn settings_are_suggested_beside_those_that_a_column_declares() {
    let comma = || Notation::Number(NumberForm { decimal: ',', ..NumberForm::default() });
    let groups =
        || Notation::Number(NumberForm { decimal: ',', thousands: Some('.'), ..NumberForm::default() });
    let dates = || Notation::Time(TimeForm { formats: vec!["%d.%m.%Y".to_owned()], ..TimeForm::default() });
    let berlin = Zone::named("Europe/Berlin").ok();
    let in_berlin = || Notation::Time(TimeForm { zone: berlin.clone(), ..TimeForm::default() });
    let words = || Notation::Words { yes: vec!["ja".to_owned()], no: vec!["nein".to_owned()] };
    let cases = [
        (
            Type::Double,
            comma(),
            "",
            "12.5",
            Some("if its point is a decimal point, set `decimal: \".\"` for"),
        ),
        (Type::Double, comma(), "", "1.234,5", Some("point separates thousands, set `thousands: \".\"` for")),
        (Type::Double, comma(), "", "12,5 EUR", Some("left out, set `strip: \" EUR\"` for")),
        (Type::Double, comma(), " EUR", "12,5 USD", Some("set `strip: [\" EUR\", \" USD\"]` for")),
        (Type::Int, Notation::Plain, "x", "39.0", Some("zero_fraction")),
        (Type::Int, comma(), "", "NA", Some("or `null: [\"-\", \"NA\"]` for the column")),
        (Type::Double, comma(), "", "abc", None),
        (Type::Date, dates(), "", "2024-03-01", Some("list them all in `format` of the column")),
        (Type::Date, dates(), "", "x", None),
        (Type::Date, dates(), "", "30.02.2024", None),
        (Type::Timestamp, in_berlin(), "", "2024-03-01 10:00:00 UTC", None),
        (Type::Timestamp, in_berlin(), "", "1709251200", Some("declare its `unit`")),
        (
            Type::Double,
            groups(),
            "",
            "12.5",
            Some("decimal point, set `decimal: \".\"` and `thousands: \",\"` for"),
        ),
        (
            Type::Double,
            comma(),
            "",
            "1.234",
            Some("decimal point, set `decimal: \".\"` for the column; if its point separates"),
        ),
        (Type::Timestamp, in_berlin(), "", "2024-10-27 02:30:00", None),
        (Type::Timestamp, in_berlin(), "", "27.10.2024 02:30", Some("set `format` for the column")),
        (Type::Boolean, words(), "", "oui", None),
    ];
    for (kind, notation, strip, value, expected) in cases {
        let strip = Some(strip.to_owned()).filter(|strip| !strip.is_empty()).into_iter().collect();
        let reading = Reading { null: vec!["-".to_owned()], strip, notation, default: None };
        let column = Column { reading: Some(Arc::new(reading)), ..Column::of_field("c", kind) };
        let found = hint(&Format::default(), &column, value.as_bytes());
        assert!(
            found.as_deref().unwrap_or("None").contains(expected.unwrap_or("None")),
            "{value}: {found:?}"
        );
    }
}
