//! A Redis server as Sentinels see one: PING, INFO, hello messages, transactions, replication that takes its time.
//!
//! Replication is not made of messages: a round every [`ROUND_US`] looks who can reach whom and moves offsets.

mod info;
mod replication;
mod stranger;

use std::collections::{BTreeSet, VecDeque};

use rand::RngExt;
use sentineld::sentinel::command::{ClientType, Command};
use sentineld::sentinel::io::{Channel, Reply, Tag};

use crate::dns::true_ip;
use crate::net::{ConnId, Host, Tell};
use crate::world::{Event, Shared};

pub use replication::replicate;
pub use stranger::{Stranger, command_names, is_of_a_stranger};

/// What commands get while a script runs.
const BUSY: &[u8] = b"BUSY a script runs here; end it with SCRIPT KILL.";
/// Time between two rounds of replication.
pub const ROUND_US: u64 = 100_000;

/// The process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It works.
    Running,
    /// It was stopped: the kernel accepts connections and data, nobody reads them.
    Hung,
    /// There is none.
    Dead,
}

/// A script that does not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// SCRIPT KILL ends it.
    ReadOnly,
    /// Nothing does.
    Written,
}

/// What a server says to commands that its users are denied.
const DENIED: &[u8] = b"NOPERM this user has no permissions to run this command";
/// The longest time until a replica that has everything says so, when its master waits for it.
const ACK_PERIOD_US: u64 = 1_000_000;

/// What Sentinels are denied by access rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// `CLIENT PAUSE`
    pub pause: bool,
    /// `FAILOVER`
    pub failover: bool,
}

/// A point in the history of some data. Histories part where a replica becomes a master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// `master_replid`
    pub replid: u64,
    /// Bytes of the replication stream.
    pub offset: u64,
}

/// A handover by the server's own `FAILOVER`.
#[derive(Clone, Debug)]
struct Handover {
    host: String,
    port: u16,
    /// The replica will not have said before that it has everything.
    acked_at: u64,
    until: u64,
}

/// What a server replicates from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// As given to SLAVEOF.
    pub host: String,
    /// As given to SLAVEOF.
    pub port: u16,
    /// The link is up.
    pub up: bool,
    /// When the link went down; `None` if it never was up.
    down_since: Option<u64>,
    /// When the running attempt to synchronise will succeed.
    synced_at: Option<u64>,
    /// When the master was last heard.
    heard_at: u64,
    /// The master's process that the link leads to.
    process: u64,
}

/// How long it takes clients to find a server that was restarted.
const CLIENTS_AWAY_US: u64 = 1_000_000;

/// What a process finds of its data when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Data and history.
    Rdb,
    /// Data.
    Aof,
    /// Nothing.
    None,
}

/// One server.
#[derive(Debug)]
pub struct Server {
    /// Its host.
    pub host: Host,
    /// The master's number.
    pub group: usize,
    /// Its address.
    pub ip: String,
    /// Its port.
    pub port: u16,
    /// Its process.
    pub process: Process,
    /// `None` is a master.
    pub upstream: Option<Upstream>,
    /// `slave_priority`
    pub priority: u32,
    /// Replication offset.
    pub offset: u64,
    /// While somebody else's server has its address: a master with data of its own, and what it was before.
    pub stranger: Option<Box<Stranger>>,
    /// What it has after a restart.
    pub persistence: Persistence,
    /// It has data.
    pub has_keys: bool,
    /// History of its data.
    pub replid: u64,
    /// `master_replid2` and `second_repl_offset`: where it left another history for this one.
    pub left: Option<Point>,
    /// The last write that it acknowledged.
    pub acked: Point,
    /// What Sentinels may not send here.
    pub denied: Denied,
    /// CLIENT PAUSE: writes wait until then.
    paused_until: u64,
    /// What waits with them, and everything behind it on the same connection.
    blocked: VecDeque<(ConnId, Tag, Command)>,
    handover: Option<Handover>,
    saved_upstream: Option<(String, u16)>,
    loading_until: u64,
    script: Option<Script>,
    run_id: String,
    /// How many processes there were.
    processes: u64,
    replicas: Vec<usize>,
    clients: BTreeSet<ConnId>,
    subscribers: BTreeSet<ConnId>,
    inbox: VecDeque<(ConnId, Tag, Command)>,
}

