//! One peer on a clock that the test moves; the other side answers when the test says so.

use std::net::Ipv4Addr;

use super::*;
use crate::sentinel::NodeSettings;
use crate::sentinel::epoch::EpochRegister;
use crate::sentinel::groups::GroupRegister;
use crate::sentinel::id::Epoch;
use crate::sentinel::lateness::LatenessRegister;
use crate::sentinel::tilt::TiltRegister;
use crate::sentinel::time::{Now, UnixMillis};

const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct Bench {
    peer: Peer,
    node: NodeSettings,
    epoch: EpochRegister,
    tilt: TiltRegister,
    lateness: LatenessRegister,
    groups: GroupRegister,
    now: u64,
    wake: u64,
    /// Whether PINGs are answered as they are sent.
    answers: bool,
    seen: Vec<PeerOutput>,
}

impl Bench {
    /// A peer at an address, watched by nobody yet.
    fn at(addr: Addr) -> Bench {
        let now = 1_000_000;
        Bench {
            peer: Peer::new(RunId::from(ID), addr, Millis(now)),
            node: NodeSettings::new(RunId::from("1111111111111111111111111111111111111111")),
            epoch: EpochRegister::default(),
            tilt: TiltRegister::default(),
            lateness: LatenessRegister::default(),
            groups: GroupRegister::default(),
            now,
            wake: now,
            answers: true,
            seen: Vec::new(),
        }
    }

    /// One that a master with down-after 4000 watches.
    fn watched() -> Bench {
        let mut bench = Bench::at(Addr::new("127.0.0.1", 26380));
        bench.watch("first", 4_000);
        bench
    }

    fn watch(&mut self, master: &str, down_after: u64) {
        self.feed(PeerInput::Watch { master: MasterName::from(master), down_after });
    }

    fn feed(&mut self, input: PeerInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = Now { mono: Millis(self.now), wall: UnixMillis(self.now) };
            let env = Env {
                now,
                epoch: &self.epoch,
                tilt: &self.tilt,
                lateness: &self.lateness,
                groups: &self.groups,
                node: &self.node,
            };
            let mut out = PeerOutbox::default();
            self.wake = u64::MAX;
            self.peer.handle(input, &env, &mut out);
            for output in out.drain() {
                match &output {
                    PeerOutput::WakeAt(at) => self.wake = at.0,
                    PeerOutput::Connect { link, .. } => {
                        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
                        inputs.push_back(PeerInput::LinkUp { link: *link, local });
                    }
                    PeerOutput::Send { link, tag, command } if self.answers => {
                        let text: &[u8] = if *command == Command::Ping { b"PONG" } else { b"OK" };
                        inputs.push_back(PeerInput::Reply {
                            link: *link,
                            tag: *tag,
                            value: Reply::Status(text.into()),
                        });
                    }
                    _ => {}
                }
                self.seen.push(output);
            }
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.wake <= end {
            self.now = self.now.max(self.wake);
            self.feed(PeerInput::Tick);
        }
        self.now = end;
    }

    fn hello(&mut self, master: &str) {
        let command = Command::PublishHello("hello".to_owned());
        self.feed(PeerInput::Send { master: MasterName::from(master), tag: Tag::Publish, command });
    }

    /// What was sent since the last look, and which connections were opened and closed, one line each.
    fn wire(&mut self) -> Vec<String> {
        let seen = std::mem::take(&mut self.seen);
        let lines = seen.into_iter().filter_map(|output| match output {
            PeerOutput::Connect { addr, .. } => Some(format!("connect {addr}")),
            PeerOutput::Close(_) => Some("close".to_owned()),
            PeerOutput::Send { command, .. } => {
                let words = command.words(&BTreeMap::new());
                Some(String::from_utf8(words.join(&b' ')).expect("text"))
            }
            PeerOutput::Resolve(addr) => Some(format!("resolve {}", addr.host)),
            _ => None,
        });
        lines.collect()
    }

    /// What masters know: what they were told last, with ages as they are.
    fn health(&self) -> LinkHealth {
        let mut health = self.peer.reported.expect("it was reported");
        self.peer.link.ages().refresh(&mut health);
        health
    }

