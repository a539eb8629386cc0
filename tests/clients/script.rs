//! Clients that are scripts: which, and how they are started.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use crate::Client;
use crate::support::process::KilledAtEnd;
use crate::support::stock;

/// Starts every script whose interpreter is there. Only node's may be missing.
pub(crate) fn all(ports: &[u16]) -> Vec<Client> {
    let python = installed("python/bin/python");
    let python = |protocol: &str| {
        let mut command = Command::new(&python);
        command.arg(script("redis_py.py")).arg(protocol);
        start(format!("redis-py {protocol}"), command, ports)
    };
    let cli = |protocol: &str| {
        let mut command = Command::new("sh");
        command.arg(script("redis_cli.sh")).arg(stock::program("redis-cli")).arg(protocol);
        start(format!("redis-cli {protocol}"), command, ports)
    };
    let mut clients = vec![python("2"), python("3"), cli("-2"), cli("-3")];
    if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("node is not installed: ioredis and node-redis are left out");
        return clients;
    }
    let modules = installed("node_modules");
    let node = |name: &str, file: &str, args: &[&str]| {
        let mut command = Command::new("node");
        command.env("NODE_PATH", &modules).arg(script(file)).args(args);
        start(name.to_owned(), command, ports)
    };
    clients.push(node("ioredis", "ioredis.js", &[]));
    clients.push(node("node-redis 2", "node_redis.js", &["2"]));
    clients.push(node("node-redis 3", "node_redis.js", &["3"]));
    clients
}

/// Starts one with the ports as its last arguments. What it has to complain of goes where the test's output goes.
fn start(name: String, mut command: Command, ports: &[u16]) -> Client {
    command.args(ports.iter().map(u16::to_string)).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let (say, lines) = mpsc::channel();
    // Ends with the script's output. Nobody listens any more when the test is over, and that is no error.
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
    Client { name, lines, _child: Some(KilledAtEnd(child)) }
}

fn script(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(file)
}

/// What tests/clients.sh has installed: in `CLIENTS_DIR`, else in `target/clients`. A client that cannot run proves
/// nothing, so a missing one ends the run.
pub(crate) fn installed(name: &str) -> PathBuf {
    let linked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients");
    let path = std::env::var_os("CLIENTS_DIR").map_or(linked, PathBuf::from).join(name);
    assert!(path.exists(), "{} was not found: run tests/clients.sh once", path.display());
    path
}
