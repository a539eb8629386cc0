//! After the promotion: pointing the other replicas at the new master, and the switch.

use std::collections::BTreeMap;

use super::Monitor;
use super::connect::close_links;
use super::echo::Echo;
use super::failover::{Failover, FailoverState};
use super::instance::{HelloPace, Reconf, Replica, ReplicaKey, Role, Server, ServerId};
use crate::sentinel::Env;
use crate::sentinel::addr::Addr;
use crate::sentinel::command::{ClientType, Command};
use crate::sentinel::event::EventKind;
use crate::sentinel::id::Epoch;
use crate::sentinel::io::Outbox;
use crate::sentinel::link::is_due;
use crate::sentinel::scripts::Part;
use crate::sentinel::time::Millis;

/// The commands that give a server another master, or none: in one transaction, so that a server that lacks one of
/// them does nothing at all. Clients are disconnected so that they look for the master again (failover.md 8.5).
pub(super) fn transaction(master: Option<&Addr>, env: &Env<'_>) -> Vec<Command> {
    let replicaof = match master {
        Some(addr) => Command::Replicaof { host: addr.shown_host(env.node).to_string(), port: addr.port },
        None => Command::ReplicaofNoOne,
    };
    vec![
        Command::Multi,
        replicaof,
        Command::ConfigRewrite,
        Command::ClientKill(ClientType::Normal),
        Command::ClientKill(ClientType::PubSub),
        Command::Exec,
    ]
}

/// When a replica has been in `reconf_sent` for too long.
pub(super) fn reconf_gives_up_at(replica: &Replica, env: &Env<'_>) -> Option<Millis> {
    match replica.reconf {
        Reconf::Sent { at } => Some(at + env.node.periods.slave_reconf_timeout + 1),
        _ => None,
    }
}

impl Monitor {
    /// One round of reconfiguration. True when the failover ended.
    pub(super) fn reconfigure_replicas(
        &mut self,
        epoch: Epoch,
        since: Millis,
        promoted: &ReplicaKey,
        env: &Env<'_>,
        out: &mut Outbox,
    ) -> bool {
        self.give_up_stuck_replicas(env, out);
        self.send_reconfigurations(promoted, env, out);
        let master = self.describe(&ServerId::Master, env);
        let timed_out = is_due(Some(self.step_times_out_at(since)), env.now.mono);
        if self.is_reconfigured(promoted, env) {
            self.emit(EventKind::FailoverEnd, master, out);
        } else if timed_out {
            self.emit(EventKind::FailoverEndForTimeout, master.clone(), out);
            self.emit(EventKind::FailoverEnd, master, out);
            self.reconfigure_the_rest(promoted, env, out);
        } else {
            return false;
        }
        self.failover.state = FailoverState::UpdateConfig { epoch, promoted: promoted.clone() };
        true
    }

    /// Independent of how many may be reconfigured at once; in stock a stuck one blocks the rest (failover.md 161).
    fn give_up_stuck_replicas(&mut self, env: &Env<'_>, out: &mut Outbox) {
        for key in self.keys_where(|replica| is_due(reconf_gives_up_at(replica, env), env.now.mono)) {
            self.set_reconf(&key, Reconf::Done, EventKind::ReconfSentTimeout, env, out);
        }
    }

    fn send_reconfigurations(&mut self, promoted: &ReplicaKey, env: &Env<'_>, out: &mut Outbox) {
        let busy = |replica: &Replica| matches!(replica.reconf, Reconf::Sent { .. } | Reconf::InProgress { .. });
        let mut room = (self.spec.parallel_syncs as usize).saturating_sub(self.keys_where(busy).len());
        let is_waiting = |replica: &Replica| {
            replica.reconf == Reconf::None && replica.server.sdown.is_none() && self.may_be_reconfigured(replica, env)
        };
        for key in self.keys_where(is_waiting) {
            if room == 0 {
                return;
            }
            if key != *promoted && self.point_at_promoted(&key, promoted, env, out) {
                let sent = Reconf::Sent { at: env.now.mono };
                self.set_reconf(&key, sent, EventKind::ReconfSent, env, out);
                room -= 1;
            }
        }
    }

