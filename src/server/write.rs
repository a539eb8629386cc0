//! Commands that become messages to a monitor or to the supervisor, and wait for their answer.
//!
//! Each is planned first, without waiting, into an [`Errand`]; [`run`] then does the asking. What can be refused by
//! looking at the words is refused in the plan, in stock's order.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::read::{self, Snapshots, UNKNOWN_MASTER};
use super::session::Ending;
use super::{Context, acl};
use crate::driver::{Answered, MonitorMessage, SupervisorRequest};
use crate::pattern::{Case, matches};
use crate::resp::int::parse_strict;
use crate::resp::reply::Value;
use crate::sentinel::addr::Addr;
use crate::sentinel::command::HELLO_CHANNEL;
use crate::sentinel::id::{Epoch, MasterName, RunId};
use crate::sentinel::io::{AdminRequest, Answer, FailoverOrder, Input};
use crate::sentinel::monitor::hello::Hello;
use crate::sentinel::monitor::record::MasterSpec;
use crate::sentinel::monitor::view::{InstanceView, MasterView};
use crate::sentinel::policy::FailoverMode;

pub(crate) const NOT_AN_INTEGER: Value = Value::fixed_error("ERR value is not an integer or out of range");
pub(crate) const SYNTAX_ERROR: Value = Value::fixed_error("ERR syntax error");
const BAD_ADDRESS: Value = Value::fixed_error("ERR Invalid IP address or hostname specified");

/// How long a host name given to MONITOR may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What has to be asked, and of whom.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Nobody: this is the reply.
    Reply(Value),
    /// A monitor, to do something to its master. `refusal` is replied instead of its answer: a later part of the
    /// request was wrong, but this part stays done.
    Admin { master: MasterName, request: AdminRequest, refusal: Option<Value> },
    /// A monitor, to take what is at this address, whose host may have to be resolved first, for one of its own.
    Adopt { master: MasterName, host: String, port: u16 },
    /// Several monitors, to reset their masters. The reply is how many there were.
    Reset(Vec<MasterName>),
    /// The monitor of the master at an address, for a vote.
    Vote(Ballot),
    /// Whoever monitors the master that this host name means, for a vote or, without a candidate, for its opinion.
    AskedByName { host: String, port: u16, epoch: Epoch, candidate: Option<RunId> },
    /// The monitor of the master that a hello speaks of, to take it. No answer is waited for.
    Hello(Hello),
    /// Several monitors, for the whole INFO of their servers.
    InfoCache(Vec<MasterName>),
    /// The supervisor, to monitor a master whose host may have to be resolved first.
    Monitor { spec: MasterSpec, host: String, port: u16 },
    /// The supervisor. `reply` is replied instead of `+OK`.
    Supervisor { request: SupervisorRequest, reply: Option<Value> },
    /// The supervisor, to end the process.
    Shutdown,
    /// The ACL file, for its users.
    LoadUsers,
    /// The ACL file, to take the users.
    SaveUsers,
}

/// What a peer asks for: a vote for `candidate`, in `epoch`, about the master that it knows at `addr`.
#[derive(Debug)]
pub(crate) struct Ballot {
    master: MasterName,
    addr: Addr,
    epoch: Epoch,
    candidate: RunId,
}

/// What came of an errand.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) reply: Value,
    /// Events up to this one were published before the answer was given.
    pub(crate) after_event: Option<u64>,
    /// The connection is to be closed.
    pub(crate) ending: Option<Ending>,
}

impl Outcome {
    fn plain(reply: Value) -> Outcome {
        Outcome { reply, after_event: None, ending: None }
    }

    fn after(reply: Value, answered: &Answered) -> Outcome {
        Outcome { reply, after_event: Some(answered.after_event), ending: None }
    }

    fn of(answered: &Answered) -> Outcome {
        Outcome::after(reply_of(&answered.answer), answered)
    }
}

fn reply_of(answer: &Answer) -> Value {
    match answer {
        Answer::Ok => Value::OK,
        Answer::Error(text) => Value::error(text.as_str()),
        Answer::Vote { down, leader, epoch } => {
            let leader = leader.as_ref().map_or("*", RunId::as_str);
            opinion(*down, leader, epoch.0 as i64)
        }
    }
}

