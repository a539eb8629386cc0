//! One Sentinel: the same composition of registers, monitors, peers and store as the daemon's supervisor makes,
//! driven by the event heap instead of tasks.

mod admin;
pub mod clock;
mod execute;
mod mail;
mod save;
mod serve;
mod step;
mod timer;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;
use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::epoch::EpochRegister;
use sentineld::sentinel::groups::GroupRegister;
use sentineld::sentinel::id::{Epoch, LinkId, MasterName, ReplyToken, RunId};
use sentineld::sentinel::io::{AdminRequest, Input, LinkError, Outbox, Reply, Tag};
use sentineld::sentinel::lateness::LatenessRegister;
use sentineld::sentinel::monitor::Monitor;
use sentineld::sentinel::monitor::hello::Hello;
use sentineld::sentinel::monitor::record::{MasterRecord, MasterSpec};
use sentineld::sentinel::monitor::view::MasterView;
use sentineld::sentinel::node::PeerRegistry;
use sentineld::sentinel::peer::{Peer, PeerInput};
use sentineld::sentinel::tilt::TiltRegister;
use sentineld::sentinel::time::Now;
use sentineld::sentinel::{Env, NodeSettings};

use self::admin::Saves;
use self::clock::Drifting;
use self::mail::{Job, Mail};
use self::timer::Timer;
use crate::canary::Canary;
use crate::checker::Observation;
use crate::disk::{Disk, Image, Store};
use crate::net::{Ask, ConnId, Host, Tell, Who};
use crate::stock::{Stock, Surroundings};
use crate::world::Shared;

/// What happens to a process. Held back while it is paused.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A timer fires.
    Wake(Who),
    /// One of its connections.
    Told(ConnId, Tell),
    /// A connection that it accepted.
    Asked(ConnId, Ask),
    /// A commit ended.
    Saved(bool),
    /// Time to try a failed commit again.
    RetrySave,
    /// An operator's command for one master.
    Administer(usize, AdminRequest),
    /// An operator's REMOVE.
    Remove(usize),
    /// An operator's MONITOR.
    Monitor(Box<NewMaster>),
    /// A host name was looked up for a master.
    Resolved {
        /// Number of the master.
        master: usize,
        /// The name.
        host: Arc<str>,
        /// Its address.
        ip: Option<IpAddr>,
    },
    /// A client's PUBLISH of a hello.
    Published(String),
    /// The one timer of a stock process fires.
    StockTick,
    /// The next of the monitors that wait has its turn.
    Turn,
}

/// A master that an operator wants monitored.
#[derive(Clone, Debug)]
pub struct NewMaster {
    /// Its number.
    pub number: usize,
    /// Its settings.
    pub spec: MasterSpec,
    /// Address or name of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A machine with a disk, on which a process may run.
#[derive(Debug)]
pub struct Node {
    /// Its host, which is also its number.
    pub host: Host,
    /// Settings of the process.
    pub settings: NodeSettings,
    /// The file.
    pub disk: Disk,
    /// Grows with every start, so that events for an earlier process find nobody.
    pub incarnation: u32,
    /// Held until the process goes on, if it is paused.
    pub backlog: Option<Vec<Happening>>,
    /// It dies around its next commit: before, in the middle, or between the commit and its acknowledgement.
    pub dies_on_commit: bool,
    /// How long a monitor waits at most until it has its turn, if the process has too much to do.
    pub turn_us: u64,
    /// Difference of its wall clock, ms.
    pub wall_offset: u64,
    kind: Kind,
    clock: Drifting,
    /// Names of all masters that operators ever want monitored, by number.
    names: Vec<MasterName>,
    process: Option<Process>,
    stock: Option<Stock>,
    canary: Canary,
}

/// Which program runs on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The core.
    Ours,
    /// The model of redis-sentinel.
    Stock,
}

#[derive(Debug)]
struct Process {
    origin: u64,
    clock: Drifting,
    epoch: EpochRegister,
    tilt: TiltRegister,
    lateness: LatenessRegister,
    groups: GroupRegister,
    names: Vec<MasterName>,
    /// By number of the master; `None` is not monitored.
    monitors: Vec<Option<MonitorSlot>>,
    /// Masters that are monitored as soon as they are saved.
    starting: BTreeMap<usize, MasterRecord>,
    saves: Vec<Saves>,
    peers: Vec<PeerSlot>,
    registry: PeerRegistry,
    links: BTreeMap<(Who, LinkId), ConnId>,
    store: Store,
    tokens: BTreeMap<ReplyToken, Waiting>,
    last_token: u64,
    mail: Mail,
    /// Monitors that wait for their turn, longest first.
    waiting: VecDeque<usize>,
    /// Empty: to be filled by the next step.
    outbox: Outbox,
}

