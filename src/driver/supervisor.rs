//! Owns the sets of monitors and peers, and carries out what concerns the process rather than one master.
//!
//! Operators' requests come from client connections, notices from monitors, acknowledgements from the store. It may
//! wait for the mailboxes of monitors and peers; a save is never waited for here, so that a slow disk holds up nobody
//! but the one who asked.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinError, JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::monitor_task::{MAILBOX, MonitorTask};
use super::peer_task::PeerTask;
use super::post::Letterbox;
use super::process::Process;
use super::{Answered, MonitorMessage, NodeChange, SupervisorRequest};
use crate::publish::MasterEntry;
use crate::sentinel::addr::Addr;
use crate::sentinel::event::{Event, EventKind, Level};
use crate::sentinel::id::{Epoch, MasterName, Rev, RunId};
use crate::sentinel::io::{Answer, Input};
use crate::sentinel::monitor::admin::SAVE_FAILED;
use crate::sentinel::monitor::record::{IdentityRecord, MasterRecord, MasterSpec};
use crate::sentinel::node::{NodeNotice, PeerRegistry, Routed};
use crate::sentinel::peer::PeerInput;
use crate::sentinel::policy::TiltMode;
use crate::sentinel::tilt::TiltGuard;
use crate::sentinel::time::Periods;
use crate::sentinel::{CROWD, NodeSettings};
use crate::store::file::SaveError;
use crate::store::{Ack, Change, LogLevel, Owner};
use crate::telemetry::log::{self, log};

/// Requests that may wait: one a client connection at most, and those wait in turn.
pub const REQUESTS: usize = 64;
/// Notices that may wait; monitors keep the rest.
pub const NOTICES: usize = 1024;
/// Answers of the store that may wait; it waits for room, and the supervisor never waits for it.
pub const ACKS: usize = 256;
/// How often the clock is looked at while no monitor does so.
const GUARD_PERIOD: u64 = 1_000;
/// At the start each master is connected to this long after the one before it, so that thousands do not keep this machine
/// and the servers busy all at once.
const CONNECT_PACE: Duration = Duration::from_micros(1_500);
/// How long that takes in all at the most, and for each master half of the silence after which it is SDOWN.
const LONGEST_RAMP: Duration = Duration::from_millis(1_500);
/// A monitor that failed starts again after this long, so that one that fails at once does not spin.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// A client that waits for an answer.
pub type Asker = oneshot::Sender<Answered>;

/// How a save ended.
type SaveResult = Result<(), Arc<SaveError>>;

/// Where everything that reaches the supervisor comes from.
#[derive(Debug)]
pub struct Inlets {
    /// From client connections.
    pub requests: mpsc::Receiver<(SupervisorRequest, Asker)>,
    /// From monitors.
    pub notices: mpsc::Receiver<(MasterName, NodeNotice)>,
    /// From the store.
    pub acks: mpsc::Receiver<Ack>,
    /// The store itself, which ends only by a defect: without it no vote can be given.
    pub store: JoinHandle<()>,
}

/// Whether `sentinel myid` was in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// It was.
    Known,
    /// It was drawn at this start and must be saved first.
    Fresh,
}

/// The supervisor.
#[derive(Debug)]
pub struct Supervisor {
    process: Rc<Process>,
    inlets: Inlets,
    monitors: JoinSet<()>,
    monitor_tasks: BTreeMap<MasterName, AbortHandle>,
    restarts: JoinSet<MasterName>,
    peers: JoinSet<()>,
    peer_tasks: BTreeMap<RunId, PeerSeat>,
    registry: PeerRegistry,
    /// Who waits for which save of the process's settings.
    saving: BTreeMap<Rev, Asker>,
    last_rev: Rev,
    /// Masters that are monitored as soon as they are saved, and who waits for that.
    starting: BTreeMap<MasterName, (MasterRecord, Asker)>,
    guard: TiltGuard,
    /// Differs between processes, so that their monitors do not act in step.
    seeds: RandomState,
    stop: mpsc::Sender<Asker>,
}

