//! Every command: its name, how many words it takes, what COMMAND says of it, and who answers it.

use bytes::Bytes;

use super::read::Snapshots;
use super::session::Session;
use super::write::Errand;
use super::{client, command, help, read, session, set, write};
use crate::resp::reply::Value;

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// Nobody: it only has subcommands.
    Container,
    /// The connection itself.
    Local(fn(&mut Session, &[Bytes]) -> Value),
    /// The newest snapshots.
    Read(fn(&mut Snapshots, &[Bytes]) -> Value),
    /// A monitor or the supervisor, or nobody if the request is refused beforehand.
    Ask(fn(&mut Snapshots, &[Bytes]) -> Errand),
}

/// One command or subcommand.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Lower-case; `container|word` for a subcommand.
    pub(crate) name: &'static str,
    /// The container, for a subcommand.
    pub(crate) container: Option<&'static str>,
    /// The last word of the name.
    pub(crate) word: &'static str,
    /// Number of words, those of the name included; negative: at least so many.
    pub(crate) arity: i64,
    /// As in COMMAND INFO.
    pub(crate) flags: &'static [&'static str],
    /// ACL categories, without `@`.
    pub(crate) categories: &'static [&'static str],
    /// As in COMMAND INFO.
    pub(crate) tips: &'static [&'static str],
    /// For COMMAND DOCS.
    pub(crate) summary: &'static str,
    /// Version of Redis that had it first.
    pub(crate) since: &'static str,
    /// Who answers.
    pub(crate) route: Route,
}

impl Entry {
    /// Whether it is allowed before authentication.
    pub(crate) fn is_for_strangers(&self) -> bool {
        self.flags.contains(&"no_auth")
    }

    /// Whether COMMAND tells of it. QUIT is accepted, as older Sentinels did, and not listed, as 7.0 has none.
    pub(crate) fn is_listed(&self) -> bool {
        self.name != "quit"
    }

    /// Whether so many words are right.
    pub(crate) fn takes(&self, words: usize) -> bool {
        let words = words as i64;
        if self.arity < 0 { words >= -self.arity } else { words == self.arity }
    }
}

const CONNECTION: &[&str] = &["slow", "connection"];
const FAST_CONNECTION: &[&str] = &["fast", "connection"];
const ADMIN_CONNECTION: &[&str] = &["admin", "slow", "dangerous", "connection"];
const ADMIN: &[&str] = &["admin", "slow", "dangerous"];
const PUBSUB: &[&str] = &["pubsub", "slow"];

const ANYTIME: &[&str] = &["loading", "stale"];
const NO_SCRIPT: &[&str] = &["noscript", "loading", "stale"];
const ADMIN_NO_SCRIPT: &[&str] = &["admin", "noscript", "loading", "stale"];
const SUBSCRIBING: &[&str] = &["pubsub", "noscript", "loading", "stale"];
const LOGIN: &[&str] = &["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"];
const CHANGING: &[&str] = &["nondeterministic_output"];
const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];

macro_rules! entry {
    ($name:literal, $arity:literal, $flags:expr, $categories:expr, $tips:expr, $since:literal, $route:expr, $summary:literal) => {
        Entry {
            name: $name,
            container: None,
            word: $name,
            arity: $arity,
            flags: $flags,
            categories: $categories,
            tips: $tips,
            summary: $summary,
            since: $since,
            route: $route,
        }
    };
    ($container:literal | $word:literal, $arity:literal, $flags:expr, $categories:expr, $tips:expr, $since:literal, $route:expr, $summary:literal) => {
        Entry {
            name: concat!($container, "|", $word),
            container: Some($container),
            word: $word,
            arity: $arity,
            flags: $flags,
            categories: $categories,
            tips: $tips,
            summary: $summary,
            since: $since,
            route: $route,
        }
    };
}

/// A subcommand of SENTINEL.
macro_rules! sentinel {
    ($word:literal, $arity:literal, $since:literal, $route:expr, $summary:literal) => {
        entry!("sentinel" | $word, $arity, &["admin"], ADMIN, &[], $since, $route, $summary)
    };
}

use Route::{Ask, Container, Local, Read};

