//! Finds out which file of the crate uses which other files, from `use` lines and full paths.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The path of a module: `["pipeline", "read"]` for `pipeline::read`, and nothing for the crate itself.
pub type Module = Vec<String>;

/// A file of the crate, and the other modules that it uses.
pub struct Source {
    pub file: PathBuf,
    pub uses: BTreeSet<Module>,
}

/// Returns all modules of the crate whose root is in this folder, without test modules.
pub fn crate_in(folder: &Path) -> BTreeMap<Module, Source> {
    let files: BTreeMap<Module, PathBuf> =
        rust_files(folder).into_iter().filter_map(|file| Some((module_of(&file, folder)?, file))).collect();
    let tests = test_modules(&files);
    let is_test = |module: &[String]| (1..=module.len()).any(|len| tests.contains(&module[..len]));
    let names: BTreeSet<Module> = files.keys().filter(|module| !is_test(module)).cloned().collect();
    let source = |(module, file): (&Module, &PathBuf)| {
        let code = code(&std::fs::read_to_string(file).unwrap());
        (module.clone(), Source { uses: imports(&code, module, &names), file: file.clone() })
    };
    files.iter().filter(|(module, _)| names.contains(*module)).map(source).collect()
}

/// Returns all Rust files under a folder.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let (mut left, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(place) = left.pop() {
        if place.is_dir() {
            left.extend(std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
        } else if place.extension().is_some_and(|ending| ending == "rs") {
            files.push(place);
        }
    }
    files
}

/// Returns the code without comments, and without the tests at its end.
pub fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Returns the modules that this code of `module` uses.
pub fn imports(code: &str, module: &[String], all: &BTreeSet<Module>) -> BTreeSet<Module> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        match use_tree(statement) {
            Some((before, tree)) => {
                rest.push_str(before);
                expand("", tree, &mut paths);
            }
            None => rest.push_str(statement),
        }
    }
    paths.extend(paths_in(&rest));
    let found = paths.iter().filter_map(|path| resolve(path, module, all));
    found.filter(|found| found != module).collect()
}

/// Splits a statement with a `use` into the text before the `use` and its tree.
fn use_tree(statement: &str) -> Option<(&str, &str)> {
    let at = statement.match_indices("use ").map(|(at, _)| at).find(|at| {
        let before = statement[..*at].rsplit('\n').next().unwrap_or_default().trim();
        before.is_empty() || (before.starts_with("pub") && !before.contains(' '))
    })?;
    Some((&statement[..at], statement[at + "use ".len()..].trim_end_matches(';')))
}

/// Collects the paths of a tree: `a::{b, c::d}` has the paths `a::b` and `a::c::d`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((outer, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        paths.push(format!("{prefix}{path}"));
        return;
    };
    let prefix = format!("{prefix}{}", outer.trim());
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[begin..at].trim().is_empty() {
                    expand(&prefix, &inner[begin..at], paths);
                }
                begin = (at + 1).min(inner.len());
            }
            _ => {}
        }
    }
}

/// Returns the paths in the code itself: full paths, and paths that begin with a child of the module.
fn paths_in(code: &str) -> Vec<String> {
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c| !is_of_path(c));
    words.filter(|word| word.contains("::")).map(str::to_owned).collect()
}

/// Returns the module that a path leads to or into, or `None` for another crate.
fn resolve(path: &str, module: &[String], all: &BTreeSet<Module>) -> Option<Module> {
    let mut parts: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
    let mut base: Module = match parts.first()?.as_str() {
        "crate" => Module::new(),
        "self" => module.to_vec(),
        "super" => {
            let mut base = module.to_vec();
            while parts.get(1).is_some_and(|part| part == "super") {
                parts.remove(0);
                base.pop();
            }
            base.pop();
            base
        }
        child => {
            let mut child_module = module.to_vec();
            child_module.push(child.to_owned());
            if !all.contains(&child_module) {
                return None;
            }
            parts.insert(0, String::new());
            module.to_vec()
        }
    };
    base.extend(parts.into_iter().skip(1));
    while !base.is_empty() && !all.contains(&base) {
        base.pop();
    }
    (!base.is_empty()).then_some(base)
}

fn module_of(file: &Path, folder: &Path) -> Option<Module> {
    let within = file.strip_prefix(folder).unwrap().with_extension("");
    let parts = within.iter().map(|part| part.to_str().unwrap().to_owned());
    let module: Module = parts.filter(|part| part != "mod" && part != "lib").collect();
    (module != ["main"]).then_some(module)
}

/// Returns the modules that exist only in tests.
fn test_modules(files: &BTreeMap<Module, PathBuf>) -> BTreeSet<Module> {
    let mut tests = BTreeSet::new();
    for (module, file) in files {
        let text = std::fs::read_to_string(file).unwrap();
        for declared in text.split("#[cfg(test)]\n").skip(1) {
            let line = declared.lines().next().unwrap_or_default();
            if let Some(name) = line.trim_start_matches("pub ").strip_prefix("mod ") {
                let name = name.trim_end_matches(';').trim_end_matches('{').trim();
                tests.insert([module.as_slice(), &[name.to_owned()]].concat());
            }
        }
    }
    tests
}
