//! The contract between the core and whoever drives it: inputs in, outputs out, nothing else.
//!
//! 1. Outputs are executed in the order in which they were emitted, each at once. Waiting is the core's job.
//! 2. A `LinkId` is never reused, so a late reply from a closed connection is dropped in one place.
//! 3. `Publish` comes before the `Emit` or `Answer` that makes a change observable.
//! 4. The same inputs, `Env` and seed give the same outputs.
//! 5. Nothing that comes from the network makes the core panic.

use std::net::IpAddr;
use std::sync::Arc;

use super::addr::Addr;
use super::ages::SharedAges;
use super::command::Command;
use super::event::{Event, Level};
use super::id::{Epoch, LinkId, ReplyToken, Rev, RunId, Secret};
use super::monitor::hello::Hello;
use super::monitor::record::MasterRecord;
use super::monitor::view::MasterView;
use super::node::NodeNotice;
use super::peer::LinkHealth;
use super::policy::FailoverMode;
use super::scripts::ScriptJob;
use super::time::{Millis, UnixMillis};

/// Which of an instance's two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Commands and their replies.
    Command,
    /// Hello messages.
    PubSub,
}

/// What a reply belongs to. The driver hands it back unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// Nobody looks at the reply; it only counts as an answered command.
    Ignored,
    /// A PING.
    Ping,
    /// An INFO.
    Info,
    /// An INFO in full, for who wants to see it.
    WholeInfo,
    /// A published hello.
    Publish,
    /// A question to a peer, asked in this epoch for the record only.
    Ask,
    /// A step of a coordinated failover.
    Handover(HandoverStep),
}

/// The commands of a coordinated failover whose replies matter (see [`super::monitor::coordinated`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandoverStep {
    /// A command of a transaction that is never carried out: would it be taken?
    Probe,
    /// The end of that transaction.
    ProbeEnd,
    /// `CLIENT PAUSE` or `FAILOVER`: writes wait.
    Hold,
    /// `EXEC` of the old master's demotion.
    Demote,
    /// The last command of what takes an attempt back.
    Undo,
}

/// A reply of a server or a peer, RESP2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// `+text`
    Status(Box<[u8]>),
    /// `-text`
    Error(Box<[u8]>),
    /// `:n`
    Integer(i64),
    /// `$n`
    Bulk(Box<[u8]>),
    /// `$-1` or `*-1`
    Null,
    /// `*n`
    Array(Vec<Reply>),
}

/// Why a connection ended, for the debug line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError(pub String);

/// An input of [`super::monitor::Monitor`]. Small, since thousands of mailboxes have room for some.
#[derive(Clone, Debug)]
pub enum Input {
    /// The time asked for with `WakeAt` has come.
    Tick,
    /// The connection is established; `local` is our own address on it.
    LinkUp {
        /// Which connection.
        link: LinkId,
        /// Announced in hellos unless `announce-ip` is set.
        local: IpAddr,
    },
    /// The connection failed or was closed by the other side. Not sent for connections that the core closed.
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
    /// Something arrived on a pub/sub connection: a hello payload, or `None` for anything else (acknowledgements).
    PubSub {
        /// Which connection.
        link: LinkId,
        /// Payload of a message on the hello channel.
        payload: Option<Box<[u8]>>,
    },
    /// A hello for this master that came by PUBLISH command or was heard on the link of another master.
    Hello(Box<Hello>),
    /// A host name was looked up; `None` when it has no address.
    Resolved {
        /// The name as given in `Resolve`.
        host: Arc<str>,
        /// Its first address.
        ip: Option<IpAddr>,
    },
    /// The link to a peer changed.
    PeerHealth {
        /// Which peer.
        peer: RunId,
        /// The link as of now.
        health: Box<LinkHealth>,
        /// Where its ages are found from now on.
        ages: Arc<SharedAges>,
    },
    /// The reply to a `SendPeer`.
    PeerReply {
        /// Which peer.
        peer: RunId,
        /// From the `SendPeer`.
        tag: Tag,
        /// What came.
        value: Reply,
    },
    /// A peer or a client sent `SENTINEL IS-MASTER-DOWN-BY-ADDR` with a candidate for this master's address.
    VoteRequest {
        /// Whom to answer.
        from: ReplyToken,
        /// The address asked about.
        addr: Addr,
        /// The candidate's epoch.
        epoch: Epoch,
        /// The candidate.
        candidate: RunId,
    },
    /// A command of an operator.
    Admin {
        /// Whom to answer.
        from: ReplyToken,
        /// What to do.
        request: AdminRequest,
    },
    /// Every record up to this revision is on disk.
    Durable(Rev),
    /// The record with this revision could not be saved. The store goes on trying; a later `Durable` may follow.
    PersistFailed(Rev),
    /// Something that concerns several masters.
    Notice(NodeNotice),
}

