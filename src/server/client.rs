//! Commands about the connection itself: PING, AUTH, HELLO, CLIENT, QUIT.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::REDIS_VERSION;
use super::acl::commands::note;
use super::acl::log::Reason;
use super::clients::{Client, Endpoint};
use super::session::{Ending, Replies, Session};
use super::table;
use super::tracking::{Flag, Tracking};
use super::write::{NOT_AN_INTEGER, SYNTAX_ERROR};
use crate::resp::int::parse_strict;
use crate::resp::reply::{Protocol, Value};
use crate::sentinel::time::Millis;

const WRONG_PASSWORD: Value = Value::fixed_error("WRONGPASS invalid username-password pair or user is disabled.");
const BAD_NAME: Value = Value::fixed_error("ERR Client names cannot contain spaces, newlines or special characters.");

/// `PING [text]`
pub(crate) fn ping(session: &mut Session, words: &[Bytes]) -> Value {
    let text = words.get(1);
    if words.len() > 2 {
        return Value::fixed_error("ERR wrong number of arguments for 'ping' command");
    }
    if session.protocol == Protocol::Resp2 && session.subscriptions.count() > 0 {
        let text = text.cloned().unwrap_or_default();
        return Value::Array(vec![Value::name("pong"), Value::Bulk(text)]);
    }
    text.map_or(Value::Status("PONG".into()), |text| Value::Bulk(text.clone()))
}

/// `QUIT`
pub(crate) fn quit(session: &mut Session, _words: &[Bytes]) -> Value {
    session.ending = Some(Ending::Flushed);
    Value::OK
}

/// `AUTH [user] password`
pub(crate) fn auth(session: &mut Session, words: &[Bytes]) -> Value {
    let (user, password): (&[u8], _) = match &words[1..] {
        [_] if session.badge.users().default_account().user.needs_no_password() => {
            return Value::fixed_error(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            );
        }
        [password] => (b"default", password),
        [user, password] => (user, password),
        _ => return SYNTAX_ERROR,
    };
    if log_in(session, user, password, &words[0]) { Value::OK } else { WRONG_PASSWORD }
}

