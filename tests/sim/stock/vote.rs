//! Questions and votes of the stock model (failover.md 6.2, 6.3, 7).

use std::collections::BTreeMap;

use rand::RngExt;
use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::command::Command;
use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::id::{Epoch, RunId};
use sentineld::sentinel::io::{Reply, Tag};
use sentineld::sentinel::time::ASK_VALIDITY;

use super::{State, Stock, Surroundings, Target};
use crate::checker::{Observation, Weakness};
use crate::net::{Ask, ConnId, Tell};

impl Stock {
    pub(super) fn check_odown(&mut self, around: &mut Surroundings<'_>, master: usize) {
        let now = around.now();
        let seen = &mut self.masters[master];
        let agreed = 1 + seen.peers.iter().filter(|peer| peer.down).count();
        let down = seen.servers[0].sdown_since.is_some() && agreed >= seen.spec.quorum as usize;
        if down == (seen.odown_since != 0) {
            return;
        }
        seen.odown_since = if down { now } else { 0 };
        let who = seen.describe();
        let quorum = seen.spec.quorum;
        if down {
            self.emit(around, master, EventKind::ObjectivelyDown, format!("{who} #quorum {agreed}/{quorum}"));
        } else {
            self.emit(around, master, EventKind::ObjectivelyUp, who);
        }
    }

    /// Asks all peers that are due. Asks carry the current epoch, not the attempt's (R3).
    pub(super) fn ask_all(&mut self, around: &mut Surroundings<'_>, master: usize, forced: bool) {
        let now = around.now();
        for peer in 0..self.masters[master].peers.len() {
            let seen = &mut self.masters[master];
            let it = &mut seen.peers[peer];
            if now - it.answered > ASK_VALIDITY && (it.down || it.leader.is_some()) {
                seen.dirty = true;
                it.down = false;
                it.leader = None;
            }
            let due = forced || now - it.answered >= self.periods.ask;
            if seen.servers[0].sdown_since.is_none() || it.link.cc.is_none() || !due || it.link.pending >= 20 {
                continue;
            }
            let command = Command::IsMasterDown {
                host: seen.servers[0].addr.host.to_string(),
                port: seen.servers[0].addr.port,
                epoch: self.epoch,
                candidate: (seen.state != State::None).then(|| self.id.clone()),
            };
            // Asked again every tick until an answer came: stock does the same.
            if self.send(around, master, Target::Peer(peer), Tag::Ask, command) {
                around.sh.see(&Observation::Asked { node: self.host, master });
            }
        }
    }

    pub(super) fn vote_heard(&mut self, around: &mut Surroundings<'_>, master: usize, peer: usize, reply: &Reply) {
        let Reply::Array(parts) = reply else { return };
        let [Reply::Integer(down), Reply::Bulk(leader), Reply::Integer(epoch)] = parts.as_slice() else { return };
        let it = &mut self.masters[master].peers[peer];
        it.answered = around.now();
        it.down = *down == 1;
        self.masters[master].dirty = true;
        let it = &mut self.masters[master].peers[peer];
        let voter = crate::node::host_of(&it.addr, around.sh.sentinels).unwrap_or(usize::MAX);
        around.sh.see(&Observation::OpinionHeard { node: self.host, voter, master, down: *down == 1 });
        let Ok(leader) = std::str::from_utf8(leader) else { return };
        if leader == "*" {
            return;
        }
        let epoch = Epoch(*epoch as u64);
        it.leader = Some(RunId::from(leader));
        it.leader_epoch = epoch;
        around.sh.see(&Observation::VoteHeard { node: self.host, voter, master, leader, epoch });
    }