impl Supervisor {
    /// A supervisor without masters. When an operator asks for the end of the process, `stop` gets whoever waits for an
    /// answer: there is none, only a closed connection.
    pub fn new(process: Rc<Process>, inlets: Inlets, stop: mpsc::Sender<Asker>) -> Supervisor {
        Supervisor {
            process,
            inlets,
            monitors: JoinSet::new(),
            monitor_tasks: BTreeMap::new(),
            restarts: JoinSet::new(),
            peers: JoinSet::new(),
            peer_tasks: BTreeMap::new(),
            registry: PeerRegistry::default(),
            saving: BTreeMap::new(),
            last_rev: Rev(0),
            starting: BTreeMap::new(),
            guard: TiltGuard::default(),
            seeds: RandomState::new(),
            stop,
        }
    }

    /// Saves a fresh id, says who we are, and starts a monitor for each master of the file (config.md 6.2).
    pub async fn start(&mut self, identity: Identity, mut masters: Vec<MasterRecord>) {
        if identity == Identity::Fresh {
            self.commit(Change::Flush);
            // Whether it could be saved or not, we go on with it, as stock does; the store has logged the failure.
            // Nothing else is being saved yet.
            let _ = self.inlets.acks.recv().await;
        }
        self.look_up(&mut masters).await;
        log(Level::Warning, &format!("Sentinel ID is {}", self.process.settings().myid));
        let count = u32::try_from(masters.len().max(1)).expect("masters fit into memory");
        let pace = CONNECT_PACE.min(LONGEST_RAMP / count);
        for (number, record) in (0..count).zip(masters) {
            let announcement = self.announcement(&record);
            let script = record.spec.notification_script.clone();
            let patience = Duration::from_millis(record.spec.down_after / 2);
            self.begin(record, (pace * number).min(patience));
            self.process.announce(&announcement, script.as_ref());
        }
    }

    /// Looks up the host names of the file, all at once, so that whoever asks first is told addresses. What has no answer
    /// within a second goes by its name until its monitor has found it.
    async fn look_up(&self, masters: &mut [MasterRecord]) {
        let mut lookups = JoinSet::new();
        let hosts: BTreeSet<_> = masters.iter_mut().flat_map(addrs).filter(|addr| addr.ip.is_none()).collect();
        for host in hosts.into_iter().map(|addr| Arc::clone(&addr.host)) {
            let process = Rc::clone(&self.process);
            lookups.spawn_local(async move {
                let ip = process.resolver.lookup(&host).await;
                (host, ip)
            });
        }
        let found: BTreeMap<_, _> = lookups.join_all().await.into_iter().collect();
        for record in masters {
            for addr in addrs(record).filter(|addr| addr.ip.is_none()) {
                addr.ip = found.get(&addr.host).copied().flatten();
            }
            // As when a monitor finds out later.
            if !self.process.settings().announce_hostnames {
                record.replicas.retain(|replica| !replica.same_as(&record.addr));
            }
        }
    }

    /// Runs for ever; ends by being dropped, and everything with it. Must run inside a `LocalSet`.
    pub async fn run(mut self) {
        self.look_at_clock();
        let mut guard = tokio::time::interval(Duration::from_millis(GUARD_PERIOD));
        guard.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(ack) = self.inlets.acks.recv() => self.saved(ack).await,
                Some((from, notice)) = self.inlets.notices.recv() => {
                    let routed = self.registry.route(&from, notice);
                    self.carry_out(routed).await;
                }
                Some((request, asker)) = self.inlets.requests.recv() => self.serve(request, asker).await,
                Some(Err(ended)) = self.monitors.join_next() => self.monitor_ended(&ended),
                Some(Err(ended)) = self.peers.join_next() => self.peer_ended(&ended).await,
                Some(Ok(name)) = self.restarts.join_next() => self.restart_monitor(name).await,
                _ = guard.tick() => self.look_at_clock(),
                ended = &mut self.inlets.store => panic!("the store has ended: {ended:?}"),
            }
        }
    }
}

