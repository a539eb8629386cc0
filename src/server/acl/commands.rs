//! The ACL command.

use bytes::Bytes;
use rand::RngExt;

use super::super::read::Snapshots;
use super::super::session::Session;
use super::super::table;
use super::super::write::{Errand, NOT_AN_INTEGER};
use super::log::{Reason, Refused};
use crate::acl::commands::{self, CATEGORIES, Category};
use crate::acl::selector::{has_blank, remarks};
use crate::acl::users::{DEFAULT, Unmatched, line, rules_of};
use crate::acl::{Denial, Origin, Selector, Users};
use crate::resp::int::parse_strict;
use crate::resp::reply::Value;

/// Entries of ACL LOG when nobody says how many.
const LOG_ENTRIES: usize = 10;
const MAX_BITS: i64 = 4_096;

/// `ACL WHOAMI`
pub(crate) fn whoami(session: &mut Session, _words: &[Bytes]) -> Value {
    Value::Bulk(session.badge.name().clone())
}

/// `ACL USERS`
pub(crate) fn users(session: &mut Session, _words: &[Bytes]) -> Value {
    Value::Array(session.badge.users().iter().map(|(name, _)| bulk(name)).collect())
}

/// `ACL LIST`
pub(crate) fn list(session: &mut Session, _words: &[Bytes]) -> Value {
    let users = session.badge.users();
    Value::Array(users.iter().map(|(name, account)| joined(&line(name, &account.user))).collect())
}

/// `ACL GETUSER name`
pub(crate) fn getuser(session: &mut Session, words: &[Bytes]) -> Value {
    let Some(account) = session.badge.users().find(&words[2]) else { return Value::Null };
    let user = &account.user;
    let mut fields = vec![
        (Value::name("flags"), Value::Set(user.flags().into_iter().map(Value::name).collect())),
        (
            Value::name("passwords"),
            Value::Array(user.passwords().iter().map(|digest| Value::text(digest.to_string())).collect()),
        ),
    ];
    fields.extend(permissions(user.root()));
    let others = user.others().iter().map(|selector| Value::Map(permissions(selector))).collect();
    fields.push((Value::name("selectors"), Value::Array(others)));
    Value::Map(fields)
}

fn permissions(selector: &Selector) -> Vec<(Value, Value)> {
    vec![
        (Value::name("commands"), joined(&selector.command_rules())),
        (Value::name("keys"), joined(&selector.key_rules())),
        (Value::name("channels"), joined(&selector.channel_rules())),
    ]
}

/// `ACL SETUSER name [rule ...]`: all rules, or none when one is wrong.
pub(crate) fn setuser(session: &mut Session, words: &[Bytes]) -> Value {
    let name = &words[2];
    if has_blank(name) {
        return Value::fixed_error("ERR Usernames can't contain spaces or null characters");
    }
    let rules = match rules_of(&words[3..]) {
        Ok(rules) => rules,
        Err(Unmatched(at)) => {
            let word = table::printed(&words[3 + at], usize::MAX);
            return Value::echo_error(&[b"ERR Unmatched parenthesis in acl selector starting at '", word, b"'."]);
        }
    };
    let context = session.context.clone();
    let changed = context.acl.change(&context, session.client.id, |users: &mut Users| {
        let mut user = users.draft(name);
        for rule in &rules {
            user.apply(rule, Origin::Operator).map_err(|error| {
                let rule = table::printed(rule, usize::MAX);
                let why = error.to_string();
                Value::echo_error(&[b"ERR Error in ACL SETUSER modifier '", rule, b"': ", why.as_bytes()])
            })?;
        }
        users.put(name, user);
        Ok(Value::OK)
    });
    if changed.is_ok() {
        for remark in rules.iter().flat_map(|rule| remarks(rule)) {
            tracing::warn!("{remark}");
        }
    }
    changed.unwrap_or_else(|refusal| refusal)
}

/// `ACL DELUSER name [name ...]`
pub(crate) fn deluser(session: &mut Session, words: &[Bytes]) -> Value {
    let names = &words[2..];
    if names.iter().any(|name| &name[..] == DEFAULT) {
        return Value::fixed_error("ERR The 'default' user cannot be removed");
    }
    let context = session.context.clone();
    let removed = context.acl.change(&context, session.client.id, |users: &mut Users| {
        Ok::<usize, Value>(names.iter().filter(|name| users.remove(name)).count())
    });
    removed.map_or_else(|refusal| refusal, |count| Value::Integer(count as i64))
}