    /// `sentinelVoteLeader`: at once, saved before it is told, told even if the save failed (R9).
    pub(super) fn vote(&mut self, around: &mut Surroundings<'_>, master: usize, epoch: Epoch, candidate: &RunId) {
        self.observe_epoch(around, epoch, master);
        if self.masters[master].leader_epoch < epoch && self.epoch <= epoch {
            let offset = self.rng.random_range(0..1_000);
            let seen = &mut self.masters[master];
            seen.leader = Some(candidate.clone());
            seen.leader_epoch = self.epoch;
            if *candidate != self.id {
                seen.started = around.now() + offset;
            }
            self.save(around);
            if self.unsaved {
                self.admit(around, Weakness::Unsaved, master, self.epoch);
            }
            self.emit(around, master, EventKind::VoteForLeader, format!("{candidate} {}", self.epoch));
        }
    }

    /// A command arrives.
    pub fn asked(&mut self, around: &mut Surroundings<'_>, conn: ConnId, ask: Ask) {
        let Ask::Command(tag, command) = ask else { return };
        let reply = match command {
            Command::PublishHello(payload) => {
                self.heard(around, payload.as_bytes(), false);
                Reply::Integer(1)
            }
            Command::IsMasterDown { host, port, epoch, candidate } => {
                self.is_master_down(around, &Addr::new(&host, port), epoch, candidate)
            }
            Command::Ping => Reply::Status(b"PONG".as_slice().into()),
            _ => Reply::Status(b"OK".as_slice().into()),
        };
        self.publish(around);
        if !self.dead {
            around.sh.server_send(conn, Tell::Reply(tag, reply));
        }
    }

    fn is_master_down(
        &mut self,
        around: &mut Surroundings<'_>,
        addr: &Addr,
        epoch: Epoch,
        candidate: Option<RunId>,
    ) -> Reply {
        let found = self.masters.iter().position(|seen| seen.servers[0].addr.same_as(addr));
        let Some(master) = found else { return answer(false, None, Epoch(0)) };
        let down = self.masters[master].servers[0].sdown_since.is_some() && self.tilt_since.is_none();
        let Some(candidate) = candidate else { return answer(down, None, Epoch(0)) };
        self.vote(around, master, epoch, &candidate);
        let seen = &self.masters[master];
        let leader = seen.leader.as_ref();
        if !self.dead {
            let (node, disk, epoch) = (self.host, &around.disk.synced, seen.leader_epoch);
            around.sh.see(&Observation::VoteAnswered { node, master, leader, epoch, disk });
        }
        answer(down, leader, seen.leader_epoch)
    }

    /// `sentinelGetLeader`: votes of the current epoch, whatever the attempt's is (R3).
    pub(super) fn winner(&mut self, around: &mut Surroundings<'_>, master: usize) -> Option<RunId> {
        let seen = &self.masters[master];
        let voters = seen.peers.len() + 1;
        let needed = (voters / 2 + 1).max(seen.spec.quorum as usize);
        let mut tally: BTreeMap<RunId, usize> = BTreeMap::new();
        for peer in seen.peers.iter().filter(|peer| peer.leader_epoch == self.epoch) {
            if let Some(leader) = &peer.leader {
                *tally.entry(leader.clone()).or_insert(0) += 1;
            }
        }
        let most =
            |votes: &BTreeMap<RunId, usize>| votes.iter().max_by_key(|(_, count)| **count).map(|(id, _)| id.clone());
        let choice = most(&tally).unwrap_or_else(|| self.id.clone());
        let attempt = seen.failover_epoch;
        self.vote(around, master, attempt, &choice);
        let seen = &self.masters[master];
        if let (Some(mine), true) = (&seen.leader, seen.leader_epoch == attempt) {
            *tally.entry(mine.clone()).or_insert(0) += 1;
        }
        most(&tally).filter(|winner| tally[winner] >= needed)
    }
}

fn answer(down: bool, leader: Option<&RunId>, epoch: Epoch) -> Reply {
    let leader = leader.map_or("*", RunId::as_str).as_bytes().into();
    Reply::Array(vec![Reply::Integer(i64::from(down)), Reply::Bulk(leader), Reply::Integer(epoch.0 as i64)])
}