/// Requests of operators.
impl Supervisor {
    async fn serve(&mut self, request: SupervisorRequest, asker: Asker) {
        match request {
            SupervisorRequest::Monitor { spec, addr } => self.monitor(spec, addr, asker),
            SupervisorRequest::Remove(name) => self.remove(&name, asker).await,
            SupervisorRequest::ConfigSet(changes) => {
                let node = self.change_settings(changes).await;
                self.save(Change::Node(Box::new(node)), asker);
            }
            SupervisorRequest::FlushConfig => self.save(Change::Flush, asker),
            SupervisorRequest::Tune(changes) => {
                self.change_settings(changes).await;
                self.answer(asker, Answer::Ok);
            }
            // There is room unless the end has been asked for already.
            SupervisorRequest::Shutdown => drop(self.stop.try_send(asker)),
        }
    }

    /// Saves a new master; it is monitored once the answer is out, so that its events come after `+monitor`.
    fn monitor(&mut self, spec: MasterSpec, addr: Addr, asker: Asker) {
        let name = spec.name.clone();
        if self.monitor_tasks.contains_key(&name) || self.starting.contains_key(&name) {
            self.answer(asker, Answer::Error("ERR Duplicate master name.".to_owned()));
            return;
        }
        // A vote that was given before a REMOVE and is forgotten with it cannot be given again in the same epoch.
        let leader_epoch = self.process.epoch.current();
        let (replicas, sentinels) = (Vec::new(), Vec::new());
        let identity = IdentityRecord::default();
        let record = MasterRecord { spec, addr, config_epoch: Epoch(0), leader_epoch, replicas, sentinels, identity };
        self.process.begin_saves(&name, record.clone());
        self.process.persist(&name, Rev(1), record.clone());
        self.starting.insert(name, (record, asker));
    }

    async fn remove(&mut self, name: &MasterName, asker: Asker) {
        let Some(task) = self.monitor_tasks.remove(name) else {
            self.answer(asker, Answer::Error("ERR No such master with that name".to_owned()));
            return;
        };
        let entry = self.process.publisher.reader().directory.borrow().get(name).cloned();
        if let Some(entry) = entry {
            let master = Arc::clone(&entry.view.borrow());
            let payload = format!("master {name} {} {}", master.instance.host, master.instance.port);
            let event = Event::new(EventKind::Unmonitor, payload);
            self.process.announce(&event, master.notification_script.as_ref());
        }
        task.abort();
        self.process.publisher.remove(name);
        self.process.groups.forget(name);
        self.process.monitors.borrow_mut().remove(name);
        self.note_crowd();
        let routed = self.registry.forget_master(name);
        self.carry_out(routed).await;
        self.save(Change::Removed(name.clone()), asker);
    }

    async fn change_settings(&mut self, changes: Vec<NodeChange>) -> NodeSettings {
        let mut node = NodeSettings::clone(&self.process.settings());
        for change in changes {
            match change {
                NodeChange::LogLevel(name) => self.change_log_level(&name),
                change => apply(&mut node, change),
            }
        }
        self.process.node.send_replace(Arc::new(node.clone()));
        let masters: Vec<MasterName> = self.monitor_tasks.keys().cloned().collect();
        for master in masters {
            let notice = Input::Notice(NodeNotice::SettingsChanged);
            self.process.tell_monitor(&master, MonitorMessage::Input(notice)).await;
        }
        let peers: Vec<RunId> = self.peer_tasks.keys().cloned().collect();
        for peer in peers {
            self.tell_peer(&peer, PeerInput::SettingsChanged).await;
        }
        node
    }

    /// Nobody waits for this save: whoever changes the level has the settings saved after it.
    fn change_log_level(&mut self, name: &str) {
        // Names were checked when the command was parsed.
        let Some(level) = LogLevel::parse(name) else { return };
        log::set_threshold(level.threshold());
        self.process.log_level.send_replace(level.name().to_owned());
        self.commit(Change::LogLevel(level));
    }

