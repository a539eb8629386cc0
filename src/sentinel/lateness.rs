//! Whether this process keeps up with its work: how late its monitors' steps are.
//!
//! Where a thousand masters fail together, the process is late with everything, and later with each thing more that it
//! does. What nobody waits for is then put off ([`LatenessRegister::leisure`]).

use std::sync::atomic::{AtomicU64, Ordering};

/// Late steps of which the average is taken.
const SPAN: u64 = 64;
/// No step counts as later than this, ms.
const LATEST: u64 = 1_000;
/// What is late by less, ms, on average, is on time.
const PUNCTUAL: u64 = 50;

/// Process-wide: how late steps come, ms, as a moving average. Monitors run one at a time, so no two change it at once.
#[derive(Debug, Default)]
pub struct LatenessRegister {
    /// In parts of [`SPAN`].
    sum: AtomicU64,
}

impl LatenessRegister {
    /// A monitor's step comes so much later, ms, than it had asked for.
    pub fn note(&self, late: u64) {
        let sum = self.sum.load(Ordering::SeqCst);
        self.sum.store(sum - sum / SPAN + late.min(LATEST), Ordering::SeqCst);
    }

    /// How late steps come, ms, on average.
    pub fn average(&self) -> u64 {
        self.sum.load(Ordering::SeqCst) / SPAN
    }

    /// By how much, ms, everything is put off that nobody waits for: asking again, and looking again at servers that are
    /// down or have nothing to do with a failover.
    pub fn leisure(&self) -> u64 {
        match self.average() {
            ..PUNCTUAL => 0,
            average => 2 * average,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// failover.md 12.3, S4
    #[test]
    fn leisure_follows_the_lateness_of_many_steps() {
        let lateness = LatenessRegister::default();
        lateness.note(5_000);
        assert_eq!(lateness.leisure(), 0, "one late step says little");
        (0..1_000).for_each(|_| lateness.note(300));
        assert!((560..=600).contains(&lateness.leisure()), "{}", lateness.leisure());
        (0..1_000).for_each(|_| lateness.note(5_000));
        assert!((1_900..=2_000).contains(&lateness.leisure()), "no more than two seconds: {}", lateness.leisure());
        (0..1_000).for_each(|_| lateness.note(0));
        assert_eq!(lateness.leisure(), 0);
    }
}
