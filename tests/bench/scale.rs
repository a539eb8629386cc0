//! Thousands of masters: discovery, what it costs to watch them, and many that die at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::farm::{Farm, GROUP, PORT, address};
use crate::support::process::Process;
use crate::support::recorder::Recorder;
use crate::support::resp::{Client, ask};
use crate::support::wait::{seconds, wait_until};
use crate::support::{Kind, ports};
use crate::{Length, usage};

/// `down-after-milliseconds`
const DOWN_AFTER: u64 = 3_000;
/// How long a program may take for anything before its row says that it had not.
const PATIENCE: Duration = seconds(120);
/// The same for failovers after their `down-after`.
const FAILOVER_PATIENCE: Duration = seconds(60);
/// Masters that die at once.
const KILLED: usize = 100;
/// How often somebody asks whether a Sentinel still answers.
const PROBE: Duration = Duration::from_millis(10);

/// Sizes: masters, and Sentinels that watch them.
const FULL: &[(usize, usize)] = &[(10, 3), (100, 3), (300, 3), (1_000, 3), (2_000, 1), (3_000, 1)];
const QUICK: &[(usize, usize)] = &[(200, 3)];

pub(crate) fn run(length: Length) {
    let sizes = if length == Length::Full { FULL } else { QUICK };
    let steady = if length == Length::Full { seconds(30) } else { seconds(10) };
    println!(
        "\nScale: masters with two replicas each, of a farm that keeps no data; down-after {DOWN_AFTER} ms.\n\
         Discovery: seconds until every Sentinel knows everybody; writes: saves of its file by one Sentinel in that time.\n\
         Silence: the longest that a PING waited, ms. CPU: of one Sentinel, s/s. Switched: of {KILLED} masters that died at\n\
         once, on all Sentinels; last: s after down-after.\n"
    );
    println!(
        "| masters | Sentinels | | discovery, s | writes | silence, ms | CPU, s/s | memory, MiB | switched | last, s | \
         silence, ms | aborts | TILT |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for &(masters, sentinels) in sizes {
        for kind in [Kind::Stock, Kind::Ours] {
            measure(kind, masters, sentinels, steady);
        }
    }
}

fn measure(kind: Kind, masters: usize, sentinels: usize, steady: Duration) {
    let folder = tempfile::Builder::new().prefix("sentineld-bench-").tempdir().expect("a temporary folder");
    let mut farm = Farm::start(masters);
    let began = Instant::now();
    let sentinels: Vec<Watcher> =
        (0..sentinels).map(|_| Watcher::start(kind, folder.path(), masters, sentinels)).collect();
    let discovered = until(PATIENCE, || sentinels.iter().all(|sentinel| sentinel.knows_all(masters)));
    let discovery = began.elapsed().as_secs_f64();
    let most = |number: &dyn Fn(&Watcher) -> f64| sentinels.iter().map(number).fold(0.0, f64::max);
    let writes = most(&|sentinel| sentinel.saves() as f64);
    let silence = most(&|sentinel| sentinel.probe.longest());

    std::thread::sleep(if discovered { seconds(3) } else { seconds(0) });
    let used = |sentinel: &Watcher| usage::of(sentinel.process.id().expect("it runs")).as_secs_f64();
    let (from, before): (Instant, Vec<f64>) = (Instant::now(), sentinels.iter().map(used).collect());
    std::thread::sleep(steady);
    let (window, after): (f64, Vec<f64>) = (from.elapsed().as_secs_f64(), sentinels.iter().map(used).collect());
    let cpu = before.iter().zip(&after).map(|(before, after)| (after - before) / window).fold(0.0, f64::max);
    let memory = most(&|sentinel| sentinel.resident_mib());

    let killed: Vec<usize> = (0..masters.min(KILLED)).map(|group| group * GROUP).collect();
    sentinels.iter().for_each(|sentinel| sentinel.probe.forget());
    let start = Instant::now();
    farm.kill(&killed);
    let patience = FAILOVER_PATIENCE + Duration::from_millis(DOWN_AFTER);
    until(patience, || sentinels.iter().all(|sentinel| sentinel.switched(start).0 >= killed.len()));
    let switched = sentinels.iter().map(|sentinel| sentinel.switched(start).0).min().unwrap_or(0);
    let last = sentinels.iter().filter_map(|sentinel| sentinel.switched(start).1).max();
    let last = last.map_or(f64::NAN, |at| (at - start).as_secs_f64() - DOWN_AFTER as f64 / 1e3);
    let count = |prefix: &str| -> usize {
        let of = |sentinel: &Watcher| sentinel.events.all().iter().filter(|seen| seen.name.starts_with(prefix)).count();
        sentinels.iter().map(of).sum()
    };
    println!(
        "| {masters} | {} | {} | {} | {writes:.0} | {silence:.0} | {cpu:.3} | {memory:.1} | {switched} of {} | {last:.2} | \
         {:.0} | {} | {} |",
        sentinels.len(),
        kind.label(),
        if discovered { format!("{discovery:.1}") } else { format!("not in {} s", PATIENCE.as_secs()) },
        killed.len(),
        most(&|sentinel| sentinel.probe.longest()),
        count("-failover-abort"),
        count("+tilt"),
    );
}

