//! How long a failover takes, with real servers: from the end of the master until clients are served again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::plot::{self, Bars};
use crate::spread::{Spread, cells, percentile};
use crate::support::cluster::{Cluster, Plan};
use crate::support::resp::{Client, Value};
use crate::support::sentinel::Sentinel;
use crate::support::server::Server;
use crate::support::wait::seconds;
use crate::{KINDS, Kind, Length, until};

/// ms. A failed election of stock costs twice as much, and with its default of 180,000 six minutes.
const FAILOVER_TIMEOUT: u64 = 6000;
/// How often servers and Sentinels are asked.
const PERIOD: Duration = Duration::from_millis(2);
/// How long a failover may take before it counts as one that did not come.
const PATIENCE: Duration = seconds(60);
/// Kills of the last row, which has ours alone.
const MANY: usize = 200;
/// Groups that live at a time then, and die one after the other: a group waits most of the time.
const LANES: usize = 4;

/// What is waited for, each counted from the end of the master, less `down-after-milliseconds`.
const PHASES: [&str; 3] =
    ["a replica takes writes", "all Sentinels tell its address", "`+switch-master` of the leader"];

/// How the master goes.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// SIGKILL: connections break, and new ones are refused.
    Killed,
    /// SIGSTOP: connections stand, and nothing is answered.
    Stopped,
}

impl Failure {
    fn label(self) -> &'static str {
        match self {
            Failure::Killed => "kill -9",
            Failure::Stopped => "SIGSTOP",
        }
    }

    fn signal(self) -> Signal {
        match self {
            Failure::Killed => Signal::SIGKILL,
            Failure::Stopped => Signal::SIGSTOP,
        }
    }

    /// What the medians of ours should not exceed, s.
    fn targets(self) -> [f64; PHASES.len()] {
        match self {
            Failure::Killed => [0.06, 0.10, 0.35],
            Failure::Stopped => [0.25, 0.30, 0.55],
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    failure: Failure,
    sentinels: usize,
    /// ms
    down_after: u64,
}

const CASES: &[Case] = &[
    Case { failure: Failure::Killed, sentinels: 3, down_after: 1000 },
    Case { failure: Failure::Stopped, sentinels: 3, down_after: 1000 },
    Case { failure: Failure::Killed, sentinels: 5, down_after: 1000 },
    Case { failure: Failure::Killed, sentinels: 3, down_after: 5000 },
];

/// What the failovers of one program gave.
#[derive(Default)]
struct Runs {
    /// Of the failovers that came, s.
    phases: [Vec<f64>; PHASES.len()],
    /// Failovers that did not come.
    missing: usize,
    /// Elections that were lost or given up, of all Sentinels.
    aborts: usize,
}

impl Runs {
    fn and(mut self, others: Runs) -> Runs {
        for (times, more) in self.phases.iter_mut().zip(others.phases) {
            times.extend(more);
        }
        Runs { missing: self.missing + others.missing, aborts: self.aborts + others.aborts, ..self }
    }
}

pub(crate) fn run(length: Length) {
    let runs = if length == Length::Full { 20 } else { 3 };
    println!(
        "\nLatency: a master and two replicas, failover-timeout {FAILOVER_TIMEOUT} ms; s from the end of the master, less \
         down-after: median of {runs},\nof ours with SIGSTOP twice as many (lowest-highest). Aborts: `-failover-abort-*` of all \
         Sentinels. Missing: no failover\nwithin {} s.\n",
        PATIENCE.as_secs()
    );
    println!(
        "| failure | Sentinels | down-after, ms | until | stock, s | ours, s | ours/stock | ours at most | aborts, stock | \
         ours | missing, stock | ours |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut bars = Vec::new();
    for case in CASES {
        bars.extend(row(*case, runs));
    }
    if length == Length::Full {
        many(CASES[0]);
    }
    println!();
    plot::bars("latency", "Failover, less down-after", "s", KINDS.map(Kind::label), &bars);
}

/// Measures one case and prints its phases.
fn row(case: Case, runs: usize) -> Vec<Bars> {
    let Case { failure, sentinels, down_after } = case;
    let [stock, mut ours] = measure(case, KINDS, runs);
    if let Failure::Stopped = failure {
        // How late a hang is noticed is a matter of luck, which more runs even out.
        let [more] = measure(case, [Kind::Ours], runs);
        ours = ours.and(more);
    }
    let mut bars = Vec::new();
    for (phase, target) in failure.targets().into_iter().enumerate() {
        let both = [&stock.phases[phase][..], &ours.phases[phase]];
        println!(
            "| {} | {sentinels} | {down_after} | {} | {} | {target} | {} | {} | {} | {} |",
            failure.label(),
            PHASES[phase],
            cells(both, 3),
            stock.aborts,
            ours.aborts,
            stock.missing,
            ours.missing
        );
        let spreads = both.map(|times| (!times.is_empty()).then(|| Spread::of(times)));
        let mut label = vec![["writes", "address", "switch"][phase].to_owned()];
        if phase == PHASES.len() / 2 {
            label.push(format!("{}, {sentinels} Sentinels,", failure.label()));
            label.push(format!("down-after {down_after} ms"));
        }
        bars.push(Bars { label, spreads });
    }
    bars
}

/// Many kills of ours, for what happens seldom.
fn many(case: Case) {
    let runs = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES as u32)
            .map(|lane| {
                scope.spawn(move || {
                    std::thread::sleep(seconds(2) * lane);
                    measure(case, [Kind::Ours], MANY / LANES)
                })
            })
            .collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane ends")).fold(Runs::default(), Runs::and)
    });
    println!(
        "\n{}, {MANY} times {}, {LANES} groups at a time, {} Sentinels, down-after {} ms; aborts: {}, missing: {}; s:\n\n\
         | until | p50 | p90 | p99 | highest |\n|---|---|---|---|---|",
        Kind::Ours.label(),
        case.failure.label(),
        case.sentinels,
        case.down_after,
        runs.aborts,
        runs.missing
    );
    for (name, times) in PHASES.iter().zip(&runs.phases) {
        if !times.is_empty() {
            let [p50, p90, p99, highest] = [50, 90, 99, 100].map(|percent| percentile(times, percent));
            println!("| {name} | {p50:.3} | {p90:.3} | {p99:.3} | {highest:.3} |");
        }
    }
}

