//! The commands themselves, as data.

use super::acl::commands as acl;
use super::table::Entry;
use super::table::Route::{Ask, Container, List, Local, Read};
use super::{client, command, help, info, pause, read, session, set, tracking, write};

const SLOW: &[&str] = &["slow"];
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

/// A subcommand of ACL.
macro_rules! acl {
    ($word:literal, $arity:literal, $flags:expr, $categories:expr, $route:expr, $summary:literal) => {
        entry!("acl" | $word, $arity, $flags, $categories, &[], "6.0.0", $route, $summary)
    };
}

/// All of them: first the commands, then the subcommands, what is asked most often first.
pub(super) static TABLE: &[Entry] = &[
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
        Read(info::info),
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
    sentinel!("masters", 2, "2.8.4", List(read::masters), "Tells the state of all masters."),
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
    sentinel!("info-cache", -3, "3.2.0", Ask(write::info_cache), "Tells the last INFO of masters and their replicas."),
    sentinel!("pending-scripts", 2, "2.8.4", Read(read::pending_scripts), "Tells which scripts run or wait."),
    sentinel!("config", -3, "6.2.0", Ask(set::config), "Reads or changes settings of this Sentinel."),
    sentinel!("set", -5, "2.8.4", Ask(set::set), "Changes settings of a master."),
    sentinel!("monitor", 6, "2.8.4", Ask(write::monitor), "Begins to monitor a master."),
    sentinel!("remove", 3, "2.8.4", Ask(write::remove), "Ceases to monitor a master."),
    sentinel!("reset", 3, "2.8.4", Ask(write::reset), "Forgets what was learnt about masters that match a pattern."),
    sentinel!(
        "adopt",
        5,
        "7.0.15",
        Ask(write::adopt),
        "Tells that a server belongs to a master, whatever speaks against it."
    ),
    sentinel!("failover", -3, "2.8.4", Ask(write::failover), "Starts a failover of a master that may be well."),
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
    sentinel!("primaries", 2, "7.0.0", List(read::masters), "Tells the state of all masters."),
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
        Local(tracking::getredir),
        "Tells the client that hears of what this one tracks."
    ),
    entry!(
        "client" | "pause",
        -3,
        ADMIN_NO_SCRIPT,
        ADMIN_CONNECTION,
        &[],
        "2.9.50",
        Local(pause::pause),
        "Holds the commands of all clients for a while."
    ),
    entry!(
        "client" | "unpause",
        2,
        ADMIN_NO_SCRIPT,
        ADMIN_CONNECTION,
        &[],
        "6.2.0",
        Local(pause::unpause),
        "Ends a pause."
    ),
    entry!(
        "client" | "tracking",
        -3,
        NO_SCRIPT,
        CONNECTION,
        &[],
        "6.0.0",
        Local(tracking::tracking),
        "Accepted; there are no keys to track."
    ),
    entry!(
        "client" | "trackinginfo",
        2,
        NO_SCRIPT,
        CONNECTION,
        &[],
        "6.2.0",
        Local(tracking::trackinginfo),
        "Tells what was asked for with TRACKING."
    ),
    entry!(
        "client" | "caching",
        3,
        NO_SCRIPT,
        CONNECTION,
        &[],
        "6.0.0",
        Local(tracking::caching),
        "Tells whether the next command's keys are tracked."
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
    entry!("acl", -2, &[], &["slow"], &[], "6.0.0", Container, "Container of the commands about users."),
    acl!("whoami", 2, NO_SCRIPT, SLOW, Local(acl::whoami), "Tells the connection's user."),
    acl!("users", 2, ADMIN_NO_SCRIPT, ADMIN, Local(acl::users), "Tells the names of all users."),
    acl!("list", 2, ADMIN_NO_SCRIPT, ADMIN, Local(acl::list), "Tells the rules of all users."),
    acl!("getuser", 3, ADMIN_NO_SCRIPT, ADMIN, Local(acl::getuser), "Tells the rules of a user."),
    acl!("setuser", -3, ADMIN_NO_SCRIPT, ADMIN, Local(acl::setuser), "Adds or changes a user."),
    acl!("deluser", -3, ADMIN_NO_SCRIPT, ADMIN, Local(acl::deluser), "Removes users."),
    acl!("cat", -2, NO_SCRIPT, SLOW, Local(acl::cat), "Tells the categories, or the commands of one."),
    acl!("dryrun", -4, ADMIN_NO_SCRIPT, ADMIN, Local(acl::dryrun), "Tells whether a user may send a command."),
    acl!("genpass", -2, NO_SCRIPT, SLOW, Local(acl::genpass), "Makes a password."),
    acl!("log", -2, ADMIN_NO_SCRIPT, ADMIN, Local(acl::log), "Tells what was refused."),
    acl!("load", 2, ADMIN_NO_SCRIPT, ADMIN, Ask(acl::load), "Reads the ACL file."),
    acl!("save", 2, ADMIN_NO_SCRIPT, ADMIN, Ask(acl::save), "Writes the ACL file."),
    entry!("acl" | "help", 2, ANYTIME, SLOW, &[], "6.0.0", Local(help::acl), "Tells the subcommands."),
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
    entry!(
        "command" | "getkeys",
        -3,
        ANYTIME,
        CONNECTION,
        &[],
        "2.8.13",
        Local(command::getkeys),
        "Tells which words of a command are keys: none."
    ),
    entry!(
        "command" | "getkeysandflags",
        -3,
        ANYTIME,
        CONNECTION,
        &[],
        "7.0.0",
        Local(command::getkeys),
        "Tells which words of a command are keys: none."
    ),
    entry!("command" | "help", 2, ANYTIME, CONNECTION, &[], "5.0.0", Local(help::command), "Tells the subcommands."),
];
