//! Measures `sentineld` beside the installed redis-sentinel and prints what came out: `make bench`, `make bench-quick`.
//!
//! Both programs run at the same time and are asked in turns, so that whatever else the machine does meets both. Only
//! ratios can be compared between machines, and between runs on a machine that others use, too.

mod busy;
mod detection;
mod fanout;
mod farm;
mod hammer;
mod latency;
mod load;
mod plot;
mod probe;
mod readers;
mod reads;
mod scale;
mod spread;
mod start;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod support;
mod usage;
mod watcher;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use spread::Spread;
use support::Kind;

const USAGE: &str = "usage: sentineld-bench [--quick] [start|reads|detection|hammer|latency|fanout|busy|scale]...";

/// Measures and prints.
type Part = fn(Length);

/// What can be measured, in the order in which it is.
const PARTS: &[(&str, Part)] = &[
    ("start", start::run),
    ("reads", reads::run),
    ("detection", detection::run),
    ("hammer", hammer::run),
    ("latency", latency::run),
    ("fanout", fanout::run),
    ("busy", busy::run),
    ("scale", scale::run),
];

/// The two programs, in the order of all tables.
const KINDS: [Kind; 2] = [Kind::Stock, Kind::Ours];

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
            part if PARTS.iter().any(|(name, _)| *name == part) => parts.push(arg),
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
    for (name, run) in PARTS {
        if parts.is_empty() || parts.iter().any(|chosen| chosen == name) {
            run(length);
        }
    }
    ExitCode::SUCCESS
}

/// Clients and those who answer them need a descriptor for each connection, in both ends, which inherit this.
fn raise_limit() {
    const NEEDED: u64 = 4096;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of descriptors can be read");
    let wanted = hard.clamp(NEEDED, 1 << 20);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).expect("4096 descriptors: raise the hard limit");
    }
}

/// A folder for everything that one part starts.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("sentineld-bench-").tempdir().expect("a temporary folder")
}

/// Whether something became so within a time, looked at every `step`.
fn until(limit: Duration, step: Duration, check: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if check() {
            return true;
        }
        std::thread::sleep(step);
    }
    false
}
