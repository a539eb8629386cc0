//! From the command line to the last line of the log: names, signals, supervision, files and the log itself (config.md 1,
//! 6 and 7). Each scenario runs with `sentineld` and with stock.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, symlink};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::cluster::{Cluster, Plan};
use crate::support::process::Process;
use crate::support::resp::{Value, ask};
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::support::{Kind, ports};

macro_rules! both {
    ($($name:ident, $stock:ident: $scenario:ident;)*) => {
        $(
            #[test]
            fn $name() {
                $scenario(Kind::under_test());
            }

            #[test]
            fn $stock() {
                $scenario(Kind::Stock);
            }
        )*
    };
}

both! {
    ends_when_told, stock_ends_when_told: ends;
    goes_by_other_names, stock_goes_by_other_names: names;
    is_supervised, stock_is_supervised: supervised;
    goes_on_without_systemd, stock_goes_on_without_systemd: unsupervised;
    keeps_to_hard_limits, stock_keeps_to_hard_limits: hard_limits;
    stops_for_upstart, stock_stops_for_upstart: upstart;
    starts_whatever_the_limits, stock_starts_whatever_the_limits: limits;
    shows_a_title, stock_shows_a_title: title;
    logs_as_it_is_told, stock_logs_as_it_is_told: logs;
    publishes_what_it_does_not_log, stock_publishes_what_it_does_not_log: publishes;
    logs_to_syslog, stock_logs_to_syslog: to_syslog;
    tells_mistakes_on_stderr, stock_tells_mistakes_on_stderr: mistakes;
}

/// A folder with a conf file.
struct Home {
    folder: TempDir,
    port: u16,
}

impl Home {
    fn new(lines: &str) -> Home {
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), ports::free());
        let home = Home { folder, port };
        let text = format!("port {port}\nsentinel monitor m 127.0.0.1 {} 2\n{lines}\n", ports::free());
        fs::write(home.path("s.conf"), text).expect("the test folder is writable");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Runs a line of sh in the folder with the program as `$1`; returns without waiting.
    fn run(&self, kind: Kind, line: &str, environment: &[(&str, &str)]) -> Process {
        let program = kind.program().display().to_string();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let args = ["-c", line, "sh", program.as_str()];
        Process::start_in(environment, "out", Path::new("/bin/sh"), &args, self.folder.path())
    }

    fn start(&self, kind: Kind) -> Process {
        let process = self.run(kind, "exec \"$1\" s.conf", &[]);
        self.wait_until_it_answers();
        process
    }

    fn wait_until_it_answers(&self) {
        wait_until(seconds(10), "it answers", || ask(self.port, &["PING"]).is_ok());
    }

    /// What comes after `from` in the log, without the heads of lines; those of signal handlers keep theirs.
    fn tail(&self, log: &str, from: &str) -> Vec<String> {
        let text = self.read(log);
        let lines = text.lines().skip_while(|line| !line.contains(from));
        let bare =
            |line: &str| line.split_once(" # ").or(line.split_once(" * ")).map_or(line, |(_, text)| text).to_owned();
        lines.map(bare).collect()
    }
}

