//! Recognizes lines that sum up a file, such as a line of totals or `(42 rows)`.

/// Words with which lines begin that sum up a file, in lower case.
const TOTALS: &str = "total totals subtotal grand sum sums count average avg mean rows records trailer footer trl eof eod \
                      end summe gesamt gesamtsumme insgesamt anzahl somme totaux totale totali totaal suma razem итого \
                      всего 合计 合計";

/// Words after a number of records, as in `(42 rows)`.
const COUNTED: &str = "row rows record records line lines zeilen datensätze lignes";

/// Whether the first field that is not blank begins like such a line.
pub fn is_total<'r>(fields: impl IntoIterator<Item = &'r [u8]>) -> bool {
    let first = fields.into_iter().map(String::from_utf8_lossy).find(|field| !field.trim().is_empty());
    let first = first.unwrap_or_default().to_lowercase();
    let mut words = first.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    match (words.next(), words.next()) {
        (Some(word), _) if is_one_of(TOTALS, word) => true,
        (Some(number), Some(word)) => number.parse::<u64>().is_ok() && is_one_of(COUNTED, word),
        _ => false,
    }
}

fn is_one_of(words: &str, word: &str) -> bool {
    words.split(' ').any(|one| one == word)
}
