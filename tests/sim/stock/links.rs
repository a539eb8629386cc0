//! Connections, PING, INFO and hello of the stock model, and what comes back (failover.md 2, 3, 6.1).

use sentineld::sentinel::command::Command;
use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::id::LinkId;
use sentineld::sentinel::io::{Channel, Reply, Tag};

use super::{Link, Owner, State, Stock, Surroundings, Target};
use crate::net::{ConnId, Tell, Who};
use crate::node::host_of;

/// Replies that may be missing before nothing more is sent.
pub(super) const MAX_PENDING: u32 = 100;

impl Stock {
    pub(super) fn link(&mut self, master: usize, target: Target) -> &mut Link {
        match target {
            Target::Server(server) => &mut self.masters[master].servers[server].link,
            Target::Peer(peer) => &mut self.masters[master].peers[peer].link,
        }
    }

    pub(super) fn reconnect(&mut self, around: &mut Surroundings<'_>, master: usize, target: Target) {
        let now = around.now();
        let is_server = matches!(target, Target::Server(_));
        let link = self.link(master, target);
        let whole = link.cc.is_some() && (link.pc.is_some() || !is_server);
        if whole || now < link.tried + 1_000 {
            return;
        }
        link.tried = now;
        self.masters[master].dirty = true;
        let link = self.link(master, target);
        if link.cc.is_none() {
            let conn = self.open(around, master, target, false);
            let link = self.link(master, target);
            (link.cc, link.cc_at, link.pending) = (Some(conn), now, 0);
            self.send(around, master, target, Tag::Ignored, Command::ClientSetname("sentinel-stock-cmd".to_owned()));
            self.send_ping(around, master, target);
        }
        if is_server && self.link(master, target).pc.is_none() {
            let conn = self.open(around, master, target, true);
            let link = self.link(master, target);
            (link.pc, link.pc_at, link.heard) = (Some(conn), now, now);
            around.sh.client_send(conn, Tag::Ignored, Command::SubscribeHello);
        }
    }

    fn open(&mut self, around: &mut Surroundings<'_>, master: usize, target: Target, pubsub: bool) -> ConnId {
        let addr = match target {
            Target::Server(server) => &self.masters[master].servers[server].addr,
            Target::Peer(peer) => &self.masters[master].peers[peer].addr,
        };
        let server = host_of(addr, around.sh.sentinels).expect("every address in this world has a host");
        self.last_link += 1;
        let channel = if pubsub { Channel::PubSub } else { Channel::Command };
        let conn = around.sh.connect(self.host, Who::Monitor(master), LinkId(self.last_link), channel, server);
        self.conns.insert(conn, Owner { master, target, pubsub });
        conn
    }

    /// Closes one of an instance's connections.
    fn close(&mut self, around: &mut Surroundings<'_>, master: usize, target: Target, pubsub: bool) {
        self.masters[master].dirty = true;
        let link = self.link(master, target);
        let conn = if pubsub { link.pc.take() } else { link.cc.take() };
        if let Some(conn) = conn {
            self.conns.remove(&conn);
            around.sh.client_close(conn);
        }
    }

    /// Closes both connections of every server of a master.
    pub(super) fn close_servers(&mut self, around: &mut Surroundings<'_>, master: usize) {
        for server in 0..self.masters[master].servers.len() {
            self.close(around, master, Target::Server(server), false);
            self.close(around, master, Target::Server(server), true);
        }
    }

    /// Queues a command on the command connection. False without one.
    pub(super) fn send(
        &mut self,
        around: &mut Surroundings<'_>,
        master: usize,
        target: Target,
        tag: Tag,
        command: Command,
    ) -> bool {
        let dead = self.dead;
        let link = self.link(master, target);
        let Some(conn) = link.cc.filter(|_| !dead) else { return false };
        link.pending += 1;
        around.sh.client_send(conn, tag, command);
        true
    }

    fn send_ping(&mut self, around: &mut Surroundings<'_>, master: usize, target: Target) {
        let now = around.now();
        if self.send(around, master, target, Tag::Ping, Command::Ping) {
            let link = self.link(master, target);
            link.last_ping = now;
            if link.act_ping == 0 {
                link.act_ping = now;
            }
        }
    }

    pub(super) fn send_periodic(&mut self, around: &mut Surroundings<'_>, master: usize, target: Target) {
        let now = around.now();
        let seen = &self.masters[master];
        let ping_period = self.periods.ping.min(seen.spec.down_after);
        let failing = seen.odown_since != 0 || seen.state != State::None;
        let wants_info = match target {
            Target::Peer(_) => false,
            Target::Server(server) => {
                let it = &seen.servers[server];
                let fast = server > 0 && (failing || it.link_down != 0);
                let period = if fast { 1_000.min(self.periods.info) } else { self.periods.info };
                it.info_at == 0 || now - it.info_at > period
            }
        };
        let link = self.link(master, target);
        if link.cc.is_none() || link.pending >= MAX_PENDING {
            return;
        }
        let (answered, pinged, published) = (link.last_pong, link.last_ping, link.last_pub);
        if wants_info {
            self.send(around, master, target, Tag::Info, Command::Info);
        }
        if now.saturating_sub(answered) > ping_period && now.saturating_sub(pinged) > ping_period / 2 {
            self.send_ping(around, master, target);
        }
        if now.saturating_sub(published) > self.periods.publish {
            self.publish_hello(around, master, target);
        }
    }

