//! Passes the commit of the build to the crate, for `--version` and `needledrop_build_info`.
//!
//! NEEDLEDROP_COMMIT sets the commit where there is no git, as in a container or a tarball. A debug build does not ask
//! git, because then every commit would compile the crate again during development.

use std::path::Path;
use std::process::Command;

const UNKNOWN: &str = "unknown";

/// The number of digits that are enough to find a commit.
const SHORT: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=NEEDLEDROP_COMMIT");
    let given = std::env::var("NEEDLEDROP_COMMIT").ok().filter(|commit| is_hash(commit));
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| if is_release { git_head() } else { None });
    let commit = commit.unwrap_or_else(|| UNKNOWN.to_owned());
    println!("cargo::rustc-env=NEEDLEDROP_COMMIT={}", &commit[..commit.len().min(SHORT)]);
}

/// Whether the text is a commit hash. The value becomes a metric label, and a line of the build script's output.
fn is_hash(commit: &str) -> bool {
    !commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the current commit. Without `.git` in this folder, git might find an unrelated repository above it.
fn git_head() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // Every commit and every checkout writes to the log of HEAD, so the build script runs again.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(file) = git(&["rev-parse", "--git-path", name]).filter(|file| Path::new(file).exists()) {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    git(&["rev-parse", "HEAD"]).filter(|commit| is_hash(commit))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