#[derive(Debug)]
struct MonitorSlot {
    monitor: Monitor,
    view: MasterView,
    /// Host of the master that the view before it told, until `+switch-master` comes: a view is put out before the commands
    /// of its turn, some of which may be older than the switch.
    told_before: Option<Arc<str>>,
    timer: Timer,
    /// Its last hello, and what that says: it is the same nearly always.
    said: Option<(String, Hello)>,
    /// Epoch of the last vote request that this monitor sent: for canaries.
    asked_in: Epoch,
}

#[derive(Debug)]
struct PeerSlot {
    id: RunId,
    host: Host,
    peer: Option<Peer>,
    timer: Timer,
}

#[derive(Debug)]
enum Waiting {
    Voter { conn: ConnId, slot: u64, master: usize, candidate: RunId },
    Operator,
}

/// Where the address is, if it is one of ours.
pub fn host_of(addr: &Addr, sentinels: usize) -> Option<Host> {
    let IpAddr::V4(ip) = addr.ip? else { return None };
    match ip.octets() {
        [10, 0, 0, last] => Some(usize::from(last) - 1),
        [10, 0, 1, last] => Some(sentinels + usize::from(last) - 1),
        // Somebody else's Sentinel, which nobody can reach.
        [10, 0, 9, _] => Some(sentinels + 249),
        _ => None,
    }
}

/// Address of the Sentinel with this number.
pub fn node_ip(number: usize) -> String {
    node_address(number).to_string()
}

fn node_address(number: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number as u8 + 1).into()
}

const HEAD_START_MS: u64 = 1_000_000_000;

impl Node {
    /// A machine whose file holds `image`; nothing runs yet.
    pub fn new(
        host: Host,
        kind: Kind,
        settings: NodeSettings,
        (image, clock): (Image, Drifting),
        canary: Canary,
    ) -> Node {
        Node {
            host,
            clock,
            names: image.records.keys().cloned().collect(),
            settings,
            disk: Disk::new(image),
            incarnation: 0,
            backlog: None,
            dies_on_commit: false,
            turn_us: 0,
            wall_offset: 0,
            kind,
            process: None,
            stock: None,
            canary,
        }
    }

    /// Whether a process runs, paused or not.
    pub fn is_running(&self) -> bool {
        self.process.is_some() || self.stock.is_some()
    }

    /// Whether a process runs and is not paused.
    pub fn is_awake(&self) -> bool {
        self.is_running() && self.backlog.is_none()
    }

    /// What readers see of the master with this number, if a process runs that monitors it.
    pub fn view(&self, master: usize) -> Option<&MasterView> {
        match &self.process {
            Some(process) => process.monitors[master].as_ref().map(|slot| &slot.view),
            None => self.stock.as_ref()?.views().nth(master),
        }
    }

