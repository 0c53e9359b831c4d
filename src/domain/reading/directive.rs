//! The directives of a form in the notation of `strftime`, and what they tell.

/// The directives that forms may have.
const ALLOWED: &str = "YymdejbhBaAHkIlpPMSfzFTDR%";

/// A directive of a form, such as `%d` or `%-I`.
#[derive(Clone, Copy, Debug)]
struct Directive {
    /// The index of what follows the percent sign.
    begin: usize,
    /// The index of the letter, after flags and width.
    at: usize,
    letter: char,
}

/// Returns the directives from left to right.
fn directives(format: &str) -> impl Iterator<Item = Directive> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let begin = from + format.get(from..)?.find('%')? + 1;
        let rest = format.get(begin..)?;
        let extension = |c: char| matches!(c, '.' | ':' | '_' | '-' | '^' | '#' | '0'..='9');
        let (at, letter) = rest.char_indices().find(|(_, c)| !extension(*c))?;
        from = begin + at + letter.len_utf8();
        Some(Directive { begin, at: begin + at, letter })
    })
}

/// Returns the parts of a value that a directive tells, one letter for each: year, month, day, name of the day (`a`),
/// hour, half of the day (`p`), minute, second, decimals (`f`) and offset (`z`).
fn parts(letter: char) -> &'static str {
    match letter {
        'Y' | 'y' => "Y",
        'm' | 'b' | 'h' | 'B' => "m",
        'd' | 'e' => "d",
        'j' => "md",
        'a' | 'A' => "a",
        'H' | 'k' | 'I' | 'l' => "H",
        'p' | 'P' => "p",
        'M' => "M",
        'S' => "S",
        'f' => "f",
        'z' => "z",
        'F' | 'D' => "Ymd",
        'T' => "HMS",
        'R' => "HM",
        _ => "",
    }
}

/// Checks that each directive is allowed and tells something of its own. `is_time` is for a time of day.
///
/// # Errors
/// Returns what is wrong with the form.
pub(super) fn check(format: &str, is_time: bool) -> Result<(), String> {
    let letters: Vec<char> = directives(format).map(|directive| directive.letter).collect();
    match letters.iter().find(|letter| !ALLOWED.contains(**letter)) {
        None => {}
        Some('s' | 'Q') => {
            let next = "for seconds since 1970 set unit: s, for a time zone set zone";
            return Err(format!("has %s or %Q; {next}"));
        }
        Some(_) => return Err("has a directive that docs/types.md does not list".to_owned()),
    }
    let of_date = letters.iter().find(|letter| parts(**letter).contains(['Y', 'm', 'd', 'a']));
    match (of_date, letters.contains(&'z')) {
        (Some(letter), _) if is_time => {
            return Err(format!("has %{letter}, a part of a date; the minute is %M"));
        }
        (_, true) if is_time => return Err("has %z, an offset, and a time of day has none".to_owned()),
        _ => {}
    }
    match twice(&letters) {
        Some((one, other)) if one == other => return Err(format!("has %{one} twice")),
        Some(('j', _) | (_, 'j')) => {
            return Err("has %j, the day of the year, and also a month or a day".to_owned());
        }
        Some((one, other)) => return Err(format!("has %{one} and %{other}, which tell the same")),
        None => {}
    }
    let has = |some: [char; 2]| letters.iter().any(|letter| some.contains(letter));
    if has(['p', 'P']) && !has(['I', 'l']) {
        return Err("has %p without %I, the hour of a 12-hour clock".to_owned());
    }
    Ok(())
}

/// Returns the first two directives that tell the same part.
fn twice(letters: &[char]) -> Option<(char, char)> {
    let same = |one: &char, other: &char| parts(*one).contains(|part| parts(*other).contains(part));
    letters.iter().enumerate().find_map(|(at, other)| {
        let one = letters.get(..at)?.iter().find(|one| same(one, other))?;
        Some((*one, *other))
    })
}

/// Returns the form with this number of decimals, or `None` if it does not leave their number open.
pub(super) fn with_decimals(format: &str, decimals: usize) -> Option<String> {
    let is_open = |directive: &Directive| {
        let extension = format.get(directive.begin..directive.at).unwrap_or_default();
        directive.letter == 'f' && !extension.contains(|c: char| c.is_ascii_digit())
    };
    let at = directives(format).find(is_open)?.at;
    let (before, rest) = format.split_at_checked(at)?;
    Some(format!("{before}{decimals}{rest}"))
}
