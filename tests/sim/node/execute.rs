//! Executes what the machines of a Sentinel put out, in order and at once.

use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::command::Command;
use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::id::{Epoch, LinkId, MasterName, RunId};
use sentineld::sentinel::io::{Channel, Input, Output, Reply, Tag};
use sentineld::sentinel::monitor::hello::Hello;
use sentineld::sentinel::node::{NodeNotice, Routed};
use sentineld::sentinel::peer::{Peer, PeerInput, PeerOutput};

use super::{Job, Node, PeerSlot, Timer, host_of};
use crate::canary::Canary;
use crate::checker::Observation;
use crate::dns::true_ip;
use crate::net::Who;
use crate::redis_model::server_ip;
use crate::world::Shared;

impl Node {
    pub(super) fn execute(&mut self, sh: &mut Shared, master: usize, output: Output, forced: bool) {
        let node = self.host;
        match output {
            Output::Connect { link, addr, channel } => self.open(sh, Who::Monitor(master), link, &addr, channel),
            Output::Close(link) => self.close(sh, Who::Monitor(master), link),
            Output::Send { link, tag, command } => {
                self.see_sent(sh, master, link, &command);
                self.send(sh, Who::Monitor(master), link, tag, command);
            }
            Output::SendPeer { peer, tag, command } => self.send_peer(sh, master, &peer, tag, command),
            Output::Persist { rev, record } => {
                let process = self.process();
                let told = process.saves[master].told(rev);
                process.store.enqueue(master, told, *record);
                if self.canary == Canary::GrantBeforeDurable {
                    self.process().mail.push(Job::Monitor(master, Input::Durable(rev)));
                }
                self.commit(sh);
            }
            Output::Publish(view) => {
                let process = self.process();
                let epoch = process.epoch.current();
                if let Some(slot) = process.monitors[master].as_mut() {
                    let before = std::mem::replace(&mut slot.view, *view).current_host;
                    slot.told_before = (before != slot.view.current_host).then_some(before);
                    sh.see(&Observation::Published { node, master, view: &slot.view, epoch });
                }
            }
            Output::Emit(event) => {
                match event.kind {
                    EventKind::SwitchMaster => {
                        sh.stats.switches += 1;
                        if let Some(slot) = &mut self.process().monitors[master] {
                            slot.told_before = None;
                        }
                    }
                    EventKind::PromotedReplica => {
                        sh.stats.coordinated += u64::from(sh.checkers.facts.coordinates(node, master));
                        sh.stats.failovers += 1;
                    }
                    EventKind::ElectedLeader => sh.stats.elections += 1,
                    EventKind::TiltEntered => sh.stats.tilts += 1,
                    _ => {}
                }
                let view = self.process().monitors[master].as_ref().map(|slot| &slot.view);
                sh.see(&Observation::Emitted { node, master, event: &event, forced, view });
            }
            Output::Answer { to, with } => self.answer(sh, to, with),
            Output::Notify(notice) => self.notify(sh, master, notice),
            Output::Resolve(host) => {
                sh.look_up(node, self.incarnation, master, host);
            }
            Output::WakeAt(at) => self.wake_at(sh, Who::Monitor(master), at),
            Output::Log(..) | Output::Script(_) | Output::NextFailoverDelay { .. } | Output::Exit => {}
        }
    }

    pub(super) fn see_sent(&mut self, sh: &mut Shared, master: usize, link: LinkId, command: &Command) {
        let node = self.host;
        match command {
            Command::ReplicaofNoOne => {
                // Over a connection that is gone, which the monitor has yet to hear, it reaches nobody.
                let Some(server) = self.server_on(sh, master, link) else { return };
                // A master that was to hand over and is made a master again was not chosen by anybody.
                if self.is_named(master, server) {
                    return;
                }
                let priority = sh.priorities.get(server).map_or(100, |known| *known);
                sh.see(&Observation::PromotionSent { node, master, priority });
            }
            Command::PublishHello(payload) => self.see_hello(sh, master, payload),
            _ => {}
        }
    }

    /// The server at the other end of a connection that stands.
    fn server_on(&mut self, sh: &Shared, master: usize, link: LinkId) -> Option<usize> {
        let conn = self.process().links.get(&(Who::Monitor(master), link))?;
        sh.net.conns[*conn].server.checked_sub(sh.sentinels)
    }

    /// Whether a server is the master that readers are told, or were until a switch that is yet to be told.
    fn is_named(&mut self, master: usize, server: usize) -> bool {
        let Some(slot) = &self.process().monitors[master] else { return false };
        let named = [Some(&slot.view.current_host), slot.told_before.as_ref()];
        named.into_iter().flatten().any(|host| true_ip(host) == server_ip(server))
    }

    pub(super) fn see_hello(&mut self, sh: &mut Shared, master: usize, payload: &str) {
        let process = self.process.as_mut().expect("checked by every entry point");
        let Some(slot) = &mut process.monitors[master] else { return };
        if slot.said.as_ref().is_none_or(|(said, _)| said != payload) {
            slot.said = Hello::parse(payload.as_bytes()).map(|hello| (payload.to_owned(), hello));
        }
        if let Some((_, hello)) = &slot.said {
            sh.see(&Observation::Announced { node: self.host, master, hello, disk: &self.disk.synced });
            sh.remember_hello(payload);
        }
    }

