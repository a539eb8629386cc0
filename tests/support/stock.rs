//! Finds the programs of the installed Redis. Never installs anything: `tests/stock.sh` does.

use std::path::{Path, PathBuf};

/// A program of another version, which `tests/versions.sh` has put into `target/versions`.
pub(crate) fn other(version: &str, name: &str) -> PathBuf {
    let given = std::env::var_os("VERSIONS_DIR").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/versions"));
    let path = folder.join(version).join(name);
    assert!(path.exists(), "{} was not found: run tests/versions.sh once", path.display());
    path
}

/// The path of `redis-server`, `redis-sentinel`, `redis-cli` or `redis-benchmark`: in `STOCK_BIN_DIR`, else in `target/stock`, else in
/// `PATH`. A test without its oracle proves nothing, so a missing program ends the run.
pub(crate) fn program(name: &str) -> PathBuf {
    let given = std::env::var_os("STOCK_BIN_DIR").map(PathBuf::from);
    let linked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/stock");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = given.into_iter().chain([linked]).chain(std::env::split_paths(&path));
    let mut candidates = folders.map(|folder| folder.join(name));
    candidates.find(|candidate| candidate.exists()).unwrap_or_else(|| {
        panic!("{name} was not found: run tests/stock.sh once, or install the package redis-tools or redis-server")
    })
}
