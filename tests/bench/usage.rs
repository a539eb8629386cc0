//! Processor time of another process, as the kernel counts it.

use std::time::Duration;

/// Of a tick in /proc; Linux tells programs 100 a second on every machine.
const TICK: Duration = Duration::from_millis(10);

/// What all threads of `pid` have used so far, in the program and in the kernel. Exact to a tick or two.
pub(crate) fn of(pid: u32) -> Duration {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // The second field is the name in brackets, and may have blanks in it; utime and stime are the 14th and the 15th.
    let (_, fields) = text.rsplit_once(')').expect("a name in brackets");
    let ticks = |field: &str| field.parse::<u32>().expect("a number of ticks");
    fields.split_whitespace().skip(11).take(2).map(|field| TICK * ticks(field)).sum()
}
