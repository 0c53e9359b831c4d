//! Checks `source.pattern` and `source.ignore`: a pattern that can never match a file is a mistake.

use crate::config::sections::SourceConfig;
use crate::source::folder::names::NamePattern;

/// A setting, what is wrong with it, and what to do next.
type Problem = (&'static str, String, String);

const PATTERN: &str = "source.pattern";
const IGNORE: &str = "source.ignore";

pub fn check(source: &SourceConfig) -> Result<(), Problem> {
    source.pattern.iter().try_for_each(|pattern| {
        valid(PATTERN, pattern)?;
        reachable(source, pattern).map_err(|(problem, next)| (PATTERN, problem, next))
    })?;
    source.ignore.iter().try_for_each(|pattern| valid(IGNORE, pattern))
}

fn valid(key: &'static str, pattern: &str) -> Result<(), Problem> {
    let checked = NamePattern::new(pattern);
    checked.map(|_| ()).map_err(|bad| (key, format!("`{pattern}`: {bad}"), bad.next(pattern)))
}

/// Checks that a valid pattern can match files that are not left out for another reason.
fn reachable(source: &SourceConfig, pattern: &str) -> Result<(), (String, String)> {
    if pattern.split('/').any(|part| part.starts_with('.')) {
        let problem = format!("`{pattern}`: names that begin with a dot are never loaded");
        return Err((problem, "rename the files, or write the pattern without the dot".to_owned()));
    }
    let folders = pattern.strip_prefix("**/").unwrap_or(pattern);
    if folders.contains('/') && !source.subfolders {
        let problem = format!("`{pattern}` names a folder, but source.subfolders is false");
        return Err((
            problem,
            "set source.subfolders: true, or write the pattern without the folder".to_owned(),
        ));
    }
    if source.ignore.iter().any(|ignored| ignored.eq_ignore_ascii_case(pattern)) {
        let problem = format!("`{pattern}` is in source.ignore too, so it never matches");
        return Err((problem, "list in source.ignore only what is not to be loaded".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::yaml::parse;

    fn problem(settings: &str) -> Option<String> {
        let config =
            parse(&format!("source: {{ columns: {{ a: int }}, {settings} }}\ntables: {{}}")).unwrap();
        super::check(&config.source).err().map(|(key, problem, next)| format!("{key}: {problem}; {next}"))
    }

    #[test]
    fn a_pattern_that_can_never_match_is_refused() {
        for (settings, expected) in [
            ("pattern: ['/a.csv']", "source.pattern: `/a.csv`: it begins with a slash"),
            ("ignore: ['old/']", "source.ignore: `old/`: it ends with a slash"),
            ("pattern: ['.a.csv']", "names that begin with a dot"),
            ("pattern: ['.x/*.csv']", "names that begin with a dot"),
            ("pattern: ['day1/*.csv'], subfolders: false", "source.subfolders is false"),
            ("pattern: ['*.TMP']", "source.ignore too"),
            ("pattern: ['[']", "source.pattern: `[`"),
        ] {
            let found = problem(settings).unwrap_or_default();
            assert!(found.contains(expected), "{settings}: {found}");
        }
        for settings in
            ["pattern: ['day1/*.csv']", "pattern: ['**/*.csv'], subfolders: false", "ignore: ['.x']"]
        {
            assert_eq!(problem(settings), None, "{settings}");
        }
    }
}
