//! Hellos of the stock model (failover.md 5), with the configurations that it adopts from them.

use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::command::Command;
use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::id::{Epoch, RunId};
use sentineld::sentinel::io::Tag;
use sentineld::sentinel::monitor::hello::Hello;

use super::{PeerSeen, State, Stock, Surroundings, Target};
use crate::checker::{Observation, Weakness};
use crate::node::{host_of, node_ip};

impl Stock {
    pub(super) fn publish_hello(&mut self, around: &mut Surroundings<'_>, master: usize, target: Target) {
        let seen = &self.masters[master];
        let current = seen.current();
        let hello = Hello {
            addr: Addr::new(&node_ip(self.host), 26379),
            id: self.id.clone(),
            current_epoch: self.epoch,
            master: seen.spec.name.clone(),
            master_addr: current.clone(),
            config_epoch: seen.config_epoch,
        };
        let payload = hello.to_string();
        if self.send(around, master, target, Tag::Publish, Command::PublishHello(payload.clone())) {
            let disk = &around.disk.synced;
            around.sh.see(&Observation::Announced { node: self.host, master, hello: &hello, disk });
            around.sh.remember_hello(&payload);
            // The acknowledgement counts in stock; here the sending does, or every tick would send one more.
            let now = around.now();
            self.link(master, target).last_pub = now;
        }
    }

    /// A client publishes a hello.
    pub fn published(&mut self, around: &mut Surroundings<'_>, payload: &str) {
        self.heard(around, payload.as_bytes(), false);
        self.publish(around);
    }

    /// A hello arrives: by subscription, or as a PUBLISH of a peer, where stock does not look whose it is (R8).
    pub(super) fn heard(&mut self, around: &mut Surroundings<'_>, payload: &[u8], subscribed: bool) {
        let now = around.now();
        let Some(hello) = Hello::parse(payload) else { return };
        if subscribed && hello.id == self.id {
            return;
        }
        let Some(master) = self.masters.iter().position(|seen| seen.spec.name == hello.master) else { return };
        let addr = hello.addr.clone();
        if host_of(&addr, around.sh.sentinels).is_none() {
            return;
        }
        let known = self.masters[master].peers.iter().position(|peer| peer.id == hello.id && peer.addr.same_as(&addr));
        let peer = known.unwrap_or_else(|| {
            self.meet(around, master, &hello.id, addr);
            self.masters[master].peers.len() - 1
        });
        self.masters[master].peers[peer].link.heard = now;
        self.observe_epoch(around, hello.current_epoch, master);
        if hello.config_epoch > self.masters[master].config_epoch {
            self.adopt(around, master, peer, &hello);
        }
    }

    fn meet(&mut self, around: &mut Surroundings<'_>, master: usize, id: &RunId, addr: Addr) {
        let now = around.now();
        let peers = &mut self.masters[master].peers;
        let known = peers.iter().any(|peer| peer.id == *id);
        let stale: Vec<usize> =
            (0..peers.len()).filter(|n| peers[*n].id == *id || peers[*n].addr.same_as(&addr)).collect();
        for gone in stale.into_iter().rev() {
            let link = self.masters[master].peers.remove(gone).link;
            if let Some(conn) = link.cc {
                self.conns.remove(&conn);
                around.sh.client_close(conn);
            }
            for owner in self.conns.values_mut().filter(|owner| owner.master == master) {
                if let Target::Peer(number) = &mut owner.target
                    && *number > gone
                {
                    *number -= 1;
                }
            }
        }
        self.masters[master].peers.push(PeerSeen::new(id.clone(), addr, now));
        self.masters[master].dirty = true;
        if !known {
            let who = self.masters[master].describe_peer(self.masters[master].peers.len() - 1);
            self.emit(around, master, EventKind::Sentinel, who);
        }
        self.save(around);
    }

    pub(super) fn observe_epoch(&mut self, around: &mut Surroundings<'_>, epoch: Epoch, master: usize) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.save(around);
            self.emit(around, master, EventKind::NewEpoch, epoch.to_string());
        }
    }

    fn adopt(&mut self, around: &mut Surroundings<'_>, master: usize, peer: usize, hello: &Hello) {
        let seen = &mut self.masters[master];
        seen.config_epoch = hello.config_epoch;
        seen.dirty = true;
        let old = seen.servers[0].addr.clone();
        let new = hello.master_addr.clone();
        if old.same_as(&new) {
            // Compared with the address before the promotion: the promoted one is given an epoch that names another.
            if seen.state >= State::ReconfReplicas {
                self.admit(around, Weakness::HalfAdopted, master, hello.config_epoch);
            }
            return;
        }
        let name = seen.spec.name.clone();
        let from = seen.describe_peer(peer);
        let payload = format!("{name} {} {} {} {}", old.host, old.port, new.host, new.port);
        if host_of(&new, around.sh.sentinels).is_none() {
            // R7: the epoch is taken, the address cannot be.
            self.admit(around, Weakness::HalfAdopted, master, hello.config_epoch);
            self.emit(around, master, EventKind::ConfigUpdateFrom, from);
            self.emit(around, master, EventKind::SwitchMaster, payload);
            return;
        }
        self.reset_to(around, master, &new);
        self.publish(around);
        self.emit(around, master, EventKind::ConfigUpdateFrom, from);
        self.emit(around, master, EventKind::SwitchMaster, payload);
        self.save(around);
    }

    /// `sentinelResetMasterAndChangeAddress` (failover.md 8.8). Nothing is saved yet.
    pub(super) fn reset_to(&mut self, around: &mut Surroundings<'_>, master: usize, addr: &Addr) {
        let now = around.now();
        self.close_servers(around, master);
        let seen = &mut self.masters[master];
        let mut servers = vec![super::Server::new(addr.clone(), true, now)];
        // The first INFO to the new master may be a whole period away.
        servers[0].info_at = seen.servers[0].info_at;
        servers[0].link.last_pub = seen.servers[0].link.last_pub;
        let (old, others) = seen.servers.split_first().expect("the master itself");
        let replicas = others.iter().chain([old]).filter(|server| !server.addr.same_as(addr));
        servers.extend(replicas.map(|server| super::Server::new(server.addr.clone(), false, now)));
        seen.servers = servers;
        seen.leader = None;
        seen.state = State::None;
        seen.state_changed = 0;
        seen.started = 0;
        seen.forced = false;
        seen.odown_since = 0;
        seen.promoted = None;
        seen.dirty = true;
    }
}
