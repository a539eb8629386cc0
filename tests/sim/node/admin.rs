//! What operators do to a Sentinel, as its supervisor carries it out.

use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::id::{Epoch, MasterName, ReplyToken, Rev};
use sentineld::sentinel::io::{AdminRequest, Input};
use sentineld::sentinel::monitor::record::{IdentityRecord, MasterRecord};

use super::serve::{flush, not_mine};
use super::{Job, NewMaster, Node, Process, Waiting};
use crate::canary::Canary;
use crate::checker::Observation;
use crate::net::Who;
use crate::world::Shared;

/// Revisions of one master's records, over all its monitors: each counts from 1, and the store's count goes on, so that an
/// answer to a monitor that is gone means nothing to its successor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Saves {
    before: u64,
    last: u64,
}

impl Saves {
    /// What the store is told for a monitor's revision.
    pub(super) fn told(&mut self, rev: Rev) -> Rev {
        self.last = self.before + rev.0;
        Rev(self.last)
    }

    /// The present monitor's revision that the store means.
    pub(super) fn meant(self, rev: Rev) -> Option<Rev> {
        rev.0.checked_sub(self.before).filter(|own| *own > 0).map(Rev)
    }

    pub(super) fn begin_again(&mut self) {
        self.before = self.last;
    }
}

impl Node {
    pub(super) fn administer(&mut self, master: usize, request: AdminRequest) {
        let process = self.process();
        process.last_token += 1;
        let from = ReplyToken(process.last_token);
        process.tokens.insert(from, Waiting::Operator);
        process.mail.push(Job::Monitor(master, Input::Admin { from, request }));
    }

    /// REMOVE: whatever the monitor had is gone with it, its connections included. Who waits for an answer of it is
    /// told that the master is not known here.
    pub(super) fn remove(&mut self, sh: &mut Shared, master: usize) {
        let process = self.process();
        if process.monitors[master].take().is_none() {
            return;
        }
        let who = Who::Monitor(master);
        let gone: Vec<_> = process.links.keys().filter(|(owner, _)| *owner == who).copied().collect();
        for key in gone {
            let conn = process.links.remove(&key).expect("just listed");
            sh.client_close(conn);
        }
        let is_waiting = |waiting: &Waiting| matches!(waiting, Waiting::Voter { master: of, .. } if *of == master);
        let tokens: Vec<_> =
            process.tokens.iter().filter(|(_, waiting)| is_waiting(waiting)).map(|(token, _)| *token).collect();
        for token in tokens {
            if let Some(Waiting::Voter { conn, slot, .. }) = process.tokens.remove(&token) {
                let server = &mut sh.net.conns[conn];
                let index = (slot - server.replied) as usize;
                if let Some(entry) = server.replies.get_mut(index) {
                    entry.1 = Some(not_mine());
                }
                flush(sh, conn);
            }
        }
        let name = process.names[master].clone();
        process.store.remove(&name);
        process.groups.forget(&name);
        let routed = process.registry.forget_master(&name);
        sh.see(&Observation::Removed { node: self.host, master });
        self.carry_out(sh, routed);
        self.commit(sh);
    }

    /// MONITOR: the master is saved first, and monitored then.
    pub(super) fn monitor(&mut self, sh: &mut Shared, new: NewMaster) {
        let NewMaster { number: master, spec, host, port } = new;
        let canary = self.canary;
        let process = self.process();
        if process.monitors[master].is_some() || process.starting.contains_key(&master) {
            return;
        }
        // A vote that was given before a REMOVE cannot be given again in the same epoch.
        let leader_epoch = if canary == Canary::RemoveForgetsVotes { Epoch(0) } else { process.epoch.current() };
        let record = MasterRecord {
            spec,
            addr: Addr::new(&host, port),
            config_epoch: Epoch(0),
            leader_epoch,
            replicas: Vec::new(),
            sentinels: Vec::new(),
            identity: IdentityRecord::default(),
        };
        process.saves[master].begin_again();
        let rev = process.saves[master].told(Rev(1));
        process.store.enqueue(master, rev, record.clone());
        process.starting.insert(master, record);
        self.commit(sh);
    }
}

impl Process {
    pub(super) fn number_of(&self, name: &MasterName) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }
}
