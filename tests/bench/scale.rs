//! Thousands of masters: discovery, what it costs to watch them, and many that die at once.

use std::time::{Duration, Instant};

use crate::farm::{Farm, GROUP};
use crate::plot::{self, Line};
use crate::probe::Probe;
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
}

const FULL: &[Size] = &[
    Size { masters: 10, sentinels: 3, killed: 10 },
    Size { masters: 100, sentinels: 3, killed: 100 },
    Size { masters: 300, sentinels: 3, killed: 100 },
    Size { masters: 1_000, sentinels: 3, killed: 100 },
    Size { masters: 1_000, sentinels: 3, killed: 1_000 },
    Size { masters: 2_000, sentinels: 1, killed: 100 },
    Size { masters: 3_000, sentinels: 1, killed: 100 },
    Size { masters: 3_000, sentinels: 1, killed: 3_000 },
];
const QUICK: &[Size] =
    &[Size { masters: 100, sentinels: 3, killed: 100 }, Size { masters: 200, sentinels: 3, killed: 100 }];

pub(crate) fn run(length: Length) {
    let sizes = if length == Length::Full { FULL } else { QUICK };
    let steady = if length == Length::Full { seconds(30) } else { seconds(10) };
    println!(
        "\nScale: masters with two replicas each, of a farm that keeps no data; down-after {DOWN_AFTER} ms.\n\
         Discovery: seconds until every Sentinel knows everybody; writes: saves of its file by one Sentinel in that time.\n\
         Silence: the longest that a PING waited, ms. CPU: of one Sentinel, s/s. Switched: of the masters that died\n\
         at once, on all Sentinels; last: s after down-after; doubled: more than one +switch-master of one of them.\n"
    );
    println!(
        "| masters | Sentinels | | discovery, s | writes | silence, ms | CPU, s/s | memory, MiB | switched | last, s | \
         doubled | silence, ms | aborts | TILT |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut lines = KINDS.map(|kind| (kind, Vec::new(), Vec::new()));
    for &size in sizes {
        for (kind, cpu, memory) in &mut lines {
            let cost = measure(*kind, size, steady);
            let masters = size.masters as f64;
            // One point for each number of masters.
            if cpu.last().is_none_or(|(last, _)| *last < masters) {
                cpu.push((masters, cost.cpu));
                memory.push((masters, cost.memory_mib));
            }
        }
    }
    let [cpu, memory] = [0, 1].map(|place| {
        lines.each_ref().map(|(kind, cpu, memory)| Line { name: kind.label(), points: [cpu, memory][place] })
    });
    println!();
    plot::lines("scale-cpu", "Processor time of one Sentinel", ["masters", "s/s"], &cpu);
    plot::lines("scale-memory", "Resident memory of one Sentinel", ["masters", "MiB"], &memory);
}

/// What one Sentinel, the one that has most, has when nothing happens.
struct Cost {
    /// Processor seconds a second.
    cpu: f64,
    memory_mib: f64,
}

fn measure(kind: Kind, size: Size, steady: Duration) -> Cost {
    let Size { masters, sentinels: number, killed } = size;
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
    println!(
        "| {masters} | {} | {} | {} | {writes:.0} | {discovery_silence:.0} | {cpu:.3} | {memory:.1} | {switched} of {} | {last:.2} | \
         {doubled} | {:.0} | {} | {} |",
        number,
        kind.label(),
        if discovered { format!("{discovery:.1}") } else { format!("not in {} s", PATIENCE.as_secs()) },
        killed.len(),
        silence(start),
        count("-failover-abort"),
        count("+tilt"),
    );
    Cost { cpu, memory_mib: memory }
}
