//! Whether instances are down: subjectively (SDOWN), in our own eyes; objectively (ODOWN), when enough peers agree.

use super::Monitor;
use super::failover::FailoverState;
use super::instance::{Role, Seat, Sentinel, Server, ServerId};
use crate::sentinel::Env;
use crate::sentinel::command::Command;
use crate::sentinel::event::{EventKind, Level};
use crate::sentinel::id::{Epoch, RunId};
use crate::sentinel::io::{Outbox, Output, Reply, Tag};
use crate::sentinel::link::{is_due, sooner};
use crate::sentinel::policy::Masterless;
use crate::sentinel::time::Millis;

/// A peer that does not see the master down yet is asked again soon while our own SDOWN is young: it will see it any
/// moment, and each second of waiting is a second without a master. The spacing, ms, grows with the age of our SDOWN
/// within these bounds, which makes some 14 questions in the first second (failover.md 12.3, S4).
const EAGER_ASK_PERIOD: std::ops::RangeInclusive<u64> = 10..=100;
/// A group is masterless for this long at least before that counts as a failure, ms.
const MIN_MASTERLESS: u64 = 5_000;
/// How long SDOWN is young, ms.
const EAGER_ASK_SPAN: u64 = 1_000;

impl Monitor {
    /// When a server becomes SDOWN for good reason, if it does.
    pub(super) fn server_down_at(&self, seat: Seat<'_>, env: &Env<'_>) -> Option<Millis> {
        let server = seat.server;
        let silent = server.link.health.down_at(self.spec.down_after);
        if seat.replica.is_some() {
            return silent;
        }
        let wrong_role = (server.role == Role::Replica)
            .then(|| server.role_at + self.spec.down_after + 2 * env.node.periods.info + 1);
        let rebooting = self.reboot_since.map(|since| since + self.spec.reboot_down_after + 1);
        let wrong = sooner(sooner(wrong_role, rebooting), self.masterless_at(env));
        sooner(sooner(silent, wrong), self.reborn_down_at(env))
    }

    pub(super) fn heals_masterless(&self, env: &Env<'_>) -> bool {
        env.node.policies.of(&self.spec.name).masterless == Masterless::Heal
    }

    /// When a group without a master counts as one whose master is down: its master says that it is a replica, and so
    /// does everybody else, for long enough that it is not a failover that we are about to hear of (beyond.md B6). Our
    /// own failover is no reason to think so, and that the promotion has worked is no reason to change our mind before
    /// the switch. A replica that became master, and that the old one follows, is one that we should have heard of by then:
    /// whoever promoted it is gone.
    fn masterless_at(&self, env: &Env<'_>) -> Option<Millis> {
        let leads = self.failover.state != FailoverState::Idle;
        if self.master.role == Role::Master || (leads && self.master.sdown.is_none()) || !self.heals_masterless(env) {
            return None;
        }
        let is_there = |server: &&Server| server.sdown.is_none() && !server.is_foreign();
        let replicas = || self.replicas.values().map(|replica| &replica.server).filter(is_there);
        let heir = self.heir().and_then(|heir| self.replicas.get(heir)).map(|replica| replica.server.role_at);
        if let (false, Some(since)) = (leads, heir) {
            return Some(since.max(self.master.role_at) + self.spec.down_after.max(MIN_MASTERLESS) + 1);
        }
        if !leads && replicas().any(|server| server.role == Role::Master) {
            return None;
        }
        let replicas = replicas().filter(|server| server.role == Role::Replica);
        let since = replicas.map(|server| server.role_at).fold(self.master.role_at, Millis::max);
        Some(since + self.spec.down_after.max(MIN_MASTERLESS) + 1)
    }

    /// Raises or clears SDOWN of a server.
    pub(super) fn check_server_down(&mut self, who: &ServerId, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        let down = self.seat(who).is_some_and(|seat| is_due(self.server_down_at(seat, env), now));
        let Some(server) = self.server_mut(who) else { return };
        if down == server.sdown.is_some() {
            return;
        }
        if down {
            server.sdown = Some(now);
            server.last_sdown = Some(now);
        } else {
            server.sdown = None;
            server.script_kill_sent = false;
        }
        self.emit_down(down, self.describe(who, env), out);
        if *who == ServerId::Master && down {
            self.master_went_down(now);
        }
    }

    /// Raises or clears SDOWN of a peer.
    pub(super) fn check_peer_down(&mut self, peer: &RunId, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        let down_after = self.spec.down_after;
        let Some(sentinel) = self.sentinels.get_mut(peer) else { return };
        let down = is_due(sentinel.health.down_at(down_after), now);
        if down != sentinel.sdown.is_some() {
            sentinel.sdown = down.then_some(now);
            self.emit_down(down, self.describe_sentinel(peer, env), out);
        }
    }

    fn emit_down(&mut self, down: bool, instance: String, out: &mut Outbox) {
        let kind = if down { EventKind::SubjectivelyDown } else { EventKind::SubjectivelyUp };
        self.emit(kind, instance, out);
    }

    /// Ask everybody at once, and look at the replicas while the peers think: the better the choice will be.
    fn master_went_down(&mut self, now: Millis) {
        for sentinel in self.sentinels.values_mut() {
            sentinel.opinion.asked_at = None;
        }
        for replica in self.replicas.values_mut() {
            replica.server.info_wanted_at = Some(now);
        }
    }