    fn point_at_promoted(&mut self, key: &ReplicaKey, promoted: &ReplicaKey, env: &Env<'_>, out: &mut Outbox) -> bool {
        let who = ServerId::Replica(key.clone());
        let sent = self.follow_promoted(&who, promoted, env, out);
        if sent {
            self.send_info(&who, env.now.mono, out);
        }
        sent
    }

    /// False when there is no connection, or when it would replicate from itself.
    pub(super) fn follow_promoted(
        &mut self,
        who: &ServerId,
        promoted: &ReplicaKey,
        env: &Env<'_>,
        out: &mut Outbox,
    ) -> bool {
        let Some(target) = self.replicas.get(promoted).map(|replica| &replica.server) else { return false };
        if self.server(who).is_none_or(|server| server.is_same_server(target)) {
            return false;
        }
        let target = target.addr.clone();
        self.send_all(who, transaction(Some(&target), env), out)
    }

    /// Whether there is nothing left to wait for. Stock waits for ever when the promoted replica dies now; we end, so that
    /// its own failure is noticed and handled like any other (failover.md 164).
    pub(super) fn is_reconfigured(&self, promoted: &ReplicaKey, env: &Env<'_>) -> bool {
        let promoted_down = self.replicas.get(promoted).is_none_or(|replica| replica.server.sdown.is_some());
        let mut replicas = self.replicas.iter();
        promoted_down
            || replicas.all(|(key, replica)| {
                let server = &replica.server;
                let is_left_out = || server.has_shown_papers() && !self.may_be_reconfigured(replica, env);
                key == promoted || replica.reconf == Reconf::Done || server.sdown.is_some() || is_left_out()
            })
    }

    fn reconfigure_the_rest(&mut self, promoted: &ReplicaKey, env: &Env<'_>, out: &mut Outbox) {
        let is_left = |replica: &Replica| {
            !matches!(replica.reconf, Reconf::Done | Reconf::Sent { .. }) && self.may_be_reconfigured(replica, env)
        };
        for key in self.keys_where(is_left) {
            if key != *promoted && self.point_at_promoted(&key, promoted, env, out) {
                let instance = self.describe(&ServerId::Replica(key), env);
                self.emit(EventKind::ReconfSentBestEffort, instance, out);
            }
        }
    }

