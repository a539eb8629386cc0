//! Everything around the Sentinel of a transcript: its masters' monitors, the servers, peers, disk, names and time.
//! What is sent arrives at once and is answered at once, so that what takes time in a transcript takes it by rule.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sentineld::sentinel::ages::SharedAges;
use sentineld::sentinel::command::Command;
use sentineld::sentinel::epoch::EpochRegister;
use sentineld::sentinel::groups::GroupRegister;
use sentineld::sentinel::id::{Epoch, LinkId, MasterName, Rev, RunId};
use sentineld::sentinel::io::{Channel, Input, LinkError, Outbox, Output, Reply, Tag};
use sentineld::sentinel::lateness::LatenessRegister;
use sentineld::sentinel::monitor::Monitor;
use sentineld::sentinel::monitor::record::MasterRecord;
use sentineld::sentinel::node::{NodeNotice, PeerRegistry, Routed};
use sentineld::sentinel::peer::LinkHealth;
use sentineld::sentinel::tilt::TiltRegister;
use sentineld::sentinel::time::{Millis, Now, UnixMillis};
use sentineld::sentinel::{Env, NodeSettings};

use crate::print::{Printer, run_id};
use crate::server::{Server, State};

/// The clocks when a transcript begins: far from 0, so that nothing passes for "never".
pub(crate) const START: u64 = 1_000_000;
/// The wall clock at `START`.
pub(crate) const WALL_START: u64 = 1_700_000_000_000;

/// What the disk does with a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    Works,
    Fails,
    /// No answer, until it works or fails again.
    Hangs,
}

/// What a peer says when asked whether the master is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    Down,
    Up,
    Silent,
    /// An error in place of the three fields.
    Garbled,
}

/// A peer: what it thinks, and its vote, which goes to the first who asks in a newer epoch.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) opinion: Opinion,
    pub(crate) vote: (Option<RunId>, Epoch),
    pub(crate) connected: bool,
    /// Since when it owes an answer to PING.
    pub(crate) silent_since: Option<Millis>,
}

struct Watched {
    monitor: Monitor,
    wake: Millis,
    links: BTreeMap<LinkId, (u16, Channel)>,
    /// What is on disk, and the epoch beside it.
    file: (MasterRecord, Epoch),
    /// What waits for the disk.
    unsaved: Option<(Rev, MasterRecord)>,
}

