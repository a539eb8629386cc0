//! Connections between hosts, as TCP gives them: ordered, delayed, never losing a byte without ending, but ending at
//! the worst moment, or going silent for ever.
//!
//! What leaves one way of a connection at one turn of the world travels as one segment, and arrives together. A blocked way
//! holds segments back. When it opens again they arrive late and in order, or the connection is gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::RngExt;
use sentineld::sentinel::command::Command;
use sentineld::sentinel::id::LinkId;
use sentineld::sentinel::io::{Channel, Reply, Tag};

use crate::world::{Event, Shared};

/// One connection of the whole world. Never reused.
pub type ConnId = usize;
/// A machine with one process on it: Sentinels first, then servers.
pub type Host = usize;

/// Which machine of a Sentinel owns a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A monitor, by number of its master.
    Monitor(usize),
    /// A peer, by its place in the node's table.
    Peer(usize),
}

/// A part of a segment to the accepting side.
#[derive(Clone, Debug)]
pub enum Ask {
    /// The connection is asked for.
    Syn,
    /// One command.
    Command(Tag, Command),
    /// The client closed.
    Fin,
}

impl Ask {
    /// The command, if it is one.
    pub fn command(&self) -> Option<&Command> {
        match self {
            Ask::Command(_, command) => Some(command),
            Ask::Syn | Ask::Fin => None,
        }
    }
}

/// A part of a segment to the connecting side.
#[derive(Clone, Debug)]
pub enum Tell {
    /// The connection stands.
    SynAck,
    /// The reply to one command.
    Reply(Tag, Reply),
    /// A message of the hello channel, or `None` for an acknowledgement.
    Push(Option<Box<[u8]>>),
    /// The connection is over.
    Reset(&'static str),
}

/// One way of a connection.
#[derive(Debug)]
pub struct Way<T> {
    /// What travels, each with the turn at which it left.
    travelling: VecDeque<(u64, T)>,
    /// Held back by a blocked way.
    held: VecDeque<T>,
    /// When the last segment arrives.
    last: u64,
}

impl<T> Way<T> {
    fn new() -> Way<T> {
        Way { travelling: VecDeque::new(), held: VecDeque::new(), last: 0 }
    }

    /// Takes a part along, in the segment that leaves at this turn. Whether that is a new segment.
    fn take(&mut self, part: T, passes: bool, turn: u64) -> bool {
        if !passes || !self.held.is_empty() {
            self.held.push_back(part);
            return false;
        }
        let joins = self.travelling.back().is_some_and(|(left, _)| *left == turn);
        self.travelling.push_back((turn, part));
        !joins
    }

    /// When a segment arrives that would arrive then if none were before it.
    fn arrives(&mut self, at: u64) -> u64 {
        self.last = at.max(self.last + 1);
        self.last
    }

    /// When the segment that arrives next left, if one travels.
    pub fn left(&self) -> Option<u64> {
        self.travelling.front().map(|(left, _)| *left)
    }

    /// The next part of the segment that left then.
    pub fn next(&mut self, left: Option<u64>) -> Option<T> {
        self.travelling.pop_front_if(|(turn, _)| Some(*turn) == left).map(|(_, part)| part)
    }
}

/// One connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each side can forget a connection without the other, in any order")]
pub struct Conn {
    /// The connecting Sentinel.
    pub client: Host,
    /// Which of its machines.
    pub who: Who,
    /// That machine's name for it.
    pub link: LinkId,
    /// What it is for.
    pub channel: Channel,
    /// The accepting host.
    pub server: Host,
    /// The client has seen the connection stand.
    pub open: bool,
    /// The client's side is over: nothing is delivered to it.
    pub client_gone: bool,
    /// The accepting side has forgotten it: whatever arrives is answered with a reset.
    pub server_gone: bool,
    /// A middlebox swallows everything, both ways, for ever.
    pub swallowed: bool,
    /// Commands waiting for the connection to stand.
    waiting: Vec<(Tag, Command)>,
    /// To the accepting side.
    pub asks: Way<Ask>,
    /// To the connecting side.
    pub tells: Way<Tell>,
    /// Accepting side: commands queued since MULTI.
    pub multi: Option<Vec<Command>>,
    /// Accepting side, Sentinels only: replies in the order of commands; `None` is not known yet.
    pub replies: VecDeque<(Tag, Option<Reply>)>,
    /// How many of `replies` have left.
    pub replied: u64,
}

/// All connections and ways.
#[derive(Debug)]
pub struct Net {
    /// Every connection that ever was.
    pub conns: Vec<Conn>,
    /// Those that may still matter.
    pub live: BTreeSet<ConnId>,
    /// How many partitions block this way, by `(from, to)`.
    blocks: BTreeMap<(Host, Host), u32>,
    hosts: usize,
    /// Extra delay while the network is slow, microseconds.
    pub spike_us: u64,
}

impl Net {
    /// A network of `hosts`, all in reach of each other.
    pub fn new(hosts: usize) -> Net {
        Net { conns: Vec::new(), live: BTreeSet::new(), blocks: BTreeMap::new(), hosts, spike_us: 0 }
    }

