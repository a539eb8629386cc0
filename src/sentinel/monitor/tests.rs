//! One monitor among servers and peers that answer at once, on a clock that the test moves. More than 600 lines, because
//! every scenario speaks through the same small world at the top.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::sentinel::NodeSettings;
use crate::sentinel::command::Command;
use crate::sentinel::epoch::EpochRegister;
use crate::sentinel::id::{LinkId, MasterName, Secret};
use crate::sentinel::io::{AdminRequest, Answer, Channel, LinkError, Reply, SetOption, SpecChange};
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
}

pub(super) struct Bench {
    pub(super) monitor: Monitor,
    pub(super) epoch: EpochRegister,
    pub(super) tilt: TiltRegister,
    pub(super) node: NodeSettings,
    pub(super) now: u64,
    pub(super) wake: u64,
    /// By how much the wall clock was set.
    pub(super) wall_step: i64,
    pub(super) links: BTreeMap<LinkId, String>,
    pub(super) servers: BTreeMap<String, FakeServer>,
    pub(super) dead: BTreeSet<String>,
    pub(super) opinions: BTreeMap<RunId, (bool, Option<RunId>, Epoch)>,
    pub(super) disk_works: bool,
    pub(super) disk_answers: bool,
    pub(super) seen: Vec<Output>,
}

impl Bench {
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
        let mut record = MasterRecord { spec, addr, config_epoch, leader_epoch, replicas, sentinels };
        change(&mut record, &mut node);
        let (epoch, tilt) = (EpochRegister::new(record.config_epoch), TiltRegister::default());
        let now = 1_000_000;
        let env = Env { now: clock(now), epoch: &epoch, tilt: &tilt, node: &node };
        let monitor = Monitor::new(record, 7, &env);
        let server = |role, run_id, replicas: &[u16]| FakeServer {
            role,
            master_port: 6379,
            run_id,
            replicas: replicas.to_vec(),
            offset: 10,
            obeys: true,
            link_down_seconds: 0,
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
            node,
            now,
            wake: now,
            wall_step: 0,
            links: BTreeMap::new(),
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
        self.feed(Input::Hello(Hello {
            host: "127.0.0.1".to_owned(),
            port,
            id: RunId::from(id),
            current_epoch: Epoch(epoch),
            master: MasterName::from("mymaster"),
            master_host: "127.0.0.1".to_owned(),
            master_port,
            config_epoch: Epoch(config_epoch),
        }));
    }

