//! Faults: what strikes, how often, for how long. Each class draws from a stream of its own.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::io::{AdminRequest, FailoverOrder};
use sentineld::sentinel::monitor::view::MasterView;
use sentineld::sentinel::policy::FailoverMode;

use crate::disk::Health;
use crate::dns::Dns;
use crate::net::Host;
use crate::node::{Happening, node_ip};
use crate::redis_model::{Process, Script, Server, command_names};
use crate::swarm::Names;
use crate::world::{Event, World};

/// A class of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A Sentinel's process or machine dies and starts again later.
    NodeCrash,
    /// A Sentinel's process stands still.
    NodePause,
    /// Some hosts cannot reach some others: one way or both, one host or many.
    Partition,
    /// One connection breaks, is forgotten by one side, or goes silent.
    Breakage,
    /// A Sentinel's disk is slow, full, or fails to sync.
    Disk,
    /// A server's process or machine dies and starts again later.
    ServerKill,
    /// A server's process stands still.
    ServerHang,
    /// The network is slow.
    Spike,
    /// An operator asks for a failover.
    Force,
    /// An old hello is published again.
    Replay,
    /// A Sentinel's wall clock jumps.
    WallJump,
    /// Somebody publishes a hello that must change nothing.
    Hostile,
    /// An operator changes what a Sentinel monitors.
    Operate,
    /// A server runs a script that does not end.
    Busy,
    /// Names cannot be looked up, or not in time, or mean an address where nobody is.
    Dns,
    /// An operator plans a failover that loses nothing.
    Plan,
    /// A server dies, and somebody else's has its address for a while.
    Reuse,
    /// A Sentinel's process has too much to do: each monitor waits for its turn.
    NodeLate,
}

/// The end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Start the Sentinel again; its machine had lost power if `power`.
    StartNode {
        /// Which.
        node: Host,
        /// Whether its host was cut off.
        power: bool,
    },
    /// Let the Sentinel go on.
    ResumeNode(Host),
    /// The Sentinel keeps up again.
    Relieve(Host),
    /// Heal this partition.
    Heal(u64),
    /// Mend the disk.
    Mend(Host),
    /// Start the server again.
    StartServer {
        /// Which.
        server: usize,
        /// Whether its host was cut off.
        power: bool,
    },
    /// Let the server go on.
    ResumeServer(usize),
    /// The network is fast again.
    Calm,
    /// An operator has a master monitored again.
    Monitor {
        /// Where.
        node: Host,
        /// Which.
        group: usize,
    },
    /// The server's script ends.
    EndScript(usize),
    /// Names can be looked up again.
    MendDns,
    /// Somebody else's server is gone, and the one that was there before starts again.
    Return(usize),
}

impl Fault {
    /// All classes; the order gives each its stream.
    pub const ALL: &'static [Fault] = &[
        Fault::NodeCrash,
        Fault::NodePause,
        Fault::Partition,
        Fault::Breakage,
        Fault::Disk,
        Fault::ServerKill,
        Fault::ServerHang,
        Fault::Spike,
        Fault::Force,
        Fault::Replay,
        Fault::WallJump,
        Fault::Hostile,
        Fault::Operate,
        Fault::Busy,
        Fault::Dns,
        Fault::Plan,
        Fault::Reuse,
        Fault::NodeLate,
    ];

    /// Chance that a world has this class at all.
    pub fn likelihood(self) -> f64 {
        match self {
            Fault::ServerKill => 0.8,
            Fault::Force => 0.1,
            Fault::Dns => 1.0,
            Fault::Spike
            | Fault::Replay
            | Fault::WallJump
            | Fault::Hostile
            | Fault::Operate
            | Fault::Busy
            | Fault::Reuse => 0.3,
            _ => 0.5,
        }
    }

    /// Range of the mean time between two faults.
    pub fn mean_seconds(self) -> std::ops::Range<u64> {
        match self {
            Fault::Breakage => 1..8,
            Fault::ServerKill | Fault::ServerHang => 6..25,
            Fault::Force => 15..60,
            Fault::Plan => 3..20,
            _ => 4..30,
        }
    }
}

