//! The world: nodes, servers, a heap of events, and time that jumps from one to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use sentineld::sentinel::NodeSettings;
use sentineld::sentinel::command::Command;
use sentineld::sentinel::id::RunId;

use crate::agenda::Agenda;
use crate::canary::Canary;
use crate::checker::{Checkers, Limits, Observation, Weakness};
use crate::disk::Image;
use crate::dns::{Dns, server_name};
use crate::faults::{Fault, Undo};
use crate::net::{Ask, ConnId, Host, Net, Tell};
use crate::node::clock::Drifting;
use crate::node::{Happening, Kind, Node, node_ip};
use crate::redis_model::{self, Process, Server, server_ip};
use crate::swarm::{Names, Streams, Swarm, group_name};
use crate::trace::{Keep, Trace};

/// Something that is going to happen.
#[derive(Debug)]
pub enum Event {
    /// A segment reaches the accepting side.
    Ask(ConnId),
    /// A segment reaches the connecting side.
    Tell(ConnId),
    /// The accepting side finds a connection broken.
    Forget(ConnId),
    /// Something for one process.
    Node {
        /// Which machine.
        node: Host,
        /// Which of its processes.
        incarnation: u32,
        /// What.
        happening: Happening,
    },
    /// A commit is put in place.
    Disk {
        /// Whose.
        node: Host,
        /// Which process asked.
        incarnation: u32,
        /// Content.
        image: Arc<Image>,
        /// Time until the process learns of it, microseconds.
        left: u64,
    },
    /// A process dies of what it was doing.
    Die {
        /// Which machine.
        node: Host,
        /// Which of its processes.
        incarnation: u32,
    },
    /// A hello that was published at its master reaches a replica.
    Relay(usize, String),
    /// A round of replication.
    Replicate,
    /// A fault class strikes.
    Strike(Fault),
    /// A fault ends.
    Undo(Undo),
}

/// What was seen, to show that the run tested anything.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Inputs handled by monitors and peers.
    pub inputs: u64,
    /// Elections won.
    pub elections: u64,
    /// Promotions seen by leaders.
    pub failovers: u64,
    /// `+switch-master`, leaders and observers.
    pub switches: u64,
    /// Failovers that an operator asked for.
    pub forced: u64,
    /// Of these, coordinated ones that were announced.
    pub coordinated: u64,
    /// Masters that were reborn empty when nothing else went wrong.
    pub rebirths: u64,
    /// Masters that came back when nothing else went wrong.
    pub returns: u64,
    /// `+tilt`
    pub tilts: u64,
    /// Faults by class.
    pub faults: BTreeMap<Fault, u64>,
    /// Weaknesses of stock that struck.
    pub weaknesses: BTreeMap<Weakness, u64>,
    /// Microseconds simulated.
    pub simulated_us: u64,
    /// Longest time from the end of faults to agreement, microseconds.
    pub convergence_us: u64,
}

/// What nodes, servers and connections share.
pub struct Shared {
    /// Microseconds since the world began.
    pub now: u64,
    /// Grows with every event: what leaves one way of a connection meanwhile is one segment.
    pub turn: u64,
    /// Connections.
    pub net: Net,
    /// Chance.
    pub rng: Streams,
    /// Invariants.
    pub checkers: Checkers,
    /// Record.
    pub trace: Trace,
    /// Counts.
    pub stats: Stats,
    /// Number of Sentinels; hosts below are Sentinels, hosts above servers.
    pub sentinels: usize,
    /// Priorities of servers.
    pub priorities: Vec<u32>,
    /// How lookups of names go.
    pub dns: Dns,
    /// See [`Swarm`].
    pub latency_us: u64,
    /// See [`Swarm`].
    pub jitter_us: u64,
    /// See [`Swarm`].
    pub disk_us: u64,
    /// See [`Swarm`].
    pub tick_late_us: u64,
    /// Whether every step's view is compared with what is published.
    pub views_are_compared: bool,
    /// Addresses at which somebody else's servers are.
    pub strangers: BTreeSet<String>,
    /// How long a replica takes to synchronise, microseconds.
    pub sync_us: Range<u64>,
    /// Hellos that were sent, to be replayed: a few, old ones preferred.
    pub old_hellos: Vec<String>,
    /// Servers that have become masters, and what they had then.
    pub promotions: Vec<(usize, redis_model::Point)>,
    /// The last history that began.
    pub last_replid: u64,
    /// What is going to happen.
    pub agenda: Agenda,
}