    /// Hands in an input and everything that follows from it at once.
    pub(super) fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Outbox::default();
            let wall = UnixMillis(self.now.saturating_add_signed(self.wall_step));
            let now = Now { mono: Millis(self.now), wall };
            let env = Env { now, epoch: &self.epoch, tilt: &self.tilt, node: &self.node };
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
            Output::Connect { link, addr, .. } => {
                let addr = addr.to_string();
                let known = self.servers.contains_key(&addr) || addr.starts_with("redis.example");
                if self.dead.contains(&addr) || !known {
                    return vec![Input::LinkDown(*link, LinkError("refused".to_owned()))];
                }
                self.links.insert(*link, addr);
                vec![Input::LinkUp { link: *link, local: IpAddr::V4(Ipv4Addr::LOCALHOST) }]
            }
            Output::Close(link) => {
                self.links.remove(link);
                vec![]
            }
            Output::Send { link, tag, command } => {
                let Some(value) = self.serve(*link, command) else { return vec![] };
                vec![Input::Reply { link: *link, tag: *tag, value }]
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

    pub(super) fn health(&self, peer: &RunId) -> Input {
        let health = LinkHealth {
            connected: true,
            local: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ping_pending_since: None,
            ..LinkHealth::new(Millis(self.now))
        };
        Input::PeerHealth { peer: peer.clone(), health }
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
            Command::Info => Reply::Bulk(server.info().into_bytes().into()),
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
        let mut lines = vec![format!("run_id:{run_id}"), format!("role:{}", self.role.word())];
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
        lines.join("\r\n")
    }
}

fn clock(now: u64) -> Now {
    Now { mono: Millis(now), wall: UnixMillis(now) }
}

fn vote(down: bool, leader: Option<&str>, epoch: u64) -> Answer {
    Answer::Vote { down, leader: leader.map(RunId::from), epoch: Epoch(epoch) }
}

/// failover.md 13, 14, 16, 17, 33
#[test]
fn greets_a_server_as_stock_does() {
    let bench = Bench::new();
    let sent = bench.sent_to(MASTER);
    let expected = [
        "CLIENT SETNAME sentinel-11111111-cmd",
        "PING",
        "CLIENT SETNAME sentinel-11111111-pubsub",
        "SUBSCRIBE __sentinel__:hello",
        "INFO",
    ];
    assert_eq!(sent[..5], expected);
}

/// failover.md 18
#[test]
fn authenticates_with_a_password_only() {
    let greeting = |user: Option<&str>, password: Option<&str>| {
        let bench = Bench::with(|record, _| {
            record.spec.auth_user = user.map(str::to_owned);
            record.spec.auth_pass = password.map(|password| Secret::from(password.as_bytes()));
        });
        bench.sent_to(MASTER)[0].clone()
    };
    assert_eq!(greeting(None, Some("pw")), "AUTH pw");
    assert_eq!(greeting(Some("bob"), Some("pw")), "AUTH bob pw");
    assert_eq!(greeting(Some("bob"), None), "CLIENT SETNAME sentinel-11111111-cmd");
}

/// failover.md 28
#[test]
fn renames_command_words_but_not_subcommands() {
    let bench = Bench::with(|record, _| {
        record.spec.renames.insert("CLIENT".to_owned(), "CLIENTX".to_owned());
        record.spec.renames.insert("INFO".to_owned(), "INFOX".to_owned());
    });
    let sent = bench.sent_to(MASTER);
    assert!(sent.contains(&"CLIENTX SETNAME sentinel-11111111-cmd".to_owned()), "{sent:?}");
    assert!(sent.contains(&"INFOX".to_owned()));
}

/// failover.md 49, 53, 10
#[test]
fn discovers_replicas_once() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.events(),
        [
            "+slave slave 127.0.0.1:6380 127.0.0.1 6380 @ mymaster 127.0.0.1 6379",
            "+slave slave 127.0.0.1:6381 127.0.0.1 6381 @ mymaster 127.0.0.1 6379",
        ]
    );
    bench.run(25_000);
    assert_eq!(bench.events(), Vec::<String>::new());
}

/// failover.md 36, 38, 42
#[test]
fn keeps_stock_s_pace_with_a_healthy_master() {
    let mut bench = Bench::new();
    bench.run(1_000);
    bench.seen.clear();
    bench.run(100_000);
    let sent = bench.sent_to(MASTER);
    let count = |word: &str| sent.iter().filter(|command| command.starts_with(word)).count();
    assert!((95..=101).contains(&count("PING")), "{}", count("PING"));
    assert!((9..=10).contains(&count("INFO")), "{}", count("INFO"));
    assert!((48..=51).contains(&count("PUBLISH")), "{}", count("PUBLISH"));
}

/// failover.md 92, 97, 104, 112, 113: the very millisecond.
#[test]
fn a_killed_master_is_down_after_its_time() {
    let mut bench = Bench::with(|record, _| record.spec.quorum = 1);
    bench.run(5_300);
    bench.events();
    bench.kill(MASTER);
    bench.run(1_000);
    assert_eq!(bench.events(), Vec::<String>::new());
    bench.run(1);
    let events = bench.event_names();
    assert_eq!(events[..4], ["+sdown", "+odown", "+new-epoch", "+try-failover"]);
}

/// failover.md 92, 12.3 S3: also when the connection was opened so lately that the next attempt has to wait.
#[test]
fn the_down_clock_starts_when_the_connection_breaks() {
    let mut bench = Bench::new();
    bench.run(100);
    bench.events();
    bench.kill(MASTER);
    bench.run(1_000);
    assert_eq!(bench.events(), Vec::<String>::new());
    bench.run(1);
    assert_eq!(bench.event_names(), ["+sdown"]);
}