impl Server {
    /// A running server; `upstream` is what its configuration file says.
    pub fn new(host: Host, group: usize, ip: String, priority: u32, upstream: Option<(String, u16)>) -> Server {
        Server {
            host,
            group,
            ip,
            port: 6379,
            process: Process::Running,
            upstream: upstream.clone().map(|(host, port)| follow(host, port, 0)),
            priority,
            offset: 1,
            stranger: None,
            persistence: [Persistence::Rdb, Persistence::Aof, Persistence::None][host % 3],
            has_keys: false,
            replid: group as u64 + 1,
            left: None,
            acked: Point::default(),
            denied: Denied::default(),
            paused_until: 0,
            blocked: VecDeque::new(),
            handover: None,
            saved_upstream: upstream,
            loading_until: 0,
            script: None,
            run_id: String::new(),
            processes: 0,
            replicas: Vec::new(),
            clients: BTreeSet::new(),
            subscribers: BTreeSet::new(),
            inbox: VecDeque::new(),
        }
    }

    /// Draws the id of a new process.
    pub fn boot(&mut self, sh: &mut Shared) {
        let rng = &mut sh.rng.servers;
        let (high, middle, low): (u64, u64, u32) = (rng.random(), rng.random(), rng.random());
        self.run_id = format!("{high:016x}{middle:016x}{low:08x}");
        self.processes += 1;
    }

