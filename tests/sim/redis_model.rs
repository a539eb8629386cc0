//! A Redis server as Sentinels see one: PING, INFO, hello messages, transactions, replication that takes its time.
//!
//! Replication is not made of messages: a round every [`ROUND_US`] looks who can reach whom and moves offsets.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;

use rand::RngExt;
use sentineld::sentinel::command::{ClientType, Command};
use sentineld::sentinel::io::{Channel, Reply, Tag};

use crate::dns::true_ip;
use crate::net::{ConnId, Host, Tell};
use crate::world::{Event, Shared};

/// What commands get while a script runs.
const BUSY: &[u8] = b"BUSY a script runs here; end it with SCRIPT KILL.";
/// Time between two rounds of replication.
pub const ROUND_US: u64 = 100_000;
/// A replica that hears nothing from its master for so long gives up its link.
const REPL_TIMEOUT_US: u64 = 4_000_000;

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
    saved_upstream: Option<(String, u16)>,
    loading_until: u64,
    script: Option<Script>,
    run_id: String,
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
            saved_upstream: upstream,
            loading_until: 0,
            script: None,
            run_id: String::new(),
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
    }

    /// The process is gone.
    pub fn kill(&mut self) {
        self.process = Process::Dead;
        self.script = None;
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
    pub fn deliver_hello(&mut self, sh: &mut Shared, payload: &str) {
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
        let queueing = sh.net.conns[conn].multi.is_some();
        let reply = match command {
            command if self.script.is_some() => self.while_busy(sh, conn, &command),
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
            Command::Info | Command::InfoSections => Reply::Bulk(self.info(sh).into_bytes().into()),
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
                self.upstream = None;
                ok()
            }
            Command::Replicaof { host, port } => {
                sh.trace.note(sh.now, || format!("{} follows {host}", self.ip));
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

    fn info(&self, sh: &Shared) -> String {
        let mut text = format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{}\r\n\r\n# Replication\r\n", self.run_id);
        match &self.upstream {
            None => {
                text.push_str("role:master\r\n");
            }
            Some(upstream) => {
                let status = if upstream.up { "up" } else { "down" };
                // Writing into a string cannot fail.
                let _ = write!(
                    text,
                    "role:slave\r\nmaster_host:{}\r\nmaster_port:{}\r\nmaster_link_status:{status}\r\n\
                     slave_repl_offset:{}\r\n",
                    upstream.host, upstream.port, self.offset
                );
                if !upstream.up {
                    let down = upstream.down_since.map_or(-1, |since| ((sh.now - since) / 1_000_000) as i64);
                    let _ = write!(text, "master_link_down_since_seconds:{down}\r\n");
                }
                let _ =
                    write!(text, "slave_priority:{}\r\nslave_read_only:1\r\nreplica_announced:1\r\n", self.priority);
            }
        }
        let _ = write!(text, "connected_slaves:{}\r\n", self.replicas.len());
        for (number, replica) in self.replicas.iter().enumerate() {
            let ip = server_ip(*replica);
            let _ = write!(text, "slave{number}:ip={ip},port=6379,state=online,offset={},lag=0\r\n", self.offset);
        }
        let _ = write!(text, "master_repl_offset:{}\r\n", self.offset);
        text
    }
}

/// Address of the server with this number.
pub fn server_ip(number: usize) -> String {
    format!("10.0.1.{}", number + 1)
}

fn follow(host: String, port: u16, now: u64) -> Upstream {
    Upstream { host, port, up: false, down_since: None, synced_at: None, heard_at: now }
}

fn ok() -> Reply {
    Reply::Status(b"OK".as_slice().into())
}

/// One round: links go up and down, masters take writes, replicas catch up.
pub fn replicate(servers: &mut [Server], sh: &mut Shared) {
    for server in servers.iter_mut() {
        server.replicas.clear();
        if server.process == Process::Running && server.upstream.is_none() {
            server.offset += sh.rng.servers.random_range(0..1_000);
        }
    }
    for replica in 0..servers.len() {
        if servers[replica].process != Process::Running {
            continue;
        }
        let Some(upstream) = servers[replica].upstream.clone() else { continue };
        let master = servers.iter().position(|server| server.is_at(&upstream.host, upstream.port));
        let Some(master) = master.filter(|master| *master != replica) else { continue };
        round(servers, replica, master, upstream, sh);
    }
}

fn round(servers: &mut [Server], replica: usize, master: usize, mut upstream: Upstream, sh: &mut Shared) {
    let connected = sh.net.connects(servers[replica].host, servers[master].host);
    let alive = servers[master].process != Process::Dead && sh.now >= servers[master].loading_until;
    let idle = servers[master].process == Process::Running && servers[master].script.is_none();
    let answers = connected && idle && alive;
    let chained = servers[master].upstream.as_ref().is_none_or(|above| above.up);
    if answers && chained {
        upstream.heard_at = sh.now;
    }
    if upstream.up {
        let refused = connected && !alive;
        if refused || sh.now - upstream.heard_at > REPL_TIMEOUT_US {
            upstream.up = false;
            upstream.down_since = Some(sh.now);
            upstream.synced_at = None;
        } else if answers && chained {
            servers[replica].offset = servers[master].offset;
        }
    } else if answers && chained {
        let ready = *upstream.synced_at.get_or_insert_with(|| sh.now + sh.rng.servers.random_range(100_000..1_500_000));
        if sh.now >= ready {
            upstream.up = true;
            servers[replica].offset = servers[master].offset;
        }
    } else {
        upstream.synced_at = None;
    }
    if upstream.up && answers {
        servers[master].replicas.push(replica);
    }
    servers[replica].upstream = Some(upstream);
}
