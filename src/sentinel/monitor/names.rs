//! Host names of servers and peers (`resolve-hostnames yes`): looked up in the background, never waited for.
//!
//! A name is looked up at every attempt to connect, as in stock, and the last good answer serves until there is a new
//! one. Deviates: while a server is SDOWN, or turns out to be one that is known under another address, its name is looked
//! up every second although its connections stand, because they may lead to a server that the name means no longer; stock
//! would stay with the wrong one until it breaks. Nor is anybody waited for at an address that the name means no longer.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Monitor;
use super::connect::close_links;
use super::failover::FailoverState;
use super::instance::{ReplicaKey, Server, ServerId};
use crate::sentinel::Env;
use crate::sentinel::addr::Addr;
use crate::sentinel::event::Level;
use crate::sentinel::io::{Outbox, Output};
use crate::sentinel::time::Millis;

/// Names remembered per master; hellos with more distinct ones than this are made up.
const MAX_NAMES: usize = 1_000;
/// Time between two look-ups of the name of a server that may be somewhere else, ms.
const LOOKUP_PERIOD: u64 = 1_000;

/// Host names that were looked up.
#[derive(Debug, Default)]
pub(super) struct Names {
    ips: BTreeMap<String, IpAddr>,
    /// A server's name has come to mean another address since doubles were looked for.
    moved: bool,
}

impl Names {
    /// What `host` meant last.
    pub(super) fn ip(&self, host: &str) -> Option<IpAddr> {
        self.ips.get(host).copied()
    }

    fn learn(&mut self, host: &str, ip: IpAddr) {
        if self.ips.len() < MAX_NAMES || self.ips.contains_key(host) {
            self.ips.insert(host.to_owned(), ip);
        }
    }
}

/// When the name of a server is looked up although it is connected.
pub(super) fn lookup_at(server: &Server) -> Option<Millis> {
    let looks = is_doubtful(server) && server.link.command.is_some() && server.addr.is_named();
    looks.then(|| server.looked_up_at + LOOKUP_PERIOD)
}

/// Whether its name was looked up for one of the attempts before, which follow each other faster than usual.
pub(super) fn was_looked_up(server: &Server, now: Millis) -> bool {
    server.link.is_hurried() && now.since(server.looked_up_at) < LOOKUP_PERIOD
}

fn is_doubtful(server: &Server) -> bool {
    server.sdown.is_some() || server.is_double
}

impl Monitor {
    /// Looks up where a server is now, if it goes by a name.
    pub(super) fn look_up(&mut self, who: &ServerId, now: Millis, out: &mut Outbox) {
        let Some(server) = self.server_mut(who).filter(|server| server.addr.is_named()) else { return };
        server.looked_up_at = now;
        out.push(Output::Resolve(server.addr.host.clone()));
    }

    /// What an address that was heard of means, if it can be said now. Whoever brought the name will bring it again.
    pub(super) fn locate(&mut self, addr: Addr, env: &Env<'_>, out: &mut Outbox) -> Option<Addr> {
        if addr.ip.is_some() {
            return Some(addr);
        }
        let host = &addr.host;
        if !env.node.resolve_hostnames || host.is_empty() {
            out.push(Output::Log(Level::Warning, format!("Failed to resolve hostname '{host}'")));
            return None;
        }
        let ip = self.names.ip(host);
        if ip.is_none() {
            out.push(Output::Resolve(host.clone()));
        }
        ip.map(|ip| addr.meaning(Some(ip)))
    }

    /// A name was looked up. The last good answer is kept when there is none now.
    pub(super) fn on_resolved(&mut self, host: &str, ip: Option<IpAddr>, env: &Env<'_>, out: &mut Outbox) {
        let Some(ip) = ip else {
            out.push(Output::Log(Level::Warning, format!("Failed to resolve hostname '{host}'")));
            return;
        };
        self.names.learn(host, ip);
        let replicas = self.replicas.values_mut().map(|replica| &mut replica.server);
        for server in std::iter::once(&mut self.master).chain(replicas).filter(|server| *server.addr.host == *host) {
            if server.addr.ip.replace(ip) == Some(ip) {
                continue;
            }
            self.dirty = true;
            self.names.moved = true;
            server.link.allow_attempt();
            // A name with several addresses moves all the time; connections that work stay. Where nobody has answered yet
            // there may never be anybody.
            let is_waiting = server.link.command.is_some_and(|command| command.local.is_none());
            if is_doubtful(server) || is_waiting {
                close_links(server, env.now.mono, out);
            }
        }
        for sentinel in self.sentinels.values_mut().filter(|sentinel| *sentinel.addr.host == *host) {
            self.dirty |= sentinel.addr.ip.replace(ip) != Some(ip);
        }
    }

    /// Forgets replicas that are the master, or another replica, under a name that could not be looked up when they were
    /// met. Where names are announced each keeps its own: there a name that is looked up wrong for a while would cost the
    /// group a replica.
    pub(super) fn forget_doubles(&mut self, env: &Env<'_>, out: &mut Outbox) {
        if !self.names.moved || env.node.announce_hostnames || self.failover.state != FailoverState::Idle {
            return;
        }
        self.names.moved = false;
        let kept = distinct(&self.master.addr, self.replicas.values().map(|replica| &replica.server.addr));
        let kept: Vec<Addr> = kept.into_iter().cloned().collect();
        let doubles = self.keys_where(|replica| !kept.contains(&replica.server.addr));
        if !doubles.is_empty() {
            self.forget_replicas(&doubles, env, out);
            self.persist(env, out);
        }
    }

    /// The master goes by another host for the same address. A replica with that host was the master all along.
    pub(super) fn rename_master(&mut self, addr: Addr, env: &Env<'_>, out: &mut Outbox) {
        if self.master.addr.host != addr.host {
            let is_it = |known: &Addr| known.port == addr.port && known.host == addr.host;
            let mut doubles = self.keys_where(|replica| is_it(&replica.server.addr));
            doubles.retain(|key| self.promoted() != Some(key));
            self.forget_replicas(&doubles, env, out);
        }
        self.master.addr = addr;
    }

    fn forget_replicas(&mut self, keys: &[ReplicaKey], env: &Env<'_>, out: &mut Outbox) {
        for key in keys {
            if let Some(mut double) = self.replicas.remove(key) {
                close_links(&mut double.server, env.now.mono, out);
            }
        }
    }
}

/// Those of the replicas' addresses that are neither the master's nor another one's, as far as it is known what names mean.
/// A literal address is kept before a name.
fn distinct<'a>(master: &Addr, replicas: impl Iterator<Item = &'a Addr>) -> Vec<&'a Addr> {
    let mut addrs: Vec<&Addr> = replicas.collect();
    addrs.sort_by_key(|addr| addr.is_named());
    let mut kept: Vec<&Addr> = Vec::new();
    for addr in addrs {
        if !addr.same_as(master) && !kept.iter().any(|other| other.same_as(addr)) {
            kept.push(addr);
        }
    }
    kept
}
