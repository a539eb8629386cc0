//! Options of SENTINEL SET, CONFIG, DEBUG and SIMULATE-FAILURE: words to typed changes, left to right.
//!
//! Like stock, SET, DEBUG and SIMULATE-FAILURE are not atomic: what stands before a wrong option is applied, and then
//! the error is replied. CONFIG SET is atomic, as since Redis 7.2.

use bytes::Bytes;
use nix::unistd::{AccessFlags, access};

use super::read::{Snapshots, UNKNOWN_MASTER};
use super::write::Errand;
use crate::driver::{NodeChange, SupervisorRequest};
use crate::pattern::{Case, matches};
use crate::resp::int::parse_strict;
use crate::resp::reply::Value;
use crate::sentinel::id::Secret;
use crate::sentinel::io::{AdminRequest, SetOption, SpecChange};
use crate::sentinel::time::Periods;

/// `SENTINEL SET name option value [option value ...]`
pub(crate) fn set(snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    let Some(view) = snapshots.view(&words[2]) else { return Errand::Reply(UNKNOWN_MASTER) };
    let scripts = if snapshots.settings().deny_scripts_reconfig { Scripts::Denied } else { Scripts::Allowed };
    let mut options = Vec::new();
    let mut rest = &words[3..];
    let refusal = loop {
        match rest {
            [] => break None,
            [option, values @ ..] => match set_option(option, values, scripts) {
                Ok((parsed, used)) => {
                    options.push(parsed);
                    rest = &values[used..];
                }
                Err(refusal) => break Some(refusal),
            },
        }
    };
    match refusal {
        Some(refusal) if options.is_empty() => Errand::Reply(refusal),
        refusal => Errand::Admin { master: view.name(), request: AdminRequest::Set(options), refusal },
    }
}

/// `deny-scripts-reconfig`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scripts {
    Denied,
    Allowed,
}

/// One option with its values; also how many values it took.
fn set_option(option: &Bytes, values: &[Bytes], scripts: Scripts) -> Result<(SetOption, usize), Value> {
    let name = option.to_ascii_lowercase();
    let unknown = || Value::echo_error(&[UNKNOWN_SET_OPTION, option, b"'"]);
    let [value, more @ ..] = values else { return Err(unknown()) };
    let bad = |value: &Bytes| bad_argument(value, b"SET", option);
    let number = |least: i64| parse_strict(value).filter(|n| *n >= least).ok_or_else(|| bad(value));
    let narrow = |n: i64| u32::try_from(n).map_err(|_| bad(value));
    let change = match name.as_slice() {
        b"down-after-milliseconds" => SpecChange::DownAfter(number(1)? as u64),
        b"failover-timeout" => SpecChange::FailoverTimeout(number(1)? as u64),
        // Stock cuts both to 32 bits without a word.
        b"parallel-syncs" => SpecChange::ParallelSyncs(narrow(number(1)?)?),
        b"quorum" => SpecChange::Quorum(narrow(number(1)?)?),
        b"master-reboot-down-after-period" | b"primary-reboot-down-after-period" => {
            SpecChange::RebootDownAfter(number(0)? as u64)
        }
        b"notification-script" => SpecChange::NotificationScript(script(value, scripts, NO_NOTIFICATION_SCRIPT)?),
        b"client-reconfig-script" => {
            SpecChange::ClientReconfigScript(script(value, scripts, NO_CLIENT_RECONFIG_SCRIPT)?)
        }
        b"auth-pass" => SpecChange::AuthPass(some_bytes(value).map(Secret::from)),
        b"auth-user" => SpecChange::AuthUser(some_text(value)),
        b"rename-command" => {
            let Some(to) = more.first() else { return Err(unknown()) };
            if value.is_empty() {
                return Err(bad(value));
            }
            if to.is_empty() {
                return Err(bad(to));
            }
            if has_control_characters(value) || has_control_characters(to) {
                return Err(Value::fixed_error("ERR Names of commands must not contain control characters"));
            }
            let change = SpecChange::RenameCommand { from: text(value).to_uppercase(), to: text(to) };
            let shown = format!("{} {} {}", text(option), text(value), text(to));
            return Ok((SetOption { shown, change }, 2));
        }
        _ => return Err(unknown()),
    };
    let shown = match change {
        SpecChange::AuthPass(_) => format!("{} ******", text(option)),
        _ => format!("{} {}", text(option), text(value)),
    };
    Ok((SetOption { shown, change }, 1))
}

const UNKNOWN_SET_OPTION: &[u8] = b"ERR Unknown option or number of arguments for SENTINEL SET '";
const SCRIPTS_DENIED: Value = Value::fixed_error(
    "ERR Reconfiguration of scripts path is denied for security reasons. Check the deny-scripts-reconfig \
     configuration directive in your Sentinel configuration",
);
const NO_NOTIFICATION_SCRIPT: &str = "ERR Notification script seems non existing or non executable";
const NO_CLIENT_RECONFIG_SCRIPT: &str = "ERR Client reconfiguration script seems non existing or non executable";