fn opinion(down: bool, leader: &str, epoch: i64) -> Value {
    Value::Array(vec![Value::Integer(i64::from(down)), Value::text(leader), Value::Integer(epoch)])
}

/// Whether a server with this name is a replica of another master. A resolver that gives many names one address, as some
/// do when they fail, must not have us vote for one master in the name of another.
fn is_replica_elsewhere(context: &Context, master: &MasterName, host: &str, port: u16) -> bool {
    let directory = context.reader.directory.borrow();
    let mut others = directory.iter().filter(|(name, _)| *name != master).map(|(_, entry)| entry.view.borrow());
    let is_it = |own: &InstanceView| own.port == port && own.host.eq_ignore_ascii_case(host);
    others.any(|view| view.replicas.iter().any(|replica| is_it(&replica.instance)))
}

/// Asks, waits and replies. `asker` is the id of the connection that waits.
pub(crate) async fn run(errand: Errand, context: &Context, asker: u64) -> Outcome {
    match errand {
        Errand::LoadUsers => Outcome::plain(acl::file::load(context, asker).await),
        Errand::SaveUsers => Outcome::plain(acl::file::save(context).await),
        Errand::Reply(reply) => Outcome::plain(reply),
        Errand::Admin { master, request, refusal } => match ask_monitor(context, &master, request).await {
            None => Outcome::plain(UNKNOWN_MASTER),
            Some(answered) => match refusal {
                Some(refusal) => Outcome::after(refusal, &answered),
                None => Outcome::of(&answered),
            },
        },
        Errand::Adopt { master, host, port } => match resolve(&host, port).await {
            None => Outcome::plain(BAD_ADDRESS),
            Some(addr) => match ask_monitor(context, &master, AdminRequest::Adopt(addr)).await {
                None => Outcome::plain(UNKNOWN_MASTER),
                Some(answered) => Outcome::of(&answered),
            },
        },
        Errand::Reset(masters) => reset_all(context, masters).await,
        Errand::InfoCache(masters) => Outcome::plain(info_cache_of(context, &masters).await),
        Errand::Vote(ballot) => ask_vote(context, ballot).await,
        Errand::AskedByName { host, port, epoch, candidate } => {
            let Some(addr) = resolve(&host, port).await else { return Outcome::plain(opinion(false, "*", 0)) };
            let meant = addr.ip.map_or_else(String::new, |ip| ip.to_string());
            let master = context.reader.book.borrow().master_at(&(meant, port)).cloned();
            let master = master.filter(|master| !is_replica_elsewhere(context, master, &host, port));
            match (master, candidate) {
                (None, _) => Outcome::plain(opinion(false, "*", 0)),
                (Some(master), Some(candidate)) => ask_vote(context, Ballot { master, addr, epoch, candidate }).await,
                (Some(master), None) => {
                    let view = context.reader.directory.borrow().get(&master).map(|entry| entry.view.borrow().clone());
                    Outcome::plain(looks_down(view.as_deref(), context.tilt.is_on()))
                }
            }
        }
        Errand::Hello(hello) => {
            let mailbox = context.reader.directory.borrow().get(&hello.master).map(|entry| entry.mailbox.clone());
            if let Some(mailbox) = mailbox {
                mailbox.send(MonitorMessage::Input(Input::Hello(Box::new(hello)))).await;
            }
            Outcome::plain(Value::Integer(1))
        }
        Errand::Monitor { spec, host, port } => match resolve(&host, port).await {
            None => Outcome::plain(BAD_ADDRESS),
            Some(addr) => ask_supervisor(context, SupervisorRequest::Monitor { spec, addr }, None).await,
        },
        Errand::Supervisor { request, reply } => ask_supervisor(context, request, reply).await,
        Errand::Shutdown => {
            let outcome = ask_supervisor(context, SupervisorRequest::Shutdown, Some(Value::Nothing)).await;
            Outcome { ending: Some(Ending::Flushed), ..outcome }
        }
    }
}

async fn ask_vote(context: &Context, ballot: Ballot) -> Outcome {
    match request_vote(context, ballot).await.await.ok() {
        Some(answered) => Outcome::of(&answered),
        None => Outcome::plain(vote_reply(None)),
    }
}

