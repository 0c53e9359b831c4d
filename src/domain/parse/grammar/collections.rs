//! Tests of lists, sets and maps: the page's grammar of JSON, with the page's grammar of single values inside.

use super::*;
use crate::domain::value::{Collection, Scalar};
use crate::domain::{collection, json};

/// The patterns of JSON by name: for whole texts, and for finding them in a text.
static JSON: LazyLock<HashMap<&str, (Regex, Regex)>> = LazyLock::new(|| {
    let of = |name: &'static str| {
        let pattern = &PATTERNS[name];
        (name, (Regex::new(&format!("^(?:{pattern})$")).unwrap(), Regex::new(pattern).unwrap()))
    };
    ["character", "literal", "item", "array", "object"].into_iter().map(of).collect()
});

/// Returns the matches of a pattern that follow each other, separated by anything else.
fn all(name: &str, text: &str) -> Vec<String> {
    JSON[name].1.find_iter(text).map(|at| text[at.range()].to_owned()).collect()
}

/// Returns the text of an item: without quotes and escapes if it is a string.
fn resolved(item: &str) -> Option<String> {
    let Some(inner) = item.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Some(item.to_owned());
    };
    let mut units = Vec::new();
    for character in all("character", inner) {
        match character.as_bytes() {
            [b'\\', b'u', digits @ ..] => {
                units.push(u16::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
            }
            [b'\\', short] => {
                let at = "\"\\/bfnrt".find(char::from(*short)).unwrap();
                units.push(u16::from(b"\"\\/\x08\x0c\n\r\t"[at]));
            }
            _ => units.extend(character.encode_utf16()),
        }
    }
    String::from_utf16(&units).ok()
}

/// Returns the value of an item by the page's grammar of its type.
fn single(kind: Scalar, item: &str) -> Option<Value<'static>> {
    let text = resolved(item.trim_matches([' ', '\t', '\r', '\n']))?;
    if text.contains('\0') {
        return None;
    }
    if kind == Scalar::Text {
        return Some(Value::Text(text.into()));
    }
    let (_, _, regex) = FORMS.iter().find(|(form, ..)| *form == Form::Plain(kind.into())).unwrap();
    super::expected(Form::Plain(kind.into()), regex, &text).filter(|value| !value.is_empty())
}

/// Returns the values in the array or object, each key before its value.
fn values(kind: Collection, text: &str) -> Option<Vec<Value<'static>>> {
    let (pattern, kinds) = match kind {
        Collection::List(of) | Collection::Set(of) => ("array", vec![of]),
        Collection::Map(key, value) => ("object", vec![key, value]),
    };
    if !JSON[pattern].0.is_match(text) {
        return None;
    }
    let items = all("item", text).into_iter().zip(kinds.iter().cycle());
    items.map(|(item, kind)| single(*kind, &item)).collect()
}

/// Returns the text of the collection that the page describes.
fn expected(kind: Collection, text: &str) -> Option<String> {
    let values = values(kind, text)?;
    let repeats = |values: &[Value<'_>]| {
        let same = |at: usize| values[..at].iter().any(|before| collection::is_same(before, &values[at]));
        (1..values.len()).any(same)
    };
    match kind {
        Collection::List(_) => Some(collection::array(values)),
        Collection::Set(_) => {
            let mut different: Vec<Value<'_>> = Vec::new();
            for value in values {
                if !different.contains(&value) {
                    different.push(value);
                }
            }
            (!repeats(&different)).then(|| collection::set(different))
        }
        Collection::Map(..) => {
            let (keys, values): (Vec<_>, Vec<_>) =
                values.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).unzip();
            (!repeats(&keys)).then(|| collection::map(keys.into_iter().zip(values).collect()))
        }
    }
}

/// Generates the text of an item: a string, or a literal if the text is one.
fn item(kind: Scalar) -> BoxedStrategy<String> {
    let pattern = if kind == Scalar::Text {
        "[a-c]{0,2}|\\PC{0,4}"
    } else {
        &PATTERNS[&rule(Form::Plain(kind.into()))]
    };
    (prop::string::string_regex(pattern).unwrap(), any::<bool>())
        .prop_map(
            move |(text, bare)| if bare && JSON["literal"].0.is_match(&text) { text } else { quoted(&text) },
        )
        .boxed()
}

fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    json::quote(text, &mut quoted);
    quoted
}

/// Generates collections, some of them with a few changes, and arbitrary texts.
fn texts(kind: Collection) -> BoxedStrategy<String> {
    let space = || prop::sample::select(vec!["", "", "", " ", "\t", "\r\n"]);
    let (brackets, member) = match kind {
        Collection::List(of) | Collection::Set(of) => ("[]", item(of)),
        Collection::Map(key, value) => {
            let key = item(key).prop_map(|key| if key.starts_with('"') { key } else { quoted(&key) });
            let pair = (key, space(), item(value))
                .prop_map(|(key, space, value)| format!("{key}{space}:{space}{value}"));
            ("{}", pair.boxed())
        }
    };
    let valid = (prop::collection::vec(member, 0..5), space()).prop_map(move |(members, space)| {
        let (open, close) = brackets.split_at(1);
        format!("{space}{open}{space}{}{close}{space}", members.join(&format!("{space},{space}")))
    });
    let near = (valid.clone(), prop::collection::vec(change(), 1..3))
        .prop_map(|(text, changes)| changes.iter().fold(text, |text: String, change| changed(&text, change)));
    let page =
        prop::string::string_regex(&PATTERNS[if brackets == "[]" { "array" } else { "object" }]).unwrap();
    prop_oneof![4 => valid, 4 => near, 1 => page].boxed()
}

/// Returns a list, a set and two maps of each type.
fn kinds() -> Vec<Collection> {
    let scalars = Type::ALL.iter().filter_map(|(_, kind)| Scalar::try_from(*kind).ok());
    let of = |kind| {
        let maps = [Collection::Map(kind, Scalar::Int), Collection::Map(Scalar::Text, kind)];
        [Collection::List(kind), Collection::Set(kind)].into_iter().chain(maps)
    };
    scalars.flat_map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn collections_are_parsed_exactly_as_the_page_describes(
        texts in kinds().into_iter().map(texts).collect::<Vec<_>>()
    ) {
        for (kind, text) in kinds().into_iter().zip(&texts) {
            let mut arena = Vec::new();
            let found = parse(Type::Collection(kind), text.as_bytes(), &mut arena);
            let is_text = !text.contains('\0');
            let expected = expected(kind, text).filter(|_| is_text).map(|text| Value::Collection(text.into()));
            let found = found.ok().map(|cell| cell.value(&arena).into_owned());
            let expected = if text.trim_matches(' ').is_empty() { Some(Value::Empty) } else { expected };
            prop_assert_eq!(&found, &expected, "{:?} {:?}", kind, text);
            if let Some(Value::Collection(canonical)) = found {
                let mut arena = Vec::new();
                let again = parse(Type::Collection(kind), canonical.as_bytes(), &mut arena).unwrap();
                prop_assert_eq!(again.value(&arena), Value::Collection(canonical), "the text is read back");
            }
        }
    }
}