/// config.md 144, 161, 162, 163, 164, 165, 166, 167, 168, 169, 170
fn ends(kind: Kind) {
    let home = Home::new("pidfile p\nunixsocket u");
    let bye = [
        "User requested shutdown...",
        "Removing the pid file.",
        "Removing the unix socket file.",
        "Sentinel is now ready to exit, bye bye...",
    ];
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        fs::write(home.path("out.log"), "").expect("the test folder is writable");
        let mut process = home.start(kind);
        let pid = process.id().expect("it runs");
        wait_until(seconds(5), "a file with its id", || home.read("p") == format!("{pid}\n"));
        assert!(fs::metadata(home.path("u")).is_ok_and(|file| file.file_type().is_socket()));
        for ignored in [Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGALRM] {
            process.signal(ignored);
        }
        home.wait_until_it_answers();
        process.signal(signal);
        assert!(process.wait(seconds(2)).success(), "{signal}");
        let said = home.tail("out.log", "Received");
        let (first, rest) = said.split_first().expect("it says why it ends");
        let head = format!("{pid}:signal-handler (");
        let time = first.strip_prefix(&head).and_then(|rest| rest.split(')').next()).unwrap_or_default();
        assert!(time.parse::<u64>().is_ok(), "{first}");
        assert!(first.ends_with(&format!(") Received {signal} scheduling shutdown...")), "{first}");
        assert_eq!(rest, bye);
        assert!(!home.path("p").exists() && !home.path("u").exists());
    }

    wait_until(seconds(60), "it was insisted upon", || {
        fs::write(home.path("out.log"), "").expect("the test folder is writable");
        let mut process = home.start(kind);
        process.signal(Signal::SIGTERM);
        process.signal(Signal::SIGINT);
        let status = process.wait(seconds(2));
        // Who is quick to end has not been insisted upon.
        let insisted = home.read("out.log").contains(") You insist... exiting now.");
        assert_eq!(status.code(), Some(i32::from(insisted)));
        insisted
    });

    let mut process = home.start(kind);
    process.signal(Signal::SIGUSR1);
    assert_eq!(process.wait(seconds(2)).signal(), Some(Signal::SIGUSR1 as i32));

    fs::write(home.path("out.log"), "").expect("the test folder is writable");
    let mut process = home.start(kind);
    let error = |text: &str| Value::Error(format!("ERR {text}"));
    for (word, told) in [("ABORT", "No shutdown in progress."), ("bogus", "syntax error")] {
        assert_eq!(ask(home.port, &["SHUTDOWN", word]).expect("it answers"), error(told));
    }
    assert!(ask(home.port, &["SHUTDOWN", "SAVE"]).is_err(), "no reply");
    assert!(process.wait(seconds(2)).success());
    assert_eq!(home.tail("out.log", "User requested"), bye);

    let home = Home::new("pidfile /none/p");
    let mut process = home.start(kind);
    process.signal(Signal::SIGTERM);
    assert!(process.wait(seconds(2)).success());
}

/// config.md 29, 225: a link named redis-sentinel, and redis-server with an option.
fn names(kind: Kind) {
    for (name, line) in
        [("redis-sentinel", "exec ./redis-sentinel s.conf"), ("redis-server", "exec ./redis-server s.conf --sentinel")]
    {
        let home = Home::new("");
        symlink(kind.program(), home.path(name)).expect("the test folder is writable");
        let _process = home.run(kind, line, &[]);
        wait_until(seconds(10), "it runs", || home.read("out.log").contains("# Sentinel ID is "));
        let shown = Instant::now();
        home.wait_until_it_answers();
        assert!(shown.elapsed() < Duration::from_secs(1), "a probe comes one second after the id");
        let info = ask(home.port, &["INFO", "server"]).expect("it answers");
        assert!(info.text().is_some_and(|text| text.contains("redis_mode:sentinel")), "{line}");
    }
}

/// config.md 177, 178, 180
fn supervised(kind: Kind) {
    let told = |socket: &UnixDatagram| {
        let mut datagram = [0; 256];
        let length = socket.recv(&mut datagram).expect("a datagram");
        String::from_utf8_lossy(&datagram[..length]).into_owned()
    };
    for (lines, by_word) in
        [("supervised systemd", true), ("supervised auto\ndaemonize yes", true), ("supervised systemd", false)]
    {
        let home = Home::new(lines);
        let path = home.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(seconds(10))).expect("a socket");
        let shown = path.display().to_string();
        let environment = [("NOTIFY_SOCKET", shown.as_str())];
        let mut process = home.run(kind, "exec \"$1\" s.conf", if by_word { &environment } else { &[] });
        home.wait_until_it_answers();
        if by_word {
            let first = ["STATUS=Redis is loading...\n", "STATUS=Ready to accept connections\n", "READY=1\n"];
            assert_eq!(first.map(|_| told(&socket)), first);
            let info = ask(home.port, &["INFO", "server"]).expect("it answers");
            assert!(info.text().is_some_and(|text| text.contains("process_supervised:systemd")));
        } else {
            assert!(home.read("out.log").contains("# systemd supervision error: NOTIFY_SOCKET not found!"));
        }
        // Not a daemon: it is still our child.
        process.signal(Signal::SIGTERM);
        assert!(process.wait(seconds(2)).success());
        if by_word {
            assert_eq!(told(&socket), "STOPPING=1\n");
        }
    }
}

