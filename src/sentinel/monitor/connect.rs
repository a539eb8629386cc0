//! Connections to the master and its replicas: opening, PING, INFO, recycling.

use std::net::IpAddr;

use super::Monitor;
use super::failover::FailoverState;
use super::info::{Kept, correction_due_at};
use super::instance::{InfoForm, Reconf, Role, Seat, Server, ServerId};
use super::names::{lookup_at, was_looked_up};
use crate::sentinel::Env;
use crate::sentinel::addr::Addr;
use crate::sentinel::beat::Beat;
use crate::sentinel::command::Command;
use crate::sentinel::event::{Event, EventKind};
use crate::sentinel::id::LinkId;
use crate::sentinel::io::{Channel, LinkError, Outbox, Output, Reply, Tag};
use crate::sentinel::link::{PingReply, WantsPubSub, is_due, sooner};
use crate::sentinel::time::{FAST_INFO_PERIOD, Millis};

/// PINGs to a master, and to a replica in the same time, unless there is a crowd of masters. Five in two seconds find a
/// master that hangs within 0.4 s.
const MASTER_PINGS: (u64, u64) = (5, 2);
/// INFO to the promoted replica until it says that it is master, ms (failover.md 12.3, S8).
const PROMOTION_INFO_PERIOD: u64 = 100;
/// INFO to a replica that is being reconfigured, ms. Most of them follow their new master after a few round trips, so the
/// spacing grows from little with the time since they were told (failover.md 12.3, S14).
const RECONF_INFO_SPACING: std::ops::RangeInclusive<u64> = 20..=200;
/// INFOs to such a replica without an answer, at most.
const RECONF_INFOS: u32 = 4;

impl Monitor {
    /// Reconnects, pings, asks for INFO and publishes hellos, each if due.
    pub(super) fn keep_in_touch(&mut self, who: &ServerId, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        self.recycle(who, env, out);
        let Some(server) = self.server(who) else { return };
        if is_due(connect_at(server, now), now) {
            self.connect(who, env, out);
        }
        if self.server(who).is_some_and(|server| is_due(lookup_at(server), now)) {
            self.look_up(who, now, out);
        }
        if self.seat(who).is_some_and(|seat| is_due(self.ping_at(seat, env), now)) {
            self.ping(who, now, out);
        }
        if self.seat(who).is_some_and(|seat| is_due(self.info_at(seat, env), now)) {
            self.send_info(who, now, out);
        }
        self.publish_to_server(who, env, out);
    }

    /// When `keep_in_touch` has something to do for this server.
    pub(super) fn touch_at(&self, seat: Seat<'_>, env: &Env<'_>) -> Option<Millis> {
        let now = env.now.mono;
        let link = &seat.server.link;
        let open = sooner(connect_at(seat.server, now), lookup_at(seat.server));
        let ask = sooner(self.ping_at(seat, env), self.info_at(seat, env));
        let command = link.recycle_command_at(self.spec.down_after, &env.node.periods);
        let recycle = sooner(command, link.recycle_pubsub_at(&env.node.periods));
        sooner(sooner(open, ask), recycle)
    }

    /// When this master's periodic work is done.
    pub(super) fn beat(&self, env: &Env<'_>) -> Beat {
        if env.node.crowded { self.beat.in_a_crowd() } else { self.beat }
    }

    /// When PING is due. How long a hang goes unnoticed before the down clock starts is half a period on average, so
    /// the master, whose hang is the one that matters, is asked [`MASTER_PINGS`] times as often as by stock. In a crowd it
    /// is asked as often as by stock, since each monitor would be woken three times a second instead of once. The replicas
    /// keep stock's period, and what is not answered is repeated no faster than by stock (failover.md 12.3, S2).
    fn ping_at(&self, seat: Seat<'_>, env: &Env<'_>) -> Option<Millis> {
        let normal = self.spec.down_after.min(env.node.periods.ping);
        let link = &seat.server.link;
        if link.is_pinging() {
            return link.ping_at(normal, env.now.mono);
        }
        let is_watched = seat.replica.is_none() && !env.node.crowded;
        let period = if is_watched { normal * MASTER_PINGS.1 / MASTER_PINGS.0 } else { normal };
        link.ping_at(period, env.now.mono).map(|at| self.beat(env).until(at, period))
    }

