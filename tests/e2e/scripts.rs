//! Notification and client-reconfig scripts, as real processes (config.md 8).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::kill;
use nix::unistd::Pid;
use sentineld::sentinel::event::{EventKind, Level};
use tempfile::TempDir;

use crate::support::cluster::{Cluster, Plan};
use crate::support::process::{KilledAtEnd, write_program};
use crate::support::resp::Value;
use crate::support::sentinel::{Sentinel, Watch};
use crate::support::wait::{find_within, seconds, wait_for, wait_until};
use crate::support::{Kind, ports};

/// Writes its arguments as one line of `calls` in the current directory, each in brackets.
const NOTE: &str = "line=\nfor word in \"$@\"; do line=\"$line[$word]\"; done\necho \"$line\" >> calls\n";

#[test]
fn scripts_hear_of_a_failover() {
    hear_of_a_failover(Kind::under_test());
}

#[test]
fn scripts_of_stock_hear_of_a_failover() {
    hear_of_a_failover(Kind::Stock);
}

/// config.md 211, 212, 213; failover.md 88, 156, 192
fn hear_of_a_failover(kind: Kind) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (notify, lead) = (script(folder.path(), "notify.sh", NOTE), script(folder.path(), "lead.sh", NOTE));
    let lines = format!(
        "sentinel notification-script mymaster {}\nsentinel client-reconfig-script mymaster {}\n",
        notify.display(),
        lead.display()
    );
    let sentinels = vec![(kind, 2), (kind, 4), (kind, 4)];
    let mut cluster = Cluster::start(&Plan { sentinels, lines, ..Plan::three(kind) });
    let old = cluster.first_master();
    let start = Instant::now();
    cluster.group().at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("mymaster", old, seconds(40));
    cluster.wait_until_settled(&cluster.groups[0], new);
    assert_eq!(cluster.leader(start, "mymaster"), Some(0));

    for (place, sentinel) in cluster.sentinels.iter().enumerate() {
        let part = if place == 0 { "leader" } else { "observer" };
        let switch = format!("[mymaster][{part}][start][127.0.0.1][{old}][127.0.0.1][{new}]");
        let expected = || {
            let warning = |name: &str| EventKind::ALL.iter().any(|k| k.name() == name && k.level() == Level::Warning);
            let seen = sentinel.events.all();
            let seen = seen.iter().filter(|seen| warning(&seen.name));
            let mut expected: Vec<String> = seen.map(|seen| format!("[{}][{}]", seen.name, seen.payload)).collect();
            // Said before anybody could subscribe.
            expected
                .push(format!("[+monitor][master mymaster 127.0.0.1 {old} quorum {}]", if place == 0 { 2 } else { 4 }));
            expected.push(switch.clone());
            expected.sort();
            expected
        };
        // More may happen while the scripts run.
        let mut lines = Vec::new();
        let settled = find_within(seconds(10), || {
            lines = calls(sentinel.folder());
            lines.sort();
            (lines == expected()).then_some(())
        });
        assert!(
            settled.is_some(),
            "each warning runs the script once, and nothing else does: {lines:#?}, not {:#?}",
            expected()
        );
        assert!(lines.iter().any(|line| line.starts_with("[+switch-master]")), "{lines:#?}");
    }
}

/// A Sentinel with a master that does not answer and, at first, no script.
struct Alone {
    sentinel: Sentinel,
    folder: TempDir,
}

impl Alone {
    fn start(kind: Kind) -> Alone {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let watch = Watch {
            name: "mymaster",
            port: ports::free(),
            quorum: 1,
            password: None,
            down_after: 3_600_000,
            failover_timeout: 60_000,
        };
        let lines = "sentinel deny-scripts-reconfig no\n";
        let sentinel = Sentinel::start_in(Vec::new(), kind, folder.path(), &[watch], lines);
        Alone { sentinel, folder }
    }

    /// Makes a file the notification script, for which that very change is the first event.
    fn notify_with(&self, body: &str) -> PathBuf {
        let path = script(self.folder.path(), "notify.sh", body);
        self.notify_by(&path);
        path
    }

    fn notify_by(&self, path: &Path) {
        self.ok(&["SENTINEL", "SET", "mymaster", "notification-script", &path.display().to_string()]);
    }

    fn ok(&self, words: &[&str]) {
        assert_eq!(self.sentinel.call(words).expect("it answers"), Value::Simple("OK".to_owned()));
    }

    fn pending(&self) -> Vec<Value> {
        self.sentinel.call(&["SENTINEL", "PENDING-SCRIPTS"]).expect("it answers").items().to_vec()
    }

    fn wait_for_event(&self, line: &str) {
        let seen = || self.sentinel.events.all().iter().any(|seen| seen.line() == line);
        wait_until(seconds(40), line, seen);
    }
}

