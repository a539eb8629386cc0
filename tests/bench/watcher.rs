//! A Sentinel that watches a farm.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::farm::{GROUP, PORT, address};
use crate::support::process::Process;
use crate::support::recorder::Recorder;
use crate::support::resp::{Client, ask};
use crate::support::server::Server;
use crate::support::wait::{seconds, wait_until};
use crate::support::{Kind, ports};

/// `down-after-milliseconds` of all masters of a farm.
pub(crate) const DOWN_AFTER: u64 = 3_000;
/// How long a program may take for anything before its row says that it had not.
pub(crate) const PATIENCE: Duration = seconds(120);

/// How long one waits for an answer: stock with thousands of masters has none while it saves its file for everything that
/// it finds.
const ANSWER: Duration = seconds(600);

/// One master in a conf file, with its times in ms.
pub(crate) struct Monitor {
    pub(crate) name: String,
    pub(crate) at: SocketAddrV4,
    pub(crate) quorum: usize,
    pub(crate) down_after: u64,
    pub(crate) failover_timeout: u64,
}

impl Monitor {
    /// The first masters of a farm, `m0` and so on.
    pub(crate) fn farm(masters: usize, quorum: usize) -> Vec<Monitor> {
        let monitor = |group: usize| Monitor {
            name: format!("m{group}"),
            at: SocketAddrV4::new(address(group * GROUP), PORT),
            quorum,
            down_after: DOWN_AFTER,
            failover_timeout: 60_000,
        };
        (0..masters).map(monitor).collect()
    }

    fn conf(&self) -> String {
        let Monitor { name, at, quorum, down_after, failover_timeout } = self;
        format!(
            "sentinel monitor {name} {} {} {quorum}\nsentinel down-after-milliseconds {name} {down_after}\n\
             sentinel failover-timeout {name} {failover_timeout}\n",
            at.ip(),
            at.port()
        )
    }
}

/// A Sentinel.
pub(crate) struct Watcher {
    pub(crate) port: u16,
    pub(crate) kind: Kind,
    pub(crate) events: Recorder,
    // Last: everybody else hangs up first.
    pub(crate) process: Process,
}

impl Watcher {
    /// Waits as long as a program needs that saves its file for everything it finds.
    pub(crate) fn start(kind: Kind, folder: &Path, masters: &[Monitor]) -> Watcher {
        let port = ports::free();
        let home = folder.join(format!("sentinel-{port}"));
        std::fs::create_dir(&home).expect("the folder is writable");
        let masters: String = masters.iter().map(Monitor::conf).collect();
        let text = format!("port {port}\nbind 127.0.0.1\ndir {}\nmaxclients 19900\n{masters}", home.display());
        std::fs::write(home.join("sentinel.conf"), text).expect("the folder is writable");
        let process = Process::start(&format!("sentinel-{port}"), &kind.program(), &["sentinel.conf"], &home);
        wait_until(ANSWER, "the Sentinel answers", || ask(port, &["PING"]).is_ok());
        let mut events = Recorder::default();
        events.attach_to(patient(port).expect("it has answered already"));
        Watcher { port, kind, events, process }
    }

    /// One of so many Sentinels, which watch so many masters of a farm, and have the quorum that is a majority.
    pub(crate) fn of_farm(kind: Kind, folder: &Path, masters: usize, sentinels: usize) -> Watcher {
        Watcher::start(kind, folder, &Monitor::farm(masters, sentinels / 2 + 1))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    /// Whether it knows so many masters of a farm with all their replicas and so many Sentinels, itself included.
    pub(crate) fn knows_all(&self, masters: usize, sentinels: usize) -> bool {
        let Ok(info) = ask(self.port, &["INFO", "sentinel"]) else { return false };
        let whole = format!(",slaves={},sentinels={sentinels}", GROUP - 1);
        info.text().is_some_and(|text| text.lines().filter(|line| line.trim_end().ends_with(&whole)).count() == masters)
    }

    /// How often it has saved its file.
    pub(crate) fn saves(&self) -> usize {
        let log = std::fs::read_to_string(self.process.log()).unwrap_or_default();
        log.lines().filter(|line| line.ends_with("saved on disk")).count()
    }

    /// How many masters have switched since then, and when the last did.
    pub(crate) fn switched(&self, since: Instant) -> (usize, Option<Instant>) {
        let switches = self.switches(since);
        let names: BTreeSet<&String> = switches.iter().map(|(name, _)| name).collect();
        (names.len(), switches.iter().map(|(_, at)| *at).max())
    }

    /// How many switches since then were not the first of their master.
    pub(crate) fn doubled(&self, since: Instant) -> usize {
        self.switches(since).len() - self.switched(since).0
    }

    /// Which masters have switched since then, and when.
    fn switches(&self, since: Instant) -> Vec<(String, Instant)> {
        let all = self.events.all().into_iter();
        let switches = all.filter(|seen| seen.at >= since && seen.name == "+switch-master");
        switches.filter_map(|seen| Some((seen.payload.split(' ').next()?.to_owned(), seen.at))).collect()
    }
}

/// A Sentinel with one master that lives until it is dropped.
pub(crate) fn at_rest(kind: Kind, folder: &Path) -> (Watcher, Server) {
    let server = Server::start(folder, None, None);
    let master = Monitor {
        name: "mymaster".to_owned(),
        at: SocketAddrV4::new(Ipv4Addr::LOCALHOST, server.port),
        quorum: 1,
        down_after: 30_000,
        failover_timeout: 180_000,
    };
    (Watcher::start(kind, folder, &[master]), server)
}

/// A connection that waits for its answers as long as it takes.
pub(crate) fn patient(port: u16) -> io::Result<Client> {
    let client = Client::connect(port)?;
    client.set_timeout(Some(ANSWER))?;
    Ok(client)
}
