//! Masters with their replicas, and the Sentinels that watch them.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::sentinel::{Sentinel, Watch};
use super::server::Server;
use super::wait::{seconds, wait_for, wait_until};
use super::{Kind, stock};

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// One Sentinel each, with its quorum. A quorum that cannot be reached makes a Sentinel that votes and never leads.
    pub(crate) sentinels: Vec<(Kind, u32)>,
    /// Names of the masters, in one process each.
    pub(crate) masters: Vec<&'static str>,
    /// Replicas of each master.
    pub(crate) replicas: usize,
    /// What the servers are, if not the installed redis-server: a folder in `target/versions`.
    pub(crate) server_version: Option<&'static str>,
    /// Of all servers, and the `auth-pass` of all masters.
    pub(crate) password: Option<&'static str>,
    /// ms
    pub(crate) down_after: u64,
    /// ms
    pub(crate) failover_timeout: u64,
    /// Variables in the environment of Sentinels.
    pub(crate) environment: Vec<(String, String)>,
    /// More lines of their conf files.
    pub(crate) lines: String,
}

impl Plan {
    /// Three Sentinels of one kind, quorum 2, one master `mymaster` and two replicas.
    ///
    /// Stock tries a dropped link again after 1000 ms, so with a `down-after-milliseconds` of 1000 it sometimes takes
    /// the master it has just switched to for dead, and fails over once more.
    pub(crate) fn three(kind: Kind) -> Plan {
        let down_after = match kind {
            Kind::Stock | Kind::Other(_) => 2000,
            Kind::Ours => 1000,
        };
        Plan {
            sentinels: vec![(kind, 2); 3],
            masters: vec!["mymaster"],
            replicas: 2,
            server_version: None,
            password: None,
            down_after,
            failover_timeout: 6000,
            environment: Vec::new(),
            lines: String::new(),
        }
    }
}

/// A master and its replicas.
#[derive(Debug)]
pub(crate) struct Group {
    /// The name that Sentinels know it by.
    pub(crate) name: &'static str,
    /// The first one begins as master.
    pub(crate) servers: Vec<Server>,
}

impl Group {
    /// The server at `port`.
    pub(crate) fn at(&self, port: u16) -> &Server {
        self.servers.iter().find(|server| server.port == port).expect("the port of a server of this group")
    }

    /// The server at `port`.
    pub(crate) fn at_mut(&mut self, port: u16) -> &mut Server {
        self.servers.iter_mut().find(|server| server.port == port).expect("the port of a server of this group")
    }
}

/// Everything that a test runs. What is still there is killed when this is dropped; after a panic the logs are shown.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// One a master.
    pub(crate) groups: Vec<Group>,
    /// In the order of the plan.
    pub(crate) sentinels: Vec<Sentinel>,
    // Last: the folder goes when its users are gone, and then the next test may start.
    held: Option<(TempDir, Permit)>,
}

impl Cluster {
    /// Starts everything, and waits until every Sentinel knows and reaches everybody.
    pub(crate) fn start(plan: &Plan) -> Cluster {
        let permit = Permit::take();
        let folder = tempfile::Builder::new().prefix("sentineld-").tempdir().expect("a temporary folder");
        let mut cluster = Cluster::start_in(plan, folder.path());
        cluster.held = Some((folder, permit));
        cluster
    }

    /// The same in a folder of the caller, who also sees to it that not too many run at a time.
    pub(crate) fn start_in(plan: &Plan, folder: &Path) -> Cluster {
        let mut groups = Vec::new();
        for &name in &plan.masters {
            let program = match plan.server_version {
                Some(version) => stock::other(version, "redis-server"),
                None => stock::program("redis-server"),
            };
            let start = |replica_of| Server::start_as(&program, folder, plan.password, replica_of);
            let mut servers = vec![start(None)];
            let master = servers[0].port;
            for _ in 0..plan.replicas {
                servers.push(start(Some(master)));
            }
            groups.push(Group { name, servers });
        }
        let mut cluster = Cluster { groups, sentinels: Vec::new(), held: None };
        for group in &cluster.groups {
            let master = group.servers[0].port;
            for replica in &group.servers[1..] {
                wait_until(seconds(20), "replicas have synchronised", || replica.follows(master));
            }
        }
        for &(kind, quorum) in &plan.sentinels {
            let watch = |group: &Group| Watch {
                name: group.name,
                port: group.servers[0].port,
                quorum,
                password: plan.password,
                down_after: plan.down_after,
                failover_timeout: plan.failover_timeout,
            };
            let watches = cluster.groups.iter().map(watch).collect::<Vec<_>>();
            cluster.sentinels.push(Sentinel::start_in(plan.environment.clone(), kind, folder, &watches, &plan.lines));
        }
        cluster.wait_until_acquainted();
        cluster
    }

