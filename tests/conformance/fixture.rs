//! What stands around the Sentinel under test, and the Sentinel itself.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tempfile::TempDir;

use super::script::Signal;
use super::text::{Names, Text};
use crate::support::process::{Process, write_program};
use crate::support::resp::{Value, ask};
use crate::support::server::Server;
use crate::support::wait::{seconds, wait_until};
use crate::support::{Kind, ports};

/// What there is to monitor. Names that a script may use: `<self>` is the Sentinel's port, `<myid>` its id and
/// `<myid8>` how that begins, `<dir>` its folder, `<dead>` a port at which nobody listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fixture {
    /// Nothing.
    #[default]
    None,
    /// One master `dm` at `<dead>`, which is not to be called down for an hour.
    Dead,
    /// A real master `mymaster` at `<port>`, with a replica at `<replica>`; quorum 1, `down-after` a minute. `M` and
    /// `R` are the two servers.
    Live,
    /// The same, with two more Sentinels of the same program, `P` and `Q`, at `<p>` and `<q>`, with ids `<pid>` and
    /// `<qid>`; quorum 2, `down-after` two seconds.
    Group,
}

/// A fixture with more conf lines: cases with equal scenes share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scene {
    pub(crate) fixture: Fixture,
    pub(crate) conf: String,
}

/// The program that plays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// Which of the two it is expected to be like.
    pub(crate) kind: KindOf,
}

/// [`Kind`], in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KindOf {
    Stock,
    Ours,
}

impl KindOf {
    pub(crate) fn is(self, kind: Kind) -> bool {
        (self == KindOf::Stock) == (kind == Kind::Stock)
    }
}

/// A scene with everything in it running. What still runs is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) names: Names,
    sentinel: Sentinel,
    peers: Vec<Sentinel>,
    servers: Vec<Server>,
    // Last: the folder goes when its users are gone.
    home: TempDir,
}

#[derive(Debug)]
struct Sentinel {
    port: u16,
    process: Process,
    folder: PathBuf,
}

const MASTER: &str = "mymaster";

impl Stage {
    /// Starts everything, and waits until the Sentinel knows and reaches whatever it can know.
    pub(crate) fn start(scene: &Scene, program: &Program) -> Stage {
        let home = tempfile::Builder::new().prefix("conformance-").tempdir().expect("a temporary folder");
        let mut names = Names::new();
        let mut servers = Vec::new();
        if matches!(scene.fixture, Fixture::Live | Fixture::Group) {
            let master = Server::start(home.path(), None, None);
            let replica = Server::start(home.path(), None, Some(master.port));
            wait_until(seconds(20), "the replica has synchronised", || replica.follows(master.port));
            names.insert("port".to_owned(), master.port.to_string());
            names.insert("replica".to_owned(), replica.port.to_string());
            servers = vec![master, replica];
        }
        names.insert("dead".to_owned(), ports::free().to_string());
        let monitor = |quorum, down_after| {
            format!(
                "sentinel monitor {MASTER} 127.0.0.1 <port> {quorum}\n\
                 sentinel down-after-milliseconds {MASTER} {down_after}\n"
            )
        };
        let watched = match scene.fixture {
            Fixture::None => String::new(),
            Fixture::Dead => "sentinel monitor dm 127.0.0.1 <dead> 1\n\
                              sentinel down-after-milliseconds dm 3600000\n"
                .to_owned(),
            Fixture::Live => monitor(1, 60_000),
            Fixture::Group => monitor(2, 2_000),
        };
        let others = if scene.fixture == Fixture::Group { 2 } else { 0 };
        let peers = (0..others).map(|_| Sentinel::start(home.path(), program, &watched, &mut names.clone())).collect();
        let sentinel = Sentinel::start(home.path(), program, &format!("{watched}{}", scene.conf), &mut names);
        let mut stage = Stage { names, sentinel, peers, servers, home };
        stage.name_peers();
        stage.wait_until_acquainted();
        stage
    }

    fn name_peers(&mut self) {
        for (peer, name) in self.peers.iter().zip(["p", "q"]) {
            self.names.insert(name.to_owned(), peer.port.to_string());
            self.names.insert(format!("{name}id"), peer.id().expect("a peer needs no password"));
        }
    }

