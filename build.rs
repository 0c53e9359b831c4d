//! The commit that a build is of, for `--version` and `needledrop_build_info`.
//!
//! NEEDLEDROP_COMMIT says it where there is no git: in a container, in a tarball. A debug build does not ask git, or
//! every commit would compile the crate once more while it is worked on.

use std::path::Path;
use std::process::Command;

const UNKNOWN: &str = "unknown";

/// Digits that are enough to find a commit.
const SHORT: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=NEEDLEDROP_COMMIT");
    let given = std::env::var("NEEDLEDROP_COMMIT").ok().filter(|commit| is_one(commit));
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| if is_release { of_git() } else { None });
    let commit = commit.unwrap_or_else(|| UNKNOWN.to_owned());
    println!("cargo::rustc-env=NEEDLEDROP_COMMIT={}", &commit[..commit.len().min(SHORT)]);
}

/// What else is in the variable would be a label, and a line of its own.
fn is_one(commit: &str) -> bool {
    !commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A tree without `.git` may lie in the repository of somebody else.
fn of_git() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // Every commit and every checkout writes to the log of HEAD.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(file) = git(&["rev-parse", "--git-path", name]).filter(|file| Path::new(file).exists()) {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    git(&["rev-parse", "HEAD"]).filter(|commit| is_one(commit))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
