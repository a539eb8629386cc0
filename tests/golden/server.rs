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
    /// `priority`, `offset`, `link`, `link-down`, `announced`, `replid`, `left`, `keys`: what INFO says beyond that.
    pub(crate) says: BTreeMap<String, String>,
    /// Answers to a command word that are not the usual ones.
    pub(crate) answers: BTreeMap<String, String>,
    /// Commands of an open transaction; `None` in it stands for one that was refused.
    queue: Option<Vec<Option<Command>>>,
    /// CLIENT PAUSE: writes wait.
    paused: bool,
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
            queue: None,
            paused: false,
        }
    }

    /// Carries a command out and answers it.
    pub(crate) fn serve(&mut self, command: &Command) -> Reply {
        let words = command.words(&BTreeMap::new());
        let words: Vec<String> = words.iter().map(|word| String::from_utf8_lossy(word).to_lowercase()).collect();
        let both = words.get(1).map(|second| format!("{}|{second}", words[0]));
        let answer = self.answers.get(&words[0]).or_else(|| self.answers.get(&both?));
        let refusal = match command {
            Command::Refused => Some("-ERR wrong number of arguments for 'client' command".to_owned()),
            _ => answer.cloned(),
        };
        if let Some(queue) = self.queue.as_mut().filter(|_| *command != Command::Exec) {
            let is_refused = refusal.as_ref().is_some_and(|refusal| refusal.starts_with('-'));
            queue.push((!is_refused).then(|| command.clone()));
            return reply(&refusal.unwrap_or_else(|| "+QUEUED".to_owned()));
        }
        if let Some(refusal) = refusal {
            self.queue = None;
            return reply(&refusal);
        }
        match command {
            Command::Multi => {
                self.queue = Some(Vec::new());
                reply("+OK")
            }
            Command::Exec => {
                match self.queue.take().unwrap_or_default().into_iter().collect::<Option<Vec<Command>>>() {
                    Some(commands) => Reply::Array(commands.iter().map(|command| self.apply(command)).collect()),
                    None => reply("-EXECABORT Transaction discarded because of previous errors."),
                }
            }
            command => self.apply(command),
        }
    }

    fn apply(&mut self, command: &Command) -> Reply {
        assert!(!(self.paused && matches!(command, Command::PublishHello(_))), "it would wait, and all behind it");
        match command {
            Command::ClientPause(_) => {
                self.paused = true;
                reply("+OK")
            }
            Command::ClientUnpause => {
                self.paused = false;
                reply("+OK")
            }
            Command::Ping => reply("+PONG"),
            Command::PublishHello(_) => reply(":1"),
            Command::Info | Command::InfoSections => Reply::Bulk(self.info().into_bytes().into()),
            Command::ReplicaofNoOne if self.obeys => {
                "master".clone_into(&mut self.role);
                reply("+OK")
            }
            Command::Replicaof { host, port } if self.obeys => {
                "slave".clone_into(&mut self.role);
                self.follows = (host.clone(), *port);
                reply("+OK")
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
            ("replid", "master_replid"),
            ("replid2", "master_replid2"),
            ("keys", "db0"),
        ];
        if let (Some(replid), Some(offset)) = (self.says.get("replid"), self.says.get("offset")) {
            lines.push(format!("master_replid:{replid:0>40}\r\nmaster_repl_offset:{offset}"));
        }
        if let Some((replid, offset)) = self.says.get("left").and_then(|left| left.split_once(':')) {
            lines.push(format!("master_replid2:{replid:0>40}\r\nsecond_repl_offset:{offset}"));
        }
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
