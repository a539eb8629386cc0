//! One monitor among servers and peers that answer at once, on a clock that the test moves: the small world that every
//! scenario speaks through. The scenarios are beside it, by topic.

mod admin;
mod beyond;
mod contact;
mod demote;
mod discovery;
mod down;
mod failover;
mod identity;
mod reborn;
mod vote;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::record::IdentityRecord;
use super::*;
use crate::sentinel::NodeSettings;
use crate::sentinel::ages::SharedAges;
use crate::sentinel::command::Command;
use crate::sentinel::epoch::EpochRegister;
use crate::sentinel::groups::GroupRegister;
use crate::sentinel::id::{LinkId, MasterName, Secret};
use crate::sentinel::io::{AdminRequest, Answer, Channel, FailoverOrder, LinkError, Reply, SetOption, SpecChange};
use crate::sentinel::lateness::LatenessRegister;
use crate::sentinel::node::NodeNotice;
use crate::sentinel::peer::LinkHealth;
use crate::sentinel::policy::Policies;
use crate::sentinel::tilt::TiltRegister;
use crate::sentinel::time::{Now, UnixMillis};

pub(super) const ME: &str = "1111111111111111111111111111111111111111";
pub(super) const PEER_A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(super) const PEER_B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub(super) const MASTER: &str = "127.0.0.1:6379";
pub(super) const REPLICA: &str = "127.0.0.1:6380";
pub(super) const OTHER_REPLICA: &str = "127.0.0.1:6381";

/// What a server at an address says.
#[derive(Clone)]
pub(super) struct FakeServer {
    pub(super) role: Role,
    pub(super) master_port: u16,
    pub(super) run_id: char,
    pub(super) replicas: Vec<u16>,
    pub(super) offset: u64,
    pub(super) obeys: bool,
    /// `master_link_down_since_seconds`; 0 is up.
    pub(super) link_down_seconds: u64,
    /// `redis_version`
    pub(super) version: &'static str,
    /// More lines of its INFO.
    pub(super) more: Vec<String>,
}

pub(super) struct Bench {
    pub(super) monitor: Monitor,
    pub(super) epoch: EpochRegister,
    pub(super) tilt: TiltRegister,
    pub(super) lateness: LatenessRegister,
    pub(super) groups: GroupRegister,
    pub(super) node: NodeSettings,
    pub(super) now: u64,
    pub(super) wake: u64,
    /// By how much the wall clock was set.
    pub(super) wall_step: i64,
    pub(super) links: BTreeMap<LinkId, String>,
    /// Those of `links` that are subscriptions.
    pub(super) subscriptions: BTreeSet<LinkId>,
    pub(super) servers: BTreeMap<String, FakeServer>,
    pub(super) dead: BTreeSet<String>,
    pub(super) opinions: BTreeMap<RunId, (bool, Option<RunId>, Epoch)>,
    pub(super) disk_works: bool,
    pub(super) disk_answers: bool,
    pub(super) seen: Vec<Output>,
}

