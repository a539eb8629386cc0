//! TILT: after this process stood still, nothing it believes about time is trusted for a while.
//!
//! Every monitor checks for itself, before anything else in a step, how late it is against the deadline that it had
//! asked for. A central heartbeat would let a monitor step first after a stall and take five-second-old PINGs for a
//! dead master.

use std::sync::atomic::{AtomicU64, Ordering};

use super::time::Millis;

const NEVER: u64 = u64::MAX;

/// Process-wide TILT state: when it began, if it is on.
#[derive(Debug)]
pub struct TiltRegister {
    start: AtomicU64,
}

impl Default for TiltRegister {
    fn default() -> Self {
        TiltRegister { start: AtomicU64::new(NEVER) }
    }
}

impl TiltRegister {
    /// When TILT began, if it is on.
    pub fn since(&self) -> Option<Millis> {
        match self.start.load(Ordering::SeqCst) {
            NEVER => None,
            start => Some(Millis(start)),
        }
    }

    /// Whether TILT is on.
    pub fn is_on(&self) -> bool {
        self.since().is_some()
    }

    /// Turns TILT on at `now` for a stall that began at `stalled_since`, or starts its period again. False when
    /// another monitor has reported the same stall already, which the caller then must not announce.
    pub fn enter(&self, now: Millis, stalled_since: Millis) -> bool {
        let reported = self.since().is_some_and(|start| start > stalled_since);
        if !reported {
            self.start.store(now.0, Ordering::SeqCst);
        }
        !reported
    }

    /// Turns TILT off if it has lasted `period`. True for the one caller that ended it and must announce that.
    pub fn leave(&self, now: Millis, period: u64) -> bool {
        match self.since() {
            Some(start) if now.since(start) >= period => {
                self.start.compare_exchange(start.0, NEVER, Ordering::SeqCst, Ordering::SeqCst).is_ok()
            }
            _ => false,
        }
    }
}

/// One monitor's stall detector.
#[derive(Debug, Default)]
pub struct TiltGuard {
    deadline: Option<Millis>,
}

impl TiltGuard {
    /// Remembers the deadline that the monitor asked to be woken at.
    pub fn expect(&mut self, deadline: Millis) {
        self.deadline = Some(deadline);
    }

    /// The missed deadline, if this step comes more than `trigger` after it: the process stood still.
    pub fn stalled_since(&self, now: Millis, trigger: u64) -> Option<Millis> {
        self.deadline.filter(|deadline| now.since(*deadline) > trigger)
    }
}
