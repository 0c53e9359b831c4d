//! Tests of the rules for the tree: which module may use which, where tasks start, that no test depends on a fixed port,
//! and that pictures can be reviewed.
#![allow(clippy::unwrap_used, reason = "a failing helper must fail its test")]

#[path = "structure/imports.rs"]
mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use imports::{Module, Source, code, crate_in, imports, rust_files};

/// Each module of the crate, and the other modules that it may use.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("domain", &[]),
    ("source", &["domain"]),
    ("format", &["domain"]),
    ("metrics", &["domain"]),
    ("store", &["domain", "metrics"]),
    ("config", &["domain", "source", "store"]),
    ("pipeline", &["config", "domain", "format", "metrics", "source", "store"]),
    ("jobs", &["domain", "format", "metrics", "pipeline", "source", "store"]),
    ("http", &["metrics"]),
    ("daemon", &["config", "domain", "http", "jobs", "metrics", "pipeline", "source", "store"]),
    ("cli", &["config", "daemon", "domain", "format", "jobs", "metrics", "pipeline", "source", "store"]),
];

/// The stages of the pipeline. They know the messages, and not each other.
const STAGES: [&str; 5] = ["discover", "read", "transform", "write", "retire"];

/// Files whose results depend only on their input.
const PURE: [&str; 5] = [
    "src/domain",
    "src/format/framer",
    "src/pipeline/discover/files",
    "src/pipeline/row_builder",
    "src/pipeline/transform",
];

/// Words that these files must not contain.
const IMPURE: [&str; 7] =
    ["std::fs", "tokio::fs", "std::io", "std::net::Tcp", "SystemTime::now", "Instant::now", "serde_json"];

/// The only places that start tasks and threads. SQLite's connections have a thread of their own.
const MAY_SPAWN: [&str; 3] = ["src/daemon/", "src/pipeline/mod.rs", "src/store/sqlite/connection_thread.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(place: &str) -> Vec<PathBuf> {
    let files = rust_files(&root().join(place));
    assert!(!files.is_empty(), "{place} does not exist: update the list in this test");
    files
}

fn name(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().display().to_string()
}

fn modules() -> BTreeMap<Module, Source> {
    crate_in(&root().join("src"))
}

/// Returns every use of a module by another module that `is_wrong` refuses.
fn wrong_uses(is_wrong: impl Fn(&Module, &Module) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (module, source) in &modules() {
        let wrong = source.uses.iter().filter(|used| is_wrong(module, used));
        found.extend(wrong.map(|used| format!("{} uses {}", name(&source.file), used.join("::"))));
    }
    found
}