    /// How often masters were told of the link since [`Bench::wire`] was asked last.
    fn reports(&self) -> usize {
        self.seen.iter().filter(|output| matches!(output, PeerOutput::Health { .. })).count()
    }
}

/// failover.md 13, 15, 17, 41: one connection, and never INFO.
#[test]
fn greets_a_peer_as_stock_does() {
    let mut bench = Bench::watched();
    assert_eq!(bench.wire(), ["connect 127.0.0.1:26380", "CLIENT SETNAME sentinel-11111111-cmd", "PING"]);
    bench.run(60_000);
    let wire = bench.wire();
    assert!(wire.iter().all(|line| line == "PING"), "{wire:?}");
    assert!((58..=60).contains(&wire.len()), "{}", wire.len());
}

/// failover.md 19
#[test]
fn authenticates_with_what_peers_share() {
    let greeting = |change: fn(&mut NodeSettings)| {
        let mut bench = Bench::at(Addr::new("127.0.0.1", 26380));
        change(&mut bench.node);
        bench.watch("first", 4_000);
        bench.wire().swap_remove(1)
    };
    assert_eq!(greeting(|_| {}), "CLIENT SETNAME sentinel-11111111-cmd");
    assert_eq!(greeting(|node| node.requirepass = Some(Secret::from(&b"own"[..]))), "AUTH own");
    assert_eq!(
        greeting(|node| {
            node.requirepass = Some(Secret::from(&b"own"[..]));
            node.sentinel_pass = Some(Secret::from(&b"peers"[..]));
        }),
        "AUTH peers"
    );
    assert_eq!(
        greeting(|node| {
            node.sentinel_user = Some("bob".to_owned());
            node.sentinel_pass = Some(Secret::from(&b"peers"[..]));
        }),
        "AUTH bob peers"
    );
    assert_eq!(
        greeting(|node| node.sentinel_user = Some("bob".to_owned())),
        "CLIENT SETNAME sentinel-11111111-cmd",
        "a user alone is no credential"
    );
}

/// failover.md 35: and other settings leave it alone.
#[test]
fn a_new_password_opens_the_connection_anew() {
    let mut bench = Bench::watched();
    bench.run(2_500);
    bench.wire();
    bench.node.announce_port = 7;
    bench.feed(PeerInput::SettingsChanged);
    assert_eq!(bench.wire(), [""; 0]);
    bench.node.sentinel_pass = Some(Secret::from(&b"peers"[..]));
    bench.feed(PeerInput::SettingsChanged);
    let expected = ["close", "connect 127.0.0.1:26380", "AUTH peers", "CLIENT SETNAME sentinel-11111111-cmd", "PING"];
    assert_eq!(bench.wire(), expected);
}

/// failover.md 29, 30: one connection and one stream of PINGs, whoever else watches or stops to.
#[test]
fn masters_share_a_peer() {
    let mut bench = Bench::watched();
    bench.watch("second", 4_000);
    assert_eq!(bench.wire().iter().filter(|line| line.starts_with("connect")).count(), 1);
    bench.run(10_000);
    assert_eq!(bench.health().refcount, 2);
    assert!(bench.wire().len() <= 10, "PINGs of one stream");
    bench.answers = false;
    bench.hello("first");
    bench.hello("second");
    bench.feed(PeerInput::Unwatch { master: MasterName::from("first") });
    let link = bench.peer.link.command_id().expect("connected");
    bench.seen.clear();
    for _ in 0..2 {
        bench.feed(PeerInput::Reply { link, tag: Tag::Ignored, value: Reply::Integer(1) });
    }
    let told = bench.seen.iter().filter_map(|output| match output {
        PeerOutput::Reply { master, .. } => Some(master.as_str().to_owned()),
        _ => None,
    });
    assert!(told.collect::<Vec<_>>().contains(&"second".to_owned()));
    assert!(!bench.wire().contains(&"close".to_owned()));
    bench.answers = true;
    bench.run(3_000);
    assert!(bench.wire().iter().any(|line| line == "PING"), "it goes on for the other");
}