    /// Whether it is configured to replicate from the other one.
    pub fn follows(&self, other: &Server) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| other.is_at(&upstream.host, upstream.port))
    }

    /// Whether this is its address.
    pub fn is_at(&self, host: &str, port: u16) -> bool {
        self.ip == true_ip(host) && self.port == port
    }

    /// A process starts from the configuration file.
    pub fn start(&mut self, sh: &mut Shared) {
        self.process = Process::Running;
        self.upstream = self.saved_upstream.clone().map(|(host, port)| follow(host, port, sh.now));
        // Most datasets are small.
        let longest = if sh.rng.servers.random_bool(0.1) { 10_000_000 } else { 800_000 };
        self.loading_until = sh.now + sh.rng.servers.random_range(0..longest);
        self.boot(sh);
        // A stranger without keys would have nothing to lose.
        let is_empty = self.persistence == Persistence::None && self.stranger.is_none();
        if is_empty {
            self.has_keys = false;
            self.loading_until = sh.now;
            self.offset = 0;
        }
        if self.upstream.is_none() || is_empty {
            self.begin_history(sh);
            self.left = self.left.filter(|_| self.persistence == Persistence::Rdb);
        }
    }

    /// What it takes from now on is nobody else's.
    fn begin_history(&mut self, sh: &mut Shared) {
        sh.last_replid += 1;
        self.left = Some(Point { replid: self.replid, offset: self.offset + 1 });
        self.replid = sh.last_replid;
    }

    /// The process is gone.
    pub fn kill(&mut self) {
        self.process = Process::Dead;
        self.script = None;
        self.paused_until = 0;
        self.blocked.clear();
        self.handover = None;
        self.clients.clear();
        self.subscribers.clear();
        self.inbox.clear();
        self.replicas.clear();
    }

    /// Somebody runs a script that does not end. One that has written cannot be killed.
    pub fn run_script(&mut self, script: Script) {
        if self.process == Process::Running {
            self.script = Some(script);
        }
    }

    /// The script ends by itself.
    pub fn end_script(&mut self) {
        self.script = None;
    }

    /// Whether it has loaded its data and takes commands.
    pub fn answers(&self, now: u64) -> bool {
        self.process == Process::Running && now >= self.loading_until
    }

    /// Somebody who is no Sentinel sends SLAVEOF.
    pub fn demote(&mut self, (host, port): (String, u16), now: u64) {
        self.upstream = Some(follow(host, port, now));
    }

    /// A connection is accepted.
    pub fn accept(&mut self, conn: ConnId) {
        self.clients.insert(conn);
    }

    /// A connection ended.
    pub fn forget(&mut self, conn: ConnId) {
        self.clients.remove(&conn);
        self.subscribers.remove(&conn);
    }

    /// A command arrives.
    pub fn command(&mut self, sh: &mut Shared, conn: ConnId, tag: Tag, command: Command) {
        match self.process {
            Process::Running => self.run(sh, conn, tag, command),
            Process::Hung => self.inbox.push_back((conn, tag, command)),
            Process::Dead => {}
        }
    }

    /// A stopped process goes on.
    pub fn resume(&mut self, sh: &mut Shared) {
        if self.process == Process::Hung {
            self.process = Process::Running;
            for (conn, tag, command) in std::mem::take(&mut self.inbox) {
                self.run(sh, conn, tag, command);
            }
        }
    }

    /// A hello that was published here, or came from the master, goes to all subscribers.
    pub fn deliver_hello(&self, sh: &mut Shared, payload: &str) {
        if self.process != Process::Running {
            return;
        }
        for conn in &self.subscribers {
            sh.server_send(*conn, Tell::Push(Some(payload.as_bytes().into())));
        }
    }

    fn run(&mut self, sh: &mut Shared, conn: ConnId, tag: Tag, command: Command) {
        if !self.clients.contains(&conn) {
            return;
        }
        let waits = matches!(command, Command::PublishHello(_)) && self.holds_writes(sh.now);
        if waits || self.blocked.iter().any(|(behind, ..)| *behind == conn) {
            self.blocked.push_back((conn, tag, command));
            return;
        }
        let queueing = sh.net.conns[conn].multi.is_some();
        let refusal = self.refusal(&command);
        let reply = match command {
            command if self.script.is_some() => self.while_busy(sh, conn, &command),
            _ if refusal.is_some() => {
                if let Some(queue) = &mut sh.net.conns[conn].multi {
                    queue.push(Command::Refused);
                }
                refusal.expect("just looked")
            }
            Command::Exec if sh.net.conns[conn].multi.iter().flatten().any(|queued| *queued == Command::Refused) => {
                sh.net.conns[conn].multi = None;
                Reply::Error(b"EXECABORT a command was refused.".as_slice().into())
            }
            Command::Exec => {
                let queued = sh.net.conns[conn].multi.take().unwrap_or_default();
                Reply::Array(queued.into_iter().map(|command| self.apply(sh, conn, command)).collect())
            }
            Command::Multi => {
                sh.net.conns[conn].multi = Some(Vec::new());
                ok()
            }
            command if queueing => {
                if let Some(queue) = &mut sh.net.conns[conn].multi {
                    queue.push(command);
                }
                Reply::Status(b"QUEUED".as_slice().into())
            }
            command => self.apply(sh, conn, command),
        };
        let tell = match sh.net.conns[conn].channel {
            Channel::Command => Tell::Reply(tag, reply),
            Channel::PubSub => Tell::Push(None),
        };
        sh.server_send(conn, tell);
    }

    fn refusal(&self, command: &Command) -> Option<Reply> {
        let text = match command {
            Command::ClientPause(_) if self.denied.pause => DENIED,
            Command::Failover { .. } | Command::FailoverAbort if self.denied.failover => DENIED,
            Command::Refused => b"ERR wrong number of arguments for 'client' command".as_slice(),
            _ => return None,
        };
        Some(Reply::Error(text.into()))
    }

    /// Whether writes wait.
    fn holds_writes(&self, now: u64) -> bool {
        now < self.paused_until || self.handover.is_some()
    }

    /// Whether clients can write here.
    pub fn takes_writes(&self, now: u64) -> bool {
        self.process == Process::Running && self.upstream.is_none() && !self.holds_writes(now)
    }

    /// Carries out what waited, if it need not wait any more.
    fn unblock(&mut self, sh: &mut Shared) {
        if self.process == Process::Running && !self.holds_writes(sh.now) {
            for (conn, tag, command) in std::mem::take(&mut self.blocked) {
                self.run(sh, conn, tag, command);
            }
        }
    }

    /// It becomes a master: its history parts from that of its master here.
    fn promote(&mut self, sh: &mut Shared) {
        if self.upstream.take().is_some() {
            sh.promotions.push((self.host - sh.sentinels, Point { replid: self.replid, offset: self.offset }));
            self.begin_history(sh);
        }
    }

    /// What a server says that runs a script: everything but a few commands is refused.
    fn while_busy(&mut self, sh: &mut Shared, conn: ConnId, command: &Command) -> Reply {
        match command {
            Command::ScriptKill if self.script == Some(Script::Written) => {
                Reply::Error(b"UNKILLABLE the script has written.".as_slice().into())
            }
            Command::ScriptKill => {
                sh.trace.note(sh.now, || format!("{}: the script is killed", self.ip));
                self.script = None;
                ok()
            }
            Command::Auth { .. } | Command::Multi => ok(),
            Command::Exec => {
                sh.net.conns[conn].multi = None;
                Reply::Error(b"EXECABORT a command was refused.".as_slice().into())
            }
            _ => Reply::Error(BUSY.into()),
        }
    }

    fn apply(&mut self, sh: &mut Shared, conn: ConnId, command: Command) -> Reply {
        let loading = sh.now < self.loading_until;
        match command {
            Command::Ping | Command::Replicaof { .. } | Command::ReplicaofNoOne if loading => {
                Reply::Error(b"LOADING Redis is loading the dataset in memory".as_slice().into())
            }
            Command::Ping => Reply::Status(b"PONG".as_slice().into()),
            Command::Info => {
                let more = format!("\r\n# Persistence\r\nloading:{}\r\n", u8::from(loading));
                Reply::Bulk((self.info(sh) + &more).into_bytes().into())
            }
            Command::InfoSections => Reply::Bulk(self.info(sh).into_bytes().into()),
            Command::SubscribeHello => {
                self.subscribers.insert(conn);
                Reply::Null
            }
            Command::PublishHello(payload) => {
                self.deliver_hello(sh, &payload);
                // Only a master's own commands go to replicas; a replica hands on what comes from its master, and no more.
                for replica in self.replicas.iter().filter(|_| self.upstream.is_none()) {
                    let at = sh.now + sh.delay();
                    sh.push(at, Event::Relay(*replica, payload.clone()));
                }
                Reply::Integer(self.subscribers.len() as i64)
            }
            Command::ReplicaofNoOne => {
                sh.trace.note(sh.now, || format!("{} becomes a master at {}", self.ip, self.offset));
                self.promote(sh);
                self.see_told(sh, conn, None);
                ok()
            }
            Command::Replicaof { .. } if self.handover.is_some() => {
                Reply::Error(b"ERR REPLICAOF not allowed while failing over.".as_slice().into())
            }
            Command::Replicaof { host, port } => {
                sh.trace.note(sh.now, || format!("{} follows {host}", self.ip));
                self.see_told(sh, conn, Some(&host));
                let known =
                    self.upstream.as_ref().is_some_and(|upstream| upstream.host == host && upstream.port == port);
                if !known {
                    self.upstream = Some(follow(host, port, sh.now));
                }
                ok()
            }
            Command::ConfigRewrite => {
                self.saved_upstream = self.upstream.as_ref().map(|upstream| (upstream.host.clone(), upstream.port));
                ok()
            }
            Command::ClientKill(class) => self.kill_clients(sh, conn, class),
            Command::ClientPause(ms) => {
                sh.trace.note(sh.now, || format!("{} holds writes for {ms} ms", self.ip));
                self.paused_until = self.paused_until.max(sh.now + ms * 1_000);
                ok()
            }
            Command::ClientUnpause => {
                sh.trace.note(sh.now, || format!("{} holds writes no longer", self.ip));
                self.paused_until = 0;
                self.unblock(sh);
                ok()
            }
            Command::Failover { .. } if self.upstream.is_some() || self.handover.is_some() => {
                Reply::Error(b"ERR FAILOVER is not valid when server is a replica.".as_slice().into())
            }
            Command::Failover { host, port, timeout } => {
                sh.trace.note(sh.now, || format!("{} hands over to {host}", self.ip));
                let acked_at = sh.now + sh.rng.servers.random_range(0..ACK_PERIOD_US);
                self.handover = Some(Handover { host, port, acked_at, until: sh.now + timeout * 1_000 });
                ok()
            }
            Command::FailoverAbort => match self.handover.take() {
                Some(_) => {
                    self.unblock(sh);
                    ok()
                }
                None => Reply::Error(b"ERR No failover in progress.".as_slice().into()),
            },
            Command::Refused => Reply::Error(b"ERR wrong number of arguments".as_slice().into()),
            Command::ScriptKill => Reply::Error(b"NOTBUSY No scripts in execution right now.".as_slice().into()),
            Command::IsMasterDown { .. } => Reply::Error(b"ERR unknown command 'SENTINEL'".as_slice().into()),
            Command::Auth { .. } | Command::ClientSetname(_) | Command::Multi | Command::Exec => ok(),
        }
    }

    fn kill_clients(&mut self, sh: &mut Shared, issuer: ConnId, class: ClientType) -> Reply {
        let subscribing = class == ClientType::PubSub;
        let victims: Vec<ConnId> = self
            .clients
            .iter()
            .copied()
            .filter(|conn| *conn != issuer && self.subscribers.contains(conn) == subscribing)
            .collect();
        for conn in &victims {
            self.forget(*conn);
            sh.server_close(*conn);
        }
        Reply::Integer(victims.len() as i64)
    }
}

/// Address of the server with this number.
pub fn server_ip(number: usize) -> String {
    format!("10.0.1.{}", number + 1)
}

fn follow(host: String, port: u16, now: u64) -> Upstream {
    Upstream { host, port, up: false, down_since: None, synced_at: None, heard_at: now, process: 0 }
}

fn ok() -> Reply {
    Reply::Status(b"OK".as_slice().into())
}
