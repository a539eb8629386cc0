//! Whether clients that ask without end delay the detection of a dead master.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::load::{self, ADDRESS, Load};
use crate::support::resp::Value;
use crate::support::server::Server;
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::watcher::{Monitor, Watcher, patient};
use crate::{KINDS, Kind, Length, Spread, folder, until};

const FLOOD: Load = Load { words: ADDRESS, clients: 1000, pipeline: 1 };

/// `down-after-milliseconds`
pub(crate) const DOWN_AFTER: u64 = 1000;

/// How much later a dead master may be seen by a busy Sentinel, ms.
pub(crate) const TARGET: f64 = 20.0;

/// How long a busy Sentinel is given for an event or an answer, which includes a TILT of 30 s.
const PATIENCE: Duration = seconds(60);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// ms
const QUARTER: f64 = 15.0 * 60e3;

/// As events name it.
const MASTER: &str = "master mymaster";

/// How often a master is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kills {
    pub(crate) at_least: usize,
    /// How long a load lasts at least.
    pub(crate) lasting: Duration,
}

pub(crate) fn run(length: Length) {
    let kills = match length {
        Length::Full => Kills { at_least: 15, lasting: seconds(30) },
        Length::Quick => Kills { at_least: 5, lasting: seconds(8) },
    };
    let folder = folder();
    println!(
        "\nDetection: ms from kill -9 of a master until a subscriber hears of +sdown, down-after {DOWN_AFTER}, median of at \
         least {} kills\n(lowest-highest); quiet, and while {} clients ask for the address for at least {} s. Logged: its \
         time in the log.\n",
        kills.at_least,
        FLOOD.clients,
        kills.lasting.as_secs()
    );
    let mut scenes = KINDS.map(|kind| Scene::start(kind, folder.path(), Vec::new()));
    table(&mut scenes, &[FLOOD], kills);
}

/// Kills the master of each Sentinel when it is quiet, in turns, and then under each of these loads; prints what came.
pub(crate) fn table(scenes: &mut [Scene; 2], loads: &[Load], kills: Kills) {
    let mut quiet = [Vec::new(), Vec::new()];
    for _ in 0..kills.at_least {
        for (scene, times) in scenes.iter_mut().zip(&mut quiet) {
            times.push(scene.kill().expect("a quiet Sentinel detects"));
        }
    }
    println!(
        "| asked for | by clients | pipeline | | quiet | asked | later by | logged | later by | kills | answers/s meanwhile | \
         TILT |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for load in loads {
        let label = format!("{} | {} | {}", load::label(load.words), load.clients, load.pipeline);
        let mut medians = Vec::new();
        for (scene, quiet) in scenes.iter_mut().zip(&quiet) {
            let asked = scene.kill_under(*load, kills);
            let quiet = Notice::spreads(quiet).expect("a quiet Sentinel detects");
            let cells = Notice::spreads(&asked.notices).map_or_else(
                || format!("not in {} s | - | - | -", PATIENCE.as_secs()),
                |spreads| {
                    medians.push(spreads[0].median);
                    let cells = spreads.iter().zip(&quiet).map(|(asked, quiet)| {
                        format!("{} | {:.0} (at most {TARGET})", asked.shown(0), asked.median - quiet.median)
                    });
                    cells.collect::<Vec<_>>().join(" | ")
                },
            );
            println!(
                "| {label} | {} | {} | {cells} | {} | {:.0} | {} |",
                scene.sentinel.kind.label(),
                quiet[0].shown(0),
                asked.kills,
                asked.rate,
                asked.tilts
            );
        }
        if let [stock, ours] = medians[..] {
            println!("| {label} | ours/stock | | {:.2} | | | | | | |", ours / stock);
        }
    }
}

/// How long after a kill `+sdown` came, ms.
#[derive(Clone, Copy, Debug)]
struct Notice {
    /// Heard by a subscriber.
    heard: f64,
    /// By its time in the log.
    logged: f64,
}

impl Notice {
    /// Of both times, in their order; `None` of nothing.
    fn spreads(notices: &[Notice]) -> Option<[Spread; 2]> {
        let of = |time: fn(&Notice) -> f64| Spread::of(&notices.iter().map(time).collect::<Vec<_>>());
        (!notices.is_empty()).then(|| [of(|notice| notice.heard), of(|notice| notice.logged)])
    }
}

/// What happened under a load.
struct Asked {
    notices: Vec<Notice>,
    /// One more than `notices` when the last one was not noticed.
    kills: usize,
    /// Requests in a second.
    rate: f64,
    /// `+tilt` events.
    tilts: usize,
}