impl Shared {
    /// Schedules an event.
    pub fn push(&mut self, at: u64, event: Event) {
        self.agenda.push(at.max(self.now), event);
    }

    /// A new turn begins.
    fn go_to(&mut self, at: u64) {
        self.now = at;
        self.turn += 1;
    }

    /// Shows the checkers something.
    pub fn see(&mut self, seen: &Observation<'_>) {
        if let Observation::Weakness { weakness, .. } = seen {
            *self.stats.weaknesses.entry(*weakness).or_insert(0) += 1;
        }
        self.checkers.facts.now = self.now;
        self.checkers.see(seen);
    }

    /// An INFO reply reaches a Sentinel.
    pub fn see_role(&mut self, node: Host, master: usize, from: Option<Host>, text: &[u8]) {
        if let Some(server) = from.and_then(|host| host.checked_sub(self.sentinels)) {
            let is_master = memchr::memmem::find(text, b"role:master").is_some();
            self.see(&Observation::RoleTold { node, master, server, is_master });
        }
    }

    /// A way between two hosts opened or closed.
    pub fn see_way(&mut self, from: Host, to: Host, open: bool) {
        if from < self.sentinels && to < self.sentinels {
            self.see(&Observation::Way { from, to, open });
        }
    }

    /// Commands that are on their way to where they will be carried out.
    pub fn under_way(&self) -> impl Iterator<Item = &Command> {
        let travelling = self.agenda.events().filter_map(|event| match event {
            Event::Ask(conn) => Some(self.net.travelling(*conn)),
            _ => None,
        });
        travelling.flatten().chain(self.net.waiting())
    }

    /// Ends the run.
    pub fn fail(&mut self, rule: &'static str, story: String) {
        self.checkers.violation.get_or_insert((rule, story));
    }

    /// Keeps a hello for later replay.
    pub fn remember_hello(&mut self, payload: &str) {
        const KEPT: usize = 64;
        if self.old_hellos.len() < KEPT && self.old_hellos.last().is_none_or(|last| last != payload) {
            self.old_hellos.push(payload.to_owned());
        }
    }
}

/// A violated rule.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub rule: &'static str,
    /// What happened.
    pub story: String,
    /// When, microseconds.
    pub at: u64,
}

/// Sentinels find each other within so long.
const PATIENCE_US: u64 = 20_000_000;
/// How often conditions on the world are looked at.
const LOOK_US: u64 = 50_000;

/// All of it.
pub struct World {
    /// What everything shares.
    pub sh: Shared,
    /// Sentinels, by host.
    pub nodes: Vec<Node>,
    /// Servers; host is number plus Sentinels.
    pub servers: Vec<Server>,
    /// How it was drawn.
    pub swarm: Swarm,
    /// Sentinels that will never start again.
    pub lost: BTreeSet<Host>,
    /// Operators had Sentinels forget what they knew of a master.
    pub is_reset: bool,
    /// Partitions under way.
    pub partitions: BTreeMap<u64, Vec<(Host, Host)>>,
    /// How often conditions on the world are looked at, microseconds; 0 is after every event.
    pub look_us: u64,
    /// What servers that became masters did not have of what others had acknowledged.
    pub losses: Vec<String>,
}

