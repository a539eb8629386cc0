//! One remote Sentinel, shared by every master that knows it.

use std::net::IpAddr;

use super::Env;
use super::addr::Addr;
use super::command::Command;
use super::event::Event;
use super::id::{LinkId, MasterName, RunId};
use super::io::{LinkError, Reply, Tag};
use super::time::Millis;

/// An input of [`Peer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerInput {
    /// The time asked for with `WakeAt` has come.
    Tick,
    /// The connection is established; `local` is our own address on it.
    LinkUp {
        /// Which connection.
        link: LinkId,
        /// Announced in hellos unless `announce-ip` is set.
        local: IpAddr,
    },
    /// The connection failed or was closed by the other side.
    LinkDown(LinkId, LinkError),
    /// The reply to one `Send`, in the order of sending.
    Reply {
        /// Which connection.
        link: LinkId,
        /// From the `Send`.
        tag: Tag,
        /// What came.
        value: Reply,
    },
    /// A master has this peer; also sent again when its `down_after` changes.
    Watch {
        /// Which master.
        master: MasterName,
        /// ms
        down_after: u64,
    },
    /// A master has this peer no longer.
    Unwatch {
        /// Which master.
        master: MasterName,
    },
    /// A monitor's `SendPeer`. Dropped without a reply while the link is down.
    Send {
        /// Who asks and gets the reply.
        master: MasterName,
        /// Comes back with the reply.
        tag: Tag,
        /// What to send.
        command: Command,
    },
    /// The peer has a new address.
    Moved(Addr),
    /// `NodeSettings` changed; new credentials mean a new connection.
    SettingsChanged,
}

/// An output of [`Peer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerOutput {
    /// Open the command connection. `Send`s may follow at once.
    Connect {
        /// Names the new connection.
        link: LinkId,
        /// Where to.
        addr: Addr,
    },
    /// Close it. No input for it follows.
    Close(LinkId),
    /// Queue a command.
    Send {
        /// Which connection.
        link: LinkId,
        /// Comes back with the reply.
        tag: Tag,
        /// What to send.
        command: Command,
    },
    /// Tell a monitor: `Input::PeerHealth`.
    Health {
        /// Which master.
        master: MasterName,
        /// The ages.
        health: LinkHealth,
    },
    /// Tell a monitor: `Input::PeerReply`.
    Reply {
        /// Which master.
        master: MasterName,
        /// From its `SendPeer`.
        tag: Tag,
        /// What came.
        value: Reply,
    },
    /// Log an event (debug level only).
    Emit(Event),
    /// Look up the peer's host name; answered by `Moved` with the address filled in.
    Resolve(Addr),
    /// Send `Tick` at this time, unless a later batch names another.
    WakeAt(Millis),
}

/// Outputs of one call, in order.
#[derive(Debug, Default)]
pub struct PeerOutbox(Vec<PeerOutput>);

impl PeerOutbox {
    /// Appends an output.
    pub fn push(&mut self, output: PeerOutput) {
        self.0.push(output);
    }

    /// Takes everything out, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, PeerOutput> {
        self.0.drain(..)
    }
}

/// What a monitor knows of the link to a peer: a copy of its ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkHealth {
    /// Changes when the connection is replaced; replies to what was sent before will not come.
    pub generation: u64,
    /// Whether the connection exists (it may still be connecting).
    pub connected: bool,
    /// Our own address on it, once established.
    pub local: Option<IpAddr>,
    /// When the first unanswered PING was sent.
    pub ping_pending_since: Option<Millis>,
    /// Last acceptable PING reply.
    pub last_available: Millis,
    /// Last PING reply of any kind.
    pub last_pong: Millis,
    /// Commands sent and not answered.
    pub pending_commands: u64,
    /// Masters that share the link.
    pub refcount: u32,
    /// Round trip of the last answered PING, ms.
    pub round_trip: u64,
}

/// One remote Sentinel.
#[derive(Debug)]
pub struct Peer {
    id: RunId,
    addr: Addr,
}

impl Peer {
    /// A peer that is not connected yet; it connects at its first `Watch`.
    pub fn new(id: RunId, addr: Addr) -> Peer {
        Peer { id, addr }
    }

    /// Takes one input and leaves what follows from it in `out`.
    pub fn handle(&mut self, _input: PeerInput, _env: &Env<'_>, _out: &mut PeerOutbox) {
        let _ = (&self.id, &self.addr);
    }
}