    fn answer(&self, asker: Asker, answer: Answer) {
        // An asker that has hung up needs no answer.
        let _ = asker.send(Answered { answer, after_event: self.process.hub.published() });
    }
}

/// Saves and what comes after them.
impl Supervisor {
    async fn saved(&mut self, ack: Ack) {
        let Ack { owner, rev, result } = ack;
        match owner {
            Owner::Node(_) => {
                if let Some(asker) = self.saving.remove(&rev) {
                    self.answer(asker, answer_of(&result));
                }
            }
            Owner::Master(name) => match self.starting.remove(&name) {
                Some((record, asker)) => {
                    // Who is answered finds the master at once, and hears of it afterwards.
                    let answered = Answered { answer: answer_of(&result), after_event: self.process.hub.published() };
                    let announcement = self.announcement(&record);
                    let script = record.spec.notification_script.clone();
                    self.begin(record, Duration::ZERO);
                    // An asker that has hung up needs no answer.
                    let _ = asker.send(answered);
                    self.process.announce(&announcement, script.as_ref());
                }
                None => self.tell_saved(&name, rev, &result).await,
            },
        }
    }

    async fn tell_saved(&self, name: &MasterName, rev: Rev, result: &SaveResult) {
        let Some(rev) = self.process.own_rev(name, rev) else { return };
        let input = if result.is_ok() { Input::Durable(rev) } else { Input::PersistFailed(rev) };
        self.process.tell_monitor(name, MonitorMessage::Input(input)).await;
    }

    fn commit(&mut self, change: Change) -> Rev {
        self.last_rev = Rev(self.last_rev.0 + 1);
        self.process.store.commit(change, self.last_rev);
        self.last_rev
    }

    fn save(&mut self, change: Change, asker: Asker) {
        let rev = self.commit(change);
        self.saving.insert(rev, asker);
    }
}

/// Monitors and peers.
impl Supervisor {
    fn announcement(&self, record: &MasterRecord) -> Event {
        let MasterRecord { spec, addr, .. } = record;
        let host = addr.shown_host(&self.process.settings());
        let payload = format!("master {} {host} {} quorum {}", spec.name, addr.port, spec.quorum);
        Event::new(EventKind::Monitor, payload)
    }

    /// Monitors a master, of which nobody is connected to before `delay` is over. Its clocks run from now on.
    fn begin(&mut self, record: MasterRecord, delay: Duration) {
        let name = record.spec.name.clone();
        self.process.begin_saves(&name, record.clone());
        let seed = self.seeds.hash_one(&name);
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let first = Instant::now() + delay;
        let (task, view) = MonitorTask::new(record, mailbox, seed, Rc::clone(&self.process), first);
        let letterbox = Letterbox::new(sender.clone(), self.process.post.clone());
        self.process.monitors.borrow_mut().insert(name.clone(), sender);
        self.process.publisher.add(name.clone(), MasterEntry { view, mailbox: letterbox });
        let handle = self.monitors.spawn_local(task.run());
        self.monitor_tasks.insert(name, handle);
        self.note_crowd();
    }

    /// Notes whether there is a crowd of masters. Monitors see it at their next step.
    fn note_crowd(&self) {
        let crowded = self.monitor_tasks.len() >= CROWD;
        self.process.node.send_if_modified(|node| {
            let changes = node.crowded != crowded;
            if changes {
                Arc::make_mut(node).crowded = crowded;
            }
            changes
        });
    }

    async fn carry_out(&mut self, routed: Vec<Routed>) {
        for step in routed {
            match step {
                Routed::CreatePeer { peer, addr } => self.create_peer(peer, addr),
                Routed::ToPeer { peer, input } => {
                    if let Some(seat) = self.peer_tasks.get_mut(&peer) {
                        seat.note(&input);
                    }
                    self.tell_peer(&peer, input).await;
                }
                Routed::DropPeer { peer } => {
                    self.process.peers.borrow_mut().remove(&peer);
                    if let Some(seat) = self.peer_tasks.remove(&peer) {
                        seat.task.abort();
                    }
                }
                Routed::ToMonitor { master, notice } => {
                    self.process.tell_monitor(&master, MonitorMessage::Input(Input::Notice(notice))).await;
                }
            }
        }
    }

