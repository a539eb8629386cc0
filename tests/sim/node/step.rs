//! Steps of the machines of a Sentinel: as in its tasks, one takes everything for it that is there, then acts once.

use std::mem;

use rand::RngExt;
use sentineld::sentinel::Env;
use sentineld::sentinel::io::{AdminRequest, Input, Output};
use sentineld::sentinel::peer::PeerOutbox;
use sentineld::sentinel::policy::FailoverMode;
use sentineld::sentinel::time::Millis;

use super::{Happening, Node};
use crate::canary::Canary;
use crate::checker::Observation;
use crate::faults::Fault;
use crate::net::Who;
use crate::world::{Event, Shared};

impl Node {
    /// Has the machines step until nothing is left to do.
    pub fn work(&mut self, sh: &mut Shared) {
        while let Some(next) = self.process.as_mut().and_then(|process| process.mail.next()) {
            match next {
                Who::Monitor(master) if self.turn_us > 0 => self.wait_for_turn(sh, master),
                Who::Monitor(master) => self.step_monitor(sh, master),
                Who::Peer(peer) => self.step_peer(sh, peer),
            }
            if sh.checkers.violation.is_some() {
                return;
            }
        }
    }

    /// A monitor has to wait until the process comes to it. Peers do not: before a monitor that is late judges, they pass on
    /// what they have.
    fn wait_for_turn(&mut self, sh: &mut Shared, master: usize) {
        let waiting = &mut self.process.as_mut().expect("it was woken").waiting;
        waiting.push_back(master);
        if waiting.len() == 1 {
            self.schedule_turn(sh);
        }
    }

    fn schedule_turn(&self, sh: &mut Shared) {
        let at = sh.now + sh.rng.fault(Fault::NodeLate).random_range(0..=self.turn_us);
        sh.push(at, Event::Node { node: self.host, incarnation: self.incarnation, happening: Happening::Turn });
    }

    /// The monitor that has waited longest has its turn.
    pub(super) fn take_turn(&mut self, sh: &mut Shared) {
        if let Some(master) = self.process().waiting.pop_front() {
            self.step_monitor(sh, master);
        }
        // The step may have ended the process.
        if self.process.as_ref().is_some_and(|process| !process.waiting.is_empty()) {
            self.schedule_turn(sh);
        }
    }

    /// One step of a monitor, with all that is there for it.
    fn step_monitor(&mut self, sh: &mut Shared, master: usize) {
        let (wall, canary, traced) = (self.wall_offset, self.canary, sh.trace.is_on());
        let process = self.process.as_mut().expect("checked by every entry point");
        let now = process.clock.now(sh.now, process.origin, wall);
        let env = Env {
            now,
            epoch: &process.epoch,
            tilt: &process.tilt,
            lateness: &process.lateness,
            groups: &process.groups,
            node: &self.settings,
        };
        let inputs = process.mail.of_monitor(master);
        // If it is gone, its messages are, too.
        let Some(slot) = process.monitors[master].as_mut() else { return };
        let mut forced = false;
        let mut shown = Vec::new();
        let inputs = inputs.filter_map(|input| canary.input(input, slot.asked_in)).inspect(|input| {
            forced |= matches!(input, Input::Admin { request: AdminRequest::Failover(order), .. }
                if order.mode != Some(FailoverMode::Coordinated));
            match input {
                Input::Admin { request: AdminRequest::Reset, .. } => {
                    sh.see(&Observation::Reset { node: self.host, master });
                }
                Input::Admin { request: AdminRequest::Failover(order), .. }
                    if order.mode == Some(FailoverMode::Coordinated) =>
                {
                    sh.see(&Observation::Planned { node: self.host, master });
                }
                _ => {}
            }
            if traced {
                shown.push(input.clone());
            }
            sh.stats.inputs += 1;
        });
        let mut out = mem::take(&mut process.outbox);
        slot.monitor.handle_all(inputs, &env, &mut out);
        if canary == Canary::TiltIgnored {
            process.tilt.leave(Millis(u64::MAX));
        }
        if canary != Canary::None {
            let mut outputs: Vec<Output> = out.drain().collect();
            canary.outputs(&mut outputs);
            for output in outputs {
                out.push(output);
            }
        }
        if traced {
            sh.trace.monitor(sh.now, self.host, master, &shown, out.as_slice());
        }
        for output in out.drain() {
            self.execute(sh, master, output, forced);
        }
        self.process().outbox = out;
        self.look_at_view(sh, master);
    }

    /// In some worlds, since views are costly.
    fn look_at_view(&mut self, sh: &mut Shared, master: usize) {
        if !sh.views_are_compared || self.canary != Canary::None {
            return;
        }
        let wall = self.wall_offset;
        let Some(process) = &self.process else { return };
        let env = process.env(sh, wall, &self.settings);
        let Some(slot) = &process.monitors[master] else { return };
        let is = slot.monitor.view(&env);
        sh.see(&Observation::Stepped { node: self.host, master, shown: &slot.view, is: &is });
    }

    /// One step of a peer, with all that is there for it.
    fn step_peer(&mut self, sh: &mut Shared, peer: usize) {
        let (wall, traced) = (self.wall_offset, sh.trace.is_on());
        let process = self.process.as_mut().expect("checked by every entry point");
        let now = process.clock.now(sh.now, process.origin, wall);
        let (groups, node) = (&process.groups, &self.settings);
        let env = Env { now, epoch: &process.epoch, tilt: &process.tilt, lateness: &process.lateness, groups, node };
        let inputs = process.mail.of_peer(peer);
        let Some(machine) = &mut process.peers[peer].peer else { return };
        let mut shown = Vec::new();
        let inputs = inputs.inspect(|input| {
            if traced {
                shown.push(input.clone());
            }
            sh.stats.inputs += 1;
        });
        let mut out = PeerOutbox::default();
        machine.handle_all(inputs, &env, &mut out);
        if traced {
            sh.trace.peer(sh.now, self.host, process.peers[peer].host, &shown, out.as_slice());
        }
        for output in out.drain() {
            self.execute_peer(sh, peer, output);
        }
    }
}
