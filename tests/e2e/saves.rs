//! Where the conf file is written, and where it cannot be (config.md 1.4, 5.6, 5.7).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::cluster::{Cluster, Plan};
use crate::support::process::Process;
use crate::support::resp::{Value, ask};
use crate::support::wait::{seconds, wait_until};
use crate::support::{Kind, ports};

/// The user that nobody is.
const NOBODY: u32 = 65_534;
const FAILED: &str = "ERR Failed to save config file. Check server logs.";

/// A conf file in a folder of its own, with a master that does not answer.
struct Home {
    folder: TempDir,
    conf: PathBuf,
    port: u16,
}

impl Home {
    fn new(lines: &str) -> Home {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
        let (conf, port) = (folder.path().join("sentinel.conf"), ports::free());
        let text = format!("# mine\nport {port}\nsentinel monitor m 127.0.0.1 {} 2\n{lines}", ports::free());
        fs::write(&conf, text).expect("the test folder is writable");
        Home { folder, conf, port }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.conf).expect("the conf file is there")
    }

    /// Runs `script` with the program as `$1` and the conf file as `$2`, and waits until it answers.
    fn run(&self, kind: Kind, script: &str, more: &[&str]) -> Process {
        let (program, conf) = (kind.program().display().to_string(), self.conf.display().to_string());
        let args = [&["-c", script, "sh", program.as_str(), conf.as_str()], more].concat();
        let process = Process::start("sentinel", Path::new("/bin/sh"), &args, self.folder.path());
        wait_until(seconds(10), "it answers", || ask(self.port, &["PING"]).is_ok());
        process
    }

    fn call(&self, words: &[&str]) -> Value {
        ask(self.port, words).expect("it answers")
    }

    fn quorum(&self) -> String {
        self.call(&["SENTINEL", "MASTER", "m"]).field("quorum").expect("a field of every master").to_owned()
    }

    fn set_quorum(&self, quorum: &str) -> Value {
        self.call(&["SENTINEL", "SET", "m", "quorum", quorum])
    }
}

fn ok() -> Value {
    Value::Simple("OK".to_owned())
}

fn log_of(process: &Process) -> String {
    fs::read_to_string(process.log()).expect("a log")
}

#[test]
fn what_cannot_be_read_or_written_is_refused() {
    refused(Kind::under_test());
}

#[test]
fn stock_refuses_what_cannot_be_read_or_written() {
    refused(Kind::Stock);
}

