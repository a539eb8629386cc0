//! The leader's state machine of the stock model, one transition a tick (failover.md 8).

use rand::RngExt;
use sentineld::sentinel::command::{ClientType, Command};
use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::io::Tag;

use super::{Reconf, State, Stock, Surroundings, Target};
use crate::checker::{Observation, Weakness};

impl Stock {
    pub(super) fn start_if_needed(&mut self, around: &mut Surroundings<'_>, master: usize) -> bool {
        let now = around.now();
        let seen = &self.masters[master];
        let waits = seen.started != 0 && now < seen.started + 2 * seen.spec.failover_timeout;
        if seen.odown_since == 0 || seen.state != State::None || waits {
            return false;
        }
        self.start(around, master);
        true
    }

    fn start(&mut self, around: &mut Surroundings<'_>, master: usize) {
        let now = around.now();
        let offset = self.rng.random_range(0..1_000);
        // It wraps, as in stock (R6).
        self.epoch.0 = self.epoch.0.wrapping_add(1);
        let epoch = self.epoch;
        let seen = &mut self.masters[master];
        seen.failover_epoch = epoch;
        seen.started = now + offset;
        let who = seen.describe();
        self.set_state(around, master, State::WaitStart);
        self.emit(around, master, EventKind::NewEpoch, epoch.to_string());
        self.emit(around, master, EventKind::TryFailover, who);
    }

    /// An operator's FAILOVER.
    pub fn force(&mut self, around: &mut Surroundings<'_>, master: usize) {
        if self.masters[master].state != State::None || self.select(around, master).is_none() {
            return;
        }
        around.sh.stats.forced += 1;
        self.masters[master].forced = true;
        self.start(around, master);
        self.publish(around);
    }

    fn set_state(&mut self, around: &mut Surroundings<'_>, master: usize, state: State) {
        let seen = &mut self.masters[master];
        seen.state = state;
        seen.state_changed = around.now();
        seen.dirty = true;
    }

    fn abort(&mut self, around: &mut Surroundings<'_>, master: usize, why: EventKind) {
        let who = self.masters[master].describe();
        self.emit(around, master, why, who);
        let seen = &mut self.masters[master];
        seen.promoted = None;
        seen.forced = false;
        self.set_state(around, master, State::None);
    }

    pub(super) fn step_failover(&mut self, around: &mut Surroundings<'_>, master: usize) {
        let now = around.now();
        let seen = &self.masters[master];
        let late = now - seen.state_changed.min(now) > seen.spec.failover_timeout;
        match seen.state {
            State::WaitStart => self.wait_start(around, master),
            State::SelectReplica => self.select_replica(around, master),
            State::SendReplicaofNoOne => self.send_no_one(around, master),
            State::WaitPromotion if late => self.abort(around, master, EventKind::AbortReplicaTimeout),
            State::None | State::UpdateConfig | State::WaitPromotion => {}
            State::ReconfReplicas => self.reconf_replicas(around, master),
        }
    }

    fn wait_start(&mut self, around: &mut Surroundings<'_>, master: usize) {
        let now = around.now();
        let winner = self.winner(around, master);
        let seen = &self.masters[master];
        let mine = winner.as_ref() == Some(&self.id) || seen.forced;
        if !mine {
            let bound = self.periods.election_timeout.min(seen.spec.failover_timeout);
            if now.saturating_sub(seen.started) > bound {
                self.abort(around, master, EventKind::AbortNotElected);
            }
            return;
        }
        if !seen.forced && self.epoch != seen.failover_epoch {
            self.admit(around, Weakness::OtherEpoch, master, self.masters[master].failover_epoch);
        }
        let who = self.masters[master].describe();
        self.emit(around, master, EventKind::ElectedLeader, who.clone());
        self.set_state(around, master, State::SelectReplica);
        self.emit(around, master, EventKind::StateSelectReplica, who);
    }

    fn select_replica(&mut self, around: &mut Surroundings<'_>, master: usize) {
        let Some(best) = self.select(around, master) else {
            self.abort(around, master, EventKind::AbortNoGoodReplica);
            return;
        };
        self.masters[master].promoted = Some(best);
        let who = self.masters[master].describe_server(best);
        self.emit(around, master, EventKind::SelectedReplica, who.clone());
        self.set_state(around, master, State::SendReplicaofNoOne);
        self.emit(around, master, EventKind::StateSendReplicaofNoOne, who);
    }

    /// failover.md 8.3
    fn select(&self, around: &Surroundings<'_>, master: usize) -> Option<usize> {
        let now = around.now();
        let seen = &self.masters[master];
        let sdown = seen.servers[0].sdown_since;
        let info_age = if sdown.is_some() { 5 * self.periods.ping } else { 3 * self.periods.info };
        let link_down = 10 * seen.spec.down_after + sdown.map_or(0, |since| now - since);
        let fit = |server: &usize| {
            let it = &seen.servers[*server];
            it.sdown_since.is_none()
                && it.link.cc.is_some()
                && now - it.link.last_avail <= 5 * self.periods.ping
                && it.priority != 0
                && it.info_at != 0
                && now - it.info_at <= info_age
                && u64::try_from(it.link_down).unwrap_or(0) <= link_down
        };
        (1..seen.servers.len()).filter(fit).min_by_key(|server| {
            let it = &seen.servers[*server];
            (it.priority, u64::MAX - it.offset, it.run_id.clone())
        })
    }

