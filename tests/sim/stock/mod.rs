//! A model of the real redis-sentinel as a peer: one process with a timer of 52-100 ms, one transition of its state
//! machine a tick, votes answered at once and saved before, told from failover.md 2 to 9.
//!
//! It is here to be voted for, to vote, and to switch beside ours. Its known weaknesses are modelled too, and each is
//! reported when it strikes ([`Weakness`]), so that checkers can except exactly that election and nothing else. Not
//! modelled: scripts, host names, passwords, hung disks (a save is over at once, or fails).

mod failover;
mod hello;
mod info;
mod links;
mod view;
mod vote;

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sentineld::conf::image::ConfImage;
use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::event::{Event, EventKind};
use sentineld::sentinel::id::{Epoch, RunId};
use sentineld::sentinel::monitor::record::{IdentityRecord, MasterRecord, MasterSpec};
use sentineld::sentinel::monitor::view::MasterView;
use sentineld::sentinel::time::Periods;

use crate::canary::Canary;
use crate::checker::{Observation, Weakness};
use crate::disk::{Disk, Image};
use crate::net::{ConnId, Host};
use crate::world::{self, Shared};
use view::{instance, server_view};

/// So that 0 can mean never, as in stock.
const HEAD_START_MS: u64 = 1_000_000;

/// What a stock process works with besides its own memory.
pub struct Surroundings<'a> {
    /// Network, chance, checkers.
    pub sh: &'a mut Shared,
    /// Its file.
    pub disk: &'a mut Disk,
    /// It dies around its next save.
    pub dies_on_commit: &'a mut bool,
    /// Which process of its machine this is.
    pub incarnation: u32,
    /// Difference of its wall clock, ms.
    pub wall_offset: u64,
}

impl Surroundings<'_> {
    /// Milliseconds; never 0.
    fn now(&self) -> u64 {
        HEAD_START_MS + self.sh.now / 1_000
    }
}

/// A process.
#[derive(Debug)]
pub struct Stock {
    host: Host,
    id: RunId,
    canary: Canary,
    periods: Periods,
    epoch: Epoch,
    conf: ConfImage,
    masters: Vec<Master>,
    conns: BTreeMap<ConnId, Owner>,
    last_link: u64,
    tilt_since: Option<u64>,
    last_tick_wall: u64,
    rng: StdRng,
    /// Struck dead in the middle of something: says nothing any more.
    dead: bool,
    /// The last save failed.
    unsaved: bool,
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug)]
struct Owner {
    master: usize,
    target: Target,
    pubsub: bool,
}

/// An instance of one master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// 0 is the master itself.
    Server(usize),
    Peer(usize),
}

#[derive(Debug)]
struct Master {
    spec: MasterSpec,
    config_epoch: Epoch,
    leader: Option<RunId>,
    leader_epoch: Epoch,
    failover_epoch: Epoch,
    state: State,
    state_changed: u64,
    /// `failover_start_time`; 0 is never.
    started: u64,
    forced: bool,
    odown_since: u64,
    promoted: Option<usize>,
    servers: Vec<Server>,
    peers: Vec<PeerSeen>,
    view: MasterView,
    dirty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    None,
    WaitStart,
    SelectReplica,
    SendReplicaofNoOne,
    WaitPromotion,
    ReconfReplicas,
    UpdateConfig,
}

