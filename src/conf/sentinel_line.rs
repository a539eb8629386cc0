//! The `sentinel ...` directives: one variant each, read and printed side by side (config.md 3).

use std::iter;

use super::lexer;
use super::number::{atoi, strtoull};
use super::plain::{parse_yes_no, yes_no};
use crate::sentinel::id::{Epoch, MasterName, RunId, Secret};

/// One `sentinel` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentinelLine {
    /// `myid <40 characters>`
    MyId(RunId),
    /// `current-epoch <n>`
    CurrentEpoch(Epoch),
    /// `announce-ip <host>`; empty is unset.
    AnnounceIp(Option<String>),
    /// `announce-port <n>`; 0 is unset.
    AnnouncePort(u16),
    /// `deny-scripts-reconfig yes|no`
    DenyScriptsReconfig(bool),
    /// `resolve-hostnames yes|no`
    ResolveHostnames(bool),
    /// `announce-hostnames yes|no`
    AnnounceHostnames(bool),
    /// `sentinel-user <name>`; empty is unset.
    SentinelUser(Option<String>),
    /// `sentinel-pass <password>`; empty is unset.
    SentinelPass(Option<Secret>),
    /// A line about one master.
    Master(MasterName, MasterLine),
    /// `known-sentinel` as 2.8 wrote it, without a run id: means nothing, not even that the master exists.
    Ignored,
}

/// What a line says about its master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterLine {
    /// `monitor <name> <host> <port> <quorum>`
    Monitor {
        /// Address or host name.
        host: String,
        /// Not checked yet.
        port: i32,
        /// At least 1.
        quorum: u32,
    },
    /// `down-after-milliseconds <name> <ms>`, at least 1.
    DownAfter(u64),
    /// `failover-timeout <name> <ms>`, at least 1.
    FailoverTimeout(u64),
    /// `parallel-syncs <name> <n>`
    ParallelSyncs(u32),
    /// `notification-script <name> <path>`
    NotificationScript(String),
    /// `client-reconfig-script <name> <path>`
    ClientReconfigScript(String),
    /// `auth-pass <name> <password>`; an empty one is sent, too.
    AuthPass(Secret),
    /// `auth-user <name> <user>`
    AuthUser(String),
    /// `master-reboot-down-after-period <name> <ms>`, in Valkey also `primary-...`; 0 is off.
    RebootDownAfter(u64),
    /// `rename-command <name> <command> <new>`
    RenameCommand {
        /// Upper-case.
        from: String,
        /// As given.
        to: String,
    },
    /// `config-epoch <name> <n>`
    ConfigEpoch(Epoch),
    /// `leader-epoch <name> <n>`
    LeaderEpoch(Epoch),
    /// `known-replica <name> <host> <port>`, read also as `known-slave`.
    KnownReplica {
        /// Address or host name.
        host: String,
        /// Not checked yet.
        port: i32,
    },
    /// `known-sentinel <name> <host> <port> <run id>`
    KnownSentinel {
        /// Address or host name.
        host: String,
        /// Not checked yet.
        port: i32,
        /// Its length is not checked.
        id: RunId,
    },
}

/// A wrong sub-name or a wrong number of values.
pub const UNRECOGNIZED: &str = "Unrecognized sentinel configuration statement.";
const UNKNOWN_MASTER: &str = "No such master with specified name.";

/// In which of the three passes over the `sentinel` lines a sub-name is read (config.md 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Settings of the process.
    Node,
    /// `monitor`
    Monitor,
    /// Everything else.
    Rest,
}

/// The pass that the line with these words after `sentinel` belongs to.
pub fn stage(words: &[Vec<u8>]) -> Stage {
    match words[0].to_ascii_lowercase().as_slice() {
        b"announce-ip"
        | b"announce-port"
        | b"deny-scripts-reconfig"
        | b"sentinel-user"
        | b"sentinel-pass"
        | b"current-epoch"
        | b"myid"
        | b"resolve-hostnames"
        | b"announce-hostnames" => Stage::Node,
        b"monitor" => Stage::Monitor,
        _ => Stage::Rest,
    }
}