/// Puts a request for a vote where it will be answered, once the vote is on disk; waits only for room there. Without an
/// answer the master is gone.
pub(crate) async fn request_vote(context: &Context, ballot: Ballot) -> oneshot::Receiver<Answered> {
    let Ballot { master, addr, epoch, candidate } = ballot;
    let (reply, answer) = oneshot::channel();
    let mailbox = context.reader.directory.borrow().get(&master).map(|entry| entry.mailbox.clone());
    if let Some(mailbox) = mailbox {
        mailbox.send(MonitorMessage::Vote { addr, epoch, candidate, reply }).await;
    }
    answer
}

/// The reply to a request for a vote. A master removed meanwhile is an unknown address.
pub(crate) fn vote_reply(answered: Option<&Answered>) -> Value {
    answered.map_or_else(|| opinion(false, "*", 0), |answered| reply_of(&answered.answer))
}

fn looks_down(view: Option<&MasterView>, tilt: bool) -> Value {
    let sdown = view.is_some_and(|view| view.instance.sdown_since.is_some());
    opinion(sdown && !tilt, "*", 0)
}

async fn ask_monitor(context: &Context, master: &MasterName, request: AdminRequest) -> Option<Answered> {
    let (reply, answer) = oneshot::channel();
    send(context, master, MonitorMessage::Admin { request, reply }, answer).await
}

/// `None` if the master is gone, now or before it has answered.
async fn send(
    context: &Context,
    master: &MasterName,
    message: MonitorMessage,
    answer: oneshot::Receiver<Answered>,
) -> Option<Answered> {
    let mailbox = context.reader.directory.borrow().get(master)?.mailbox.clone();
    mailbox.send(message).await;
    answer.await.ok()
}

async fn reset_all(context: &Context, masters: Vec<MasterName>) -> Outcome {
    let mut outcome = Outcome::plain(Value::Integer(0));
    let mut count = 0;
    for master in masters {
        if let Some(answered) = ask_monitor(context, &master, AdminRequest::Reset).await {
            count += 1;
            outcome.after_event = outcome.after_event.max(Some(answered.after_event));
        }
    }
    outcome.reply = Value::Integer(count);
    outcome
}

/// All monitors are asked before the first answer is waited for, so that servers which do not answer delay it only once.
async fn info_cache_of(context: &Context, masters: &[MasterName]) -> Value {
    let mut answers = Vec::new();
    for master in masters {
        let (reply, answer) = oneshot::channel();
        let mailbox = context.reader.directory.borrow().get(master).map(|entry| entry.mailbox.clone());
        if let Some(mailbox) = mailbox {
            mailbox.send(MonitorMessage::Admin { request: AdminRequest::WholeInfo, reply }).await;
            answers.push(answer);
        }
    }
    for answer in answers {
        let _ = answer.await;
    }
    let directory = context.reader.directory.borrow().clone();
    let views: Vec<_> = masters.iter().filter_map(|name| Some(directory.get(name)?.view.borrow().clone())).collect();
    read::info_cache(&views, context.clock.mono())
}

async fn ask_supervisor(context: &Context, request: SupervisorRequest, reply: Option<Value>) -> Outcome {
    let (sender, answer) = oneshot::channel();
    let sent = context.supervisor.requests.send((request, sender)).await;
    let answered = match sent {
        Ok(()) => answer.await.ok(),
        Err(_) => None,
    };
    match (answered, reply) {
        (None, _) => Outcome::plain(Value::fixed_error("ERR The process is shutting down")),
        (Some(answered), Some(reply)) if answered.answer == Answer::Ok => Outcome::after(reply, &answered),
        (Some(answered), _) => Outcome::of(&answered),
    }
}

async fn resolve(host: &str, port: u16) -> Option<Addr> {
    let addr = Addr::new(host, port);
    if addr.ip.is_some() {
        return Some(addr);
    }
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await.ok()?.ok()?;
    let ip = found.map(|addr| addr.ip()).next()?;
    Some(addr.meaning(Some(ip)))
}

/// `SENTINEL FAILOVER name [COORDINATED] [TO host port] [TIMEOUT ms]`, options in any order, each once.
pub(crate) fn failover(snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    let Some(view) = snapshots.view(&words[2]) else { return Errand::Reply(UNKNOWN_MASTER) };
    match parse_failover(&words[3..]) {
        Err(refusal) => Errand::Reply(refusal),
        Ok(order) => Errand::Admin { master: view.name(), request: AdminRequest::Failover(order), refusal: None },
    }
}