/// config.md 178: a socket that is not there. It is tried each time, and nobody is said to supervise.
fn unsupervised(kind: Kind) {
    let home = Home::new("supervised systemd");
    let mut process = home.run(kind, "exec \"$1\" s.conf", &[("NOTIFY_SOCKET", "/none/notify")]);
    home.wait_until_it_answers();
    let info = ask(home.port, &["INFO", "server"]).expect("it answers");
    assert!(info.text().is_some_and(|text| text.contains("process_supervised:no")), "{info:?}");
    process.signal(Signal::SIGTERM);
    assert!(process.wait(seconds(10)).success());
    let said = home.read("out.log");
    assert_eq!(said.matches("# systemd supervision error: sd_notify: -2\n").count(), 4, "{said}");
    assert!(!said.contains("Supervised by systemd"), "{said}");
}

/// config.md 181, 182: nobody may not raise what is hard.
fn hard_limits(kind: Kind) {
    const NOBODY: u32 = 65_534;
    const LINE: &str = "ulimit -n $LIMIT; exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
                        --bounding-set=-all \"$1\" s.conf";
    let run = |home: &Home, limit: &str| {
        for path in [home.folder.path(), &home.path("s.conf")] {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("tests run as root");
        }
        home.run(kind, LINE, &[("LIMIT", limit)])
    };
    let home = Home::new("");
    let _process = run(&home, "1024");
    home.wait_until_it_answers();
    let info = ask(home.port, &["INFO", "clients"]).expect("it answers");
    assert!(info.text().is_some_and(|text| text.contains("maxclients:992\r\n")), "{info:?}");
    let said = home.tail("out.log", "You requested");
    let lines = [
        "You requested maxclients of 10000 requiring at least 10032 max file descriptors.",
        "Server can't set maximum open files to 10032 because of OS error: Operation not permitted.",
        "Current maximum open files is 1024. maxclients has been reduced to 992 to compensate for low ulimit. If you need \
         higher maxclients increase 'ulimit -n'.",
    ];
    assert_eq!(said[..3], lines);
    let home = Home::new("");
    assert_eq!(run(&home, "20").wait(seconds(10)).code(), Some(1));
    let line = "# Your current 'ulimit -n' of 20 is not enough for the server to start. Please increase your open file \
                limit to at least 10032. Exiting.\n";
    assert!(home.read("out.log").ends_with(line), "{}", home.read("out.log"));
}

/// config.md 179
fn upstart(kind: Kind) {
    let home = Home::new("supervised upstart");
    let process = home.run(kind, "exec \"$1\" s.conf", &[("UPSTART_JOB", "x")]);
    let stat = || fs::read_to_string(format!("/proc/{}/stat", process.id().expect("it runs"))).unwrap_or_default();
    wait_until(seconds(10), "it stops itself", || stat().contains(") T "));
    process.signal(Signal::SIGCONT);
    home.wait_until_it_answers();
    assert!(home.read("out.log").contains("* supervised by upstart, will stop to signal readiness."));
}

/// config.md 154, 181, 182, 183
fn limits(kind: Kind) {
    let said = |home: &Home, line: &str| home.read("out.log").contains(line);
    let home = Home::new("");
    let _process = home.run(kind, "ulimit -n 1024; exec \"$1\" s.conf", &[]);
    home.wait_until_it_answers();
    for line in [
        "# You requested maxclients of 10000 requiring at least 10032 max file descriptors.",
        "# Server can't set maximum open files to 10032 because of OS error: Operation not permitted.",
        "# Current maximum open files is 1024. maxclients has been reduced to 992 to compensate for low ulimit. If you need \
         higher maxclients increase 'ulimit -n'.",
    ] {
        assert!(said(&home, line) || nix::unistd::geteuid().is_root() && said(&home, "Increased maximum"), "{line}");
    }
    let home = Home::new("");
    let mut process = home.run(kind, "ulimit -n 20; exec \"$1\" s.conf", &[]);
    assert_eq!(process.wait(seconds(5)).code(), Some(1));
    wait_until(seconds(5), "it says why", || said(&home, "# Your current 'ulimit -n' of 20 is not enough "));

    // Units forbid it with a filter of system calls.
    let home = Home::new("");
    let line = "ulimit -Sn 1024; exec strace -f -qq -o trace -e trace=prlimit64,setrlimit \
                -e inject=prlimit64,setrlimit:error=EPERM:when=2+ \"$1\" s.conf";
    let mut process = home.run(kind, line, &[]);
    home.wait_until_it_answers();
    let _ = ask(home.port, &["SHUTDOWN"]);
    process.wait(seconds(10));

    let home = Home::new("tcp-backlog 1000000");
    let _process = home.start(kind);
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a setting of every kernel");
    let line = format!(
        "# WARNING: The TCP backlog setting of 1000000 cannot be enforced because /proc/sys/net/core/somaxconn is set to \
         the lower value of {}.",
        most.trim()
    );
    wait_until(seconds(5), "a small backlog is told", || said(&home, &line));
}

