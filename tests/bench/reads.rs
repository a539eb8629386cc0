//! How many requests a second are answered, and what each costs.

use std::path::Path;

use crate::farm::Farm;
use crate::load::{ADDRESS, Load, label};
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

/// A run, in seconds. Short, so that both programs find the same machine, whose speed changes within seconds by more than
/// they differ; but long enough for some turns of each client, of which the first is a connection's.
const SHORTEST: f64 = 0.1;
const LONGEST: f64 = 0.6;
const TURNS: u32 = 20;

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
    let (seconds, masters) = match length {
        Length::Full => (9.6, 1_000),
        Length::Quick => (1.2, 100),
    };
    println!(
        "\nReads: medians of {seconds} s for each program, in runs of {SHORTEST} to {LONGEST} s, stock and ours in turns \
         (lowest-highest).\nours/stock: the median of what two runs in succession had.\n"
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
                let ratio = row(load, name, request, seconds, asked);
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

/// Measures and prints one row, in which each program is asked for so many seconds; returns the ratio of the rates.
fn row(load: Load, name: &str, request: &Request, seconds: f64, asked: [Asked; 2]) -> f64 {
    // Both get the same number of requests: what takes stock the time that is wanted.
    let trial = request.trial * u64::from(load.clients.min(50) * load.pipeline);
    let [stock, _] = asked.map(|sentinel| (request.ask)(&load, sentinel.port, trial));
    let of_a_run = (f64::from(load.clients * load.pipeline * TURNS) / stock).clamp(SHORTEST, LONGEST);
    let requests = ((stock * of_a_run) as u64).max(u64::from(load.clients));
    let mut runs = [Runs::default(), Runs::default()];
    for round in 0..(seconds / of_a_run).ceil() as usize {
        let mut turns = [0, 1];
        // Who is asked second finds another machine: warmer, or slowed down.
        turns.rotate_left(round % 2);
        for turn in turns {
            let (runs, sentinel) = (&mut runs[turn], asked[turn]);
            let before = usage::of(sentinel.pid);
            runs.rates.push((request.ask)(&load, sentinel.port, requests) / 1e3);
            let used = usage::of(sentinel.pid).since(&before);
            runs.costs.push(used.as_secs_f64() * 1e6 / requests as f64);
        }
    }
    let [stock, ours] = &runs;
    let rates = Compared::new(&stock.rates, &ours.rates);
    let costs = Compared::new(&stock.costs, &ours.costs);
    let digits = if rates.stock.median < 10.0 { 3 } else { 1 };
    println!("| {name} | {} | {} | {} | {} |", load.clients, load.pipeline, rates.shown(digits), costs.shown(2));
    rates.ratio
}

/// Both programs' numbers of one kind.
struct Compared {
    stock: Spread,
    ours: Spread,
    /// The median of ours in parts of stock's, of each round.
    ratio: f64,
}

impl Compared {
    fn new(stock: &[f64], ours: &[f64]) -> Compared {
        let ratios: Vec<f64> = stock.iter().zip(ours).map(|(stock, ours)| ours / stock).collect();
        Compared { stock: Spread::of(stock), ours: Spread::of(ours), ratio: Spread::of(&ratios).median }
    }

    /// Three cells of a row.
    fn shown(&self, digits: usize) -> String {
        let Compared { stock, ours, ratio } = self;
        format!("{} | {} | {ratio:.2}", stock.shown(digits), ours.shown(digits))
    }
}
