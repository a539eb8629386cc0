//! INFO: five sections, in one order whatever was asked for (commands.md 5). What cannot apply to a Sentinel is 0,
//! because tools expect the field.

use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;

use super::REDIS_VERSION;
use super::read::Snapshots;
use crate::resp::reply::Value;
use crate::sentinel::monitor::view::MasterView;
use crate::sentinel::time::Millis;

/// Room for the text of nearly every process.
const USUAL: usize = 4_096;

/// A section's name in requests, and its writer.
type Section = (&'static str, fn(&Snapshots, &mut String));

const SECTIONS: [Section; 5] =
    [("server", server), ("clients", clients), ("stats", stats), ("cpu", cpu), ("sentinel", sentinel)];

/// `INFO [section ...]`
pub(crate) fn info(snapshots: &mut Snapshots, words: &[Bytes]) -> Value {
    let names = &words[1..];
    let asked = |section: &str| names.iter().any(|name| name.eq_ignore_ascii_case(section.as_bytes()));
    let all = names.is_empty() || ["default", "all", "everything"].into_iter().any(asked);
    let mut text = String::with_capacity(USUAL);
    for (name, write) in SECTIONS {
        if all || asked(name) {
            if !text.is_empty() {
                text += "\r\n";
            }
            write(snapshots, &mut text);
        }
    }
    Value::text(text)
}

macro_rules! lines {
    ($out:expr, $($key:literal: $value:expr,)*) => {
        // Writing to a string cannot fail.
        $( let _ = write!($out, concat!($key, ":{}\r\n"), $value); )*
    };
}

fn server(snapshots: &Snapshots, out: &mut String) {
    let facts = &snapshots.context.facts;
    let now = snapshots.context.clock.now();
    let uptime = now.mono.since(facts.started) / 1_000;
    *out += "# Server\r\n";
    lines! { out,
        "redis_version": REDIS_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": env!("CARGO_PKG_VERSION"),
        "redis_mode": "sentinel",
        "os": *OS,
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": "epoll",
        "atomicvar_api": "c11-builtin",
        "gcc_version": "0.0.0",
        "process_id": std::process::id(),
        "process_supervised": facts.supervised,
        "run_id": facts.run_id,
        "tcp_port": facts.tcp_port,
        "server_time_usec": now.wall.0 * 1_000,
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime / 86_400,
        "hz": 10,
        "configured_hz": 10,
        "lru_clock": (now.wall.0 / 1_000) & 0x00ff_ffff,
        "executable": facts.executable,
        "config_file": facts.config_file,
        "io_threads_active": 0,
    }
}

/// `uname`'s system, release and machine, as stock prints them.
static OS: LazyLock<String> = LazyLock::new(|| {
    nix::sys::utsname::uname().map_or_else(
        |_| std::env::consts::OS.to_owned(),
        |name| {
            let parts = [name.sysname(), name.release(), name.machine()];
            parts.map(|part| part.to_string_lossy().into_owned()).join(" ")
        },
    )
});

fn clients(snapshots: &Snapshots, out: &mut String) {
    let context = &snapshots.context;
    *out += "# Clients\r\n";
    lines! { out,
        "connected_clients": context.clients.count(),
        "cluster_connections": 0,
        "maxclients": context.limits.max_clients,
        "client_recent_max_input_buffer": 0,
        "client_recent_max_output_buffer": 0,
        "blocked_clients": 0,
        "tracking_clients": context.clients.trackers(),
        "clients_in_timeout_table": 0,
    }
}

/// What only a server with keys and replicas has.
const KEYS: &str = "sync_full:0\r\nsync_partial_ok:0\r\nsync_partial_err:0\r\nexpired_keys:0\r\n\
    expired_stale_perc:0.00\r\nexpired_time_cap_reached_count:0\r\nexpire_cycle_cpu_milliseconds:0\r\nevicted_keys:0\r\n\
    evicted_clients:0\r\ntotal_eviction_exceeded_time:0\r\ncurrent_eviction_exceeded_time:0\r\nkeyspace_hits:0\r\n\
    keyspace_misses:0\r\n";

/// The same, of what comes after pub/sub.
const MEMORY: &str = "pubsubshard_channels:0\r\nlatest_fork_usec:0\r\ntotal_forks:0\r\nmigrate_cached_sockets:0\r\n\
    slave_expires_tracked_keys:0\r\nactive_defrag_hits:0\r\nactive_defrag_misses:0\r\nactive_defrag_key_hits:0\r\n\
    active_defrag_key_misses:0\r\ntotal_active_defrag_time:0\r\ncurrent_active_defrag_time:0\r\n\
    tracking_total_keys:0\r\ntracking_total_items:0\r\ntracking_total_prefixes:0\r\nunexpected_error_replies:0\r\n";

fn stats(snapshots: &Snapshots, out: &mut String) {
    let totals = snapshots.context.counters.totals();
    let rates = snapshots.context.counters.rates();
    let (channels, patterns) = snapshots.context.hub.counts();
    let kib = |bytes: u64| format!("{:.2}", bytes as f64 / 1_024.0);
    *out += "# Stats\r\n";
    lines! { out,
        "total_connections_received": totals.connections,
        "total_commands_processed": totals.commands,
        "instantaneous_ops_per_sec": rates.commands,
        "total_net_input_bytes": totals.bytes_in,
        "total_net_output_bytes": totals.bytes_out,
        "total_net_repl_input_bytes": 0,
        "total_net_repl_output_bytes": 0,
        "instantaneous_input_kbps": kib(rates.bytes_in),
        "instantaneous_output_kbps": kib(rates.bytes_out),
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": totals.rejections,
    }
    *out += KEYS;
    lines! { out,
        "pubsub_channels": channels,
        "pubsub_patterns": patterns,
    }
    *out += MEMORY;
    lines! { out,
        "total_error_replies": totals.errors,
        "dump_payload_sanitizations": 0,
        "total_reads_processed": totals.reads,
        "total_writes_processed": totals.writes,
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
    }
}

/// How old processor times may be, ms: to read them costs more than all the rest.
const PROCESSOR_TIMES_KEPT: u64 = 100;

/// Seconds of processor time, from the kernel's own table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct ProcessorTime {
    user: f64,
    system: f64,
}

