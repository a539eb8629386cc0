//! CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR. A Sentinel has no keys that a client could cache, so nothing is
//! ever invalidated; what a client asks for is kept and told, as in stock.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::session::Session;
use super::write::{NOT_AN_INTEGER, SYNTAX_ERROR};
use crate::resp::int::parse_strict;
use crate::resp::reply::Value;

/// What a client has asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// Whether it tracks at all.
    pub on: bool,
    /// How.
    pub flags: BTreeSet<Flag>,
    /// Id of the client that is to hear of it; 0 for itself.
    pub redirect: u64,
    /// `PREFIX`, with BCAST only.
    pub prefixes: BTreeSet<Bytes>,
}

/// An option without a value, in the order in which TRACKINGINFO lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// `BCAST`
    Bcast,
    /// `OPTIN`
    Optin,
    /// `OPTOUT`
    Optout,
    /// `NOLOOP`
    Noloop,
}

impl Tracking {
    /// Whether it asked for that.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// As in CLIENT LIST: -1 if it does not track.
    pub fn redirection(&self) -> i64 {
        if self.on { self.redirect as i64 } else { -1 }
    }
}

const NO_SUCH_TARGET: Value = Value::fixed_error("ERR The client ID you want redirect to does not exist");
const ONE_TARGET: Value = Value::fixed_error("ERR A client can only redirect to a single other client");
const PREFIX_NEEDS_BCAST: Value = Value::fixed_error("ERR PREFIX option requires BCAST mode to be enabled");
const OTHER_BCAST: Value = Value::fixed_error(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a \
     different mode.",
);
const NO_BCAST: Value = Value::fixed_error("ERR OPTIN and OPTOUT are not compatible with BCAST");
const BOTH: Value = Value::fixed_error("ERR You can't specify both OPTIN mode and OPTOUT mode");
const OTHER_OPT: Value = Value::fixed_error(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a \
     different mode.",
);
const NOT_TRACKING: Value = Value::fixed_error(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);
const NOT_OPTIN: Value =
    Value::fixed_error("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
const NOT_OPTOUT: Value =
    Value::fixed_error("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");

/// `CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`
pub(crate) fn tracking(session: &mut Session, words: &[Bytes]) -> Value {
    match change(session, &words[2], &words[3..]) {
        Ok(tracking) => {
            session.context.clients.track(&session.client, |known| *known = tracking);
            session.caching = false;
            Value::OK
        }
        Err(refusal) => refusal,
    }
}

fn change(session: &Session, switch: &Bytes, options: &[Bytes]) -> Result<Tracking, Value> {
    let (asked, prefixes) = parse(session, options)?;
    match switch.to_ascii_lowercase().as_slice() {
        b"on" => {}
        b"off" => return Ok(Tracking::default()),
        _ => return Err(SYNTAX_ERROR),
    }
    let mut known = session.client.tracking();
    let (optin, optout) = (asked.has(Flag::Optin), asked.has(Flag::Optout));
    if !asked.has(Flag::Bcast) && !prefixes.is_empty() {
        return Err(PREFIX_NEEDS_BCAST);
    }
    if known.on && known.has(Flag::Bcast) != asked.has(Flag::Bcast) {
        return Err(OTHER_BCAST);
    }
    if asked.has(Flag::Bcast) && (optin || optout) {
        return Err(NO_BCAST);
    }
    if optin && optout {
        return Err(BOTH);
    }
    if (optin && known.has(Flag::Optout)) || (optout && known.has(Flag::Optin)) {
        return Err(OTHER_OPT);
    }
    if let Some(refusal) = collision(&prefixes, &known.prefixes) {
        return Err(refusal);
    }
    // Without any, it is told of everything.
    let prefixes = if asked.has(Flag::Bcast) && prefixes.is_empty() { vec![Bytes::new()] } else { prefixes };
    known.prefixes.extend(prefixes);
    Ok(Tracking { on: true, prefixes: known.prefixes, ..asked })
}

fn parse(session: &Session, mut options: &[Bytes]) -> Result<(Tracking, Vec<Bytes>), Value> {
    let (mut asked, mut prefixes) = (Tracking::default(), Vec::new());
    while let Some((option, rest)) = options.split_first() {
        options = rest;
        match (option.to_ascii_lowercase().as_slice(), rest) {
            (b"redirect", [id, rest @ ..]) => {
                if asked.redirect > 0 {
                    return Err(ONE_TARGET);
                }
                let id = parse_strict(id).ok_or(NOT_AN_INTEGER)?;
                let found = session.context.clients.list().into_iter().find(|client| client.id as i64 == id);
                asked.redirect = found.ok_or(NO_SUCH_TARGET)?.id;
                options = rest;
            }
            (b"prefix", [prefix, rest @ ..]) => {
                // A copy: the prefix must not keep the buffer alive in which it arrived.
                prefixes.push(Bytes::copy_from_slice(prefix));
                options = rest;
            }
            (b"bcast", _) => drop(asked.flags.insert(Flag::Bcast)),
            (b"optin", _) => drop(asked.flags.insert(Flag::Optin)),
            (b"optout", _) => drop(asked.flags.insert(Flag::Optout)),
            (b"noloop", _) => drop(asked.flags.insert(Flag::Noloop)),
            _ => return Err(SYNTAX_ERROR),
        }
    }
    Ok((asked, prefixes))
}

/// Prefixes of which one begins with the other.
fn collision(asked: &[Bytes], known: &BTreeSet<Bytes>) -> Option<Value> {
    let collide = |a: &Bytes, b: &Bytes| a.starts_with(b) || b.starts_with(a);
    let complain = |prefix: &Bytes, what: &[u8], other: &Bytes| {
        let end = b"'. Prefixes for a single client must not overlap.";
        Value::echo_error(&[b"ERR Prefix '", prefix, b"' overlaps with ", what, b" prefix '", other, end])
    };
    for (at, prefix) in asked.iter().enumerate() {
        if let Some(other) = known.iter().find(|other| collide(prefix, other)) {
            return Some(complain(prefix, b"an existing", other));
        }
        if let Some(other) = asked[at + 1..].iter().find(|other| collide(prefix, other)) {
            return Some(complain(prefix, b"another provided", other));
        }
    }
    None
}

/// `CLIENT CACHING YES|NO`: for the commands up to the next one that is not CLIENT.
pub(crate) fn caching(session: &mut Session, words: &[Bytes]) -> Value {
    let tracking = session.client.tracking();
    if !tracking.on {
        return NOT_TRACKING;
    }
    match words[2].to_ascii_lowercase().as_slice() {
        b"yes" if !tracking.has(Flag::Optin) => NOT_OPTIN,
        b"no" if !tracking.has(Flag::Optout) => NOT_OPTOUT,
        b"yes" | b"no" => {
            session.caching = true;
            Value::OK
        }
        _ => SYNTAX_ERROR,
    }
}

/// `CLIENT TRACKINGINFO`
pub(crate) fn trackinginfo(session: &mut Session, _words: &[Bytes]) -> Value {
    let tracking = session.client.tracking();
    let mut flags = vec![if tracking.on { "on" } else { "off" }];
    for flag in &tracking.flags {
        flags.extend(match flag {
            Flag::Bcast => vec!["bcast"],
            Flag::Optin if session.caching => vec!["optin", "caching-yes"],
            Flag::Optin => vec!["optin"],
            Flag::Optout if session.caching => vec!["optout", "caching-no"],
            Flag::Optout => vec!["optout"],
            Flag::Noloop => vec!["noloop"],
        });
    }
    let flags = flags.into_iter().map(Value::name).collect();
    let redirect = Value::Integer(tracking.redirection());
    let prefixes = tracking.prefixes.into_iter().map(Value::Bulk).collect();
    Value::Map(vec![
        (Value::name("flags"), Value::Set(flags)),
        (Value::name("redirect"), redirect),
        (Value::name("prefixes"), Value::Array(prefixes)),
    ])
}

/// `CLIENT GETREDIR`
pub(crate) fn getredir(session: &mut Session, _words: &[Bytes]) -> Value {
    Value::Integer(session.client.tracking().redirection())
}
