//! Whether clients that ask without end delay the detection of a dead master.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::{ADDRESS, Load};
use crate::support::resp::Client;
use crate::support::sentinel::{Sentinel, Watch};
use crate::support::server::Server;
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::{Kind, Length, Spread};

const FLOOD: Load = Load { words: ADDRESS, clients: 1000, pipeline: 1 };

/// `down-after-milliseconds`
const DOWN_AFTER: u64 = 1000;

/// How much later a dead master may be seen by a busy Sentinel, ms.
const TARGET: f64 = 20.0;

pub(crate) fn run(length: Length) {
    let (kills, flood) = match length {
        Length::Full => (15, seconds(30)),
        Length::Quick => (5, seconds(8)),
    };
    let folder = tempfile::Builder::new().prefix("sentineld-bench-").tempdir().expect("a temporary folder");
    println!(
        "\nDetection: ms from kill -9 of a master to +sdown, down-after {DOWN_AFTER}, median of at least {kills} kills \
         (lowest-highest);\nquiet, and while {} clients ask for the address for at least {} s\n",
        FLOOD.clients,
        flood.as_secs()
    );
    let mut scenes = [Kind::Stock, Kind::Ours].map(|kind| Scene::start(kind, folder.path()));
    let mut quiet = [Vec::new(), Vec::new()];
    for _ in 0..kills {
        for (scene, times) in scenes.iter_mut().zip(&mut quiet) {
            times.push(scene.kill());
        }
    }
    println!("| | quiet | asked by {} | later by | kills | answers/s meanwhile | TILT |", FLOOD.clients);
    println!("|---|---|---|---|---|---|---|");
    for (scene, quiet) in scenes.iter_mut().zip(&quiet) {
        let (start, before) = (Instant::now(), scene.answered());
        let clients = FLOOD.start(scene.sentinel.port);
        wait_until(seconds(20), "the clients have connected", || scene.connected() >= FLOOD.clients);
        let mut busy = Vec::new();
        while busy.len() < kills || start.elapsed() < flood {
            busy.push(scene.kill());
        }
        let rate = (scene.answered() - before) as f64 / start.elapsed().as_secs_f64();
        drop(clients);
        let tilted = scene.sentinel.events.find(start, "+tilt").is_some();
        let (quiet, kills, busy) = (Spread::of(quiet), busy.len(), Spread::of(&busy));
        let shown = |Spread { low, median, high }: &Spread| format!("{median:.0} ({low:.0}-{high:.0})");
        println!(
            "| {} | {} | {} | {:.0} (at most {TARGET}) | {kills} | {rate:.0} | {} |",
            scene.sentinel.kind.label(),
            shown(&quiet),
            shown(&busy),
            busy.median - quiet.median,
            if tilted { "yes" } else { "no" }
        );
    }
}

/// One Sentinel and its master, alone: with a quorum of 2 it detects and does no more.
struct Scene {
    sentinel: Sentinel,
    server: Server,
}

impl Scene {
    fn start(kind: Kind, folder: &Path) -> Scene {
        let server = Server::start(folder, None, None);
        let watch = Watch {
            name: "mymaster",
            port: server.port,
            quorum: 2,
            password: None,
            down_after: DOWN_AFTER,
            failover_timeout: 6000,
        };
        let scene = Scene { sentinel: Sentinel::start(kind, folder, &[watch]), server };
        wait_until(seconds(10), "the master is up", || scene.is_up());
        scene
    }

    /// Kills the master, and starts it again when that was noticed; returns how long the notice took, ms.
    fn kill(&mut self) -> f64 {
        let killed = Instant::now();
        self.server.process.kill();
        let events = &self.sentinel.events;
        let down = wait_for(seconds(30), "+sdown", || events.find(killed, "+sdown master mymaster"));
        let again = Instant::now();
        self.server.start_again();
        wait_until(seconds(30), "-sdown", || events.find(again, "-sdown master mymaster").is_some());
        // Both of its links are open: the next kill meets what a kill meets in daily life.
        wait_until(seconds(30), "the master is up", || self.is_up());
        (down.at - killed).as_secs_f64() * 1e3
    }

    fn is_up(&self) -> bool {
        self.sentinel.master("mymaster", "flags").as_deref() == Some("master")
    }

    /// Requests since its start.
    fn answered(&self) -> u64 {
        self.info("total_commands_processed")
    }

    fn connected(&self) -> u32 {
        self.info("connected_clients") as u32
    }

    fn info(&self, field: &str) -> u64 {
        let mut client = Client::connect(self.sentinel.port).expect("a running Sentinel accepts connections");
        client.set_timeout(Some(Duration::from_secs(10))).expect("the socket is open");
        let reply = client.call(&["INFO"]).expect("a running Sentinel answers");
        let value =
            reply.text().and_then(|text| text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("INFO has no number {field}"))
    }
}
