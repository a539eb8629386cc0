//! `unixsocket`: one more way to the same Sentinel. Every case is proved against stock as well.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::process::Process;
use crate::support::wait::{seconds, wait_until};
use crate::support::{Kind, ports};

/// A Sentinel with a socket in its folder.
struct Bench {
    process: Process,
    folder: TempDir,
}

impl Bench {
    fn start(kind: Kind, lines: &str) -> Bench {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let conf = format!("dir {}\nunixsocket x.sock\n{lines}\n", folder.path().display());
        fs::write(folder.path().join("sentinel.conf"), conf).expect("the test folder is writable");
        // What another process has left there.
        fs::write(folder.path().join("x.sock"), "stale").expect("the test folder is writable");
        let process = Process::start("sentinel", &kind.program(), &["sentinel.conf"], folder.path());
        let bench = Bench { process, folder };
        wait_until(seconds(10), "it listens", || UnixStream::connect(bench.socket()).is_ok());
        bench
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("x.sock")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.process.log()).expect("the log is there")
    }
}

/// Sends a line, and reads the line or the bulk string that comes back; nothing at the end of the connection.
fn ask(stream: &mut BufReader<UnixStream>, request: &str) -> Option<String> {
    // The other side may be gone by now; then there is no answer either.
    let _ = stream.get_mut().write_all(format!("{request}\r\n").as_bytes());
    let mut line = String::new();
    if stream.read_line(&mut line).unwrap_or(0) == 0 {
        return None;
    }
    let Some(length) = line.strip_prefix('$') else { return Some(line.trim_end().to_owned()) };
    let mut text = vec![0; length.trim_end().parse::<usize>().expect("a length") + 2];
    stream.read_exact(&mut text).expect("the rest");
    Some(String::from_utf8(text).expect("text"))
}

fn connect(path: &Path) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(path).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
    BufReader::new(stream)
}

/// config.md 170, 172, 186
#[test]
fn a_unix_socket_is_a_way_in_and_goes_with_the_process() {
    for kind in [Kind::Stock, Kind::Ours] {
        let port = ports::free();
        let lines = format!("port {port}\nbind 127.0.0.1\nunixsocketperm 700\nprotected-mode yes");
        let mut bench = Bench::start(kind, &lines);
        let mode = fs::metadata(bench.socket()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{kind:?}");
        let mut client = connect(&bench.socket());
        let info = ask(&mut client, "CLIENT INFO").expect("an answer");
        assert!(info.contains(" addr=x.sock:0 laddr=x.sock:0 "), "{kind:?}: {info}");
        assert!(info.contains(" flags=U "), "{kind:?}: {info}");
        let mut subscriber = connect(&bench.socket());
        assert_eq!(ask(&mut subscriber, "SUBSCRIBE x").as_deref(), Some("*3"), "{kind:?}");
        let list = ask(&mut client, "CLIENT LIST TYPE pubsub").expect("an answer");
        assert!(list.contains(" addr=x.sock:0 ") && list.contains(" flags=PU "), "{kind:?}: {list}");
        assert_eq!(ask(&mut client, "CLIENT KILL ADDR x.sock:0").as_deref(), Some(":1"), "{kind:?}");
        let mut rest = Vec::new();
        subscriber.read_to_end(&mut rest).expect("it is closed");
        bench.process.signal(Signal::SIGTERM);
        assert_eq!(bench.process.wait(seconds(10)).code(), Some(0), "{kind:?}");
        assert!(!bench.socket().exists(), "{kind:?}");
        assert!(bench.log().contains("* Removing the unix socket file."), "{kind:?}: {}", bench.log());
    }
}

/// config.md 171
#[test]
fn a_unix_socket_alone_is_enough() {
    for kind in [Kind::Stock, Kind::Ours] {
        let bench = Bench::start(kind, "port 0");
        let mut client = connect(&bench.socket());
        assert_eq!(ask(&mut client, "PING").as_deref(), Some("+PONG"), "{kind:?}");
        assert!(ask(&mut client, "INFO server").expect("an answer").contains("\r\ntcp_port:0\r\n"), "{kind:?}");
        assert_eq!(ask(&mut client, "SENTINEL FLUSHCONFIG").as_deref(), Some("+OK"), "{kind:?}");
        let conf = fs::read_to_string(bench.folder.path().join("sentinel.conf")).expect("there");
        assert!(conf.contains("unixsocket \"x.sock\"\n"), "{kind:?}: {conf}");
        assert!(bench.log().contains("* Running mode=sentinel, port=0."), "{kind:?}: {}", bench.log());
    }
}
