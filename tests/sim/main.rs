//! Deterministic simulation: whole groups of Sentinels over the real core, with network, disks, clocks and servers as
//! models, struck by faults, watched by invariants.
//!
//! One seed is one run, bit for bit. `SIM_SEEDS=n` sets how many, `SIM_FIRST=x` where to begin, `SIM_SECONDS=s` for how
//! long faults strike, `SIM_OFF=class,class` switches classes off, and `SIM_SEED=x` replays one with a line per
//! transition (`SIM_TRACE=all`: also of PING, INFO and hello).

#![expect(unreachable_pub, reason = "modules of one test share freely")]

mod agenda;
mod calm;
mod canary;
mod checker;
mod disk;
mod dns;
mod faults;
mod liveness;
mod net;
mod node;
mod operator;
mod redis_model;
mod scenario;
mod stock;
mod swarm;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use canary::Canary;
use swarm::Swarm;
use trace::Keep;
use world::{Stats, Violation, World};

const THREADS: usize = 2;
/// A planted bug must be caught within so many seeds.
const CANARY_SEEDS: u64 = 200;
/// Every so many seeds one runs twice, and both must do the same.
const TWICE: u64 = 16;

/// Every so many seeds the world is one in which Sentinels die while they write.
const HARD: u64 = 8;

/// Those tests that keep every processor busy and say how fast they were run one after the other.
static TURN: Mutex<()> = Mutex::new(());

fn my_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Outcome {
    violation: Option<Violation>,
    stats: Stats,
    hash: u64,
    tail: Vec<String>,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Text for people; not held back by the test harness.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("stderr is open");
}

fn draw(seed: u64) -> Swarm {
    let mut swarm = Swarm::draw(seed, number("SIM_SECONDS"));
    if seed.is_multiple_of(HARD) {
        swarm.crash_often();
    }
    if let Ok(off) = std::env::var("SIM_OFF") {
        let off: Vec<&str> = off.split(',').collect();
        swarm.rates.retain(|fault, _| !off.contains(&format!("{fault:?}").as_str()));
    }
    swarm
}

fn run(swarm: Swarm, keep: Keep, canary: Canary, only: Option<&str>) -> Outcome {
    let faulty_us = swarm.faulty_us;
    let mut world = World::new(swarm, keep, canary, only);
    let life = std::panic::AssertUnwindSafe(|| {
        world.start(canary)?;
        world.arm();
        world.run_for(faulty_us)?;
        world.settle()
    });
    // An assertion of the core that fails is a violation like any other; its message is on stderr.
    let violation = match std::panic::catch_unwind(life) {
        Ok(lived) => lived.err(),
        Err(cause) => {
            let story = cause.downcast_ref::<String>().cloned().unwrap_or_else(|| "see above".to_owned());
            Some(Violation { rule: "assertions of the core", story, at: world.sh.now })
        }
    };
    world.sh.stats.simulated_us = world.sh.now;
    let tail = world.sh.trace.tail(usize::MAX).to_vec();
    Outcome { violation, stats: world.sh.stats.clone(), hash: world.sh.trace.hash(), tail }
}

fn run_seed(seed: u64) -> Outcome {
    if !seed.is_multiple_of(TWICE) {
        return run(draw(seed), Keep::Nothing, Canary::None, None);
    }
    let first = run(draw(seed), Keep::Hash, Canary::None, None);
    let second = run(draw(seed), Keep::Hash, Canary::None, None);
    assert_eq!(first.hash, second.hash, "seed {seed} did two different things: something is not decided by the seed");
    first
}

fn report(seed: u64, violation: &Violation) -> String {
    let Violation { rule, story, at } = violation;
    let seconds = number("SIM_SECONDS").map(|seconds| format!(" SIM_SECONDS={seconds}")).unwrap_or_default();
    format!(
        "seed {seed} breaks {rule}\n  at {:.6} s: {story}\n  replay: SIM_SEED={seed}{seconds} cargo test --test sim seeds",
        *at as f64 / 1e6
    )
}

fn replay(seed: u64) {
    let keep = if std::env::var("SIM_TRACE").is_ok_and(|what| what == "all") { Keep::AllLines } else { Keep::Lines };
    let swarm = draw(seed);
    say(&world::describe(&swarm));
    let outcome = run(swarm, keep, Canary::None, None);
    for line in &outcome.tail {
        say(line);
    }
    if let Some(violation) = &outcome.violation {
        panic!("{}", report(seed, violation));
    }
}

#[derive(Default)]
struct Total {
    failures: Vec<(u64, Violation)>,
    stats: Stats,
    seeds: u64,
}

impl Total {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        let Stats {
            inputs,
            elections,
            failovers,
            switches,
            forced,
            coordinated,
            rebirths,
            returns,
            tilts,
            faults,
            weaknesses,
            simulated_us,
            convergence_us,
        } = outcome.stats;
        self.seeds += 1;
        self.stats.inputs += inputs;
        self.stats.elections += elections;
        self.stats.failovers += failovers;
        self.stats.switches += switches;
        self.stats.forced += forced;
        self.stats.coordinated += coordinated;
        self.stats.rebirths += rebirths;
        self.stats.returns += returns;
        self.stats.tilts += tilts;
        self.stats.simulated_us += simulated_us;
        self.stats.convergence_us = self.stats.convergence_us.max(convergence_us);
        for (weakness, count) in weaknesses {
            *self.stats.weaknesses.entry(weakness).or_insert(0) += count;
        }
        for (fault, count) in faults {
            *self.stats.faults.entry(fault).or_insert(0) += count;
        }
        self.failures.extend(outcome.violation.map(|violation| (seed, violation)));
    }
}