/// config.md 7, 9, 10
fn refused(kind: Kind) {
    let home = Home::new("");
    let before = home.text();
    let missing = home.folder.path().join("missing.conf");
    let as_nobody = "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$1\" \"$2\"";
    for (mode, path, script, line) in [
        (
            0o644,
            &missing,
            "exec \"$1\" \"$2\"",
            "Fatal error, can't open config file '<path>': No such file or directory",
        ),
        (0o600, &home.conf, as_nobody, "Fatal error, can't open config file '<path>': Permission denied"),
        (0o644, &home.conf, as_nobody, "Sentinel config file <path> is not writable: Permission denied. Exiting..."),
    ] {
        fs::set_permissions(&home.conf, fs::Permissions::from_mode(mode)).expect("our own file");
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(kind.program()).arg(path).stdin(Stdio::null());
        let output = command.output().expect("sh runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&line.replace("<path>", &path.display().to_string())), "{line}: {said}");
        assert!(!said.contains("oO0OoO0OoO0Oo"), "{said}");
    }
    assert_eq!(home.text(), before);
}

#[test]
fn a_folder_that_cannot_be_written_costs_saves_only() {
    read_only_folder(Kind::under_test());
}

#[test]
fn a_folder_that_cannot_be_written_costs_stock_saves_only() {
    read_only_folder(Kind::Stock);
}

/// config.md 11, 130, 131, 132
fn read_only_folder(kind: Kind) {
    let home = Home::new("");
    chown(&home.conf, Some(NOBODY), Some(NOBODY)).expect("tests run as root");
    let process = home.run(kind, "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$1\" \"$2\"", &[]);
    let lines = [
        "# Could not create tmp config file (Permission denied)",
        "# WARNING: Sentinel was not able to save the new configuration on disk!!!: Permission denied",
    ];
    for line in lines {
        wait_until(seconds(5), line, || log_of(&process).contains(line));
    }
    assert_eq!(home.set_quorum("5"), Value::Error(FAILED.to_owned()));
    assert_eq!(home.quorum(), "5", "memory changes all the same");
    assert_eq!(home.call(&["SENTINEL", "FLUSHCONFIG"]), Value::Error(FAILED.to_owned()));
    assert!(home.text().contains(" 2\n") && !home.text().contains("myid"), "{}", home.text());
}

#[test]
fn a_mounted_file_is_written_in_place() {
    mounted(Kind::under_test());
}

#[test]
fn stock_cannot_save_a_mounted_file() {
    mounted(Kind::Stock);
}

/// config.md 134: a deviation. Single files are mounted into containers, and stock never saves there.
fn mounted(kind: Kind) {
    let home = Home::new("");
    let script = "mount --bind \"$2\" \"$2\" && exec \"$1\" \"$2\"";
    let inode = |home: &Home| fs::metadata(&home.conf).expect("it is there").ino();
    let before = inode(&home);
    let (program, conf) = (kind.program().display().to_string(), home.conf.display().to_string());
    let args = ["--mount", "sh", "-c", script, "sh", &program, &conf];
    let start = |args: &[&str]| {
        let process = Process::start("sentinel", Path::new("/usr/bin/unshare"), args, home.folder.path());
        wait_until(seconds(10), "it answers", || ask(home.port, &["PING"]).is_ok());
        process
    };
    let mut process = start(&args);
    if kind == Kind::Stock {
        assert_eq!(home.set_quorum("7"), Value::Error(FAILED.to_owned()));
        assert!(log_of(&process).contains("# Could not rename tmp config file (Device or resource busy)"));
        return;
    }
    // Longer, then shorter than what was there.
    for quorum in ["1000007", "7"] {
        assert_eq!(home.set_quorum(quorum), ok());
        assert!(
            home.text().contains(&format!(" {quorum}\n")) && home.text().starts_with("# mine\n"),
            "{}",
            home.text()
        );
    }
    assert_eq!(inode(&home), before);
    assert_eq!(log_of(&process).matches("is a mount point").count(), 1, "{}", log_of(&process));
    assert!(!home.folder.path().join("sentinel.conf.journal").exists());
    // Killed in the middle of saves, again and again.
    for round in 0..10_u32 {
        for step in 0..20 {
            // Nobody waits for these.
            let mut client = crate::support::resp::Client::connect(home.port).expect("it runs");
            client
                .send(&["SENTINEL", "SET", "m", "quorum", &(1_000 + 100 * round + step).to_string()])
                .expect("it runs");
        }
        process.kill();
        process = start(&args);
        let quorum: u32 = home.quorum().parse().expect("a number");
        assert!(quorum == 7 || quorum >= 1_000, "{quorum}");
        assert!(home.text().starts_with("# mine\n"));
    }
}

#[test]
fn a_start_that_learns_nothing_writes_nothing() {
    quiet_start(Kind::under_test());
}

#[test]
fn a_start_of_stock_that_learns_nothing_writes_nothing() {
    quiet_start(Kind::Stock);
}

/// config.md 126, 127
fn quiet_start(kind: Kind) {
    let home = Home::new("");
    let mut process = home.run(kind, "exec \"$1\" \"$2\"", &[]);
    wait_until(seconds(10), "it runs", || log_of(&process).contains("+monitor"));
    let log = log_of(&process);
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text}: {log}"));
    assert!(at("Sentinel new configuration saved on disk") < at("Sentinel ID is"));
    assert!(home.text().contains("sentinel myid "));
    process.signal(Signal::SIGTERM);
    process.wait(seconds(10));
    let look =
        || fs::metadata(&home.conf).map(|file| (file.ino(), file.mtime_nsec(), file.mtime())).expect("it is there");
    let before = look();
    let process = home.run(kind, "exec \"$1\" \"$2\"", &[]);
    wait_until(seconds(10), "it runs", || log_of(&process).matches("+monitor").count() == 2);
    assert_eq!(look(), before);
}

#[test]
fn a_limit_of_descriptors_is_not_saved() {
    limited(Kind::under_test());
}

#[test]
fn stock_saves_a_limit_of_descriptors() {
    limited(Kind::Stock);
}

/// config.md 137: a deviation. A limit of one start would hold for all later ones.
fn limited(kind: Kind) {
    let home = Home::new("");
    let _process = home.run(kind, "ulimit -n 1024; exec \"$1\" \"$2\"", &[]);
    assert_eq!(home.call(&["SENTINEL", "FLUSHCONFIG"]), ok());
    assert_eq!(home.text().contains("maxclients 992\n"), kind == Kind::Stock, "{}", home.text());
}

#[test]
fn a_save_is_on_disk_before_it_is_acknowledged() {
    synced(Kind::under_test());
}

#[test]
fn a_save_of_stock_is_on_disk_before_it_is_acknowledged() {
    synced(Kind::Stock);
}

/// config.md 135: the file, then its name.
fn synced(kind: Kind) {
    let home = Home::new("");
    let trace = home.folder.path().join("trace");
    let script = "exec strace -f -qq -y -o \"$3\" -e trace=fsync,fdatasync,/rename \"$1\" \"$2\"";
    let mut process = home.run(kind, script, &[&trace.display().to_string()]);
    fs::write(&trace, "").expect("the test folder is writable");
    assert_eq!(home.set_quorum("9"), ok());
    // The tracer ends with whom it traces; there is no reply.
    let _ = ask(home.port, &["SHUTDOWN"]);
    process.wait(seconds(10));
    let text = fs::read_to_string(&trace).expect("strace has written it");
    let calls: Vec<&str> = text.lines().filter(|line| line.contains("sync(") || line.contains("rename")).collect();
    let position =
        |what: &dyn Fn(&&&str) -> bool| calls.iter().position(|line| what(&line)).unwrap_or_else(|| panic!("{text}"));
    let renamed = position(&|line| line.contains("rename") && line.contains("sentinel.conf"));
    let file = position(&|line| line.contains("sync(") && line.contains("sentinel.conf."));
    let folder = calls
        .iter()
        .skip(renamed)
        .any(|line| line.contains("sync(") && line.contains(&format!("{}>", home.folder.path().display())));
    assert!(file < renamed && folder, "{text}");
}

