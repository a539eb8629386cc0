//! What arguments commands take, for COMMAND DOCS: clients show it as a hint while one types.
//!
//! A usage is a line of words. `name` is a string, `name#` an integer, `name*` a pattern, `WORD` stands for itself and
//! `WORD:name` for itself and a value. `[...]` may be left out, `...` behind something repeats it, `{a b}` belongs
//! together and `(a|b)` is a choice.

use std::iter::Peekable;
use std::str::Chars;

use crate::resp::reply::Value;

/// Full names with their usage. A command that is not here takes no arguments.
const USAGES: &[(&str, &str)] = &[
    ("acl|cat", "[categoryname]"),
    ("acl|deluser", "username..."),
    ("acl|dryrun", "username command [arg]..."),
    ("acl|genpass", "[bits#]"),
    ("acl|getuser", "username"),
    ("acl|log", "[(count#|RESET)]"),
    ("acl|setuser", "username [rule]..."),
    ("auth", "[username] password"),
    ("client|caching", "(YES|NO)"),
    (
        "client|kill",
        "(ip:port|[ID:client-id#]|[TYPE:(NORMAL|MASTER|REPLICA|PUBSUB)]|[USER:username]|[ADDR:ip:port]|\
         [LADDR:ip:port]|[SKIPME:yes/no])...",
    ),
    ("client|list", "[TYPE:(NORMAL|MASTER|REPLICA|PUBSUB)] [ID:{client-id#...}]"),
    ("client|no-evict", "(ON|OFF)"),
    ("client|pause", "timeout# [(WRITE|ALL)]"),
    ("client|reply", "(ON|OFF|SKIP)"),
    ("client|setinfo", "(LIB-NAME:libname|LIB-VER:libver)"),
    ("client|setname", "connection-name"),
    ("client|tracking", "(ON|OFF) [REDIRECT:client-id#] [PREFIX:prefix]... [BCAST] [OPTIN] [OPTOUT] [NOLOOP]"),
    ("client|unblock", "client-id# [(TIMEOUT|ERROR)]"),
    ("command|docs", "[command-name]..."),
    ("command|getkeys", "command [arg]..."),
    ("command|getkeysandflags", "command [arg]..."),
    ("command|info", "[command-name]..."),
    ("command|list", "[FILTERBY:(MODULE:module-name|ACLCAT:category|PATTERN:pattern*)]"),
    ("hello", "[{protover# [AUTH:{username password}] [SETNAME:clientname]}]"),
    ("info", "[section]..."),
    ("ping", "[message]"),
    ("psubscribe", "pattern*..."),
    ("publish", "channel message"),
    ("punsubscribe", "[pattern*]..."),
    ("sentinel|adopt", "master-name ip port#"),
    ("sentinel|ckquorum", "master-name"),
    ("sentinel|config", "(SET:{parameter value}...|GET:parameter...)"),
    ("sentinel|debug", "[{parameter value}]..."),
    ("sentinel|failover", "master-name [COORDINATED] [TO:{host port#}] [TIMEOUT:milliseconds#]"),
    ("sentinel|get-master-addr-by-name", "master-name"),
    ("sentinel|get-primary-addr-by-name", "primary-name"),
    ("sentinel|info-cache", "nodename..."),
    ("sentinel|is-master-down-by-addr", "ip port# current-epoch# runid"),
    ("sentinel|is-primary-down-by-addr", "ip port# current-epoch# runid"),
    ("sentinel|master", "master-name"),
    ("sentinel|monitor", "name ip port# quorum#"),
    ("sentinel|primary", "primary-name"),
    ("sentinel|remove", "master-name"),
    ("sentinel|replicas", "master-name"),
    ("sentinel|reset", "pattern*"),
    ("sentinel|sentinels", "master-name"),
    ("sentinel|set", "master-name {option value}..."),
    ("sentinel|simulate-failure", "(CRASH-AFTER-ELECTION|CRASH-AFTER-PROMOTION|HELP)..."),
    ("sentinel|slaves", "master-name"),
    ("shutdown", "[(NOSAVE|SAVE)] [NOW] [FORCE] [ABORT]"),
    ("subscribe", "channel..."),
    ("unsubscribe", "[channel]..."),
];

/// The `arguments` of a command by its full name; `None` if it takes none.
pub(super) fn arguments(name: &str) -> Option<Value> {
    let (_, usage) = USAGES.iter().find(|(known, _)| *known == name)?;
    Some(Value::Array(parse(usage).iter().map(Argument::document).collect()))
}

/// One argument, or several that belong together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Argument {
    name: String,
    /// As COMMAND DOCS says it.
    kind: &'static str,
    token: Option<String>,
    optional: bool,
    multiple: bool,
    inner: Vec<Argument>,
}

impl Argument {
    fn document(&self) -> Value {
        let mut fields =
            vec![(Value::name("name"), Value::text(self.name.as_str())), (Value::name("type"), Value::name(self.kind))];
        if let Some(token) = &self.token {
            fields.push((Value::name("token"), Value::text(token.as_str())));
        }
        // What may be left out and has a word of its own repeats with that word.
        let with_token = self.optional && self.multiple && self.token.is_some();
        let flags = [(self.optional, "optional"), (self.multiple, "multiple"), (with_token, "multiple_token")];
        let flags: Vec<_> =
            flags.iter().filter(|(set, _)| *set).map(|(_, name)| Value::Status((*name).into())).collect();
        if !flags.is_empty() {
            fields.push((Value::name("flags"), Value::Set(flags)));
        }
        if !self.inner.is_empty() {
            let inner = self.inner.iter().map(Argument::document).collect();
            fields.push((Value::name("arguments"), Value::Array(inner)));
        }
        Value::Map(fields)
    }
}