impl SentinelLine {
    /// Reads the words after `sentinel`, at least one. `is_known` tells which masters exist; the error is stock's text.
    pub fn parse(words: &[Vec<u8>], is_known: &dyn Fn(&str) -> bool) -> Result<SentinelLine, String> {
        let sub_name = words[0].to_ascii_lowercase();
        let line = match (sub_name.as_slice(), &words[1..]) {
            (b"myid", [id]) if id.len() == 40 => SentinelLine::MyId(RunId::from(text(id)?)),
            (b"myid", [_]) => return Err("Malformed Sentinel id in myid option.".to_owned()),
            (b"current-epoch", [epoch]) => SentinelLine::CurrentEpoch(Epoch(strtoull(epoch))),
            (b"announce-ip", [host]) => SentinelLine::AnnounceIp(unless_empty(text(host)?)),
            // Deviates: what is no port stays unset, instead of making hellos that no Sentinel accepts.
            (b"announce-port", [port]) => SentinelLine::AnnouncePort(u16::try_from(atoi(port)).unwrap_or(0)),
            (b"deny-scripts-reconfig", [value]) => SentinelLine::DenyScriptsReconfig(
                parse_yes_no(value).ok_or("Please specify yes or no for the deny-scripts-reconfig options.")?,
            ),
            (b"resolve-hostnames", [value]) => SentinelLine::ResolveHostnames(
                parse_yes_no(value).ok_or("Please specify yes or no for the resolve-hostnames option.")?,
            ),
            (b"announce-hostnames", [value]) => SentinelLine::AnnounceHostnames(
                parse_yes_no(value).ok_or("Please specify yes or no for the announce-hostnames option.")?,
            ),
            (b"sentinel-user", [user]) => SentinelLine::SentinelUser(unless_empty(text(user)?)),
            (b"sentinel-pass", [password]) => {
                SentinelLine::SentinelPass((!password.is_empty()).then(|| Secret::from(password.as_slice())))
            }
            (b"known-sentinel", [_, _, _]) => SentinelLine::Ignored,
            (sub_name, [name, values @ ..]) => {
                let name = text(name)?;
                let line = MasterLine::parse(sub_name, values, &|| is_known(name))?;
                SentinelLine::Master(MasterName::from(name), line)
            }
            _ => return Err(UNRECOGNIZED.to_owned()),
        };
        Ok(line)
    }

    /// The whole line; `None` for what is not written.
    pub fn print(&self) -> Option<Vec<u8>> {
        let number = |name: &str, value: u64| Some(format!("sentinel {name} {value}").into_bytes());
        let word = |name: &str, value: &[u8]| Some(lexer::join([b"sentinel", name.as_bytes(), value]));
        match self {
            SentinelLine::MyId(id) => word("myid", id.as_str().as_bytes()),
            SentinelLine::CurrentEpoch(epoch) => number("current-epoch", epoch.0),
            // Always in quotes, as stock writes it.
            SentinelLine::AnnounceIp(Some(host)) => {
                Some([b"sentinel announce-ip ".as_slice(), &lexer::quoted(host.as_bytes())].concat())
            }
            SentinelLine::AnnouncePort(port @ 1..) => number("announce-port", u64::from(*port)),
            SentinelLine::DenyScriptsReconfig(yes) => word("deny-scripts-reconfig", yes_no(*yes).as_bytes()),
            SentinelLine::ResolveHostnames(yes) => word("resolve-hostnames", yes_no(*yes).as_bytes()),
            SentinelLine::AnnounceHostnames(yes) => word("announce-hostnames", yes_no(*yes).as_bytes()),
            SentinelLine::SentinelUser(Some(user)) => word("sentinel-user", user.as_bytes()),
            SentinelLine::SentinelPass(Some(password)) => word("sentinel-pass", &password.0),
            SentinelLine::Master(name, line) => Some(line.print(name)),
            SentinelLine::AnnounceIp(None)
            | SentinelLine::AnnouncePort(0)
            | SentinelLine::SentinelUser(None)
            | SentinelLine::SentinelPass(None)
            | SentinelLine::Ignored => None,
        }
    }
}

