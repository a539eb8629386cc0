//! Client libraries through a failover (commands.md, section 10): each finds the master through the Sentinels, writes,
//! loses the master, finds the new one and writes again, while a subscription of its own tells it of the switch.
//!
//! All of them run at the same time against one group, so that the whole costs one failover. A client is a script of
//! this folder, in the language of its library, or a thread; either says what it has come to, a line at a time:
//!
//! | line | means |
//! |---|---|
//! | `unknown` | it asked for a master that nobody knows, and was told so |
//! | `ready` | it has set its key to `before`, and is subscribed to `+switch-master` at the first Sentinel |
//! | `switch <channel> <message>` | what arrived there |
//! | `done` | it has set its key to `after` |
//!
//! Its key is its name. `tests/clients.sh` installs the libraries.

mod exporter;
mod rust;
mod script;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod support;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use support::Kind;
use support::cluster::{Cluster, Plan};
use support::process::KilledAtEnd;
use support::resp::Value;
use support::server::Server;
use support::wait::seconds;

/// For an interpreter to start, or for a failover, on a busy machine.
const LIMIT: Duration = seconds(40);

/// A client that runs.
struct Client {
    /// Its key, too.
    name: String,
    lines: Receiver<String>,
    /// None if it is a thread of this process, which ends at the latest when the cluster is gone.
    _child: Option<KilledAtEnd>,
}

impl Client {
    /// What it says up to the line `last`. An error says what came instead.
    fn told(&self, last: &str) -> Result<Vec<String>, String> {
        let (start, mut told) = (Instant::now(), Vec::new());
        while told.last().is_none_or(|line| line != last) {
            match self.lines.recv_timeout(LIMIT.saturating_sub(start.elapsed())) {
                Ok(line) => told.push(line),
                Err(RecvTimeoutError::Timeout) => return Err(format!("{} only said {told:?}", self.name)),
                Err(RecvTimeoutError::Disconnected) => return Err(format!("{} ended after {told:?}", self.name)),
            }
        }
        Ok(told)
    }

    /// An error if it said anything but `expected` up to the last of that.
    fn says(&self, expected: &[&str]) -> Result<(), String> {
        let told = self.told(expected.last().expect("something is expected"))?;
        if told == expected { Ok(()) } else { Err(format!("{} said {told:?}", self.name)) }
    }

    /// An error if its key has another value on that server.
    fn has_set(&self, server: &Server, expected: &str) -> Result<(), String> {
        let value = server.call(&["GET", &self.name]).map_err(|error| error.to_string())?;
        let wrong = format!("{} is {value:?} on {}", self.name, server.port);
        if value == Value::Bulk(expected.to_owned()) { Ok(()) } else { Err(wrong) }
    }
}

/// commands.md 216, 220 to 222: and redis-cli, for scripts.
#[test]
fn clients_follow_a_failover() {
    follow(Kind::under_test());
}

#[test]
fn clients_follow_a_failover_of_stock() {
    follow(Kind::Stock);
}

fn follow(kind: Kind) {
    let mut cluster = Cluster::start(&Plan::three(kind));
    let ports = cluster.sentinels.iter().map(|sentinel| sentinel.port).collect::<Vec<_>>();
    let mut clients = script::all(&ports);
    clients.push(rust::start(&ports));

    expect_all(&clients, |client| client.says(&["unknown", "ready"]));
    let old = cluster.first_master();
    expect_all(&clients, |client| client.has_set(cluster.groups[0].at(old), "before"));

    cluster.group().at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("mymaster", old, LIMIT);
    let switch = format!("switch +switch-master mymaster 127.0.0.1 {old} 127.0.0.1 {new}");
    expect_all(&clients, |client| client.says(&[&switch, "done"]));
    expect_all(&clients, |client| client.has_set(cluster.groups[0].at(new), "after"));
}

/// Names every client that fails, not only the first one.
#[track_caller]
fn expect_all(clients: &[Client], check: impl Fn(&Client) -> Result<(), String>) {
    let failures = clients.iter().filter_map(|client| check(client).err()).collect::<Vec<_>>();
    assert!(failures.is_empty(), "{failures:#?}");
}