    /// Whether the process is in TILT.
    pub fn in_tilt(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.tilt.is_on())
            || self.stock.as_ref().is_some_and(Stock::in_tilt)
    }

    /// Whether this is stock, and deaf on one of its links for ever (failover.md R21).
    pub fn is_deaf(&self) -> bool {
        self.stock.as_ref().is_some_and(Stock::is_deaf)
    }

    /// Starts a process from the file.
    pub fn start(&mut self, sh: &mut Shared) {
        self.incarnation += 1;
        let saved = self.disk.synced.clone();
        let (image, conf) = match Image::load(&saved.text, &self.settings.myid) {
            Ok(loaded) => loaded,
            Err(error) => {
                sh.fail("file: what was saved can be loaded", format!("n{}: {error}", self.host));
                return;
            }
        };
        if image.sorted() != saved.sorted() {
            let (loaded, saved) = (&image.records, &saved.records);
            sh.fail("file: what is loaded is what was saved", format!("n{}: {loaded:?} of {saved:?}", self.host));
        }
        sh.see(&Observation::Started { node: self.host, image: &image });
        if self.kind == Kind::Stock {
            let (settings, canary) = (&self.settings, self.canary);
            let mut around = Surroundings {
                sh,
                disk: &mut self.disk,
                dies_on_commit: &mut self.dies_on_commit,
                incarnation: self.incarnation,
                wall_offset: self.wall_offset,
            };
            self.stock = Some(Stock::new(self.host, settings, (&image, conf), canary, &mut around));
            return;
        }
        let process = Process {
            clock: self.clock,
            origin: HEAD_START_MS - sh.rng.fixed(self.host as u64) % 100_000,
            epoch: EpochRegister::new(
                self.canary.loaded_epoch(image.epoch),
                image.masters().map(|(_, record)| record.leader_epoch),
            ),
            tilt: TiltRegister::default(),
            lateness: LatenessRegister::default(),
            groups: GroupRegister::default(),
            names: self.names.clone(),
            monitors: self.names.iter().map(|_| None).collect(),
            starting: BTreeMap::new(),
            saves: vec![Saves::default(); self.names.len()],
            peers: Vec::new(),
            registry: PeerRegistry::default(),
            links: BTreeMap::new(),
            store: Store::new(conf),
            tokens: BTreeMap::new(),
            last_token: 0,
            mail: Mail::default(),
            waiting: VecDeque::new(),
            outbox: Outbox::default(),
        };
        let records = image.records.values();
        let records: Vec<_> =
            records.filter_map(|record| Some((process.number_of(&record.spec.name)?, record))).collect();
        self.process = Some(process);
        for (number, record) in records {
            self.begin(sh, number, self.canary.loaded(record.clone()));
        }
        self.work(sh);
    }

    /// Starts a monitor.
    fn begin(&mut self, sh: &mut Shared, master: usize, record: MasterRecord) {
        let wall = self.wall_offset;
        let process = self.process.as_mut().expect("checked by every entry point");
        // Of this start of this host alone: equal ones would have two hosts act in step.
        let seed = sh.rng.fixed((self.host as u64) << 40 | u64::from(self.incarnation) << 8 | master as u64);
        let env = process.env(sh, wall, &self.settings);
        let monitor = Monitor::new(record, seed, &env);
        let view = monitor.view(&env);
        sh.see(&Observation::Published { node: self.host, master, view: &view, epoch: process.epoch.current() });
        process.monitors[master] = Some(MonitorSlot {
            monitor,
            view,
            told_before: None,
            timer: Timer::default(),
            said: None,
            asked_in: Epoch(0),
        });
        process.mail.push(Job::Monitor(master, Input::Tick));
    }

    /// The process dies. With `silent` its machine lost power, and nobody is told.
    pub fn crash(&mut self, sh: &mut Shared, silent: bool) {
        self.process = None;
        self.stock = None;
        self.backlog = None;
        self.incarnation += 1;
        self.disk.crash(&mut sh.rng.crash);
        sh.process_gone(self.host, silent);
    }

    /// Stops the process: the kernel goes on.
    pub fn pause(&mut self) {
        if self.is_running() && self.backlog.is_none() {
            self.backlog = Some(Vec::new());
        }
    }

    /// The process goes on: everything that waited happens now, timers before, between or behind messages.
    pub fn resume(&mut self, sh: &mut Shared) {
        let Some(mut backlog) = self.backlog.take() else { return };
        let is_timer =
            |happening: &Happening| matches!(happening, Happening::Wake(_) | Happening::StockTick | Happening::Turn);
        match sh.rng.pause.random_range(0..3) {
            0 => backlog.sort_by_key(|happening| !is_timer(happening)),
            1 => backlog.sort_by_key(is_timer),
            _ => {
                let (mut timers, rest): (Vec<_>, Vec<_>) = backlog.into_iter().partition(is_timer);
                timers.shuffle(&mut sh.rng.pause);
                backlog = rest;
                for timer in timers {
                    let place = sh.rng.pause.random_range(0..=backlog.len());
                    backlog.insert(place, timer);
                }
            }
        }
        for happening in backlog {
            self.happen(sh, happening);
        }
    }

    /// Something happens to the process.
    pub fn happen(&mut self, sh: &mut Shared, happening: Happening) {
        self.take(sh, happening);
        self.work(sh);
    }

    /// Something happens to the process, together with more: [`Node::work`] comes behind all of it.
    pub fn take(&mut self, sh: &mut Shared, happening: Happening) {
        if let Some(backlog) = &mut self.backlog {
            backlog.push(happening);
            return;
        }
        if let Some(stock) = &mut self.stock {
            let mut around = Surroundings {
                sh,
                disk: &mut self.disk,
                dies_on_commit: &mut self.dies_on_commit,
                incarnation: self.incarnation,
                wall_offset: self.wall_offset,
            };
            around.sh.stats.inputs += 1;
            match happening {
                Happening::StockTick => stock.tick(&mut around),
                Happening::Told(conn, tell) => stock.told(&mut around, conn, tell),
                Happening::Asked(conn, ask) => stock.asked(&mut around, conn, ask),
                Happening::Administer(master, AdminRequest::Failover(_)) => stock.force(&mut around, master),
                Happening::Published(payload) => stock.published(&mut around, &payload),
                // Nobody removes a master from stock or looks a name up for it, and its other inputs come as ticks.
                _ => {}
            }
            return;
        }
        if self.process.is_none() {
            return;
        }
        match happening {
            Happening::StockTick => {}
            Happening::Turn => self.take_turn(sh),
            Happening::Published(payload) => self.published(&payload),
            Happening::Wake(who) => self.wake(sh, who),
            Happening::Told(conn, tell) => self.told(sh, conn, tell),
            Happening::Asked(conn, ask) => self.asked(sh, conn, ask),
            Happening::Saved(saved) => self.saved(sh, saved),
            Happening::RetrySave => self.commit(sh),
            Happening::Administer(master, request) => self.administer(master, request),
            Happening::Remove(master) => self.remove(sh, master),
            Happening::Monitor(new) => self.monitor(sh, *new),
            Happening::Resolved { master, host, ip } => {
                self.process().mail.push(Job::Monitor(master, Input::Resolved { host, ip }));
            }
        }
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("checked by every entry point")
    }

    fn told(&mut self, sh: &mut Shared, conn: ConnId, tell: Tell) {
        let (who, link) = (sh.net.conns[conn].who, sh.net.conns[conn].link);
        if sh.net.conns[conn].client_gone {
            return;
        }
        if let Tell::SynAck = tell {
            sh.client_open(conn);
        }
        if let Tell::Reset(_) = tell {
            sh.net.conns[conn].client_gone = true;
            sh.net.live.remove(&conn);
            self.process().links.remove(&(who, link));
        }
        if let (Who::Monitor(master), Tell::Reply(Tag::Info, Reply::Bulk(text))) = (who, &tell) {
            let from = sh.net.conns[conn].server;
            sh.see_role(self.host, master, Some(from), text);
        }
        let local = node_address(self.host);
        let job = match (who, tell) {
            (Who::Monitor(master), tell) => Job::Monitor(
                master,
                match tell {
                    Tell::SynAck => Input::LinkUp { link, local },
                    Tell::Reply(tag, value) => Input::Reply { link, tag, value },
                    Tell::Push(payload) => {
                        Input::PubSub { link, payload: self.canary.hello(payload, link, &self.settings.myid) }
                    }
                    Tell::Reset(why) => Input::LinkDown(link, LinkError(why.to_owned())),
                },
            ),
            (Who::Peer(peer), tell) => Job::Peer(
                peer,
                match tell {
                    Tell::SynAck => PeerInput::LinkUp { link, local },
                    Tell::Reply(tag, value) => PeerInput::Reply { link, tag, value },
                    Tell::Push(_) => return,
                    Tell::Reset(why) => PeerInput::LinkDown(link, LinkError(why.to_owned())),
                },
            ),
        };
        self.process().mail.push(job);
    }
}

impl Process {
    fn now(&self, sh: &Shared, wall_offset: u64) -> Now {
        self.clock.now(sh.now, self.origin, wall_offset)
    }

    fn env<'a>(&'a self, sh: &Shared, wall: u64, node: &'a NodeSettings) -> Env<'a> {
        Env {
            now: self.now(sh, wall),
            epoch: &self.epoch,
            tilt: &self.tilt,
            lateness: &self.lateness,
            groups: &self.groups,
            node,
        }
    }

    fn peer(&self, id: &RunId) -> Option<usize> {
        self.peers.iter().position(|slot| slot.id == *id && slot.peer.is_some())
    }
}
