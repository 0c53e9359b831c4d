//! Rules about counts, times and sizes.

use crate::config::patterns;
use crate::config::plan::broken::{Broken, Checked};
use crate::config::sections::{After, Config};

pub fn check(config: &Config) -> Checked<()> {
    let counts = [
        ("source.files_at_once", config.source.files_at_once),
        ("write.window", config.write.window),
        ("write.queue", config.write.queue),
        ("write.in_flight", config.write.in_flight),
        ("write.batch_rows", config.write.batch_rows),
    ];
    if let Some((path, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(Broken::new(path, "is 0, so nothing would ever be loaded", "set it to 1 or more"));
    }
    if config.source.pattern.is_empty() {
        let next = "list patterns such as \"*.csv\", or remove the key";
        return Err(Broken::new("source.pattern", "is empty, so no file would ever be loaded", next));
    }
    if config.source.poll.is_zero() {
        return Err(Broken::new(
            "source.poll",
            "is 0, so the inbox would be listed without a pause",
            "set it to 1s or more",
        ));
    }
    verify(config)?;
    // Positions in a chunk have 32 bits, and a chunk holds at least one record.
    let sizes = [
        ("limits.max_record_bytes", config.limits.max_record_bytes.0),
        ("write.window_bytes", config.write.window_bytes.0),
    ];
    if let Some((key, _)) = sizes.into_iter().find(|(_, bytes)| *bytes > 1 << 30) {
        return Err(Broken::new(key, "is over 1GiB", "set it to 1GiB or less"));
    }
    patterns::check(&config.source).map_err(|(path, problem, next)| Broken::new(path, problem, next))
}

/// Checks the verifications by the daemon.
fn verify(config: &Config) -> Checked<()> {
    let keys = &config.verify;
    if keys.sample.is_none() {
        return Ok(());
    }
    if keys.every.is_zero() {
        let problem = "is 0, so the daemon would verify without a pause";
        return Err(Broken::new("verify.every", problem, "set it to a time such as 24h"));
    }
    if config.source.after == After::Delete {
        let problem = "is delete, but verify reads the loaded files again";
        let next = "set it to keep or move, or set verify to off";
        return Err(Broken::new("source.after", problem, next));
    }
    Ok(())
}
