//! Bytes as a sequence of inputs of one monitor: anything that a driver could hand in, in any order, however hostile the
//! servers and peers. The core's own assertions are on; beyond them, nothing durable goes back, and no epoch has two
//! votes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::ages::SharedAges;
use sentineld::sentinel::epoch::EpochRegister;
use sentineld::sentinel::groups::GroupRegister;
use sentineld::sentinel::id::{Epoch, LinkId, MasterName, ReplyToken, Rev, RunId};
use sentineld::sentinel::io::{
    AdminRequest, Answer, FailoverOrder, HandoverStep, Input, LinkError, Outbox, Output, Reply, Tag,
};
use sentineld::sentinel::lateness::LatenessRegister;
use sentineld::sentinel::monitor::Monitor;
use sentineld::sentinel::monitor::hello::Hello;
use sentineld::sentinel::monitor::record::{IdentityRecord, MasterRecord, MasterSpec};
use sentineld::sentinel::node::NodeNotice;
use sentineld::sentinel::peer::LinkHealth;
use sentineld::sentinel::policy::FailoverMode;
use sentineld::sentinel::tilt::TiltRegister;
use sentineld::sentinel::time::{Millis, Now, UnixMillis};
use sentineld::sentinel::{Env, NodeSettings};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What may come back on a connection: the tag and link are those of something that was sent.
const REPLIES: &[&[u8]] = &[b"+PONG", b"-LOADING x", b"-BUSY x", b"-NOAUTH x", b"+OK", b"+QUEUED"];

struct World<'a> {
    bytes: std::slice::Iter<'a, u8>,
    monitor: Monitor,
    node: NodeSettings,
    epoch: EpochRegister,
    tilt: TiltRegister,
    lateness: LatenessRegister,
    groups: GroupRegister,
    now: u64,
    links: Vec<LinkId>,
    sent: Vec<(LinkId, Tag)>,
    rev: Rev,
    told: BTreeMap<Epoch, RunId>,
    saved: (Epoch, Epoch),
}

/// Plays the bytes.
pub(crate) fn run(data: &[u8]) {
    let mut world = World::new(data);
    world.feed(Input::Tick);
    while let Some(op) = world.bytes.next().copied() {
        let input = world.input(op);
        world.feed(input);
    }
}

