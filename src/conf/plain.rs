//! Plain directives: check a value, and print it the way a save writes it (config.md 2.7, 5.4).

use super::lexer;
use super::number;
use super::table::{Empty, Kind};

/// A checked value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `yes` or `no`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Printed in base 8.
    Octal(u32),
    /// Bytes.
    Memory(u64),
    /// Percent of something.
    Percent(u8),
    /// One of the words of its directive.
    Word(&'static str),
    /// Printed in quotes.
    Text(Vec<u8>),
    /// Printed one after the other, bare where that is safe.
    Words(Vec<Vec<u8>>),
    /// Not set: no line is printed.
    Unset,
}

impl Value {
    /// The line that sets `name` to this value; `None` when there should be none.
    pub fn print(&self, name: &str) -> Option<Vec<u8>> {
        let value = match self {
            Value::Bool(yes) => yes_no(*yes).as_bytes().to_vec(),
            Value::Int(number) => number.to_string().into_bytes(),
            Value::Octal(number) => format!("{number:o}").into_bytes(),
            Value::Memory(bytes) => number::print_memory(*bytes).into_bytes(),
            Value::Percent(percent) => format!("{percent}%").into_bytes(),
            Value::Word(word) => word.as_bytes().to_vec(),
            Value::Text(text) => lexer::quoted(text),
            Value::Words(words) if words.is_empty() => lexer::quoted(b""),
            Value::Words(words) => lexer::join(words),
            Value::Unset => return None,
        };
        Some([name.as_bytes(), b" ", &value].concat())
    }
}

/// `yes` or `no`
pub fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// Reads `yes` or `no` in any case.
pub fn parse_yes_no(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"yes") {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"no") {
        Some(false)
    } else {
        None
    }
}

const WRONG_COUNT: &str = "wrong number of arguments";
const SHUTDOWN_FLAGS: &[&str] = &["default", "save", "nosave", "now", "force"];
const TITLE_VARIABLES: &[&str] =
    &["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];

/// Whether a directive of this kind takes several values.
fn is_multi(kind: Kind) -> bool {
    use Kind::{Bind, BufferLimits, OomValues, Percentiles, ReplicaOf, Save, ShutdownFlags};
    matches!(kind, Bind | Save | BufferLimits | OomValues | ReplicaOf | Percentiles | ShutdownFlags)
}

/// Checks the values of a directive. The error is stock's text.
pub fn check(kind: Kind, values: &[Vec<u8>]) -> Result<Value, String> {
    if kind == Kind::Newer {
        return check_many(kind, values);
    }
    if is_multi(kind) {
        return match values {
            [one] if !one.is_empty() => check_many(kind, &lexer::split(one).map_err(|error| error.to_string())?),
            many => check_many(kind, many),
        };
    }
    let [value] = values else { return Err(WRONG_COUNT.to_owned()) };
    check_one(kind, value)
}

fn check_one(kind: Kind, text: &[u8]) -> Result<Value, String> {
    match kind {
        Kind::Bool => parse_yes_no(text).map(Value::Bool).ok_or_else(|| "argument must be 'yes' or 'no'".to_owned()),
        Kind::Int(low, high) => match number::strict(text) {
            None => Err("argument couldn't be parsed into an integer".to_owned()),
            Some(number) if number < low || number > high => Err(range(&low, &high)),
            Some(number) => Ok(Value::Int(number)),
        },
        Kind::Octal => match number::octal(text) {
            None => Err("argument couldn't be parsed as an octal number".to_owned()),
            Some(number) if !(0..=0o777).contains(&number) => Err(range(&0, &777)),
            Some(number) => Ok(Value::Octal(number as u32)),
        },
        Kind::Memory(low) => match number::memory(text) {
            None => Err("argument must be a memory value".to_owned()),
            Some(bytes) if bytes < low => Err(range(&low, &i64::MAX)),
            Some(bytes) => Ok(Value::Memory(bytes)),
        },
        Kind::MemoryOrPercent => memory_or_percent(text),
        Kind::Word(words) => word(words, text).map(Value::Word),
        Kind::Text(empty) => match empty {
            Empty::Unset if text.is_empty() => Ok(Value::Unset),
            _ => Ok(Value::Text(text.to_vec())),
        },
        Kind::TitleTemplate if is_title_template(text) => Ok(Value::Text(text.to_vec())),
        Kind::TitleTemplate => Err("template format is invalid or contains unknown variables".to_owned()),
        Kind::HostName if text.is_empty() => Ok(Value::Unset),
        Kind::HostName if text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) => {
            Ok(Value::Text(text.to_vec()))
        }
        Kind::HostName => Err("Hostnames may only contain alphanumeric characters, hyphens or dots".to_owned()),
        Kind::KeyspaceEvents if text.iter().all(|class| b"Ag$lshzxeKEtmdn".contains(class)) => {
            Ok(Value::Text(text.to_vec()))
        }
        Kind::KeyspaceEvents => Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
        // The directory itself is looked at while loading.
        _ => Ok(Value::Text(text.to_vec())),
    }
}