/// So many failovers of each program, in turns, each in a group of its own.
fn measure<const N: usize>(case: Case, kinds: [Kind; N], runs: usize) -> [Runs; N] {
    let mut results = [(); N].map(|()| Runs::default());
    for run in 0..runs {
        // One group starts while the other does; they are killed one after the other.
        let clusters = std::thread::scope(|scope| {
            let starting = kinds.map(|kind| scope.spawn(move || Cluster::start(&plan(case, kind))));
            starting.map(|starting| starting.join().expect("a group starts"))
        });
        for (cluster, result) in clusters.into_iter().zip(&mut results) {
            // Connections are older than a second, after which a broken one is tried again at once; and the moments of
            // failure are spread evenly between two hellos, of which there is one in 2 s.
            std::thread::sleep(Duration::from_millis(1500) + seconds(2) * run as u32 / runs as u32);
            fail_over(&cluster, case, result);
        }
    }
    results
}

fn plan(case: Case, kind: Kind) -> Plan {
    let quorum = case.sentinels as u32 / 2 + 1;
    Plan {
        sentinels: vec![(kind, quorum); case.sentinels],
        down_after: case.down_after,
        failover_timeout: FAILOVER_TIMEOUT,
        ..Plan::three(kind)
    }
}

/// Ends the master of a group, and notes when what comes back.
fn fail_over(cluster: &Cluster, case: Case, result: &mut Runs) {
    let [master, replicas @ ..] = &cluster.groups[0].servers[..] else { panic!("a master") };
    let end = AtomicBool::new(false);
    let (start, writable, told) = std::thread::scope(|scope| {
        let writers: Vec<_> = replicas.iter().map(|server| scope.spawn(|| first_write(server, &end))).collect();
        let readers: Vec<_> =
            cluster.sentinels.iter().map(|sentinel| scope.spawn(|| new_address(sentinel, master.port, &end))).collect();
        // They have connected and ask.
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        master.process.signal(case.failure.signal());
        until(Duration::from_millis(case.down_after) + PATIENCE, Duration::from_millis(20), || {
            writers.iter().any(ScopedJoinHandle::is_finished)
                && readers.iter().all(ScopedJoinHandle::is_finished)
                && leaders_switch(&cluster.sentinels, start).is_some()
        });
        end.store(true, Ordering::Relaxed);
        let writable = writers.into_iter().filter_map(|writer| writer.join().expect("it asks")).min();
        let told: Option<Vec<_>> = readers.into_iter().map(|reader| reader.join().expect("it asks")).collect();
        (start, writable, told)
    });
    result.aborts += cluster.sentinels.iter().map(|sentinel| aborts(sentinel, start)).sum::<usize>();
    let right = |(_, port): &(Instant, u16)| writable.is_some_and(|(_, new)| *port == new);
    let told = told.filter(|told| told.iter().all(right)).and_then(|told| told.into_iter().max());
    let switched = leaders_switch(&cluster.sentinels, start);
    let (Some((writable, _)), Some((told, _)), Some(switched)) = (writable, told, switched) else {
        result.missing += 1;
        return;
    };
    for (times, at) in result.phases.iter_mut().zip([writable, told, switched]) {
        times.push((at - start).as_secs_f64() - case.down_after as f64 / 1e3);
    }
}

/// When a replica has taken its first write, and its port. `None` at the end.
fn first_write(server: &Server, end: &AtomicBool) -> Option<(Instant, u16)> {
    let mut client = None;
    while !end.load(Ordering::Relaxed) {
        if client.is_none() {
            client = server.client().ok();
        }
        match client.as_mut().map(|client: &mut Client| client.call(&["SET", "key", "value"])) {
            Some(Ok(Value::Simple(_))) => return Some((Instant::now(), server.port)),
            // A replica that is promoted closes its connections.
            Some(Err(_)) => client = None,
            _ => std::thread::sleep(PERIOD),
        }
    }
    None
}

/// When a Sentinel told clients another port than the old one, and that port. `None` at the end.
fn new_address(sentinel: &Sentinel, old: u16, end: &AtomicBool) -> Option<(Instant, u16)> {
    let mut client = Client::connect(sentinel.port).expect("a running Sentinel accepts connections");
    while !end.load(Ordering::Relaxed) {
        let reply = client.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]).ok()?;
        let port = reply.items().get(1)?.text()?.parse().ok()?;
        if port != old {
            return Some((Instant::now(), port));
        }
        std::thread::sleep(PERIOD);
    }
    None
}

/// When the Sentinel that promoted a replica told its own subscribers of the new master.
fn leaders_switch(sentinels: &[Sentinel], start: Instant) -> Option<Instant> {
    let leader = sentinels.iter().find(|sentinel| sentinel.events.find(start, "+promoted-slave").is_some())?;
    leader.events.find(start, "+switch-master").map(|seen| seen.at)
}

fn aborts(sentinel: &Sentinel, start: Instant) -> usize {
    let all = sentinel.events.all();
    all.iter().filter(|seen| seen.at >= start && seen.name.starts_with("-failover-abort")).count()
}