fn parse(usage: &str) -> Vec<Argument> {
    sequence(&mut usage.chars().peekable(), None)
}

/// Arguments up to `end`.
fn sequence(chars: &mut Peekable<Chars<'_>>, end: Option<char>) -> Vec<Argument> {
    let mut found = Vec::new();
    while let Some(&next) = chars.peek() {
        if next == ' ' {
            chars.next();
        } else if Some(next) == end {
            chars.next();
            break;
        } else {
            found.push(argument(chars));
        }
    }
    found
}

fn argument(chars: &mut Peekable<Chars<'_>>) -> Argument {
    let mut argument = match chars.peek() {
        Some('[') => {
            chars.next();
            let mut inner = sequence(chars, Some(']'));
            let only = inner.pop().expect("there is something in the brackets");
            Argument { optional: true, ..only }
        }
        Some('{') => {
            chars.next();
            group("block", sequence(chars, Some('}')))
        }
        Some('(') => {
            chars.next();
            let mut inner = Vec::new();
            while chars.peek().is_some_and(|next| *next != ')') {
                chars.next_if_eq(&'|');
                inner.push(self::argument(chars));
            }
            chars.next();
            group("oneof", inner)
        }
        _ => word(chars),
    };
    while chars.next_if_eq(&'.').is_some() {
        argument.multiple = true;
    }
    argument
}

fn group(kind: &'static str, inner: Vec<Argument>) -> Argument {
    let name = inner.iter().map(|argument| argument.name.as_str()).collect::<Vec<_>>().join("_");
    Argument { name, kind, inner, ..Argument::default() }
}

fn word(chars: &mut Peekable<Chars<'_>>) -> Argument {
    let mut name = String::new();
    while let Some(next) = chars.next_if(|next| !" []{}()|.#*".contains(*next)) {
        // The value may be anything that an argument may be.
        if next == ':' && name.chars().all(|char| char.is_ascii_uppercase() || char == '-') {
            return Argument { token: Some(name), ..argument(chars) };
        }
        name.push(next);
    }
    let kind = match chars.next_if(|next| "#*".contains(*next)) {
        Some('#') => "integer",
        Some(_) => "pattern",
        None if name.chars().any(|char| char.is_ascii_lowercase()) => "string",
        None => {
            return Argument {
                name: name.to_ascii_lowercase(),
                kind: "pure-token",
                token: Some(name),
                ..Argument::default()
            };
        }
    };
    Argument { name, kind, ..Argument::default() }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::TABLE;
    use super::*;

    /// Words that must be there at least.
    fn least(arguments: &[Argument]) -> i64 {
        arguments.iter().filter(|argument| !argument.optional).map(words).sum()
    }

    fn words(argument: &Argument) -> i64 {
        let own = i64::from(argument.token.is_some());
        match argument.kind {
            "pure-token" => 1,
            "block" => own + least(&argument.inner),
            "oneof" => own + argument.inner.iter().map(words).min().unwrap_or(0),
            _ => own + 1,
        }
    }

    #[test]
    fn usages_agree_with_arities() {
        for entry in TABLE {
            let usage = USAGES.iter().find(|(name, _)| *name == entry.name);
            let arguments = usage.map(|(_, usage)| parse(usage)).unwrap_or_default();
            let own = 1 + i64::from(entry.container.is_some());
            let has_subcommands = TABLE.iter().any(|other| other.container == Some(entry.name));
            let words = own + least(&arguments);
            // Some tables of stock let through what the command itself then refuses.
            assert!(has_subcommands || words >= entry.arity.abs(), "{}", entry.name);
            if entry.arity > 0 {
                assert_eq!(words, entry.arity, "{}", entry.name);
                assert!(arguments.iter().all(|argument| !argument.optional && !argument.multiple), "{}", entry.name);
            }
        }
    }

    #[test]
    fn every_usage_belongs_to_a_command() {
        for (name, _) in USAGES {
            assert!(TABLE.iter().any(|entry| entry.name == *name), "{name}");
        }
    }

    #[test]
    fn reads_groups_choices_and_words() {
        let [config] = &parse("(SET:{parameter value}...|GET:parameter...)")[..] else { panic!("one argument") };
        assert_eq!((config.kind, config.inner.len()), ("oneof", 2));
        let [set, get] = &config.inner[..] else { panic!("two choices") };
        assert_eq!((set.kind, set.token.as_deref(), set.inner.len()), ("block", Some("SET"), 2));
        assert!(set.multiple && get.multiple && get.token.as_deref() == Some("GET"));
        let list = parse("timeout# [(WRITE|ALL)] pattern*...");
        let shown: Vec<_> = list.iter().map(|argument| (argument.name.as_str(), argument.kind)).collect();
        assert_eq!(
            shown,
            [("timeout", "integer"), ("WRITE_ALL".to_ascii_lowercase().as_str(), "oneof"), ("pattern", "pattern")]
        );
        assert!(list[1].optional && list[2].multiple);
    }
}