    /// When INFO is due: at most one is outstanding, however overdue the next is. Of a replica that is being reconfigured
    /// some more may be: with a long way to it, each answer waited for would cost a round trip.
    fn info_at(&self, seat: Seat<'_>, env: &Env<'_>) -> Option<Millis> {
        let server = seat.server;
        let most = if reconfiguring_since(seat).is_some() { RECONF_INFOS } else { 1 };
        if !server.link.health.connected || server.infos_outstanding >= most || !server.link.has_room() {
            return None;
        }
        // An answer that is no INFO is not repeated at the speed of the network.
        let refused = server.info_refused_at.map(|at| at + FAST_INFO_PERIOD);
        let due = self.info_wanted_at(seat, env);
        Some(refused.map_or(due, |not_before| due.max(not_before)))
    }

    fn info_wanted_at(&self, seat: Seat<'_>, env: &Env<'_>) -> Millis {
        let server = seat.server;
        let Some(last) = server.info_at else { return env.now.mono };
        if let Some(at) = seat.replica.and_then(|(key, _)| self.catch_up_info_at(key, server.info_sent_at)) {
            return at;
        }
        let correction = seat.replica.and_then(|(_, replica)| correction_due_at(replica, env)).filter(|at| *at > last);
        if let (Some(since), Some(sent)) = (reconfiguring_since(seat), server.info_sent_at) {
            let spacing = sent.since(since).clamp(*RECONF_INFO_SPACING.start(), *RECONF_INFO_SPACING.end());
            return sent + spacing.min(env.node.periods.info);
        }
        if self.must_introduce_itself(seat, env) {
            return env.now.mono;
        }
        let period = self.info_period(seat, env);
        let leisure = if period == FAST_INFO_PERIOD { env.lateness.leisure() } else { 0 };
        let periodic = if leisure > 0 { last + period + leisure } else { self.beat(env).until(last + period, period) };
        sooner(server.info_wanted_at, correction).map_or(periodic, |at| at.min(periodic))
    }

    fn info_period(&self, seat: Seat<'_>, env: &Env<'_>) -> u64 {
        let normal = env.node.periods.info;
        let fast = FAST_INFO_PERIOD.min(normal);
        let Some((key, replica)) = seat.replica else {
            return if self.master.role == Role::Replica { fast } else { normal };
        };
        let awaited = matches!(self.failover.state, FailoverState::WaitPromotion { saving: None, .. });
        if awaited && self.promoted() == Some(key) {
            return PROMOTION_INFO_PERIOD.min(normal);
        }
        let wrong = self.master.role == Role::Replica && self.heals_masterless(env);
        let trouble =
            wrong || self.master.sdown.is_some() || self.odown.is_some() || self.failover.state != FailoverState::Idle;
        let unsettled = replica.link_down != 0 || replica.server.role == Role::Master;
        if trouble || unsettled { fast } else { normal }
    }

    fn recycle(&mut self, who: &ServerId, env: &Env<'_>, out: &mut Outbox) {
        let (now, down_after, periods) = (env.now.mono, self.spec.down_after, &env.node.periods);
        let Some(server) = self.server_mut(who) else { return };
        let command = is_due(server.link.recycle_command_at(down_after, periods), now);
        let pubsub = is_due(server.link.recycle_pubsub_at(periods), now);
        if command {
            close_command(server, now, out);
        }
        if pubsub {
            close_pubsub(server, out);
        }
        self.dirty |= command || pubsub;
    }