const MS: u64 = 1_000;

impl World {
    /// Schedules the first fault of every class of the swarm.
    pub fn arm(&mut self) {
        let faults: Vec<Fault> = self.swarm.rates.keys().copied().collect();
        for fault in faults {
            self.arm_next(fault);
        }
    }

    fn arm_next(&mut self, fault: Fault) {
        let Some(mean) = self.swarm.rates.get(&fault).copied() else { return };
        let wait = self.sh.rng.fault(fault).random_range(mean / 10..mean * 2);
        self.sh.push(self.sh.now + wait, Event::Strike(fault));
    }

    /// A fault class strikes and arms itself again.
    pub fn strike(&mut self, fault: Fault) {
        if !self.swarm.rates.contains_key(&fault) {
            return;
        }
        self.arm_next(fault);
        *self.sh.stats.faults.entry(fault).or_insert(0) += 1;
        match fault {
            Fault::NodeCrash => self.strike_node_crash(),
            Fault::NodePause => {
                let rng = self.sh.rng.fault(fault);
                let node = rng.random_range(0..self.nodes.len());
                let length = rng.random_range(100..7_000) * MS;
                self.pause_node(node, length);
            }
            Fault::Partition => self.strike_partition(),
            Fault::Breakage => self.strike_breakage(),
            Fault::Disk => self.strike_disk(),
            Fault::ServerKill => self.strike_server_kill(),
            Fault::ServerHang => {
                let length = self.sh.rng.fault(fault).random_range(500..12_000) * MS;
                let server = self.pick_server(fault);
                self.hang_server(server, length);
            }
            Fault::Spike => {
                let rng = self.sh.rng.fault(fault);
                let (extra, length) = (rng.random_range(50..1_500) * MS, rng.random_range(500..6_000) * MS);
                self.sh.trace.note(self.sh.now, || format!("network slow by {extra} us"));
                self.sh.net.spike_us = extra;
                self.sh.push(self.sh.now + length, Event::Undo(Undo::Calm));
            }
            Fault::Force => {
                let rng = self.sh.rng.fault(fault);
                let node = rng.random_range(0..self.nodes.len());
                let group = rng.random_range(0..self.swarm.groups.len());
                self.administer(node, group, AdminRequest::Failover(FailoverOrder::default()));
            }
            Fault::Replay => {
                let rng = self.sh.rng.fault(fault);
                let server = rng.random_range(0..self.servers.len());
                let hello = self.sh.old_hellos.choose(self.sh.rng.fault(fault)).cloned();
                if let Some(hello) = hello {
                    self.sh.trace.note(self.sh.now, || format!("{} hears again {hello}", self.servers[server].ip));
                    self.servers[server].deliver_hello(&mut self.sh, &hello);
                }
            }
            Fault::WallJump => {
                let rng = self.sh.rng.fault(fault);
                let node = rng.random_range(0..self.nodes.len());
                self.nodes[node].wall_offset = rng.random_range(0..7_200_000);
            }
            Fault::Hostile => self.strike_hostile(),
            Fault::Operate => self.strike_operator(),
            Fault::Busy => self.strike_busy(),
            Fault::Dns => self.strike_dns(),
            Fault::Plan => self.strike_plan(),
            Fault::Reuse => self.strike_reuse(),
            Fault::NodeLate => {
                let rng = self.sh.rng.fault(fault);
                let node = rng.random_range(0..self.nodes.len());
                let (turn, length) = (rng.random_range(20..1_500) * MS, rng.random_range(500..12_000) * MS);
                self.overload_node(node, turn, length);
            }
        }
    }

