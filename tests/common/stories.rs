//! Plays random stories, one per seed, until the given time is over.

use std::fmt::Debug;
use std::io::Write as _;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Plays stories for the given time, or for `NEEDLEDROP_MODEL_SECONDS`. `NEEDLEDROP_SEED` repeats a story that failed.
///
/// Each story is shrunk by at most `shrinks` further plays.
pub fn play<S: Strategy>(name: &str, time: Duration, shrinks: u32, stories: S, play: impl Fn(&S::Value))
where
    S::Value: Debug,
{
    let setting = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let time = setting("NEEDLEDROP_MODEL_SECONDS").map_or(time, Duration::from_secs);
    let seed = setting("NEEDLEDROP_SEED").unwrap_or_else(|| fastrand::u64(..));
    let (began, mut played) = (Instant::now(), 0);
    while played == 0 || began.elapsed() < time {
        one(seed.wrapping_add(played), shrinks, &stories, &play);
        played += 1;
    }
    // Written directly, because the test harness hides the output of tests that pass.
    let _ = writeln!(std::io::stderr(), "{name}: {played} stories from seed {seed}");
}

fn one<S: Strategy>(seed: u64, shrinks: u32, stories: &S, play: &impl Fn(&S::Value))
where
    S::Value: Debug,
{
    let bytes = seed.to_le_bytes().repeat(4);
    let config =
        Config { cases: 1, failure_persistence: None, max_shrink_iters: shrinks, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let ran = runner.run(stories, |story| {
        play(&story);
        Ok(())
    });
    if let Err(TestError::Fail(why, story)) = ran {
        panic!("NEEDLEDROP_SEED={seed}: {why}\n{story:#?}");
    }
}
