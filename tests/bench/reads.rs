//! How many requests a second are answered, and what each costs.

use std::path::Path;

use crate::farm::Farm;
use crate::load::{ADDRESS, Load, label};
use crate::spread::cells;
use crate::support::wait::wait_until;
use crate::watcher::{PATIENCE, Watcher, at_rest};
use crate::{KINDS, Kind, Length, Spread, folder, readers, usage};

/// What is asked, and by whom.
struct Request {
    words: &'static [&'static str],
    clients: &'static [u32],
    pipelines: &'static [u32],
    /// Requests of a client, of 50 at most, that show how long one takes.
    trial: u64,
    /// Who asks so many times, and measures how many are answered in a second.
    ask: fn(&Load, u16, u64) -> f64,
}

/// Of a Sentinel with one master.
const SHORT: &[Request] = &[
    Request { words: ADDRESS, clients: &[1, 50, 1000], pipelines: &[1, 16], trial: 200, ask: Load::run },
    Request { words: &["PING"], clients: &[1, 50, 1000], pipelines: &[1, 16], trial: 200, ask: Load::run },
];

/// Of a Sentinel with one master, two replicas and two peers.
const LISTS: &[Request] = &[
    Request {
        words: &["SENTINEL", "REPLICAS", "m0"],
        clients: &[1, 50],
        pipelines: &[1, 16],
        trial: 100,
        ask: Load::run,
    },
    Request {
        words: &["SENTINEL", "SENTINELS", "m0"],
        clients: &[1, 50],
        pipelines: &[1, 16],
        trial: 100,
        ask: Load::run,
    },
    Request { words: &["INFO"], clients: &[1, 50], pipelines: &[1, 16], trial: 100, ask: Load::run },
];

/// Of a Sentinel with many masters.
const MASTERS: Request =
    Request { words: &["SENTINEL", "MASTERS"], clients: &[1, 50], pipelines: &[1], trial: 2, ask: readers::run };

/// Ours should not be below this, in parts of stock.
const TARGET: f64 = 0.8;

/// What the runs of one program gave.
#[derive(Default)]
struct Runs {
    /// 1000 requests a second.
    rates: Vec<f64>,
    /// Processor time of a request, microseconds.
    costs: Vec<f64>,
}

pub(crate) fn run(length: Length) {
    let (effort, masters) = match length {
        Length::Full => (Effort { rounds: 12, seconds: 0.6 }, 1_000),
        Length::Quick => (Effort { rounds: 4, seconds: 0.3 }, 100),
    };
    println!(
        "\nReads: medians of {} runs of about {} s each, stock and ours in turns (lowest-highest)\n",
        effort.rounds, effort.seconds
    );
    println!(
        "| request | clients | pipeline | stock, 1000/s | ours, 1000/s | ours/stock | stock, µs of processor | ours | \
         ours/stock |\n|---|---|---|---|---|---|---|---|---|"
    );
    let mut below = 0;
    let mut ask = |request: &Request, name: &str, asked: [Asked; 2]| {
        for &clients in request.clients {
            for &pipeline in request.pipelines {
                let load = Load { words: request.words, clients, pipeline };
                let ratio = row(load, name, request, effort, asked);
                below += u32::from(ratio < TARGET);
            }
        }
    };
    let folder = folder();
    {
        let both = KINDS.map(|kind| at_rest(kind, folder.path()));
        let asked = both.each_ref().map(|(sentinel, _)| Asked::new(sentinel));
        for request in SHORT {
            ask(request, &label(request.words), asked);
        }
    }
    {
        let _farm = Farm::start(1);
        // A third one, so that there are peers to tell of.
        let group = watchers(&[Kind::Stock, Kind::Ours, Kind::Stock], folder.path(), 1);
        let asked = [&group[0], &group[1]].map(Asked::new);
        for request in LISTS {
            ask(request, &label(request.words), asked);
        }
    }
    let _farm = Farm::start(masters);
    let both = watchers(&KINDS, folder.path(), masters);
    let asked = [&both[0], &both[1]].map(Asked::new);
    ask(&MASTERS, &format!("{}, {masters} masters", label(MASTERS.words)), asked);
    println!("\nrows with less than {TARGET} of stock: {below}");
}

/// Sentinels that watch the same farm, and know all of it.
fn watchers(kinds: &[Kind], folder: &Path, masters: usize) -> Vec<Watcher> {
    let start = |kind: &Kind| Watcher::of_farm(*kind, folder, masters, kinds.len());
    let all: Vec<Watcher> = kinds.iter().map(start).collect();
    wait_until(PATIENCE, "everybody is known", || all.iter().all(|sentinel| sentinel.knows_all(masters, kinds.len())));
    all
}

/// Who is asked.
#[derive(Clone, Copy)]
struct Asked {
    port: u16,
    pid: u32,
}

impl Asked {
    fn new(sentinel: &Watcher) -> Asked {
        Asked { port: sentinel.port, pid: sentinel.pid() }
    }
}

/// How long each row takes.
#[derive(Clone, Copy)]
struct Effort {
    rounds: u32,
    /// Of a round, about.
    seconds: f64,
}

/// Measures and prints one row; returns the ratio of the rates.
fn row(load: Load, name: &str, request: &Request, effort: Effort, asked: [Asked; 2]) -> f64 {
    // Both get the same number of requests: what takes stock the time that is wanted.
    let trial = request.trial * u64::from(load.clients.min(50) * load.pipeline);
    let [stock, _] = asked.map(|sentinel| (request.ask)(&load, sentinel.port, trial));
    let requests = ((stock * effort.seconds) as u64).max(u64::from(load.clients));
    let mut runs = [Runs::default(), Runs::default()];
    for round in 0..effort.rounds {
        let mut turns = [0, 1];
        // Who is asked second finds another machine: warmer, or slowed down.
        turns.rotate_left(round as usize % 2);
        for turn in turns {
            let (runs, sentinel) = (&mut runs[turn], asked[turn]);
            let before = usage::of(sentinel.pid);
            runs.rates.push((request.ask)(&load, sentinel.port, requests) / 1e3);
            let used = usage::of(sentinel.pid).since(&before);
            runs.costs.push(used.as_secs_f64() * 1e6 / requests as f64);
        }
    }
    let [stock, ours] = &runs;
    let [rates, costs] = [[&stock.rates[..], &ours.rates], [&stock.costs, &ours.costs]];
    let [stock, ours] = rates.map(Spread::of);
    let digits = if stock.median < 10.0 { 3 } else { 1 };
    println!("| {name} | {} | {} | {} | {} |", load.clients, load.pipeline, cells(rates, digits), cells(costs, 2));
    ours.median / stock.median
}