    /// Of a Sentinel that knows what it means, whatever the state of its master.
    fn strike_plan(&mut self) {
        let (ours, groups) = (self.nodes.len() - self.swarm.stock, self.swarm.groups.len());
        if ours == 0 {
            return;
        }
        let rng = self.sh.rng.fault(Fault::Plan);
        let (node, group) = (rng.random_range(0..ours), rng.random_range(0..groups));
        let (names_one, choice) = (rng.random_bool(0.3), rng.random_range(0..8));
        let timeout = rng.random_bool(0.3).then(|| rng.random_range(1..2_000));
        let members: Vec<&Server> = self.servers.iter().filter(|server| server.group == group).collect();
        let named = names_one.then(|| members[choice % members.len()]);
        let to = named.map(|server| Addr::new(&server.ip, server.port));
        let order = FailoverOrder { mode: Some(FailoverMode::Coordinated), to, timeout };
        self.administer(node, group, AdminRequest::Failover(order));
    }

    fn strike_node_crash(&mut self) {
        let rng = self.sh.rng.fault(Fault::NodeCrash);
        let node = rng.random_range(0..self.nodes.len());
        if rng.random_bool(0.4) {
            self.nodes[node].dies_on_commit = true;
        } else {
            self.crash_soon_back(node);
        }
    }

    /// Kills a Sentinel; often for a moment only, so that it is asked again in the epoch in which it may have voted.
    pub fn crash_soon_back(&mut self, node: Host) {
        let rng = self.sh.rng.fault(Fault::NodeCrash);
        let power = rng.random_bool(0.3);
        let length = if rng.random_bool(0.5) { rng.random_range(1..300) } else { rng.random_range(300..15_000) } * MS;
        self.crash_node(node, power, length);
    }

    /// Kills a Sentinel and starts it again after a while.
    pub fn crash_node(&mut self, node: Host, power: bool, length: u64) {
        if !self.nodes[node].is_running() {
            return;
        }
        self.sh.trace.note(self.sh.now, || format!("n{node} {}", if power { "loses power" } else { "crashes" }));
        self.nodes[node].crash(&mut self.sh, power);
        if power {
            self.cut_off(node);
        }
        self.sh.push(self.sh.now + length, Event::Undo(Undo::StartNode { node, power }));
    }

    /// Stops a Sentinel's process for a while.
    pub fn pause_node(&mut self, node: Host, length: u64) {
        if self.nodes[node].is_running() && self.nodes[node].backlog.is_none() {
            self.sh.trace.note(self.sh.now, || format!("n{node} stops for {} ms", length / MS));
            self.nodes[node].pause();
            self.sh.push(self.sh.now + length, Event::Undo(Undo::ResumeNode(node)));
        }
    }

    /// Has each monitor of a Sentinel wait up to `turn` for its turn, for a while.
    pub fn overload_node(&mut self, node: Host, turn: u64, length: u64) {
        if self.nodes[node].turn_us == 0 {
            self.sh.trace.note(self.sh.now, || format!("n{node} is late by up to {} ms", turn / MS));
            self.nodes[node].turn_us = turn;
            self.sh.push(self.sh.now + length, Event::Undo(Undo::Relieve(node)));
        }
    }

    /// A client publishes to a Sentinel: its own hello (R8), an epoch out of all reason (R6), a newer configuration at a
    /// host that nobody can resolve (R7), and text that is no hello.
    fn strike_hostile(&mut self) {
        let rng = self.sh.rng.fault(Fault::Hostile);
        let (node, speaker) = (rng.random_range(0..self.nodes.len()), rng.random_range(0..self.nodes.len()));
        let (group, kind) = (rng.random_range(0..self.swarm.groups.len()), rng.random_range(0..5));
        let Some(view) = self.nodes[node].view(group) else { return };
        let (id, host) = (&self.sh.checkers.facts.ids[speaker], node_ip(speaker));
        let (name, at, port) = (&view.instance.name, &view.current_host, view.current_port);
        let epoch = view.config_epoch.0;
        let (newer, absurd) = (epoch + 1, u64::MAX);
        let own = &self.sh.checkers.facts.ids[node];
        let payload = match kind {
            0 => format!("{},26379,{own},{epoch},{name},{at},{port},{epoch}", node_ip(node)),
            1 => format!("{host},26379,{id},{absurd},{name},{at},{port},{epoch}"),
            2 if speaker != node => format!("{host},26379,{id},{newer},{name},no.such.host,{port},{newer}"),
            3 => format!("{host},99999,{id},{newer},{name},{at},{port},{newer}"),
            _ => format!("{host},26379,{id},{newer},{name},{at},{port},{newer},more"),
        };
        self.sh.trace.note(self.sh.now, || format!("n{node} is told {payload}"));
        self.nodes[node].happen(&mut self.sh, Happening::Published(payload));
    }

