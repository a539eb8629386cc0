//! The one place that reads the system's clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::sentinel::time::{Millis, Now, UnixMillis};

/// Reads both clocks. Copies share their origin, so ages agree across threads.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// The same as the kernel tells it.
    since_boot: Duration,
}

/// Keeps every age representable: the process is deemed to have started this long after the origin of its clock.
const HEAD_START: u64 = 1_000_000_000;

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::new_without_default, reason = "making one reads the clock, which a default should not")]
    pub fn new() -> Clock {
        Clock { origin: Instant::now(), since_boot: kernel_time(ClockId::CLOCK_MONOTONIC) }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Now { mono: self.mono(), wall: UnixMillis(wall) }
    }

    /// The monotonic clock.
    pub fn mono(&self) -> Millis {
        Millis(HEAD_START + self.origin.elapsed().as_millis() as u64)
    }

    /// The monotonic clock as it was when the kernel's ticked last, some milliseconds ago: exact enough for when a client was
    /// heard, at a fraction of the price.
    pub fn coarse(&self) -> Millis {
        let elapsed = kernel_time(ClockId::CLOCK_MONOTONIC_COARSE).saturating_sub(self.since_boot);
        Millis(HEAD_START + elapsed.as_millis() as u64)
    }

    /// The instant at which `mono` will read `at`.
    pub fn instant(&self, at: Millis) -> Instant {
        self.origin + Duration::from_millis(at.0.saturating_sub(HEAD_START))
    }
}

fn kernel_time(clock: ClockId) -> Duration {
    clock_gettime(clock).expect("the kernel has both").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_clock_is_late_by_milliseconds() {
        let clock = Clock::new();
        let before = clock.mono();
        while clock.coarse() < before {
            assert!(clock.mono().since(before) < 5_000, "it stands still");
        }
        let coarse = clock.coarse();
        assert!(coarse <= clock.mono(), "it is ahead");
    }
}
