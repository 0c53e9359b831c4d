//! Describes problems of a configuration for its author. The messages of the YAML library are for programmers.

use serde_saphyr::{Error, MessageFormatter as _, UserMessageFormatter};

/// What a value should be, in place of a Rust type or a YAML term that the library names.
const KINDS: [(&str, &str); 12] = [
    ("usize", "a whole number"),
    ("u64", "a whole number"),
    ("u32", "a whole number"),
    ("u16", "a whole number up to 65535"),
    ("bool", "true or false"),
    ("a string", "a text"),
    ("string scalar", "a text"),
    ("string", "a text"),
    ("a sequence", "a list: [a, b]"),
    ("sequence start", "a list: [a, b]"),
    ("mapping start", "keys with values"),
    ("mapping", "keys with values"),
];

/// Returns the problem, without its location.
pub fn describe(error: &Error) -> String {
    match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("there is no key `{field}` here; the keys are {}", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("`{variant}` is not one of {}", expected.join(", "))
        }
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("this is {}, but it should be {}", found(unexpected), kind(expected))
        }
        Error::InvalidScalar { ty, .. } => format!("this should be {}", kind(ty)),
        Error::Unexpected { expected, .. } => format!("this should be {}", kind(expected)),
        Error::InvalidBooleanStrict { .. } => "this should be true or false".to_owned(),
        Error::NullIntoString { .. } => {
            "this is empty, but it should be a text; a word such as NULL or ~ needs quotes: \"NULL\""
                .to_owned()
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is there twice"),
        Error::DuplicateMappingKey { key: None, .. } => "a key is there twice".to_owned(),
        Error::MultipleDocuments { .. } => "a second YAML document begins here (`---`)".to_owned(),
        Error::Eof { .. } => "the file ends too early".to_owned(),
        Error::AliasError { error, .. } => describe(error),
        other => UserMessageFormatter.format_message(other).escape_debug().to_string().replace("\\\"", "\""),
    }
}

fn kind(expected: &str) -> String {
    if expected.starts_with("struct ") {
        return "keys with values".to_owned();
    }
    let known = KINDS.iter().find(|(name, _)| *name == expected);
    known.map_or(expected, |(_, words)| words).to_owned()
}

/// Returns the value without its type, such as `integer`, which the library puts before it.
fn found(unexpected: &str) -> String {
    match unexpected {
        "unit value" | "unit" | "null" | "Option value" => "empty".to_owned(),
        "sequence" => "a list".to_owned(),
        "map" => "keys with values".to_owned(),
        other => {
            let words = ["boolean ", "integer ", "floating point ", "string "];
            let value = words.iter().find_map(|word| other.strip_prefix(word));
            value.unwrap_or(other).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::yaml::parse;

    /// Invalid configurations, each with a part of its message. The messages must not need programming knowledge.
    const WRONG: [(&str, &str); 14] = [
        ("source: { columns: { a: int } }\ntables: {}\nlogs: 1", "there is no key `logs` here"),
        ("source: {}\ntables: {}", "the key `columns` is missing"),
        (
            "source: { columns: { a: int } }\ntables: {}\nlog: { format: xml }",
            "`xml` is not one of text, json",
        ),
        ("source: { columns: { a: int }, folder: [x] }\ntables: {}", "this should be"),
        ("source: { columns: { a: int }, folder: }\ntables: {}", "this is empty"),
        ("source: { columns: { a: int } }\ntables: {}\nwrite: { queue: x }", "a whole number"),
        ("source: { columns: { a: int } }\ntables: {}\nwrite: { queue: -1 }", "a whole number"),
        ("source: { columns: { a: int } }\ntables: {}\nwrite: 5", "keys with values"),
        ("source: { columns: { a: int }, subfolders: 3 }\ntables: {}", "true or false"),
        (
            "source: { columns: { a: int }, columns: { b: int } }\ntables: {}",
            "the key `columns` is there twice",
        ),
        ("source: { columns: { a: int, a: text } }\ntables: {}", "the key `a` is there twice"),
        ("source: { columns: { a: int } }\ntables: {}\n---\na: 1", "a second YAML document"),
        ("source: { columns: { a: int }, derive: { d: { date_of: [x] } } }\ntables: {}", ""),
        ("source: { columns: { a: int } }\ntables: { t: { partition_key: a } }", "a list"),
    ];

    const PROGRAMMING_TERMS: [&str; 16] = [
        "Policy",
        "Option",
        "struct",
        "usize",
        "u64",
        "serde",
        "variant",
        "field `",
        "scalar",
        "sequence",
        "deserialize",
        "visit",
        "enum",
        "mapping start",
        "Vec",
        "unit",
    ];

    #[test]
    fn every_problem_is_described_without_programming_terms() {
        for (yaml, expected) in WRONG {
            let message = super::describe(&parse(yaml).unwrap_err());
            assert!(message.contains(expected), "{yaml}\n{message}");
            let term = PROGRAMMING_TERMS.iter().find(|word| message.contains(**word));
            assert!(term.is_none(), "{yaml}\n{message}");
        }
    }

    #[test]
    fn a_column_name_may_be_a_boolean_of_yaml_1_1() {
        let yaml = "source: { columns: { n: int, y: text, no: text, on: text, off: int } }\n\
                    tables: { t: { partition_key: [n], clustering_key: [y, { column: on, order: desc }], columns: [no, off] } }";
        let config = parse(yaml).unwrap();
        let table = &config.tables.0[0].1;
        assert_eq!(table.partition_key[0].value, "n");
        let names: Vec<_> = table.clustering_key.iter().map(|key| key.column.as_str()).collect();
        assert_eq!(names, ["y", "on"]);
    }

    #[test]
    fn yes_and_no_are_booleans_where_a_boolean_is_expected() {
        for (word, is) in [("yes", true), ("no", false), ("on", true), ("Off", false), ("true", true)] {
            let yaml = format!("source: {{ columns: {{ a: int }}, subfolders: {word} }}\ntables: {{}}");
            assert_eq!(parse(&yaml).unwrap().source.subfolders, is, "{word}");
        }
    }
}