/// All of them: first the commands, then the subcommands, what is asked most often first.
pub(crate) static TABLE: &[Entry] = &[
    entry!("sentinel", -2, &["admin"], ADMIN, &[], "2.8.4", Container, "Container of the commands about masters."),
    entry!(
        "ping",
        -1,
        &["fast"],
        FAST_CONNECTION,
        &["request_policy:all_shards", "response_policy:all_succeeded"],
        "1.0.0",
        Local(client::ping),
        "Answers PONG, or the argument."
    ),
    entry!(
        "publish",
        3,
        &["pubsub", "loading", "stale", "fast"],
        &["pubsub", "fast"],
        &[],
        "2.0.0",
        Ask(write::publish),
        "Takes a hello message of another Sentinel."
    ),
    entry!("client", -2, &[], &["slow"], &[], "2.4.0", Container, "Container of the commands about connections."),
    entry!(
        "info",
        -1,
        ANYTIME,
        &["slow", "dangerous"],
        &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        "1.0.0",
        Read(super::info::info),
        "Tells about the process and its masters."
    ),
    entry!(
        "hello",
        -1,
        LOGIN,
        FAST_CONNECTION,
        &[],
        "6.0.0",
        Local(client::hello),
        "Chooses the protocol, authenticates and names the connection."
    ),
    entry!("auth", -2, LOGIN, FAST_CONNECTION, &[], "1.0.0", Local(client::auth), "Authenticates the connection."),
    entry!(
        "subscribe",
        -2,
        SUBSCRIBING,
        PUBSUB,
        &[],
        "2.0.0",
        Local(session::subscribe),
        "Listens to channels of events."
    ),
    entry!(
        "psubscribe",
        -2,
        SUBSCRIBING,
        PUBSUB,
        &[],
        "2.0.0",
        Local(session::psubscribe),
        "Listens to channels that match patterns."
    ),
    entry!(
        "unsubscribe",
        -1,
        SUBSCRIBING,
        PUBSUB,
        &[],
        "2.0.0",
        Local(session::unsubscribe),
        "Stops listening to channels."
    ),
    entry!(
        "punsubscribe",
        -1,
        SUBSCRIBING,
        PUBSUB,
        &[],
        "2.0.0",
        Local(session::punsubscribe),
        "Stops listening to patterns."
    ),
    entry!(
        "role",
        1,
        &["noscript", "loading", "stale", "fast"],
        &["admin", "fast", "dangerous"],
        &[],
        "2.8.12",
        Read(read::role),
        "Tells the role of this process and the names of its masters."
    ),
    entry!("command", -1, ANYTIME, CONNECTION, ANY_ORDER, "2.8.13", Local(command::all), "Tells about all commands."),
    entry!(
        "shutdown",
        -1,
        &["admin", "noscript", "loading", "stale", "no_multi", "allow_busy"],
        ADMIN,
        &[],
        "1.0.0",
        Ask(write::shutdown),
        "Ends the process."
    ),
    entry!("quit", -1, LOGIN, FAST_CONNECTION, &[], "1.0.0", Local(client::quit), "Closes the connection."),
    sentinel!("get-master-addr-by-name", 3, "2.8.4", Read(read::master_addr), "Tells the address of a master."),
    sentinel!(
        "is-master-down-by-addr",
        6,
        "2.8.4",
        Ask(write::is_master_down),
        "Tells whether a master looks down from here, and votes for a leader."
    ),
    sentinel!("masters", 2, "2.8.4", Read(read::masters), "Tells the state of all masters."),
    sentinel!("master", 3, "2.8.4", Read(read::master), "Tells the state of a master."),
    sentinel!("replicas", 3, "5.0.0", Read(read::replicas), "Tells the state of a master's replicas."),
    sentinel!("slaves", 3, "2.8.0", Read(read::replicas), "Tells the state of a master's replicas."),
    sentinel!("sentinels", 3, "2.8.4", Read(read::sentinels), "Tells the state of the other Sentinels of a master."),
    sentinel!(
        "ckquorum",
        3,
        "2.8.4",
        Read(read::ckquorum),
        "Tells whether a failover could be agreed on and authorised."
    ),
    sentinel!("myid", 2, "6.2.0", Read(read::myid), "Tells the id of this Sentinel."),
    sentinel!("info-cache", -3, "3.2.0", Read(read::info_cache), "Tells the last INFO of masters and their replicas."),
    sentinel!("pending-scripts", 2, "2.8.4", Read(read::pending_scripts), "Tells which scripts run or wait."),
    sentinel!("config", -3, "6.2.0", Ask(set::config), "Reads or changes settings of this Sentinel."),
    sentinel!("set", -5, "2.8.4", Ask(set::set), "Changes settings of a master."),
    sentinel!("monitor", 6, "2.8.4", Ask(write::monitor), "Begins to monitor a master."),
    sentinel!("remove", 3, "2.8.4", Ask(write::remove), "Ceases to monitor a master."),
    sentinel!("reset", 3, "2.8.4", Ask(write::reset), "Forgets what was learnt about masters that match a pattern."),
    sentinel!("failover", 3, "2.8.4", Ask(write::failover), "Starts a failover without the agreement of others."),
    sentinel!("flushconfig", 2, "2.8.4", Ask(write::flush_config), "Writes the configuration file."),
    sentinel!(
        "simulate-failure",
        -3,
        "3.2.0",
        Ask(set::simulate_failure),
        "Makes this process crash during a failover."
    ),
    sentinel!("debug", -2, "7.0.0", Ask(set::debug), "Reads or changes the periods of the protocol."),
    entry!("sentinel" | "help", 2, ANYTIME, &["slow"], &[], "6.2.0", Local(help::sentinel), "Tells the subcommands."),
    sentinel!("get-primary-addr-by-name", 3, "7.0.0", Read(read::master_addr), "Tells the address of a master."),
    sentinel!(
        "is-primary-down-by-addr",
        6,
        "7.0.0",
        Ask(write::is_master_down),
        "Tells whether a master looks down from here, and votes for a leader."
    ),
    sentinel!("primaries", 2, "7.0.0", Read(read::masters), "Tells the state of all masters."),
    sentinel!("primary", 3, "7.0.0", Read(read::master), "Tells the state of a master."),
    entry!(
        "client" | "setname",
        3,
        NO_SCRIPT,
        CONNECTION,
        &[],
        "2.6.9",
        Local(client::setname),
        "Names the connection."
    ),
    entry!(
        "client" | "getname",
        2,
        NO_SCRIPT,
        CONNECTION,
        &[],
        "2.6.9",
        Local(client::getname),
        "Tells the connection's name."
    ),
    entry!(
        "client" | "setinfo",
        4,
        NO_SCRIPT,
        CONNECTION,
        &[],
        "7.2.0",
        Local(client::setinfo),
        "Notes the client's library."
    ),
    entry!("client" | "id", 2, NO_SCRIPT, CONNECTION, &[], "5.0.0", Local(client::id), "Tells the connection's id."),
    entry!(
        "client" | "info",
        2,
        NO_SCRIPT,
        CONNECTION,
        CHANGING,
        "6.2.0",
        Local(client::info),
        "Tells about this connection."
    ),
    entry!(
        "client" | "list",
        -2,
        ADMIN_NO_SCRIPT,
        ADMIN_CONNECTION,
        CHANGING,
        "2.4.0",
        Local(client::list),
        "Tells about all connections."
    ),
    entry!(
        "client" | "kill",
        -3,
        ADMIN_NO_SCRIPT,
        ADMIN_CONNECTION,
        &[],
        "2.4.0",
        Local(client::kill),
        "Closes connections."
    ),
    entry!(
        "client" | "reply",
        3,
        NO_SCRIPT,
        CONNECTION,
        &[],
        "3.2.0",
        Local(client::reply),
        "Turns replies off and on."
    ),
    entry!(
        "client" | "no-evict",
        3,
        ADMIN_NO_SCRIPT,
        ADMIN_CONNECTION,
        &[],
        "7.0.0",
        Local(client::no_evict),
        "Accepted; no connection is ever closed to save memory."
    ),
    entry!(
        "client" | "getredir",
        2,
        NO_SCRIPT,
        CONNECTION,
        &[],
        "6.0.0",
        Local(client::getredir),
        "Tells that nothing is redirected."
    ),
    entry!(
        "client" | "unblock",
        -3,
        ADMIN_NO_SCRIPT,
        ADMIN_CONNECTION,
        &[],
        "5.0.0",
        Local(client::unblock),
        "Tells that no connection is blocked."
    ),
    entry!("client" | "help", 2, ANYTIME, CONNECTION, &[], "5.0.0", Local(help::client), "Tells the subcommands."),
    entry!(
        "command" | "count",
        2,
        ANYTIME,
        CONNECTION,
        &[],
        "2.8.13",
        Local(command::count),
        "Tells how many commands there are."
    ),
    entry!(
        "command" | "docs",
        -2,
        ANYTIME,
        CONNECTION,
        ANY_ORDER,
        "7.0.0",
        Local(command::docs),
        "Tells what commands do."
    ),
    entry!(
        "command" | "info",
        -2,
        ANYTIME,
        CONNECTION,
        ANY_ORDER,
        "2.8.13",
        Local(command::info),
        "Tells about commands."
    ),
    entry!(
        "command" | "list",
        -2,
        ANYTIME,
        CONNECTION,
        ANY_ORDER,
        "7.0.0",
        Local(command::list),
        "Tells the names of all commands."
    ),
    entry!("command" | "help", 2, ANYTIME, CONNECTION, &[], "5.0.0", Local(help::command), "Tells the subcommands."),
];