fn script(value: &Bytes, scripts: Scripts, missing: &'static str) -> Result<Option<String>, Value> {
    if scripts == Scripts::Denied {
        return Err(SCRIPTS_DENIED);
    }
    if has_control_characters(value) {
        return Err(Value::fixed_error("ERR A script's path must not contain control characters"));
    }
    let path = some_text(value);
    let usable = path.as_ref().is_none_or(|path| access(path.as_str(), AccessFlags::X_OK).is_ok());
    if usable { Ok(path) } else { Err(Value::fixed_error(missing)) }
}

fn bad_argument(value: &Bytes, command: &[u8], option: &Bytes) -> Value {
    Value::echo_error(&[b"ERR Invalid argument '", value, b"' for SENTINEL ", command, b" '", option, b"'"])
}

/// Stock writes them to its file as they are, and cannot start from it again; releases since 2026 refuse them.
fn has_control_characters(value: &Bytes) -> bool {
    value.iter().any(u8::is_ascii_control)
}

/// Settings are text. Bytes that are not are replaced, rather than written to a file that nobody could load.
fn text(value: &Bytes) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn some_text(value: &Bytes) -> Option<String> {
    some_bytes(value).map(|_| text(value))
}

fn some_bytes(value: &Bytes) -> Option<&[u8]> {
    (!value.is_empty()).then_some(&value[..])
}

const CONFIG_USAGE: Value =
    Value::fixed_error("ERR Only SENTINEL CONFIG GET <option> / SET <option> <value> are supported.");

/// `SENTINEL CONFIG GET pattern ...` and `SENTINEL CONFIG SET name value ...`
pub(crate) fn config(snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    match (words[2].to_ascii_lowercase().as_slice(), words.len()) {
        (b"get", 4..) => Errand::Reply(config_get(snapshots, &words[3..])),
        (b"set", 5..) => match config_set(&words[3..]) {
            Ok(changes) => Errand::Supervisor { request: SupervisorRequest::ConfigSet(changes), reply: None },
            Err(refusal) => Errand::Reply(refusal),
        },
        _ => Errand::Reply(CONFIG_USAGE),
    }
}

fn config_get(snapshots: &Snapshots, patterns: &[Bytes]) -> Value {
    let settings = snapshots.settings();
    let yes_no = |on: bool| Value::name(if on { "yes" } else { "no" });
    let optional = |text: &Option<String>| Value::text(text.clone().unwrap_or_default());
    let password = settings.sentinel_pass.as_ref().map_or(Bytes::new(), |pass| Bytes::copy_from_slice(&pass.0));
    let parameters = [
        ("resolve-hostnames", yes_no(settings.resolve_hostnames)),
        ("announce-hostnames", yes_no(settings.announce_hostnames)),
        ("announce-ip", optional(&settings.announce_ip)),
        ("announce-port", Value::number(settings.announce_port)),
        ("sentinel-user", optional(&settings.sentinel_user)),
        ("sentinel-pass", Value::Bulk(password)),
        ("loglevel", Value::text(snapshots.context.log_level.borrow().clone())),
    ];
    let mut chosen: Vec<(&str, Value)> = Vec::new();
    for pattern in patterns {
        for (name, value) in &parameters {
            let is_new = !chosen.iter().any(|(known, _)| known == name);
            if is_new && matches(pattern, name.as_bytes(), Case::Insensitive) {
                chosen.push((name, value.clone()));
            }
        }
    }
    Value::Map(chosen.into_iter().map(|(name, value)| (Value::text(name), value)).collect())
}

fn config_set(words: &[Bytes]) -> Result<Vec<NodeChange>, Value> {
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut changes = Vec::new();
    for pair in words.chunks(2) {
        let option = &pair[0];
        let name = option.to_ascii_lowercase();
        let about = |before: &[u8], after: &[u8]| Value::echo_error(&[b"ERR ", before, b" '", option, b"'", after]);
        if !CONFIG_NAMES.contains(&name.as_slice()) {
            return Err(about(b"Invalid argument", b" to SENTINEL CONFIG SET"));
        }
        if seen.contains(&name) {
            return Err(about(b"Duplicate argument", b" to SENTINEL CONFIG SET"));
        }
        let Some(value) = pair.get(1) else { return Err(about(b"Missing argument", b" value")) };
        if name == b"announce-ip" && has_control_characters(value) {
            return Err(Value::fixed_error("ERR announce-ip must not contain control characters"));
        }
        let change = config_change(&name, value).ok_or_else(|| {
            Value::echo_error(&[b"ERR Invalid value '", value, b"' to SENTINEL CONFIG SET '", option, b"'"])
        })?;
        changes.push(change);
        seen.push(name);
    }
    Ok(changes)
}