/// `sentinelRedisInstance` of a master or replica, as far as it matters. Times are ms, 0 is never.
#[derive(Debug)]
struct Server {
    addr: Addr,
    link: Link,
    sdown_since: Option<u64>,
    last_sdown: u64,
    info_at: u64,
    run_id: String,
    is_master: bool,
    role_at: u64,
    conf_changed: u64,
    link_down: i64,
    link_up: bool,
    priority: i64,
    offset: u64,
    master: Option<(String, u16)>,
    reconf: Reconf,
    reconf_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reconf {
    None,
    Sent,
    InProgress,
    Done,
}

/// A peer as one master sees it. Links are not shared here: nobody outside can tell.
#[derive(Debug)]
struct PeerSeen {
    id: RunId,
    addr: Addr,
    link: Link,
    sdown_since: Option<u64>,
    down: bool,
    answered: u64,
    leader: Option<RunId>,
    leader_epoch: Epoch,
}

/// `instanceLink`.
#[derive(Debug, Default)]
struct Link {
    cc: Option<ConnId>,
    pc: Option<ConnId>,
    tried: u64,
    cc_at: u64,
    pc_at: u64,
    heard: u64,
    act_ping: u64,
    last_ping: u64,
    last_avail: u64,
    last_pong: u64,
    pending: u32,
    last_pub: u64,
}

impl Link {
    fn new(now: u64) -> Link {
        Link { act_ping: now, last_avail: now, last_pong: now, last_pub: now, ..Link::default() }
    }
}

impl Server {
    fn new(addr: Addr, is_master: bool, now: u64) -> Server {
        Server {
            addr,
            link: Link::new(now),
            sdown_since: None,
            last_sdown: 0,
            info_at: 0,
            run_id: String::new(),
            is_master,
            role_at: now,
            conf_changed: now,
            link_down: 0,
            link_up: false,
            priority: 100,
            offset: 0,
            master: None,
            reconf: Reconf::None,
            reconf_at: 0,
        }
    }

    fn key(&self) -> String {
        format!("{}:{}", self.addr.host, self.addr.port)
    }
}

impl PeerSeen {
    fn new(id: RunId, addr: Addr, now: u64) -> PeerSeen {
        PeerSeen {
            id,
            addr,
            link: Link::new(now),
            sdown_since: None,
            down: false,
            answered: now,
            leader: None,
            leader_epoch: Epoch(0),
        }
    }
}

impl Stock {
    /// A process that has read `image`.
    pub fn new(
        host: Host,
        settings: &sentineld::sentinel::NodeSettings,
        (image, conf): (&Image, ConfImage),
        canary: Canary,
        around: &mut Surroundings<'_>,
    ) -> Stock {
        let now = around.now();
        let masters = image.records.values().map(|record| Master::new(record, now)).collect();
        let mut stock = Stock {
            host,
            id: settings.myid.clone(),
            canary,
            periods: settings.periods,
            epoch: image.epoch,
            conf,
            masters,
            conns: BTreeMap::new(),
            last_link: 0,
            tilt_since: None,
            last_tick_wall: now + around.wall_offset,
            rng: StdRng::seed_from_u64(
                around.sh.rng.fixed(50_000 + 1_000 * host as u64 + u64::from(around.incarnation)),
            ),
            dead: false,
            unsaved: false,
        };
        stock.publish(around);
        stock.schedule(around);
        stock
    }

    /// What readers see.
    pub fn views(&self) -> impl Iterator<Item = &MasterView> {
        self.masters.iter().map(|master| &master.view)
    }

    /// Whether it is in TILT.
    pub fn in_tilt(&self) -> bool {
        self.tilt_since.is_some()
    }

    /// Whether it will never send or find anything on one of its links again (failover.md R21).
    pub fn is_deaf(&self) -> bool {
        let links = self.masters.iter().flat_map(|master| {
            let servers = master.servers.iter().map(|server| &server.link);
            servers.chain(master.peers.iter().map(|peer| &peer.link))
        });
        let mut links = links.filter(|link| link.cc.is_some());
        links.any(|link| link.pending >= links::MAX_PENDING && link.act_ping == 0)
    }

    fn schedule(&mut self, around: &mut Surroundings<'_>) {
        let hz = 10 + self.rng.random_range(0..10);
        let late = around.sh.rng.tick.random_range(0..=around.sh.tick_late_us);
        let at = around.sh.now + 1_000_000 / hz + late;
        let happening = crate::node::Happening::StockTick;
        around.sh.push(at, world::Event::Node { node: self.host, incarnation: around.incarnation, happening });
    }

