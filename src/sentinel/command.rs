//! What the core sends to servers and peers. One value is one command on the wire and has exactly one reply.

use std::collections::BTreeMap;

use super::id::{Epoch, RunId, Secret};

/// Command words that a master's servers were told to call something else (`sentinel rename-command`). Keys are
/// upper-case; only the first word of a command is looked up. Applies to masters and replicas, never to peers: stock
/// renames on peer links too and breaks them (failover.md 2.3).
pub type RenameMap = BTreeMap<String, String>;

/// A command to a server or a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// `AUTH [user] password`
    Auth {
        /// Two-argument form when present.
        user: Option<String>,
        /// Sent as it is.
        password: Secret,
    },
    /// `CLIENT SETNAME name`
    ClientSetname(String),
    /// `PING`
    Ping,
    /// `INFO`
    Info,
    /// `INFO server replication keyspace`: all that is looked at. Several sections are taken from 7.0 on.
    InfoSections,
    /// `SUBSCRIBE __sentinel__:hello`
    SubscribeHello,
    /// `PUBLISH __sentinel__:hello payload`
    PublishHello(String),
    /// `MULTI`
    Multi,
    /// `SLAVEOF NO ONE`
    ReplicaofNoOne,
    /// `SLAVEOF host port`
    Replicaof {
        /// Ip, or name under `announce-hostnames`.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `CONFIG REWRITE`
    ConfigRewrite,
    /// `CLIENT KILL TYPE normal|pubsub`
    ClientKill(ClientType),
    /// `CLIENT PAUSE ms WRITE`: writes wait for so long.
    ClientPause(u64),
    /// `CLIENT UNPAUSE`
    ClientUnpause,
    /// `FAILOVER TO host port TIMEOUT ms`: the server hands over by itself.
    Failover {
        /// As the server lists its replica.
        host: String,
        /// TCP port.
        port: u16,
        /// ms
        timeout: u64,
    },
    /// `FAILOVER ABORT`
    FailoverAbort,
    /// `CLIENT` alone, which every server refuses: a transaction with it in it is never carried out.
    Refused,
    /// `EXEC`
    Exec,
    /// `SCRIPT KILL`
    ScriptKill,
    /// `SENTINEL is-master-down-by-addr host port epoch id`
    IsMasterDown {
        /// Configured address of the master, not the promoted one.
        host: String,
        /// Its port.
        port: u16,
        /// The failover epoch when a vote is asked for, else the current epoch.
        epoch: Epoch,
        /// My id to ask for a vote; `None` is sent as `*` and asks for an opinion only.
        candidate: Option<RunId>,
    },
}

/// Class of connections that `CLIENT KILL TYPE` closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientType {
    /// Everything that is not a replica or a subscriber.
    Normal,
    /// Subscribers.
    PubSub,
}

/// The channel of hello messages.
pub const HELLO_CHANNEL: &str = "__sentinel__:hello";

impl Command {
    /// The words as sent, with the first one renamed where `renames` says so.
    pub fn words(&self, renames: &RenameMap) -> Vec<Vec<u8>> {
        let text = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let mut words = match self {
            Command::Auth { user, password } => {
                let mut words = text(&["AUTH"]);
                words.extend(user.iter().map(|user| user.clone().into_bytes()));
                words.push(password.0.to_vec());
                words
            }
            Command::ClientSetname(name) => text(&["CLIENT", "SETNAME", name]),
            Command::Ping => text(&["PING"]),
            Command::Info => text(&["INFO"]),
            Command::InfoSections => text(&["INFO", "server", "replication", "keyspace"]),
            Command::SubscribeHello => text(&["SUBSCRIBE", HELLO_CHANNEL]),
            Command::PublishHello(payload) => text(&["PUBLISH", HELLO_CHANNEL, payload]),
            Command::Multi => text(&["MULTI"]),
            Command::ReplicaofNoOne => text(&["SLAVEOF", "NO", "ONE"]),
            Command::Replicaof { host, port } => text(&["SLAVEOF", host, &port.to_string()]),
            Command::ConfigRewrite => text(&["CONFIG", "REWRITE"]),
            Command::ClientKill(ClientType::Normal) => text(&["CLIENT", "KILL", "TYPE", "normal"]),
            Command::ClientKill(ClientType::PubSub) => text(&["CLIENT", "KILL", "TYPE", "pubsub"]),
            Command::ClientPause(ms) => text(&["CLIENT", "PAUSE", &ms.to_string(), "WRITE"]),
            Command::ClientUnpause => text(&["CLIENT", "UNPAUSE"]),
            Command::Failover { host, port, timeout } => {
                text(&["FAILOVER", "TO", host, &port.to_string(), "TIMEOUT", &timeout.to_string()])
            }
            Command::FailoverAbort => text(&["FAILOVER", "ABORT"]),
            Command::Refused => text(&["CLIENT"]),
            Command::Exec => text(&["EXEC"]),
            Command::ScriptKill => text(&["SCRIPT", "KILL"]),
            Command::IsMasterDown { host, port, epoch, candidate } => text(&[
                "SENTINEL",
                "is-master-down-by-addr",
                host,
                &port.to_string(),
                &epoch.to_string(),
                candidate.as_ref().map_or("*", RunId::as_str),
            ]),
        };
        let other_name = std::str::from_utf8(&words[0]).ok().and_then(|word| renames.get(word));
        if let Some(other_name) = other_name {
            words[0] = other_name.clone().into_bytes();
        }
        words
    }
}