    fn create_peer(&mut self, peer: RunId, addr: Addr) {
        let (task, mailbox) = PeerTask::new(peer.clone(), addr.clone(), Rc::clone(&self.process));
        self.process.peers.borrow_mut().insert(peer.clone(), mailbox);
        let task = self.peers.spawn_local(task.run());
        self.peer_tasks.insert(peer, PeerSeat { task, addr, watches: BTreeMap::new() });
    }

    async fn tell_peer(&self, peer: &RunId, input: PeerInput) {
        let mailbox = self.process.peers.borrow().get(peer).cloned();
        if let Some(mailbox) = mailbox {
            // Fails only if the peer's task has failed; it is then started again with all that it was told.
            let _ = mailbox.send(input).await;
        }
    }

    /// A monitor's task ends when its master is removed, or by a defect. Then it starts again from what it last asked
    /// to have saved, which holds every vote it gave.
    fn monitor_ended(&mut self, ended: &JoinError) {
        let Some(name) = key_of(&self.monitor_tasks, |task| task.id() == ended.id()) else { return };
        log(Level::Warning, &format!("Internal error: the monitor of {name} failed ({ended}) and starts again."));
        self.restarts.spawn_local(async move {
            tokio::time::sleep(RESTART_DELAY).await;
            name
        });
    }

    async fn restart_monitor(&mut self, name: MasterName) {
        // While it waited the master may have been removed, and even monitored anew.
        if !self.monitor_tasks.get(&name).is_some_and(AbortHandle::is_finished) {
            return;
        }
        let record = self.process.saves.borrow().get(&name).map(|saves| saves.record.clone());
        if let Some(record) = record {
            let routed = self.registry.forget_master(&name);
            self.carry_out(routed).await;
            self.begin(record, Duration::ZERO);
        }
    }

    async fn peer_ended(&mut self, ended: &JoinError) {
        let Some(peer) = key_of(&self.peer_tasks, |seat| seat.task.id() == ended.id()) else { return };
        log(Level::Warning, &format!("Internal error: the link to Sentinel {peer} failed ({ended}) and starts again."));
        let Some(PeerSeat { addr, watches, .. }) = self.peer_tasks.remove(&peer) else { return };
        self.create_peer(peer.clone(), addr);
        for (master, down_after) in watches {
            let routed = Routed::ToPeer { peer: peer.clone(), input: PeerInput::Watch { master, down_after } };
            self.carry_out(vec![routed]).await;
        }
    }

    /// Watches for stalls while there is no monitor that does.
    fn look_at_clock(&mut self) {
        if !self.monitor_tasks.is_empty() {
            self.guard = TiltGuard::default();
            return;
        }
        let (now, settings) = (self.process.clock.mono(), self.process.settings());
        let periods = settings.periods;
        // There is nothing to probe, so nothing to wait for.
        let period = if settings.policies.tilt == TiltMode::Stock { periods.tilt } else { 0 };
        self.process.tilt.step(now, periods.tilt_trigger);
        if let Some(since) = self.guard.stalled_since(&self.process.tilt, periods.tilt_trigger) {
            if self.process.tilt.enter(now, since, period) {
                self.process.emit(&Event::new(EventKind::TiltEntered, "#tilt mode entered"));
            }
        } else if self.process.tilt.leave(now) {
            self.process.emit(&Event::new(EventKind::TiltExited, "#tilt mode exited"));
        }
        self.guard.expect(now + GUARD_PERIOD);
    }
}

/// A running peer, with what it would have to be told if it started again.
#[derive(Debug)]
struct PeerSeat {
    task: AbortHandle,
    addr: Addr,
    watches: BTreeMap<MasterName, u64>,
}

