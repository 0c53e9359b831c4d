//! The durable steps at which a test kills a run.

/// Returns every sixth step, so that six runs of the test cover nearly all steps.
#[allow(dead_code, reason = "each test file uses a part of it")]
pub fn steps() -> impl Iterator<Item = usize> {
    steps_by(6)
}

/// Returns every `stride`th step, from a random one. Returns every step if `NEEDLEDROP_EVERY_STEP` is set, as `make
/// every-step` does.
pub fn steps_by(stride: usize) -> impl Iterator<Item = usize> {
    let is_every = std::env::var_os("NEEDLEDROP_EVERY_STEP").is_some();
    let (first, stride) = if is_every { (1, 1) } else { (fastrand::usize(1..=stride), stride) };
    (first..).step_by(stride)
}