    pub(super) fn send_peer(&mut self, sh: &mut Shared, master: usize, peer: &RunId, tag: Tag, command: Command) {
        match &command {
            Command::PublishHello(payload) => self.see_hello(sh, master, payload),
            Command::IsMasterDown { candidate, epoch, .. } => {
                sh.see(&Observation::Asked { node: self.host, master });
                if candidate.is_some() {
                    let slot = self.process().monitors[master].as_mut();
                    if let Some(slot) = slot {
                        slot.asked_in = *epoch;
                    }
                }
            }
            _ => {}
        }
        let process = self.process();
        let name = process.names[master].clone();
        if let Some(peer) = process.peer(peer) {
            process.mail.push(Job::Peer(peer, PeerInput::Send { master: name, tag, command }));
        }
    }

    pub(super) fn notify(&mut self, sh: &mut Shared, master: usize, notice: NodeNotice) {
        let process = self.process();
        let from = process.names[master].clone();
        let routed = process.registry.route(&from, notice);
        self.carry_out(sh, routed);
    }

    /// What the registry of peers says.
    pub(super) fn carry_out(&mut self, sh: &mut Shared, routed: Vec<Routed>) {
        let (node, wall, canary) = (self.host, self.wall_offset, self.canary);
        let process = self.process();
        let now = process.now(sh, wall).mono;
        for routed in routed {
            match canary.routed(routed) {
                Routed::CreatePeer { peer, addr } => {
                    let host = host_of(&addr, sh.sentinels).expect("Sentinels announce their own addresses");
                    let machine = Peer::new(peer.clone(), addr, now);
                    let slot = PeerSlot { id: peer, host, peer: Some(machine), timer: Timer::default() };
                    process.peers.push(slot);
                }
                Routed::ToPeer { peer, input } => {
                    let peer = process.peer(&peer);
                    process.mail.extend(peer.map(|peer| Job::Peer(peer, input)));
                }
                Routed::DropPeer { peer } => {
                    let Some(peer) = process.peer(&peer) else { continue };
                    process.peers[peer].peer = None;
                    sh.see(&Observation::PeerDropped { node, peer: &process.peers[peer].id });
                    let who = Who::Peer(peer);
                    let gone: Vec<_> = process.links.keys().filter(|(owner, _)| *owner == who).copied().collect();
                    for key in gone {
                        let conn = process.links.remove(&key).expect("just listed");
                        sh.client_close(conn);
                    }
                }
                Routed::ToMonitor { master, notice } => {
                    let number = process.number_of(&master);
                    process.mail.extend(number.map(|number| Job::Monitor(number, Input::Notice(notice))));
                }
            }
        }
    }

    pub(super) fn execute_peer(&mut self, sh: &mut Shared, peer: usize, output: PeerOutput) {
        let (id, host) = (self.process().peers[peer].id.clone(), self.process().peers[peer].host);
        match output {
            PeerOutput::Connect { link, addr } => self.open(sh, Who::Peer(peer), link, &addr, Channel::Command),
            PeerOutput::Close(link) => self.close(sh, Who::Peer(peer), link),
            PeerOutput::Send { link, tag, command } => self.send(sh, Who::Peer(peer), link, tag, command),
            PeerOutput::Health { master, health, ages } => {
                self.hand_to_monitor(&master, Input::PeerHealth { peer: id, health: Box::new(health), ages });
            }
            PeerOutput::Reply { master, tag, value } => {
                let number = self.process().number_of(&master);
                if let (Some(master), Reply::Array(parts)) = (number, &value)
                    && let Some(Reply::Integer(down)) = parts.first()
                {
                    sh.see(&Observation::OpinionHeard { node: self.host, voter: host, master, down: *down == 1 });
                }
                if let (Some(number), Some((leader, epoch))) = (number, read_vote(&value)) {
                    sh.see(&Observation::VoteHeard { node: self.host, voter: host, master: number, leader, epoch });
                }
                self.hand_to_monitor(&master, Input::PeerReply { peer: id, tag, value });
            }
            PeerOutput::Resolve(addr) => {
                self.process().mail.push(Job::Peer(peer, PeerInput::Moved(addr)));
            }
            PeerOutput::WakeAt(at) => self.wake_at(sh, Who::Peer(peer), at),
            PeerOutput::Emit(_) => {}
        }
    }

    pub(super) fn hand_to_monitor(&mut self, master: &MasterName, input: Input) {
        let process = self.process();
        let number = process.number_of(master);
        process.mail.extend(number.map(|number| Job::Monitor(number, input)));
    }

    pub(super) fn open(&mut self, sh: &mut Shared, who: Who, link: LinkId, addr: &Addr, channel: Channel) {
        let server = host_of(addr, sh.sentinels).expect("every address in this world has a host");
        let conn = sh.connect(self.host, who, link, channel, server);
        let reused = self.process().links.insert((who, link), conn);
        assert!(reused.is_none(), "n{} uses {link:?} of {who:?} again", self.host);
    }

    pub(super) fn close(&mut self, sh: &mut Shared, who: Who, link: LinkId) {
        if let Some(conn) = self.process().links.remove(&(who, link)) {
            sh.client_close(conn);
        }
    }

    pub(super) fn send(&mut self, sh: &mut Shared, who: Who, link: LinkId, tag: Tag, command: Command) {
        if let Some(conn) = self.process().links.get(&(who, link)) {
            sh.client_send(*conn, tag, command);
        }
    }
}

fn read_vote(value: &Reply) -> Option<(&str, Epoch)> {
    let Reply::Array(parts) = value else { return None };
    let [Reply::Integer(_), Reply::Bulk(leader), Reply::Integer(epoch)] = parts.as_slice() else { return None };
    let leader = std::str::from_utf8(leader).ok()?;
    (leader != "*").then_some((leader, Epoch(*epoch as u64)))
}