/// failover.md 5, 36: the shortest of its masters' periods is the pace, also when one is changed.
#[test]
fn the_most_impatient_master_sets_the_pace() {
    let mut bench = Bench::watched();
    bench.watch("second", 500);
    bench.run(5_000);
    bench.wire();
    bench.run(10_000);
    assert!((19..=21).contains(&bench.wire().len()));
    bench.watch("second", 2_000);
    bench.run(1_000);
    bench.wire();
    bench.run(10_000);
    assert!((9..=10).contains(&bench.wire().len()));
}

/// failover.md 27: per master that shares the link, and questions about a master are exempt.
#[test]
fn hellos_wait_when_too_much_is_unanswered() {
    let mut bench = Bench::watched();
    bench.answers = false;
    bench.wire();
    for _ in 0..250 {
        bench.hello("first");
    }
    assert_eq!(bench.wire().len(), 100);
    bench.watch("second", 4_000);
    for _ in 0..250 {
        bench.hello("second");
    }
    assert_eq!(bench.wire().len(), 100);
    let command = Command::IsMasterDown { host: String::new(), port: 1, epoch: Epoch(0), candidate: None };
    bench.feed(PeerInput::Send { master: MasterName::from("first"), tag: Tag::Ask, command });
    assert_eq!(bench.wire().len(), 1);
}

/// failover.md R21: stock sends nothing on such a link any more, and never finds it dead.
#[test]
fn a_link_full_of_missing_replies_is_pinged_once_more_and_found_dead() {
    let mut bench = Bench::watched();
    bench.answers = false;
    for _ in 0..100 {
        bench.hello("first");
    }
    bench.wire();
    bench.run(30_000);
    let wire = bench.wire();
    assert_eq!(wire.first().map(String::as_str), Some("PING"));
    assert!(wire.contains(&"close".to_owned()), "{wire:?}");
}

/// failover.md 20: whatever the greeting is answered with.
#[test]
fn errors_close_nothing() {
    let mut bench = Bench::watched();
    bench.answers = false;
    let link = bench.peer.link.command_id().expect("connected");
    bench.wire();
    let value = Reply::Error(b"ERR unknown command".as_slice().into());
    bench.feed(PeerInput::Reply { link, tag: Tag::Ignored, value });
    assert_eq!(bench.wire(), [""; 0]);
    assert!(bench.peer.link.health.connected);
}

/// Masters look up ages by themselves; they are told when there may be something to do: a peer that one of them took for
/// down answers again.
#[test]
fn masters_are_told_what_they_have_to_act_on() {
    let mut bench = Bench::watched();
    bench.wire();
    bench.run(5_000);
    assert_eq!(bench.reports(), 0, "PINGs and PONGs are nobody's news");
    assert!(Millis(bench.now).since(bench.health().last_pong) <= 1_000, "they are seen all the same");
    bench.answers = false;
    bench.run(5_100);
    assert_eq!(bench.reports(), 0, "that nothing came is for each master to find");
    assert!(bench.health().down_at(4_000) <= Some(Millis(bench.now)));
    let link = bench.peer.link.command_id().expect("it is recycled later");
    bench.feed(PeerInput::Reply { link, tag: Tag::Ping, value: Reply::Status(b"PONG".as_slice().into()) });
    assert_eq!(bench.reports(), 1);
    assert_eq!(bench.health().silent_since(), None);
    bench.watch("second", 4_000);
    assert_eq!(bench.reports(), 2, "a newcomer is its own news, not that of a thousand others");
}

