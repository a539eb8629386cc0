//! What a transcript shows of the core's outputs, one line each: seconds since the start, the kind, the rest. Routine
//! traffic is left out unless the script asks for it with `show`.

use std::collections::{BTreeMap, BTreeSet};

use sentineld::sentinel::event::Level;
use sentineld::sentinel::id::RunId;
use sentineld::sentinel::io::{Answer, Channel, Output};
use sentineld::sentinel::monitor::record::MasterRecord;
use sentineld::sentinel::monitor::view::MasterView;
use sentineld::sentinel::node::NodeNotice;

/// The id of the Sentinel whose story is told.
pub(crate) const ME: char = '1';

/// The run id of a Sentinel that scripts call by one letter, or `me`.
pub(crate) fn run_id(name: &str) -> RunId {
    let letter = if name == "me" { ME } else { name.chars().next().expect("a peer has a name") };
    RunId::from(String::from_iter([letter; 40]).as_str())
}

/// Full ids are unreadable: `<a>` for forty times `a`, `<me>` for our own.
fn shorten(mut text: String) -> String {
    for letter in ('a'..='f').chain([ME]) {
        let name = if letter == ME { "<me>".to_owned() } else { format!("<{letter}>") };
        text = text.replace(String::from_iter([letter; 40]).as_str(), &name);
    }
    text
}

/// Kinds of output that can be switched: `ping`, `info`, `hello`, `greeting`, `connect`, `wake`, `debug`, `notice`,
/// `ask`, `persist`.
pub(crate) struct Shown(BTreeSet<String>);

impl Default for Shown {
    fn default() -> Self {
        Shown(["ask", "persist"].map(str::to_owned).into())
    }
}

impl Shown {
    pub(crate) fn show(&mut self, kind: &str) {
        self.0.insert(kind.to_owned());
    }

    pub(crate) fn hide(&mut self, kind: &str) {
        self.0.remove(kind);
    }

    fn has(&self, kind: &str) -> bool {
        self.0.contains(kind)
    }
}

/// Collects the lines that follow one input.
#[derive(Default)]
pub(crate) struct Printer {
    pub(crate) shown: Shown,
    lines: Vec<String>,
    /// Commands to one server that leave in one write: when, where to, whether to show them, and which.
    pending: Option<(u64, String, bool, Vec<String>)>,
}

impl Printer {
    /// Takes everything printed so far.
    pub(crate) fn take(&mut self) -> Vec<String> {
        self.flush();
        std::mem::take(&mut self.lines)
    }

    pub(crate) fn line(&mut self, at: u64, kind: &str, text: &str) {
        self.flush();
        let line = format!("{:>3}.{:03}  {kind:<7} {text}", at / 1_000, at % 1_000);
        self.lines.push(shorten(line).trim_end().to_owned());
    }

    /// Something about the transcript itself, without a time.
    pub(crate) fn note(&mut self, text: &str) {
        self.flush();
        self.lines.push(shorten(format!("    {text}")));
    }

    fn flush(&mut self) {
        if let Some((at, port, true, words)) = self.pending.take() {
            self.line(at, "send", &format!("{port}  {}", words.join(" | ")));
        }
    }

    /// A command to a server, as its words.
    pub(crate) fn send(&mut self, at: u64, to: &str, words: String) {
        let word = words.split(' ').next().unwrap_or_default();
        let kind = match word {
            "PING" => Some("ping"),
            "INFO" => Some("info"),
            "PUBLISH" => Some("hello"),
            "CLIENT" if words.starts_with("CLIENT SETNAME") => Some("greeting"),
            "AUTH" | "SUBSCRIBE" => Some("greeting"),
            _ => None,
        };
        let wanted = kind.is_none_or(|kind| self.shown.has(kind));
        match &mut self.pending {
            Some((when, whom, shown, all)) if *when == at && whom == to => {
                *shown |= wanted;
                all.push(words);
            }
            _ => {
                self.flush();
                self.pending = Some((at, to.to_owned(), wanted, vec![words]));
            }
        }
    }

