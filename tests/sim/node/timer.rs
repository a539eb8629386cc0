//! When the machines of a Sentinel are woken, by their own clock and a little late.

use rand::RngExt;
use sentineld::sentinel::io::Input;
use sentineld::sentinel::peer::PeerInput;
use sentineld::sentinel::time::Millis;

use super::{Happening, Job, Node, Process};
use crate::net::Who;
use crate::world::{Event, Shared};

/// When a machine wants to be woken, and for when the heap has an event.
#[derive(Debug, Default)]
pub(super) struct Timer {
    wanted: Option<u64>,
    scheduled: Option<u64>,
}

impl Node {
    pub(super) fn wake(&mut self, sh: &mut Shared, who: Who) {
        let process = self.process();
        let Some(timer) = process.timer(who) else { return };
        // Not this node's clock: an event that was scheduled for a deadline that is no longer the nearest.
        if timer.scheduled.is_none_or(|at| at > sh.now) {
            return;
        }
        timer.scheduled = None;
        match timer.wanted {
            Some(wanted) if wanted <= sh.now => {
                timer.wanted = None;
                process.mail.push(match who {
                    Who::Monitor(master) => Job::Monitor(master, Input::Tick),
                    Who::Peer(peer) => Job::Peer(peer, PeerInput::Tick),
                });
            }
            Some(wanted) => {
                timer.scheduled = Some(wanted);
                self.schedule(sh, who, wanted);
            }
            None => {}
        }
    }

    pub(super) fn wake_at(&mut self, sh: &mut Shared, who: Who, at: Millis) {
        let process = self.process();
        let due = process.clock.reaches(at.0.saturating_sub(process.origin)).max(sh.now);
        let due = due + sh.rng.tick.random_range(0..=sh.tick_late_us);
        let Some(timer) = process.timer(who) else { return };
        timer.wanted = Some(due);
        if timer.scheduled.is_none_or(|scheduled| scheduled > due) {
            timer.scheduled = Some(due);
            self.schedule(sh, who, due);
        }
    }

    fn schedule(&self, sh: &mut Shared, who: Who, at: u64) {
        let event = Event::Node { node: self.host, incarnation: self.incarnation, happening: Happening::Wake(who) };
        sh.push(at, event);
    }
}

impl Process {
    fn timer(&mut self, who: Who) -> Option<&mut Timer> {
        match who {
            Who::Monitor(master) => self.monitors[master].as_mut().map(|slot| &mut slot.timer),
            Who::Peer(peer) => Some(&mut self.peers[peer].timer),
        }
    }
}
