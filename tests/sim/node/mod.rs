//! One Sentinel: the same composition of registers, monitors, peers and store as the daemon's supervisor makes,
//! driven by the event heap instead of tasks.

mod execute;
mod serve;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;
use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::epoch::EpochRegister;
use sentineld::sentinel::id::{Epoch, LinkId, MasterName, ReplyToken, Rev, RunId};
use sentineld::sentinel::io::{AdminRequest, Input, LinkError, Outbox, Output, Reply, Tag};
use sentineld::sentinel::monitor::Monitor;
use sentineld::sentinel::monitor::view::MasterView;
use sentineld::sentinel::node::PeerRegistry;
use sentineld::sentinel::peer::{Peer, PeerInput, PeerOutbox, PeerOutput};
use sentineld::sentinel::tilt::TiltRegister;
use sentineld::sentinel::time::{Millis, Now, UnixMillis};
use sentineld::sentinel::{Env, NodeSettings};

use crate::canary::Canary;
use crate::checker::Observation;
use crate::disk::{Disk, Image, Store, Write};
use crate::faults::Fault;
use crate::net::{Ask, ConnId, Host, Tell, Who};
use crate::stock::{Stock, Surroundings};
use crate::world::{Event, Shared};

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
    /// An operator's FAILOVER.
    ForceFailover(usize),
    /// A client's PUBLISH of a hello.
    Published(String),
    /// The one timer of a stock process fires.
    StockTick,
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
    /// Difference of its wall clock, ms.
    pub wall_offset: u64,
    kind: Kind,
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
    epoch: EpochRegister,
    tilt: TiltRegister,
    names: Vec<MasterName>,
    monitors: Vec<MonitorSlot>,
    peers: Vec<PeerSlot>,
    registry: PeerRegistry,
    links: BTreeMap<(Who, LinkId), ConnId>,
    store: Store,
    tokens: BTreeMap<ReplyToken, Waiting>,
    last_token: u64,
    jobs: VecDeque<Job>,
}

#[derive(Debug)]
struct MonitorSlot {
    monitor: Monitor,
    view: MasterView,
    timer: Timer,
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

/// When a machine wants to be woken, and for when the heap has an event.
#[derive(Debug, Default)]
struct Timer {
    wanted: Option<u64>,
    scheduled: Option<u64>,
}

#[derive(Debug)]
enum Waiting {
    Voter { conn: ConnId, slot: u64, master: usize, candidate: RunId },
    Operator,
}

#[derive(Debug)]
enum Job {
    Monitor(usize, Input),
    Peer(usize, PeerInput),
}

/// Where the address is, if it is one of ours.
pub fn host_of(addr: &Addr, sentinels: usize) -> Option<Host> {
    let mut octets = addr.host.rsplit('.');
    let last: usize = octets.next()?.parse().ok()?;
    match octets.next()? {
        "0" => Some(last - 1),
        "1" => Some(sentinels + last - 1),
        _ => None,
    }
}

/// Address of the Sentinel with this number.
pub fn node_ip(number: usize) -> String {
    format!("10.0.0.{}", number + 1)
}

const HEAD_START_MS: u64 = 1_000_000_000;

impl Node {
    /// A machine whose file holds `image`; nothing runs yet.
    pub fn new(host: Host, kind: Kind, settings: NodeSettings, image: Image, canary: Canary) -> Node {
        Node {
            host,
            settings,
            disk: Disk::new(image),
            incarnation: 0,
            backlog: None,
            dies_on_commit: false,
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

    /// Views of all masters, if a process runs.
    pub fn views(&self) -> impl Iterator<Item = &MasterView> {
        let ours = self.process.iter().flat_map(|process| process.monitors.iter().map(|slot| &slot.view));
        ours.chain(self.stock.iter().flat_map(Stock::views))
    }

    /// Whether the process is in TILT.
    pub fn in_tilt(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.tilt.is_on())
            || self.stock.as_ref().is_some_and(Stock::in_tilt)
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
        let mut process = Process {
            origin: HEAD_START_MS - sh.rng.fixed(self.host as u64) % 100_000,
            epoch: EpochRegister::new(self.canary.loaded_epoch(image.epoch)),
            tilt: TiltRegister::default(),
            names: image.records.keys().cloned().collect(),
            monitors: Vec::new(),
            peers: Vec::new(),
            registry: PeerRegistry::default(),
            links: BTreeMap::new(),
            store: Store::new(conf),
            tokens: BTreeMap::new(),
            last_token: 0,
            jobs: VecDeque::new(),
        };
        let now = process.now(sh, self.wall_offset);
        for (number, record) in image.records.values().enumerate() {
            let seed = sh.rng.fixed(1_000 * self.host as u64 + 100 * u64::from(self.incarnation) + number as u64);
            let env = Env { now, epoch: &process.epoch, tilt: &process.tilt, node: &self.settings };
            let monitor = Monitor::new(self.canary.loaded(record.clone()), seed, &env);
            let view = monitor.view(&env);
            sh.see(&Observation::Published { node: self.host, master: number, view: &view, epoch: image.epoch });
            process.monitors.push(MonitorSlot { monitor, view, timer: Timer::default(), asked_in: Epoch(0) });
            process.jobs.push_back(Job::Monitor(number, Input::Tick));
        }
        self.process = Some(process);
        self.work(sh);
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
        let is_timer = |happening: &Happening| matches!(happening, Happening::Wake(_) | Happening::StockTick);
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
                Happening::ForceFailover(master) => stock.force(&mut around, master),
                Happening::Published(payload) => stock.published(&mut around, &payload),
                Happening::Wake(_) | Happening::Saved(_) | Happening::RetrySave => {}
            }
            return;
        }
        if self.process.is_none() {
            return;
        }
        match happening {
            Happening::StockTick => {}
            Happening::Published(payload) => self.published(&payload),
            Happening::Wake(who) => self.wake(sh, who),
            Happening::Told(conn, tell) => self.told(sh, conn, tell),
            Happening::Asked(conn, ask) => self.asked(sh, conn, ask),
            Happening::Saved(saved) => self.saved(sh, saved),
            Happening::RetrySave => self.commit(sh),
            Happening::ForceFailover(master) => self.force(master),
        }
        self.work(sh);
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("checked by every entry point")
    }

