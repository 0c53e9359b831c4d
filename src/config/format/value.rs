//! The values of single keys.

use crate::config::text::Text;
use crate::domain::format::{Ambiguous, Delimiter, Escape, FooterLines, Mark};
use crate::domain::ledger::HEAD;
use crate::domain::lenient_settings::Comment;

/// A problem of the format: its key, what is wrong, and the next step.
pub type Problem = (&'static str, String, &'static str);

pub fn delimiter(text: &str) -> Result<Delimiter, Problem> {
    let text = if matches!(text, "tab" | "\\t") { "\t" } else { text };
    Delimiter::new(text).ok_or_else(|| {
        let problem = format!("`{}` cannot separate fields", text.escape_debug());
        (
            "source.format.delimiter",
            problem,
            "write one or a few characters in double quotes, such as \";\" or \"\\t\"",
        )
    })
}

pub fn quote(text: &str) -> Result<Option<Mark>, Problem> {
    match Mark::new(text) {
        _ if text == "none" => Ok(None),
        Some(mark) => Ok(Some(mark)),
        None => Err((
            "source.format.quote",
            format!("`{text}` is not one ASCII character"),
            "write one character, such as \"'\", or none",
        )),
    }
}

pub fn escape(text: &str) -> Result<Escape, Problem> {
    match (text, Mark::new(text)) {
        ("doubled", _) => Ok(Escape::Doubled),
        ("backslash", _) => Ok(Escape::Backslash),
        (_, Some(mark)) => Ok(Escape::Mark(mark)),
        (_, None) => Err((
            "source.format.escape",
            format!("`{}` is not an escape", text.escape_debug()),
            "write doubled, backslash, or one character in quotes, such as '\\'",
        )),
    }
}

pub fn footer(lines: u64) -> Result<FooterLines, Problem> {
    FooterLines::new(lines).ok_or_else(|| {
        let problem = format!("is {lines}, more than {}", FooterLines::MOST);
        ("source.format.skip_footer", problem, "set it to the number of lines at the end that are no records")
    })
}

/// Checks a number of lines at the beginning of a file. `path` is the setting.
pub fn lines_of_beginning(path: &'static str, lines: u64) -> Result<u64, Problem> {
    // The header is looked for in this many bytes, and each line has at least one.
    const MOST: u64 = HEAD as u64;
    if lines <= MOST {
        return Ok(lines);
    }
    let next =
        "set it to the number of lines at the beginning, which must be within the first 64 KiB of a file";
    Err((path, format!("is {lines}, more than {MOST}"), next))
}

pub fn comment(text: &str) -> Result<Comment, Problem> {
    Comment::new(text).ok_or_else(|| {
        let problem = format!("`{}` cannot begin a comment", text.escape_debug());
        ("source.format.comment", problem, "write one or a few characters in double quotes, such as \"#\"")
    })
}

pub fn texts(list: &[Text]) -> Vec<String> {
    list.iter().map(|Text(text)| text.clone()).collect()
}

pub fn ambiguous(problem: Ambiguous) -> Problem {
    let next = "choose delimiter, quote, escape and comment so that each character has one meaning";
    ("source.format", problem.to_string(), next)
}