    /// The timer fires.
    pub fn tick(&mut self, around: &mut Surroundings<'_>) {
        let now = around.now();
        let wall = now + around.wall_offset;
        if wall < self.last_tick_wall || wall - self.last_tick_wall > self.periods.tilt_trigger {
            self.tilt_since = Some(now);
            around.sh.stats.tilts += 1;
            self.emit(around, 0, EventKind::TiltEntered, "#tilt mode entered".to_owned());
        }
        self.last_tick_wall = wall;
        for master in 0..self.masters.len() {
            for server in 0..self.masters[master].servers.len() {
                self.handle_server(around, master, server);
            }
            for peer in 0..self.masters[master].peers.len() {
                self.handle_peer(around, master, peer);
            }
            if self.masters[master].state == State::UpdateConfig {
                self.switch_to_promoted(around, master);
            }
        }
        self.publish(around);
        self.schedule(around);
    }

    /// Whether it acts: not while TILT lasts.
    fn acts(&mut self, around: &mut Surroundings<'_>) -> bool {
        let Some(since) = self.tilt_since else { return true };
        if around.now() - since < self.periods.tilt {
            return false;
        }
        self.tilt_since = None;
        self.emit(around, 0, EventKind::TiltExited, "#tilt mode exited".to_owned());
        true
    }

    fn handle_server(&mut self, around: &mut Surroundings<'_>, master: usize, server: usize) {
        let target = Target::Server(server);
        self.reconnect(around, master, target);
        self.send_periodic(around, master, target);
        if !self.acts(around) {
            return;
        }
        self.check_down(around, master, target);
        if server == 0 {
            self.check_odown(around, master);
            if self.start_if_needed(around, master) {
                self.step_failover(around, master);
                self.ask_all(around, master, true);
            } else {
                self.step_failover(around, master);
            }
            self.ask_all(around, master, false);
        }
    }

    fn handle_peer(&mut self, around: &mut Surroundings<'_>, master: usize, peer: usize) {
        let target = Target::Peer(peer);
        self.reconnect(around, master, target);
        self.send_periodic(around, master, target);
        if self.acts(around) {
            self.check_down(around, master, target);
        }
    }

    /// Replaces the file. A failure is logged by stock, and that is all (R9).
    fn save(&mut self, around: &mut Surroundings<'_>) {
        if self.dead {
            return;
        }
        for master in &self.masters {
            self.conf.set_master(master.record());
        }
        let records = self.conf.masters().map(|record| (record.spec.name.clone(), record.clone())).collect();
        let image = Image { epoch: self.epoch, records, text: self.conf.render(self.epoch) };
        let dies = std::mem::take(around.dies_on_commit);
        if dies {
            self.dead = true;
            let event = world::Event::Die { node: self.host, incarnation: around.incarnation };
            around.sh.push(around.sh.now, event);
            if self.rng.random_bool(0.5) {
                return;
            }
        }
        let saved = around.disk.replace(Arc::new(image));
        self.unsaved = !saved;
        if saved {
            around.sh.see(&Observation::Synced { node: self.host, image: &around.disk.synced });
        } else {
            around.sh.see(&Observation::SaveFailed { node: self.host });
        }
    }

    fn emit(&mut self, around: &mut Surroundings<'_>, master: usize, kind: EventKind, payload: String) {
        if self.dead {
            return;
        }
        match kind {
            EventKind::SwitchMaster => around.sh.stats.switches += 1,
            EventKind::PromotedReplica => around.sh.stats.failovers += 1,
            EventKind::ElectedLeader => around.sh.stats.elections += 1,
            _ => {}
        }
        self.masters[master].dirty = true;
        let event = Event::new(kind, payload);
        let now = around.sh.now;
        around.sh.trace.note(now, || format!("n{} (stock) m{master} {event}", self.host));
        let forced = self.masters[master].forced;
        around.sh.see(&Observation::Emitted { node: self.host, master, event: &event, forced, view: None });
    }