/// failover.md 144, 155, 157, 165, 166, 167, 194 and 12.1: the leader's events, in order.
#[test]
fn the_leader_fails_over_in_stock_s_order() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(2_000);
    let events = bench.events();
    let at = "@ mymaster 127.0.0.1 6379";
    let replica = format!("slave 127.0.0.1:6380 127.0.0.1 6380 {at}");
    let other = format!("slave 127.0.0.1:6381 127.0.0.1 6381 {at}");
    let master = "master mymaster 127.0.0.1 6379";
    let expected = [
        format!("+sdown {master}"),
        format!("+odown {master} #quorum 2/2"),
        "+new-epoch 1".to_owned(),
        format!("+try-failover {master}"),
        format!("+vote-for-leader {ME} 1"),
        format!("+elected-leader {master}"),
        format!("+failover-state-select-slave {master}"),
        format!("+selected-slave {replica}"),
        format!("+failover-state-send-slaveof-noone {replica}"),
        format!("+failover-state-wait-promotion {replica}"),
        format!("-role-change {replica} new reported role is master"),
        format!("+promoted-slave {replica}"),
        format!("+failover-state-reconf-slaves {master}"),
        format!("+slave-reconf-sent {other}"),
        format!("+slave-reconf-inprog {other}"),
        format!("+slave-reconf-done {other}"),
        format!("+failover-end {master}"),
        "+switch-master mymaster 127.0.0.1 6379 127.0.0.1 6380".to_owned(),
        "+slave slave 127.0.0.1:6379 127.0.0.1 6379 @ mymaster 127.0.0.1 6380".to_owned(),
        "+slave slave 127.0.0.1:6381 127.0.0.1 6381 @ mymaster 127.0.0.1 6380".to_owned(),
    ];
    assert_eq!(events[..expected.len()], expected);
    let record = bench.monitor.record();
    assert_eq!((record.addr.port, record.config_epoch, record.leader_epoch), (6380, Epoch(1), Epoch(1)));
    assert_eq!(record.sentinels.len(), 2);
}

/// failover.md 151, 12.3 S8: the transaction, and INFO in the same write.
#[test]
fn promotes_with_one_transaction() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(1_500);
    let sent = bench.sent_to(REPLICA);
    let start = sent.iter().position(|command| command == "MULTI").expect("a transaction");
    let expected = [
        "MULTI",
        "SLAVEOF NO ONE",
        "CONFIG REWRITE",
        "CLIENT KILL TYPE normal",
        "CLIENT KILL TYPE pubsub",
        "EXEC",
        "INFO",
    ];
    assert_eq!(sent[start..start + 7], expected);
}

/// failover.md 134, I5: an own vote that is not on disk elects nobody.
#[test]
fn does_not_lead_before_its_own_vote_is_durable() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.disk_answers = false;
    bench.kill(MASTER);
    bench.run(3_000);
    let events = bench.event_names();
    assert!(events.contains(&"+try-failover".to_owned()));
    assert!(!events.contains(&"+elected-leader".to_owned()), "{events:?}");
    let rev = bench.monitor.rev;
    bench.disk_answers = true;
    bench.feed(Input::Durable(rev));
    assert!(bench.event_names().contains(&"+elected-leader".to_owned()));
}

/// failover.md I5, 155: the promotion is told to nobody before it is on disk.
#[test]
fn announces_a_promotion_only_once_it_is_durable() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.kill(MASTER);
    bench.run(500);
    bench.disk_answers = false;
    bench.run(600);
    let vote = bench.monitor.rev;
    bench.feed(Input::Durable(vote));
    bench.run(1_000);
    let env = Env { now: clock(bench.now), epoch: &bench.epoch, tilt: &bench.tilt, node: &bench.node };
    assert_eq!(bench.monitor.view(&env).current_port, 6379);
    assert_ne!(bench.monitor.record().addr.port, 6379, "what is being saved is the new address");
    let announced = |bench: &Bench| {
        bench.seen.iter().any(|output| {
            matches!(output, Output::SendPeer { command: Command::PublishHello(text), .. } if text.ends_with(",1"))
        })
    };
    assert!(!announced(&bench));
    let rev = bench.monitor.rev;
    bench.feed(Input::Durable(rev));
    assert!(announced(&bench));
    assert!(bench.event_names().contains(&"+promoted-slave".to_owned()));
}

