//! One failover to watch: `make demo`, or `make demo ARGS=--stock` for the same with redis-sentinel.
//!
//! Starts one master, two replicas, three Sentinels and a client that writes, all on free ports of 127.0.0.1; kills
//! the master, shows what happens when, and ends. Whatever ends it, nothing is left running.

mod probe;
mod run;
mod screen;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod support;

use std::process::ExitCode;

use support::Kind;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const USAGE: &str = "usage: demo [--stock]\n\n  --stock  with redis-sentinel instead of sentineld";

/// What a shell expects of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = std::env::args().skip(1).collect::<Vec<_>>();
    let kind = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Kind::Ours,
        ["--stock"] => Kind::Stock,
        ["-h" | "--help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let folder = match tempfile::Builder::new().prefix("sentineld-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("no temporary folder: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (done, ended) = oneshot::channel();
    let home = folder.path().to_owned();
    std::thread::spawn(move || {
        run::run(kind, &home);
        // Nobody waits any more when Ctrl-C was faster.
        let _ = done.send(());
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a small runtime");
    let code = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).expect("signals can be listened to");
        tokio::select! {
            // The thread only goes without a word when it panicked, and then it has said why.
            end = ended => if end.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE },
            _ = tokio::signal::ctrl_c() => ExitCode::from(INTERRUPTED),
            _ = terminate.recv() => ExitCode::from(INTERRUPTED),
        }
    });
    // From here on the other thread finds everything dead, which is no news.
    std::panic::set_hook(Box::new(|_| {}));
    support::process::kill_all();
    if code == ExitCode::from(INTERRUPTED) {
        println!("\ninterrupted; everything is stopped");
    }
    code
}
