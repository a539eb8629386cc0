//! How long clients wait while a hundred masters fail over.

use std::time::{Duration, Instant};

use crate::farm::{Farm, GROUP};
use crate::probe::{Probe, Sample};
use crate::spread::{cells, percentile};
use crate::support::Kind;
use crate::support::wait::seconds;
use crate::watcher::{DOWN_AFTER, PATIENCE, Watcher};
use crate::{KINDS, Length, folder, until};

const SENTINELS: usize = 3;
/// Masters that die at once.
const KILLED: usize = 100;
/// How often the address of a master is asked for, of every Sentinel on one connection.
const ADDRESS: Duration = Duration::from_millis(1);
/// How often somebody connects to every Sentinel.
const CONNECT: Duration = Duration::from_millis(20);
/// How long it may take until everybody knows everybody.
const DISCOVERY: Duration = seconds(600);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

const WAITS: [&str; 4] = ["address, p50", "address, p99", "address, longest", "connection and PING, longest"];

/// What the runs of one program gave.
#[derive(Default)]
struct Runs {
    /// ms
    waits: [Vec<f64>; WAITS.len()],
    /// From the first `+sdown` to the last `+switch-master`, s.
    lasted: Vec<f64>,
    /// Masters.
    killed: usize,
    /// Of the killed masters, by the Sentinel that has fewest.
    switched: usize,
}

pub(crate) fn run(length: Length) {
    let (masters, runs) = match length {
        Length::Full => (1_000, 3),
        Length::Quick => (200, 2),
    };
    println!(
        "\nBusy: {SENTINELS} Sentinels and {masters} masters of a farm, of which {KILLED} die at once. What clients wait between \
         the first +sdown and\nthe last +switch-master, ms: address asked for every {} ms on a standing connection, a new \
         connection and a PING\nevery {} ms; median of {runs} runs (lowest-highest). Stock has one run, since it takes \
         minutes to know everybody.\n",
        ADDRESS.as_millis(),
        CONNECT.as_millis()
    );
    let mut results = KINDS.map(|kind| (kind, Runs::default()));
    for run in 0..runs {
        for (kind, result) in results.iter_mut().filter(|(kind, _)| *kind == Kind::Ours || run == 0) {
            measure(*kind, masters, result);
        }
    }
    let [stock, ours] = results.map(|(_, runs)| runs);
    println!("| wait, ms | stock | ours | ours/stock |\n|---|---|---|---|");
    for (place, name) in WAITS.iter().enumerate() {
        println!("| {name} | {} |", cells([&stock.waits[place], &ours.waits[place]], 2));
    }
    println!("| failovers last, s | {} |", cells([&stock.lasted, &ours.lasted], 2));
    let switched = |runs: &Runs| format!("{} of {}", runs.switched, runs.killed);
    println!("| masters switched | {} | {} | |", switched(&stock), switched(&ours));
}

fn measure(kind: Kind, masters: usize, result: &mut Runs) {
    let folder = folder();
    let mut farm = Farm::start(masters);
    let sentinels = (0..SENTINELS).map(|_| Watcher::of_farm(kind, folder.path(), masters, SENTINELS));
    let sentinels: Vec<_> = sentinels.collect();
    if !until(DISCOVERY, LOOK, || sentinels.iter().all(|sentinel| sentinel.knows_all(masters, SENTINELS))) {
        println!("{} does not know everybody after {} s", kind.label(), DISCOVERY.as_secs());
    }
    // Discovery is saved, and everybody is at rest.
    std::thread::sleep(seconds(3));

    let address = move |number: usize| {
        // Those that fail over and those that do not.
        vec!["SENTINEL".to_owned(), "GET-MASTER-ADDR-BY-NAME".to_owned(), format!("m{}", number % masters)]
    };
    let standing: Vec<_> = sentinels.iter().map(|one| Probe::standing(one.port, ADDRESS, address)).collect();
    let connecting: Vec<_> = sentinels.iter().map(|one| Probe::connecting(one.port, CONNECT)).collect();
    let killed: Vec<usize> = (0..KILLED).map(|group| group * GROUP).collect();
    let start = Instant::now();
    farm.kill(&killed);
    let switched = |sentinel: &Watcher| sentinel.switched(start).0;
    until(PATIENCE, LOOK, || sentinels.iter().all(|sentinel| switched(sentinel) == KILLED));
    let [standing, connecting] =
        [standing, connecting].map(|probes| probes.into_iter().flat_map(Probe::finish).collect::<Vec<_>>());

    result.killed += KILLED;
    result.switched += sentinels.iter().map(switched).min().unwrap_or(0);
    let from = sentinels.iter().filter_map(|sentinel| sentinel.events.find(start, "+sdown")).map(|seen| seen.at).min();
    // Clients notice nothing before that moment, whatever happens in the Sentinels.
    let from = from.unwrap_or(start + Duration::from_millis(DOWN_AFTER));
    let to = sentinels.iter().filter_map(|sentinel| sentinel.switched(start).1).max().unwrap_or_else(Instant::now);
    result.lasted.push((to - from).as_secs_f64());
    let [standing, connecting] = [waits(&standing, from, to), waits(&connecting, from, to)];
    let found = [(&standing, 50), (&standing, 99), (&standing, 100), (&connecting, 100)];
    for (waits, (samples, percent)) in result.waits.iter_mut().zip(found) {
        waits.push(percentile(samples, percent));
    }
}

/// Of all that were waiting at some moment between the two, ms.
fn waits(samples: &[Sample], from: Instant, to: Instant) -> Vec<f64> {
    let meanwhile = samples.iter().filter(|sample| sample.asked + sample.took >= from && sample.asked <= to);
    meanwhile.map(|sample| sample.took.as_secs_f64() * 1e3).collect()
}
