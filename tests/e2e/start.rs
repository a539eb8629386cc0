//! What is not done yet is said at start: refused where the daemon would run more open than its file says, else kept
//! in the file and named in the log.

use std::process::{Command, Stdio};

use crate::support::process::KilledAtEnd;
use crate::support::wait::{seconds, wait_for};
use crate::support::{Kind, ports};

/// Only `sentineld` can fail here: stock does all of it, so this has no run against stock.
#[test]
fn refuses_what_it_does_not_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let conf = folder.path().join("sentinel.conf");
    let refused = ["tls-port 1", "tls-replication yes"];
    for line in refused {
        std::fs::write(&conf, text(line)).expect("the test folder is writable");
        let mut command = Command::new(Kind::Ours.program());
        command.arg(&conf).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut daemon = KilledAtEnd(command.spawn().expect("sentineld starts"));
        let code = wait_for(seconds(5), &format!("it refuses {line:?}"), || daemon.0.try_wait().expect("a child"));
        assert_eq!(code.code(), Some(1), "{line}");
        let said = std::io::read_to_string(daemon.0.stderr.take().expect("a pipe")).expect("text");
        assert!(said.contains(&format!(">>> '{line}'")) && said.contains("This build"), "{line}: {said}");
    }
}

/// A conf file with `line` in it.
fn text(line: &str) -> String {
    let (port, master) = (ports::free(), ports::free());
    format!("port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {master} 2\n{line}\n")
}
