//! The durable steps at which a test kills a run.

/// Returns every step if `NEEDLEDROP_EVERY_STEP` is set, as `make every-step` does. Otherwise returns every sixth
/// step, so that six runs of the test cover nearly all steps.
pub fn steps() -> impl Iterator<Item = usize> {
    let is_every = std::env::var_os("NEEDLEDROP_EVERY_STEP").is_some();
    let (first, stride) = if is_every { (1, 1) } else { (fastrand::usize(1..=6), 6) };
    (first..).step_by(stride)
}