    /// Raises or clears ODOWN: our own SDOWN and as many peers as make the quorum.
    pub(super) fn check_objectively_down(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let agreeing = 1 + self.sentinels.values().filter(|sentinel| sentinel.opinion.master_down).count();
        let down = self.master.sdown.is_some() && agreeing >= self.spec.quorum as usize;
        if down == self.odown.is_some() {
            return;
        }
        let instance = self.describe(&ServerId::Master, env);
        if down {
            self.odown = Some(env.now.mono);
            self.last_odown = Some(env.now.mono);
            let masterless = is_due(self.masterless_at(env), env.now.mono);
            let reason = match self.reborn_down_at(env) {
                Some(_) => " #reborn-empty",
                None if masterless => " #masterless",
                None => "",
            };
            let payload = format!("{instance} #quorum {agreeing}/{}{reason}", self.spec.quorum);
            self.emit(EventKind::ObjectivelyDown, payload, out);
        } else {
            self.odown = None;
            self.failover.forget_backoff();
            self.emit(EventKind::ObjectivelyUp, instance, out);
        }
    }

    /// When to ask this peer about the master, if at all.
    pub(super) fn ask_at(&self, sentinel: &Sentinel, now: Millis, env: &Env<'_>) -> Option<Millis> {
        let sdown = self.master.sdown;
        let wanted = sdown.is_some() || self.polls_for_operator();
        if !wanted || !sentinel.health.connected {
            return None;
        }
        let opinion = &sentinel.opinion;
        let Some(asked_at) = opinion.asked_at else { return Some(now) };
        let age = sdown.map_or(EAGER_ASK_SPAN, |since| asked_at.since(since));
        // Where many masters fail together, answers take their time, and asking meanwhile would make it longer.
        let eager = !opinion.master_down && age < EAGER_ASK_SPAN && opinion.owing_since().is_none();
        let spacing = if eager { age.clamp(*EAGER_ASK_PERIOD.start(), *EAGER_ASK_PERIOD.end()) } else { u64::MAX };
        Some(asked_at + spacing.min(env.node.periods.ask) + env.lateness.leisure())
    }

    /// Asks the peers that are due; with our own id, that is for a vote, while we run for leader.
    pub(super) fn ask_peers(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        let due: Vec<RunId> = self
            .sentinels
            .iter()
            .filter(|(_, sentinel)| is_due(self.ask_at(sentinel, now, env), now))
            .map(|(id, _)| id.clone())
            .collect();
        // Stock asks with its current epoch, so that votes are lost when several masters fail together (failover.md
        // 7.3); a vote is asked for in the epoch that it is to count in.
        let (epoch, candidate) = match self.failover.state.epoch() {
            Some(epoch) => (epoch, Some(env.node.myid.clone())),
            None => (env.epoch.current(), None),
        };
        for peer in due {
            let command = Command::IsMasterDown {
                host: self.master.addr.shown_host(env.node).to_string(),
                port: self.master.addr.port,
                epoch,
                candidate: candidate.clone(),
            };
            if let Some(sentinel) = self.sentinels.get_mut(&peer) {
                sentinel.opinion.ask(now);
            }
            out.push(Output::SendPeer { peer, tag: Tag::Ask, command });
        }
    }

    /// A peer has answered. Anything but integer, bulk, integer is ignored.
    pub(super) fn on_opinion(&mut self, peer: &RunId, value: &Reply, env: &Env<'_>, out: &mut Outbox) {
        let Some(sentinel) = self.sentinels.get_mut(peer) else { return };
        let opinion = &mut sentinel.opinion;
        let is_current = opinion.answered(env.now.mono);
        let Some((down, leader, epoch)) = parse_opinion(value).filter(|_| is_current) else { return };
        opinion.answered_at = env.now.mono;
        opinion.master_down = down;
        self.dirty = true;
        let Some(leader) = leader else { return };
        if opinion.leader_epoch != epoch {
            out.push(Output::Log(Level::Warning, format!("{peer} voted for {leader} {epoch}")));
        }
        opinion.leader = Some(leader);
        opinion.leader_epoch = epoch;
        // A peer that has moved on can never vote for us in our epoch; we learn of its epoch as from a hello, so that
        // the next attempt starts beyond it.
        if self.failover.state.epoch().is_some_and(|mine| mine < epoch) && env.epoch.is_sane(epoch) {
            self.observe_epoch(epoch, env, out);
        }
    }

    /// Drops answers that are too old to count.
    pub(super) fn expire_opinions(&mut self, now: Millis) {
        for sentinel in self.sentinels.values_mut() {
            if is_due(sentinel.opinion.expires_at(), now) {
                sentinel.opinion.expire();
                self.dirty = true;
            }
        }
    }

    /// Raises the current epoch to one that was received, and saves it.
    pub(super) fn observe_epoch(&mut self, epoch: Epoch, env: &Env<'_>, out: &mut Outbox) {
        if epoch > env.epoch.current() {
            env.epoch.observe(epoch);
            self.persist(env, out);
            self.emit(EventKind::NewEpoch, epoch.to_string(), out);
        }
    }
}

fn parse_opinion(value: &Reply) -> Option<(bool, Option<RunId>, Epoch)> {
    let Reply::Array(fields) = value else { return None };
    let [Reply::Integer(down), Reply::Bulk(leader), Reply::Integer(epoch)] = &fields[..] else { return None };
    let leader = std::str::from_utf8(leader).ok()?;
    let epoch = Epoch(u64::try_from(*epoch).ok()?);
    Some((*down == 1, (leader != "*").then(|| RunId::from(leader)), epoch))
}