/// `ACL CAT [category]`
pub(crate) fn cat(_session: &mut Session, words: &[Bytes]) -> Value {
    match &words[2..] {
        [] => Value::Array(CATEGORIES.iter().copied().map(Value::name).collect()),
        [name] => match Category::find(name) {
            Some(category) => {
                let members = commands::all().filter(|id| category.members().has(*id));
                Value::Array(members.map(|id| Value::name(id.name())).collect())
            }
            None => Value::echo_error(&[b"ERR Unknown category '", table::printed(name, usize::MAX), b"'"]),
        },
        _ => wrong_form(words),
    }
}

/// `ACL DRYRUN user command [argument ...]`: a refusal is no error.
pub(crate) fn dryrun(session: &mut Session, words: &[Bytes]) -> Value {
    let (name, request) = (&words[2], &words[3..]);
    let Some(account) = session.badge.users().find(name) else {
        return Value::echo_error(&[b"ERR User '", table::printed(name, usize::MAX), b"' not found"]);
    };
    let Some(found) = table::lookup(request, &session.context.renames) else {
        let command = table::printed(&request[0], usize::MAX);
        return Value::echo_error(&[b"ERR Command '", command, b"' not found"]);
    };
    if !found.entry.takes(request.len()) {
        return Value::error(format!("ERR wrong number of arguments for '{}' command", found.entry.name));
    }
    let own = if found.entry.container.is_some() { 2 } else { 1 };
    match super::check(&account.user, found, request) {
        Ok(()) => Value::OK,
        Err(Denial::Command) => {
            Value::text(format!("This user has no permissions to run the '{}' command", found.entry.name))
        }
        Err(Denial::Channel(at)) => {
            let text = [b"This user has no permissions to access the '", &request[own + at][..], b"' channel"];
            Value::Bulk(text.concat().into())
        }
    }
}

/// `ACL GENPASS [bits]`
pub(crate) fn genpass(_session: &mut Session, words: &[Bytes]) -> Value {
    let bits = match &words[2..] {
        [] => 256,
        [bits] => match parse_strict(bits) {
            Some(bits) if (1..=MAX_BITS).contains(&bits) => bits,
            Some(_) => {
                return Value::fixed_error(
                    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up \
                     to 4096",
                );
            }
            None => return NOT_AN_INTEGER,
        },
        _ => return wrong_form(words),
    };
    let mut rng = rand::rng();
    let digit = |value: u32| char::from_digit(value, 16).expect("four bits are one digit");
    Value::text((0..(bits + 3) / 4).map(|_| digit(rng.random_range(0..16))).collect::<String>())
}

/// `ACL LOG [count|RESET]`
pub(crate) fn log(session: &mut Session, words: &[Bytes]) -> Value {
    let log = &session.context.acl.log;
    let count = match &words[2..] {
        [] => LOG_ENTRIES,
        [word] if word.eq_ignore_ascii_case(b"reset") => {
            log.clear();
            return Value::OK;
        }
        [count] => match parse_strict(count) {
            Some(count) => count.max(0) as usize,
            None => return NOT_AN_INTEGER,
        },
        _ => return wrong_form(words),
    };
    let now = session.context.clock.mono();
    let entry = |refused: Refused| {
        Value::Map(vec![
            (Value::name("count"), Value::Integer(refused.count as i64)),
            (Value::name("reason"), Value::name(refused.reason.name())),
            (Value::name("context"), Value::name("toplevel")),
            (Value::name("object"), Value::Bulk(refused.object.into())),
            (Value::name("username"), Value::Bulk(refused.user.into())),
            (Value::name("age-seconds"), Value::Seconds(now.since(refused.at))),
            (Value::name("client-info"), Value::Bulk(refused.client.into())),
        ])
    };
    Value::Array(log.newest(count).into_iter().map(entry).collect())
}

/// `ACL LOAD`
pub(crate) fn load(_snapshots: &mut Snapshots, _words: &[Bytes]) -> Errand {
    Errand::LoadUsers
}

/// `ACL SAVE`
pub(crate) fn save(_snapshots: &mut Snapshots, _words: &[Bytes]) -> Errand {
    Errand::SaveUsers
}

fn wrong_form(words: &[Bytes]) -> Value {
    let word = table::printed(&words[1], 128);
    Value::echo_error(&[b"ERR unknown subcommand or wrong number of arguments for '", word, b"'. Try ACL HELP."])
}

/// Notes for ACL LOG that the session's client was refused.
pub(crate) fn note(session: &Session, reason: Reason, object: &[u8], user: &[u8]) {
    let at = session.context.clock.mono();
    let client = super::super::client::describe(&session.client, at);
    let (object, user) = (object.to_vec(), user.to_vec());
    session.context.acl.log.note(Refused { reason, object, user, client, at, count: 1 });
}

fn bulk(bytes: &[u8]) -> Value {
    Value::Bulk(Bytes::copy_from_slice(bytes))
}

fn joined(words: &[Vec<u8>]) -> Value {
    Value::Bulk(words.join(&b' ').into())
}