    /// Whether segments travel from one host to the other.
    pub fn passes(&self, from: Host, to: Host) -> bool {
        self.blocks.is_empty() || !self.blocks.contains_key(&(from, to))
    }

    /// Whether both ways are open.
    pub fn connects(&self, one: Host, other: Host) -> bool {
        self.passes(one, other) && self.passes(other, one)
    }

    /// Commands that wait for a connection or for a way to open, or for EXEC.
    pub fn waiting(&self) -> impl Iterator<Item = &Command> {
        self.live.iter().flat_map(|id| {
            let Conn { waiting, asks, multi, .. } = &self.conns[*id];
            let held = asks.held.iter().filter_map(Ask::command);
            waiting.iter().map(|(_, command)| command).chain(held).chain(multi.iter().flatten())
        })
    }

    /// Commands that travel to the accepting side of a connection.
    pub fn travelling(&self, id: ConnId) -> impl Iterator<Item = &Command> {
        self.conns[id].asks.travelling.iter().filter_map(|(_, ask)| ask.command())
    }

    /// Number of hosts.
    pub fn hosts(&self) -> usize {
        self.hosts
    }
}

impl Shared {
    /// A Sentinel's machine connects. To a host that there is not, it waits for an answer for ever.
    pub fn connect(&mut self, client: Host, who: Who, link: LinkId, channel: Channel, server: Host) -> ConnId {
        let id = self.net.conns.len();
        self.net.conns.push(Conn {
            client,
            who,
            link,
            channel,
            server,
            open: false,
            client_gone: false,
            server_gone: false,
            swallowed: server >= self.net.hosts(),
            waiting: Vec::new(),
            asks: Way::new(),
            tells: Way::new(),
            multi: None,
            replies: VecDeque::new(),
            replied: 0,
        });
        self.net.live.insert(id);
        self.ask(id, Ask::Syn);
        id
    }

    /// The client queues a command; it leaves once the connection stands.
    pub fn client_send(&mut self, id: ConnId, tag: Tag, command: Command) {
        let conn = &mut self.net.conns[id];
        if conn.open {
            self.ask(id, Ask::Command(tag, command));
        } else {
            conn.waiting.push((tag, command));
        }
    }

    /// The client sees that the connection stands; what waited leaves.
    pub fn client_open(&mut self, id: ConnId) {
        let conn = &mut self.net.conns[id];
        conn.open = true;
        for (tag, command) in std::mem::take(&mut conn.waiting) {
            self.ask(id, Ask::Command(tag, command));
        }
    }

    /// The client closes.
    pub fn client_close(&mut self, id: ConnId) {
        self.net.conns[id].client_gone = true;
        self.ask(id, Ask::Fin);
    }

    /// The accepting side replies or pushes.
    pub fn server_send(&mut self, id: ConnId, tell: Tell) {
        if !self.net.conns[id].server_gone {
            self.tell(id, tell);
        }
    }

    /// The accepting side closes, in order behind what it has sent.
    pub fn server_close(&mut self, id: ConnId) {
        if !self.net.conns[id].server_gone {
            self.net.conns[id].server_gone = true;
            self.tell(id, Tell::Reset("Connection reset by peer"));
        }
    }

