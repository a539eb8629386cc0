//! The file of a Sentinel: group commits, and what its monitors are told of them.

use std::sync::Arc;

use rand::RngExt;
use sentineld::sentinel::id::Rev;
use sentineld::sentinel::io::Input;

use super::{Happening, Job, Node};
use crate::canary::Canary;
use crate::checker::Observation;
use crate::disk::{Health, Image, Write};
use crate::faults::Fault;
use crate::world::{Event, Shared};

impl Node {
    pub(super) fn saved(&mut self, sh: &mut Shared, saved: bool) {
        let canary = self.canary;
        for (master, rev) in self.process().store.finish(saved) {
            if let Some(record) = self.process().starting.remove(&master) {
                // The save of MONITOR itself may succeed only later, and is none of the monitor's.
                self.process().saves[master].begin_again();
                self.begin(sh, master, record);
                continue;
            }
            let told = saved || canary == Canary::SaveFailureIgnored;
            let process = self.process();
            let meant = process.saves[master].meant(rev);
            process.mail.extend(meant.map(|rev| Job::Monitor(master, durable(told, rev))));
        }
        if !saved {
            let retry = sh.now + sh.rng.disk.random_range(100_000..1_000_000);
            let happening = Happening::RetrySave;
            sh.push(retry, Event::Node { node: self.host, incarnation: self.incarnation, happening });
        }
        if self.process().store.has_fresh_work() {
            self.commit(sh);
        }
    }

    pub(super) fn commit(&mut self, sh: &mut Shared) {
        let process = self.process();
        let epoch = process.epoch.current();
        let Some(Write { image, .. }) = process.store.begin(epoch) else { return };
        let extra = match self.disk.health {
            Health::Slow(extra) => extra,
            _ => 0,
        };
        let total = sh.disk_us + sh.rng.disk.random_range(0..=sh.disk_us * 2) + extra;
        let in_place = sh.rng.disk.random_range(0..=total);
        if std::mem::take(&mut self.dies_on_commit) {
            let death = sh.now + sh.rng.fault(Fault::NodeCrash).random_range(0..=total * 2);
            sh.push(death, Event::Die { node: self.host, incarnation: self.incarnation });
        }
        sh.push(
            sh.now + in_place,
            Event::Disk { node: self.host, incarnation: self.incarnation, image, left: total - in_place },
        );
    }

    /// The kernel puts a commit in place, whether the process is paused or not.
    pub fn in_place(&mut self, sh: &mut Shared, image: Arc<Image>, left: u64) {
        let saved = self.disk.replace(image);
        if saved {
            sh.see(&Observation::Synced { node: self.host, image: &self.disk.synced });
        } else {
            sh.see(&Observation::SaveFailed { node: self.host });
        }
        let happening = Happening::Saved(saved);
        sh.push(sh.now + left, Event::Node { node: self.host, incarnation: self.incarnation, happening });
    }
}

fn durable(saved: bool, rev: Rev) -> Input {
    if saved { Input::Durable(rev) } else { Input::PersistFailed(rev) }
}