/// failover.md 6.1, 94: a peer answers in order, so that a PONG may come behind the votes that it still owes to a thousand
/// masters. As long as these come it is not down; errors and silence are no signs of life.
#[test]
fn a_busy_peer_is_not_down() {
    let down_at_the_end = |value: Option<Reply>| {
        let mut bench = Bench::watched();
        bench.run(5_000);
        bench.answers = false;
        let master = MasterName::from("first");
        let command = Command::IsMasterDown { host: String::new(), port: 1, epoch: Epoch(0), candidate: None };
        for _ in 0..10 {
            bench.feed(PeerInput::Send { master: master.clone(), tag: Tag::Ask, command: command.clone() });
        }
        let link = bench.peer.link.command_id().expect("connected");
        for _ in 0..10 {
            bench.run(900);
            if let Some(value) = value.clone() {
                bench.feed(PeerInput::Reply { link, tag: Tag::Ask, value });
            }
        }
        is_due(bench.health().down_at(4_000), Millis(bench.now))
    };
    assert!(!down_at_the_end(Some(Reply::Array(Vec::new()))));
    assert!(down_at_the_end(Some(Reply::Error(b"ERR no"[..].into()))));
    assert!(down_at_the_end(None));
}

/// failover.md 24, 26, 37: a silent peer is pinged on, its connection replaced after 15 s, its age kept.
#[test]
fn a_silent_peer_s_connection_is_replaced() {
    let mut bench = Bench::watched();
    bench.run(10_000);
    bench.answers = false;
    bench.wire();
    bench.run(1_000);
    let silent_since = bench.health().ping_pending_since;
    bench.run(3_000);
    let wire = bench.wire();
    assert!(wire.iter().all(|line| line == "PING") && (6..=8).contains(&wire.len()), "{wire:?}");
    bench.run(1_100);
    let wire = bench.wire();
    assert!(wire.windows(2).any(|pair| pair == ["close", "connect 127.0.0.1:26380"]), "{wire:?}");
    bench.run(1_000);
    assert_eq!(bench.health().ping_pending_since, silent_since);
}

/// failover.md 9, 21: a name is looked up for each connection, and the last good address serves meanwhile.
#[test]
fn a_name_is_looked_up_for_each_connection() {
    let name = Addr::new("peer.example", 26380);
    let known = |ip: &str| name.clone().meaning(ip.parse().ok());
    let mut bench = Bench::at(name.clone());
    bench.watch("first", 4_000);
    assert_eq!(bench.wire(), ["resolve peer.example"]);
    bench.feed(PeerInput::Moved(known("none")));
    bench.run(1_000);
    assert_eq!(bench.wire(), ["resolve peer.example"]);
    bench.feed(PeerInput::Moved(known("127.0.0.1")));
    assert!(bench.wire().contains(&"connect peer.example:26380".to_owned()));
    bench.run(2_000);
    bench.wire();
    let link = bench.peer.link.command_id().expect("connected");
    bench.feed(PeerInput::LinkDown(link, LinkError("reset".to_owned())));
    assert_eq!(bench.wire()[..2], ["resolve peer.example", "connect peer.example:26380"]);
    bench.wire();
    bench.feed(PeerInput::Moved(known("127.0.0.2")));
    assert_eq!(bench.wire(), [""; 0], "a connection that works is kept");
    assert_eq!(bench.peer.addr.ip, "127.0.0.2".parse().ok());
}

/// failover.md 9: a look-up that fails closes nothing.
#[test]
fn the_last_good_address_is_kept() {
    let name = Addr::new("peer.example", 26380);
    let mut bench = Bench::at(name.clone().meaning("127.0.0.1".parse().ok()));
    bench.watch("first", 4_000);
    bench.run(2_000);
    bench.wire();
    bench.feed(PeerInput::Moved(name));
    assert_eq!(bench.wire(), [""; 0]);
    assert_eq!(bench.peer.addr.ip, "127.0.0.1".parse().ok());
}

/// failover.md 78: the old connection goes, and the new address is tried at once.
#[test]
fn follows_a_peer_to_its_new_address() {
    let mut bench = Bench::watched();
    bench.run(2_500);
    bench.wire();
    bench.feed(PeerInput::Moved(Addr::new("127.0.0.1", 26390)));
    assert_eq!(bench.wire()[..2], ["close", "connect 127.0.0.1:26390"]);
    bench.feed(PeerInput::Moved(Addr::new("127.0.0.1", 0)));
    bench.run(3_000);
    assert_eq!(bench.wire(), ["close"], "failover.md 10: port 0 is never connected to");
}