/// failover.md 118, 119, 120, 121, 124
#[test]
fn grants_one_vote_per_epoch_and_only_from_disk() {
    let mut bench = Bench::with_peers();
    bench.disk_answers = false;
    bench.ask_for_vote(PEER_A, 3);
    bench.ask_for_vote(PEER_B, 3);
    assert_eq!(bench.answers(), []);
    let rev = bench.monitor.rev;
    bench.feed(Input::Durable(rev));
    assert_eq!(bench.answers(), [vote(false, Some(PEER_A), 3), vote(false, Some(PEER_A), 3)]);
    assert_eq!(bench.events(), ["+new-epoch 3".to_owned(), format!("+vote-for-leader {PEER_A} 3")]);
    bench.ask_for_vote(PEER_B, 2);
    bench.ask_for_vote(PEER_B, 3);
    assert_eq!(bench.answers(), [vote(false, Some(PEER_A), 3), vote(false, Some(PEER_A), 3)]);
    assert_eq!(bench.events(), Vec::<String>::new());
    let restarted = Bench::with(|record, _| *record = bench.monitor.record());
    assert_eq!(restarted.monitor.ledger.vote(), (None, Epoch(3)));
}

/// failover.md 128, R9
#[test]
fn refuses_a_vote_that_cannot_be_saved() {
    let mut bench = Bench::with_peers();
    bench.disk_works = false;
    bench.ask_for_vote(PEER_A, 3);
    assert_eq!(bench.answers(), [vote(false, None, 0)]);
    bench.disk_works = true;
    bench.ask_for_vote(PEER_B, 3);
    assert_eq!(bench.answers()[1], vote(false, None, 3), "the first may be on disk after all");
    assert!(!bench.event_names().contains(&"+vote-for-leader".to_owned()));
}

/// failover.md 204, I18: an attempt that cannot be saved is not repeated, so that the votes of the others are free for
/// those who can save; once a save works it runs again.
#[test]
fn does_not_stand_for_election_while_it_cannot_save() {
    let mut bench = Bench::with_peers();
    bench.disk_works = false;
    bench.kill(MASTER);
    bench.run(60_000);
    let saves = bench.seen.iter().filter_map(|seen| match seen {
        Output::Persist { rev, .. } => Some(*rev),
        _ => None,
    });
    let newest = saves.max().expect("it tried to save");
    let tries = |bench: &mut Bench| bench.event_names().iter().filter(|name| *name == "+try-failover").count();
    assert_eq!(tries(&mut bench), 1);
    bench.disk_works = true;
    bench.feed(Input::Durable(newest));
    bench.run(1_000);
    assert!(tries(&mut bench) >= 1, "it runs as soon as it can save");
}

/// failover.md 45, 105, 12.3 S4: eager at first, then once a second.
#[test]
fn asks_peers_eagerly_but_within_bounds() {
    let mut bench = Bench::with_peers();
    bench.opinions.insert(RunId::from(PEER_A), (false, None, Epoch(0)));
    bench.opinions.insert(RunId::from(PEER_B), (false, None, Epoch(0)));
    bench.kill(MASTER);
    let asks = |bench: &mut Bench, ms| {
        bench.seen.clear();
        bench.run(ms);
        let asks = bench.seen.iter().filter(|output| matches!(output, Output::SendPeer { tag: Tag::Ask, .. })).count();
        asks / 2
    };
    assert_eq!(asks(&mut bench, 1_000), 0);
    let first_second = asks(&mut bench, 1_001);
    assert!((10..=16).contains(&first_second), "{first_second}");
    assert!((9..=11).contains(&asks(&mut bench, 10_000)));
}

