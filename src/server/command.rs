//! COMMAND: what the command table says of itself.

use bytes::Bytes;

use super::catalogue::TABLE;
use super::session::Session;
use super::table::{self, Entry};
use super::usage;
use super::write::SYNTAX_ERROR;
use crate::pattern::{Case, matches};
use crate::resp::reply::Value;

fn commands() -> impl Iterator<Item = &'static Entry> {
    TABLE.iter().filter(|entry| entry.container.is_none() && entry.is_listed())
}

/// `COMMAND`
pub(crate) fn all(_session: &mut Session, _words: &[Bytes]) -> Value {
    Value::Array(commands().map(describe).collect())
}

/// `COMMAND COUNT`
pub(crate) fn count(_session: &mut Session, _words: &[Bytes]) -> Value {
    Value::Integer(commands().count() as i64)
}

/// `COMMAND INFO [name ...]`
pub(crate) fn info(session: &mut Session, words: &[Bytes]) -> Value {
    if words.len() == 2 {
        return all(session, words);
    }
    Value::Array(words[2..].iter().map(|name| listed(name).map_or(Value::Null, describe)).collect())
}

fn listed(name: &[u8]) -> Option<&'static Entry> {
    table::by_full_name(name).filter(|entry| entry.is_listed())
}

fn describe(entry: &'static Entry) -> Value {
    let status = |text: &&'static str| Value::Status((*text).into());
    let subcommands: Vec<Value> = table::subcommands(entry).map(describe).collect();
    let category = |name: &&'static str| Value::Status(format!("@{name}").into());
    Value::Array(vec![
        Value::name(entry.name),
        Value::Integer(entry.arity),
        Value::Set(entry.flags.iter().map(status).collect()),
        Value::Integer(0),
        Value::Integer(0),
        Value::Integer(0),
        Value::Set(entry.categories.iter().map(category).collect()),
        Value::Set(entry.tips.iter().map(|tip| Value::name(tip)).collect()),
        Value::Set(Vec::new()),
        // A list of none is a set, as in stock.
        if subcommands.is_empty() { Value::Set(subcommands) } else { Value::Array(subcommands) },
    ])
}

/// `COMMAND DOCS [name ...]`; unknown names are left out.
pub(crate) fn docs(_session: &mut Session, words: &[Bytes]) -> Value {
    let entries: Vec<&Entry> = match &words[2..] {
        [] => commands().collect(),
        names => names.iter().filter_map(|name| listed(name)).collect(),
    };
    Value::Map(entries.into_iter().map(document).collect())
}

fn document(entry: &'static Entry) -> (Value, Value) {
    let mut fields = vec![
        (Value::name("summary"), Value::name(entry.summary)),
        (Value::name("since"), Value::name(entry.since)),
        (Value::name("group"), Value::name(group(entry))),
    ];
    if let Some(arguments) = usage::arguments(entry.name) {
        fields.push((Value::name("arguments"), arguments));
    }
    let subcommands: Vec<_> = table::subcommands(entry).map(document).collect();
    if !subcommands.is_empty() {
        fields.push((Value::name("subcommands"), Value::Map(subcommands)));
    }
    (Value::name(entry.name), Value::Map(fields))
}

fn group(entry: &Entry) -> &'static str {
    match entry.container.unwrap_or(entry.name) {
        "sentinel" => "sentinel",
        "publish" | "subscribe" | "psubscribe" | "unsubscribe" | "punsubscribe" => "pubsub",
        "info" | "role" | "command" | "shutdown" => "server",
        _ => "connection",
    }
}

/// `COMMAND LIST [FILTERBY PATTERN pattern|ACLCAT category|MODULE name]`
pub(crate) fn list(_session: &mut Session, words: &[Bytes]) -> Value {
    let chosen: Box<dyn Fn(&Entry) -> bool> = match &words[2..] {
        [] => Box::new(|_| true),
        [filterby, by, what] if filterby.eq_ignore_ascii_case(b"filterby") => {
            match by.to_ascii_lowercase().as_slice() {
                b"pattern" => Box::new(|entry| matches(what, entry.name.as_bytes(), Case::Insensitive)),
                b"aclcat" => {
                    Box::new(|entry| entry.categories.iter().any(|name| what.eq_ignore_ascii_case(name.as_bytes())))
                }
                // There are no modules.
                b"module" => Box::new(|_| false),
                _ => return SYNTAX_ERROR,
            }
        }
        _ => return SYNTAX_ERROR,
    };
    Value::Array(
        TABLE.iter().filter(|entry| entry.is_listed() && chosen(entry)).map(|entry| Value::name(entry.name)).collect(),
    )
}

/// `COMMAND GETKEYS command ...` and `COMMAND GETKEYSANDFLAGS command ...`: no command of a Sentinel has keys.
pub(crate) fn getkeys(session: &mut Session, words: &[Bytes]) -> Value {
    match table::look_up(&words[2..], &session.context.renames) {
        Ok(_) => Value::fixed_error("ERR The command has no key arguments"),
        Err(_) => Value::fixed_error("ERR Invalid command specified"),
    }
}