impl MasterLine {
    fn parse(sub_name: &[u8], values: &[Vec<u8>], is_known: &dyn Fn() -> bool) -> Result<MasterLine, String> {
        if let (b"monitor", [host, port, quorum]) = (sub_name, values) {
            let quorum = match atoi(quorum) {
                quorum @ 1.. => quorum as u32,
                _ => return Err("Quorum must be 1 or greater.".to_owned()),
            };
            return Ok(MasterLine::Monitor { host: text(host)?.to_owned(), port: atoi(port), quorum });
        }
        // The master has to exist before its value is looked at.
        let exists = || if is_known() { Ok(()) } else { Err(UNKNOWN_MASTER.to_owned()) };
        let known = |line: MasterLine| exists().map(|()| line);
        let period = |value: &[u8]| match atoi(value) {
            ms @ 1.. => Ok(ms as u64),
            _ => Err("negative or zero time parameter.".to_owned()),
        };
        match (sub_name, values) {
            (b"down-after-milliseconds", [ms]) => exists().and_then(|()| period(ms)).map(MasterLine::DownAfter),
            (b"failover-timeout", [ms]) => exists().and_then(|()| period(ms)).map(MasterLine::FailoverTimeout),
            (b"parallel-syncs", [n]) => known(MasterLine::ParallelSyncs(atoi(n).max(0) as u32)),
            (b"notification-script", [path]) => known(MasterLine::NotificationScript(text(path)?.to_owned())),
            (b"client-reconfig-script", [path]) => known(MasterLine::ClientReconfigScript(text(path)?.to_owned())),
            (b"auth-pass", [password]) => known(MasterLine::AuthPass(Secret::from(password.as_slice()))),
            (b"auth-user", [user]) => known(MasterLine::AuthUser(text(user)?.to_owned())),
            (b"master-reboot-down-after-period" | b"primary-reboot-down-after-period", [ms]) => {
                exists()?;
                match atoi(ms) {
                    ms @ 0.. => Ok(MasterLine::RebootDownAfter(ms as u64)),
                    _ => Err("negative time parameter.".to_owned()),
                }
            }
            (b"rename-command", [from, to]) => {
                known(MasterLine::RenameCommand { from: text(from)?.to_ascii_uppercase(), to: text(to)?.to_owned() })
            }
            (b"config-epoch", [epoch]) => known(MasterLine::ConfigEpoch(Epoch(strtoull(epoch)))),
            (b"leader-epoch", [epoch]) => known(MasterLine::LeaderEpoch(Epoch(strtoull(epoch)))),
            (b"known-replica" | b"known-slave", [host, port]) => {
                known(MasterLine::KnownReplica { host: text(host)?.to_owned(), port: atoi(port) })
            }
            (b"known-sentinel", [host, port, id]) => known(MasterLine::KnownSentinel {
                host: text(host)?.to_owned(),
                port: atoi(port),
                id: RunId::from(text(id)?),
            }),
            _ => Err(UNRECOGNIZED.to_owned()),
        }
    }

    /// The whole line.
    pub fn print(&self, master: &MasterName) -> Vec<u8> {
        print_words(&self.words(master))
    }

    /// The words behind `sentinel`.
    pub fn words(&self, master: &MasterName) -> Vec<Vec<u8>> {
        // Stock reads periods as 32-bit numbers that wrap.
        let ms = |ms: &u64| (*ms).min(i32::MAX as u64).to_string().into_bytes();
        let shown = |value: &dyn std::fmt::Display| value.to_string().into_bytes();
        let (sub_name, values): (&str, Vec<Vec<u8>>) = match self {
            MasterLine::Monitor { host, port, quorum } => {
                ("monitor", vec![host.clone().into_bytes(), shown(port), shown(quorum)])
            }
            MasterLine::DownAfter(period) => ("down-after-milliseconds", vec![ms(period)]),
            MasterLine::FailoverTimeout(period) => ("failover-timeout", vec![ms(period)]),
            MasterLine::ParallelSyncs(n) => ("parallel-syncs", vec![ms(&u64::from(*n))]),
            MasterLine::NotificationScript(path) => ("notification-script", vec![path.clone().into_bytes()]),
            MasterLine::ClientReconfigScript(path) => ("client-reconfig-script", vec![path.clone().into_bytes()]),
            MasterLine::AuthPass(password) => ("auth-pass", vec![password.0.to_vec()]),
            MasterLine::AuthUser(user) => ("auth-user", vec![user.clone().into_bytes()]),
            MasterLine::RebootDownAfter(period) => ("master-reboot-down-after-period", vec![ms(period)]),
            MasterLine::RenameCommand { from, to } => {
                ("rename-command", vec![from.clone().into_bytes(), to.clone().into_bytes()])
            }
            MasterLine::ConfigEpoch(epoch) => ("config-epoch", vec![shown(epoch)]),
            MasterLine::LeaderEpoch(epoch) => ("leader-epoch", vec![shown(epoch)]),
            MasterLine::KnownReplica { host, port } => ("known-replica", vec![host.clone().into_bytes(), shown(port)]),
            MasterLine::KnownSentinel { host, port, id } => {
                ("known-sentinel", vec![host.clone().into_bytes(), shown(port), id.as_str().into()])
            }
        };
        [sub_name.into(), master.as_str().into()].into_iter().chain(values).collect()
    }
}