    fn wake(&mut self, sh: &mut Shared, who: Who) {
        let process = self.process();
        let timer = match who {
            Who::Monitor(master) => &mut process.monitors[master].timer,
            Who::Peer(peer) => &mut process.peers[peer].timer,
        };
        // Not this node's clock: an event that was scheduled for a deadline that is no longer the nearest.
        if timer.scheduled.is_none_or(|at| at > sh.now) {
            return;
        }
        timer.scheduled = None;
        match timer.wanted {
            Some(wanted) if wanted <= sh.now => {
                timer.wanted = None;
                process.jobs.push_back(match who {
                    Who::Monitor(master) => Job::Monitor(master, Input::Tick),
                    Who::Peer(peer) => Job::Peer(peer, PeerInput::Tick),
                });
            }
            Some(wanted) => {
                timer.scheduled = Some(wanted);
                self.schedule(sh, who, wanted);
            }
            None => {}
        }
    }

    fn wake_at(&mut self, sh: &mut Shared, who: Who, at: Millis) {
        let process = self.process();
        let due = at.0.saturating_sub(process.origin).saturating_mul(1_000).max(sh.now);
        let late = sh.rng.tick.random_range(0..=sh.tick_late_us);
        let due = due + late;
        let timer = match who {
            Who::Monitor(master) => &mut process.monitors[master].timer,
            Who::Peer(peer) => &mut process.peers[peer].timer,
        };
        timer.wanted = Some(due);
        if timer.scheduled.is_none_or(|scheduled| scheduled > due) {
            timer.scheduled = Some(due);
            self.schedule(sh, who, due);
        }
    }

    fn schedule(&self, sh: &mut Shared, who: Who, at: u64) {
        let event = Event::Node { node: self.host, incarnation: self.incarnation, happening: Happening::Wake(who) };
        sh.push(at, event);
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
        let local = node_ip(self.host).parse().expect("an address");
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
        self.process().jobs.push_back(job);
    }

    fn force(&mut self, master: usize) {
        let process = self.process();
        process.last_token += 1;
        let from = ReplyToken(process.last_token);
        process.tokens.insert(from, Waiting::Operator);
        process.jobs.push_back(Job::Monitor(master, Input::Admin { from, request: AdminRequest::Failover }));
    }

    fn saved(&mut self, sh: &mut Shared, saved: bool) {
        let canary = self.canary;
        let process = self.process();
        for (master, rev) in process.store.finish(saved) {
            let told = saved || canary == Canary::SaveFailureIgnored;
            process.jobs.push_back(Job::Monitor(master, durable(told, rev)));
        }
        if !saved {
            let retry = sh.now + sh.rng.disk.random_range(100_000..1_000_000);
            let happening = Happening::RetrySave;
            sh.push(retry, Event::Node { node: self.host, incarnation: self.incarnation, happening });
        }
        if self.process().store.has_fresh_work() {
            self.commit(sh);
        }
    }

