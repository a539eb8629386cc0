//! TILT: after this process stood still, nothing it believes about time is trusted for a while.
//!
//! Every monitor checks for itself, before anything else in a step, whether the process stood still behind the deadline
//! that it had asked for. A central heartbeat would let a monitor step first after a stall and take five-second-old PINGs
//! for a dead master. The process stood still where no monitor stepped: one of a thousand may wait long for its turn, but
//! what came for it meanwhile is read before it judges ([`is_about_to_judge`]), so nothing of it is too old.
//!
//! [`is_about_to_judge`]: super::monitor::Monitor::is_about_to_judge

use std::sync::atomic::{AtomicU64, Ordering};

use super::time::{Millis, Now};

const NEVER: u64 = u64::MAX;

/// Process-wide TILT state: when it began and when it ends, if it is on. Monitors run one at a time, so no two change
/// it at once; the atomics only let other threads read.
#[derive(Debug)]
pub struct TiltRegister {
    start: AtomicU64,
    end: AtomicU64,
    /// Wall clock less monotonic clock, when last looked at.
    wall_offset: AtomicU64,
    /// When any monitor last stepped.
    last_step: AtomicU64,
    /// The last time that none did for longer than the trigger: its beginning and its end.
    gap_start: AtomicU64,
    gap_end: AtomicU64,
}

impl Default for TiltRegister {
    fn default() -> Self {
        let never = || AtomicU64::new(NEVER);
        let none = AtomicU64::default;
        TiltRegister {
            start: never(),
            end: never(),
            wall_offset: never(),
            last_step: never(),
            gap_start: none(),
            gap_end: none(),
        }
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

    /// When TILT ends, if it is on and nobody extends it.
    pub fn until(&self) -> Option<Millis> {
        self.since().map(|_| Millis(self.end.load(Ordering::SeqCst)))
    }

    /// Whether TILT is on.
    pub fn is_on(&self) -> bool {
        self.since().is_some()
    }

    /// A monitor steps now. If none has for more than `trigger`, ms, the process stood still, or had nothing to do.
    pub fn step(&self, now: Millis, trigger: u64) {
        let last = self.last_step.swap(now.0, Ordering::SeqCst);
        if last != NEVER && now.since(Millis(last)) > trigger {
            self.gap_start.store(last, Ordering::SeqCst);
            self.gap_end.store(now.0, Ordering::SeqCst);
        }
    }

    /// For how long, ms, of the time behind `since` nobody stepped when that last took long.
    fn stood_still_since(&self, since: Millis) -> u64 {
        let start = self.gap_start.load(Ordering::SeqCst).max(since.0);
        self.gap_end.load(Ordering::SeqCst).saturating_sub(start)
    }

    /// Turns TILT on at `now` for a stall that began at `stalled_since`, or starts its period again; it lasts `period`
    /// at least. False when another monitor has reported the same stall already, which the caller then must not
    /// announce.
    pub fn enter(&self, now: Millis, stalled_since: Millis, period: u64) -> bool {
        let reported = self.since().is_some_and(|start| start > stalled_since);
        if !reported {
            self.start.store(now.0, Ordering::SeqCst);
            self.end.store((now + period).0, Ordering::SeqCst);
        }
        !reported
    }

    /// Makes TILT, if it is on, last until `end` at least.
    pub fn extend(&self, end: Millis) {
        if self.is_on() {
            self.end.fetch_max(end.0, Ordering::SeqCst);
        }
    }

    /// Turns TILT off if its time is over. True for the one caller that ended it and must announce that.
    pub fn leave(&self, now: Millis) -> bool {
        let over = self.until().is_some_and(|end| now >= end);
        if over {
            self.start.store(NEVER, Ordering::SeqCst);
        }
        over
    }

    /// By how much, ms, the wall clock has jumped against the monotonic clock since this was last asked, if by more
    /// than `trigger`. Told to one caller only; slow drift is never a jump.
    pub fn wall_jump(&self, now: Now, trigger: u64) -> Option<i64> {
        let offset = now.wall.0.wrapping_sub(now.mono.0);
        let before = self.wall_offset.swap(offset, Ordering::SeqCst);
        let jump = offset.wrapping_sub(before).cast_signed();
        (before != NEVER && jump.unsigned_abs() > trigger).then_some(jump)
    }
}

/// One monitor's stall detector.
#[derive(Debug, Default)]
pub struct TiltGuard {
    deadline: Option<Millis>,
    /// Start of the TILT for which the probes were sent anew.
    rearmed_for: Option<Millis>,
}

impl TiltGuard {
    /// Remembers the deadline that the monitor asked to be woken at.
    pub fn expect(&mut self, deadline: Millis) {
        self.deadline = Some(deadline);
    }