/// failover.md 108, 127, R6
#[test]
fn refuses_strange_vote_requests() {
    let mut bench = Bench::with_peers();
    bench.ask_for_vote(PEER_A, u64::MAX);
    assert_eq!(bench.answers(), [vote(false, None, 0)]);
    assert_eq!(bench.epoch.current(), Epoch(0));
    let (from, addr) = (ReplyToken(2), Addr::new("127.0.0.1", 1));
    bench.feed(Input::VoteRequest { from, addr, epoch: Epoch(9), candidate: RunId::from(PEER_A) });
    assert_eq!(bench.answers()[1], vote(false, None, 0));
    assert_eq!(bench.epoch.current(), Epoch(0));
}

/// failover.md 74, 81, 87, R8: I13, I19.
#[test]
fn refuses_strange_hellos_whole() {
    let mut bench = Bench::with_peers();
    bench.hello(ME, 26399, 5, 6380, 5);
    bench.hello(PEER_A, 26380, u64::MAX, 6380, 5);
    bench.hello(PEER_A, 26380, 5, 6380, u64::MAX);
    let mut hello = Hello::parse(format!("127.0.0.1,26380,{PEER_A},5,mymaster,no-such-host,6380,5").as_bytes());
    bench.feed(Input::Hello(hello.clone().expect("well-formed")));
    hello = hello.map(|hello| Hello { host: "no-such-host".to_owned(), id: RunId::from("new"), ..hello });
    bench.feed(Input::Hello(hello.expect("well-formed")));
    assert_eq!(bench.events(), Vec::<String>::new());
    assert_eq!((bench.epoch.current(), bench.monitor.record().config_epoch), (Epoch(0), Epoch(0)));
    assert_eq!(bench.monitor.sentinels.len(), 2);
}

/// failover.md 77, 78, 80, 82
#[test]
fn follows_peers_as_they_move() {
    let mut bench = Bench::with_peers();
    bench.hello(PEER_A, 26390, 4, 6379, 0);
    bench.hello("cccc", 26390, 4, 6379, 0);
    let at = "@ mymaster 127.0.0.1 6379";
    assert_eq!(
        bench.events(),
        [
            format!("+sentinel-address-switch master mymaster 127.0.0.1 6379 ip 127.0.0.1 port 26390 for {PEER_A}"),
            "+new-epoch 4".to_owned(),
            format!("+sentinel-invalid-addr sentinel {PEER_A} 127.0.0.1 26390 {at}"),
            format!("+sentinel sentinel cccc 127.0.0.1 26390 {at}"),
        ]
    );
    assert_eq!(bench.monitor.sentinels.len(), 2);
}

/// failover.md 83, 84, 85, I10
#[test]
fn adopts_newer_configurations_only() {
    let mut bench = Bench::with_peers();
    bench.hello(PEER_A, 26380, 2, 6379, 2);
    assert_eq!(bench.events(), ["+new-epoch 2"]);
    bench.hello(PEER_A, 26380, 2, 6380, 2);
    bench.hello(PEER_A, 26380, 2, 6380, 1);
    assert_eq!(bench.events(), Vec::<String>::new());
    bench.hello(PEER_A, 26380, 3, 6381, 3);
    assert_eq!(
        bench.events()[..5],
        [
            "+new-epoch 3".to_owned(),
            format!("+config-update-from sentinel {PEER_A} 127.0.0.1 26380 @ mymaster 127.0.0.1 6379"),
            "+switch-master mymaster 127.0.0.1 6379 127.0.0.1 6381".to_owned(),
            "+slave slave 127.0.0.1:6379 127.0.0.1 6379 @ mymaster 127.0.0.1 6381".to_owned(),
            "+slave slave 127.0.0.1:6380 127.0.0.1 6380 @ mymaster 127.0.0.1 6381".to_owned(),
        ]
    );
}

/// failover.md 63, 65: a replica in the master's role is corrected after 8 s, and not at its next INFO after that.
#[test]
fn converts_a_returned_master_after_eight_seconds() {
    let mut bench = Bench::with_peers();
    bench.run(20_000);
    bench.servers.get_mut(REPLICA).expect("there").role = Role::Master;
    bench.run(10_000);
    let seen_at = bench.now;
    assert!(bench.event_names().contains(&"-role-change".to_owned()));
    while !bench.event_names().contains(&"+convert-to-slave".to_owned()) {
        bench.run(10);
        assert!(bench.now - seen_at <= 8_100, "not converted");
    }
    assert_eq!(bench.servers[REPLICA].role, Role::Replica);
}

