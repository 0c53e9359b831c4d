//! Docker and Compose as commands, and the build of the image.

use std::process::{Command, Output};
use std::sync::Once;

use serde_json::Value as Json;

/// The commit that the build of the image is given.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The time limit in seconds for the build of the image: the whole product in release mode, on few cores.
const BUILT_WITHIN: &str = "3600";
pub const DONE_WITHIN: &str = "600";

pub fn wanted() -> bool {
    let wanted = std::env::var("NEEDLEDROP_TEST_DOCKER").is_ok_and(|wanted| !wanted.is_empty());
    if !wanted {
        eprintln!("NOTE: NOT RUN, `make test-docker` runs it");
    }
    wanted
}

pub fn docker(arguments: &[&str]) -> Output {
    Command::new("timeout").args([DONE_WITHIN, "docker"]).args(arguments).output().unwrap()
}

pub fn done(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub fn inspect(what: &str) -> Json {
    serde_json::from_str::<Json>(&done(docker(&["inspect", what]))).unwrap()[0].take()
}

/// Returns the name of the image, as docker-compose.yaml has it.
fn name() -> String {
    format!("needledrop:{}", env!("CARGO_PKG_VERSION"))
}

pub fn made() -> Json {
    inspect(&name())
}

pub fn base() -> Json {
    inspect("debian:bookworm-slim")
}

/// Runs one command in a container of its own. Returns the exit code and the output.
pub fn run(arguments: &[&str]) -> (i32, String) {
    let output = docker(&[&["run", "--rm", "--read-only", &name()], arguments].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).trim().to_owned())
}

/// Returns Compose as a plugin of Docker, or as a program of its own in an older installation.
pub fn compose_command(within: &str) -> Command {
    let is_plugin = docker(&["compose", "version"]).status.success();
    let mut command = Command::new("timeout");
    command.arg(within).args(if is_plugin { &["docker", "compose"][..] } else { &["docker-compose"] });
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("NEEDLEDROP_COMMIT", COMMIT);
    command
}

/// Builds the image once, with the composition.
pub fn build() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        done(compose_command(BUILT_WITHIN).args(["build", "needledrop"]).output().unwrap());
    });
}
