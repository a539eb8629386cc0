//! Thousands of masters: discovery, what it costs to watch them, and many that die at once.

use std::time::{Duration, Instant};

use crate::farm::{Farm, GROUP};
use crate::plot::{self, Line};
use crate::probe::Probe;
use crate::spread::Spread;
use crate::support::Kind;
use crate::support::wait::seconds;
use crate::usage::{self, Usage};
use crate::watcher::{DOWN_AFTER, PATIENCE, Watcher};
use crate::{KINDS, Length, folder, until};

/// How long failovers may take after their `down-after`.
const FAILOVER_PATIENCE: Duration = seconds(60);
/// How often somebody asks whether a Sentinel still answers.
const PROBE: Duration = Duration::from_millis(10);
/// Between two looks at all Sentinels, which have other things to do.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug)]
struct Size {
    masters: usize,
    /// Each watches all of them.
    sentinels: usize,
    /// Masters that die at once.
    killed: usize,
    /// How often ours is measured, for which a minute is enough.
    rounds: usize,
    /// Whether stock is measured, too, once. It takes minutes, and shows nothing new where fewer masters or deaths were too
    /// many for it.
    stock: bool,
}

const FULL: &[Size] = &[
    Size { masters: 10, sentinels: 3, killed: 10, rounds: 1, stock: true },
    Size { masters: 100, sentinels: 3, killed: 100, rounds: 1, stock: true },
    Size { masters: 300, sentinels: 3, killed: 100, rounds: 1, stock: true },
    Size { masters: 1_000, sentinels: 3, killed: 100, rounds: 5, stock: true },
    Size { masters: 1_000, sentinels: 3, killed: 1_000, rounds: 3, stock: false },
    Size { masters: 2_000, sentinels: 1, killed: 100, rounds: 1, stock: true },
    Size { masters: 3_000, sentinels: 1, killed: 100, rounds: 1, stock: true },
    Size { masters: 3_000, sentinels: 1, killed: 3_000, rounds: 1, stock: false },
];
const QUICK: &[Size] = &[
    Size { masters: 100, sentinels: 3, killed: 100, rounds: 1, stock: true },
    Size { masters: 200, sentinels: 3, killed: 100, rounds: 1, stock: true },
];

/// What is measured, and with how many digits it is shown.
const COLUMNS: [(&str, usize); 11] = [
    ("discovery, s", 1),
    ("writes", 0),
    ("silence, ms", 0),
    ("CPU, s/s", 3),
    ("memory, MiB", 1),
    ("switched", 0),
    ("last, s", 2),
    ("doubled", 0),
    ("silence, ms", 0),
    ("aborts", 0),
    ("TILT", 0),
];
/// Places of what is plotted in [`COLUMNS`].
const PLOTTED: [usize; 2] = [3, 4];

/// One number for each of [`COLUMNS`]; none for what did not happen in time.
type Measured = [f64; COLUMNS.len()];

pub(crate) fn run(length: Length) {
    let sizes = if length == Length::Full { FULL } else { QUICK };
    let steady = if length == Length::Full { seconds(30) } else { seconds(10) };
    println!(
        "\nScale: masters with two replicas each, of a farm that keeps no data; down-after {DOWN_AFTER} ms.\n\
         Discovery: seconds until every Sentinel knows everybody, NaN if not in {} s; writes: saves of its file by one\n\
         Sentinel in that time. Silence: the longest that a PING waited, ms. CPU: of one Sentinel, s/s. Switched: of the\n\
         masters that died at once, on all Sentinels; last: s after down-after; doubled: more than one +switch-master of one\n\
         of them. Of several rounds medians (lowest-highest).\n",
        PATIENCE.as_secs()
    );
    let heads: Vec<&str> = COLUMNS.iter().map(|(head, _)| *head).collect();
    println!("| masters | killed | Sentinels | | {} |", heads.join(" | "));
    println!("|{}", "---|".repeat(4 + COLUMNS.len()));
    let mut lines = KINDS.map(|kind| (kind, [Vec::new(), Vec::new()]));
    for &size in sizes {
        let mut measured = KINDS.map(|_| Vec::new());
        for round in 0..size.rounds {
            for (kind, measured) in KINDS.iter().zip(&mut measured) {
                if *kind == Kind::Ours || (round == 0 && size.stock) {
                    measured.push(measure(*kind, size, steady));
                }
            }
        }
        for ((kind, plotted), measured) in lines.iter_mut().zip(&measured).filter(|(_, measured)| !measured.is_empty())
        {
            let columns: Vec<Vec<f64>> =
                (0..COLUMNS.len()).map(|at| measured.iter().map(|numbers| numbers[at]).collect()).collect();
            let shown = |(numbers, (_, digits)): (&Vec<f64>, &(&str, usize))| match numbers[..] {
                [number] => format!("{number:.digits$}"),
                _ => Spread::of(numbers).shown(*digits),
            };
            let cells: Vec<String> = columns.iter().zip(&COLUMNS).map(shown).collect();
            let Size { masters, sentinels, killed, .. } = size;
            println!("| {masters} | {killed} | {sentinels} | {} | {} |", kind.label(), cells.join(" | "));
            for (points, at) in plotted.iter_mut().zip(PLOTTED) {
                // One point for each number of masters.
                if points.last().is_none_or(|(last, _)| *last < masters as f64) {
                    points.push((masters as f64, Spread::of(&columns[at]).median));
                }
            }
        }
    }
    let [cpu, memory] = [0, 1]
        .map(|place| lines.each_ref().map(|(kind, plotted)| Line { name: kind.label(), points: &plotted[place] }));
    println!();
    plot::lines("scale-cpu", "Processor time of one Sentinel", ["masters", "s/s"], &cpu);
    plot::lines("scale-memory", "Resident memory of one Sentinel", ["masters", "MiB"], &memory);
}