    fn connect(&mut self, who: &ServerId, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        let Some(server) = self.server_mut(who) else { return };
        let attempt = server.link.attempt(WantsPubSub::Yes, now);
        let addr = server.addr.clone();
        // A name may mean another address by now. The last good answer serves until there is a new one, so that a
        // resolver that hangs holds up nobody (failover.md 9, R13).
        // The subscription goes to where the commands go.
        if attempt.command && !self.server(who).is_some_and(|server| was_looked_up(server, now)) {
            self.look_up(who, now, out);
        }
        if addr.ip.is_none() {
            return;
        }
        if attempt.command {
            let link = self.open(addr.clone(), Channel::Command, out);
            if let Some(server) = self.server_mut(who) {
                server.link.command_opened(link, now);
            }
            for command in self.greeting(Channel::Command, env) {
                self.send(who, Tag::Ignored, command, out);
            }
            self.ping(who, now, out);
        }
        if attempt.pubsub {
            let link = self.open(addr, Channel::PubSub, out);
            if let Some(server) = self.server_mut(who) {
                server.link.pubsub_opened(link, now);
            }
            let greeting = self.greeting(Channel::PubSub, env).into_iter().chain([Command::SubscribeHello]);
            for command in greeting {
                out.push(Output::Send { link, tag: Tag::Ignored, command });
            }
        }
        self.dirty = true;
    }

    fn open(&mut self, addr: Addr, channel: Channel, out: &mut Outbox) -> LinkId {
        self.last_link += 1;
        let link = LinkId(self.last_link);
        out.push(Output::Connect { link, addr, channel });
        link
    }

    /// AUTH if there is a password (a user alone is no credential), and the connection's name.
    fn greeting(&self, channel: Channel, env: &Env<'_>) -> Vec<Command> {
        let auth =
            self.spec.auth_pass.clone().map(|password| Command::Auth { user: self.spec.auth_user.clone(), password });
        auth.into_iter().chain([Command::ClientSetname(env.node.client_name(channel))]).collect()
    }

    fn ping(&mut self, who: &ServerId, now: Millis, out: &mut Outbox) {
        if self.send(who, Tag::Ping, Command::Ping, out)
            && let Some(server) = self.server_mut(who)
        {
            server.link.pinged(now);
        }
    }

    /// Sends INFO now, whether or not one is outstanding.
    pub(super) fn send_info(&mut self, who: &ServerId, now: Millis, out: &mut Outbox) {
        let command = self.info_command(who);
        if self.send(who, Tag::Info, command, out)
            && let Some(server) = self.server_mut(who)
        {
            server.infos_outstanding += 1;
            server.info_sent_at = Some(now);
            server.info_wanted_at = server.info_wanted_at.filter(|at| *at > now);
        }
    }

    /// INFO as a server takes it.
    pub(super) fn info_command(&self, who: &ServerId) -> Command {
        let sections = self.server(who).is_some_and(|server| server.info_form == InfoForm::Sections);
        if sections { Command::InfoSections } else { Command::Info }
    }

    /// Sends on the command connection. False when there is none.
    pub(super) fn send(&mut self, who: &ServerId, tag: Tag, command: Command, out: &mut Outbox) -> bool {
        let Some(server) = self.server_mut(who) else { return false };
        let Some(link) = server.link.command_id() else { return false };
        server.link.sent();
        out.push(Output::Send { link, tag, command });
        true
    }

    /// Sends several commands whose replies nobody looks at. False when there is no connection.
    pub(super) fn send_all(&mut self, who: &ServerId, commands: Vec<Command>, out: &mut Outbox) -> bool {
        commands.into_iter().all(|command| self.send(who, Tag::Ignored, command, out))
    }

    /// A connection was established.
    pub(super) fn on_link_up(&mut self, link: LinkId, local: IpAddr, now: Millis) {
        let Some(who) = self.owner_of(link) else { return };
        let Some(server) = self.server_mut(&who) else { return };
        if server.link.command_id() == Some(link) {
            server.link.command_established(local, now);
        }
    }

    /// A connection is gone.
    pub(super) fn on_link_down(&mut self, link: LinkId, error: &LinkError, env: &Env<'_>, out: &mut Outbox) {
        let Some(who) = self.owner_of(link) else { return };
        let Some(server) = self.server_mut(&who) else { return };
        let kind = if server.link.command_id() == Some(link) {
            server.link.command_lost(env.now.mono);
            server.forget_outstanding();
            server.link.put_off(env.lateness.leisure());
            if who == ServerId::Master {
                self.hurry_back(env);
            }
            EventKind::CommandLinkReconnection
        } else {
            server.link.pubsub_lost();
            server.hello.unheard = 0;
            EventKind::PubSubLinkReconnection
        };
        self.dirty = true;
        out.emit(Event::new(kind, format!("{} #{}", self.describe(&who, env), error.0)));
    }