    fn ask(&mut self, id: ConnId, ask: Ask) {
        let &Conn { client, server, swallowed, .. } = &self.net.conns[id];
        let passes = self.net.passes(client, server);
        if !swallowed && self.net.conns[id].asks.take(ask, passes, self.turn) {
            let arrival = self.now + self.delay();
            let at = self.net.conns[id].asks.arrives(arrival);
            self.push(at, Event::Ask(id));
        }
    }

    fn tell(&mut self, id: ConnId, tell: Tell) {
        let &Conn { client, server, swallowed, .. } = &self.net.conns[id];
        let passes = self.net.passes(server, client);
        if !swallowed && self.net.conns[id].tells.take(tell, passes, self.turn) {
            let arrival = self.now + self.delay();
            let at = self.net.conns[id].tells.arrives(arrival);
            self.push(at, Event::Tell(id));
        }
    }

    /// Answers a segment that nobody expects.
    pub fn reset(&mut self, id: ConnId, why: &'static str) {
        self.net.conns[id].server_gone = true;
        self.tell(id, Tell::Reset(why));
    }

    /// One-way delay of a segment.
    pub fn delay(&mut self) -> u64 {
        let jitter = self.rng.net.random_range(0..=self.jitter_us);
        // Squared: most segments are quick, few are very late.
        self.latency_us + jitter * jitter / self.jitter_us.max(1) + self.net.spike_us
    }

    /// Blocks one way. Blocks add up.
    pub fn block(&mut self, from: Host, to: Host) {
        let count = self.net.blocks.entry((from, to)).or_insert(0);
        *count += 1;
        if *count == 1 {
            self.see_way(from, to, false);
        }
    }

    /// Takes one block of this way back. What was held arrives late, or its connection is found dead.
    pub fn unblock(&mut self, from: Host, to: Host) {
        let Some(count) = self.net.blocks.get_mut(&(from, to)) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.net.blocks.remove(&(from, to));
        self.see_way(from, to, true);
        let affected: Vec<ConnId> = self.net.live.iter().copied().collect();
        for id in affected {
            let conn = &self.net.conns[id];
            let asks = conn.client == from && conn.server == to && !conn.asks.held.is_empty();
            let tells = conn.server == from && conn.client == to && !conn.tells.held.is_empty();
            if !asks && !tells {
                continue;
            }
            let connecting = matches!(conn.asks.held.front(), Some(Ask::Syn));
            if connecting || self.rng.heal.random_bool(0.5) {
                self.release(id);
            } else {
                self.break_both(id);
            }
        }
    }

    fn release(&mut self, id: ConnId) {
        let (client, server) = (self.net.conns[id].client, self.net.conns[id].server);
        if self.net.passes(client, server) {
            for ask in std::mem::take(&mut self.net.conns[id].asks.held) {
                self.ask(id, ask);
            }
        }
        if self.net.passes(server, client) {
            for tell in std::mem::take(&mut self.net.conns[id].tells.held) {
                self.tell(id, tell);
            }
        }
    }

    /// Both sides find out that the connection is over; what was under way is lost.
    pub fn break_both(&mut self, id: ConnId) {
        let conn = &mut self.net.conns[id];
        conn.asks.held.clear();
        conn.tells.held.clear();
        if !conn.server_gone {
            conn.server_gone = true;
            self.push(self.now, Event::Forget(id));
        }
        self.tell(id, Tell::Reset("Connection reset by peer"));
    }

    /// The process on `host` is gone. With `silent` its kernel is gone, too, and nobody is told.
    pub fn process_gone(&mut self, host: Host, silent: bool) {
        let affected: Vec<ConnId> = self.net.live.iter().copied().collect();
        for id in affected {
            let conn = &mut self.net.conns[id];
            if conn.client == host && !conn.client_gone {
                conn.client_gone = true;
                conn.waiting.clear();
                if silent {
                    conn.asks.held.clear();
                    conn.swallowed = true;
                } else {
                    self.ask(id, Ask::Fin);
                }
            } else if conn.server == host && !conn.server_gone {
                conn.server_gone = true;
                if silent {
                    conn.tells.held.clear();
                } else {
                    self.tell(id, Tell::Reset("Connection reset by peer"));
                }
            }
        }
    }
}