    /// The first, often only, group.
    pub(crate) fn group(&mut self) -> &mut Group {
        &mut self.groups[0]
    }

    /// The port that the first group's master began at.
    pub(crate) fn first_master(&self) -> u16 {
        self.groups[0].servers[0].port
    }

    /// Waits until every Sentinel reaches every master, replica and peer and has saved them, and all replicas are in
    /// order.
    pub(crate) fn wait_until_acquainted(&self) {
        wait_until(seconds(30), "all Sentinels know and reach everybody", || {
            self.sentinels.iter().all(|sentinel| self.groups.iter().all(|group| self.is_acquainted(sentinel, group)))
        });
    }

    /// Waits until all Sentinels name the same master other than `old`; returns its port.
    pub(crate) fn wait_for_new_master(&self, master: &str, old: u16, limit: Duration) -> u16 {
        wait_for(limit, "all Sentinels name one new master", || {
            let mut named = self.sentinels.iter().map(|sentinel| sentinel.address(master));
            let first = named.next().flatten().filter(|&port| port != old)?;
            named.all(|port| port == Some(first)).then_some(first)
        })
    }

    /// Waits until the failover to `new` is over: switched and saved everywhere, live servers in their roles, one epoch.
    pub(crate) fn wait_until_settled(&self, group: &Group, new: u16) {
        wait_until(seconds(30), "the failover is over", || {
            let live =
                group.servers.iter().filter(|server| server.process.is_started() && !server.process.is_stopped());
            let mut replicas = live.filter(|server| server.port != new);
            let epoch = self.sentinels[0].master(group.name, "config-epoch");
            group.at(new).is_master()
                && replicas.all(|replica| replica.follows(new))
                && self.sentinels.iter().all(|sentinel| {
                    let monitor = format!("monitor {} 127.0.0.1 {new} ", group.name);
                    sentinel.saved(&["monitor"]).iter().any(|line| line.starts_with(&monitor))
                        && sentinel.master(group.name, "port") == Some(new.to_string())
                        && sentinel.master(group.name, "flags").as_deref() == Some("master")
                        && sentinel.master(group.name, "config-epoch") == epoch
                })
        });
    }

    /// The Sentinel that was elected first since `from`, by its place in `sentinels`.
    pub(crate) fn leader(&self, from: Instant, master: &str) -> Option<usize> {
        let elected = format!("+elected-leader master {master} ");
        self.sentinels.iter().position(|sentinel| sentinel.events.find(from, &elected).is_some())
    }

    fn is_acquainted(&self, sentinel: &Sentinel, group: &Group) -> bool {
        let live = |flags: Option<&str>, kind: &str| flags == Some(kind);
        let replicas = sentinel.replicas(group.name);
        let peers = sentinel.peers(group.name);
        let of_group = format!(" {} ", group.name);
        let saved = sentinel.saved(&["known-replica", "known-sentinel"]);
        let saved = saved.iter().filter(|line| line.contains(&of_group)).count();
        saved == replicas.len() + peers.len()
            && live(sentinel.master(group.name, "flags").as_deref(), "master")
            && replicas.len() + 1 == group.servers.len()
            && peers.len() + 1 == self.sentinels.len()
            && peers.iter().all(|peer| live(peer.field("flags"), "sentinel"))
            && replicas.iter().all(|replica| {
                live(replica.field("flags"), "slave") && replica.field("master-link-status") == Some("ok")
            })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for server in self.groups.iter().flat_map(|group| &group.servers) {
                eprintln!("{}", server.process.log_tail(15));
            }
            for sentinel in &self.sentinels {
                eprintln!("{}", sentinel.story());
            }
        }
    }
}

/// How many clusters run at a time: more would only wait for the processors, and measure that.
const CLUSTERS: usize = 2;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// One of the few places for a cluster; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit;

impl Permit {
    /// Waits for a place.
    pub(crate) fn take() -> Permit {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running =
            ENDED.wait_while(running, |running| *running >= CLUSTERS).unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Permit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}