/// A command that was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Its entry.
    pub(crate) entry: &'static Entry,
    /// Its place in [`TABLE`].
    pub(crate) place: u16,
}

/// Finds the command that the words name, and checks their number. The error is the reply.
pub(crate) fn find(words: &[Bytes]) -> Result<Found, Value> {
    let found = resolve(words).ok_or_else(|| unknown_command(words))?;
    let found = match (found.entry.route, words.get(1)) {
        (_, Some(word)) if has_subcommands(found.entry) => {
            subcommand(found.entry, word).ok_or_else(|| unknown_subcommand(found.entry, word))?
        }
        (Route::Container, _) => return Err(wrong_arity(found.entry)),
        _ => found,
    };
    if found.entry.takes(words.len()) { Ok(found) } else { Err(wrong_arity(found.entry)) }
}

fn resolve(words: &[Bytes]) -> Option<Found> {
    let name = words.first()?;
    position(|entry| entry.container.is_none() && name.eq_ignore_ascii_case(entry.word.as_bytes()))
}

fn subcommand(container: &Entry, word: &[u8]) -> Option<Found> {
    position(|entry| word.eq_ignore_ascii_case(entry.word.as_bytes()) && entry.container == Some(container.name))
}

/// The entry of a full name such as `client|id`, in any case.
pub(crate) fn by_full_name(name: &[u8]) -> Option<&'static Entry> {
    position(|entry| name.eq_ignore_ascii_case(entry.name.as_bytes())).map(|found| found.entry)
}

