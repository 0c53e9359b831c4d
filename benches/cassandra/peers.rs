//! Loaders that users of Cassandra already use. `benches/peers/peers` runs them and reports the measurements.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Run;
use crate::common::Outcome;

/// Whether both peers have been fetched.
pub fn are_there() -> bool {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers");
    ["lib/pom.xml", "venv/requirements"].iter().all(|file| place.join(file).is_file())
}

/// Loads a folder once with `copy` or `dsbulk`.
pub fn load(loader: &str, address: &str, keyspace: &str, folder: &Path) -> Outcome<Run> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/peers");
    let mut command = Command::new(script);
    command.args([loader, address, keyspace]).arg(folder).stdin(Stdio::null()).stderr(Stdio::inherit());
    let out = command.output()?;
    if !out.status.success() {
        return Err(format!("{loader}: {}", out.status).into());
    }
    let text = String::from_utf8(out.stdout)?;
    let sums = text.lines().find_map(|line| line.strip_prefix(loader)).ok_or("peers tell no sums")?;
    let figure = |name: &str| -> Outcome<f64> {
        let word = sums.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        Ok(word.ok_or_else(|| format!("{loader} tells no {name}"))?.parse()?)
    };
    // The script counts the rows in the tables. The loader sent as many rows as the other loaders.
    Ok(Run { seconds: figure("seconds")?, cpu: figure("cpu")?, peak: 0 })
}
