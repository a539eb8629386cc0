//! One process on a host of its own: a server or a Sentinel.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::net::{Host, Net};
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Seen};
use crate::support::resp::{Client, Value};
use crate::support::wait::{seconds, wait_until};
use crate::support::{Kind, stock};

/// The name of the one master that every world has.
pub(crate) const MASTER: &str = "mymaster";

/// Of all servers, and of their proxies.
pub(crate) const SERVER_PORT: u16 = 6379;
/// Of all Sentinels, and of their proxies.
pub(crate) const SENTINEL_PORT: u16 = 26379;

/// Where to run, and what stands in front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The host.
    pub(crate) host: Host,
    /// The address of a proxy under which others are to find it.
    pub(crate) proxy: Option<Ipv4Addr>,
}

/// A redis-server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where Sentinels and other servers find it.
    pub(crate) addr: SocketAddr,
    /// Where it listens.
    listens: SocketAddr,
    /// Where it runs.
    pub(crate) host: Host,
    /// The child.
    pub(crate) process: Process,
}

impl Server {
    /// Starts a master, or a replica, and waits until it answers. It is announced under the address of its proxy, if it
    /// has one.
    pub(crate) fn start(net: &Net, at: Place, folder: &Path, replica_of: Option<SocketAddr>) -> Server {
        let Place { host, proxy } = at;
        let listens = SocketAddr::from((net.addr(host), SERVER_PORT));
        let announced = proxy.map(|ip| format!("replica-announce-ip {ip}\nreplica-announce-port {SERVER_PORT}\n"));
        let home = folder.join(format!("server-{host}"));
        std::fs::create_dir(&home).expect("the test folder is writable");
        let role = replica_of.map(|master| format!("replicaof {} {}\n", master.ip(), master.port()));
        let conf = format!(
            "port {SERVER_PORT}\nbind {ip}\nbind-source-addr {ip}\nprotected-mode no\ndir {}\nsave \"\"\n\
             repl-diskless-sync-delay 0\nrepl-timeout 5\n{}{}",
            home.display(),
            announced.unwrap_or_default(),
            role.unwrap_or_default(),
            ip = listens.ip(),
        );
        std::fs::write(home.join("redis.conf"), conf).expect("the test folder is writable");
        let (program, args) = net.command(host, &stock::program("redis-server"), &["redis.conf"]);
        let process = start(&format!("server-{host}"), &program, &args, &home);
        let addr = proxy.map_or(listens, |ip| SocketAddr::from((ip, SERVER_PORT)));
        let server = Server { addr, listens, host, process };
        server.wait_until_ready();
        server
    }

    /// Starts it again after its end, as a replica, without waiting for Sentinels to tell it so.
    pub(crate) fn start_again_below(&mut self, master: SocketAddr) {
        self.process.start_again();
        self.wait_until_ready();
        let (ip, port) = (master.ip().to_string(), master.port().to_string());
        // A Sentinel may be faster, and ends the connections of clients with that.
        wait_until(
            seconds(10),
            "it is told",
            || matches!(self.call(&["REPLICAOF", &ip, &port]), Ok(Value::Simple(told)) if told.starts_with("OK")),
        );
    }

    /// One command on a connection of its own.
    pub(crate) fn call(&self, words: &[&str]) -> io::Result<Value> {
        Client::connect_to(self.listens)?.call(words)
    }

    /// Whether it is a master.
    pub(crate) fn is_master(&self) -> bool {
        self.replication("role").as_deref() == Some("master")
    }

    /// Whether it is a replica of the server at `addr`, with its link up.
    pub(crate) fn follows(&self, addr: SocketAddr) -> bool {
        let is = |key: &str, value: &str| self.replication(key).as_deref() == Some(value);
        is("master_host", &addr.ip().to_string()) && is("master_link_status", "up")
    }

    fn replication(&self, key: &str) -> Option<String> {
        let info = self.call(&["INFO", "replication"]).ok()?;
        let line = info.text()?.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.to_owned();
        Some(line)
    }

    fn wait_until_ready(&self) {
        wait_until(seconds(10), "redis-server answers", || {
            self.call(&["PING"]).is_ok_and(|reply| reply == Value::Simple("PONG".to_owned()))
        });
    }
}

/// How a Sentinel watches the master.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    /// The master at first.
    pub(crate) master: SocketAddr,
    /// `sentinel monitor`
    pub(crate) quorum: u32,
    /// ms
    pub(crate) down_after: u64,
    /// ms
    pub(crate) failover_timeout: u64,
}