/// The options of SENTINEL FAILOVER. An unknown word is told in Valkey's words, a bad `TIMEOUT` in those of FAILOVER.
fn parse_failover(words: &[Bytes]) -> Result<FailoverOrder, Value> {
    let mut order = FailoverOrder::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        rest = match (word.to_ascii_lowercase().as_slice(), after) {
            (b"coordinated", _) if order.mode.is_none() => {
                order.mode = Some(FailoverMode::Coordinated);
                after
            }
            (b"to", [host, port, after @ ..]) if order.to.is_none() => {
                let host = std::str::from_utf8(host).map_err(|_| BAD_ADDRESS)?;
                let port = parse_strict(port).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
                order.to = Some(Addr::new(host, port.ok_or(Value::fixed_error("ERR Invalid port"))?));
                after
            }
            (b"timeout", [ms, after @ ..]) if order.timeout.is_none() => {
                let ms = parse_strict(ms).ok_or(NOT_AN_INTEGER)?;
                let ms = u64::try_from(ms).ok().filter(|ms| *ms > 0);
                order.timeout = Some(ms.ok_or(Value::fixed_error("ERR FAILOVER timeout must be greater than 0"))?);
                after
            }
            (b"coordinated" | b"to" | b"timeout", _) => return Err(SYNTAX_ERROR),
            _ => return Err(Value::fixed_error("ERR Unknown failover option specified")),
        };
    }
    Ok(order)
}

/// `SENTINEL INFO-CACHE name ...`. Names that are unknown or were given before are passed over.
pub(crate) fn info_cache(snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    let mut masters: Vec<MasterName> = Vec::new();
    for view in words[2..].iter().filter_map(|name| snapshots.view(name)) {
        if !masters.contains(&view.name()) {
            masters.push(view.name());
        }
    }
    Errand::InfoCache(masters)
}

/// `SENTINEL ADOPT name host port`
pub(crate) fn adopt(snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    plan_adopt(snapshots, words).unwrap_or_else(Errand::Reply)
}

fn plan_adopt(snapshots: &mut Snapshots, words: &[Bytes]) -> Result<Errand, Value> {
    let master = snapshots.view(&words[2]).ok_or(UNKNOWN_MASTER)?.name();
    let port = parse_strict(&words[4]).ok_or(Value::fixed_error("ERR Invalid port"))?;
    let host = checked_host(snapshots, &words[3])?;
    let port = u16::try_from(port).map_err(|_| Value::fixed_error("ERR Invalid port number."))?;
    Ok(Errand::Adopt { master, host, port })
}

/// A host that may be looked up, or need not be.
fn checked_host(snapshots: &Snapshots, host: &[u8]) -> Result<String, Value> {
    let host = std::str::from_utf8(host).map_err(|_| BAD_ADDRESS)?;
    if host.parse::<IpAddr>().is_err() && (!snapshots.settings().resolve_hostnames || host.is_empty()) {
        return Err(BAD_ADDRESS);
    }
    Ok(host.to_owned())
}

/// `SENTINEL RESET pattern`
pub(crate) fn reset(snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    let directory = snapshots.directory();
    let chosen = directory.keys().filter(|name| matches(&words[2], name.as_str().as_bytes(), Case::Sensitive));
    Errand::Reset(chosen.cloned().collect())
}

/// `SENTINEL REMOVE name`
pub(crate) fn remove(snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    match snapshots.view(&words[2]) {
        None => Errand::Reply(UNKNOWN_MASTER),
        Some(view) => Errand::Supervisor { request: SupervisorRequest::Remove(view.name()), reply: None },
    }
}

/// `SENTINEL FLUSHCONFIG`
pub(crate) fn flush_config(_snapshots: &mut Snapshots, _words: &[Bytes]) -> Errand {
    Errand::Supervisor { request: SupervisorRequest::FlushConfig, reply: None }
}

/// `SENTINEL MONITOR name host port quorum`
pub(crate) fn monitor(snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    plan_monitor(snapshots, words).unwrap_or_else(Errand::Reply)
}