    /// Says that one of stock's own weaknesses has struck; with a canary of that weakness nobody is told.
    fn admit(&self, around: &mut Surroundings<'_>, weakness: Weakness, master: usize, epoch: Epoch) {
        if !self.canary.conceals(weakness) {
            around.sh.see(&Observation::Weakness { node: self.host, master, epoch, weakness });
        }
    }

    fn publish(&mut self, around: &mut Surroundings<'_>) {
        for number in 0..self.masters.len() {
            if self.dead || !std::mem::take(&mut self.masters[number].dirty) {
                continue;
            }
            let view = self.masters[number].view(around.now());
            self.masters[number].view = view;
            let (node, view) = (self.host, &self.masters[number].view);
            around.sh.see(&Observation::Published { node, master: number, view, epoch: self.epoch });
        }
    }
}

impl Master {
    fn new(record: &MasterRecord, now: u64) -> Master {
        let mut servers = vec![Server::new(record.addr.clone(), true, now)];
        servers.extend(record.replicas.iter().map(|addr| Server::new(addr.clone(), false, now)));
        let peers = record.sentinels.iter().map(|(id, addr)| PeerSeen::new(id.clone(), addr.clone(), now)).collect();
        let mut master = Master {
            spec: record.spec.clone(),
            config_epoch: record.config_epoch,
            leader: None,
            leader_epoch: record.leader_epoch,
            failover_epoch: Epoch(0),
            state: State::None,
            state_changed: 0,
            started: 0,
            forced: false,
            odown_since: 0,
            promoted: None,
            view: MasterView {
                instance: instance(&record.addr, record.spec.name.to_string(), &Link::new(now), None, ""),
                current_host: Arc::default(),
                current_port: 0,
                failover_state: None,
                odown_since: None,
                config_epoch: record.config_epoch,
                leader_epoch: record.leader_epoch,
                quorum: record.spec.quorum,
                failover_timeout: record.spec.failover_timeout,
                parallel_syncs: record.spec.parallel_syncs,
                notification_script: None,
                client_reconfig_script: None,
                server: server_view(&servers[0]),
                replicas: Vec::new(),
                sentinels: Vec::new(),
            },
            servers,
            peers,
            dirty: true,
        };
        master.view = master.view(now);
        master
    }

    /// The address that others are told (failover.md 8.9).
    fn current(&self) -> &Addr {
        let switched = self.state >= State::ReconfReplicas;
        let promoted = self.promoted.filter(|_| switched).unwrap_or(0);
        &self.servers[promoted].addr
    }

    fn record(&self) -> MasterRecord {
        let current = self.current().clone();
        let others = self.servers.iter().map(|server| &server.addr).filter(|addr| !addr.same_as(&current));
        MasterRecord {
            spec: self.spec.clone(),
            replicas: others.cloned().collect(),
            config_epoch: self.config_epoch,
            leader_epoch: self.leader_epoch,
            sentinels: self.peers.iter().map(|peer| (peer.id.clone(), peer.addr.clone())).collect(),
            identity: IdentityRecord::default(),
            addr: current,
        }
    }

    fn describe(&self) -> String {
        format!("master {} {} {}", self.spec.name, self.servers[0].addr.host, self.servers[0].addr.port)
    }

    fn describe_server(&self, server: usize) -> String {
        if server == 0 {
            return self.describe();
        }
        let (at, master) = (&self.servers[server].addr, &self.servers[0].addr);
        let key = self.servers[server].key();
        format!("slave {key} {} {} @ {} {} {}", at.host, at.port, self.spec.name, master.host, master.port)
    }

    fn describe_peer(&self, peer: usize) -> String {
        let (peer, master) = (&self.peers[peer], &self.servers[0].addr);
        let (host, port) = (&peer.addr.host, peer.addr.port);
        format!("sentinel {} {host} {port} @ {} {} {}", peer.id, self.spec.name, master.host, master.port)
    }
}
