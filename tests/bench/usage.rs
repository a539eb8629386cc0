//! Processor time and memory of another process, as the kernel counts them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

/// What each thread of a process has used so far.
pub(crate) struct Usage(BTreeMap<OsString, Duration>);

impl Usage {
    /// What was used after `before`. Threads that have ended meanwhile count for nothing.
    pub(crate) fn since(&self, before: &Usage) -> Duration {
        let Usage(before) = before;
        let used = self.0.iter().map(|(thread, used)| {
            let before = before.get(thread).copied().unwrap_or_default();
            used.saturating_sub(before)
        });
        used.sum()
    }
}

/// What all threads of `pid` that still run have used so far, in the program and in the kernel. The same time as in
/// /proc/PID/stat, but exact to nanoseconds instead of a hundredth of a second.
pub(crate) fn of(pid: u32) -> Usage {
    let path = format!("/proc/{pid}/task");
    let threads = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let threads = threads.map(|thread| thread.expect("threads can be listed"));
    Usage(threads.map(|thread| (thread.file_name(), used(&thread.path().join("schedstat")))).collect())
}

/// Memory of `pid` that is not swapped out, without what the kernel holds for it, KiB.
pub(crate) fn resident_kib(pid: u32) -> f64 {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a field of every process");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The first of three numbers: time on a processor. 0 for a thread that has just ended.
fn used(schedstat: &std::path::Path) -> Duration {
    let text = std::fs::read_to_string(schedstat).unwrap_or_else(|_| "0".to_owned());
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}