    /// Only replicas: the replicas of a master connect to whatever is at its address, whoever watches them. So does who is
    /// told to replicate from there, however long ago that was sent: nobody can take it back. And only when all Sentinels
    /// agree, so that no promotion is on its way.
    fn strike_reuse(&mut self) {
        let count = self.servers.len();
        let rng = self.sh.rng.fault(Fault::Reuse);
        let (server, length) = (rng.random_range(0..count), rng.random_range(1_000..30_000) * MS);
        let newer = u64::from(rng.random_bool(0.5));
        let group = self.servers[server].group;
        let is_master = |view: &MasterView| self.servers[server].is_at(&view.current_host, view.current_port);
        let views = self.nodes.iter().filter_map(|node| node.view(group));
        let is_replica = views.clone().all(|view| view.failover_state.is_none() && !is_master(view));
        let epoch = views.map(|view| view.config_epoch.0).max().unwrap_or(0);
        let named = &self.servers[server];
        let chained = self.servers.iter().any(|other| other.may_follow(named))
            || self.sh.under_way().any(|command| command_names(command, named));
        // A Sentinel that comes back with an old configuration takes whoever is there for its own.
        let on_disk = self.nodes.iter().flat_map(|node| node.disk.synced.masters());
        let was_master = on_disk.map(|(_, record)| &record.addr).any(|addr| named.is_at(&addr.host, addr.port));
        let is_ours = self.servers[server].stranger.is_none();
        if is_ours && is_replica && !was_master && !chained && self.nodes.iter().all(crate::node::Node::is_running) {
            self.reuse_address(server, epoch * newer + newer, length);
        }
    }

    /// A server dies, and somebody else's, whose Sentinel has a configuration of this epoch, has its address for a while.
    pub fn reuse_address(&mut self, server: usize, epoch: u64, length: u64) {
        let ip = self.servers[server].ip.clone();
        self.sh.trace.note(self.sh.now, || format!("{ip} is somebody else's for {} ms", length / MS));
        self.servers[server].kill();
        self.sh.process_gone(self.servers[server].host, false);
        self.sh.strangers.insert(ip);
        self.servers[server].replace(&mut self.sh, epoch);
        self.sh.push(self.sh.now + length, Event::Undo(Undo::Return(server)));
    }

    fn end_reuse(&mut self, server: usize) {
        let ip = self.servers[server].ip.clone();
        self.sh.strangers.remove(&ip);
        self.sh.trace.note(self.sh.now, || format!("{ip} is ours again"));
        self.servers[server].kill();
        self.sh.process_gone(self.servers[server].host, false);
        self.servers[server].leave();
        self.servers[server].start(&mut self.sh);
    }

    fn strike_busy(&mut self) {
        let server = self.pick_server(Fault::Busy);
        let rng = self.sh.rng.fault(Fault::Busy);
        let script = if rng.random_bool(0.3) { Script::Written } else { Script::ReadOnly };
        let length = rng.random_range(500..12_000) * MS;
        let ip = self.servers[server].ip.clone();
        self.sh.trace.note(self.sh.now, || format!("{ip} runs a script, {script:?}, for {} ms", length / MS));
        self.servers[server].run_script(script);
        self.sh.push(self.sh.now + length, Event::Undo(Undo::EndScript(server)));
    }

