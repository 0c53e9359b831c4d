//! Finds the name that was probably meant.

/// Returns the name that is nearly `wanted`: it differs only in case, spaces and punctuation, or by a typing error.
pub fn nearest<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let plain = Some(plain(wanted)).filter(|plain| !plain.is_empty())?;
    // One error in four characters: shorter names are too often different names.
    let most = (plain.chars().count() / 4).min(2);
    let mut best = None;
    for name in names {
        let other = self::plain(name);
        if other == plain {
            return Some(name);
        }
        // Comparing two long names takes long, and names of other lengths have more errors than allowed.
        if other.chars().count().abs_diff(plain.chars().count()) > most {
            continue;
        }
        let distance = strsim::osa_distance(&plain, &other);
        let is_better = best.is_none_or(|(least, _)| distance < least);
        if distance <= most && is_better {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_near_if_case_spaces_or_one_letter_in_four_differ() {
        let names = ["id", "Customer Name", "amount ", "\u{feff}day", "paid"];
        let nearest = |wanted| nearest(wanted, names.into_iter());
        assert_eq!(nearest("customer_name"), Some("Customer Name"));
        assert_eq!(nearest("amount"), Some("amount "));
        assert_eq!(nearest("amuont"), Some("amount "));
        assert_eq!(nearest("day"), Some("\u{feff}day"));
        assert_eq!(nearest("pad"), None);
        assert_eq!(nearest("is"), None, "short names are different names");
        assert_eq!(nearest("total"), None);
        assert_eq!(nearest("--"), None);
    }
}