    /// Everything that is not a command to a server.
    pub(crate) fn output(&mut self, at: u64, master: &str, output: &Output) {
        match output {
            Output::Emit(event) if event.kind.level() > Level::Debug || self.shown.has("debug") => {
                let kind = if event.is_published() { "event" } else { "debug" };
                self.line(at, kind, &event.to_string());
            }
            Output::Log(_, text) => self.line(at, "log", text),
            Output::NextFailoverDelay { until } => {
                let from_start = until.0.saturating_sub(super::world::WALL_START);
                let text = format!("Next failover delay: until {}.{:03}", from_start / 1_000, from_start % 1_000);
                self.line(at, "log", &text);
            }
            Output::Script(job) => self.line(at, "script", &job.argv.join(" ")),
            Output::Answer { with, .. } => self.line(at, "answer", &answer(with)),
            Output::Persist { rev, record } if self.shown.has("persist") => {
                self.line(at, "persist", &format!("{} #{}  {}", master, rev.0, saved(record)));
            }
            Output::SendPeer { peer, command, .. } => {
                let words = String::from_utf8_lossy(&command.words(&BTreeMap::default()).join(&b' ')).into_owned();
                let kind = if words.starts_with("PUBLISH") { "hello" } else { "ask" };
                if self.shown.has(kind) {
                    self.line(at, "ask", &format!("{peer}  {words}"));
                }
            }
            Output::Connect { addr, channel, .. } if self.shown.has("connect") => {
                let channel = if *channel == Channel::Command { "commands" } else { "pub/sub" };
                self.line(at, "connect", &format!("{addr}  {channel}"));
            }
            Output::Notify(notice) if self.shown.has("notice") => self.line(at, "notice", &tell(notice)),
            Output::Resolve(host) => self.line(at, "resolve", host),
            Output::WakeAt(wake) if self.shown.has("wake") => {
                let from_start = wake.0 - super::world::START;
                self.line(at, "wake", &format!("at {}.{:03}", from_start / 1_000, from_start % 1_000));
            }
            Output::Exit => self.line(at, "exit", "99"),
            _ => {}
        }
    }

    /// We close a connection.
    pub(crate) fn close(&mut self, at: u64, port: u16, channel: Channel) {
        if self.shown.has("connect") {
            let channel = if channel == Channel::Command { "commands" } else { "pub/sub" };
            self.line(at, "close", &format!("127.0.0.1:{port}  {channel}"));
        }
    }

    /// What readers see.
    pub(crate) fn view(&mut self, at: u64, view: &MasterView) {
        let state = view.failover_state.map(|state| format!("  failover-state {state}")).unwrap_or_default();
        let instance = &view.instance;
        let text = format!(
            "{} {}:{}  flags {}{state}  clients are told {}:{}  config-epoch {}",
            instance.name,
            instance.host,
            instance.port,
            instance.flags,
            view.current_host,
            view.current_port,
            view.config_epoch
        );
        self.line(at, "view", &text);
        for replica in &view.replicas {
            let replica = &replica.instance;
            self.line(at, "view", &format!("  replica {}  flags {}", replica.name, replica.flags));
        }
        for peer in &view.sentinels {
            let age = at.saturating_sub(peer.last_hello.get().0 - super::world::START);
            let vote = peer.voted_leader.as_ref().map_or("*".to_owned(), RunId::to_string);
            let (flags, id) = (&peer.instance.flags, &peer.instance.name);
            let text =
                format!("  sentinel {id}  flags {flags}  vote {vote} {}  last hello {age} ms ago", peer.voted_epoch);
            self.line(at, "view", &text);
        }
    }
}

/// What is in the file, in a few words.
pub(crate) fn saved(record: &MasterRecord) -> String {
    let list = |addrs: Vec<String>| if addrs.is_empty() { "none".to_owned() } else { addrs.join(" ") };
    let replicas = list(record.replicas.iter().map(ToString::to_string).collect());
    let peers = list(record.sentinels.iter().map(|(id, addr)| format!("{id}={addr}")).collect());
    let (config, leader) = (record.config_epoch, record.leader_epoch);
    format!("{}  config-epoch {config} leader-epoch {leader}  replicas {replicas}  peers {peers}", record.addr)
}

fn answer(with: &Answer) -> String {
    match with {
        Answer::Ok => "+OK".to_owned(),
        Answer::Error(text) => format!("-{text}"),
        Answer::Vote { down, leader, epoch } => {
            format!("{} {} {epoch}", u8::from(*down), leader.as_ref().map_or("*", RunId::as_str))
        }
    }
}

fn tell(notice: &NodeNotice) -> String {
    match notice {
        NodeNotice::WatchPeer { peer, addr, down_after } => format!("watch {peer} at {addr}, down-after {down_after}"),
        NodeNotice::UnwatchPeer { peer } => format!("unwatch {peer}"),
        NodeNotice::PeerMoved { peer, addr } => format!("{peer} moved to {addr}"),
        NodeNotice::PeerReplaced { peer, addr } => format!("{peer} was replaced at {addr}"),
        NodeNotice::PeerMoveFollowed { peer, others } => format!("{others} others follow {peer}"),
        NodeNotice::SettingsChanged => "settings changed".to_owned(),
    }
}
