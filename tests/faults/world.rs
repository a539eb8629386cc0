//! Hosts with servers and Sentinels, the faults that can be done to them, and the end that every scenario has.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::audit::{Death, Witness, audit, count, epoch, told};
use crate::disk::SmallDisk;
use crate::host::{Place, SENTINEL_PORT, SERVER_PORT, Sentinel, Server, Watch};
use crate::load::loads;
use crate::net::{Host, Net};
use crate::proxy::Proxies;
use crate::sampler::Sampler;
use crate::support::Kind;
use crate::support::cluster::Permit;
use crate::support::recorder::Seen;
use crate::support::wait::{seconds, wait_for, wait_until};

/// Long enough for an election that needs a second attempt, on a busy machine.
pub(crate) const SWITCH: Duration = seconds(40);

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// One Sentinel each.
    pub(crate) sentinels: Vec<Kind>,
    /// A master, and replicas.
    pub(crate) servers: usize,
    /// The first so many Sentinels have a conf folder on a small disk of their own.
    pub(crate) small_disks: usize,
    /// Of all Sentinels.
    pub(crate) quorum: u32,
    /// ms
    pub(crate) down_after: u64,
    /// ms
    pub(crate) failover_timeout: u64,
    /// Between all of them.
    pub(crate) lines: Lines,
}

/// What lies between any two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Nothing.
    Near,
    /// A proxy.
    Far {
        /// From and to how many ms one way takes.
        delay: (u64, u64),
        /// Whether one packet of twenty is lost, where packets can be.
        lossy: bool,
    },
}

impl Plan {
    /// So many Sentinels under test with quorum 2, one master and two replicas. With `E2E_ALL_STOCK` they are stock's;
    /// then the tests of bad disks fail, since stock votes all the same (failover.md R9).
    pub(crate) fn ours(sentinels: usize) -> Plan {
        Plan {
            sentinels: vec![Kind::under_test(); sentinels],
            servers: 3,
            small_disks: 0,
            quorum: 2,
            down_after: 1000,
            failover_timeout: 6000,
            lines: Lines::Near,
        }
    }

    /// Two of ours, and a stock one at the end. Stock wants some more time to reconnect.
    pub(crate) fn mixed() -> Plan {
        Plan { sentinels: vec![Kind::Ours, Kind::Ours, Kind::Stock], down_after: 2000, ..Plan::ours(3) }
    }
}

/// Everything that a scenario runs.
#[derive(Debug)]
pub(crate) struct World {
    /// The first one begins as master.
    pub(crate) servers: Vec<Server>,
    /// In the order of the plan.
    pub(crate) sentinels: Vec<Sentinel>,
    /// One for each of the first Sentinels, as planned.
    pub(crate) disks: Vec<SmallDisk>,
    /// Who is stopped in place of a link that is cut.
    stopped: Vec<Host>,
    deaths: Vec<Vec<Death>>,
    sampler: Sampler,
    /// One for each host, or none.
    _proxies: Option<Proxies>,
    net: Net,
    // The folder goes when its users are gone, and then the next test may start.
    _held: (TempDir, Permit),
}

impl World {
    /// Starts everything, and waits until every Sentinel knows and reaches everybody.
    pub(crate) fn start(plan: &Plan) -> World {
        let permit = Permit::take();
        let folder = tempfile::Builder::new().prefix("sentineld-faults-").tempdir().expect("a temporary folder");
        let net = Net::new(plan.servers + plan.sentinels.len());
        let (places, proxies) = lay_lines(&net, plan);
        let mut servers = vec![Server::start(&net, places[0], folder.path(), None)];
        let master = servers[0].addr;
        let replicas = places[1..plan.servers].iter();
        let replicas = replicas.map(|place| Server::start(&net, *place, folder.path(), Some(master)));
        servers.extend(replicas);
        for replica in &servers[1..] {
            wait_until(seconds(20), "replicas have synchronised", || replica.follows(master));
        }
        let Plan { quorum, down_after, failover_timeout, .. } = *plan;
        let watch = Watch { master, quorum, down_after, failover_timeout };
        let (mut disks, mut sentinels) = (Vec::new(), Vec::new());
        for (place, &kind) in plan.sentinels.iter().enumerate() {
            let host = plan.servers + place;
            let home = folder.path().join(format!("conf-{host}"));
            std::fs::create_dir(&home).expect("the test folder is writable");
            if place < plan.small_disks {
                disks.push(SmallDisk::new(&home));
            }
            sentinels.push(Sentinel::start(&net, places[host], kind, folder.path(), &home, watch));
        }
        let sampler = Sampler::start(sentinels.iter().map(|sentinel| sentinel.conf.clone()).collect::<Vec<PathBuf>>());
        let deaths = vec![Vec::new(); sentinels.len()];
        let held = (folder, permit);
        let stopped = Vec::new();
        let world = World { servers, sentinels, disks, stopped, deaths, sampler, _proxies: proxies, net, _held: held };
        world.wait_until_acquainted();
        world
    }

