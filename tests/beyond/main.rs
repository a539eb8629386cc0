//! What stock does not do (`tests/spec/beyond.md`, B1-B4, B6-B8), with real servers and with stock beside it in the same run.
//! B5 is in `tests/faults`, which has the lines for it.
//!
//! Each case runs once, and the times are short. `BEYOND_RUNS=5`, which `make beyond` sets, runs every case that often,
//! with all times that are promised, and prints what it measured. `BEYOND_TABLE=file` has each result appended to a file: the
//! case, whose it is, and what came of it, with tabs between them; `make e2e-beyond` makes a table of that.
//! `BEYOND_SERVERS=valkey-9.1` takes other servers than the installed ones, by their folder in `target/versions`.

mod clock;
mod demoted;
mod first_copy;
mod masterless;
mod planned;
mod reborn;
mod returned;
mod stall;
mod strangers;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other end-to-end tests use some more of it")]
mod support;
mod table;
mod writers;

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use support::Kind;
use support::cluster::{Cluster, Plan};

/// Of ours and of stock.
const DOWN_AFTER: Duration = Duration::from_secs(1);

/// A cluster in a folder of its own. These tests wait for most of their time, so that many may run at once.
struct World {
    cluster: Cluster,
    // Last: the folder goes when its users are gone.
    folder: TempDir,
}

impl World {
    /// Three Sentinels of one kind, a master and two replicas.
    fn start(kind: Kind) -> World {
        World::of(&plan(kind))
    }

    fn of(plan: &Plan) -> World {
        let folder = tempfile::Builder::new().prefix("sentineld-beyond-").tempdir().expect("a temporary folder");
        World { cluster: Cluster::start_in(plan, folder.path()), folder }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn signal_sentinels(&self, signal: Signal) {
        for sentinel in &self.cluster.sentinels {
            sentinel.process.signal(signal);
        }
    }
}

fn plan(kind: Kind) -> Plan {
    let server_version = std::env::var("BEYOND_SERVERS").ok().map(|version| &*version.leak());
    Plan { down_after: DOWN_AFTER.as_millis() as u64, server_version, ..Plan::three(kind) }
}

/// Lets time pass: what is tested is that it passed.
fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// How often everything is to be run, if this is the long form.
fn runs() -> Option<u32> {
    std::env::var("BEYOND_RUNS").ok().map(|runs| runs.parse().expect("BEYOND_RUNS is a number"))
}