/// Becomes that user. A failure is noted under the word that asked.
fn log_in(session: &mut Session, user: &[u8], password: &[u8], word: &[u8]) -> bool {
    let right = session.badge.log_in(user, password);
    if right {
        session.client.relabel(|labels| (labels.user, labels.account) = session.badge.identity());
    } else {
        note(session, Reason::Auth, word, user);
    }
    right
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`. As in stock the options take effect one after the other, also
/// those before a wrong one; the protocol only if everything is right.
pub(crate) fn hello(session: &mut Session, words: &[Bytes]) -> Value {
    match hello_options(session, words) {
        Err(refusal) => refusal,
        Ok(protocol) => {
            if session.badge.is_stranger() {
                return Value::fixed_error(
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
                     <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                     version at the same time",
                );
            }
            if let Some(protocol) = protocol {
                session.protocol = protocol;
                session.client.speak(protocol);
            }
            greeting(session)
        }
    }
}

fn hello_options(session: &mut Session, words: &[Bytes]) -> Result<Option<Protocol>, Value> {
    let Some((version, mut rest)) = words[1..].split_first() else { return Ok(None) };
    let version = parse_strict(version);
    let version = version.ok_or(Value::fixed_error("ERR Protocol version is not an integer or out of range"))?;
    let protocol = match version {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(Value::fixed_error("NOPROTO unsupported protocol version")),
    };
    while let Some((option, values)) = rest.split_first() {
        rest = match (option.to_ascii_lowercase().as_slice(), values) {
            (b"auth", [user, password, rest @ ..]) => {
                if !log_in(session, user, password, &words[0]) {
                    return Err(WRONG_PASSWORD);
                }
                rest
            }
            (b"setname", [name, rest @ ..]) => {
                if !is_label(name) {
                    return Err(BAD_NAME);
                }
                session.client.relabel(|labels| labels.name = Bytes::copy_from_slice(name));
                rest
            }
            _ => return Err(Value::echo_error(&[b"ERR Syntax error in HELLO option '", option, b"'"])),
        };
    }
    Ok(Some(protocol))
}

fn greeting(session: &Session) -> Value {
    let protocol = match session.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    Value::Map(vec![
        (Value::name("server"), Value::name("redis")),
        (Value::name("version"), Value::name(REDIS_VERSION)),
        (Value::name("proto"), Value::Integer(protocol)),
        (Value::name("id"), Value::Integer(session.client.id as i64)),
        (Value::name("mode"), Value::name("sentinel")),
        (Value::name("modules"), Value::Array(Vec::new())),
    ])
}

/// Names go into lines of CLIENT LIST, so they have no blanks and nothing unprintable.
fn is_label(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// `CLIENT ID`
pub(crate) fn id(session: &mut Session, _words: &[Bytes]) -> Value {
    Value::Integer(session.client.id as i64)
}

/// `CLIENT SETNAME name`; an empty one unsets.
pub(crate) fn setname(session: &mut Session, words: &[Bytes]) -> Value {
    if !is_label(&words[2]) {
        return BAD_NAME;
    }
    session.client.relabel(|labels| labels.name = Bytes::copy_from_slice(&words[2]));
    Value::OK
}

/// `CLIENT GETNAME`
pub(crate) fn getname(session: &mut Session, _words: &[Bytes]) -> Value {
    let name = session.client.labels().name;
    if name.is_empty() { Value::Null } else { Value::Bulk(name) }
}

/// `CLIENT SETINFO lib-name|lib-ver value`, as since Redis 7.2.
pub(crate) fn setinfo(session: &mut Session, words: &[Bytes]) -> Value {
    let [option, value] = [&words[2], &words[3]];
    let name = option.to_ascii_lowercase();
    if !matches!(name.as_slice(), b"lib-name" | b"lib-ver") {
        return Value::echo_error(&[b"ERR Unrecognized option '", option, b"'"]);
    }
    if !is_label(value) {
        return Value::echo_error(&[b"ERR ", &name, b" cannot contain spaces, newlines or special characters."]);
    }
    let value = Bytes::copy_from_slice(value);
    session.client.relabel(|labels| {
        let library = labels.library.get_or_insert_default();
        if name == b"lib-name" { library.name = value } else { library.version = value }
    });
    Value::OK
}

/// `CLIENT REPLY ON|OFF|SKIP`
pub(crate) fn reply(session: &mut Session, words: &[Bytes]) -> Value {
    match words[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            session.replies = Replies::On;
            Value::OK
        }
        b"off" => {
            session.replies = Replies::Off;
            Value::Nothing
        }
        b"skip" => {
            if session.replies != Replies::Off {
                session.replies = Replies::SkipNext;
            }
            Value::Nothing
        }
        _ => SYNTAX_ERROR,
    }
}

/// `CLIENT NO-EVICT ON|OFF`: kept and shown, as there is nothing to be spared from.
pub(crate) fn no_evict(session: &mut Session, words: &[Bytes]) -> Value {
    let on = match words[2].to_ascii_lowercase().as_slice() {
        b"on" => true,
        b"off" => false,
        _ => return SYNTAX_ERROR,
    };
    session.client.no_evict.store(on, Ordering::Relaxed);
    Value::OK
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`: no command here blocks.
pub(crate) fn unblock(_session: &mut Session, words: &[Bytes]) -> Value {
    let reason = words.get(3).map(|reason| reason.to_ascii_lowercase());
    match (words.len(), reason.as_deref()) {
        (3, _) | (4, Some(b"timeout" | b"error")) if parse_strict(&words[2]).is_some() => Value::Integer(0),
        (3, _) | (4, Some(b"timeout" | b"error")) => NOT_AN_INTEGER,
        (4, _) => Value::fixed_error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        _ => wrong_words(&words[1]),
    }
}

/// What stock says of a subcommand of CLIENT that found too many words only when it looked at them.
pub(crate) fn wrong_words(subcommand: &Bytes) -> Value {
    let (before, after) = (b"ERR unknown subcommand or wrong number of arguments for '", b"'. Try CLIENT HELP.");
    Value::echo_error(&[before, subcommand, after])
}

/// `CLIENT INFO`
pub(crate) fn info(session: &mut Session, _words: &[Bytes]) -> Value {
    let mut line = describe(&session.client, session.context.clock.mono());
    line.push(b'\n');
    Value::Verbatim(line.into())
}

/// What `TYPE` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Normal,
    PubSub,
    /// Replicas and masters, of which a Sentinel has none.
    Absent,
}