    /// Waits until every Sentinel reaches every server and peer.
    pub(crate) fn wait_until_acquainted(&self) {
        wait_until(SWITCH, "all Sentinels know and reach everybody", || {
            self.sentinels.iter().all(|sentinel| {
                let (replicas, peers) = (sentinel.known("REPLICAS"), sentinel.known("SENTINELS"));
                sentinel.field("flags").as_deref() == Some("master")
                    && replicas.len() + 1 == self.servers.len()
                    && replicas.iter().all(|replica| replica.field("flags") == Some("slave"))
                    && peers.len() + 1 == self.sentinels.len()
                    && peers.iter().all(|peer| peer.field("flags") == Some("sentinel"))
            })
        });
    }

    /// Waits until the Sentinels at `places` name one master other than `old`.
    pub(crate) fn wait_for_new_master(&self, places: &[usize], old: SocketAddr) -> SocketAddr {
        wait_for(SWITCH, "they name one new master", || {
            let mut named = places.iter().map(|&place| self.sentinels[place].master_addr());
            let first = named.next().flatten().filter(|addr| *addr != old)?;
            named.all(|addr| addr == Some(first)).then_some(first)
        })
    }

    /// Waits for an event of whichever Sentinel tells it first; its place, and the event.
    pub(crate) fn wait_for_any(&self, from: Instant, prefix: &str) -> (usize, Seen) {
        wait_for(SWITCH, prefix, || {
            let told = self.sentinels.iter().enumerate();
            let told = told.filter_map(|(place, sentinel)| Some((place, sentinel.events.find(from, prefix)?)));
            told.min_by_key(|(_, seen)| seen.at)
        })
    }

    /// Where a server runs.
    pub(crate) fn server_host(&self, addr: SocketAddr) -> Host {
        self.server(addr).host
    }

    /// The server at `addr`.
    pub(crate) fn server(&self, addr: SocketAddr) -> &Server {
        self.servers.iter().find(|server| server.addr == addr).expect("the address of a server")
    }

    /// The server at `addr`.
    pub(crate) fn server_mut(&mut self, addr: SocketAddr) -> &mut Server {
        self.servers.iter_mut().find(|server| server.addr == addr).expect("the address of a server")
    }

    /// All hosts but these.
    pub(crate) fn others(&self, hosts: &[Host]) -> Vec<Host> {
        (0..self.servers.len() + self.sentinels.len()).filter(|host| !hosts.contains(host)).collect()
    }

    /// Whether links are really cut; else those who would be cut off are stopped, and cannot be asked.
    pub(crate) fn cuts_links(&self) -> bool {
        self.net.is_switched()
    }

    /// Nothing that `from` sends arrives at `to`, until [`World::heal`]. Where links cannot be cut, `instead` is
    /// stopped.
    pub(crate) fn cut(&mut self, from: &[Host], to: &[Host], instead: &[Host]) {
        match &self.net {
            Net::Switched(switch) => switch.cut(&pairs(from, to)),
            Net::Loopback { .. } => {
                for &host in instead {
                    if !self.stopped.contains(&host) {
                        self.signal(host, Signal::SIGSTOP);
                        self.stopped.push(host);
                    }
                }
            }
        }
    }

    /// Cuts `hosts` off from everybody else, both ways.
    pub(crate) fn isolate(&mut self, hosts: &[Host]) {
        let others = self.others(hosts);
        self.cut(hosts, &others, hosts);
        self.cut(&others, hosts, hosts);
    }

    /// Every line is slow and loses packets, where there are lines.
    pub(crate) fn make_bad_lines(&self) {
        if let Net::Switched(switch) = &self.net {
            let all = self.others(&[]);
            switch.make_lossy(&pairs(&all, &all));
            for &host in &all {
                switch.narrow(host);
            }
        }
    }

    /// All links work, and nobody is stopped in place of one.
    pub(crate) fn heal(&mut self) {
        match &self.net {
            Net::Switched(switch) => switch.heal(),
            Net::Loopback { .. } => {
                for host in std::mem::take(&mut self.stopped) {
                    self.signal(host, Signal::SIGCONT);
                }
            }
        }
    }

    /// SIGKILL of a Sentinel, and a note of what it had told and saved.
    pub(crate) fn kill(&mut self, place: usize) {
        let sentinel = &mut self.sentinels[place];
        sentinel.process.kill();
        let file = std::fs::read_to_string(&sentinel.conf).unwrap_or_default();
        let events = sentinel.events.all().iter().map(Seen::line).collect();
        self.deaths[place].push(Death { told: [told(&sentinel.log()), events], file });
    }

