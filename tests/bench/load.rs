//! Clients: redis-benchmark, as a child.

use std::process::{Child, Command, Stdio};

use crate::support::process::KilledAtEnd;
use crate::support::stock;

/// One way to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// What is asked.
    pub(crate) words: &'static [&'static str],
    /// Connections, which ask all the time.
    pub(crate) clients: u32,
    /// Requests that are sent before a reply is waited for.
    pub(crate) pipeline: u32,
}

/// `SENTINEL GET-MASTER-ADDR-BY-NAME`, what most clients ask.
pub(crate) const ADDRESS: &[&str] = &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"];

/// So many redis-benchmarks share the clients, of which there may be fewer. One alone takes longer for a request than a
/// Sentinel does, and would measure itself.
const SHARES: u32 = 2;

/// What is asked, for people: the command without its master.
pub(crate) fn label(words: &[&str]) -> String {
    words[..words.len().min(2)].join(" ")
}

impl Load {
    fn command(&self, port: u16) -> Command {
        let mut command = Command::new(stock::program("redis-benchmark"));
        let numbers = [("-p", u32::from(port)), ("-c", self.clients), ("-P", self.pipeline)];
        for (option, number) in numbers {
            command.arg(option).arg(number.to_string());
        }
        // It would like to read CONFIG, which no Sentinel has, and says so.
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Asks so many times; returns how many were answered in a second.
    pub(crate) fn run(&self, port: u16, requests: u64) -> f64 {
        let shares = self.clients.min(SHARES);
        let share = Load { clients: self.clients / shares, ..*self };
        let running: Vec<Child> = (0..shares).map(|_| share.begin(port, requests / u64::from(shares))).collect();
        running.into_iter().map(rate).sum()
    }

    fn begin(&self, port: u16, requests: u64) -> Child {
        let mut command = self.command(port);
        command.arg("--csv").arg("-n").arg(requests.to_string()).args(self.words).stdout(Stdio::piped());
        command.spawn().expect("redis-benchmark starts")
    }

    /// Asks until what is returned is dropped.
    pub(crate) fn start(&self, port: u16) -> KilledAtEnd {
        let mut command = self.command(port);
        command.args(["-l", "-q"]).args(self.words).stdout(Stdio::null());
        KilledAtEnd(command.spawn().expect("redis-benchmark starts"))
    }
}

/// Answers a second, of a redis-benchmark with a table of one row.
fn rate(benchmark: Child) -> f64 {
    let output = benchmark.wait_with_output().expect("a child that is waited for once");
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().last().and_then(|line| line.split("\",\"").nth(1)?.trim_matches('"').parse().ok());
    rate.unwrap_or_else(|| panic!("redis-benchmark ended with {} and {text:?}", output.status))
}