fn plan_monitor(snapshots: &Snapshots, words: &[Bytes]) -> Result<Errand, Value> {
    let [name, host, port, quorum] = [&words[2], &words[3], &words[4], &words[5]];
    let quorum = parse_strict(quorum).ok_or(Value::fixed_error("ERR Invalid quorum"))?;
    let port = parse_strict(port).ok_or(Value::fixed_error("ERR Invalid port"))?;
    if quorum <= 0 {
        return Err(Value::fixed_error("ERR Quorum must be 1 or greater."));
    }
    // Stock takes it modulo 2^32.
    let quorum = u32::try_from(quorum).map_err(|_| Value::fixed_error("ERR Invalid quorum"))?;
    let name = std::str::from_utf8(name).map_err(|_| Value::fixed_error("ERR The master name must be UTF-8"))?;
    if name.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Value::fixed_error("ERR The master name must not contain control characters"));
    }
    let host = checked_host(snapshots, host)?;
    let settings = snapshots.settings();
    let port = u16::try_from(port).map_err(|_| Value::fixed_error("ERR Invalid port number."))?;
    let spec = MasterSpec::new(MasterName::from(name), quorum, &settings.periods);
    Ok(Errand::Monitor { spec, host, port })
}

/// `SENTINEL IS-MASTER-DOWN-BY-ADDR host port epoch id`
pub(crate) fn is_master_down(snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    let (Some(port), Some(epoch)) = (parse_strict(&words[3]), parse_strict(&words[4])) else {
        return Errand::Reply(NOT_AN_INTEGER);
    };
    // Stock takes a negative one for a huge one and can never vote again.
    let Ok(epoch) = u64::try_from(epoch) else { return Errand::Reply(NOT_AN_INTEGER) };
    let candidate = (&words[5][..] != b"*").then(|| RunId::from(&*String::from_utf8_lossy(&words[5])));
    let epoch = Epoch(epoch);
    let (Ok(host), Ok(port)) = (std::str::from_utf8(&words[2]), u16::try_from(port)) else {
        return Errand::Reply(opinion(false, "*", 0));
    };
    // Another spelling of the same address is the same address.
    let spelt = host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string());
    let known = snapshots.book().master_at(&(spelt, port)).cloned();
    match (known, candidate) {
        (Some(master), Some(candidate)) => {
            Errand::Vote(Ballot { master, addr: Addr::new(host, port), epoch, candidate })
        }
        (Some(master), None) => {
            let tilt = snapshots.context.tilt.is_on();
            Errand::Reply(looks_down(snapshots.view(master.as_str().as_bytes()).as_deref(), tilt))
        }
        (None, candidate) if may_be_looked_up(host, &snapshots.context) => {
            Errand::AskedByName { host: host.to_owned(), port, epoch, candidate }
        }
        (None, _) => Errand::Reply(opinion(false, "*", 0)),
    }
}

/// A peer may know a master by a name that is not ours for it.
fn may_be_looked_up(host: &str, context: &Context) -> bool {
    context.supervisor.settings.borrow().resolve_hostnames && !host.is_empty() && host.parse::<IpAddr>().is_err()
}

/// `PUBLISH __sentinel__:hello payload`. Whatever the payload, the reply is 1.
pub(crate) fn publish(_snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    if &words[1][..] != HELLO_CHANNEL.as_bytes() {
        return Errand::Reply(Value::fixed_error("ERR Only HELLO messages are accepted by Sentinel instances."));
    }
    Hello::parse(&words[2]).map_or(Errand::Reply(Value::Integer(1)), Errand::Hello)
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]`
pub(crate) fn shutdown(_snapshots: &mut Snapshots, words: &[Bytes]) -> Errand {
    let (mut save, mut nosave, mut abort, mut others) = (false, false, false, false);
    for word in &words[1..] {
        match word.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"abort" => abort = true,
            b"now" | b"force" => others = true,
            _ => return Errand::Reply(SYNTAX_ERROR),
        }
    }
    if (abort && (save || nosave || others)) || (save && nosave) {
        return Errand::Reply(SYNTAX_ERROR);
    }
    if abort {
        return Errand::Reply(Value::fixed_error("ERR No shutdown in progress."));
    }
    Errand::Shutdown
}