/// A `sentinel` line of these words.
pub fn print_words(words: &[Vec<u8>]) -> Vec<u8> {
    lexer::join(iter::once(b"sentinel".as_slice()).chain(words.iter().map(Vec::as_slice)))
}

fn text(word: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(word).map_err(|_| "argument is not valid UTF-8".to_owned())
}

fn unless_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::slot::Slot;

    fn parse(line: &str) -> Result<SentinelLine, String> {
        let words = lexer::split(line.as_bytes()).expect("balanced");
        SentinelLine::parse(&words, &|name| name == "m")
    }

    /// config.md 35, 76, 77, 84, 85, 87, 90, 91, 99, 100
    #[test]
    fn bad_lines_have_stocks_words() {
        for (line, error) in [
            ("monitor m 127.0.0.1 1 0", "Quorum must be 1 or greater."),
            ("monitor m 127.0.0.1 1 x", "Quorum must be 1 or greater."),
            ("monitor m 127.0.0.1 1", UNRECOGNIZED),
            ("monitor m 127.0.0.1 1 2 3", UNRECOGNIZED),
            ("down-after-milliseconds m 5000 # c", UNRECOGNIZED),
            ("can-failover m yes", UNRECOGNIZED),
            ("myid", UNRECOGNIZED),
            ("down-after-milliseconds m 0", "negative or zero time parameter."),
            ("down-after-milliseconds m x", "negative or zero time parameter."),
            ("failover-timeout m -5", "negative or zero time parameter."),
            ("master-reboot-down-after-period m -1", "negative time parameter."),
            ("down-after-milliseconds other 0", UNKNOWN_MASTER),
            ("known-replica M 1.2.3.4 1", UNKNOWN_MASTER),
            ("myid abc", "Malformed Sentinel id in myid option."),
            ("deny-scripts-reconfig maybe", "Please specify yes or no for the deny-scripts-reconfig options."),
            ("resolve-hostnames 1", "Please specify yes or no for the resolve-hostnames option."),
            ("announce-hostnames 1", "Please specify yes or no for the announce-hostnames option."),
        ] {
            assert_eq!(parse(line), Err(error.to_owned()), "{line}");
        }
    }

    /// config.md 86, 90, 95, 101, 102
    #[test]
    fn lenient_lines_are_accepted() {
        let master = |line| Ok(SentinelLine::Master(MasterName::from("m"), line));
        assert_eq!(parse("PARALLEL-syncs m 0"), master(MasterLine::ParallelSyncs(0)));
        assert_eq!(parse("down-after-milliseconds m 5000ms"), master(MasterLine::DownAfter(5000)));
        assert_eq!(parse("primary-reboot-down-after-period m 5"), master(MasterLine::RebootDownAfter(5)));
        assert_eq!(parse("known-sentinel nobody 1.2.3.4 5"), Ok(SentinelLine::Ignored));
        assert_eq!(parse("announce-ip \"\""), Ok(SentinelLine::AnnounceIp(None)));
        assert_eq!(parse("announce-port 70000"), Ok(SentinelLine::AnnouncePort(0)));
        assert_eq!(parse("sentinel-pass ''"), Ok(SentinelLine::SentinelPass(None)));
    }

    /// config.md 83, 121, 124, 5.5
    #[test]
    fn printed_lines_read_back_the_same() {
        for (line, printed) in [
            ("monitor m ::1 6379 2", "sentinel monitor m ::1 6379 2"),
            ("auth-pass m 'a b'", "sentinel auth-pass m \"a b\""),
            ("auth-pass m ''", "sentinel auth-pass m \"\""),
            ("announce-ip 1.2.3.4", "sentinel announce-ip \"1.2.3.4\""),
            ("RENAME-COMMAND m config guessme", "sentinel rename-command m CONFIG guessme"),
            ("known-slave m 1.2.3.4 5", "sentinel known-replica m 1.2.3.4 5"),
        ] {
            let first = parse(line).expect("good line");
            let text = String::from_utf8(first.print().expect("written")).expect("text");
            assert_eq!(text, printed);
            assert_eq!(parse(text.strip_prefix("sentinel ").expect("prefix")), Ok(first.clone()));
            if let SentinelLine::Master(master, line) = first {
                let slot = Slot::of_sentinel(&line.words(&master));
                assert_eq!(slot, Some(Slot::of_printed(text.as_bytes())), "{text}");
            }
        }
    }
}