    /// Waits until there is one master for everybody, and every live server follows it; returns its address.
    pub(crate) fn wait_until_agreed(&self) -> SocketAddr {
        wait_for(seconds(60), "all agree on one master, and all servers follow it", || {
            let master = self.sentinels[0].master_addr()?;
            let epoch = self.sentinels[0].field("config-epoch")?;
            let agreed = self.sentinels.iter().all(|sentinel| {
                sentinel.master_addr() == Some(master)
                    && sentinel.field("ip") == Some(master.ip().to_string())
                    && sentinel.field("flags").as_deref() == Some("master")
                    && sentinel.field("config-epoch").as_ref() == Some(&epoch)
            });
            let live = self.servers.iter().filter(|server| server.process.is_started());
            let mut replicas = live.filter(|server| server.addr != master);
            let follow = agreed && self.server(master).is_master() && replicas.all(|replica| replica.follows(master));
            follow.then_some(master)
        })
    }

    /// What everybody left behind until now.
    pub(crate) fn evidence(&mut self) -> Vec<Witness> {
        let files = self.sampler.finish();
        let everybody = self.sentinels.iter().zip(files).zip(&self.deaths);
        let witness = |((sentinel, files), deaths): ((&Sentinel, Vec<String>), &Vec<Death>)| Witness {
            id: sentinel.id.clone(),
            log: sentinel.log(),
            events: sentinel.events.all().iter().map(Seen::line).collect(),
            files,
            deaths: deaths.clone(),
        };
        everybody.map(witness).collect()
    }

    /// Heals everything, wants one agreed master and files that load everywhere, and audits what was left behind.
    pub(crate) fn finish(mut self) -> Vec<Witness> {
        self.heal();
        for server in &mut self.servers {
            if !server.process.is_started() {
                server.process.start_again();
            }
        }
        self.wait_until_agreed();
        self.wait_until_acquainted();
        for sentinel in &mut self.sentinels {
            sentinel.process.kill();
        }
        let evidence = self.evidence();
        let complaints = audit(&evidence);
        assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
        let (votes, elections) = count(&evidence);
        let states = evidence.iter().map(|witness| witness.files.len()).sum::<usize>();
        for witness in &evidence {
            let deaths = witness.deaths.iter().map(|death| &death.file);
            let mut files = deaths.chain(witness.files.last()).collect::<Vec<_>>();
            files.sort_by_key(|file| epoch(file, "current-epoch"));
            files.dedup();
            for file in files {
                loads(&self.net, file).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        println!("audited: {votes} votes, {elections} elections, {states} states of conf files");
        evidence
    }

    fn signal(&self, host: Host, signal: Signal) {
        let servers = self.servers.iter().filter(|server| server.host == host).map(|server| &server.process);
        let sentinels =
            self.sentinels.iter().filter(|sentinel| sentinel.host == host).map(|sentinel| &sentinel.process);
        servers.chain(sentinels).filter(|process| process.is_started()).for_each(|process| process.signal(signal));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for server in &self.servers {
                eprintln!("{}", server.process.log_tail(15));
            }
            for sentinel in &self.sentinels {
                eprintln!("{} {}", sentinel.id, sentinel.story());
            }
        }
    }
}

/// Where everybody is to run, and the proxies between them.
fn lay_lines(net: &Net, plan: &Plan) -> (Vec<Place>, Option<Proxies>) {
    let hosts = 0..plan.servers + plan.sentinels.len();
    let Lines::Far { delay, lossy } = plan.lines else {
        return (hosts.map(|host| Place { host, proxy: None }).collect(), None);
    };
    let proxies = hosts.map(|host| net.proxy_addr(host)).collect::<Vec<_>>();
    if let (Net::Switched(switch), true) = (net, lossy) {
        switch.make_bad(&proxies);
    }
    let pair = |(host, proxy): (Host, &Ipv4Addr)| {
        let port = if host < plan.servers { SERVER_PORT } else { SENTINEL_PORT };
        (SocketAddr::from((*proxy, port)), SocketAddr::from((net.addr(host), port)))
    };
    let pairs = proxies.iter().enumerate().map(pair).collect::<Vec<_>>();
    let places = proxies.iter().enumerate().map(|(host, proxy)| Place { host, proxy: Some(*proxy) });
    let servers = (0..plan.servers).map(|host| net.addr(host).into()).collect();
    (places.collect(), Some(Proxies::start(&pairs, &(delay.0..=delay.1), servers)))
}

fn pairs(from: &[Host], to: &[Host]) -> Vec<(Host, Host)> {
    let pairs = from.iter().flat_map(|&from| to.iter().map(move |&to| (from, to)));
    pairs.filter(|(from, to)| from != to).collect()
}
