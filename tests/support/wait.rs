//! The one way to wait for something: look again until it is so, or until the time is up.

use std::time::{Duration, Instant};

/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

/// The first value that `look` finds. Panics with `what` when `limit` has passed.
#[track_caller]
pub(crate) fn wait_for<T>(limit: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    let found = find_within(limit, look);
    found.unwrap_or_else(|| panic!("not within {} ms: {what}", limit.as_millis()))
}

/// The first value that `look` finds, if it finds one in time.
pub(crate) fn find_within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let found @ Some(_) = look() {
            return found;
        }
        if start.elapsed() >= limit {
            return None;
        }
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
