//! What was measured, for people.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

static TIMES: Mutex<BTreeMap<String, Vec<Duration>>> = Mutex::new(BTreeMap::new());

/// Takes a time down, and prints all that there are of its kind.
pub(crate) fn note(what: &str, time: Duration) {
    let mut all = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    let times = all.entry(what.to_owned()).or_default();
    times.push(time);
    times.sort_unstable();
    let (median, last) = (times[(times.len() - 1) / 2], times[times.len() - 1]);
    let count = times.len();
    tell(&format!(
        "{what}: {} ms; {count} so far, p50 {}, max {}",
        time.as_millis(),
        median.as_millis(),
        last.as_millis()
    ));
}

/// Prints a line, past the capture of test output.
pub(crate) fn tell(text: &str) {
    // A standard error that is closed has no reader.
    let _ = writeln!(std::io::stderr(), "beyond: {text}");
    if let (Some(path), Some(row)) = (std::env::var_os("BEYOND_TABLE"), row(text)) {
        append(Path::new(&path), &row).expect("the file of BEYOND_TABLE can be written");
    }
}

/// Case, program and result, with tabs between them; nothing for a line that tells of no program.
fn row(text: &str) -> Option<String> {
    ["sentineld", "redis-sentinel"].into_iter().find_map(|program| {
        let (case, result) = text.split_once(&format!(", {program}: "))?;
        // How the last run went is of no interest beside all of them.
        let result = result.split_once("; ").map_or(result, |(_, all)| all);
        Some(format!("{case}\t{program}\t{result}\n"))
    })
}

/// One write a line, so that the lines of several tests do not mix.
fn append(path: &Path, line: &str) -> std::io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}

/// Median and the like of some times, in words.
pub(crate) fn percentiles(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at =
        |part: usize| times.get((times.len() * part).div_ceil(100).saturating_sub(1)).map_or(0, Duration::as_millis);
    format!("p50 {} ms, p99 {}, max {} ({} of them)", at(50), at(99), at(100), times.len())
}