    /// A reply on a command connection, or to the greeting of a pub/sub connection.
    pub(super) fn on_reply(&mut self, link: LinkId, tag: Tag, value: &Reply, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        let (Some(who), beat) = (self.owner_of(link), self.beat(env)) else { return };
        let Some(server) = self.server_mut(&who) else { return };
        if server.link.command_id() != Some(link) {
            return;
        }
        server.link.replied(now);
        match tag {
            Tag::Ping => self.on_pong(&who, PingReply::of(value), now, out),
            Tag::Publish => {
                server.hello.answered(value, beat, env);
                self.note_hello_answered(&who, value);
            }
            Tag::Info => {
                server.infos_outstanding = server.infos_outstanding.saturating_sub(1);
                let Reply::Bulk(text) = value else {
                    server.info_refused_at = Some(now);
                    server.info_form = InfoForm::Whole;
                    return;
                };
                server.info_refused_at = None;
                self.on_info(&who, text, Kept::Sections, env, out);
            }
            Tag::WholeInfo => {
                server.owes_whole_info = false;
                if let Reply::Bulk(text) = value {
                    self.on_info(&who, text, Kept::Whole, env, out);
                }
            }
            Tag::Handover(step) => self.on_handover_reply(step, link, value, env, out),
            Tag::Ignored | Tag::Ask => {}
        }
    }

    fn on_pong(&mut self, who: &ServerId, reply: PingReply, now: Millis, out: &mut Outbox) {
        let Some(server) = self.server_mut(who) else { return };
        server.link.ponged(reply, now);
        let kill_script = reply == PingReply::Busy && server.sdown.is_some() && !server.script_kill_sent;
        if kill_script {
            server.script_kill_sent = true;
            self.dirty = true;
            self.send(who, Tag::Ignored, Command::ScriptKill, out);
        }
        if *who == ServerId::Master && reply == PingReply::Pong {
            self.dirty |= self.reboot_since.take().is_some();
        }
    }

    /// Credentials changed: every connection of this master and its replicas is opened anew.
    pub(super) fn drop_server_links(&mut self, now: Millis, out: &mut Outbox) {
        for server in
            std::iter::once(&mut self.master).chain(self.replicas.values_mut().map(|replica| &mut replica.server))
        {
            close_links(server, now, out);
        }
        self.dirty = true;
    }

    fn owner_of(&self, link: LinkId) -> Option<ServerId> {
        if self.master.has_link(link) {
            return Some(ServerId::Master);
        }
        let owner = self.replicas.iter().find(|(_, replica)| replica.server.has_link(link));
        owner.map(|(key, _)| ServerId::Replica(key.clone()))
    }

    /// Something arrived on a pub/sub connection.
    pub(super) fn on_pubsub(&mut self, link: LinkId, env: &Env<'_>) -> bool {
        let Some(server) = self.owner_of(link).and_then(|who| self.server_mut(&who)) else { return false };
        let Some(pubsub) = server.link.pubsub.as_mut().filter(|pubsub| pubsub.id == link) else { return false };
        pubsub.heard(env.now.mono, &env.node.periods);
        true
    }
}

/// Since when a replica is on its way to a new master.
fn reconfiguring_since(seat: Seat<'_>) -> Option<Millis> {
    match seat.replica?.1.reconf {
        Reconf::Sent { at } | Reconf::InProgress { at } => Some(at),
        Reconf::None | Reconf::Done => None,
    }
}

fn connect_at(server: &Server, now: Millis) -> Option<Millis> {
    if server.addr.port == 0 { None } else { server.link.connect_at(WantsPubSub::Yes, now) }
}

fn close_command(server: &mut Server, now: Millis, out: &mut Outbox) {
    server.forget_outstanding();
    if let Some(link) = server.link.command_lost(now) {
        out.push(Output::Close(link));
    }
}

fn close_pubsub(server: &mut Server, out: &mut Outbox) {
    server.hello.unheard = 0;
    if let Some(link) = server.link.pubsub_lost() {
        out.push(Output::Close(link));
    }
}

/// Closes both connections of a server.
pub(super) fn close_links(server: &mut Server, now: Millis, out: &mut Outbox) {
    close_command(server, now, out);
    close_pubsub(server, out);
}