/// config.md 184. The command line is long enough: ours does not go beyond it.
fn title(kind: Kind) {
    let long = "a-name-that-leaves-room-for-the-title-of-the-process.conf";
    for (line, changes) in [("", true), ("set-proc-title no", false)] {
        let home = Home::new(line);
        fs::rename(home.path("s.conf"), home.path(long)).expect("the test folder is writable");
        symlink(kind.program(), home.path("redis-sentinel")).expect("the test folder is writable");
        let process = home.run(kind, &format!("exec ./redis-sentinel {long}"), &[]);
        home.wait_until_it_answers();
        let shown = || {
            let bytes = fs::read(format!("/proc/{}/cmdline", process.id().expect("it runs"))).unwrap_or_default();
            String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ").trim_end().to_owned()
        };
        let own = format!("./redis-sentinel *:{} [sentinel]", home.port);
        let expected = if changes { own } else { format!("./redis-sentinel {long}") };
        wait_until(seconds(5), &expected, || shown() == expected);
    }
}

/// config.md 143, 145, 147, 150, 151, 152, 153, 160, 173, 174
fn logs(kind: Kind) {
    let home = Home::new("dir sub\nlogfile log\nloglevel debug");
    fs::create_dir(home.path("sub")).expect("the test folder is writable");
    let _process = home.start(kind);
    let log = || home.read("sub/log");
    wait_until(seconds(5), "the first lines", || log().contains("+monitor"));
    let order = [
        "# oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo",
        "# Redis version=7.0.15, bits=64, commit=00000000, modified=0, pid=",
        "# Configuration loaded",
        "* monotonic clock: ",
        "* Running mode=sentinel, port=",
        ". Rewritten config file (",
        "* Sentinel new configuration saved on disk",
        "# Sentinel ID is ",
        "# +monitor master m ",
    ];
    let text = log();
    let places: Vec<_> = order.iter().map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect();
    assert!(places.is_sorted(), "{text}");
    for line in text.lines() {
        let (pid, rest) = line.split_once(":X ").unwrap_or_else(|| panic!("{line}"));
        let shape: String = rest.chars().take(24).map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert!(
            pid.parse::<u32>().is_ok() && shape.replace(&shape[3..6], "Mon") == "99 Mon 9999 99:99:99.999",
            "{line}"
        );
        assert!(rest[24..].starts_with(' ') && ".-*#".contains(&rest[25..26]) && &rest[26..27] == " ", "{line}");
    }
    fs::rename(home.path("sub/log"), home.path("sub/log.1")).expect("the log is there");
    let reply = ask(home.port, &["SENTINEL", "SET", "m", "auth-pass", "secret"]).expect("it answers");
    assert_eq!(reply, Value::Simple("OK".to_owned()));
    let masked = || log().lines().any(|line| line.contains("# +set master m ") && line.ends_with(" auth-pass ******"));
    wait_until(seconds(5), "a new file, and no password in it", masked);
    assert!(!log().contains("secret"));

    let home = Home::new("always-show-logo yes");
    let _process = home.start(kind);
    wait_until(seconds(5), "it runs", || home.read("out.log").contains("+monitor"));
    let text = home.read("out.log");
    assert!(text.contains("Running in sentinel mode") && !text.contains("Running mode="), "{text}");

    // A daemon.
    let home = Home::new("daemonize yes\nlogfile log\npidfile p");
    let mut process = home.run(kind, "exec \"$1\" s.conf", &[]);
    assert!(process.wait(seconds(5)).success(), "the parent ends at once");
    home.wait_until_it_answers();
    let pid: i32 = wait_for(seconds(5), "a file with its id", || home.read("p").trim().parse().ok());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let session = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(3)).expect("a field");
    assert_eq!(session, pid.to_string());
    for fd in 0..3 {
        let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).expect("it is open");
        assert_eq!(target, Path::new("/dev/null"));
    }
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    wait_until(seconds(5), "it ends", || !home.path("p").exists());
    let home = Home::new("daemonize yes\nnonsense yes");
    assert_eq!(home.run(kind, "exec \"$1\" s.conf", &[]).wait(seconds(5)).code(), Some(1));
}