/// A Sentinel of either kind.
#[derive(Debug)]
pub(crate) struct Sentinel {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Where it runs.
    pub(crate) host: Host,
    /// Its id.
    pub(crate) id: String,
    /// What it published.
    pub(crate) events: Recorder,
    /// The child.
    pub(crate) process: Process,
    /// Its conf file, alone in its folder.
    pub(crate) conf: PathBuf,
}

impl Sentinel {
    /// Starts a new Sentinel, whose conf file is to lie in the existing folder `home`, and waits until it answers.
    /// Its log lies elsewhere: `home` may be a disk that fills up.
    pub(crate) fn start(net: &Net, at: Place, kind: Kind, folder: &Path, home: &Path, watch: Watch) -> Sentinel {
        let Place { host, proxy } = at;
        let addr = SocketAddr::from((net.addr(host), SENTINEL_PORT));
        let announced = proxy.map(|ip| format!("sentinel announce-ip {ip}\nsentinel announce-port {SENTINEL_PORT}\n"));
        let Watch { master, quorum, down_after, failover_timeout } = watch;
        let conf = home.join("sentinel.conf");
        let text = format!(
            "port {SENTINEL_PORT}\nbind {ip}\nbind-source-addr {ip}\ndir {}\n\
             sentinel monitor {MASTER} {} {} {quorum}\n\
             sentinel down-after-milliseconds {MASTER} {down_after}\n\
             sentinel failover-timeout {MASTER} {failover_timeout}\n{}",
            home.display(),
            master.ip(),
            master.port(),
            announced.unwrap_or_default(),
            ip = addr.ip(),
        );
        std::fs::write(&conf, text).expect("the test folder is writable");
        let (program, args) = net.command(host, &kind.program(), &[&conf.display().to_string()]);
        let process = start(&format!("sentinel-{host}"), &program, &args, folder);
        let mut sentinel = Sentinel { addr, host, id: String::new(), events: Recorder::default(), process, conf };
        sentinel.wait_until_ready();
        let id = sentinel.call(&["SENTINEL", "MYID"]).expect("a running Sentinel answers");
        id.text().expect("MYID is a bulk string").clone_into(&mut sentinel.id);
        sentinel
    }

    /// Starts it again on the same conf file.
    pub(crate) fn start_again(&mut self) {
        self.process.start_again();
        self.wait_until_ready();
    }

    /// One command on a connection of its own.
    pub(crate) fn call(&self, words: &[&str]) -> io::Result<Value> {
        Client::connect_to(self.addr)?.call(words)
    }

    /// The address that clients are told.
    pub(crate) fn master_addr(&self) -> Option<SocketAddr> {
        let reply = self.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).ok()?;
        let [ip, port] = reply.items() else { return None };
        Some(SocketAddr::new(ip.text()?.parse().ok()?, port.text()?.parse().ok()?))
    }

    /// A field of `SENTINEL MASTER`.
    pub(crate) fn field(&self, field: &str) -> Option<String> {
        self.call(&["SENTINEL", "MASTER", MASTER]).ok()?.field(field).map(str::to_owned)
    }

    /// The entries of `SENTINEL REPLICAS` or `SENTINEL SENTINELS`.
    pub(crate) fn known(&self, table: &str) -> Vec<Value> {
        self.call(&["SENTINEL", table, MASTER]).map(|reply| reply.items().to_vec()).unwrap_or_default()
    }

    /// Waits for an event.
    pub(crate) fn wait_for_event(&self, from: Instant, prefix: &str, limit: Duration) -> Seen {
        crate::support::wait::wait_for(limit, &format!("{prefix} by {}", self.addr), || self.events.find(from, prefix))
    }

    /// Everything it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).expect("the log is there from the start")
    }

    /// For people: its log and the events it published.
    pub(crate) fn story(&self) -> String {
        let events = self.events.all().iter().map(Seen::line).collect::<Vec<_>>().join("\n    ");
        format!("{}  published:\n    {events}\n", self.process.log_tail(60))
    }

    /// Stops the process where it is, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    fn wait_until_ready(&mut self) {
        let pong = Ok(Value::Simple("PONG".to_owned()));
        wait_until(seconds(10), "the Sentinel answers", || self.call(&["PING"]).map_err(drop) == pong.clone());
        self.events.attach_to(Client::connect_to(self.addr).expect("it just answered"));
    }
}

fn start(name: &str, program: &Path, args: &[String], folder: &Path) -> Process {
    let args = args.iter().map(String::as_str).collect::<Vec<_>>();
    Process::start(name, program, &args, folder)
}