fn class_named(name: &Bytes) -> Result<Class, Value> {
    match name.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Class::Normal),
        b"pubsub" => Ok(Class::PubSub),
        b"master" | b"replica" | b"slave" => Ok(Class::Absent),
        _ => Err(Value::echo_error(&[b"ERR Unknown client type '", name, b"'"])),
    }
}

fn class_of(client: &Client) -> Class {
    let subscriptions = client.channels.load(Ordering::Relaxed) + client.patterns.load(Ordering::Relaxed);
    if subscriptions > 0 { Class::PubSub } else { Class::Normal }
}

/// `CLIENT LIST [TYPE type] [ID id ...]`
pub(crate) fn list(session: &mut Session, words: &[Bytes]) -> Value {
    match chosen_clients(session, &words[2..]) {
        Err(refusal) => refusal,
        Ok(clients) => {
            let now = session.context.clock.mono();
            let mut text = Vec::new();
            for client in clients {
                text.extend(describe(&client, now));
                text.push(b'\n');
            }
            Value::Verbatim(text.into())
        }
    }
}

fn chosen_clients(session: &Session, words: &[Bytes]) -> Result<Vec<Arc<Client>>, Value> {
    let mut clients = session.context.clients.list();
    match (words.first().map(|word| word.to_ascii_lowercase()).as_deref(), words) {
        (None, _) => {}
        (Some(b"type"), [_, class]) => {
            let class = class_named(class)?;
            clients.retain(|client| class_of(client) == class);
        }
        (Some(b"id"), [_, ids @ ..]) if !ids.is_empty() => {
            let ids: Option<Vec<i64>> = ids.iter().map(|id| parse_strict(id)).collect();
            let ids = ids.ok_or(Value::fixed_error("ERR Invalid client ID"))?;
            clients.retain(|client| ids.contains(&(client.id as i64)));
        }
        _ => return Err(SYNTAX_ERROR),
    }
    Ok(clients)
}