fn measure(kind: Kind, size: Size, steady: Duration) -> Measured {
    let Size { masters, sentinels: number, killed, .. } = size;
    let folder = folder();
    let mut farm = Farm::start(masters);
    let began = Instant::now();
    let start = || {
        let sentinel = Watcher::of_farm(kind, folder.path(), masters, number);
        let probe = Probe::standing(sentinel.port, PROBE, |_| vec!["PING".to_owned()]);
        (sentinel, probe)
    };
    let (sentinels, probes): (Vec<Watcher>, Vec<Probe>) = (0..number).map(|_| start()).unzip();
    let silence = |since| probes.iter().map(|probe| probe.longest_ms(since)).fold(0.0, f64::max);
    let discovered = until(PATIENCE, LOOK, || sentinels.iter().all(|sentinel| sentinel.knows_all(masters, number)));
    let discovery = began.elapsed().as_secs_f64();
    let most = |number: &dyn Fn(&Watcher) -> f64| sentinels.iter().map(number).fold(0.0, f64::max);
    let writes = most(&|sentinel| sentinel.saves() as f64);
    let discovery_silence = silence(began);

    std::thread::sleep(if discovered { seconds(3) } else { seconds(0) });
    let used = |sentinel: &Watcher| usage::of(sentinel.pid());
    let (from, before): (Instant, Vec<Usage>) = (Instant::now(), sentinels.iter().map(used).collect());
    std::thread::sleep(steady);
    let (window, after): (f64, Vec<Usage>) = (from.elapsed().as_secs_f64(), sentinels.iter().map(used).collect());
    let cpu =
        before.iter().zip(&after).map(|(before, after)| after.since(before).as_secs_f64() / window).fold(0.0, f64::max);
    let memory = most(&|sentinel| usage::resident_kib(sentinel.pid()) / 1024.0);

    let killed: Vec<usize> = (0..killed).map(|group| group * GROUP).collect();
    let start = Instant::now();
    farm.kill(&killed);
    let patience = FAILOVER_PATIENCE + Duration::from_millis(DOWN_AFTER);
    until(patience, LOOK, || sentinels.iter().all(|sentinel| sentinel.switched(start).0 >= killed.len()));
    let switched = sentinels.iter().map(|sentinel| sentinel.switched(start).0).min().unwrap_or(0);
    let last = sentinels.iter().filter_map(|sentinel| sentinel.switched(start).1).max();
    let last = last.map_or(f64::NAN, |at| (at - start).as_secs_f64() - DOWN_AFTER as f64 / 1e3);
    let doubled: usize = sentinels.iter().map(|sentinel| sentinel.doubled(start)).sum();
    let count = |prefix: &str| -> usize {
        let of = |sentinel: &Watcher| sentinel.events.all().iter().filter(|seen| seen.name.starts_with(prefix)).count();
        sentinels.iter().map(of).sum()
    };
    [
        if discovered { discovery } else { f64::NAN },
        writes,
        discovery_silence,
        cpu,
        memory,
        switched as f64,
        last,
        doubled as f64,
        silence(start),
        count("-failover-abort") as f64,
        count("+tilt") as f64,
    ]
}