/// config.md 148, 149
fn publishes(kind: Kind) {
    let lines = "loglevel warning\n".to_owned();
    let cluster = Cluster::start(&Plan { sentinels: vec![(kind, 1)], replicas: 1, lines, ..Plan::three(kind) });
    let sentinel = &cluster.sentinels[0];
    let from = Instant::now();
    assert_eq!(sentinel.call(&["SENTINEL", "RESET", "mymaster"]).expect("it answers"), Value::Integer(1));
    wait_until(seconds(20), "+slave is published", || sentinel.events.find(from, "+slave slave ").is_some());
    let log = fs::read_to_string(sentinel.process.log()).expect("a log");
    assert!(log.contains("# +reset-master master mymaster "), "{log}");
    assert!(!log.contains("+slave") && !log.contains(" * "), "{log}");
}

/// config.md 157: the log stays, too.
fn to_syslog(kind: Kind) {
    let home = Home::new("syslog-enabled yes\nsyslog-ident some-name\nsyslog-facility local3");
    let dev = home.path("dev");
    fs::create_dir(&dev).expect("the test folder is writable");
    let socket = UnixDatagram::bind(dev.join("log")).expect("a socket");
    socket.set_read_timeout(Some(seconds(10))).expect("a socket");
    let line = "cp -a /dev/null /dev/urandom /dev/random dev && \
                exec unshare --mount sh -c 'mount --bind dev /dev && exec \"$1\" s.conf' sh \"$1\"";
    let process = home.run(kind, line, &[]);
    home.wait_until_it_answers();
    let wanted = "# +monitor master m ";
    wait_until(seconds(5), "the log has it", || home.read("out.log").contains(wanted));
    let pid = process.id().expect("it runs");
    // Facility local3 and severities warning and notice.
    for (priority, text) in
        [(19 * 8 + 5, "Sentinel new configuration saved on disk"), (19 * 8 + 4, "+monitor master m ")]
    {
        let mut seen = Vec::new();
        loop {
            let mut datagram = [0; 2048];
            let length = socket.recv(&mut datagram).unwrap_or_else(|error| panic!("{error}: {seen:?}"));
            let line = String::from_utf8_lossy(&datagram[..length]).into_owned();
            if line.contains(text) {
                assert!(line.starts_with(&format!("<{priority}>")), "{line}");
                assert!(line.contains(&format!(" some-name[{pid}]: {text}")), "{line}");
                break;
            }
            seen.push(line);
        }
    }
    process.signal(Signal::SIGTERM);
    loop {
        let mut datagram = [0; 2048];
        let length = socket.recv(&mut datagram).expect("a datagram");
        let line = String::from_utf8_lossy(&datagram[..length]).into_owned();
        assert!(!line.contains("Received SIGTERM"), "what a signal handler says goes to the log alone: {line}");
        if line.ends_with("bye bye...") {
            break;
        }
    }
}

/// config.md 60
fn mistakes(kind: Kind) {
    let home = Home::new("logfile log\nnonsense yes");
    let output =
        Command::new(kind.program()).arg("s.conf").current_dir(home.folder.path()).stdin(Stdio::null()).output();
    let output = output.expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(ExitStatus::code(&output.status), Some(1));
    assert!(err.contains(">>> 'nonsense yes'\nBad directive or wrong number of arguments\n"), "{err}");
    assert!(out.is_empty(), "{out}");
    assert!(fs::metadata(home.path("log")).map_or(0, |file| file.size()) == 0, "{}", home.read("log"));
}