/// Whether something became so within a time.
fn until(limit: Duration, check: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if check() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    false
}

/// A Sentinel, with who asks it all the time whether it is there.
struct Watcher {
    port: u16,
    /// All Sentinels of the group.
    sentinels: usize,
    events: Recorder,
    probe: Probe,
    // Last: everybody else hangs up first.
    process: Process,
}

impl Watcher {
    fn start(kind: Kind, folder: &Path, masters: usize, sentinels: usize) -> Watcher {
        let port = ports::free();
        let home = folder.join(format!("sentinel-{port}"));
        std::fs::create_dir(&home).expect("the folder is writable");
        let quorum = sentinels / 2 + 1;
        let mut text = format!("port {port}\nbind 127.0.0.1\ndir {}\nmaxclients 19900\n", home.display());
        for group in 0..masters {
            let ip = address(group * GROUP);
            text += &format!(
                "sentinel monitor m{group} {ip} {PORT} {quorum}\nsentinel down-after-milliseconds m{group} {DOWN_AFTER}\n\
                 sentinel failover-timeout m{group} 60000\n"
            );
        }
        std::fs::write(home.join("sentinel.conf"), text).expect("the folder is writable");
        let process = Process::start(&format!("sentinel-{port}"), &kind.program(), &["sentinel.conf"], &home);
        wait_until(PATIENCE, "the Sentinel answers", || ask(port, &["PING"]).is_ok());
        let probe = Probe::start(port);
        let mut events = Recorder::default();
        let subscriber = Client::connect(port).expect("it has answered already");
        subscriber.set_timeout(Some(PATIENCE)).expect("the socket is open");
        events.attach_to(subscriber);
        Watcher { port, sentinels, events, probe, process }
    }

    fn knows_all(&self, masters: usize) -> bool {
        let Ok(info) = ask(self.port, &["INFO", "sentinel"]) else { return false };
        let whole = format!(",slaves={},sentinels={}", GROUP - 1, self.sentinels);
        info.text().is_some_and(|text| text.lines().filter(|line| line.trim_end().ends_with(&whole)).count() == masters)
    }

    /// How often it has saved its file.
    fn saves(&self) -> usize {
        let log = std::fs::read_to_string(self.process.log()).unwrap_or_default();
        log.lines().filter(|line| line.ends_with("saved on disk")).count()
    }

    /// How many masters have switched since then, and when the last did.
    fn switched(&self, since: Instant) -> (usize, Option<Instant>) {
        let all = self.events.all();
        let switches = all.iter().filter(|seen| seen.at >= since && seen.name == "+switch-master");
        let mut names: Vec<&str> = switches.clone().filter_map(|seen| seen.payload.split(' ').next()).collect();
        names.sort_unstable();
        names.dedup();
        (names.len(), switches.map(|seen| seen.at).max())
    }

    fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id().expect("it runs")));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a field of every process");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
    }
}

/// PINGs without end, one after the other.
struct Probe {
    longest: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    fn start(port: u16) -> Probe {
        let (longest, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (note, end) = (Arc::clone(&longest), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(port).expect("it has answered already");
            client.set_timeout(Some(PATIENCE)).expect("the socket is open");
            while !end.load(Ordering::Relaxed) {
                let asked = Instant::now();
                if client.call(&["PING"]).is_err() {
                    return;
                }
                note.fetch_max(asked.elapsed().as_micros() as u64, Ordering::Relaxed);
                std::thread::sleep(PROBE);
            }
        });
        Probe { longest, ends, thread: Some(thread) }
    }

    /// The longest wait so far, ms.
    fn longest(&self) -> f64 {
        self.longest.load(Ordering::Relaxed) as f64 / 1e3
    }

    fn forget(&self) {
        self.longest.store(0, Ordering::Relaxed);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Its last PING is answered, or it hangs until the Sentinel is killed, which comes after this.
        drop(self.thread.take());
    }
}
