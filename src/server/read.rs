//! Commands that are answered from the newest snapshots, without asking anybody.

use std::sync::Arc;

use bytes::Bytes;

use super::long::LongReply;
use super::{Context, instance};
use crate::publish::{AddressBook, Directory, MasterEntry};
use crate::resp::reply::Value;
use crate::sentinel::NodeSettings;
use crate::sentinel::monitor::view::{MasterView, ServerView};
use crate::sentinel::scripts::{PendingScript, ScriptState};
use crate::sentinel::time::Millis;

/// The reply to a name that no master has.
pub(crate) const UNKNOWN_MASTER: Value = Value::fixed_error("ERR No such master with that name");

/// One connection's way to the snapshots.
#[derive(Debug)]
pub(crate) struct Snapshots {
    pub(crate) context: Arc<Context>,
    /// Own copies of the receivers, because each remembers what it has seen.
    reader: crate::publish::Reader,
    book: Arc<AddressBook>,
}

impl Snapshots {
    pub(crate) fn new(context: Arc<Context>) -> Snapshots {
        let mut reader = context.reader.clone();
        let book = reader.book.borrow_and_update().clone();
        Snapshots { context, reader, book }
    }

    /// The newest address book. Costs one atomic read while nothing has changed.
    pub(crate) fn book(&mut self) -> &AddressBook {
        // An error means that the writer is gone; the last book stays true.
        if self.reader.book.has_changed().unwrap_or(false) {
            self.book = self.reader.book.borrow_and_update().clone();
        }
        &self.book
    }

    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.reader.directory.borrow().clone()
    }

    pub(crate) fn scripts(&self) -> Arc<[PendingScript]> {
        self.reader.scripts.borrow().clone()
    }

    pub(crate) fn settings(&self) -> Arc<NodeSettings> {
        self.context.supervisor.settings.borrow().clone()
    }

    /// A master by the name as a client sent it.
    pub(crate) fn master(&self, name: &[u8]) -> Option<MasterEntry> {
        let name = std::str::from_utf8(name).ok()?;
        self.reader.directory.borrow().get(name).cloned()
    }

    pub(crate) fn view(&self, name: &[u8]) -> Option<Arc<MasterView>> {
        self.master(name).map(|entry| entry.view.borrow().clone())
    }

    pub(crate) fn views(&self) -> Vec<Arc<MasterView>> {
        self.reader.directory.borrow().values().map(|entry| entry.view.borrow().clone()).collect()
    }

    pub(crate) fn now(&self) -> Millis {
        self.context.clock.mono()
    }
}

/// `SENTINEL GET-MASTER-ADDR-BY-NAME name`
pub(crate) fn master_addr(snapshots: &mut Snapshots, words: &[Bytes]) -> Value {
    let Ok(name) = std::str::from_utf8(&words[2]) else { return Value::NullArray };
    snapshots.book().replies.get(name).map_or(Value::NullArray, |reply| Value::Ready(reply.clone()))
}

/// `SENTINEL MASTERS`
pub(crate) fn masters(snapshots: &mut Snapshots, _words: &[Bytes]) -> LongReply {
    let now = snapshots.now();
    LongReply::new(snapshots.views().into_iter().map(move |view| instance::master(&view, now)))
}

/// `SENTINEL MASTER name`
pub(crate) fn master(snapshots: &mut Snapshots, words: &[Bytes]) -> Value {
    snapshots.view(&words[2]).map_or(UNKNOWN_MASTER, |view| instance::master(&view, snapshots.now()))
}

/// `SENTINEL REPLICAS name`. A replica that does not want to be announced is left out.
pub(crate) fn replicas(snapshots: &mut Snapshots, words: &[Bytes]) -> Value {
    let Some(view) = snapshots.view(&words[2]) else { return UNKNOWN_MASTER };
    let listed = view.replicas.iter().filter(|replica| replica.announced);
    Value::Array(listed.map(|replica| instance::replica(replica, snapshots.now())).collect())
}

