//! The one way to wait for something: look again until it is so, or until the time is up.

use std::time::{Duration, Instant};

/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

/// The first value that `look` finds. Panics with `what` when `limit` has passed.
#[track_caller]
pub(crate) fn wait_for<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {} ms: {what}", limit.as_millis());
        std::thread::sleep(STEP);
    }
}

/// Waits until `check` holds. Panics with `what` when `limit` has passed.
#[track_caller]
pub(crate) fn wait_until(limit: Duration, what: &str, mut check: impl FnMut() -> bool) {
    wait_for(limit, what, || check().then_some(()));
}

/// Seconds, for limits.
pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