impl PeerSeat {
    fn note(&mut self, input: &PeerInput) {
        match input {
            PeerInput::Watch { master, down_after } => {
                self.watches.insert(master.clone(), *down_after);
            }
            PeerInput::Unwatch { master } => {
                self.watches.remove(master);
            }
            PeerInput::Moved(addr) => self.addr = addr.clone(),
            _ => {}
        }
    }
}

/// Whether it could be saved or not, a change stays (commands.md 1.4).
fn answer_of(result: &SaveResult) -> Answer {
    match result {
        Ok(()) => Answer::Ok,
        Err(_) => Answer::Error(SAVE_FAILED.to_owned()),
    }
}

fn key_of<K: Clone, V>(map: &BTreeMap<K, V>, is_it: impl Fn(&V) -> bool) -> Option<K> {
    map.iter().find(|(_, value)| is_it(value)).map(|(key, _)| key.clone())
}

/// All addresses in a record.
fn addrs(record: &mut MasterRecord) -> impl Iterator<Item = &mut Addr> {
    let sentinels = record.sentinels.iter_mut().map(|(_, addr)| addr);
    std::iter::once(&mut record.addr).chain(&mut record.replicas).chain(sentinels)
}

fn apply(node: &mut NodeSettings, change: NodeChange) {
    match change {
        NodeChange::AnnounceIp(ip) => node.announce_ip = ip,
        NodeChange::AnnouncePort(port) => node.announce_port = port,
        NodeChange::SentinelUser(user) => node.sentinel_user = user,
        NodeChange::SentinelPass(password) => node.sentinel_pass = password,
        NodeChange::ResolveHostnames(on) => node.resolve_hostnames = on,
        NodeChange::AnnounceHostnames(on) => node.announce_hostnames = on,
        // Not a setting of the core.
        NodeChange::LogLevel(_) => {}
        NodeChange::Period(name, ms) => {
            // Names were checked when the command was parsed.
            if let Some(period) = period(&mut node.periods, name) {
                *period = ms;
            }
        }
        NodeChange::SimulateFailure { after_election, after_promotion } => {
            node.crash_after_election = after_election;
            node.crash_after_promotion = after_promotion;
            announce_simulated_failures(after_election, after_promotion);
        }
    }
}

fn announce_simulated_failures(after_election: bool, after_promotion: bool) {
    if after_election {
        let moment = "being successfully elected as failover leader";
        log(Level::Warning, &format!("Failure simulation: this Sentinel will crash after {moment}"));
    }
    if after_promotion {
        let moment = "promoting the selected replica to master";
        log(Level::Warning, &format!("Failure simulation: this Sentinel will crash after {moment}"));
    }
}

/// The period with this `SENTINEL DEBUG` name.
fn period<'a>(periods: &'a mut Periods, name: &str) -> Option<&'a mut u64> {
    Some(match name {
        "INFO-PERIOD" => &mut periods.info,
        "PING-PERIOD" => &mut periods.ping,
        "ASK-PERIOD" => &mut periods.ask,
        "PUBLISH-PERIOD" => &mut periods.publish,
        "DEFAULT-DOWN-AFTER" => &mut periods.default_down_after,
        "DEFAULT-FAILOVER-TIMEOUT" => &mut periods.default_failover_timeout,
        "TILT-TRIGGER" => &mut periods.tilt_trigger,
        "TILT-PERIOD" => &mut periods.tilt,
        "SLAVE-RECONF-TIMEOUT" => &mut periods.slave_reconf_timeout,
        "MIN-LINK-RECONNECT-PERIOD" => &mut periods.min_link_reconnect,
        "ELECTION-TIMEOUT" => &mut periods.election_timeout,
        "SCRIPT-MAX-RUNTIME" => &mut periods.script_max_runtime,
        "SCRIPT-RETRY-DELAY" => &mut periods.script_retry_delay,
        _ => return None,
    })
}