/// Processor times of the process, of its children that have ended, and of its main thread.
#[derive(Clone, Copy, Debug, Default)]
struct ProcessorTimes {
    own: ProcessorTime,
    children: ProcessorTime,
    main: ProcessorTime,
}

impl ProcessorTimes {
    /// As of now, or of a moment ago.
    fn recent(now: Millis) -> ProcessorTimes {
        static KEPT: Mutex<Option<(Millis, ProcessorTimes)>> = Mutex::new(None);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        match *kept {
            Some((at, times)) if now.since(at) < PROCESSOR_TIMES_KEPT => times,
            _ => kept.insert((now, ProcessorTimes::read())).1,
        }
    }

    fn read() -> ProcessorTimes {
        let read = |path: &str| std::fs::read_to_string(path).ok().and_then(|stat| processor_times(&stat));
        let [own, children] = read("/proc/self/stat").unwrap_or_default();
        let main = format!("/proc/self/task/{}/stat", std::process::id());
        let [main, _] = read(&main).unwrap_or_default();
        ProcessorTimes { own, children, main }
    }
}

/// The four times of a `/proc/.../stat` line: own, then those of ended children. They are in ticks of 10 ms on every
/// Linux that runs this.
fn processor_times(stat: &str) -> Option<[ProcessorTime; 2]> {
    // The program's name, in parentheses, may contain blanks and parentheses itself.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let seconds = |at: usize| fields.get(at)?.parse::<f64>().ok().map(|ticks| ticks / 100.0);
    let times = |at| Some(ProcessorTime { user: seconds(at)?, system: seconds(at + 1)? });
    Some([times(11)?, times(13)?])
}

fn cpu(snapshots: &Snapshots, out: &mut String) {
    let ProcessorTimes { own, children, main } = ProcessorTimes::recent(snapshots.now());
    let seconds = |time: f64| format!("{time:.6}");
    *out += "# CPU\r\n";
    lines! { out,
        "used_cpu_sys": seconds(own.system),
        "used_cpu_user": seconds(own.user),
        "used_cpu_sys_children": seconds(children.system),
        "used_cpu_user_children": seconds(children.user),
        "used_cpu_sys_main_thread": seconds(main.system),
        "used_cpu_user_main_thread": seconds(main.user),
    }
}

fn sentinel(snapshots: &Snapshots, out: &mut String) {
    let views = snapshots.views();
    let settings = snapshots.settings();
    let tilt = snapshots.context.tilt.since();
    let tilt_seconds = tilt.map_or(-1, |since| (snapshots.now().since(since) / 1_000) as i64);
    let flags = u8::from(settings.crash_after_election) | u8::from(settings.crash_after_promotion) << 1;
    let scripts = snapshots.scripts();
    *out += "# Sentinel\r\n";
    lines! { out,
        "sentinel_masters": views.len(),
        "sentinel_tilt": u8::from(tilt.is_some()),
        "sentinel_tilt_since_seconds": tilt_seconds,
        "sentinel_running_scripts": scripts.iter().filter(|script| script.is_running()).count(),
        "sentinel_scripts_queue_length": scripts.len(),
        "sentinel_simulate_failure_flags": flags,
    }
    for (index, view) in views.iter().enumerate() {
        let MasterView { instance, replicas, sentinels, .. } = &**view;
        let _ = write!(
            out,
            "master{index}:name={},status={},address={}:{},slaves={},sentinels={}\r\n",
            instance.name,
            status(view),
            instance.host,
            instance.port,
            replicas.len(),
            sentinels.len() + 1,
        );
    }
}

fn status(view: &MasterView) -> &'static str {
    match (view.odown_since, view.instance.sdown_since) {
        (Some(_), _) => "odown",
        (None, Some(_)) => "sdown",
        (None, None) => "ok",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_processor_times_whatever_the_program_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 1000 300 20 0 5 0 99";
        let [own, children] = processor_times(stat).expect("a stat line");
        assert_eq!((own.user, own.system), (1.5, 0.25));
        assert_eq!((children.user, children.system), (10.0, 3.0));
        assert_eq!(processor_times("7 (a) S 1"), None);
    }
}