    fn commit(&mut self, sh: &mut Shared) {
        let process = self.process();
        let epoch = process.epoch.current();
        let Some(Write { image, .. }) = process.store.begin(epoch) else { return };
        let extra = match self.disk.health {
            crate::disk::Health::Slow(extra) => extra,
            _ => 0,
        };
        let total = sh.disk_us + sh.rng.disk.random_range(0..=sh.disk_us * 2) + extra;
        let in_place = sh.rng.disk.random_range(0..=total);
        if std::mem::take(&mut self.dies_on_commit) {
            let death = sh.now + sh.rng.fault(Fault::NodeCrash).random_range(0..=total * 2);
            sh.push(death, Event::Die { node: self.host, incarnation: self.incarnation });
        }
        sh.push(
            sh.now + in_place,
            Event::Disk { node: self.host, incarnation: self.incarnation, image, left: total - in_place },
        );
    }

    /// The kernel puts a commit in place, whether the process is paused or not.
    pub fn in_place(&mut self, sh: &mut Shared, image: Arc<Image>, left: u64) {
        let saved = self.disk.replace(image);
        if saved {
            sh.see(&Observation::Synced { node: self.host, image: &self.disk.synced });
        } else {
            sh.see(&Observation::SaveFailed { node: self.host });
        }
        let happening = Happening::Saved(saved);
        sh.push(sh.now + left, Event::Node { node: self.host, incarnation: self.incarnation, happening });
    }

    fn work(&mut self, sh: &mut Shared) {
        while let Some(job) = self.process().jobs.pop_front() {
            match job {
                Job::Monitor(master, input) => self.step_monitor(sh, master, input),
                Job::Peer(peer, input) => self.step_peer(sh, peer, input),
            }
            if sh.checkers.violation.is_some() {
                return;
            }
        }
    }

    fn step_monitor(&mut self, sh: &mut Shared, master: usize, input: Input) {
        let wall = self.wall_offset;
        let process = self.process.as_mut().expect("checked by every entry point");
        let never = TiltRegister::default();
        let tilt = if self.canary == Canary::TiltIgnored { &never } else { &process.tilt };
        let env = Env { now: process.now(sh, wall), epoch: &process.epoch, tilt, node: &self.settings };
        let Some(input) = self.canary.input(input, process.monitors[master].asked_in) else { return };
        let forced = matches!(input, Input::Admin { request: AdminRequest::Failover, .. });
        let shown = sh.trace.is_on().then(|| input.clone());
        let mut out = Outbox::default();
        process.monitors[master].monitor.handle(input, &env, &mut out);
        let mut outputs: Vec<Output> = out.drain().collect();
        self.canary.outputs(&mut outputs);
        if let Some(shown) = shown {
            sh.trace.monitor(sh.now, self.host, master, &shown, &outputs);
        }
        sh.stats.inputs += 1;
        for output in outputs {
            self.execute(sh, master, output, forced);
        }
    }

    fn step_peer(&mut self, sh: &mut Shared, peer: usize, input: PeerInput) {
        let wall = self.wall_offset;
        let process = self.process.as_mut().expect("checked by every entry point");
        let env = Env { now: process.now(sh, wall), epoch: &process.epoch, tilt: &process.tilt, node: &self.settings };
        let Some(machine) = &mut process.peers[peer].peer else { return };
        let shown = sh.trace.is_on().then(|| input.clone());
        let mut out = PeerOutbox::default();
        machine.handle(input, &env, &mut out);
        let outputs: Vec<PeerOutput> = out.drain().collect();
        if let Some(shown) = shown {
            sh.trace.peer(sh.now, self.host, process.peers[peer].host, &shown, &outputs);
        }
        sh.stats.inputs += 1;
        for output in outputs {
            self.execute_peer(sh, peer, output);
        }
    }
}

impl Process {
    fn now(&self, sh: &Shared, wall_offset: u64) -> Now {
        let mono = Millis(self.origin + sh.now / 1_000);
        Now { mono, wall: UnixMillis(1_700_000_000_000 + sh.now / 1_000 + wall_offset) }
    }

    fn peer(&self, id: &RunId) -> Option<usize> {
        self.peers.iter().position(|slot| slot.id == *id && slot.peer.is_some())
    }
}

fn durable(saved: bool, rev: Rev) -> Input {
    if saved { Input::Durable(rev) } else { Input::PersistFailed(rev) }
}