    /// SDOWN, and links that are given up (failover.md 2.4, 6.1).
    pub(super) fn check_down(&mut self, around: &mut Surroundings<'_>, master: usize, target: Target) {
        let now = around.now();
        let (down_after, info) = (self.masters[master].spec.down_after, self.periods.info);
        let min_age = self.periods.min_link_reconnect;
        let publish = self.periods.publish;
        let link = self.link(master, target);
        let elapsed = match (link.act_ping, link.cc) {
            (0, Some(_)) => 0,
            (0, None) => now - link.last_avail,
            (since, _) => now - since,
        };
        let hangs = link.act_ping != 0 && now - link.act_ping > down_after / 2 && now - link.last_pong > down_after / 2;
        let stale_commands = link.cc.is_some() && now - link.cc_at > min_age && hangs;
        let silent_channel = link.pc.is_some() && now - link.pc_at > min_age && now - link.heard > 3 * publish;
        if stale_commands {
            self.close(around, master, target, false);
        }
        if silent_channel {
            self.close(around, master, target, true);
        }
        let wrong_role = match target {
            Target::Server(0) => {
                let it = &self.masters[master].servers[0];
                !it.is_master && now - it.role_at > down_after + 2 * info
            }
            _ => false,
        };
        self.set_down(around, master, target, elapsed > down_after || wrong_role);
    }

    fn set_down(&mut self, around: &mut Surroundings<'_>, master: usize, target: Target, down: bool) {
        let now = around.now();
        let seen = &mut self.masters[master];
        let since = match target {
            Target::Server(server) => &mut seen.servers[server].sdown_since,
            Target::Peer(peer) => &mut seen.peers[peer].sdown_since,
        };
        if down == since.is_some() {
            return;
        }
        *since = down.then_some(now);
        let who = match target {
            Target::Server(server) => {
                if down {
                    seen.servers[server].last_sdown = now;
                }
                seen.describe_server(server)
            }
            Target::Peer(peer) => seen.describe_peer(peer),
        };
        let kind = if down { EventKind::SubjectivelyDown } else { EventKind::SubjectivelyUp };
        self.emit(around, master, kind, who);
    }

    /// Something arrives on a connection that this process opened.
    pub fn told(&mut self, around: &mut Surroundings<'_>, conn: ConnId, tell: Tell) {
        let Some(owner) = self.conns.get(&conn).copied() else { return };
        let Owner { master, target, pubsub } = owner;
        match tell {
            Tell::SynAck => around.sh.client_open(conn),
            Tell::Reset(_) => {
                around.sh.net.conns[conn].client_gone = true;
                around.sh.net.live.remove(&conn);
                self.conns.remove(&conn);
                let link = self.link(master, target);
                if pubsub {
                    link.pc = None;
                } else {
                    link.cc = None;
                    link.pending = 0;
                }
                self.masters[master].dirty = true;
            }
            Tell::Push(payload) => {
                let now = around.now();
                self.link(master, target).heard = now;
                if let Some(payload) = payload {
                    self.heard(around, &payload, true);
                }
            }
            Tell::Reply(tag, reply) => {
                let link = self.link(master, target);
                link.pending = link.pending.saturating_sub(1);
                self.replied(around, master, target, tag, &reply);
            }
        }
        self.publish(around);
    }

    fn replied(&mut self, around: &mut Surroundings<'_>, master: usize, target: Target, tag: Tag, reply: &Reply) {
        let now = around.now();
        match (tag, reply, target) {
            (Tag::Ping, reply, _) => {
                let fine = match reply {
                    Reply::Status(text) => text.starts_with(b"PONG"),
                    Reply::Error(text) => text.starts_with(b"LOADING") || text.starts_with(b"MASTERDOWN"),
                    _ => return,
                };
                let link = self.link(master, target);
                link.last_pong = now;
                if fine {
                    link.last_avail = now;
                    link.act_ping = 0;
                }
            }
            (Tag::Info, Reply::Bulk(text), Target::Server(server)) => {
                let from = crate::node::host_of(&self.masters[master].servers[server].addr, around.sh.sentinels);
                around.sh.see_role(self.host, master, from, text);
                self.informed(around, master, server, text);
            }
            (Tag::Publish, reply, _) if !matches!(reply, Reply::Error(_)) => self.link(master, target).last_pub = now,
            (Tag::Ask, reply, Target::Peer(peer)) => self.vote_heard(around, master, peer, reply),
            _ => {}
        }
    }
}