/// One line of CLIENT LIST, without its end. Sizes of buffers that this process does not have are 0.
pub(crate) fn describe(client: &Client, now: Millis) -> Vec<u8> {
    let labels = client.labels();
    let (channels, patterns) = (client.channels.load(Ordering::Relaxed), client.patterns.load(Ordering::Relaxed));
    let tracking = client.tracking();
    let library = labels.library.as_deref().cloned().unwrap_or_default();
    let flags = flags(channels + patterns > 0, &tracking, client);
    let (waiting_bytes, waiting_events) = client.backlog();
    let protocol = match client.protocol() {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write!(line, "id={} addr={} laddr={} fd=0 name=", client.id, client.peer, client.local);
    line += &String::from_utf8_lossy(&labels.name);
    let _ = write!(
        line,
        " age={} idle={} flags={flags} db=0 sub={channels} psub={patterns} ssub=0 multi=-1 qbuf=0 qbuf-free=0 \
         argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll={waiting_events} omem={waiting_bytes} tot-mem={waiting_bytes} \
         events=r cmd={} user={} redir={} resp={protocol} lib-name={} lib-ver={}",
        now.since(client.since) / 1_000,
        now.since(client.last_seen()) / 1_000,
        table::name_at(client.last_command()),
        String::from_utf8_lossy(&labels.user),
        tracking.redirection(),
        String::from_utf8_lossy(&library.name),
        String::from_utf8_lossy(&library.version),
    );
    line.into_bytes()
}

/// One letter for each thing that is so; `N` if nothing is.
fn flags(subscribed: bool, tracking: &Tracking, client: &Client) -> String {
    let letters = [
        ('P', subscribed),
        ('t', tracking.on),
        ('B', tracking.has(Flag::Bcast)),
        ('U', matches!(client.peer, Endpoint::Unix(_))),
        ('e', client.no_evict.load(Ordering::Relaxed)),
    ];
    let flags: String = letters.into_iter().filter(|(_, set)| *set).map(|(letter, _)| letter).collect();
    if flags.is_empty() { "N".to_owned() } else { flags }
}

/// Which connections CLIENT KILL closes: those that pass every filter that is set.
#[derive(Debug, Default)]
struct KillFilter {
    id: Option<i64>,
    peer: Option<Bytes>,
    local: Option<Bytes>,
    class: Option<Class>,
    user: Option<Bytes>,
    spares_self: bool,
}

/// `CLIENT KILL addr` and `CLIENT KILL filter value ...`
pub(crate) fn kill(session: &mut Session, words: &[Bytes]) -> Value {
    match &words[2..] {
        [addr] => {
            let filter = KillFilter { peer: Some(addr.clone()), ..KillFilter::default() };
            if kill_chosen(session, &filter) > 0 { Value::OK } else { Value::fixed_error("ERR No such client") }
        }
        filters => match kill_filter(session, filters) {
            Ok(filter) => Value::Integer(kill_chosen(session, &filter)),
            Err(refusal) => refusal,
        },
    }
}

fn kill_filter(session: &Session, words: &[Bytes]) -> Result<KillFilter, Value> {
    let mut filter = KillFilter { spares_self: true, ..KillFilter::default() };
    for pair in words.chunks(2) {
        let [option, value] = pair else { return Err(SYNTAX_ERROR) };
        match option.to_ascii_lowercase().as_slice() {
            b"id" => {
                let id = parse_strict(value).filter(|id| *id > 0);
                filter.id = Some(id.ok_or(Value::fixed_error("ERR client-id should be greater than 0"))?);
            }
            b"type" => filter.class = Some(class_named(value)?),
            b"addr" => filter.peer = Some(value.clone()),
            b"laddr" => filter.local = Some(value.clone()),
            b"user" if session.badge.users().find(value).is_some() => filter.user = Some(value.clone()),
            b"user" => return Err(Value::echo_error(&[b"ERR No such user '", value, b"'"])),
            b"skipme" => match value.to_ascii_lowercase().as_slice() {
                b"yes" => filter.spares_self = true,
                b"no" => filter.spares_self = false,
                _ => return Err(SYNTAX_ERROR),
            },
            _ => return Err(SYNTAX_ERROR),
        }
    }
    Ok(filter)
}

fn kill_chosen(session: &mut Session, filter: &KillFilter) -> i64 {
    let mut killed = 0;
    for client in session.context.clients.list() {
        let is_self = client.id == session.client.id;
        let is_at = |wanted: &Option<Bytes>, end: &Endpoint| {
            wanted.as_ref().is_none_or(|wanted| end.to_string().as_bytes() == &wanted[..])
        };
        let chosen = filter.id.is_none_or(|id| id == client.id as i64)
            && is_at(&filter.peer, &client.peer)
            && is_at(&filter.local, &client.local)
            && filter.user.as_ref().is_none_or(|user| client.labels().user == user)
            && filter.class.is_none_or(|class| class == class_of(&client))
            && !(is_self && filter.spares_self);
        if !chosen {
            continue;
        }
        killed += 1;
        if is_self {
            session.ending = Some(Ending::Flushed);
        } else {
            client.cut_off();
        }
    }
    killed
}
