//! A server as the transcripts' Sentinel sees it: what it says to each command, in no time.

use std::collections::BTreeMap;

use sentineld::sentinel::command::Command;
use sentineld::sentinel::io::Reply;

/// Whether and how it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Answers at once.
    Runs,
    /// Accepts connections and commands; the answers come when it runs again.
    Hangs,
    /// Refuses connections.
    Dead,
}

/// One server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) state: State,
    /// `master` or `slave`, as INFO says it.
    pub(crate) role: String,
    /// Where it replicates from.
    pub(crate) follows: (String, u16),
    pub(crate) replicas: Vec<String>,
    pub(crate) run_id: String,
    /// Whether SLAVEOF has an effect.
    pub(crate) obeys: bool,
    /// `priority`, `offset`, `link`, `link-down`, `announced`: what INFO says beyond that.
    pub(crate) says: BTreeMap<String, String>,
    /// Answers to a command word that are not the usual ones.
    pub(crate) answers: BTreeMap<String, String>,
}

impl Server {
    pub(crate) fn new(port: u16) -> Server {
        let says = [("priority", "100"), ("offset", "10"), ("link", "up")];
        Server {
            state: State::Runs,
            role: "master".to_owned(),
            follows: ("127.0.0.1".to_owned(), 0),
            replicas: Vec::new(),
            run_id: format!("{port:0>40}"),
            obeys: true,
            says: says.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            answers: BTreeMap::new(),
        }
    }

    /// Carries a command out and answers it.
    pub(crate) fn serve(&mut self, command: &Command) -> Reply {
        let words = command.words(&BTreeMap::new());
        let word = String::from_utf8_lossy(&words[0]).to_lowercase();
        if let Some(answer) = self.answers.get(&word) {
            return reply(answer);
        }
        match command {
            Command::Ping => reply("+PONG"),
            Command::PublishHello(_) => reply(":1"),
            Command::Info | Command::InfoSections => Reply::Bulk(self.info().into_bytes().into()),
            Command::ReplicaofNoOne if self.obeys => {
                "master".clone_into(&mut self.role);
                reply("+QUEUED")
            }
            Command::Replicaof { host, port } if self.obeys => {
                "slave".clone_into(&mut self.role);
                self.follows = (host.clone(), *port);
                reply("+QUEUED")
            }
            _ => reply("+OK"),
        }
    }

    fn info(&self) -> String {
        let mut lines = vec![format!("run_id:{}", self.run_id), format!("role:{}", self.role)];
        let lists = self.replicas.iter().enumerate();
        lines.extend(lists.map(|(index, line)| format!("slave{index}:{line}")));
        if self.role == "slave" {
            lines.push(format!("master_host:{}\r\nmaster_port:{}", self.follows.0, self.follows.1));
        }
        let fields = [
            ("link", "master_link_status"),
            ("link-down", "master_link_down_since_seconds"),
            ("priority", "slave_priority"),
            ("offset", "slave_repl_offset"),
            ("announced", "replica_announced"),
        ];
        // A master writes none of these; what a script makes it say after all must be passed over.
        let said =
            fields.iter().filter(|(key, _)| self.role == "slave" || !["link", "priority", "offset"].contains(key));
        lines.extend(said.filter_map(|(key, field)| Some(format!("{field}:{}", self.says.get(*key)?))));
        lines.join("\r\n")
    }
}

/// A reply as on the wire: `+text`, `-text`, `:number`, anything else is a bulk string.
pub(crate) fn reply(text: &str) -> Reply {
    let rest = || text.as_bytes()[1..].into();
    match text.as_bytes().first() {
        Some(b'+') => Reply::Status(rest()),
        Some(b'-') => Reply::Error(rest()),
        Some(b':') => Reply::Integer(text[1..].parse().expect("a number follows the colon")),
        _ => Reply::Bulk(text.as_bytes().into()),
    }
}