impl Bench {
    /// What the monitor may look at now.
    pub(super) fn env(&self) -> Env<'_> {
        Env {
            now: clock(self.now),
            epoch: &self.epoch,
            tilt: &self.tilt,
            lateness: &self.lateness,
            groups: &self.groups,
            node: &self.node,
        }
    }

    /// A master with two replicas that it knows of, quorum 2, down-after 1000 and failover-timeout 6000.
    pub(super) fn new() -> Bench {
        Bench::with(|_, _| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut MasterRecord, &mut NodeSettings)) -> Bench {
        let mut node = NodeSettings::new(RunId::from(ME));
        let mut spec = MasterSpec::new(MasterName::from("mymaster"), 2, &node.periods);
        (spec.down_after, spec.failover_timeout) = (1_000, 6_000);
        let addr = Addr::new("127.0.0.1", 6379);
        let (replicas, sentinels) = (Vec::new(), Vec::new());
        let (config_epoch, leader_epoch) = (Epoch(0), Epoch(0));
        let mut record = MasterRecord {
            spec,
            addr,
            config_epoch,
            leader_epoch,
            replicas,
            sentinels,
            identity: IdentityRecord::default(),
        };
        change(&mut record, &mut node);
        let (epoch, tilt) = (EpochRegister::new(record.config_epoch, [record.leader_epoch]), TiltRegister::default());
        let (lateness, groups) = (LatenessRegister::default(), GroupRegister::default());
        let now = 1_000_000;
        let env =
            Env { now: clock(now), epoch: &epoch, tilt: &tilt, lateness: &lateness, groups: &groups, node: &node };
        let monitor = Monitor::new(record, 7, &env);
        let server = |role, run_id, replicas: &[u16]| FakeServer {
            role,
            master_port: 6379,
            run_id,
            replicas: replicas.to_vec(),
            offset: 10,
            obeys: true,
            link_down_seconds: 0,
            version: "6.2.14",
            more: Vec::new(),
        };
        let servers = BTreeMap::from([
            (MASTER.to_owned(), server(Role::Master, 'm', &[6380, 6381])),
            (REPLICA.to_owned(), server(Role::Replica, 'r', &[])),
            (OTHER_REPLICA.to_owned(), server(Role::Replica, 's', &[])),
        ]);
        let mut bench = Bench {
            monitor,
            epoch,
            tilt,
            lateness,
            groups,
            node,
            now,
            wake: now,
            wall_step: 0,
            links: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            servers,
            dead: BTreeSet::new(),
            opinions: BTreeMap::new(),
            disk_works: true,
            disk_answers: true,
            seen: Vec::new(),
        };
        bench.feed(Input::Tick);
        bench
    }

    /// The same with two peers, up and agreeing with whatever they are asked.
    pub(super) fn with_peers() -> Bench {
        let mut bench = Bench::new();
        for (peer, port) in [(PEER_A, 26380), (PEER_B, 26381)] {
            bench.hello(peer, port, 0, 6379, 0);
            bench.opinions.insert(RunId::from(peer), (true, None, Epoch(0)));
        }
        bench.run(3_000);
        bench.seen.clear();
        bench
    }

    pub(super) fn hello(&mut self, id: &str, port: u16, epoch: u64, master_port: u16, config_epoch: u64) {
        self.feed(Input::Hello(Box::new(Hello {
            addr: Addr::new("127.0.0.1", port),
            id: RunId::from(id),
            current_epoch: Epoch(epoch),
            master: MasterName::from("mymaster"),
            master_addr: Addr::new("127.0.0.1", master_port),
            config_epoch: Epoch(config_epoch),
        })));
    }

    /// Hands in an input and everything that follows from it at once.
    pub(super) fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Outbox::default();
            let wall = UnixMillis(self.now.saturating_add_signed(self.wall_step));
            let now = Now { mono: Millis(self.now), wall };
            let env = Env {
                now,
                epoch: &self.epoch,
                tilt: &self.tilt,
                lateness: &self.lateness,
                groups: &self.groups,
                node: &self.node,
            };
            self.monitor.handle(input, &env, &mut out);
            for output in out.drain() {
                inputs.extend(self.react(&output));
                self.seen.push(output);
            }
        }
    }

    pub(super) fn react(&mut self, output: &Output) -> Vec<Input> {
        match output {
            Output::WakeAt(at) => {
                self.wake = at.0;
                vec![]
            }
            Output::Connect { link, addr, channel } => {
                let addr = addr.to_string();
                if addr.starts_with("silent.example") {
                    return vec![];
                }
                let known = self.servers.contains_key(&addr) || addr.starts_with("redis.example");
                if self.dead.contains(&addr) || !known {
                    return vec![Input::LinkDown(*link, LinkError("refused".to_owned()))];
                }
                self.links.insert(*link, addr);
                if *channel == Channel::PubSub {
                    self.subscriptions.insert(*link);
                }
                vec![Input::LinkUp { link: *link, local: IpAddr::V4(Ipv4Addr::LOCALHOST) }]
            }
            Output::Close(link) => {
                self.links.remove(link);
                vec![]
            }
            Output::Send { link, tag, command } => {
                let Some(value) = self.serve(*link, command) else { return vec![] };
                let heard = match command {
                    Command::PublishHello(payload) => self.deliver(*link, payload),
                    _ => Vec::new(),
                };
                [Input::Reply { link: *link, tag: *tag, value }].into_iter().chain(heard).collect()
            }
            Output::SendPeer { peer, tag, command } => {
                let Some((down, vote, epoch)) = self.opinions.get(peer).cloned() else { return vec![] };
                // Who is not asked for a vote tells of none (commands.md 69).
                let asked = matches!(command, Command::IsMasterDown { candidate: Some(_), .. });
                let (leader, epoch) = if asked { (vote, epoch) } else { (None, Epoch(0)) };
                let leader = leader.map_or("*".to_owned(), |leader| leader.to_string());
                let value = Reply::Array(vec![
                    Reply::Integer(i64::from(down)),
                    Reply::Bulk(leader.into_bytes().into()),
                    Reply::Integer(epoch.0 as i64),
                ]);
                vec![Input::PeerReply { peer: peer.clone(), tag: *tag, value }]
            }
            Output::Notify(NodeNotice::WatchPeer { peer, .. } | NodeNotice::PeerMoved { peer, .. }) => {
                vec![self.health(peer)]
            }
            Output::Persist { rev, .. } if self.disk_answers => {
                vec![if self.disk_works { Input::Durable(*rev) } else { Input::PersistFailed(*rev) }]
            }
            _ => vec![],
        }
    }

    /// What was published on `link` is heard by the subscribers of that server and, if it is a master, of its replicas.
    fn deliver(&self, link: LinkId, payload: &str) -> Vec<Input> {
        let at = &self.links[&link];
        let relays = self.servers.get(at).is_some_and(|server| server.role == Role::Master);
        let hears = |addr: &String| {
            let replicates =
                |server: &FakeServer| server.role == Role::Replica && at.ends_with(&server.master_port.to_string());
            addr == at || (relays && !self.dead.contains(addr) && self.servers.get(addr).is_some_and(replicates))
        };
        let subscribers = self.links.iter().filter(|(link, addr)| self.subscriptions.contains(link) && hears(addr));
        let message = |(link, _): (&LinkId, _)| Input::PubSub { link: *link, payload: Some(payload.as_bytes().into()) };
        subscribers.map(message).collect()
    }

    pub(super) fn health(&self, peer: &RunId) -> Input {
        let health = LinkHealth {
            connected: true,
            local: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ping_pending_since: None,
            ..LinkHealth::new(Millis(self.now))
        };
        Input::PeerHealth { peer: peer.clone(), ages: Arc::new(SharedAges::new(&health)), health: Box::new(health) }
    }

    pub(super) fn serve(&mut self, link: LinkId, command: &Command) -> Option<Reply> {
        let addr = self.links.get(&link)?.clone();
        if self.dead.contains(&addr) {
            return None;
        }
        let server = self.servers.get_mut(&addr)?;
        Some(match command {
            Command::Ping => Reply::Status(b"PONG"[..].into()),
            Command::PublishHello(_) => Reply::Integer(1),
            Command::Info => Reply::Bulk(format!("{}\r\nused_memory:1", server.info()).into_bytes().into()),
            Command::InfoSections => Reply::Bulk(server.info().into_bytes().into()),
            Command::ReplicaofNoOne if server.obeys => {
                server.role = Role::Master;
                Reply::Status(b"QUEUED"[..].into())
            }
            Command::Replicaof { port, .. } if server.obeys => {
                (server.role, server.master_port, server.link_down_seconds) = (Role::Replica, *port, 0);
                Reply::Status(b"QUEUED"[..].into())
            }
            _ => Reply::Status(b"OK"[..].into()),
        })
    }

    /// Lets `ms` pass, waking the monitor whenever it asked for it.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.wake <= end {
            self.now = self.now.max(self.wake);
            self.feed(Input::Tick);
        }
        self.now = end;
    }

    /// The process of a server is killed: its connections break at once.
    pub(super) fn kill(&mut self, addr: &str) {
        self.dead.insert(addr.to_owned());
        let broken: Vec<LinkId> = self.links.iter().filter(|(_, at)| *at == addr).map(|(link, _)| *link).collect();
        for link in broken {
            self.links.remove(&link);
            self.feed(Input::LinkDown(link, LinkError("reset".to_owned())));
        }
    }

    /// One connection to a server breaks.
    pub(super) fn lose(&mut self, addr: &str, channel: Channel) {
        let is_it = |link: &LinkId| self.subscriptions.contains(link) == (channel == Channel::PubSub);
        let mut links = self.links.iter().filter(|(_, at)| *at == addr).map(|(link, _)| *link);
        let link = links.find(is_it).expect("it is connected");
        self.links.remove(&link);
        self.feed(Input::LinkDown(link, LinkError("reset".to_owned())));
    }

    /// Everything emitted since the last call, one `name payload` a line, addresses left out.
    pub(super) fn events(&mut self) -> Vec<String> {
        let seen = std::mem::take(&mut self.seen);
        seen.into_iter()
            .filter_map(|output| match output {
                Output::Emit(event) if event.is_published() => Some(event.to_string()),
                _ => None,
            })
            .collect()
    }

    /// Log lines that are no events, since the last look.
    pub(super) fn logs(&self) -> Vec<String> {
        let lines = self.seen.iter().filter_map(|output| match output {
            Output::Log(_, text) => Some(text.clone()),
            _ => None,
        });
        lines.collect()
    }

    /// The first words of `events`.
    pub(super) fn event_names(&mut self) -> Vec<String> {
        self.events().iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    /// Commands sent to an address since the last look at `seen`, first words.
    pub(super) fn sent_to(&self, addr: &str) -> Vec<String> {
        let mut links = BTreeSet::new();
        let mut words = Vec::new();
        for output in &self.seen {
            match output {
                Output::Connect { link, addr: to, .. } if to.to_string() == addr => {
                    links.insert(*link);
                }
                Output::Send { link, command, .. }
                    if links.contains(link) || self.links.get(link).is_some_and(|at| at == addr) =>
                {
                    let all = command.words(&self.monitor.spec.renames);
                    words.push(String::from_utf8(all.join(&b' ')).expect("text"));
                }
                _ => {}
            }
        }
        words
    }

    pub(super) fn answers(&self) -> Vec<Answer> {
        let answers = self.seen.iter().filter_map(|output| match output {
            Output::Answer { with, .. } => Some(with.clone()),
            _ => None,
        });
        answers.collect()
    }

    pub(super) fn admin(&mut self, request: AdminRequest) {
        self.feed(Input::Admin { from: ReplyToken(1), request });
    }

    pub(super) fn ask_for_vote(&mut self, candidate: &str, epoch: u64) {
        let (from, addr) = (ReplyToken(2), Addr::new("127.0.0.1", 6379));
        self.feed(Input::VoteRequest { from, addr, epoch: Epoch(epoch), candidate: RunId::from(candidate) });
    }

    pub(super) fn elect_me(&mut self, epoch: u64) {
        for peer in [PEER_A, PEER_B] {
            self.opinions.insert(RunId::from(peer), (true, Some(RunId::from(ME)), Epoch(epoch)));
        }
    }
}