impl World {
    /// A world that has not started.
    pub fn new(swarm: Swarm, keep: Keep, canary: Canary, only: Option<&str>) -> World {
        let ids: Vec<RunId> = (0..swarm.sentinels).map(|node| sentinel_id(swarm.seed, node)).collect();
        let servers: usize = swarm.groups.iter().map(|replicas| replicas + 1).sum();
        let mut trace = Trace::new(keep);
        for (node, id) in ids.iter().enumerate() {
            trace.call(id.as_str(), &format!("n{node}"));
        }
        let mut sh = Shared {
            now: 0,
            turn: 0,
            net: Net::new(swarm.sentinels + servers),
            rng: Streams::new(swarm.seed),
            checkers: Checkers::new(ids.clone(), only),
            trace,
            stats: Stats::default(),
            sentinels: swarm.sentinels,
            priorities: Vec::new(),
            dns: Dns::Good,
            latency_us: swarm.latency_us,
            jitter_us: swarm.jitter_us,
            disk_us: swarm.disk_us,
            tick_late_us: swarm.tick_late_us,
            views_are_compared: swarm.seed % 16 == 8,
            strangers: BTreeSet::new(),
            sync_us: 100_000..1_500_000,
            old_hellos: Vec::new(),
            promotions: Vec::new(),
            last_replid: 1_000,
            agenda: Agenda::default(),
        };
        sh.checkers.facts.limits = Limits {
            parallel_syncs: swarm.most_parallel_syncs() as usize,
            failover_timeout_us: swarm.longest_failover_timeout_ms() * 1_000,
            first_stock: swarm.sentinels - swarm.stock,
        };
        let servers = build_servers(&swarm, &mut sh);
        let nodes = ids.into_iter().enumerate().map(|(host, id)| {
            let image = first_image(&swarm, &servers, &id);
            let mut settings = NodeSettings::new(id);
            settings.periods.tilt = swarm.tilt_ms;
            settings.periods.info = swarm.info_ms;
            settings.policies = swarm.policies.clone();
            // As if there were many more masters.
            settings.crowded = swarm.seed % 8 == 5;
            settings.resolve_hostnames = swarm.names != Names::Addresses;
            settings.announce_hostnames = swarm.names == Names::Announced;
            let kind = if host + swarm.stock >= swarm.sentinels { Kind::Stock } else { Kind::Ours };
            let drift = sh.rng.fixed(700 + host as u64) % (2 * swarm.drift_ppm + 1);
            let clock = Drifting::new(1_000_000 + drift - swarm.drift_ppm);
            Node::new(host, kind, settings, (image, clock), canary)
        });
        let nodes = nodes.collect();
        sh.push(0, Event::Replicate);
        World {
            sh,
            nodes,
            servers,
            swarm,
            lost: BTreeSet::new(),
            is_reset: false,
            partitions: BTreeMap::new(),
            look_us: LOOK_US,
            losses: Vec::new(),
        }
    }

    /// Starts all Sentinels and waits until they know each other, on disk.
    pub fn start(&mut self, canary: Canary) -> Result<(), Violation> {
        for node in &mut self.nodes {
            node.start(&mut self.sh);
        }
        let peers = self.swarm.sentinels - 1;
        let replicas = self.swarm.groups.clone();
        let known = self.run_while(PATIENCE_US, |world| {
            !world.nodes.iter().all(|node| {
                let records = node.disk.synced.records.values().zip(&replicas);
                let mut records =
                    records.map(|(record, count)| (record.sentinels.len(), record.replicas.len(), *count));
                records.all(|(sentinels, known, count)| sentinels >= peers && known >= count)
            })
        })?;
        if known || canary == Canary::VotersForgotten {
            return Ok(());
        }
        Err(Violation {
            rule: "discovery: Sentinels and replicas find each other",
            story: format!("after {} s not all Sentinels know all others", PATIENCE_US / 1_000_000),
            at: self.sh.now,
        })
    }

    /// Runs for so long.
    pub fn run_for(&mut self, us: u64) -> Result<(), Violation> {
        self.run_while(us, |_| true).map(|_| ())
    }

    /// Runs while the condition holds, at most for so long. Returns whether it stopped holding.
    pub fn run_while(&mut self, us: u64, mut goes_on: impl FnMut(&World) -> bool) -> Result<bool, Violation> {
        let end = self.sh.now + us;
        let mut look = self.sh.now;
        loop {
            if look <= self.sh.now {
                if !goes_on(self) {
                    return Ok(true);
                }
                look = self.sh.now + self.look_us;
            }
            let Some(next) = self.sh.agenda.next_at() else { return Ok(false) };
            if next > end {
                self.sh.go_to(end);
                return Ok(!goes_on(self));
            }
            self.step()?;
        }
    }