    /// How late a step is now, ms; none if it is not due.
    pub fn lateness(&self, now: Millis) -> Option<u64> {
        self.deadline.filter(|deadline| *deadline <= now).map(|deadline| now.since(deadline))
    }

    /// The missed deadline, if the process stood still for more than `trigger`, ms, behind it.
    pub fn stalled_since(&self, tilt: &TiltRegister, trigger: u64) -> Option<Millis> {
        self.deadline.filter(|deadline| tilt.stood_still_since(*deadline) > trigger)
    }

    /// Whether TILT is on and this machine has not sent its probes anew for it. True once for each TILT.
    pub fn must_rearm(&mut self, tilt: &TiltRegister) -> bool {
        let since = tilt.since();
        let must = since.is_some() && since != self.rearmed_for;
        self.rearmed_for = since.or(self.rearmed_for);
        must
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::time::UnixMillis;

    /// failover.md 186
    #[test]
    fn one_stall_is_announced_once_and_a_new_one_again() {
        let tilt = TiltRegister::default();
        assert!(tilt.enter(Millis(100), Millis(10), 50));
        assert!(!tilt.enter(Millis(101), Millis(20), 50), "the same stall, seen by another monitor");
        assert!(!tilt.leave(Millis(149)));
        assert!(tilt.enter(Millis(149), Millis(120), 50));
        assert!(!tilt.leave(Millis(150)));
        tilt.extend(Millis(300));
        assert!(!tilt.leave(Millis(299)));
        assert!(tilt.leave(Millis(300)));
        assert!(!tilt.leave(Millis(301)), "ended already");
    }

    /// failover.md 182
    #[test]
    fn the_process_stood_still_where_nobody_stepped_behind_a_deadline() {
        const TRIGGER: u64 = 2_000;
        let tilt = TiltRegister::default();
        let stalled_since = |deadline| {
            let mut guard = TiltGuard::default();
            guard.expect(Millis(deadline));
            guard.stalled_since(&tilt, TRIGGER)
        };
        for now in [0, 2_000, 4_000, 6_000, 8_000] {
            tilt.step(Millis(now), TRIGGER);
        }
        assert_eq!(stalled_since(1_000), None, "its own step is late, others stepped");
        tilt.step(Millis(12_000), TRIGGER);
        assert_eq!(stalled_since(1_000), Some(Millis(1_000)), "late before the stall");
        assert_eq!(stalled_since(9_999), Some(Millis(9_999)));
        assert_eq!(stalled_since(10_000), None, "not for long enough behind the deadline");
        assert_eq!(stalled_since(12_001), None, "before the deadline");
    }

    /// beyond.md B7
    #[test]
    fn only_jumps_of_the_wall_clock_are_told() {
        let tilt = TiltRegister::default();
        let at = |mono, wall| Now { mono: Millis(mono), wall: UnixMillis(wall) };
        assert_eq!(tilt.wall_jump(at(0, 1_000_000), 2_000), None);
        assert_eq!(tilt.wall_jump(at(500, 1_002_400), 2_000), None);
        assert_eq!(tilt.wall_jump(at(1_000, 1_004_800), 2_000), None, "drift");
        assert_eq!(tilt.wall_jump(at(1_100, 4_604_900), 2_000), Some(3_600_000));
        assert_eq!(tilt.wall_jump(at(1_200, 4_605_000), 2_000), None);
        assert_eq!(tilt.wall_jump(at(1_300, 1_005_100), 2_000), Some(-3_600_000));
    }
}