/// The world.
pub(crate) struct World {
    pub(crate) node: NodeSettings,
    pub(crate) servers: BTreeMap<u16, Server>,
    pub(crate) peers: BTreeMap<RunId, Peer>,
    /// `None`: the name has no address. A name that is not here is never answered.
    pub(crate) names: BTreeMap<String, Option<IpAddr>>,
    pub(crate) printer: Printer,
    disk: Disk,
    epoch: EpochRegister,
    tilt: TiltRegister,
    lateness: LatenessRegister,
    groups: GroupRegister,
    masters: BTreeMap<MasterName, Watched>,
    registry: PeerRegistry,
    /// Commands that hanging servers will answer when they run again.
    held: Vec<(MasterName, LinkId, Tag, Command, u16)>,
    now: u64,
    wall_shift: i64,
    /// The process has ended; `reboot` starts it again.
    dead: bool,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            node: NodeSettings::new(run_id("me")),
            servers: BTreeMap::new(),
            peers: BTreeMap::new(),
            names: BTreeMap::new(),
            printer: Printer::default(),
            disk: Disk::Works,
            epoch: EpochRegister::default(),
            tilt: TiltRegister::default(),
            lateness: LatenessRegister::default(),
            groups: GroupRegister::default(),
            masters: BTreeMap::new(),
            registry: PeerRegistry::default(),
            held: Vec::new(),
            now: START,
            wall_shift: 0,
            dead: false,
        }
    }

    pub(crate) fn elapsed(&self) -> u64 {
        self.now - START
    }

    /// Begins to watch a master, as loaded from a file.
    pub(crate) fn watch(&mut self, record: MasterRecord) {
        self.epoch.observe(record.config_epoch.max(record.leader_epoch));
        let name = record.spec.name.clone();
        for (peer, _) in &record.sentinels {
            self.meet(peer);
        }
        let file = (record.clone(), self.epoch.current());
        let monitor = Monitor::new(record, 7, &self.env());
        let (links, wake) = (BTreeMap::new(), Millis(self.now));
        self.masters.insert(name.clone(), Watched { monitor, wake, links, file, unsaved: None });
        self.feed(&name, vec![Input::Tick]);
    }

    /// The process dies and starts again with what is on disk.
    pub(crate) fn reboot(&mut self) {
        (self.tilt, self.lateness) = (TiltRegister::default(), LatenessRegister::default());
        self.registry = PeerRegistry::default();
        self.groups = GroupRegister::default();
        (self.node.crash_after_election, self.node.crash_after_promotion) = (false, false);
        self.dead = false;
        self.held.clear();
        let files: Vec<_> = std::mem::take(&mut self.masters).into_values().map(|watched| watched.file).collect();
        let epoch = files.iter().map(|(_, epoch)| *epoch).max().unwrap_or_default();
        self.epoch = EpochRegister::new(epoch, files.iter().map(|(record, _)| record.leader_epoch));
        for (record, _) in files {
            self.watch(record);
        }
    }

    fn clocks(&self) -> Now {
        let wall = WALL_START + (self.now - START);
        Now { mono: Millis(self.now), wall: UnixMillis(wall.saturating_add_signed(self.wall_shift)) }
    }

    fn env(&self) -> Env<'_> {
        Env {
            now: self.clocks(),
            epoch: &self.epoch,
            tilt: &self.tilt,
            lateness: &self.lateness,
            groups: &self.groups,
            node: &self.node,
        }
    }

    /// Makes sure that a peer exists; at first it is up and says that the master is down as soon as it is asked.
    pub(crate) fn meet(&mut self, peer: &RunId) -> &mut Peer {
        self.peers.entry(peer.clone()).or_insert(Peer {
            opinion: Opinion::Down,
            vote: (None, Epoch(0)),
            connected: true,
            silent_since: None,
        })
    }

    /// Lets time pass, waking monitors when they asked for it.
    pub(crate) fn wait(&mut self, ms: u64) {
        let end = Millis(self.now + ms);
        while let Some((name, wake)) = self.next_wake().filter(|(_, wake)| *wake <= end && !self.dead) {
            self.now = self.now.max(wake.0);
            self.feed(&name, vec![Input::Tick]);
        }
        self.now = end.0;
    }

    fn next_wake(&self) -> Option<(MasterName, Millis)> {
        let wakes = self.masters.iter().map(|(name, watched)| (name.clone(), watched.wake));
        wakes.min_by_key(|(_, wake)| *wake)
    }

    /// This process stands still; then every monitor is stepped.
    pub(crate) fn stall(&mut self, ms: u64) {
        self.now += ms;
        for name in self.masters.keys().cloned().collect::<Vec<_>>() {
            self.feed(&name, vec![Input::Tick]);
        }
    }

    /// The wall clock jumps; the other one goes on.
    pub(crate) fn step_wall(&mut self, ms: i64) {
        self.wall_shift += ms;
    }

    /// The server's process is gone: its connections break at once.
    pub(crate) fn kill(&mut self, port: u16) {
        self.servers.get_mut(&port).expect("a known server").state = State::Dead;
        self.held.retain(|(.., at)| *at != port);
        for channel in [Channel::Command, Channel::PubSub] {
            self.break_link(port, channel);
        }
    }

    /// A connection breaks, whatever the server does.
    pub(crate) fn break_link(&mut self, port: u16, channel: Channel) {
        for name in self.masters.keys().cloned().collect::<Vec<_>>() {
            let links = &self.masters[&name].links;
            let broken: Vec<LinkId> =
                links.iter().filter(|(_, at)| **at == (port, channel)).map(|(link, _)| *link).collect();
            for link in broken {
                self.masters.get_mut(&name).expect("listed").links.remove(&link);
                self.feed(&name, vec![Input::LinkDown(link, LinkError("Connection reset by peer".to_owned()))]);
            }
        }
    }

    /// A hanging server runs again and answers everything that waited, in one go.
    pub(crate) fn wake(&mut self, port: u16) {
        self.servers.get_mut(&port).expect("a known server").state = State::Runs;
        let (late, held) = std::mem::take(&mut self.held).into_iter().partition(|(.., at)| *at == port);
        self.held = held;
        let late: Vec<(MasterName, LinkId, Tag, Command, u16)> = late;
        let mut batches: BTreeMap<MasterName, Vec<Input>> = BTreeMap::new();
        for (name, link, tag, command, _) in late {
            if let Some(value) = self.serve(&name, link, tag, &command) {
                batches.entry(name).or_default().push(Input::Reply { link, tag, value });
            }
        }
        for (name, batch) in batches {
            self.feed(&name, batch);
        }
    }

    /// What a pub/sub connection of the first master hears on the hello channel.
    pub(crate) fn hear(&mut self, name: &MasterName, port: u16, payload: &str) {
        let links = &self.masters[name].links;
        let link = links.iter().find(|(_, at)| **at == (port, Channel::PubSub)).map(|(link, _)| *link);
        let link = link.expect("a subscription");
        self.feed(name, vec![Input::PubSub { link, payload: Some(payload.as_bytes().into()) }]);
    }

    pub(crate) fn set_disk(&mut self, disk: Disk) {
        self.disk = disk;
        for name in self.masters.keys().cloned().collect::<Vec<_>>() {
            if let Some((rev, record)) = self.masters.get_mut(&name).and_then(|watched| watched.unsaved.take()) {
                let inputs = self.save(&name, rev, record);
                self.feed(&name, inputs);
            }
        }
    }

    fn save(&mut self, name: &MasterName, rev: Rev, record: MasterRecord) -> Vec<Input> {
        let epoch = self.epoch.current();
        let watched = self.masters.get_mut(name).expect("it sent this");
        match self.disk {
            Disk::Works => {
                watched.file = (record, epoch);
                vec![Input::Durable(rev)]
            }
            Disk::Fails => vec![Input::PersistFailed(rev)],
            Disk::Hangs => {
                watched.unsaved = Some((rev, record));
                vec![]
            }
        }
    }

    /// The link to a peer changed.
    pub(crate) fn tell_health(&mut self, peer: &RunId) {
        for name in self.masters.keys().cloned().collect::<Vec<_>>() {
            let health = self.health(peer);
            self.feed(&name, vec![health]);
        }
    }

    fn health(&self, peer: &RunId) -> Input {
        let known = &self.peers[peer];
        let health = LinkHealth {
            connected: known.connected,
            local: known.connected.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ping_pending_since: known.silent_since,
            ..LinkHealth::new(Millis(self.now))
        };
        Input::PeerHealth { peer: peer.clone(), ages: Arc::new(SharedAges::new(&health)), health: Box::new(health) }
    }

    pub(crate) fn silence(&mut self, peer: &RunId) {
        let now = Millis(self.now);
        let known = self.meet(peer);
        (known.silent_since, known.opinion) = (Some(now), Opinion::Silent);
        self.tell_health(peer);
    }

    pub(crate) fn view(&mut self, name: &MasterName) {
        let view = self.masters[name].monitor.view(&self.env());
        self.printer.view(self.now - START, &view);
    }

    /// What the file says of a master.
    pub(crate) fn file(&self, name: &MasterName) -> &(MasterRecord, Epoch) {
        &self.masters[name].file
    }

    /// What a monitor would save now.
    pub(crate) fn record(&self, name: &MasterName) -> MasterRecord {
        self.masters[name].monitor.record()
    }

    /// Hands in inputs that arrive together, and everything that follows from them at once.
    pub(crate) fn feed(&mut self, name: &MasterName, batch: Vec<Input>) {
        let mut queue = VecDeque::from([(name.clone(), batch)]);
        while let Some((name, batch)) = queue.pop_front() {
            let mut out = Outbox::default();
            let env = Env {
                now: self.clocks(),
                epoch: &self.epoch,
                tilt: &self.tilt,
                lateness: &self.lateness,
                groups: &self.groups,
                node: &self.node,
            };
            self.masters.get_mut(&name).expect("watched").monitor.handle_all(batch, &env, &mut out);
            for output in out.drain() {
                if self.dead {
                    return;
                }
                let follow = self.react(&name, output);
                queue.extend(follow.into_iter().map(|(name, input)| (name, vec![input])));
            }
        }
    }

    fn react(&mut self, name: &MasterName, output: Output) -> Vec<(MasterName, Input)> {
        let elapsed = self.elapsed();
        self.printer.output(elapsed, name.as_str(), &output);
        let own = |inputs: Vec<Input>| inputs.into_iter().map(|input| (name.clone(), input)).collect();
        match output {
            Output::WakeAt(at) => self.watched(name).wake = at,
            Output::Connect { link, addr, channel } => {
                let runs = self.servers.get(&addr.port).is_some_and(|server| server.state != State::Dead);
                if !runs {
                    return own(vec![Input::LinkDown(link, LinkError("Connection refused".to_owned()))]);
                }
                self.watched(name).links.insert(link, (addr.port, channel));
                return own(vec![Input::LinkUp { link, local: IpAddr::V4(Ipv4Addr::LOCALHOST) }]);
            }
            Output::Close(link) => {
                if let Some((port, channel)) = self.watched(name).links.remove(&link) {
                    self.printer.close(elapsed, port, channel);
                }
            }
            Output::Exit => self.dead = true,
            Output::Send { link, tag, command } => {
                let renames = self.watched(name).monitor.spec().renames.clone();
                let words = String::from_utf8_lossy(&command.words(&renames).join(&b' ')).into_owned();
                let to = self.watched(name).links.get(&link).map_or("-".to_owned(), |(port, _)| port.to_string());
                self.printer.send(elapsed, &to, words);
                let Some(value) = self.serve(name, link, tag, &command) else { return Vec::new() };
                let mut inputs = vec![Input::Reply { link, tag, value }];
                if let (Command::PublishHello(payload), Input::Reply { value: Reply::Integer(_), .. }) =
                    (&command, &inputs[0])
                {
                    inputs.extend(self.deliver(name, link, payload));
                }
                return own(inputs);
            }
            Output::SendPeer { peer, tag, command } => {
                let value = self.answer_of(&peer, &command);
                return own(value.map(|value| Input::PeerReply { peer, tag, value }).into_iter().collect());
            }
            Output::Persist { rev, record } => return own(self.save(name, rev, *record)),
            Output::Resolve(host) => {
                let known = self.names.get(&*host).copied();
                return own(known.map(|ip| Input::Resolved { host, ip }).into_iter().collect());
            }
            Output::Notify(notice) => return self.route(name, notice),
            _ => {}
        }
        Vec::new()
    }

    fn watched(&mut self, name: &MasterName) -> &mut Watched {
        self.masters.get_mut(name).expect("watched")
    }

    fn serve(&mut self, name: &MasterName, link: LinkId, tag: Tag, command: &Command) -> Option<Reply> {
        let (port, channel) = *self.watched(name).links.get(&link)?;
        let server = self.servers.get_mut(&port)?;
        match (server.state, channel) {
            (State::Runs, Channel::Command) => Some(server.serve(command)),
            (State::Hangs, Channel::Command) => {
                self.held.push((name.clone(), link, tag, command.clone(), port));
                None
            }
            _ => None,
        }
    }

    /// A hello is heard by the subscribers of the server that it was published at and, if that is a master, by those of
    /// its replicas.
    fn deliver(&mut self, name: &MasterName, link: LinkId, payload: &str) -> Vec<Input> {
        let Some((at, _)) = self.watched(name).links.get(&link).copied() else { return Vec::new() };
        let is_master = self.servers.get(&at).is_some_and(|server| server.role == "master");
        let hears = |port: u16, server: &Server| {
            let replicates = is_master && server.role == "slave" && server.follows.1 == at;
            server.state == State::Runs && (port == at || replicates)
        };
        let ports: Vec<u16> =
            self.servers.iter().filter(|(port, server)| hears(**port, server)).map(|(port, _)| *port).collect();
        let subscribed = |channel: Channel, port: &u16| channel == Channel::PubSub && ports.contains(port);
        let links = self.watched(name).links.iter().filter(|(_, (port, channel))| subscribed(*channel, port));
        links.map(|(link, _)| Input::PubSub { link: *link, payload: Some(payload.as_bytes().into()) }).collect()
    }

    fn answer_of(&mut self, peer: &RunId, command: &Command) -> Option<Reply> {
        let known = self.peers.get_mut(peer).filter(|known| known.connected)?;
        let Command::IsMasterDown { epoch, candidate, .. } = command else {
            return (known.silent_since.is_none()).then_some(Reply::Integer(1));
        };
        let down = match known.opinion {
            Opinion::Silent => return None,
            Opinion::Garbled => return Some(Reply::Error(b"ERR something is wrong"[..].into())),
            Opinion::Down => 1,
            Opinion::Up => 0,
        };
        // Who is not asked for a vote tells of none.
        let (leader, epoch) = match candidate {
            Some(candidate) => {
                if *epoch > known.vote.1 {
                    known.vote = (Some(candidate.clone()), *epoch);
                }
                known.vote.clone()
            }
            None => (None, Epoch(0)),
        };
        let leader = leader.as_ref().map_or("*", RunId::as_str).as_bytes().into();
        let epoch = i64::try_from(epoch.0).expect("a sane epoch");
        Some(Reply::Array(vec![Reply::Integer(down), Reply::Bulk(leader), Reply::Integer(epoch)]))
    }

    /// As the supervisor does: a peer that is watched for the first time is connected at once.
    fn route(&mut self, from: &MasterName, notice: NodeNotice) -> Vec<(MasterName, Input)> {
        let mut inputs = Vec::new();
        if let NodeNotice::WatchPeer { peer, .. } | NodeNotice::PeerMoved { peer, .. } = &notice {
            self.meet(peer);
            inputs.push((from.clone(), self.health(peer)));
        }
        for routed in self.registry.route(from, notice) {
            if let Routed::ToMonitor { master, notice } = routed {
                inputs.push((master, Input::Notice(notice)));
            }
        }
        inputs
    }
}
