//! Parses lists, sets and maps from JSON.

use crate::domain::collection;
use crate::domain::json::{Item, Malformed, Reader};
use crate::domain::parse::refusal::{Parsed, Part, Refusal, keep, not};
use crate::domain::parse::scalar;
use crate::domain::value::{Cell, Collection, Scalar};

const ARRAY: &str = "a JSON array like [\"a\", \"b\"]";
const OBJECT: &str = "a JSON object like {\"key\": \"value\"}";

/// Parses a collection. Its canonical text is appended to `arena`.
pub fn parse(kind: Collection, text: &str, arena: &mut Vec<u8>) -> Parsed {
    let mut values = Vec::new();
    let canonical = match kind {
        Collection::List(of) => {
            let cells = elements(of, text, &mut values)?;
            collection::array(cells.iter().map(|cell| cell.value(&values)))
        }
        Collection::Set(of) => {
            let cells = different(elements(of, text, &mut values)?, &values)?;
            collection::array(cells.iter().map(|cell| cell.value(&values)))
        }
        Collection::Map(key, value) => {
            let pairs = by_key(pairs(key, value, text, &mut values)?, &values)?;
            collection::object(pairs.iter().map(|(key, value)| (key.value(&values), value.value(&values))))
        }
    };
    keep(arena, canonical.as_bytes()).map(Cell::Collection)
}

/// Sorts the elements of a set. An element that occurs twice counts once, but two texts of one number contradict each
/// other.
fn different(mut cells: Vec<Cell>, values: &[u8]) -> Result<Vec<Cell>, Refusal> {
    cells.sort_by(|one, other| one.value(values).compare(&other.value(values)));
    cells.dedup_by(|next, one| next.value(values) == one.value(values));
    if cells.is_sorted_by(|one, next| !collection::is_same(&one.value(values), &next.value(values))) {
        return Ok(cells);
    }
    Err(not("a JSON array in which no number is written in two ways, like 12.5 and 12.50"))
}

/// Sorts the pairs of a map by their keys.
fn by_key(mut pairs: Vec<(Cell, Cell)>, values: &[u8]) -> Result<Vec<(Cell, Cell)>, Refusal> {
    pairs.sort_by(|(one, _), (other, _)| one.value(values).compare(&other.value(values)));
    if pairs.is_sorted_by(|(one, _), (next, _)| !collection::is_same(&one.value(values), &next.value(values)))
    {
        return Ok(pairs);
    }
    Err(not("a JSON object in which every key occurs once"))
}

/// Parses the elements of a list or a set, in their order. Their bytes are appended to `arena`.
///
/// # Errors
/// Returns an error if the text is not a JSON array, or if an element is not a value of this type.
pub fn elements(of: Scalar, text: &str, arena: &mut Vec<u8>) -> Result<Vec<Cell>, Refusal> {
    let malformed = |Malformed| not(ARRAY);
    let mut reader = Reader::array(text).map_err(malformed)?;
    let mut cells = Vec::new();
    while reader.has_next().map_err(malformed)? {
        let item = reader.item().map_err(malformed)?;
        let cell = self::item(of, &item, arena);
        cells.push(cell.map_err(|refusal| refusal.of(Part::Element, cells.len()))?);
    }
    Ok(cells)
}

/// Parses the keys and values of a map, in their order. Their bytes are appended to `arena`.
///
/// # Errors
/// Returns an error if the text is not a JSON object, or if a key or a value is not of its type.
pub fn pairs(
    key: Scalar,
    value: Scalar,
    text: &str,
    arena: &mut Vec<u8>,
) -> Result<Vec<(Cell, Cell)>, Refusal> {
    let malformed = |Malformed| not(OBJECT);
    let mut reader = Reader::object(text).map_err(malformed)?;
    let mut pairs = Vec::new();
    while reader.has_next().map_err(malformed)? {
        let name = Item::Text(reader.key().map_err(malformed)?);
        let item = reader.item().map_err(malformed)?;
        let key = self::item(key, &name, arena).map_err(|refusal| refusal.of(Part::Key, pairs.len()))?;
        let value = self::item(value, &item, arena);
        pairs.push((key, value.map_err(|refusal| refusal.of(Part::ValueOfKey, pairs.len()))?));
    }
    Ok(pairs)
}

/// Parses one value by the rules of a field of its type. But a collection has no empty members: "" is an empty text, and
/// refused for other types.
fn item(of: Scalar, item: &Item<'_>, arena: &mut Vec<u8>) -> Parsed {
    let text = match item {
        Item::Text(text) => text.as_ref(),
        Item::Literal(text) => text,
        Item::Null => return Err(not("a value, not null")),
        Item::Nested => return Err(not("a single value, not an array or object")),
    };
    let text = if scalar::keeps_spaces(of) { text } else { text.trim_matches(' ') };
    match of {
        // An escape can give a character that no field may contain.
        _ if text.contains('\0') => Err(not("text without a NUL character")),
        Scalar::Text if text.is_empty() => keep(arena, b"").map(Cell::Text),
        _ if text.is_empty() => Err(not("a value, not an empty string")),
        _ => scalar::parse(of, text, arena),
    }
}