    fn step(&mut self) -> Result<(), Violation> {
        let Some((at, event)) = self.sh.agenda.pop() else { return Ok(()) };
        self.sh.go_to(at);
        self.dispatch(event);
        self.see_promotions();
        match self.sh.checkers.violation.take() {
            None => Ok(()),
            Some((rule, story)) => Err(Violation { rule, story, at: self.sh.now }),
        }
    }

    /// What each server that has just become a master lacks of what members of its group acknowledged in that history.
    fn see_promotions(&mut self) {
        for (server, had) in std::mem::take(&mut self.sh.promotions) {
            let group = self.servers[server].group;
            let others =
                self.servers.iter().filter(|other| other.group == group && other.ip != self.servers[server].ip);
            let mut lacks = None;
            for other in others {
                let ahead = other.acked.replid == had.replid && other.acked.offset > had.offset;
                if ahead || (other.replid == had.replid && other.takes_writes(self.sh.now)) {
                    let last = other.acked;
                    lacks = Some(format!("{} has acknowledged {last:?}, {} has {had:?}", other.ip, server_ip(server)));
                }
            }
            self.losses.extend(lacks.clone());
            self.sh.see(&Observation::BecameMaster { server, lacks: lacks.as_deref() });
        }
    }

    fn dispatch(&mut self, event: Event) {
        let sentinels = self.swarm.sentinels;
        match event {
            Event::Ask(conn) => self.asked(conn),
            Event::Tell(conn) => {
                let client = self.sh.net.conns[conn].client;
                let left = self.sh.net.conns[conn].tells.left();
                while let Some(tell) = self.sh.net.conns[conn].tells.next(left) {
                    if self.sh.net.conns[conn].client_gone {
                        self.sh.net.live.remove(&conn);
                    } else {
                        self.nodes[client].take(&mut self.sh, Happening::Told(conn, tell));
                    }
                }
                self.nodes[client].work(&mut self.sh);
            }
            Event::Forget(conn) => {
                let server = self.sh.net.conns[conn].server;
                let server = server.checked_sub(sentinels).and_then(|server| self.servers.get_mut(server));
                if let Some(server) = server {
                    server.forget(conn);
                }
            }
            Event::Node { node, incarnation, happening } => {
                if self.nodes[node].incarnation == incarnation {
                    self.nodes[node].happen(&mut self.sh, happening);
                }
            }
            Event::Disk { node, incarnation, image, left } => {
                if self.nodes[node].incarnation == incarnation {
                    self.nodes[node].in_place(&mut self.sh, image, left);
                }
            }
            Event::Die { node, incarnation } => {
                if self.nodes[node].incarnation == incarnation {
                    self.crash_soon_back(node);
                }
            }
            Event::Relay(server, payload) => self.servers[server].deliver_hello(&mut self.sh, &payload),
            Event::Replicate => {
                redis_model::replicate(&mut self.servers, &mut self.sh);
                let next = self.sh.now + redis_model::ROUND_US;
                self.sh.push(next, Event::Replicate);
            }
            Event::Strike(fault) => self.strike(fault),
            Event::Undo(undo) => self.undo(undo),
        }
    }

    fn asked(&mut self, conn: ConnId) {
        let left = self.sh.net.conns[conn].asks.left();
        while let Some(ask) = self.sh.net.conns[conn].asks.next(left) {
            self.take_ask(conn, ask);
        }
        let server = self.sh.net.conns[conn].server;
        if let Some(node) = self.nodes.get_mut(server) {
            node.work(&mut self.sh);
        }
    }

