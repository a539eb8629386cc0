//! The old master after our failover: it is made a replica as soon as it can be told (beyond.md B8).
//!
//! Stock leaves it alone for 8 s, so that a newer configuration, by which it may be master again, can arrive first. We
//! led the failover that replaced it, so that only a failover after ours could have done that. None has if a majority of
//! the Sentinels has just told us of none, and the data of the one that is back does not come from its successor.
//!
//! | the old master | what tells us | what it is sent |
//! |---|---|---|
//! | is there at the promotion | its connection | `SLAVEOF` with the promotion |
//! | comes back while the others are reconfigured | INFO `role:master` | `SLAVEOF` |
//! | comes back after the switch | INFO `role:master` | `SLAVEOF`, `+convert-to-slave` |

use std::sync::Arc;

use super::Monitor;
use super::failover::FailoverState;
use super::instance::{Replica, ReplicaKey, Role, Seat, ServerId};
use crate::sentinel::Env;
use crate::sentinel::addr::Addr;
use crate::sentinel::event::EventKind;
use crate::sentinel::id::Epoch;
use crate::sentinel::io::Outbox;
use crate::sentinel::policy::FastDemote;
use crate::sentinel::time::RECONNECT_PERIOD;

/// How often a connection to the old master is tried, ms: it takes writes from whoever does not ask a Sentinel first.
const RECONNECT_PACE: u64 = 200;
/// A peer that was silent for longer than so many hello periods may have news.
const HELLO_PERIODS_OF_SILENCE: u64 = 3;

/// A master that our own failover replaced.
#[derive(Clone, Debug)]
pub(super) struct Deposed {
    addr: Addr,
    /// The process that it was.
    run_id: Option<Arc<str>>,
    /// Of that failover.
    epoch: Epoch,
}

impl Monitor {
    fn demotes_fast(&self, env: &Env<'_>) -> bool {
        env.node.policies.of(&self.spec.name).fast_demote == FastDemote::Yes
    }

    /// The old master, if it is still connected (a failover by an operator, or one that hangs), stops taking writes now
    /// or when it wakes, and not at its next INFO after the switch. We hold the newest configuration, exactly as for
    /// the other replicas (failover.md 12.3, S9).
    pub(super) fn demote_old_master(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let master = &self.master;
        let may_be_told =
            self.may_be_told(master) && (!self.guards() || self.is_same_member(master) || self.is_ours(&master.papers));
        if let (Some(promoted), true) = (self.promoted().cloned(), self.demotes_fast(env) && may_be_told) {
            self.follow_promoted(&ServerId::Master, &promoted, env, out);
        }
    }

    /// The configured master has answered INFO. That it is master may be somebody's newer failover: the one that we
    /// promoted is down again or demoted then, or our vote is for another leader.
    pub(super) fn master_reported(&mut self, role: Option<Role>, env: &Env<'_>, out: &mut Outbox) {
        let FailoverState::ReconfReplicas { epoch, promoted, .. } = &self.failover.state else { return };
        let promoted = self.replicas.get(promoted).map(|replica| &replica.server);
        let has_successor = promoted.is_some_and(|server| server.role == Role::Master && server.sdown.is_none());
        if role == Some(Role::Master) && has_successor && self.ledger.leader_epoch() <= *epoch {
            self.demote_old_master(env, out);
        }
    }

    /// Whether a server that is connected anew is to say who it is before its next INFO is due: a master that may have come
    /// back with nothing, one to whom something is owed, the old one, once it is replaced, and during a failover everybody
    /// who will be told something.
    pub(super) fn must_introduce_itself(&self, seat: Seat<'_>, env: &Env<'_>) -> bool {
        if seat.server.has_shown_papers() {
            return false;
        }
        let replaced = matches!(self.failover.state, FailoverState::ReconfReplicas { .. });
        match seat.replica {
            None => replaced || self.owes_amends() || self.fears_rebirth(env),
            Some(_) => self.guards() && (self.master.sdown.is_some() || self.failover.state != FailoverState::Idle),
        }
    }