/// config.md 118: whoever dies in the middle of a failover starts again with the new address.
#[test]
fn a_promotion_is_on_disk_while_the_failover_goes_on() {
    promotion_on_disk(Kind::under_test());
}

#[test]
fn a_promotion_of_stock_is_on_disk_while_the_failover_goes_on() {
    promotion_on_disk(Kind::Stock);
}

fn promotion_on_disk(kind: Kind) {
    let sentinels = vec![(kind, 2), (kind, 4), (kind, 4)];
    let mut cluster = Cluster::start(&Plan { sentinels, failover_timeout: 60_000, ..Plan::three(kind) });
    let old = cluster.first_master();
    let replicas: Vec<u16> = cluster.groups[0].servers.iter().map(|server| server.port).filter(|p| *p != old).collect();
    let leader_knows = |cluster: &Cluster| cluster.sentinels[0].saved(&["monitor"]);
    let start = Instant::now();
    cluster.group().at_mut(old).process.kill();
    let promoted = wait_for_promotion(&cluster, start);
    // The other one never says that it follows.
    let other = replicas.iter().find(|port| **port != promoted).expect("there are two");
    cluster.group().at(*other).hang();
    wait_until(seconds(10), "the file names the promoted replica", || {
        leader_knows(&cluster) == [format!("monitor mymaster 127.0.0.1 {promoted} 2")]
    });
    cluster.group().at(*other).resume();
}

fn wait_for_promotion(cluster: &Cluster, start: Instant) -> u16 {
    let mut port = 0;
    wait_until(seconds(40), "a promotion", || {
        let seen = cluster.sentinels[0].events.find(start, "+promoted-slave slave 127.0.0.1:");
        let text = seen.map(|seen| seen.payload).unwrap_or_default();
        port = text.split(' ').nth(3).and_then(|port| port.parse().ok()).unwrap_or(0);
        port != 0
    });
    port
}

/// `[node] state-file`: the conf file is never written. Stock has nothing like it, and can start on the state file.
#[test]
fn a_state_file_takes_the_place_of_the_conf_file() {
    let kind = Kind::under_test();
    let home = Home::new("sentinel down-after-milliseconds m 7000\n");
    let (state, settings) = (home.folder.path().join("state"), home.folder.path().join("sentineld.toml"));
    fs::write(&settings, format!("[node]\nstate-file = \"{}\"\n", state.display())).expect("written");
    let before = home.text();
    fs::set_permissions(&home.conf, fs::Permissions::from_mode(0o444)).expect("our own file");
    let script = "exec \"$1\" \"$2\" --settings \"$3\"";
    let start = || home.run(kind, script, &[&settings.display().to_string()]);
    let down_after = || {
        let master = home.call(&["SENTINEL", "MASTER", "m"]);
        master.field("down-after-milliseconds").expect("a field of every master").to_owned()
    };
    let mut process = start();
    let myid = home.call(&["SENTINEL", "MYID"]);
    for (option, value) in [("quorum", "4"), ("down-after-milliseconds", "8000")] {
        assert_eq!(home.call(&["SENTINEL", "SET", "m", option, value]), ok());
    }
    assert_eq!(home.call(&["SENTINEL", "MONITOR", "n", "127.0.0.1", "1", "2"]), ok());
    process.kill();
    let mut process = start();
    assert_eq!((home.quorum(), down_after()), ("4".to_owned(), "8000".to_owned()));
    assert_eq!(home.call(&["SENTINEL", "MYID"]), myid);
    assert_eq!(home.call(&["SENTINEL", "MASTERS"]).items().len(), 2);
    assert_eq!(home.text(), before);

    // An operator edits the conf file: its settings count, and what was learned stays.
    process.kill();
    fs::write(&home.conf, before.replace("7000", "9000")).expect("root may write");
    let mut process = start();
    assert_eq!((home.quorum(), down_after()), ("2".to_owned(), "9000".to_owned()));
    assert_eq!(home.call(&["SENTINEL", "MYID"]), myid);
    assert_eq!(home.call(&["SENTINEL", "FLUSHCONFIG"]), ok());
    process.kill();

    // The way back.
    let script = "exec \"$1\" \"$3\"";
    let _stock = home.run(Kind::Stock, script, &[&state.display().to_string()]);
    assert_eq!(home.call(&["SENTINEL", "MYID"]), myid);
    assert_eq!((home.quorum(), down_after()), ("2".to_owned(), "9000".to_owned()));
}