    fn take_ask(&mut self, conn: ConnId, ask: Ask) {
        let server = self.sh.net.conns[conn].server;
        let number = server.checked_sub(self.swarm.sentinels);
        let alive = match number {
            None => self.nodes[server].is_running(),
            Some(number) => self.servers[number].process != Process::Dead,
        };
        let gone = self.sh.net.conns[conn].server_gone;
        match ask {
            Ask::Fin => {
                self.sh.net.conns[conn].server_gone = true;
                self.sh.net.live.remove(&conn);
                if let Some(number) = number {
                    self.servers[number].forget(conn);
                }
            }
            Ask::Syn if !alive => self.sh.reset(conn, "Connection refused"),
            Ask::Command(..) if gone || !alive => self.sh.reset(conn, "Connection reset by peer"),
            Ask::Syn => {
                if let Some(number) = number {
                    self.servers[number].accept(conn);
                }
                self.sh.server_send(conn, Tell::SynAck);
            }
            Ask::Command(tag, command) => {
                if let Some(number) = number {
                    self.servers[number].command(&mut self.sh, conn, tag, command);
                } else {
                    let happening = Happening::Asked(conn, Ask::Command(tag, command));
                    self.nodes[server].take(&mut self.sh, happening);
                }
            }
        }
    }

    /// The server at this address.
    pub fn server_at(&self, host: &str, port: u16) -> Option<usize> {
        self.servers.iter().position(|server| server.is_at(host, port))
    }

    /// Number of the server that the first running Sentinel names as this group's master.
    pub fn named_master(&self, group: usize) -> Option<usize> {
        let mut views = self.nodes.iter().filter_map(|node| node.view(group));
        views.next().and_then(|view| self.server_at(&view.current_host, view.current_port))
    }
}

fn sentinel_id(seed: u64, node: usize) -> RunId {
    let word = Streams::new(seed).fixed(500 + node as u64);
    RunId::from(format!("{word:016x}{word:016x}{node:08x}").as_str())
}

fn build_servers(swarm: &Swarm, sh: &mut Shared) -> Vec<Server> {
    use rand::RngExt;
    let mut servers: Vec<Server> = Vec::new();
    for (group, replicas) in swarm.groups.iter().enumerate() {
        let master = servers.len();
        for member in 0..=*replicas {
            let number = servers.len();
            let never = member > 1 && sh.rng.servers.random_bool(swarm.never_promoted);
            let priority = if never { 0 } else { 100 };
            let upstream = (member > 0).then(|| (server_ip(master), 6379));
            let mut server = Server::new(swarm.sentinels + number, group, server_ip(number), priority, upstream);
            server.boot(sh);
            server.denied = swarm.denied;
            sh.priorities.push(priority);
            servers.push(server);
        }
    }
    servers
}

/// The file of a Sentinel that was only told who it is and where the masters are.
fn first_image(swarm: &Swarm, servers: &[Server], myid: &RunId) -> Image {
    let mut text = format!("port 26379\n# State\nsentinel myid {myid}\n");
    if swarm.names != Names::Addresses {
        text.push_str("sentinel resolve-hostnames yes\n");
    }
    if swarm.names == Names::Announced {
        text.push_str("sentinel announce-hostnames yes\n");
    }
    for (number, server) in servers.iter().enumerate().filter(|(_, server)| server.upstream.is_none()) {
        let name = group_name(server.group);
        let host = if swarm.names == Names::Addresses { server.ip.clone() } else { server_name(number) };
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            "sentinel monitor {name} {host} {} {}\nsentinel down-after-milliseconds {name} {}\n\
             sentinel failover-timeout {name} {}\nsentinel parallel-syncs {name} {}\n",
            server.port, swarm.quorum, swarm.down_after_ms, swarm.failover_timeout_ms, swarm.parallel_syncs
        );
    }
    Image::load(text.as_bytes(), myid).expect("a plain file").0
}

/// Where a Sentinel is, for readers of traces.
pub fn describe(swarm: &Swarm) -> String {
    let nodes: Vec<String> = (0..swarm.sentinels).map(|node| format!("n{node}={}", node_ip(node))).collect();
    format!("{swarm:?}\n{}; servers from 10.0.1.1 on, group by group, master first", nodes.join(" "))
}