impl FakeServer {
    fn info(&self) -> String {
        let run_id: String = std::iter::repeat_n(self.run_id, 40).collect();
        let mut lines = vec![format!("redis_version:{}", self.version), format!("run_id:{run_id}")];
        lines.push(format!("role:{}", self.role.word()));
        if self.role == Role::Replica {
            lines.push("master_host:127.0.0.1".to_owned());
            lines.push(format!("master_port:{}", self.master_port));
            lines.push(format!("master_link_status:{}", if self.link_down_seconds == 0 { "up" } else { "down" }));
            if self.link_down_seconds != 0 {
                lines.push(format!("master_link_down_since_seconds:{}", self.link_down_seconds));
            }
            lines.push("slave_priority:100".to_owned());
            lines.push(format!("slave_repl_offset:{}", self.offset));
        }
        for (index, port) in self.replicas.iter().enumerate() {
            lines.push(format!("slave{index}:ip=127.0.0.1,port={port},state=online,offset=1,lag=0"));
        }
        lines.extend(self.more.iter().cloned());
        lines.join("\r\n")
    }
}

pub(super) fn clock(now: u64) -> Now {
    Now { mono: Millis(now), wall: UnixMillis(now) }
}

pub(super) fn vote_answer(down: bool, leader: Option<&str>, epoch: u64) -> Answer {
    Answer::Vote { down, leader: leader.map(RunId::from), epoch: Epoch(epoch) }
}
