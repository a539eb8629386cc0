//! A machine's clock, which runs a little fast or slow.

use sentineld::sentinel::time::{Millis, Now, UnixMillis};

const MILLION: u64 = 1_000_000;
/// Wall clock when the world began, ms since 1970.
const BEGINNING: u64 = 1_700_000_000_000;

/// Rate of a clock.
#[derive(Clone, Copy, Debug)]
pub struct Drifting {
    /// Millionths of true time.
    rate: u64,
}

impl Drifting {
    /// A clock that runs at `rate` millionths of true time.
    pub fn new(rate: u64) -> Drifting {
        Drifting { rate }
    }

    /// What it shows at a true time, microseconds: ms since the process's origin.
    pub fn elapsed_ms(self, now_us: u64) -> u64 {
        now_us * self.rate / MILLION / 1_000
    }

    /// The first true time, microseconds, at which it shows so many ms.
    pub fn reaches(self, ms: u64) -> u64 {
        ms.saturating_mul(1_000 * MILLION).div_ceil(self.rate)
    }

    /// Both clocks of a process whose monotonic one began at `origin`, and whose wall clock is set wrong by so many ms.
    pub fn now(self, now_us: u64, origin: u64, wall_offset: u64) -> Now {
        let elapsed = self.elapsed_ms(now_us);
        Now { mono: Millis(origin + elapsed), wall: UnixMillis(BEGINNING + elapsed + wall_offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_time_when_it_reaches_it() {
        for rate in [960_000, 999_999, 1_000_000, 1_000_003, 1_040_000] {
            let clock = Drifting::new(rate);
            for ms in [0, 1, 7, 999, 123_456] {
                let at = clock.reaches(ms);
                assert_eq!(clock.elapsed_ms(at), ms, "at {rate}");
                assert!(ms == 0 || clock.elapsed_ms(at - 1) < ms, "at {rate}");
            }
        }
    }
}