/// failover.md 66
#[test]
fn fixes_a_replica_of_another_master_after_the_failover_timeout() {
    let mut bench = Bench::with_peers();
    bench.run(20_000);
    bench.servers.get_mut(REPLICA).expect("there").master_port = 7000;
    bench.run(10_100);
    assert!(!bench.event_names().contains(&"+fix-slave-config".to_owned()));
    bench.run(10_100);
    assert!(bench.event_names().contains(&"+fix-slave-config".to_owned()));
    assert_eq!(bench.servers[REPLICA].master_port, 6379);
}

/// failover.md 161, R1: a stuck replica does not hold up the rest, also with parallel-syncs 1.
#[test]
fn gives_up_a_stuck_replica() {
    let mut bench = Bench::with_peers();
    bench.admin(AdminRequest::Set(vec![SetOption {
        shown: "failover-timeout 60000".to_owned(),
        change: SpecChange::FailoverTimeout(60_000),
    }]));
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.servers.get_mut(OTHER_REPLICA).expect("there").obeys = false;
    bench.kill(MASTER);
    bench.run(9_000);
    assert!(!bench.event_names().contains(&"+failover-end".to_owned()));
    bench.run(3_000);
    let events = bench.event_names();
    assert_eq!(events[..2], ["-slave-reconf-sent-timeout", "+failover-end"]);
}

/// failover.md 164, R2: the promoted replica dies while the others are reconfigured.
#[test]
fn ends_when_the_promoted_replica_dies() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.servers.get_mut(OTHER_REPLICA).expect("there").obeys = false;
    bench.kill(MASTER);
    bench.run(1_200);
    assert!(bench.event_names().contains(&"+promoted-slave".to_owned()));
    bench.kill(REPLICA);
    bench.run(1_100);
    let events = bench.event_names();
    assert!(
        events.contains(&"+failover-end".to_owned()) && events.contains(&"+switch-master".to_owned()),
        "{events:?}"
    );
}

/// failover.md 140, 136, and 12.3 S12, S13: without a majority an attempt ends at once, and the next follows soon.
#[test]
fn gives_up_an_election_that_cannot_be_won() {
    let mut bench = Bench::with_peers();
    bench.opinions.insert(RunId::from(PEER_A), (true, Some(RunId::from(PEER_A)), Epoch(1)));
    bench.opinions.insert(RunId::from(PEER_B), (true, Some(RunId::from(PEER_B)), Epoch(1)));
    bench.kill(MASTER);
    bench.run(1_100);
    let events = bench.event_names();
    assert!(events.contains(&"-failover-abort-not-elected".to_owned()), "{events:?}");
    bench.elect_me(2);
    bench.run(600);
    assert!(bench.event_names().contains(&"+elected-leader".to_owned()));
}

/// failover.md 130, 131: who has voted for another lets it work.
#[test]
fn a_voter_waits_for_the_leader_it_voted_for() {
    let mut bench = Bench::with_peers();
    bench.kill(MASTER);
    bench.run(900);
    bench.ask_for_vote(PEER_A, 1);
    bench.run(11_000);
    let delays = bench.seen.iter().filter(|output| matches!(output, Output::NextFailoverDelay { .. })).count();
    assert_eq!(delays, 1);
    assert!(!bench.event_names().contains(&"+try-failover".to_owned()));
    bench.run(3_000);
    assert!(bench.event_names().contains(&"+try-failover".to_owned()));
}

/// failover.md 145
#[test]
fn aborts_without_a_fit_replica() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.kill(REPLICA);
    bench.kill(OTHER_REPLICA);
    bench.kill(MASTER);
    bench.run(2_000);
    let events = bench.event_names();
    assert!(events.contains(&"-failover-abort-no-good-slave".to_owned()), "{events:?}");
}

