//! The HELP subcommands. The first line and the last two are stock's, because tools show them; the rest is ours.

use bytes::Bytes;

use super::session::Session;
use crate::resp::reply::Value;

/// Syntax and explanation of each subcommand.
type Lines = &'static [(&'static str, &'static str)];

fn page(container: &str, lines: Lines) -> Value {
    let title = format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let mut page = vec![Value::Status(title.into())];
    for (syntax, meaning) in lines.iter().chain([&("HELP", "Prints this help.")]) {
        page.push(Value::Status((*syntax).into()));
        page.push(Value::Status(format!("    {meaning}").into()));
    }
    Value::Array(page)
}

/// `SENTINEL HELP`
pub(crate) fn sentinel(_session: &mut Session, _words: &[Bytes]) -> Value {
    page("SENTINEL", SENTINEL)
}

/// `CLIENT HELP`
pub(crate) fn client(_session: &mut Session, _words: &[Bytes]) -> Value {
    page("CLIENT", CLIENT)
}

/// `ACL HELP`
pub(crate) fn acl(_session: &mut Session, _words: &[Bytes]) -> Value {
    page("ACL", ACL)
}

/// `COMMAND HELP`
pub(crate) fn command(_session: &mut Session, _words: &[Bytes]) -> Value {
    page("COMMAND", COMMAND)
}

const SENTINEL: Lines = &[
    ("ADOPT <master> <ip> <port>", "Tell that a server belongs to a master, whatever speaks against it."),
    ("CKQUORUM <master>", "Tell whether a failover of the master could be agreed on and authorised now."),
    ("CONFIG SET <name> <value> [<name> <value> ...]", "Change settings of this Sentinel."),
    ("CONFIG GET <pattern> [<pattern> ...]", "Tell settings of this Sentinel."),
    ("DEBUG [<name> <milliseconds> ...]", "Tell the periods of the protocol, or change them until the next start."),
    (
        "FAILOVER <master> [COORDINATED] [TO <host> <port>] [TIMEOUT <milliseconds>]",
        "Start a failover without asking the others; COORDINATED: with their votes, and without losing a write.",
    ),
    ("FLUSHCONFIG", "Write the configuration file."),
    ("GET-MASTER-ADDR-BY-NAME <master>", "Tell the address to connect to."),
    ("INFO-CACHE <master> [<master> ...]", "Tell the last INFO of each master and of its replicas."),
    (
        "IS-MASTER-DOWN-BY-ADDR <ip> <port> <epoch> <id>",
        "Tell whether the master looks down; vote for the id unless it is *.",
    ),
    ("MASTER <master>", "Tell the state of a master."),
    ("MASTERS", "Tell the state of every master."),
    ("MONITOR <master> <ip> <port> <quorum>", "Monitor one more master."),
    ("MYID", "Tell the id of this Sentinel."),
    ("PENDING-SCRIPTS", "Tell which scripts run or wait."),
    ("REMOVE <master>", "Monitor a master no longer."),
    ("REPLICAS <master>", "Tell the state of a master's replicas."),
    ("RESET <pattern>", "Forget replicas, Sentinels and failovers of the masters that match."),
    ("SENTINELS <master>", "Tell the state of the other Sentinels of a master."),
    ("SET <master> <option> <value> [<option> <value> ...]", "Change settings of a master."),
    (
        "SIMULATE-FAILURE [CRASH-AFTER-ELECTION] [CRASH-AFTER-PROMOTION] [HELP]",
        "Crash at that point of the next failover.",
    ),
];

const CLIENT: Lines = &[
    ("CACHING (YES|NO)", "Track the keys of the next command, or do not."),
    ("GETNAME", "Tell the name of this connection."),
    ("GETREDIR", "Tell the id of the connection that hears of what this one tracks."),
    ("ID", "Tell the id of this connection."),
    ("INFO", "Tell everything about this connection."),
    ("KILL <ip:port>", "Close the connection from that address."),
    (
        "KILL <option> <value> [<option> <value> ...]",
        "Close connections by ID, ADDR, LADDR, TYPE, USER; SKIPME (YES|NO) spares this one.",
    ),
    ("LIST [TYPE (NORMAL|PUBSUB|MASTER|REPLICA)] [ID <id> ...]", "Tell everything about connections."),
    ("NO-EVICT (ON|OFF)", "Accepted; no connection is closed to save memory."),
    ("PAUSE <milliseconds> [WRITE|ALL]", "Hold the commands of all clients; WRITE holds none of a Sentinel's."),
    ("REPLY (ON|OFF|SKIP)", "Turn replies off and on, or skip the next one."),
    ("SETINFO (LIB-NAME|LIB-VER) <value>", "Note the client's library."),
    ("SETNAME <name>", "Name this connection."),
    (
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
        "Accepted; a Sentinel has no keys to track.",
    ),
    ("TRACKINGINFO", "Tell what was asked for with TRACKING."),
    ("UNBLOCK <id> [TIMEOUT|ERROR]", "Accepted; no connection is ever blocked."),
    ("UNPAUSE", "End a pause."),
];

const ACL: Lines = &[
    ("CAT [<category>]", "Tell the categories, or the commands that are in one."),
    ("DELUSER <user> [<user> ...]", "Remove users and close their connections."),
    ("DRYRUN <user> <command> [<arg> ...]", "Tell whether the user may send this, without doing it."),
    ("GENPASS [<bits>]", "Make a password of 256 bits, or of so many."),
    ("GETUSER <user>", "Tell the rules of a user."),
    ("LIST", "Tell the rules of every user, as in a file."),
    ("LOAD", "Read the ACL file."),
    ("LOG [<count>|RESET]", "Tell what was refused last, or forget it."),
    ("SAVE", "Write the ACL file."),
    ("SETUSER <user> [<rule> ...]", "Add a user or change their rules."),
    ("USERS", "Tell the names of all users."),
    ("WHOAMI", "Tell the user of this connection."),
];

const COMMAND: Lines = &[
    ("(no subcommand)", "Tell everything about every command."),
    ("COUNT", "Tell how many commands there are."),
    ("DOCS [<name> ...]", "Tell what commands do."),
    ("GETKEYS <command> [<arg> ...]", "Tell which words are keys: none of any command."),
    ("GETKEYSANDFLAGS <command> [<arg> ...]", "The same."),
    ("INFO [<name> ...]", "Tell everything about commands."),
    ("LIST [FILTERBY (PATTERN <pattern>|ACLCAT <category>|MODULE <name>)]", "Tell the names of commands."),
];
