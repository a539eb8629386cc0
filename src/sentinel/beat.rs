//! When a master's periodic work is done: at the multiples of its periods, shifted by a phase of the master's own.
//!
//! What falls due about one instance falls due together then, PING, hello and INFO in one write, and the instances of
//! one master together, in one step. Masters are spread over the time, which keeps each turn of the process short, but
//! come in groups, so that a turn has something to do.

use super::time::Millis;

/// Phases are this far apart, ms.
const SPACING: u64 = 10;
/// In a crowd of masters they are this far apart, ms: what waking up costs is shared by five times as many.
const CROWDED_SPACING: u64 = 50;
/// So many phases there are: the longest common period is that of INFO, 10 s.
const PHASES: u64 = 1_000;

/// The phase of one master.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    phase: u64,
}

impl Beat {
    /// The phase that follows from `seed`.
    pub fn new(seed: u64) -> Beat {
        Beat { phase: seed % PHASES * SPACING }
    }

    /// The beat of the same master in a crowd.
    #[must_use]
    pub fn in_a_crowd(self) -> Beat {
        Beat { phase: self.phase - self.phase % CROWDED_SPACING }
    }

    /// The last beat of this period, ms, that is not after `at`.
    pub fn until(self, at: Millis, period: u64) -> Millis {
        let late = at.0.saturating_sub(self.phase).checked_rem(period).unwrap_or(0);
        Millis(at.0 - late)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn periods_meet() {
        let beat = Beat::new(34);
        let at = beat.until(Millis(1_000_000), 10_000);
        assert_eq!(at, Millis(990_340));
        for period in [400, 1_000, 2_000] {
            assert_eq!(beat.until(at, period), at);
            assert_eq!(beat.until(at + period + 3, period), at + period);
            assert_eq!(beat.until(at + (period - 1), period), at);
        }
    }

    #[test]
    fn a_crowd_shares_its_beats() {
        let beats = |crowded: bool| {
            let phase = |seed| if crowded { Beat::new(seed).in_a_crowd() } else { Beat::new(seed) };
            (0..1_000).map(|seed| phase(seed).until(Millis(1_000_999), 1_000).0).collect::<BTreeSet<_>>()
        };
        assert_eq!(beats(false), (1_000_000..1_001_000).step_by(10).collect());
        assert_eq!(beats(true), (1_000_000..1_001_000).step_by(50).collect());
    }

    #[test]
    fn whatever_the_period_a_beat_is_not_late() {
        for (at, period) in [(5, 400), (0, 1), (7, 0), (123, 10)] {
            let beat = Beat::new(99).until(Millis(at), period);
            assert!(beat <= Millis(at) && beat.0 + period.max(1) > at, "{at} {period}: {beat}");
        }
    }
}