    /// Stale addresses only come where names are announced: a Sentinel that announces an address has it from the resolver,
    /// and the group believes it.
    fn strike_dns(&mut self) {
        let announced = self.swarm.names == Names::Announced;
        let rng = self.sh.rng.fault(Fault::Dns);
        let length = rng.random_range(500..15_000) * MS;
        self.sh.dns = match rng.random_range(0..3) {
            0 => Dns::Fails,
            1 if announced => Dns::Stale,
            _ => Dns::Hangs(self.sh.now + length),
        };
        let dns = self.sh.dns;
        self.sh.trace.note(self.sh.now, || format!("{dns:?} for {} ms", length / MS));
        self.sh.push(self.sh.now + length, Event::Undo(Undo::MendDns));
    }

    fn strike_partition(&mut self) {
        let hosts = self.sh.net.hosts();
        let rng = self.sh.rng.fault(Fault::Partition);
        let length = rng.random_range(300..20_000) * MS;
        let sides = if rng.random_bool(0.2) { 3 } else { 2 };
        let one_way = rng.random_bool(0.3);
        // One host alone, or any split.
        let side_of: Vec<usize> = if rng.random_bool(0.4) {
            let alone = rng.random_range(0..hosts);
            (0..hosts).map(|host| usize::from(host == alone)).collect()
        } else {
            (0..hosts).map(|_| rng.random_range(0..sides)).collect()
        };
        let mut ways = Vec::new();
        for from in 0..hosts {
            for to in 0..hosts {
                let blocked = if one_way { side_of[from] < side_of[to] } else { side_of[from] != side_of[to] };
                if blocked {
                    ways.push((from, to));
                }
            }
        }
        self.partition(ways, length, &side_of);
    }

    /// Blocks these ways for a while. `sides` is for the record.
    pub fn partition(&mut self, ways: Vec<(Host, Host)>, length: u64, sides: &[usize]) -> u64 {
        self.sh.trace.note(self.sh.now, || format!("partition {sides:?} for {} ms, {} ways", length / MS, ways.len()));
        let id = self.sh.now * 1_000 + self.partitions.len() as u64;
        for (from, to) in &ways {
            self.sh.block(*from, *to);
        }
        self.partitions.insert(id, ways);
        self.sh.push(self.sh.now + length, Event::Undo(Undo::Heal(id)));
        id
    }

    fn strike_breakage(&mut self) {
        let live: Vec<usize> = self.sh.net.live.iter().copied().collect();
        let rng = self.sh.rng.fault(Fault::Breakage);
        let (Some(conn), kind) = (live.choose(rng).copied(), rng.random_range(0..3)) else { return };
        let what = ["breaks", "is forgotten by the accepting side", "goes silent"][kind];
        let (client, server) = (self.sh.net.conns[conn].client, self.sh.net.conns[conn].server);
        self.sh.trace.note(self.sh.now, || format!("connection of n{client} to host {server} {what}"));
        match kind {
            0 => self.sh.break_both(conn),
            1 => {
                self.sh.net.conns[conn].server_gone = true;
                self.sh.push(self.sh.now, Event::Forget(conn));
            }
            _ => self.sh.net.conns[conn].swallowed = true,
        }
    }

    fn strike_disk(&mut self) {
        let rng = self.sh.rng.fault(Fault::Disk);
        let node = rng.random_range(0..self.nodes.len());
        let length = rng.random_range(200..15_000) * MS;
        let health = match rng.random_range(0..4) {
            0 => Health::Full,
            1 => Health::FailsToSync,
            _ => Health::Slow(rng.random_range(20..3_000) * MS),
        };
        self.break_disk(node, health, length);
    }

    /// Makes a disk behave differently for a while.
    pub fn break_disk(&mut self, node: Host, health: Health, length: u64) {
        self.sh.trace.note(self.sh.now, || format!("disk of n{node} is {health:?} for {} ms", length / MS));
        self.nodes[node].disk.health = health;
        self.sh.push(self.sh.now + length, Event::Undo(Undo::Mend(node)));
    }

