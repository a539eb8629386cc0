//! A Sentinel of either kind, with its conf file and a record of its events.

use std::io;
use std::path::{Path, PathBuf};

use super::process::Process;
use super::recorder::{Recorder, Seen};
use super::resp::{Value, ask};
use super::wait::{seconds, wait_until};
use super::{Kind, ports};

/// One `sentinel monitor` with its options.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    /// Name of the master.
    pub(crate) name: &'static str,
    /// Its port.
    pub(crate) port: u16,
    /// Quorum as this Sentinel has it.
    pub(crate) quorum: u32,
    /// `auth-pass`
    pub(crate) password: Option<&'static str>,
    /// ms
    pub(crate) down_after: u64,
    /// ms
    pub(crate) failover_timeout: u64,
}

impl Watch {
    fn conf(&self) -> String {
        let Watch { name, port, quorum, down_after, failover_timeout, .. } = self;
        let auth = self.password.map(|password| format!("sentinel auth-pass {name} {password}\n"));
        format!(
            "sentinel monitor {name} 127.0.0.1 {port} {quorum}\n\
             sentinel down-after-milliseconds {name} {down_after}\n\
             sentinel failover-timeout {name} {failover_timeout}\n\
             {}",
            auth.unwrap_or_default()
        )
    }
}

/// A Sentinel.
#[derive(Debug)]
pub(crate) struct Sentinel {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    /// Which program runs.
    pub(crate) kind: Kind,
    /// What it published.
    pub(crate) events: Recorder,
    /// The child.
    pub(crate) process: Process,
    conf: PathBuf,
}

impl Sentinel {
    /// Starts a new Sentinel in `folder` and waits until it answers.
    pub(crate) fn start(kind: Kind, folder: &Path, watches: &[Watch]) -> Sentinel {
        Sentinel::start_in(Vec::new(), kind, folder, watches, "")
    }

    /// The same with some more variables in its environment, and lines in its conf file.
    pub(crate) fn start_in(
        environment: Vec<(String, String)>,
        kind: Kind,
        folder: &Path,
        watches: &[Watch],
        lines: &str,
    ) -> Sentinel {
        let port = ports::free();
        let home = folder.join(format!("sentinel-{port}"));
        std::fs::create_dir(&home).expect("the test folder is writable");
        let watches = watches.iter().map(Watch::conf).collect::<String>();
        let conf = home.join("sentinel.conf");
        let text = format!("port {port}\nbind 127.0.0.1\ndir {}\n{watches}{lines}", home.display());
        std::fs::write(&conf, text).expect("the test folder is writable");
        let name = format!("sentinel-{port}");
        let process = Process::start_in(environment, &name, &kind.program(), &["sentinel.conf"], &home);
        let mut sentinel = Sentinel { port, kind, events: Recorder::default(), process, conf };
        sentinel.wait_until_ready();
        sentinel
    }

    /// Starts it again on the same conf file, as a program of `kind`.
    pub(crate) fn start_again(&mut self, kind: Kind) {
        self.kind = kind;
        self.process.set_program(kind.program());
        self.process.start_again();
        self.wait_until_ready();
    }

    /// `SHUTDOWN`; returns when it is gone.
    pub(crate) fn shut_down(&mut self) {
        // The connection is closed without a reply.
        let _ = self.call(&["SHUTDOWN"]);
        assert!(self.process.wait(seconds(10)).success(), "SHUTDOWN ends with 0");
    }

    /// Its `dir`, with its conf file.
    pub(crate) fn folder(&self) -> &Path {
        self.conf.parent().expect("the conf file is in a folder")
    }

    /// One command on a connection of its own.
    pub(crate) fn call(&self, words: &[&str]) -> io::Result<Value> {
        ask(self.port, words)
    }

    /// Its id.
    pub(crate) fn myid(&self) -> String {
        let reply = self.call(&["SENTINEL", "MYID"]).expect("a running Sentinel answers");
        reply.text().expect("MYID is a bulk string").to_owned()
    }

    /// The port that clients are told for this master.
    pub(crate) fn address(&self, master: &str) -> Option<u16> {
        let reply = self.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master]).ok()?;
        reply.items().get(1)?.text()?.parse().ok()
    }

    /// A field of `SENTINEL MASTER`.
    pub(crate) fn master(&self, master: &str, field: &str) -> Option<String> {
        self.call(&["SENTINEL", "MASTER", master]).ok()?.field(field).map(str::to_owned)
    }

    /// The entries of `SENTINEL REPLICAS`.
    pub(crate) fn replicas(&self, master: &str) -> Vec<Value> {
        self.call(&["SENTINEL", "REPLICAS", master]).map(|reply| reply.items().to_vec()).unwrap_or_default()
    }

    /// The entries of `SENTINEL SENTINELS`.
    pub(crate) fn peers(&self, master: &str) -> Vec<Value> {
        self.call(&["SENTINEL", "SENTINELS", master]).map(|reply| reply.items().to_vec()).unwrap_or_default()
    }

    /// The `sentinel` lines of the conf file that begin with one of `words`, sorted: stock's order is not fixed.
    pub(crate) fn saved(&self, words: &[&str]) -> Vec<String> {
        let text = std::fs::read_to_string(&self.conf).expect("the conf file is there at any time");
        let lines = text.lines().filter_map(|line| line.strip_prefix("sentinel "));
        let wanted = lines.filter(|line| words.iter().any(|word| line.split(' ').next() == Some(word)));
        let mut lines = wanted.map(str::to_owned).collect::<Vec<_>>();
        lines.sort();
        lines
    }

    /// The last number of the one saved line that begins with `word`: an epoch.
    pub(crate) fn saved_epoch(&self, word: &str) -> u64 {
        let lines = self.saved(&[word]);
        let [line] = &lines[..] else { panic!("one {word} line, not {lines:?}") };
        line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("an epoch is a number")
    }

    /// For people: its log and the events it published.
    pub(crate) fn story(&self) -> String {
        let events = self.events.all().iter().map(Seen::line).collect::<Vec<_>>().join("\n    ");
        format!("{}  published:\n    {events}\n", self.process.log_tail(80))
    }

    fn wait_until_ready(&mut self) {
        wait_until(seconds(10), "the Sentinel answers", || self.call(&["PING"]).is_ok());
        self.events.attach(self.port);
    }
}