/// The full name at a place, for CLIENT LIST.
pub(crate) fn name_at(place: u16) -> &'static str {
    TABLE.get(usize::from(place)).map_or("NULL", |entry| entry.name)
}

/// The subcommands of a container, in table order.
pub(crate) fn subcommands(container: &'static Entry) -> impl Iterator<Item = &'static Entry> {
    TABLE.iter().filter(move |entry| entry.container == Some(container.name))
}

fn position(is_it: impl Fn(&Entry) -> bool) -> Option<Found> {
    let place = TABLE.iter().position(is_it)?;
    Some(Found { entry: &TABLE[place], place: place as u16 })
}

fn has_subcommands(entry: &Entry) -> bool {
    matches!(entry.name, "sentinel" | "client" | "command")
}

fn wrong_arity(entry: &Entry) -> Value {
    Value::error(format!("ERR wrong number of arguments for '{}' command", entry.name))
}

/// Stock shows 128 bytes of the name, and arguments until their list holds 128.
fn unknown_command(words: &[Bytes]) -> Value {
    let mut shown = Vec::new();
    for word in &words[1..] {
        if shown.len() >= 128 {
            break;
        }
        let room = 128 - shown.len();
        shown.push(b'\'');
        shown.extend_from_slice(printed(word, room));
        shown.extend_from_slice(b"' ");
    }
    let name = printed(&words[0], 128);
    Value::echo_error(&[b"ERR unknown command '", name, b"', with args beginning with: ", &shown])
}

fn unknown_subcommand(container: &Entry, word: &[u8]) -> Value {
    let container = container.name.to_ascii_uppercase();
    let word = printed(word, 128);
    Value::echo_error(&[b"ERR unknown subcommand '", word, b"'. Try ", container.as_bytes(), b" HELP."])
}

/// What stock prints of a word: it ends at a NUL byte.
fn printed(word: &[u8], room: usize) -> &[u8] {
    let end = memchr::memchr(0, word).unwrap_or(word.len());
    &word[..end.min(room)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::reply::Protocol;

    fn outcome(words: &[&[u8]]) -> Result<&'static str, String> {
        let words: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
        find(&words)
            .map(|found| found.entry.name)
            .map_err(|reply| String::from_utf8_lossy(&reply.to_bytes(Protocol::Resp2)).into_owned())
    }

    fn refusal(words: &[&[u8]]) -> String {
        outcome(words).expect_err("it was found")
    }

    /// commands.md 1 to 6, 15
    #[test]
    fn names_an_unknown_command_as_stock_does() {
        assert_eq!(refusal(&[b"GET", b"a"]), "-ERR unknown command 'GET', with args beginning with: 'a' \r\n");
        assert_eq!(refusal(&[b"get"]), "-ERR unknown command 'get', with args beginning with: \r\n");
        assert_eq!(refusal(&[b""]), "-ERR unknown command '', with args beginning with: \r\n");
        let long = [b'x'; 200];
        let cut = "x".repeat(128);
        assert_eq!(refusal(&[&long]), format!("-ERR unknown command '{cut}', with args beginning with: \r\n"));
        assert_eq!(
            refusal(&[b"get", &long, b"next"]),
            format!("-ERR unknown command 'get', with args beginning with: '{cut}' \r\n")
        );
        assert_eq!(refusal(&[b"a\r\nb", b"c\nd"]), "-ERR unknown command 'a  b', with args beginning with: 'c d' \r\n");
        assert_eq!(refusal(&[b"%s%n"]), "-ERR unknown command '%s%n', with args beginning with: \r\n");
    }

    /// commands.md 7 to 12
    #[test]
    fn names_what_is_wrong_with_a_subcommand() {
        assert_eq!(refusal(&[b"SENTINEL"]), "-ERR wrong number of arguments for 'sentinel' command\r\n");
        let unknown = "-ERR unknown subcommand 'foo'. Try SENTINEL HELP.\r\n";
        assert_eq!(refusal(&[b"SENTINEL", b"foo"]), unknown);
        assert_eq!(refusal(&[b"SENTINEL", b"foo", b"bar"]), unknown);
        let cut = "x".repeat(128);
        assert_eq!(
            refusal(&[b"sentinel", &[b'x'; 200]]),
            format!("-ERR unknown subcommand '{cut}'. Try SENTINEL HELP.\r\n")
        );
        assert_eq!(refusal(&[b"client", b"foo"]), "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n");
        assert_eq!(refusal(&[b"COMMAND", b"FOO"]), "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.\r\n");
        assert_eq!(
            refusal(&[b"sentinel", b"masters", b"x"]),
            "-ERR wrong number of arguments for 'sentinel|masters' command\r\n"
        );
    }

    /// commands.md 13, 14
    #[test]
    fn finds_commands_in_any_case_and_no_others() {
        assert_eq!(outcome(&[b"sEnTiNeL", b"mYiD"]), Ok("sentinel|myid"));
        assert_eq!(outcome(&[b"COMMAND"]), Ok("command"));
        assert_eq!(outcome(&[b"command", b"COUNT"]), Ok("command|count"));
        for absent in ["CONFIG", "MONITOR", "MULTI", "SELECT", "PUBSUB", "SSUBSCRIBE", "REPLICAOF", "CLUSTER", "EVAL"] {
            assert!(refusal(&[absent.as_bytes()]).starts_with("-ERR unknown command"), "{absent}");
        }
    }

    #[test]
    fn no_name_appears_twice() {
        let mut names: Vec<_> = TABLE.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