    /// The master as it is, to be remembered over the switch.
    pub(super) fn about_to_depose(&self) -> Deposed {
        let run_id = self.master.papers.run_id.clone();
        Deposed { addr: self.master.addr.clone(), run_id, epoch: self.config_epoch }
    }

    /// Our failover has ended, and this one is no longer master.
    pub(super) fn depose(&mut self, deposed: Deposed, env: &Env<'_>) {
        if !self.demotes_fast(env) {
            return;
        }
        for replica in self.replicas.values_mut().filter(|replica| replica.server.addr.same_as(&deposed.addr)) {
            replica.server.link.set_command_pace(RECONNECT_PACE);
        }
        self.deposed = Some(deposed);
    }

    /// A newer configuration than that of the epoch `before` names the master that we have: two leaders promoted the same
    /// replica, and the old master is not master again by it.
    pub(super) fn confirm_deposed(&mut self, before: Epoch) {
        let epoch = self.config_epoch;
        if let Some(deposed) = self.deposed.as_mut().filter(|deposed| deposed.epoch == before) {
            deposed.epoch = epoch;
        }
    }

    /// A replica says that it is a replica: nothing is left to be done if it was the old master.
    pub(super) fn note_demoted(&mut self, key: &ReplicaKey) {
        let Some(replica) = self.replicas.get_mut(key) else { return };
        if self.deposed.as_ref().is_some_and(|deposed| deposed.addr.same_as(&replica.server.addr)) {
            replica.server.link.set_command_pace(RECONNECT_PERIOD);
            self.deposed = None;
        }
    }

    /// A replica says that it is master. If it is the one that we replaced, and nobody can have made it master again, it is
    /// told at once. True when it was.
    pub(super) fn demote_deposed(&mut self, key: &ReplicaKey, env: &Env<'_>, out: &mut Outbox) -> bool {
        let address = self.deposed.as_ref().map(|deposed| deposed.addr.clone());
        let is_there = |replica: &Replica| address.is_some_and(|addr| addr.same_as(&replica.server.addr));
        let replica = self.replicas.get_mut(key).filter(|replica| replica.server.papers.is_loading);
        if let Some(replica) = replica.filter(|replica| is_there(replica)) {
            // It would refuse, and whose data it has is not known yet.
            replica.server.info_wanted_at = Some(env.now.mono + RECONNECT_PACE);
            return true;
        }
        let may = self.failover.state == FailoverState::Idle
            && self.demotes_fast(env)
            && self.is_deposed(key)
            && self.master_looks_sane(env)
            && self.hears_majority(env);
        let replica = self.replicas.get_mut(key).filter(|replica| may && replica.server.papers.is_loading);
        if let Some(replica) = replica {
            // It would refuse.
            replica.server.info_wanted_at = Some(env.now.mono + RECONNECT_PACE);
        } else if may {
            self.send_correction(key, EventKind::ConvertToReplica, env, out);
        }
        may
    }

    fn is_deposed(&self, key: &ReplicaKey) -> bool {
        let (Some(deposed), Some(replica)) = (&self.deposed, self.replicas.get(key)) else { return false };
        let papers = &replica.server.papers;
        let is_same_process = papers.run_id.is_some() && papers.run_id == deposed.run_id;
        // Whoever was promoted again has had its successor's data.
        let was_replica = self.master.papers.replids.first().is_some_and(|replid| papers.replids.contains(replid));
        deposed.epoch == self.config_epoch
            && deposed.addr.same_as(&replica.server.addr)
            && !was_replica
            && (is_same_process || self.is_ours(papers))
    }

    /// Whether a majority of the Sentinels, we included, was heard of this master lately.
    fn hears_majority(&self, env: &Env<'_>) -> bool {
        let limit = HELLO_PERIODS_OF_SILENCE * env.node.periods.publish;
        let heard = self.sentinels.values().filter(|peer| env.now.mono.since(peer.last_hello.get()) <= limit).count();
        2 * (heard + 1) > self.sentinels.len() + 1
    }
}
