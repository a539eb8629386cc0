//! The harness: real processes on 127.0.0.1, driven from tests and from the demo.
//!
//! Owns processes, ports and temporary folders, and gives them all back when it is dropped, also by a panic. Used by
//! `tests/e2e` and `tests/demo`; knows nothing of `sentineld` but its program and its conf file.

pub(crate) mod cluster;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod recorder;
pub(crate) mod resp;
pub(crate) mod sentinel;
pub(crate) mod server;
pub(crate) mod stock;
pub(crate) mod wait;

use std::path::PathBuf;

/// Which program a Sentinel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The installed redis-sentinel: the oracle that proves a case.
    Stock,
    /// `sentineld`.
    Ours,
    /// The Sentinel of another version, by its folder in `target/versions`.
    Other(&'static str),
}

impl Kind {
    /// What the tests are about: `sentineld`, or stock when `E2E_ALL_STOCK` is set, to prove the tests themselves.
    pub(crate) fn under_test() -> Kind {
        if std::env::var_os("E2E_ALL_STOCK").is_some() { Kind::Stock } else { Kind::Ours }
    }

    /// The program to start.
    pub(crate) fn program(self) -> PathBuf {
        match self {
            Kind::Stock => stock::program("redis-sentinel"),
            Kind::Ours => sentineld(),
            Kind::Other(version) => stock::other(version, "redis-sentinel"),
        }
    }

    /// For people.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::Stock => "redis-sentinel",
            Kind::Ours => "sentineld",
            Kind::Other(version) => version,
        }
    }
}

/// The program under test: `SENTINELD_BIN`, else what cargo built for this test, else what lies beside this program.
fn sentineld() -> PathBuf {
    if let Some(given) = std::env::var_os("SENTINELD_BIN") {
        return given.into();
    }
    if let Some(built) = option_env!("CARGO_BIN_EXE_sentineld") {
        return built.into();
    }
    let here = std::env::current_exe().expect("a running program has a path");
    let target = here.ancestors().nth(3).expect("examples lie in target/<profile>/examples").to_owned();
    let found = ["release", "debug"].map(|profile| target.join(profile).join("sentineld"));
    found.into_iter().find(|path| path.exists()).expect("sentineld is not built: run `make` first")
}