    fn wait_until_acquainted(&self) {
        if self.servers.is_empty() {
            return;
        }
        let ask = |port: u16, word: &str| ask(port, &["SENTINEL", word, MASTER]);
        wait_until(seconds(30), "everybody is acquainted", || {
            std::iter::once(&self.sentinel).chain(&self.peers).all(|sentinel| {
                let (Ok(master), Ok(replicas), Ok(peers)) =
                    (ask(sentinel.port, "MASTER"), ask(sentinel.port, "REPLICAS"), ask(sentinel.port, "SENTINELS"))
                else {
                    return false;
                };
                // One with a password cannot be asked: its case waits for itself.
                let locked = |reply: &Value| matches!(reply, Value::Error(text) if text.starts_with("NOAUTH"));
                locked(&master)
                    || master.field("flags") == Some("master")
                        && matches!(replicas.items(), [replica] if replica.field("flags") == Some("slave")
                            && replica.field("master-link-status") == Some("ok"))
                        && peers.items().iter().filter(|peer| peer.field("flags") == Some("sentinel")).count()
                            == self.peers.len()
            })
        });
    }

    /// The port behind a connection's name.
    pub(crate) fn port(&self, connection: &str) -> u16 {
        match connection {
            "M" => self.servers[0].port,
            "R" => self.servers[1].port,
            "P" => self.peers[0].port,
            "Q" => self.peers[1].port,
            _ => self.sentinel.port,
        }
    }

    /// Does something to a process.
    pub(crate) fn signal(&mut self, signal: Signal, whom: &str) -> Result<(), String> {
        let (process, port) = match whom {
            "M" | "R" => {
                let server = &mut self.servers[usize::from(whom == "R")];
                (&mut server.process, server.port)
            }
            "P" | "Q" => {
                let peer = &mut self.peers[usize::from(whom == "Q")];
                (&mut peer.process, peer.port)
            }
            "self" => (&mut self.sentinel.process, self.sentinel.port),
            _ => return Err(format!("nobody is called {whom}")),
        };
        match signal {
            Signal::Stop => process.signal(nix::sys::signal::Signal::SIGSTOP),
            Signal::Continue => process.signal(nix::sys::signal::Signal::SIGCONT),
            Signal::Kill => process.kill(),
            Signal::Start => {
                process.start_again();
                wait_until(seconds(10), "it answers", || ask(port, &["PING"]).is_ok());
            }
        }
        Ok(())
    }

    /// Waits for the Sentinel's own end.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.sentinel.process.wait(seconds(10)).code()
    }

    /// The conf file as it is now; empty if it is missing.
    pub(crate) fn conf(&self) -> String {
        fs::read_to_string(self.conf_path()).unwrap_or_default()
    }

    pub(crate) fn conf_path(&self) -> PathBuf {
        self.sentinel.folder.join("sentinel.conf")
    }

    /// The Sentinel's log so far.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.sentinel.process.log()).expect("the log is there");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Moves the Sentinel's folder out of its way, so that nothing can be saved, or back.
    pub(crate) fn show_folder(&self, shown: bool) {
        let (here, away) = (&self.sentinel.folder, self.home.path().join("away"));
        let (from, to) = if shown { (&away, here) } else { (here, &away) };
        fs::rename(from, to).expect("the folder can be moved");
    }

    /// Writes an executable file.
    pub(crate) fn write_program(&self, name: &str, text: &[u8]) {
        write_program(&self.sentinel.folder.join(name), text);
    }

    /// Whether the Sentinel is there for another case.
    pub(crate) fn is_alive(&self) -> bool {
        ask(self.sentinel.port, &["PING"]).is_ok()
    }
}

impl Sentinel {
    fn start(home: &Path, program: &Program, conf: &str, names: &mut Names) -> Sentinel {
        let port = ports::free();
        let folder = home.join(format!("sentinel-{port}"));
        fs::create_dir(&folder).expect("the test folder is writable");
        names.insert("self".to_owned(), port.to_string());
        names.insert("dir".to_owned(), folder.display().to_string());
        let conf = Text::parse(conf).and_then(|conf| conf.bytes(names)).expect("conf lines with known names");
        let head = format!("port {port}\nbind 127.0.0.1\ndir {}\n", folder.display());
        fs::write(folder.join("sentinel.conf"), [head.as_bytes(), &conf].concat()).expect("the folder is writable");
        // Its log lies beside its folder, which may be moved away.
        let conf = format!("sentinel-{port}/sentinel.conf");
        let process = Process::start(&format!("sentinel-{port}"), &program.path, &[&conf], home);
        let sentinel = Sentinel { port, process, folder };
        wait_until(seconds(10), "the Sentinel answers", || ask(port, &["PING"]).is_ok());
        if let Some(id) = sentinel.id() {
            names.insert("myid8".to_owned(), id[..8].to_owned());
            names.insert("myid".to_owned(), id);
        }
        sentinel
    }

    /// `None` if it wants a password.
    fn id(&self) -> Option<String> {
        let reply = ask(self.port, &["SENTINEL", "MYID"]).expect("a started Sentinel answers");
        reply.text().map(str::to_owned)
    }
}