/// The value of a file name, whose messages begin with the name of its directive.
pub fn check_file_name(name: &str, empty: Empty, values: &[Vec<u8>]) -> Result<Value, String> {
    match values {
        [text] if text.is_empty() && empty == Empty::Refused => Err(format!("{name} can't be empty")),
        [text] if text.contains(&b'/') => Err(format!("{name} can't be a path, just a filename")),
        [text] => Ok(Value::Text(text.clone())),
        _ => Err(WRONG_COUNT.to_owned()),
    }
}

fn memory_or_percent(text: &[u8]) -> Result<Value, String> {
    let wrong = || "argument must be a memory or percent value".to_owned();
    match text.strip_suffix(b"%").map(number::strict) {
        None => number::memory(text).map(Value::Memory).ok_or_else(wrong),
        Some(Some(percent @ 0..=100)) => Ok(Value::Percent(percent as u8)),
        Some(Some(101..)) => Err("percentage argument must be less or equal to 100".to_owned()),
        Some(_) => Err(wrong()),
    }
}

fn is_title_template(text: &[u8]) -> bool {
    let Ok(mut rest) = std::str::from_utf8(text) else { return false };
    while let Some((_, after)) = rest.split_once('{') {
        let Some((variable, after)) = after.split_once('}') else { return false };
        if !TITLE_VARIABLES.contains(&variable) {
            return false;
        }
        rest = after;
    }
    !text.is_empty()
}

fn check_many(kind: Kind, values: &[Vec<u8>]) -> Result<Value, String> {
    let words = Value::Words(values.to_vec());
    let fail = |text: &str| Err(text.to_owned());
    match kind {
        Kind::Bind => match values {
            [] => fail(WRONG_COUNT),
            [empty] if empty.is_empty() => Ok(Value::Words(Vec::new())),
            [_, ..] if values.len() > 16 => fail("Too many bind addresses specified."),
            // Stock's default, which it removes from the file.
            [v4, v6] if v4 == b"*" && v6 == b"-::*" => Ok(Value::Unset),
            _ => Ok(words),
        },
        Kind::Save => {
            let none = matches!(values, [empty] if empty.is_empty());
            let pair = |pair: &[Vec<u8>]| {
                matches!(pair, [seconds, changes]
                    if number::strict(seconds).is_some_and(|n| n >= 1) && number::strict(changes).is_some_and(|n| n >= 0))
            };
            if none || (!values.is_empty() && values.chunks(2).all(pair)) {
                // A Sentinel saves nothing, and stock removes the line.
                Ok(Value::Unset)
            } else {
                fail("Invalid save parameters")
            }
        }
        Kind::BufferLimits => check_buffer_limits(values).map(|()| words),
        Kind::OomValues => {
            let bad = |value: &Vec<u8>| !number::strict(value).is_some_and(|n| (-2000..=2000).contains(&n));
            match values {
                [_, _, _] if values.iter().any(bad) => {
                    fail("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
                }
                [_, _, _] => Ok(words),
                _ => fail(WRONG_COUNT),
            }
        }
        Kind::ReplicaOf => match values {
            [no, one] if no.eq_ignore_ascii_case(b"no") && one.eq_ignore_ascii_case(b"one") => Ok(Value::Unset),
            [_, port] if number::strict(port).is_some_and(|port| (0..=65_535).contains(&port)) => Ok(words),
            [_, _] => fail("Invalid master port"),
            _ => fail(WRONG_COUNT),
        },
        Kind::Percentiles => {
            for value in values.iter().filter(|value| !value.is_empty() || values.len() > 1) {
                match std::str::from_utf8(value).ok().and_then(|text| text.parse::<f64>().ok()) {
                    None => return fail("Invalid latency-tracking-info-percentiles parameters"),
                    Some(number) if !(0.0..=100.0).contains(&number) => {
                        return fail("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
                    }
                    Some(_) => {}
                }
            }
            Ok(if values == [b""] { Value::Words(Vec::new()) } else { words })
        }
        Kind::ShutdownFlags => {
            let mut flags = Vec::new();
            for value in values {
                flags.push(word(SHUTDOWN_FLAGS, value)?);
            }
            match flags.as_slice() {
                [] => fail(WRONG_COUNT),
                flags if flags.contains(&"save") && flags.contains(&"nosave") => {
                    fail("shutdown options SAVE and NOSAVE can't be used simultaneously")
                }
                flags => Ok(Value::Words(flags.iter().map(|flag| flag.as_bytes().to_vec()).collect())),
            }
        }
        _ if values.is_empty() => fail(WRONG_COUNT),
        _ => Ok(words),
    }
}

fn check_buffer_limits(values: &[Vec<u8>]) -> Result<(), String> {
    if values.is_empty() || !values.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    for group in values.chunks(4) {
        if buffer_class(&group[0]).is_none() {
            return Err("Invalid client class specified in buffer limit configuration.".to_owned());
        }
        let sizes = group[1..3].iter().all(|size| number::memory(size).is_some());
        if !sizes || number::strict(&group[3]).is_none_or(|seconds| seconds < 0) {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned());
        }
    }
    Ok(())
}

/// The class of clients that an output buffer limit is for, by its current name.
pub fn buffer_class(text: &[u8]) -> Option<&'static str> {
    let classes = [("normal", "normal"), ("replica", "replica"), ("slave", "replica"), ("pubsub", "pubsub")];
    classes.iter().find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes())).map(|(_, class)| *class)
}