    fn strike_server_kill(&mut self) {
        let server = self.pick_server(Fault::ServerKill);
        let rng = self.sh.rng.fault(Fault::ServerKill);
        let power = rng.random_bool(0.3);
        let length = rng.random_range(100..25_000) * MS;
        self.kill_server(server, power, length);
    }

    /// Masters are struck more often than replicas.
    fn pick_server(&mut self, fault: Fault) -> usize {
        let group = self.sh.rng.fault(fault).random_range(0..self.swarm.groups.len());
        let master = self.named_master(group);
        let count = self.servers.len();
        let rng: &mut StdRng = self.sh.rng.fault(fault);
        let any = rng.random_range(0..count);
        if rng.random_bool(0.7) { master.unwrap_or(any) } else { any }
    }

    /// Kills a server and starts it again after a while.
    pub fn kill_server(&mut self, server: usize, power: bool, length: u64) {
        if self.servers[server].process == Process::Dead {
            return;
        }
        let ip = self.servers[server].ip.clone();
        self.sh.trace.note(self.sh.now, || {
            format!("{ip} {} for {} ms", if power { "loses power" } else { "is killed" }, length / MS)
        });
        self.servers[server].kill();
        let host = self.servers[server].host;
        self.sh.process_gone(host, power);
        if power {
            self.cut_off(host);
        }
        self.sh.push(self.sh.now + length, Event::Undo(Undo::StartServer { server, power }));
    }

    /// Stops a server's process for a while.
    pub fn hang_server(&mut self, server: usize, length: u64) {
        if self.servers[server].process == Process::Running {
            let ip = self.servers[server].ip.clone();
            self.sh.trace.note(self.sh.now, || format!("{ip} stops for {} ms", length / MS));
            self.servers[server].process = Process::Hung;
            self.sh.push(self.sh.now + length, Event::Undo(Undo::ResumeServer(server)));
        }
    }

    fn cut_off(&mut self, host: Host) {
        for other in (0..self.sh.net.hosts()).filter(|other| *other != host) {
            self.sh.block(host, other);
            self.sh.block(other, host);
        }
    }

    fn plug_in(&mut self, host: Host) {
        for other in (0..self.sh.net.hosts()).filter(|other| *other != host) {
            self.sh.unblock(host, other);
            self.sh.unblock(other, host);
        }
    }

    /// A fault ends.
    pub fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::StartNode { node, power } => {
                if power {
                    self.plug_in(node);
                }
                if !self.nodes[node].is_running() {
                    self.sh.trace.note(self.sh.now, || format!("n{node} starts"));
                    self.nodes[node].start(&mut self.sh);
                }
            }
            Undo::ResumeNode(node) => {
                self.sh.trace.note(self.sh.now, || format!("n{node} goes on"));
                self.nodes[node].resume(&mut self.sh);
            }
            Undo::Relieve(node) => {
                self.sh.trace.note(self.sh.now, || format!("n{node} keeps up again"));
                self.nodes[node].turn_us = 0;
            }
            Undo::Heal(id) => {
                for (from, to) in self.partitions.remove(&id).unwrap_or_default() {
                    self.sh.unblock(from, to);
                }
                self.sh.trace.note(self.sh.now, || "partition heals".to_owned());
            }
            Undo::Mend(node) => self.nodes[node].disk.health = Health::Good,
            Undo::StartServer { server, power } => {
                if power {
                    self.plug_in(self.servers[server].host);
                }
                if self.servers[server].process == Process::Dead {
                    self.servers[server].start(&mut self.sh);
                    self.sh.trace.note(self.sh.now, || format!("{} starts", self.servers[server].ip));
                }
            }
            Undo::ResumeServer(server) => self.servers[server].resume(&mut self.sh),
            Undo::Calm => self.sh.net.spike_us = 0,
            Undo::Monitor { node, group } => self.monitor_again(node, group),
            Undo::EndScript(server) => self.servers[server].end_script(),
            Undo::MendDns => self.sh.dns = Dns::Good,
            Undo::Return(server) => self.end_reuse(server),
        }
    }
}