#[test]
fn seeds_hold_every_invariant() {
    if let Some(seed) = number("SIM_SEED") {
        replay(seed);
        return;
    }
    let _turn = my_turn();
    let first = number("SIM_FIRST").unwrap_or(1);
    let last = first + number("SIM_SEEDS").unwrap_or(500);
    let next = AtomicU64::new(first);
    let total = Mutex::new(Total::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    let outcome = run_seed(seed);
                    total.lock().expect("no panic while locked").add(seed, outcome);
                }
            });
        }
    });
    let mut total = total.into_inner().expect("no panic while locked");
    let wall = began.elapsed().as_secs_f64();
    let stats = &total.stats;
    say(&format!(
        "sim: {} seeds, {:.0} simulated s in {wall:.1} s ({:.0} per s), {} inputs, {} elections, {} failovers, {} switches, \
         {} forced, {} coordinated, {} reborn empty, {} back, {} TILT; slowest agreement {:.1} s",
        total.seeds,
        stats.simulated_us as f64 / 1e6,
        stats.simulated_us as f64 / 1e6 / wall,
        stats.inputs,
        stats.elections,
        stats.failovers,
        stats.switches,
        stats.forced,
        stats.coordinated,
        stats.rebirths,
        stats.returns,
        stats.tilts,
        stats.convergence_us as f64 / 1e6,
    ));
    say(&format!("sim: faults {:?}", stats.faults));
    say(&format!("sim: weaknesses of stock peers {:?}", stats.weaknesses));
    total.failures.sort_by_key(|(seed, _)| *seed);
    if !total.failures.is_empty() {
        let mut by_rule: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, violation) in &total.failures {
            *by_rule.entry(violation.rule).or_insert(0) += 1;
        }
        let stories: Vec<String> =
            total.failures.iter().take(10).map(|(seed, violation)| report(*seed, violation)).collect();
        panic!("{} of {} seeds fail: {by_rule:?}\n{}", total.failures.len(), total.seeds, stories.join("\n"));
    }
    if total.seeds >= 100 {
        let faults: Vec<_> = faults::Fault::ALL.iter().filter(|fault| !stats.faults.contains_key(fault)).collect();
        assert!(stats.failovers > total.seeds / 2, "hardly anything failed over: this proves nothing");
        assert!(faults.is_empty() || std::env::var("SIM_OFF").is_ok(), "these never struck: {faults:?}");
    }
}

/// One world of five Sentinels on one core, for the figure.
#[test]
fn five_sentinels_run_faster_than_time() {
    let _turn = my_turn();
    let mut world = World::new(Swarm { sentinels: 5, quorum: 3, ..Swarm::quiet(5) }, Keep::Nothing, Canary::None, None);
    let began = Instant::now();
    let ran = world.start(Canary::None).and_then(|()| world.run_for(600_000_000));
    assert!(ran.is_ok(), "{ran:?}");
    let (simulated, wall) = (world.sh.now as f64 / 1e6, began.elapsed().as_secs_f64());
    say(&format!("sim: five Sentinels, {simulated:.0} simulated s in {wall:.2} s ({:.0} per s)", simulated / wall));
    assert!(wall < simulated, "slower than what it simulates");
}

/// Seeds that are kept, with the scenario that stands beside each.
#[test]
fn kept_seeds_hold_and_have_scenarios() {
    const SCENARIOS: &str = concat!(
        include_str!("scenario/beyond.rs"),
        include_str!("scenario/coordinated.rs"),
        include_str!("scenario/disk.rs"),
        include_str!("scenario/leader_crash.rs"),
        include_str!("scenario/partition.rs"),
        include_str!("scenario/stall.rs"),
        include_str!("scenario/together.rs"),
    );
    for line in include_str!("seeds.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let seed = words.next().and_then(|word| word.parse().ok()).expect("a seed comes first");
        let scenario = words.next().expect("then its scenario");
        assert!(SCENARIOS.contains(&format!("fn {scenario}()")), "no scenario {scenario}");
        if let Some(violation) = run_seed(seed).violation {
            panic!("{}", report(seed, &violation));
        }
    }
}

/// Seeds until a planted bug is caught by the rule that is there for it, and the story. No other rule looks.
fn hunt(canary: Canary, rule: &str) -> Option<(u64, String)> {
    (1..=CANARY_SEEDS).find_map(|seed| {
        let mut swarm = Swarm::draw(seed, None);
        canary.prepare(&mut swarm);
        let violation = run(swarm, Keep::Nothing, canary, Some(rule)).violation?;
        (violation.rule.split(':').next() == Some(rule)).then_some((seed, violation.story))
    })
}

#[test]
fn canaries_are_caught() {
    let _turn = my_turn();
    let mut missed = Vec::new();
    say(&format!("{:<22} {:<10} seeds  what was seen", "planted bug", "caught by"));
    for (canary, rule) in canary::HUNTS {
        let name = format!("{canary:?}");
        match hunt(*canary, rule) {
            Some((seeds, story)) => say(&format!("{name:<22} {rule:<10} {seeds:>5}  {story:.90}")),
            None => missed.push((*canary, *rule)),
        }
    }
    assert!(missed.is_empty(), "not caught within {CANARY_SEEDS} seeds: {missed:?}");
}