fn word(words: &'static [&'static str], text: &[u8]) -> Result<&'static str, String> {
    let found = words.iter().find(|word| text.eq_ignore_ascii_case(word.as_bytes()));
    found.copied().ok_or_else(|| format!("argument(s) must be one of the following: {}", words.join(", ")))
}

fn range(low: &dyn std::fmt::Display, high: &dyn std::fmt::Display) -> String {
    format!("argument must be between {low} and {high} inclusive")
}

/// A plain directive by name: checks its values. `dir` is looked up by the caller, who knows the current directory.
pub fn parse(name: &'static str, kind: Kind, values: &[Vec<u8>]) -> Result<Value, String> {
    match kind {
        Kind::FileName(empty) => check_file_name(name, empty, values),
        kind => check(kind, values),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn printed(line: &str) -> Result<Option<String>, String> {
        let tokens = lexer::split(line.as_bytes()).expect("balanced");
        let (name, kind) = table::find(&tokens[0]).expect("known");
        let value = parse(name, kind, &tokens[1..])?;
        Ok(value.print(name).map(|line| String::from_utf8(line).expect("text")))
    }

    /// config.md 34, 48-54, 57, 58
    #[test]
    fn bad_values_have_stocks_words() {
        for (line, error) in [
            ("loglevel notice # c", "wrong number of arguments"),
            ("daemonize maybe", "argument must be 'yes' or 'no'"),
            ("port abc", "argument couldn't be parsed into an integer"),
            ("port 70000", "argument must be between 0 and 65535 inclusive"),
            ("maxclients 0", "argument must be between 1 and 4294967295 inclusive"),
            ("unixsocketperm 999", "argument couldn't be parsed as an octal number"),
            ("unixsocketperm 1777", "argument must be between 0 and 777 inclusive"),
            ("supervised foo", "argument(s) must be one of the following: upstart, systemd, auto, no"),
            ("loglevel foo", "argument(s) must be one of the following: debug, verbose, notice, warning, nothing"),
            ("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "Too many bind addresses specified."),
            ("maxmemory 2X", "argument must be a memory value"),
            ("maxmemory-clients 101%", "percentage argument must be less or equal to 100"),
            ("client-query-buffer-limit 3", "argument must be between 1048576 and 9223372036854775807 inclusive"),
            ("client-output-buffer-limit foo 1 1 1", "Invalid client class specified in buffer limit configuration."),
            ("appendfilename a/b", "appendfilename can't be a path, just a filename"),
            ("proc-title-template {foo}", "template format is invalid or contains unknown variables"),
        ] {
            assert_eq!(printed(line), Err(error.to_owned()), "{line}");
        }
    }

    /// config.md 5.3 examples 4 and 5, 5.4, 138
    #[test]
    fn values_are_printed_in_their_canonical_form() {
        for (line, canonical) in [
            ("unixsocketperm 0700", Some("unixsocketperm 700")),
            ("masteruser y", Some("masteruser \"y\"")),
            ("loglevel NOTICE", Some("loglevel notice")),
            ("DAEMONIZE No".to_ascii_lowercase().as_str(), Some("daemonize no")),
            ("logfile ''", Some("logfile \"\"")),
            ("pidfile \"\"", None),
            ("maxmemory 1048576", Some("maxmemory 1mb")),
            ("bind 127.0.0.1 -::1", Some("bind 127.0.0.1 -::1")),
            ("bind \"127.0.0.1 -::1\"", Some("bind 127.0.0.1 -::1")),
            ("bind \"\"", Some("bind \"\"")),
            ("bind * -::*", None),
            ("save 900 1", None),
            ("slaveof h 1", Some("replicaof h 1")),
            ("slave-priority 5", Some("replica-priority 5")),
            ("requirepass 'a\"b\\c'", Some(r#"requirepass "a\"b\\c""#)),
        ] {
            assert_eq!(printed(line), Ok(canonical.map(str::to_owned)), "{line}");
        }
    }
}