    pub(super) fn keys_where(&self, wanted: impl Fn(&Replica) -> bool) -> Vec<ReplicaKey> {
        self.replicas.iter().filter(|(_, replica)| wanted(replica)).map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn set_reconf(
        &mut self,
        key: &ReplicaKey,
        reconf: Reconf,
        event: EventKind,
        env: &Env<'_>,
        out: &mut Outbox,
    ) {
        if let Some(replica) = self.replicas.get_mut(key) {
            replica.reconf = reconf;
            self.emit(event, self.describe(&ServerId::Replica(key.clone()), env), out);
        }
    }

    /// At the end of the step in which our failover ended: the promoted replica becomes the master.
    pub(super) fn finish_failover(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let FailoverState::UpdateConfig { promoted, .. } = &self.failover.state else { return };
        let Some(addr) = self.replicas.get(promoted).map(|replica| replica.server.addr.clone()) else { return };
        self.switch_as_leader(addr, env, out);
    }

    fn switch_as_leader(&mut self, addr: Addr, env: &Env<'_>, out: &mut Outbox) {
        let deposed = self.about_to_depose();
        self.switch_to(addr, env, out);
        self.depose(deposed, env);
    }

    /// Completes a promotion that was seen before what leads it is forgotten. Its epoch may be on disk and announced
    /// with the new address; the same epoch must never name the old one (failover.md I9). There is no `+failover-end`: a
    /// leader that adopts a newer configuration resets its master in stock, too, without a word about its failover.
    pub(super) fn settle_promotion(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let (epoch, promoted, announced) = match &self.failover.state {
            FailoverState::WaitPromotion { epoch, promoted, saving: Some(_), .. } => (*epoch, promoted, false),
            FailoverState::ReconfReplicas { epoch, promoted, .. } | FailoverState::UpdateConfig { epoch, promoted } => {
                (*epoch, promoted, true)
            }
            _ => return,
        };
        let Some(addr) = self.replicas.get(promoted).map(|replica| replica.server.addr.clone()) else { return };
        if !announced {
            self.lead_clients(Part::Leader, &self.master.addr, &addr, env, out);
        }
        self.config_epoch = epoch;
        self.switch_as_leader(addr, env, out);
        self.announce_after = self.rev;
    }

    /// `+switch-master`, then every instance starts anew in its new part, and the result is saved (failover.md 8.8).
    pub(super) fn switch_to(&mut self, addr: Addr, env: &Env<'_>, out: &mut Outbox) {
        let old = &self.master.addr;
        let payload = format!(
            "{} {} {} {} {}",
            self.spec.name,
            old.shown_host(env.node),
            old.port,
            addr.shown_host(env.node),
            addr.port
        );
        self.emit(EventKind::SwitchMaster, payload, out);
        self.undo = None;
        self.note_promoted(&addr);
        self.recast_instances(addr, env, out);
        self.persist(env, out);
    }

    fn recast_instances(&mut self, addr: Addr, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        // Connections to known servers are kept: same address, same server (failover.md 12.3, S17).
        let mut servers: Vec<Server> =
            std::mem::take(&mut self.replicas).into_values().map(|replica| replica.server).collect();
        let by_name = servers.iter().position(|server| server.addr.port == addr.port && server.addr.host == addr.host);
        let chosen = by_name.or_else(|| servers.iter().position(|server| server.addr.same_as(&addr)));
        let new_master = match chosen {
            // By the name that was told: ours for the same address may come to mean another server.
            Some(index) => Server { addr, ..servers.remove(index) }.recast(Role::Master, now),
            None => Server::new(addr, Role::Master, now),
        };
        servers.push(std::mem::replace(&mut self.master, new_master));
        let mut replicas = BTreeMap::new();
        for mut server in servers {
            let key = ReplicaKey::from(server.addr.key(env.node));
            // A newer configuration may have given the old master the name that is the new one's.
            if *key == *self.master.addr.key(env.node) {
                close_links(&mut server, now, out);
                continue;
            }
            let twin = replicas.insert(key, Box::new(Replica::new(server.recast(Role::Replica, now), now)));
            if let Some(mut twin) = twin {
                close_links(&mut twin.server, now, out);
            }
        }
        self.replicas = replicas;
        self.forget_failure();
        for key in self.keys_where(|_| true) {
            self.emit(EventKind::Replica, self.describe(&ServerId::Replica(key), env), out);
        }
    }

    /// What was believed about the old master's failure does not hold for the new one.
    pub(super) fn forget_failure(&mut self) {
        self.odown = None;
        self.last_odown = None;
        self.reboot_since = None;
        self.reborn = None;
        self.failover = Failover::default();
        self.deposed = None;
        self.echo = Echo::default();
        self.ledger.forget_leader();
        for sentinel in self.sentinels.values_mut() {
            sentinel.opinion.forget_master();
        }
        self.dirty = true;
    }

    /// Tells everybody at once: hellos leave with this step.
    pub(super) fn announce_now(&mut self, now: Millis) {
        let hasten = |hello: &mut HelloPace| *hello = HelloPace { due: now, outstanding: 0, ..*hello };
        hasten(&mut self.master.hello);
        self.replicas.values_mut().for_each(|replica| hasten(&mut replica.server.hello));
        self.sentinels.values_mut().for_each(|sentinel| hasten(&mut sentinel.hello));
        self.dirty = true;
    }

    /// `+config-update-from`, then the switch: a peer knows a newer configuration.
    pub(super) fn follow_config(&mut self, from: String, addr: &Addr, env: &Env<'_>, out: &mut Outbox) {
        self.emit(EventKind::ConfigUpdateFrom, from, out);
        let old = self.master.addr.clone();
        self.switch_to(addr.clone(), env, out);
        self.lead_clients(Part::Observer, &old, addr, env, out);
    }
}