impl World<'_> {
    fn new(data: &[u8]) -> World<'_> {
        let node = NodeSettings::new(peer(9));
        let mut spec = MasterSpec::new(
            MasterName::from("m"),
            1 + u32::from(data.first().copied().unwrap_or(0) % 3),
            &node.periods,
        );
        (spec.down_after, spec.failover_timeout) = (1_000, 5_000);
        let record = MasterRecord {
            spec,
            addr: Addr::new("127.0.0.1", 6379),
            config_epoch: Epoch(0),
            leader_epoch: Epoch(0),
            replicas: vec![Addr::new("127.0.0.1", 6380)],
            sentinels: vec![(peer(1), Addr::new("127.0.0.1", 26381))],
            identity: IdentityRecord::default(),
        };
        let (epoch, tilt, now) = (EpochRegister::default(), TiltRegister::default(), 1_000_000);
        let (lateness, groups) = (LatenessRegister::default(), GroupRegister::default());
        let clocks = Now { mono: Millis(now), wall: UnixMillis(now) };
        let monitor = Monitor::new(
            record,
            7,
            &Env { now: clocks, epoch: &epoch, tilt: &tilt, lateness: &lateness, groups: &groups, node: &node },
        );
        let (links, sent) = (Vec::new(), Vec::new());
        World {
            groups,
            bytes: data.iter(),
            monitor,
            node,
            epoch,
            tilt,
            lateness,
            now,
            links,
            sent,
            rev: Rev(0),
            told: BTreeMap::new(),
            saved: (Epoch(0), Epoch(0)),
        }
    }

    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    fn input(&mut self, op: u8) -> Input {
        match op % 18 {
            0 | 1 => {
                self.now += u64::from(self.byte()) * 16 + 1;
                Input::Tick
            }
            2 | 3 => Input::LinkUp { link: self.link(), local: LOCAL },
            4 => Input::LinkDown(self.link(), LinkError("gone".to_owned())),
            5..=8 => {
                if self.sent.is_empty() {
                    return Input::Tick;
                }
                let (link, tag) = self.sent.remove(0);
                Input::Reply { link, tag, value: self.reply(tag) }
            }
            9 => {
                let (link, payload) = (self.link(), self.hello().to_string());
                Input::PubSub { link, payload: Some(payload.into_bytes().into()) }
            }
            10 => Input::Hello(Box::new(self.hello())),
            11 => {
                let peer = peer(self.byte());
                let connected = self.byte().is_multiple_of(2);
                let health = LinkHealth {
                    connected,
                    local: connected.then_some(LOCAL),
                    ping_pending_since: None,
                    ..LinkHealth::new(Millis(self.now))
                };
                Input::PeerHealth { peer, ages: Arc::new(SharedAges::new(&health)), health: Box::new(health) }
            }
            12 | 13 => {
                let (id, whom) = (peer(self.byte()), peer(self.byte()));
                let fields = vec![
                    Reply::Integer(i64::from(self.byte() % 2)),
                    Reply::Bulk(whom.as_str().as_bytes().into()),
                    Reply::Integer(i64::from(self.byte() % 12)),
                ];
                Input::PeerReply { peer: id, tag: Tag::Ask, value: Reply::Array(fields) }
            }
            14 => {
                let (epoch, port) = (self.epoch(), self.port());
                let candidate = peer(self.byte());
                Input::VoteRequest { from: ReplyToken(epoch.0), addr: Addr::new("127.0.0.1", port), epoch, candidate }
            }
            15 => {
                let mode = [None, Some(FailoverMode::Coordinated), None, Some(FailoverMode::Forced)];
                let byte = self.byte();
                let request = if byte.is_multiple_of(4) {
                    AdminRequest::Reset
                } else {
                    let to = (byte > 200).then(|| Addr::new("127.0.0.1", self.port()));
                    let timeout = (byte > 230).then(|| u64::from(byte));
                    AdminRequest::Failover(FailoverOrder { mode: mode[usize::from(byte % 4)], to, timeout })
                };
                Input::Admin { from: ReplyToken(0), request }
            }
            16 => {
                if self.byte().is_multiple_of(4) {
                    Input::PersistFailed(self.rev)
                } else {
                    Input::Durable(self.rev)
                }
            }
            _ => {
                let (peer, addr) = (peer(self.byte()), Addr::new("127.0.0.1", self.port()));
                Input::Notice(if self.byte().is_multiple_of(2) {
                    NodeNotice::PeerMoved { peer, addr }
                } else {
                    NodeNotice::PeerReplaced { peer, addr }
                })
            }
        }
    }

    fn link(&mut self) -> LinkId {
        let index = usize::from(self.byte());
        if self.links.is_empty() { LinkId(0) } else { self.links[index % self.links.len()] }
    }

    fn port(&mut self) -> u16 {
        6379 + u16::from(self.byte() % 4)
    }

    /// Small ones mostly, so that they meet; now and then one that must be refused.
    fn epoch(&mut self) -> Epoch {
        match self.byte() {
            255 => Epoch(u64::MAX),
            254 => Epoch(1 << 40),
            byte => Epoch(u64::from(byte % 12)),
        }
    }

    fn hello(&mut self) -> Hello {
        Hello {
            addr: Addr::new("127.0.0.1", 26380 + u16::from(self.byte() % 4)),
            id: peer(self.byte()),
            current_epoch: self.epoch(),
            master: MasterName::from("m"),
            master_addr: Addr::new("127.0.0.1", self.port()),
            config_epoch: self.epoch(),
        }
    }

    fn reply(&mut self, tag: Tag) -> Reply {
        let byte = self.byte();
        if tag == Tag::Info && byte < 240 {
            let role = if byte.is_multiple_of(2) { "role:master" } else { "role:slave\r\nslave_repl_offset:5" };
            let replid = "7".repeat(40);
            let run_id = if byte.is_multiple_of(8) { "8" } else { "9" }.repeat(40);
            let text = format!(
                "run_id:{run_id}\r\nslave0:ip=127.0.0.1,port={},state=online\r\n{role}\r\nmaster_host:127.0.0.1\r\n\
                 master_port:{}\r\nmaster_link_status:up\r\nmaster_replid:{replid}\r\nmaster_repl_offset:5\r\n",
                self.port(),
                self.port()
            );
            return Reply::Bulk(text.into_bytes().into());
        }
        if tag == Tag::Handover(HandoverStep::Demote) && byte < 200 {
            return Reply::Array(vec![Reply::Status(b"OK"[..].into())]);
        }
        let text = REPLIES[usize::from(byte) % REPLIES.len()];
        let rest = text[1..].into();
        if text[0] == b'+' { Reply::Status(rest) } else { Reply::Error(rest) }
    }

    fn feed(&mut self, input: Input) {
        let mut out = Outbox::default();
        let now = Now { mono: Millis(self.now), wall: UnixMillis(self.now) };
        let env = Env {
            now,
            epoch: &self.epoch,
            tilt: &self.tilt,
            lateness: &self.lateness,
            groups: &self.groups,
            node: &self.node,
        };
        self.monitor.handle(input, &env, &mut out);
        assert!(out.as_slice().iter().filter(|output| matches!(output, Output::WakeAt(_))).count() == 1);
        for output in out.drain() {
            self.note(output);
        }
        let record = self.monitor.record();
        let epochs = (record.config_epoch, record.leader_epoch);
        assert!(epochs.0 >= self.saved.0 && epochs.1 >= self.saved.1, "{epochs:?} after {:?}", self.saved);
        assert!(epochs.0 <= self.epoch.current(), "a configuration is never newer than the current epoch");
        assert!(!record.sentinels.iter().any(|(id, _)| *id == self.node.myid), "I am no peer of mine");
        self.saved = epochs;
    }

    fn note(&mut self, output: Output) {
        match output {
            Output::Connect { link, .. } => self.links.push(link),
            Output::Close(link) => {
                self.links.retain(|open| *open != link);
                self.sent.retain(|(on, _)| *on != link);
            }
            Output::Send { link, tag, .. } => {
                assert!(self.links.contains(&link), "what is sent has a connection");
                self.sent.push((link, tag));
            }
            Output::Persist { rev, .. } => {
                assert!(rev > self.rev, "revisions grow");
                self.rev = rev;
            }
            Output::Answer { with: Answer::Vote { leader: Some(leader), epoch, .. }, .. } => {
                let first = self.told.entry(epoch).or_insert_with(|| leader.clone());
                assert_eq!(*first, leader, "one vote in epoch {epoch}");
            }
            _ => {}
        }
    }
}

/// One of a few ids; 9 is our own.
fn peer(number: u8) -> RunId {
    RunId::from((number % 10).to_string().repeat(40).as_str())
}