/// One Sentinel and its master: with a quorum of 2 it detects and does no more.
pub(crate) struct Scene {
    pub(crate) sentinel: Watcher,
    server: Server,
}

impl Scene {
    /// The Sentinel watches these masters too.
    pub(crate) fn start(kind: Kind, folder: &Path, mut masters: Vec<Monitor>) -> Scene {
        let server = Server::start(folder, None, None);
        masters.push(Monitor {
            name: "mymaster".to_owned(),
            at: SocketAddrV4::new(Ipv4Addr::LOCALHOST, server.port),
            quorum: 2,
            down_after: DOWN_AFTER,
            failover_timeout: 6000,
        });
        let scene = Scene { sentinel: Watcher::start(kind, folder, &masters), server };
        wait_until(PATIENCE, "the master is up", || scene.is_up());
        scene
    }

    /// Kills the master again and again while clients ask.
    fn kill_under(&mut self, load: Load, kills: Kills) -> Asked {
        let (start, before) = (Instant::now(), self.answered());
        let clients = load.start(self.sentinel.port);
        wait_until(PATIENCE, "the clients have connected", || self.connected() >= load.clients);
        let (mut notices, mut killed) = (Vec::new(), 0);
        while killed < kills.at_least || start.elapsed() < kills.lasting {
            killed += 1;
            let Some(notice) = self.kill() else { break };
            notices.push(notice);
        }
        let rate = (self.answered() - before) as f64 / start.elapsed().as_secs_f64();
        drop(clients);
        wait_until(PATIENCE, "the master is up", || self.is_up());
        let events = self.sentinel.events.all();
        let tilts = events.iter().filter(|seen| seen.at >= start && seen.name == "+tilt").count();
        Asked { notices, kills: killed, rate, tilts }
    }

    /// Kills the master, and starts it again when that was noticed, or was not within a time.
    fn kill(&mut self) -> Option<Notice> {
        let (killed, clock) = (Instant::now(), SystemTime::now());
        let before = self.log().len();
        self.server.process.kill();
        let events = &self.sentinel.events;
        let find = |since, event: &str| events.find(since, &format!("{event} {MASTER}"));
        until(PATIENCE, LOOK, || find(killed, "+sdown").is_some());
        let down = find(killed, "+sdown");
        let again = Instant::now();
        self.server.start_again();
        let heard = (down?.at - killed).as_secs_f64() * 1e3;
        let sdown = format!("+sdown {MASTER} ");
        let logged = || self.log()[before..].lines().find(|line| line.contains(&sdown)).map(time_in_quarter);
        let logged = wait_for(PATIENCE, "a line in the log", logged);
        let clock = clock.duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs_f64() * 1e3;
        let logged = (logged - clock).rem_euclid(QUARTER);
        // Both of its links are open then: the next kill meets what a kill meets in daily life.
        let up = || find(again, "-sdown").is_some() && self.is_up();
        until(PATIENCE, LOOK, up).then_some(Notice { heard, logged })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.sentinel.process.log()).expect("everybody has a log")
    }

    /// It is taken for alive, and would be taken for dead.
    pub(crate) fn is_up(&self) -> bool {
        self.call(&["SENTINEL", "MASTER", "mymaster"]).field("flags") == Some("master")
            && self.info("sentinel_tilt") == 0
    }

    /// Requests since its start.
    fn answered(&self) -> u64 {
        self.info("total_commands_processed")
    }

    fn connected(&self) -> u32 {
        self.info("connected_clients") as u32
    }

    fn info(&self, field: &str) -> u64 {
        let reply = self.call(&["INFO"]);
        let value =
            reply.text().and_then(|text| text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("INFO has no number {field}"))
    }

    /// One command of somebody who waits as long as it takes.
    fn call(&self, words: &[&str]) -> Value {
        // A busy one may not accept at once.
        let mut client = wait_for(PATIENCE, "a connection", || patient(self.sentinel.port).ok());
        client.call(words).expect("a running Sentinel answers")
    }
}

/// The time of a log line, `pid:role day month year hours:minutes:seconds.milliseconds ...`, ms since the last quarter of
/// an hour, which is the same in all time zones.
fn time_in_quarter(line: &str) -> f64 {
    let time = line.split(' ').find(|word| word.matches(':').count() == 2).expect("a line of the log has a time");
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().expect("a time is numbers")).collect();
    (parts[1] * 60.0 + parts[2]) * 1e3 % QUARTER
}