#[test]
fn a_script_that_fails_runs_again() {
    run_again(Kind::under_test());
}

#[test]
fn a_script_of_stock_that_fails_runs_again() {
    run_again(Kind::Stock);
}

/// config.md 214, 215, 216: ten runs, or one.
fn run_again(kind: Kind) {
    let alone = Alone::start(kind);
    alone.ok(&["SENTINEL", "DEBUG", "SCRIPT-RETRY-DELAY", "8"]);
    let path = alone.notify_with(&format!("{NOTE}exit 1\n"));
    alone.wait_for_event(&format!("-script-error {} 0 1", path.display()));
    let shown = path.display();
    let first = format!("[+set][master mymaster 127.0.0.1 {} notification-script {shown}]", alone.port());
    assert_eq!(calls(alone.sentinel.folder()), vec![first; 10]);
    assert_eq!(alone.pending(), []);

    let twice = script(alone.folder.path(), "twice.sh", &format!("{NOTE}exit 2\n"));
    alone.notify_by(&twice);
    alone.wait_for_event(&format!("-script-error {} 0 2", twice.display()));
    assert_eq!(calls(alone.sentinel.folder()).len(), 11);

    let plain = alone.folder.path().join("plain.sh");
    write_program(&plain, format!("{NOTE}exit 0\n").as_bytes());
    alone.notify_by(&plain);
    alone.wait_for_event(&format!("-script-error {} 0 2", plain.display()));
    assert_eq!(calls(alone.sentinel.folder()).len(), 11, "no shell was asked to read it");
}

#[test]
fn a_script_that_hangs_is_killed() {
    killed_in_time(Kind::under_test());
}

#[test]
fn a_script_of_stock_that_hangs_is_killed() {
    killed_in_time(Kind::Stock);
}

/// config.md 217; commands.md 147. That its children are killed with it is ours: stock kills the leader alone.
fn killed_in_time(kind: Kind) {
    let alone = Alone::start(kind);
    alone.ok(&["SENTINEL", "DEBUG", "SCRIPT-MAX-RUNTIME", "300"]);
    let path = alone.notify_with("echo $$ > pid\nsleep 1000 & echo $! > child\nwait\n");
    let pid = number(&alone.sentinel.folder().join("pid"));
    let child = number(&alone.sentinel.folder().join("child"));
    alone.wait_for_event(&format!("-script-timeout {} {pid}", path.display()));
    let [waiting] = &wait_for(seconds(5), "it waits for its next run", || {
        let pending = alone.pending();
        pending.first().is_some_and(|entry| entry.field("flags") == Some("scheduled")).then_some(pending)
    })[..] else {
        panic!("one script")
    };
    assert_eq!(waiting.field("pid"), Some("0"));
    assert_eq!(waiting.field("retry-num"), Some("1"));
    let delay: u64 = waiting.field("run-delay").and_then(|text| text.parse().ok()).expect("a number");
    assert!((1..=30_000).contains(&delay), "{delay}");
    let is_gone = |pid: i32| kill(Pid::from_raw(pid), None).is_err();
    wait_until(seconds(5), "it is gone", || is_gone(pid));
    if kind == Kind::Stock {
        // Nobody else ends it.
        kill(Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL).expect("stock leaves it");
    } else {
        wait_until(seconds(5), "its child is gone, too", || is_gone_or_reaped(child));
    }
}

