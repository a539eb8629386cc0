//! How many requests a second are answered, and what each costs.

use std::path::Path;

use crate::load::{ADDRESS, Load};
use crate::support::sentinel::{Sentinel, Watch};
use crate::support::server::Server;
use crate::{Kind, Length, Spread, usage};

const COMMANDS: &[&[&str]] = &[ADDRESS, &["PING"]];
const CLIENTS: &[u32] = &[1, 50, 1000];
const PIPELINES: &[u32] = &[1, 16];

/// Ours should not be below this, in parts of stock.
const TARGET: f64 = 0.8;

/// What the runs of one program gave.
#[derive(Default)]
struct Runs {
    /// Requests a second.
    rates: Vec<f64>,
    /// Processor time of a request, microseconds.
    costs: Vec<f64>,
}

pub(crate) fn run(length: Length) {
    let (rounds, seconds) = match length {
        Length::Full => (7, 1.0),
        Length::Quick => (3, 0.4),
    };
    let folder = tempfile::Builder::new().prefix("sentineld-bench-").tempdir().expect("a temporary folder");
    let [stock, ours] = [Kind::Stock, Kind::Ours].map(|kind| watched(kind, folder.path()));
    println!("\nReads: medians of {rounds} runs of about {seconds} s each, stock and ours in turns (lowest-highest)\n");
    println!(
        "| request | clients | pipeline | stock, 1000/s | ours, 1000/s | ours/stock | stock, µs of processor | ours | \
         ours/stock |\n|---|---|---|---|---|---|---|---|---|"
    );
    let mut below = 0;
    for &words in COMMANDS {
        for &clients in CLIENTS {
            for &pipeline in PIPELINES {
                let load = Load { words, clients, pipeline };
                let ratio = row(load, rounds, seconds, &stock.0, &ours.0);
                below += u32::from(ratio < TARGET);
            }
        }
    }
    println!("\nrows with less than {TARGET} of stock: {below}");
}

/// A Sentinel with a master of its own, which must stay until the end.
fn watched(kind: Kind, folder: &Path) -> (Sentinel, Server) {
    let server = Server::start(folder, None, None);
    let watch = Watch {
        name: "mymaster",
        port: server.port,
        quorum: 1,
        password: None,
        down_after: 30_000,
        failover_timeout: 180_000,
    };
    (Sentinel::start(kind, folder, &[watch]), server)
}

/// Measures and prints one row; returns the ratio of the rates.
fn row(load: Load, rounds: u32, seconds: f64, stock: &Sentinel, ours: &Sentinel) -> f64 {
    // Both get the same number of requests: what takes stock the time that is wanted.
    let trial = 200 * u64::from(load.clients.min(50) * load.pipeline);
    let requests = (load.run(stock.port, trial) * seconds) as u64;
    load.run(ours.port, trial);
    let mut runs = [Runs::default(), Runs::default()];
    for _ in 0..rounds {
        for (runs, sentinel) in runs.iter_mut().zip([stock, ours]) {
            let pid = sentinel.process.id().expect("it runs");
            let before = usage::of(pid);
            runs.rates.push(load.run(sentinel.port, requests));
            let used = usage::of(pid) - before;
            runs.costs.push(used.as_secs_f64() * 1e6 / requests as f64);
        }
    }
    let [stock, ours] = runs.map(|runs| (Spread::of(&runs.rates), Spread::of(&runs.costs)));
    let name = load.words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    let rate =
        |Spread { low, median, high }: &Spread| format!("{:.1} ({:.1}-{:.1})", median / 1e3, low / 1e3, high / 1e3);
    let cost = |Spread { low, median, high }: &Spread| format!("{median:.2} ({low:.2}-{high:.2})");
    let ratio = ours.0.median / stock.0.median;
    println!(
        "| {name} | {} | {} | {} | {} | {ratio:.2} | {} | {} | {:.2} |",
        load.clients,
        load.pipeline,
        rate(&stock.0),
        rate(&ours.0),
        cost(&stock.1),
        cost(&ours.1),
        ours.1.median / stock.1.median,
    );
    ratio
}
