//! Processor time of another process, as the kernel counts it.

use std::time::Duration;

/// What all threads of `pid` that still run have used so far, in the program and in the kernel. The same time as in
/// /proc/PID/stat, but exact to nanoseconds instead of a hundredth of a second.
pub(crate) fn of(pid: u32) -> Duration {
    let path = format!("/proc/{pid}/task");
    let threads = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    threads.map(|thread| used(&thread.expect("threads can be listed").path().join("schedstat"))).sum()
}

/// The first of three numbers: time on a processor. 0 for a thread that has just ended.
fn used(schedstat: &std::path::Path) -> Duration {
    let text = std::fs::read_to_string(schedstat).unwrap_or_else(|_| "0".to_owned());
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}