/// Whoever inherited it may not have reaped it.
fn is_gone_or_reaped(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn scripts_wait_for_each_other() {
    wait_for_each_other(Kind::under_test());
}

#[test]
fn scripts_of_stock_wait_for_each_other() {
    wait_for_each_other(Kind::Stock);
}

/// config.md 218; commands.md 146, 147
fn wait_for_each_other(kind: Kind) {
    let alone = Alone::start(kind);
    // Each ends when the file is there.
    let path = alone.notify_with("while [ ! -e done ]; do sleep 0.2; done\n");
    let set = || alone.ok(&["SENTINEL", "SET", "mymaster", "quorum", "3"]);
    (1..16).for_each(|_| set());
    wait_until(seconds(10), "16 run", || {
        alone.pending().iter().filter(|e| e.field("flags") == Some("running")).count() == 16
    });
    (16..300).for_each(|_| set());
    let pending = alone.pending();
    assert_eq!(pending.len(), 256);
    let flags: Vec<_> = pending.iter().filter_map(|entry| entry.field("flags")).collect();
    assert!(flags[..16].iter().all(|flag| *flag == "running") && flags[16..].iter().all(|flag| *flag == "scheduled"));
    let first = &pending[0];
    let words: Vec<_> = first.items()[1].items().iter().filter_map(Value::text).collect();
    let shown = path.display().to_string();
    let payload = format!("master mymaster 127.0.0.1 {} notification-script {shown}", alone.port());
    assert_eq!(words, [shown.as_str(), "+set", payload.as_str()]);
    assert_ne!(first.field("pid"), Some("0"));
    assert!(first.field("run-time").is_some_and(|text| text.parse::<u64>().is_ok()));
    assert_eq!(first.field("retry-num"), Some("1"));
    assert_eq!((pending[16].field("pid"), pending[16].field("run-delay")), (Some("0"), Some("0")));
    assert_eq!(pending[16].field("retry-num"), Some("0"));
    let info = alone.sentinel.call(&["INFO", "sentinel"]).expect("it answers");
    let info = info.text().expect("INFO is text").to_owned();
    assert!(info.contains("sentinel_running_scripts:16\r\nsentinel_scripts_queue_length:256\r\n"), "{info}");
    fs::write(alone.sentinel.folder().join("done"), "").expect("the test folder is writable");
    wait_until(seconds(60), "all have run", || alone.pending().is_empty());
}

#[test]
fn scripts_outlive_their_sentinel() {
    outlive(Kind::under_test());
}

#[test]
fn scripts_of_stock_outlive_it() {
    outlive(Kind::Stock);
}

/// config.md 219, 221. Stock leaves one of its files open in its scripts.
fn outlive(kind: Kind) {
    let mut alone = Alone::start(kind);
    let body = "(exec ls -l /proc/self/fd > open)\n: > begun\nwhile [ ! -e done ]; do sleep 0.1; done\n: > ended\n";
    alone.notify_with(body);
    let folder = alone.sentinel.folder().to_owned();
    wait_until(seconds(10), "the script has begun", || folder.join("begun").exists());
    alone.sentinel.shut_down();
    fs::write(folder.join("done"), "").expect("the test folder is writable");
    wait_until(seconds(10), "the script goes on to its end", || folder.join("ended").exists());
    let open = fs::read_to_string(folder.join("open")).expect("the script has written it");
    // Those beyond stdin, stdout and stderr, but the folder that `ls` itself reads.
    let more = open.lines().filter_map(|line| line.rsplit_once(" -> ")).filter_map(|(name, target)| {
        let fd: u32 = name.rsplit(' ').next()?.parse().ok()?;
        (fd > 2 && !target.starts_with("/proc/")).then_some((fd, target))
    });
    // Whatever the tests themselves were started with is passed on by everybody.
    let passed_on = |fd: u32| fs::read_link(format!("/proc/self/fd/{fd}"));
    let own = more.filter(|(fd, target)| passed_on(*fd).map_or(true, |link| link.as_os_str() != *target));
    let limit = usize::from(kind == Kind::Stock);
    assert!(own.count() <= limit && !open.contains("socket:"), "{open}");
}

#[test]
fn children_of_others_are_reaped() {
    reaps_children_of_others(Kind::under_test());
}

#[test]
fn stock_reaps_children_of_others() {
    reaps_children_of_others(Kind::Stock);
}

/// config.md 222: a process has such children when it takes the place of another, or is the first of a container.
fn reaps_children_of_others(kind: Kind) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let conf =
        format!("port {}\nlogfile log\nsentinel monitor mymaster 127.0.0.1 {} 2\n", ports::free(), ports::free());
    fs::write(folder.path().join("sentinel.conf"), conf).expect("the test folder is writable");
    let line = format!(
        "sh -c 'while [ ! -e done ]; do sleep 0.1; done' & echo $! > child; exec {} sentinel.conf",
        kind.program().display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let _sentinel = KilledAtEnd(command.spawn().expect("sh starts"));
    let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    wait_until(seconds(10), "it runs", || log().contains("+monitor"));
    let child = number(&folder.path().join("child"));
    fs::write(folder.path().join("done"), "").expect("the test folder is writable");
    let said = format!("# waitpid() returned a pid ({child}) we can't find in our scripts execution queue!");
    wait_until(seconds(10), "it says whom it has reaped", || log().contains(&said));
    assert!(!Path::new(&format!("/proc/{child}")).exists(), "reaped");
}

impl Alone {
    fn port(&self) -> String {
        self.sentinel.master("mymaster", "port").expect("it is monitored")
    }
}

/// An executable shell script.
fn script(folder: &Path, name: &str, body: &str) -> PathBuf {
    let path = folder.join(name);
    write_program(&path, format!("#!/bin/sh\n{body}").as_bytes());
    path
}

/// What [`NOTE`] has written in this folder.
fn calls(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The number in a file that is being written.
fn number(path: &Path) -> i32 {
    wait_for(seconds(10), "a number is written", || {
        fs::read_to_string(path).ok().filter(|text| text.ends_with('\n')).and_then(|text| text.trim().parse().ok())
    })
}
