//! The one place that reads the system's clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::sentinel::time::{Millis, Now, UnixMillis};

/// Reads both clocks. Copies share their origin, so ages agree across threads.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

/// Keeps every age representable: the process is deemed to have started this long after the origin of its clock.
const HEAD_START: u64 = 1_000_000_000;

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::new_without_default, reason = "making one reads the clock, which a default should not")]
    pub fn new() -> Clock {
        Clock { origin: Instant::now() }
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

    /// The instant at which `mono` will read `at`.
    pub fn instant(&self, at: Millis) -> Instant {
        self.origin + std::time::Duration::from_millis(at.0.saturating_sub(HEAD_START))
    }
}