/// `SENTINEL SENTINELS name`
pub(crate) fn sentinels(snapshots: &mut Snapshots, words: &[Bytes]) -> Value {
    let Some(view) = snapshots.view(&words[2]) else { return UNKNOWN_MASTER };
    Value::Array(view.sentinels.iter().map(|peer| instance::sentinel(peer, snapshots.now())).collect())
}

/// `SENTINEL CKQUORUM name`
pub(crate) fn ckquorum(snapshots: &mut Snapshots, words: &[Bytes]) -> Value {
    let Some(view) = snapshots.view(&words[2]) else { return UNKNOWN_MASTER };
    let usable = view.usable_sentinels();
    let voters = view.sentinels.len() + 1;
    let majority = voters / 2 + 1;
    let mut text = format!("{usable} usable Sentinels. ");
    let quorum_reached = usable >= view.quorum as usize;
    let majority_reached = usable >= majority;
    if quorum_reached && majority_reached {
        text += "Quorum and failover authorization can be reached";
        return Value::Status(format!("OK {text}").into());
    }
    let mut complaints = Vec::new();
    if !quorum_reached {
        complaints.push("Not enough available Sentinels to reach the specified quorum for this master");
    }
    if !majority_reached {
        complaints.push("Not enough available Sentinels to reach the majority and authorize a failover");
    }
    Value::error(format!("NOQUORUM {text}{}", complaints.join(". ")))
}

/// `SENTINEL MYID`
pub(crate) fn myid(snapshots: &mut Snapshots, _words: &[Bytes]) -> Value {
    Value::text(snapshots.settings().myid.as_str())
}

/// The reply to `SENTINEL INFO-CACHE`: a flat array of names and their INFOs, the master's first, then its replicas'.
pub(crate) fn info_cache(views: &[Arc<MasterView>], now: Millis) -> Value {
    let mut reply = Vec::new();
    for view in views {
        let polled = view.server.info_at.is_some();
        let mut entries = vec![cached_info(&view.server, polled, now)];
        entries.extend(view.replicas.iter().map(|replica| cached_info(&replica.server, polled, now)));
        reply.push(Value::text(&*view.instance.name));
        reply.push(Value::Array(entries));
    }
    Value::Array(reply)
}

/// Age and text. In stock every age of a group is 0 until its master was polled.
fn cached_info(server: &ServerView, master_was_polled: bool, now: Millis) -> Value {
    let age = server.info_at.filter(|_| master_was_polled).map_or(0, |at| now.since(at));
    let text = server.info.as_ref().map_or(Value::Null, |text| Value::Bulk(Bytes::copy_from_slice(text)));
    Value::Array(vec![Value::Integer(age as i64), text])
}

/// `SENTINEL PENDING-SCRIPTS`
pub(crate) fn pending_scripts(snapshots: &mut Snapshots, _words: &[Bytes]) -> Value {
    let now = snapshots.now();
    Value::Array(snapshots.scripts().iter().map(|script| pending_script(script, now)).collect())
}

fn pending_script(script: &PendingScript, now: Millis) -> Value {
    let (flags, pid, time) = match script.state {
        ScriptState::Scheduled { at } => ("scheduled", 0, ("run-delay", at.since(now))),
        ScriptState::Running { since, pid, .. } => ("running", pid.unwrap_or(0), ("run-time", now.since(since))),
    };
    let argv = script.job.argv.iter().map(|word| Value::text(word.as_str())).collect();
    Value::Map(vec![
        (Value::name("argv"), Value::Array(argv)),
        (Value::name("flags"), Value::name(flags)),
        (Value::name("pid"), Value::text(pid.to_string())),
        (Value::name(time.0), Value::text(time.1.to_string())),
        (Value::name("retry-num"), Value::text(script.runs.to_string())),
    ])
}

/// `ROLE`
pub(crate) fn role(snapshots: &mut Snapshots, _words: &[Bytes]) -> Value {
    let names = snapshots.directory().keys().map(|name| Value::text(name.as_str())).collect();
    Value::Array(vec![Value::name("sentinel"), Value::Array(names)])
}
