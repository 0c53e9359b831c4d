//! At which durable steps a run is killed, where a test walks through them.

/// Every step if `NEEDLEDROP_EVERY_STEP` is set, as `make test-all` does; otherwise every third one, so that three runs
/// of the test see about all of them.
pub fn steps() -> impl Iterator<Item = usize> {
    let is_every = std::env::var_os("NEEDLEDROP_EVERY_STEP").is_some();
    let (first, stride) = if is_every { (1, 1) } else { (fastrand::usize(1..=3), 3) };
    (first..).step_by(stride)
}
