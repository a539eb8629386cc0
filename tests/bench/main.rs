//! Measures `sentineld` beside the installed redis-sentinel and prints what came out: `make bench`, `make bench-quick`.
//!
//! Both programs run at the same time and are asked in turns, so that whatever else the machine does meets both. Only
//! ratios can be compared between machines, and between runs on a machine that others use, too.

mod detection;
mod farm;
mod load;
mod reads;
mod scale;
mod start;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod support;
mod usage;

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use support::Kind;

const USAGE: &str = "usage: sentineld-bench [--quick] [start|reads|detection|scale]";

/// How long everything takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// For numbers that are quoted.
    Full,
    /// To see whether something is badly wrong.
    Quick,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, farm, first, count] = &args[..]
        && farm == "farm"
    {
        let number = |text: &String| text.parse().expect("the bench says how many");
        farm::run(number(first), number(count));
        return ExitCode::SUCCESS;
    }
    let (mut length, mut parts) = (Length::Full, Vec::new());
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--quick" => length = Length::Quick,
            "start" | "reads" | "detection" | "scale" => parts.push(arg),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    raise_limit();
    let average = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} processors, load before the start: {}", average.trim_end());
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|chosen| chosen == part);
    if wants("start") {
        start::run(length);
    }
    if wants("reads") {
        reads::run(length);
    }
    if wants("detection") {
        detection::run(length);
    }
    if wants("scale") {
        scale::run(length);
    }
    ExitCode::SUCCESS
}

/// 1,000 clients need as many descriptors in both ends, which inherit this.
fn raise_limit() {
    const NEEDED: u64 = 4096;
    let limit = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of descriptors can be read");
    if limit.0 < NEEDED {
        let hard = limit.1.max(NEEDED);
        setrlimit(Resource::RLIMIT_NOFILE, NEEDED, hard).expect("4096 descriptors: raise the hard limit");
    }
}

/// Lowest, median and highest of some numbers. At least one.
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(numbers: &[f64]) -> Spread {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let [low, .., high] = sorted[..] else {
            return Spread { low: sorted[0], median: sorted[0], high: sorted[0] };
        };
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Spread { low, median: f64::midpoint(below, above), high }
    }
}
