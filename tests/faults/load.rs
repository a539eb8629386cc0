//! Whether a conf file loads, in `sentineld` and in stock, and says the same afterwards.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::audit::{epoch, told};
use crate::host::MASTER;
use crate::net::Net;
use crate::support::process::Process;
use crate::support::wait::{seconds, wait_for};
use crate::support::{Kind, ports};

/// Starts both programs on copies of `text`, where they can reach nobody. An error says which one did what.
pub(crate) fn loads(net: &Net, text: &str) -> Result<(), String> {
    loads_in(net, text, Kind::Ours)?;
    loads_in(net, text, Kind::Stock)
}

fn loads_in(net: &Net, text: &str, kind: Kind) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = folder.path();
    let conf = home.join("sentinel.conf");
    std::fs::write(&conf, text).expect("the test folder is writable");
    // The host that the file names is another one, and may be in use.
    let (path, folder, port) = (conf.display().to_string(), home.display().to_string(), ports::free().to_string());
    let words = [&path, "--port", &port, "--bind", "127.0.0.1", "--bind-source-addr", "127.0.0.1", "--dir", &folder];
    let (program, args) = net.command_nowhere(&kind.program(), &words);
    let args = args.iter().map(String::as_str).collect::<Vec<_>>();
    let mut process = Process::start("load", &program, &args, home);
    let log = || std::fs::read_to_string(process.log()).expect("the log is there from the start");
    let ready = format!("+monitor master {MASTER} ");
    let up = wait_for(seconds(10), "a Sentinel loads its file or ends", || {
        let lines = told(&log());
        let up = lines.iter().any(|line| line.starts_with(&ready));
        (up || is_fatal(&log())).then_some(up)
    });
    let story = log();
    if up {
        process.signal(Signal::SIGTERM);
    }
    process.wait(seconds(10));
    if !up {
        return Err(format!("{} refuses:\n{text}\n{story}", kind.label()));
    }
    same_epochs(kind, text, &conf)
}

/// What it wrote back has the epochs that it read.
fn same_epochs(kind: Kind, before: &str, conf: &Path) -> Result<(), String> {
    let after = std::fs::read_to_string(conf).expect("the file is still there");
    for name in ["current-epoch", "leader-epoch", "config-epoch"] {
        if epoch(before, name) != epoch(&after, name) {
            return Err(format!("{}: {name} changes by loading:\n{before}\n{after}", kind.label()));
        }
    }
    Ok(())
}

fn is_fatal(log: &str) -> bool {
    ["FATAL CONFIG FILE ERROR", "Failed listening", "exiting"].iter().any(|end| log.contains(end))
}

#[test]
fn finds_a_file_that_does_not_load() {
    let net = Net::new(0);
    let good = "sentinel monitor mymaster 10.77.0.1 6379 2\nsentinel current-epoch 3\n";
    assert_eq!(loads(&net, good), Ok(()));
    for kind in [Kind::Ours, Kind::Stock] {
        let found = loads_in(&net, &format!("{good}sentinel known-replica mymaster 10.77"), kind);
        assert!(found.is_err_and(|error| error.starts_with(kind.label())), "{kind:?} refuses half a line");
        // Stock and ours raise the current epoch to the config epoch.
        let found = loads_in(&net, &format!("{good}sentinel config-epoch mymaster 7\n"), kind);
        assert!(found.is_err_and(|error| error.contains("current-epoch changes")), "{kind:?} corrects the file");
    }
}