#[test]
fn modules_use_only_what_they_may_know() {
    let wrong = wrong_uses(|module, used| {
        let (Some(module), Some(used)) = (module.first(), used.first()) else { return false };
        let rule = MAY_USE.iter().find(|(name, _)| name == module);
        let (_, may) = rule.unwrap_or_else(|| panic!("{module} has no rule in this test"));
        module != used && !may.contains(&used.as_str())
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_stage_of_the_pipeline_uses_no_other_stage() {
    let stage = |module: &Module| match module.as_slice() {
        [pipeline, stage, ..] if pipeline == "pipeline" && STAGES.contains(&stage.as_str()) => {
            Some(stage.clone())
        }
        _ => None,
    };
    let wrong = wrong_uses(|module, used| match (stage(module), stage(used)) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_have_no_import_cycles() {
    let modules = modules();
    let mut ended = BTreeSet::new();
    for module in modules.keys() {
        if let Some(circle) = circle(module, &modules, &mut Vec::new(), &mut ended) {
            let circle: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
            panic!("{}", circle.join(" uses "));
        }
    }
}

/// Returns an import cycle that contains `module` or a module on the way to it. Modules in `ended` lead to no cycle.
fn circle(
    module: &Module,
    modules: &BTreeMap<Module, Source>,
    way: &mut Vec<Module>,
    ended: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    if let Some(at) = way.iter().position(|before| before == module) {
        return Some([&way[at..], std::slice::from_ref(module)].concat());
    }
    if ended.contains(module) {
        return None;
    }
    way.push(module.clone());
    let found = modules[module].uses.iter().find_map(|used| circle(used, modules, way, ended));
    way.pop();
    ended.insert(module.clone());
    found
}

#[test]
fn pure_files_do_no_io_and_read_no_clock() {
    let is_test = |file: &Path| name(file).split(['/', '.']).any(|part| part == "tests");
    for file in PURE.iter().flat_map(|place| files(place)).filter(|file| !is_test(file)) {
        let code = code(&std::fs::read_to_string(&file).unwrap());
        let found: Vec<_> = IMPURE.iter().filter(|word| code.contains(**word)).collect();
        assert!(found.is_empty(), "{} names {found:?}", name(&file));
    }
}

#[test]
fn tasks_and_threads_begin_in_few_places() {
    for source in modules().values() {
        let (name, code) = (name(&source.file), code(&std::fs::read_to_string(&source.file).unwrap()));
        let spawns = ["tokio::spawn", ".spawn(", "thread::Builder", "thread::spawn"];
        let may = MAY_SPAWN.iter().any(|place| name.starts_with(place));
        assert!(may || !spawns.iter().any(|word| code.contains(word)), "{name} spawns");
    }
}

/// The rules above hold only if every form of an import is found.
#[test]
fn imports_are_found_in_every_form() {
    let module = |path: &str| -> Module { path.split("::").map(str::to_owned).collect() };
    let all = ["a", "a::b", "a::c", "d", "d::e"].map(module);
    let seen_in = |from: &str, code: &str| -> Vec<String> {
        let found = imports(code, &module(from), &BTreeSet::from(all.clone()));
        found.iter().map(|module| module.join("::")).collect()
    };
    let seen = |code: &str| seen_in("a::b", code);
    assert_eq!(seen("use crate::d::e::Thing;"), ["d::e"]);
    assert_eq!(seen("pub use crate::{a::c::{One, Two as Other}, d};"), ["a::c", "d"]);
    assert_eq!(seen("use super::c::Thing;\nuse super::super::d::Thing;"), ["a::c", "d"]);
    assert_eq!(seen("fn f() {\n    use crate::d::Thing;\n}"), ["d"]);
    assert_eq!(seen("pub(super) use crate::d;"), ["d"]);
    assert_eq!(seen("fn f() -> crate::d::e::Thing { super::c::thing() }"), ["a::c", "d::e"]);
    assert_eq!(seen_in("a", "use b::Thing;\nfn f() { c::thing() }"), ["a::b", "a::c"]);
    assert!(seen("use std::fs;\nuse other::d::Thing;\nlet because = 1;").is_empty());
}

/// Files that may name a port, because they compare shipped files or start the server on that port themselves.
const NAME_PORTS: [&str; 5] = [
    "tests/cluster.rs",
    "tests/docker/files.rs",
    "tests/monitoring/prometheus.rs",
    "tests/service/machine.rs",
    "tests/structure.rs",
];

/// Whether an address of this machine is followed by a port, other than 0.
fn names_a_port(line: &str) -> bool {
    let hosts = ["127.0.0.1:", "localhost:", "0.0.0.0:", "[::1]:", "127.0.0.1\", ", "localhost\", "];
    let is_port = |rest: &str| rest.starts_with(|first: char| matches!(first, '1'..='9'));
    hosts.iter().any(|host| line.split(host).skip(1).any(is_port))
}

/// Another process may already listen on a fixed port. A test would then talk to that process, or fail because of
/// it.
#[test]
fn tests_name_no_fixed_port() {
    assert!(names_a_port("\"127.0.0.1:9042\"") && names_a_port("(\"localhost\", 9042)"));
    assert!(!names_a_port("\"127.0.0.1:0\"") && !names_a_port("\"127.0.0.1:{port}\""));
    for file in files("tests").into_iter().filter(|file| !NAME_PORTS.contains(&name(file).as_str())) {
        for (number, line) in (1..).zip(std::fs::read_to_string(&file).unwrap().lines()) {
            assert!(!names_a_port(line), "{}:{number}: {line}", name(&file));
        }
    }
}

/// A setting that a world does not set has its default, and another process may listen on a default port.
#[test]
fn every_world_sets_the_ports_that_have_a_default() {
    let common = std::fs::read_to_string(root().join("tests/common/mod.rs")).unwrap();
    for setting in ["http.listen", "store.cassandra.port"] {
        assert!(common.contains(&format!("\"{setting}\"")), "World::new sets no {setting}");
    }
}

/// The maximum size of a picture: its changes are read in a diff.
const PICTURE: (usize, usize) = (400, 60_000);

#[test]
fn pictures_are_short_enough_to_review() {
    let pictures: Vec<PathBuf> =
        std::fs::read_dir(root().join("docs/pictures")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!pictures.is_empty());
    for picture in pictures {
        let text = std::fs::read_to_string(&picture).unwrap();
        let size = (text.lines().count(), text.len());
        let fits = size.0 <= PICTURE.0 && size.1 <= PICTURE.1;
        assert!(fits, "{}: {size:?} lines and bytes, more than {PICTURE:?}", name(&picture));
        for word in ["<metadata", "base64"] {
            assert!(!text.contains(word), "{}: contains {word}", name(&picture));
        }
    }
}