const CONFIG_NAMES: [&[u8]; 7] = [
    b"resolve-hostnames",
    b"announce-hostnames",
    b"announce-ip",
    b"announce-port",
    b"sentinel-user",
    b"sentinel-pass",
    b"loglevel",
];

/// `None` if the value is wrong.
fn config_change(name: &[u8], value: &Bytes) -> Option<NodeChange> {
    Some(match name {
        b"resolve-hostnames" => NodeChange::ResolveHostnames(yes_or_no(value)?),
        b"announce-hostnames" => NodeChange::AnnounceHostnames(yes_or_no(value)?),
        b"announce-ip" => NodeChange::AnnounceIp(some_text(value)),
        b"announce-port" => NodeChange::AnnouncePort(u16::try_from(parse_strict(value)?).ok()?),
        b"sentinel-user" => NodeChange::SentinelUser(some_text(value)),
        b"sentinel-pass" => NodeChange::SentinelPass(some_bytes(value).map(Secret::from)),
        _ => {
            let level = text(value).to_ascii_lowercase();
            let known = ["debug", "verbose", "notice", "warning", "nothing"].contains(&level.as_str());
            NodeChange::LogLevel(known.then_some(level)?)
        }
    })
}

fn yes_or_no(value: &Bytes) -> Option<bool> {
    match value.to_ascii_lowercase().as_slice() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

/// `SENTINEL SIMULATE-FAILURE flag ...`
pub(crate) fn simulate_failure(_snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    let (mut after_election, mut after_promotion) = (false, false);
    let mut reply = None;
    for flag in &words[2..] {
        match flag.to_ascii_lowercase().as_slice() {
            b"crash-after-election" => after_election = true,
            b"crash-after-promotion" => after_promotion = true,
            b"help" => {
                let names = ["crash-after-election", "crash-after-promotion"];
                reply = Some(Value::Array(names.map(Value::name).to_vec()));
                break;
            }
            _ => {
                reply = Some(Value::fixed_error("ERR Unknown failure simulation specified"));
                break;
            }
        }
    }
    // Applied even before an error: the flags are replaced by what was read so far.
    let change = NodeChange::SimulateFailure { after_election, after_promotion };
    Errand::Supervisor { request: SupervisorRequest::Tune(vec![change]), reply }
}

/// A period's upper-case name and where it is.
type Period = (&'static str, fn(&Periods) -> u64);

/// In the order in which `SENTINEL DEBUG` lists them.
const PERIODS: [Period; 13] = [
    ("INFO-PERIOD", |periods| periods.info),
    ("PING-PERIOD", |periods| periods.ping),
    ("ASK-PERIOD", |periods| periods.ask),
    ("PUBLISH-PERIOD", |periods| periods.publish),
    ("DEFAULT-DOWN-AFTER", |periods| periods.default_down_after),
    ("DEFAULT-FAILOVER-TIMEOUT", |periods| periods.default_failover_timeout),
    ("TILT-TRIGGER", |periods| periods.tilt_trigger),
    ("TILT-PERIOD", |periods| periods.tilt),
    ("SLAVE-RECONF-TIMEOUT", |periods| periods.slave_reconf_timeout),
    ("MIN-LINK-RECONNECT-PERIOD", |periods| periods.min_link_reconnect),
    ("ELECTION-TIMEOUT", |periods| periods.election_timeout),
    ("SCRIPT-MAX-RUNTIME", |periods| periods.script_max_runtime),
    ("SCRIPT-RETRY-DELAY", |periods| periods.script_retry_delay),
];

/// `SENTINEL DEBUG` and `SENTINEL DEBUG name ms ...`
pub(crate) fn debug(snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    if words.len() == 2 {
        let periods = snapshots.settings().periods;
        let list = PERIODS.map(|(name, period)| (Value::name(name), Value::number(period(&periods))));
        return Errand::Reply(Value::Map(list.to_vec()));
    }
    let mut changes = Vec::new();
    let mut refusal = None;
    for pair in words[2..].chunks(2) {
        match debug_change(pair) {
            Ok(change) => changes.push(change),
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }
    match refusal {
        Some(refusal) if changes.is_empty() => Errand::Reply(refusal),
        reply => Errand::Supervisor { request: SupervisorRequest::Tune(changes), reply },
    }
}

fn debug_change(pair: &[Bytes]) -> Result<NodeChange, Value> {
    let option = &pair[0];
    let known = PERIODS.iter().find(|(name, _)| option.eq_ignore_ascii_case(name.as_bytes()));
    let (Some((name, _)), Some(value)) = (known, pair.get(1)) else {
        let unknown = b"ERR Unknown option or number of arguments for SENTINEL DEBUG '";
        return Err(Value::echo_error(&[unknown, option, b"'"]));
    };
    let ms = parse_strict(value).filter(|ms| *ms > 0).ok_or_else(|| bad_argument(value, b"DEBUG", option))?;
    Ok(NodeChange::Period(name, ms as u64))
}