/// An output of [`super::monitor::Monitor`].
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Open a connection. `Send`s to it may follow at once and leave when it is established.
    Connect {
        /// Names the new connection.
        link: LinkId,
        /// Where to.
        addr: Addr,
        /// What for.
        channel: Channel,
    },
    /// Close a connection. No input for it follows.
    Close(LinkId),
    /// Queue a command; what is queued in one batch leaves in one write.
    Send {
        /// Which connection.
        link: LinkId,
        /// Comes back with the reply.
        tag: Tag,
        /// What to send.
        command: Command,
    },
    /// The same through a shared peer.
    SendPeer {
        /// Which peer.
        peer: RunId,
        /// Comes back with the reply.
        tag: Tag,
        /// What to send.
        command: Command,
    },
    /// Save this record. Answered by `Durable` or `PersistFailed`.
    Persist {
        /// Its revision.
        rev: Rev,
        /// The whole record.
        record: Box<MasterRecord>,
    },
    /// Let readers see this.
    Publish(Box<MasterView>),
    /// Log and publish an event.
    Emit(Event),
    /// Run a script.
    Script(ScriptJob),
    /// Log a line that is not an event.
    Log(Level, String),
    /// Log that no failover starts before this time: `Next failover delay: I will not start a failover before <ctime>`,
    /// a warning. The date is local time, which the core does not know.
    NextFailoverDelay {
        /// Wall clock.
        until: UnixMillis,
    },
    /// Answer a request.
    Answer {
        /// Whom.
        to: ReplyToken,
        /// With what.
        with: Answer,
    },
    /// Tell the supervisor something that concerns other masters or the peers.
    Notify(NodeNotice),
    /// Look up a host name. Answered by `Resolved`.
    Resolve(Arc<str>),
    /// Send `Tick` at this time, unless a later batch names another.
    WakeAt(Millis),
    /// `SENTINEL SIMULATE-FAILURE` struck: exit with code 99.
    Exit,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `+OK`
    Ok,
    /// `-text`, code included.
    Error(String),
    /// Reply to IS-MASTER-DOWN-BY-ADDR.
    Vote {
        /// SDOWN here and no TILT.
        down: bool,
        /// Whom I voted for; `None` is written `*`.
        leader: Option<RunId>,
        /// Epoch of that vote.
        epoch: Epoch,
    },
}

/// A command of an operator for one master, parsed before it gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// `SENTINEL SET`, left to right. `+OK` once saved.
    Set(Vec<SetOption>),
    /// `SENTINEL FAILOVER`. `Ok` once it has begun; a coordinated one asks the master first, which takes a round trip.
    Failover(FailoverOrder),
    /// `SENTINEL INFO-CACHE`: see that the published INFO is the whole of it. `Ok` when it is, or cannot be had.
    WholeInfo,
    /// `SENTINEL ADOPT`: this address belongs to the group, whatever speaks against it. `Ok` once saved, if there is a state
    /// file.
    Adopt(Addr),
    /// `SENTINEL RESET` of this master. `Ok` at once; nothing is saved, as in stock.
    Reset,
}

/// `SENTINEL FAILOVER <master> [COORDINATED] [TO <host> <port>] [TIMEOUT <ms>]`. The default is the bare form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverOrder {
    /// `COORDINATED`; `None` means what `failover-mode` says.
    pub mode: Option<FailoverMode>,
    /// `TO`: the replica to promote.
    pub to: Option<Addr>,
    /// `TIMEOUT`: how long the replica may take to catch up, ms, at least 1. Of coordinated failovers only.
    pub timeout: Option<u64>,
}

/// One option of `SENTINEL SET`, with its text as typed for the `+set` event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOption {
    /// What follows `+set <instance> `; passwords already replaced by stars.
    pub shown: String,
    /// The change.
    pub change: SpecChange,
}

/// A change of a master's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecChange {
    /// `down-after-milliseconds`
    DownAfter(u64),
    /// `failover-timeout`
    FailoverTimeout(u64),
    /// `parallel-syncs`
    ParallelSyncs(u32),
    /// `quorum`
    Quorum(u32),
    /// `master-reboot-down-after-period`
    RebootDownAfter(u64),
    /// `notification-script`; `None` clears.
    NotificationScript(Option<String>),
    /// `client-reconfig-script`; `None` clears.
    ClientReconfigScript(Option<String>),
    /// `auth-pass`; `None` clears.
    AuthPass(Option<Secret>),
    /// `auth-user`; `None` clears.
    AuthUser(Option<String>),
    /// `rename-command old new`; equal names remove the entry.
    RenameCommand {
        /// Upper-case.
        from: String,
        /// As typed.
        to: String,
    },
}

/// Outputs of one call, in order.
#[derive(Debug, Default)]
pub struct Outbox(Vec<Output>);

impl Outbox {
    /// Appends an output.
    pub fn push(&mut self, output: Output) {
        self.0.push(output);
    }

    /// Appends an event.
    pub fn emit(&mut self, event: Event) {
        self.0.push(Output::Emit(event));
    }

    /// Puts a view before everything else in this batch, so that whoever learns of the change can read it.
    pub fn publish_first(&mut self, view: MasterView) {
        self.0.insert(0, Output::Publish(Box::new(view)));
    }

    /// Takes everything out, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Output> {
        self.0.drain(..)
    }

    /// What is in it.
    pub fn as_slice(&self) -> &[Output] {
        &self.0
    }
}