/// failover.md 153, 154: an EXEC that was answered proves nothing.
#[test]
fn waits_for_the_role_and_not_for_exec() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    for replica in [REPLICA, OTHER_REPLICA] {
        bench.servers.get_mut(replica).expect("there").obeys = false;
    }
    bench.kill(MASTER);
    bench.run(6_900);
    let events = bench.event_names();
    assert!(events.contains(&"+failover-state-wait-promotion".to_owned()));
    assert!(!events.contains(&"+promoted-slave".to_owned()));
    bench.run(300);
    assert!(bench.event_names().contains(&"-failover-abort-slave-timeout".to_owned()));
}

/// failover.md 172, 173, 174, 177
#[test]
fn an_operator_s_failover_asks_nobody() {
    let mut bench = Bench::new();
    bench.run(3_000);
    bench.seen.clear();
    bench.disk_answers = false;
    bench.admin(AdminRequest::Failover);
    bench.admin(AdminRequest::Failover);
    assert_eq!(bench.answers(), [Answer::Ok, Answer::Error("INPROG Failover already in progress".to_owned())]);
    bench.disk_answers = true;
    let rev = bench.monitor.rev;
    bench.feed(Input::Durable(rev));
    bench.run(1_000);
    let events = bench.event_names();
    assert_eq!(events[..4], ["+new-epoch", "+try-failover", "+vote-for-leader", "+elected-leader"]);
    assert!(events.contains(&"+switch-master".to_owned()), "{events:?}");
    assert_eq!(bench.servers[MASTER].role, Role::Replica);
}

/// failover.md 173
#[test]
fn an_operator_s_failover_needs_a_replica() {
    let mut bench = Bench::with(|record, _| record.addr = Addr::new("127.0.0.1", 6380));
    bench.admin(AdminRequest::Failover);
    let refusal = Answer::Error("NOGOODSLAVE No suitable replica to promote".to_owned());
    assert_eq!(bench.answers(), [refusal]);
}

/// commands.md 120, 102: `+set` first, then the save, then the answer.
#[test]
fn set_is_answered_once_saved() {
    let mut bench = Bench::with_peers();
    let quorum = |n| AdminRequest::Set(vec![SetOption { shown: format!("quorum {n}"), change: SpecChange::Quorum(n) }]);
    bench.admin(quorum(3));
    assert_eq!(bench.answers(), [Answer::Ok]);
    assert_eq!(bench.events(), ["+set master mymaster 127.0.0.1 6379 quorum 3"]);
    bench.disk_works = false;
    bench.admin(quorum(4));
    assert_eq!(bench.answers(), [Answer::Error(admin::SAVE_FAILED.to_owned())]);
    assert_eq!(bench.monitor.record().spec.quorum, 4);
}

/// failover.md 34
#[test]
fn new_credentials_rebuild_the_links() {
    let mut bench = Bench::with_peers();
    let change = SpecChange::AuthPass(Some(Secret::from(&b"pw"[..])));
    bench.admin(AdminRequest::Set(vec![SetOption { shown: "auth-pass ******".to_owned(), change }]));
    bench.run(1_100);
    assert_eq!(bench.sent_to(MASTER).iter().filter(|command| *command == "AUTH pw").count(), 2);
    assert_eq!(bench.sent_to(REPLICA).iter().filter(|command| *command == "AUTH pw").count(), 2);
}

/// failover.md 125, 8.8
#[test]
fn reset_forgets_everything_but_epochs_and_settings() {
    let mut bench = Bench::with_peers();
    bench.ask_for_vote(PEER_A, 3);
    bench.seen.clear();
    bench.admin(AdminRequest::Reset);
    let events = bench.events();
    assert_eq!(events[0], "+reset-master master mymaster 127.0.0.1 6379");
    assert!(events[1].starts_with("+slave "), "replicas are found again: {events:?}");
    assert!(bench.monitor.record().sentinels.is_empty());
    bench.ask_for_vote(PEER_B, 3);
    assert_eq!(bench.answers(), [vote(false, None, 3)]);
}