    fn send_no_one(&mut self, around: &mut Surroundings<'_>, master: usize) {
        let now = around.now();
        let seen = &self.masters[master];
        let Some(promoted) = seen.promoted else { return };
        if seen.servers[promoted].link.cc.is_none() {
            if now - seen.state_changed > seen.spec.failover_timeout {
                self.abort(around, master, EventKind::AbortReplicaTimeout);
            }
            return;
        }
        let priority = crate::node::host_of(&seen.servers[promoted].addr, around.sh.sentinels)
            .map_or(100, |host| around.sh.priorities[host - around.sh.sentinels]);
        let who = seen.describe_server(promoted);
        if !self.dead {
            around.sh.see(&Observation::PromotionSent { node: self.host, master, priority });
        }
        self.send_transaction(around, master, promoted, Command::ReplicaofNoOne);
        self.set_state(around, master, State::WaitPromotion);
        self.emit(around, master, EventKind::StateWaitPromotion, who);
    }

    /// failover.md 8.5
    pub(super) fn send_transaction(
        &mut self,
        around: &mut Surroundings<'_>,
        master: usize,
        server: usize,
        role: Command,
    ) -> bool {
        let commands = [
            Command::Multi,
            role,
            Command::ConfigRewrite,
            Command::ClientKill(ClientType::Normal),
            Command::ClientKill(ClientType::PubSub),
            Command::Exec,
        ];
        let target = Target::Server(server);
        commands.into_iter().all(|command| self.send(around, master, target, Tag::Ignored, command))
    }

    /// INFO shows that the promoted replica is a master (failover.md 8.6).
    pub(super) fn promotion_seen(&mut self, around: &mut Surroundings<'_>, master: usize, promoted: usize) {
        let seen = &mut self.masters[master];
        seen.config_epoch = seen.failover_epoch;
        self.set_state(around, master, State::ReconfReplicas);
        self.save(around);
        if self.unsaved {
            self.admit(around, Weakness::Unsaved, master, self.masters[master].failover_epoch);
        }
        self.publish(around);
        let (replica, who) = (self.masters[master].describe_server(promoted), self.masters[master].describe());
        self.emit(around, master, EventKind::PromotedReplica, replica);
        self.emit(around, master, EventKind::StateReconfReplicas, who);
        let seen = &mut self.masters[master];
        let links = seen.servers.iter_mut().map(|server| &mut server.link);
        for link in links.chain(seen.peers.iter_mut().map(|peer| &mut peer.link)) {
            link.last_pub = 0;
        }
    }

    /// failover.md 8.7, with R1 (a stuck replica blocks the walk) and R2 (a dead promoted replica blocks all).
    fn reconf_replicas(&mut self, around: &mut Surroundings<'_>, master: usize) {
        let now = around.now();
        let Some(promoted) = self.masters[master].promoted else { return };
        let target = self.masters[master].servers[promoted].addr.clone();
        let follow = Command::Replicaof { host: target.host.to_string(), port: target.port };
        let is_syncing = |reconf: Reconf| matches!(reconf, Reconf::Sent | Reconf::InProgress);
        let seen = &self.masters[master];
        let mut syncing = seen.servers.iter().filter(|server| is_syncing(server.reconf)).count();
        for server in 1..self.masters[master].servers.len() {
            let seen = &mut self.masters[master];
            if syncing >= seen.spec.parallel_syncs as usize {
                break;
            }
            let it = &mut seen.servers[server];
            if server == promoted || it.reconf == Reconf::Done {
                continue;
            }
            if it.reconf == Reconf::Sent && now - it.reconf_at > self.periods.slave_reconf_timeout {
                it.reconf = Reconf::Done;
                let who = seen.describe_server(server);
                self.emit(around, master, EventKind::ReconfSentTimeout, who);
                continue;
            }
            if is_syncing(it.reconf) || it.link.cc.is_none() {
                continue;
            }
            if self.send_transaction(around, master, server, follow.clone()) {
                let it = &mut self.masters[master].servers[server];
                (it.reconf, it.reconf_at) = (Reconf::Sent, now);
                syncing += 1;
                let who = self.masters[master].describe_server(server);
                self.emit(around, master, EventKind::ReconfSent, who);
            }
        }
        let seen = &self.masters[master];
        if seen.servers[promoted].sdown_since.is_some() {
            self.admit(around, Weakness::StuckLeader, master, seen.failover_epoch);
            return;
        }
        let waits = |server: &usize| {
            let it = &seen.servers[*server];
            *server != promoted && it.reconf != Reconf::Done && it.sdown_since.is_none()
        };
        let late = now - seen.state_changed > seen.spec.failover_timeout;
        if (1..seen.servers.len()).any(|server| waits(&server)) && !late {
            return;
        }
        let who = seen.describe();
        let left: Vec<usize> = (1..seen.servers.len()).filter(waits).collect();
        if late {
            self.emit(around, master, EventKind::FailoverEndForTimeout, who.clone());
        }
        self.emit(around, master, EventKind::FailoverEnd, who);
        for server in left {
            if self.masters[master].servers[server].reconf != Reconf::Sent
                && self.send_transaction(around, master, server, follow.clone())
            {
                let who = self.masters[master].describe_server(server);
                self.emit(around, master, EventKind::ReconfSentBestEffort, who);
            }
        }
        self.set_state(around, master, State::UpdateConfig);
    }

    /// The end of the tick in which a failover ended.
    pub(super) fn switch_to_promoted(&mut self, around: &mut Surroundings<'_>, master: usize) {
        let seen = &self.masters[master];
        let Some(promoted) = seen.promoted else { return };
        let (old, new) = (seen.servers[0].addr.clone(), seen.servers[promoted].addr.clone());
        let payload = format!("{} {} {} {} {}", seen.spec.name, old.host, old.port, new.host, new.port);
        self.emit(around, master, EventKind::SwitchMaster, payload);
        self.reset_to(around, master, &new);
        self.save(around);
    }
}