/// failover.md I9: once a promotion was announced, its epoch names the new address for ever.
#[test]
fn reset_in_the_middle_keeps_the_announced_address() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(OTHER_REPLICA).expect("there").obeys = false;
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(1_200);
    assert!(matches!(bench.monitor.failover.state, FailoverState::ReconfReplicas { .. }));
    bench.events();
    bench.admin(AdminRequest::Reset);
    let events = bench.event_names();
    assert_eq!(events[0], "+switch-master");
    assert!(events.contains(&"+reset-master".to_owned()));
    let record = bench.monitor.record();
    assert_eq!((record.addr.port, record.config_epoch), (6380, Epoch(1)));
}

/// failover.md I9: a newer configuration that names the address we are failing over from replaces the promoted one.
#[test]
fn a_newer_configuration_in_the_middle_replaces_the_announced_address() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(OTHER_REPLICA).expect("there").obeys = false;
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(1_200);
    assert!(matches!(bench.monitor.failover.state, FailoverState::ReconfReplicas { .. }));
    bench.hello(PEER_A, 26380, 2, 6379, 2);
    let record = bench.monitor.record();
    assert_eq!((record.addr.port, record.config_epoch), (6379, Epoch(2)));
    assert_eq!(bench.monitor.current_addr().port, 6379);
    assert_eq!(record.replicas.len(), 2);
}

/// failover.md I3: an attempt that a newer configuration has overtaken ends, even if that names the same address.
#[test]
fn an_overtaken_attempt_announces_nothing() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").obeys = false;
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(1_200);
    assert!(matches!(bench.monitor.failover.state, FailoverState::WaitPromotion { .. }));
    bench.hello(PEER_A, 26380, 2, 6379, 2);
    assert_eq!(bench.monitor.failover.state, FailoverState::Idle);
    bench.servers.get_mut(REPLICA).expect("there").obeys = true;
    bench.run(10_000);
    assert!(bench.monitor.record().config_epoch >= Epoch(2));
}

/// failover.md 182, 183, 185, 187, I14
#[test]
fn a_stall_suspends_judgement() {
    let mut bench = Bench::with_peers();
    bench.node.policies = Policies::stock();
    bench.kill(MASTER);
    bench.now += 3_500;
    bench.feed(Input::Tick);
    assert_eq!(bench.events(), ["+tilt #tilt mode entered"]);
    bench.run(29_000);
    assert_eq!(bench.events(), Vec::<String>::new());
    bench.ask_for_vote(PEER_A, 1);
    assert_eq!(bench.answers(), [vote(false, Some(PEER_A), 1)]);
    bench.events();
    bench.run(1_500);
    let events = bench.event_names();
    assert_eq!(events[..3], ["-tilt", "+sdown", "+odown"]);
}

/// failover.md 94, 95, 96
#[test]
fn only_some_replies_are_signs_of_life() {
    use crate::sentinel::link::PingReply;
    let error = |text: &str| PingReply::of(&Reply::Error(text.as_bytes().into()));
    assert_eq!(PingReply::of(&Reply::Status(b"PONG"[..].into())), PingReply::Pong);
    assert_eq!(error("LOADING Redis is loading"), PingReply::Alive);
    assert_eq!(error("MASTERDOWN Link"), PingReply::Alive);
    assert_eq!(error("BUSY script"), PingReply::Busy);
    for unusable in ["NOAUTH x", "ERR x"] {
        assert_eq!(error(unusable), PingReply::Unusable);
    }
    assert_eq!(PingReply::of(&Reply::Status(b"OTHER"[..].into())), PingReply::Unusable);
}

/// An idle monitor sleeps until something is due.
#[test]
fn does_not_spin() {
    let mut bench = Bench::with_peers();
    let mut steps = 0;
    let end = bench.now + 60_000;
    while bench.wake <= end {
        bench.now = bench.now.max(bench.wake);
        bench.feed(Input::Tick);
        steps += 1;
    }
    assert!(steps < 60 * 12, "{steps} steps in a minute");
    let channels = bench.links.len();
    assert_eq!(channels, 6, "a command and a pub/sub connection each ({:?})", Channel::PubSub);
}
