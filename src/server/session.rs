//! One connection's state, and the order in which a request is judged (commands.md 1.1).

use std::sync::Arc;

use bytes::Bytes;

use super::Context;
use super::acl::log::Reason;
use super::acl::{self, Badge, Standing};
use super::clients::Client;
use super::long::LongReply;
use super::pubsub::{Kind, OwnSubscriptions};
use super::read::Snapshots;
use super::table::{self, Entry, Found, Route};
use super::write::Errand;
use crate::acl::Denial;
use crate::resp::reply::{Protocol, Value};
use crate::resp::request::Trust;

/// What CLIENT REPLY has turned off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Replies {
    /// Nothing.
    #[default]
    On,
    /// Everything but events.
    Off,
    /// The reply to the next command.
    SkipNext,
    /// The reply to the present command.
    Skip,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// After what has been written has left.
    Flushed,
    /// At once; even replies already written are lost.
    Silent,
}

/// What is to be done about a request.
#[derive(Debug)]
pub(crate) enum Step {
    /// Reply this.
    Reply(Value),
    /// Reply this, piece by piece.
    List(LongReply),
    /// Ask somebody first.
    Ask(Errand),
    /// Nothing yet: the same again in so many ms. Commands are paused.
    Hold(u64),
    /// Close the connection.
    End(Ending),
}

/// The state of one connection, apart from its socket.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) context: Arc<Context>,
    pub(crate) client: Arc<Client>,
    pub(crate) snapshots: Snapshots,
    pub(crate) protocol: Protocol,
    /// Its user.
    pub(crate) badge: Badge,
    pub(crate) replies: Replies,
    pub(crate) subscriptions: OwnSubscriptions,
    /// Set by CLIENT CACHING, until the next command that is not CLIENT.
    pub(crate) caching: bool,
    /// Set by a command that closes its own connection.
    pub(crate) ending: Option<Ending>,
}

impl Session {
    pub(crate) fn new(context: Arc<Context>, client: Arc<Client>) -> Session {
        let badge = Badge::new(&context.acl);
        client.relabel(|labels| (labels.user, labels.account) = badge.identity());
        Session {
            snapshots: Snapshots::new(context.clone()),
            context,
            client,
            protocol: Protocol::Resp2,
            badge,
            replies: Replies::On,
            subscriptions: OwnSubscriptions::default(),
            caching: false,
            ending: None,
        }
    }

    /// Judges and, where nobody need be asked, executes a request of at least one word.
    pub(crate) fn execute(&mut self, words: &[Bytes]) -> Step {
        // Browsers and crafted forms send these; answering anything would help them.
        if words[0].eq_ignore_ascii_case(b"post") || words[0].eq_ignore_ascii_case(b"host:") {
            return Step::End(Ending::Silent);
        }
        let found = match table::find(words, &self.context.renames) {
            Ok(found) => found,
            Err(refusal) => return Step::Reply(refusal),
        };
        if !self.may_stay() {
            return Step::End(Ending::Silent);
        }
        // Noted before it is refused: CLIENT LIST and ACL LOG show what was asked last.
        let now = self.context.clock.coarse();
        self.client.note(found.place, now);
        if let Some(refusal) = self.refusal(found, words) {
            return Step::Reply(refusal);
        }
        match self.context.pause.left(now) {
            0 => {}
            left => return Step::Hold(left),
        }
        self.context.counters.command();
        self.caching &= found.entry.container == Some("client");
        match found.entry.route {
            Route::Container => unreachable!("the table finds a subcommand or refuses"),
            Route::Local(answer) => Step::Reply(answer(self, words)),
            Route::Read(answer) => Step::Reply(answer(&mut self.snapshots, words)),
            Route::List(list) => Step::List(list(&mut self.snapshots, words)),
            Route::Ask(plan) => Step::Ask(plan(&mut self.snapshots, words)),
        }
    }

    /// Whether requests are held to the limits for strangers.
    pub(crate) fn trust(&self) -> Trust {
        if self.badge.is_stranger() { Trust::Stranger } else { Trust::Known }
    }

    /// Looks at the newest users. Not, when its user is gone or may not have all that it is subscribed to.
    fn may_stay(&mut self) -> bool {
        match self.badge.refresh() {
            Standing::Fine => true,
            Standing::Gone => false,
            Standing::FewerChannels => {
                let user = self.badge.user();
                self.subscriptions.all(|kind, name| user.permits_channel(name, kind == Kind::Pattern))
            }
        }
    }

    fn refusal(&self, found: Found, words: &[Bytes]) -> Option<Value> {
        let entry = found.entry;
        if self.badge.is_stranger() && !entry.is_for_strangers() {
            return Some(Value::fixed_error("NOAUTH Authentication required."));
        }
        if let Err(denial) = acl::check(self.badge.user(), found, words) {
            return Some(self.deny(denial, entry, words));
        }
        let restricted = self.protocol == Protocol::Resp2 && self.subscriptions.count() > 0;
        if restricted && !is_for_subscribers(entry) {
            return Some(Value::error(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
                entry.name
            )));
        }
        None
    }

    fn deny(&self, denial: Denial, entry: &Entry, words: &[Bytes]) -> Value {
        let (reason, object, reply): (_, &[u8], _) = match denial {
            Denial::Command => {
                let text = format!("NOPERM this user has no permissions to run the '{}' command", entry.name);
                (Reason::Command, entry.name.as_bytes(), Value::error(text))
            }
            Denial::Channel(at) => {
                let text = "NOPERM this user has no permissions to access one of the channels used as arguments";
                (Reason::Channel, &words[1 + at], Value::fixed_error(text))
            }
        };
        acl::commands::note(self, reason, object, self.badge.name());
        reply
    }

    /// Whether the reply to the present command is to be written. Acknowledgements of subscriptions are, as in stock.
    pub(crate) fn wants(&self, reply: &Value) -> bool {
        matches!(self.replies, Replies::On | Replies::SkipNext) || is_push(reply)
    }

    /// To be called after each command. One that took away the session's own user, or its channels while it subscribed,
    /// is the last.
    pub(crate) fn command_is_done(&mut self) {
        if !self.may_stay() {
            self.ending.get_or_insert(Ending::Flushed);
        }
        self.replies = match self.replies {
            Replies::SkipNext => Replies::Skip,
            Replies::Skip => Replies::On,
            other => other,
        };
    }
}

fn is_push(reply: &Value) -> bool {
    match reply {
        Value::Push(_) => true,
        Value::Several(values) => values.iter().all(is_push),
        _ => false,
    }
}

fn is_for_subscribers(entry: &Entry) -> bool {
    matches!(entry.name, "subscribe" | "psubscribe" | "unsubscribe" | "punsubscribe" | "ping" | "quit")
}

/// `SUBSCRIBE channel ...`
pub(crate) fn subscribe(session: &mut Session, words: &[Bytes]) -> Value {
    session.subscriptions.subscribe(Kind::Channel, &words[1..], &session.context.hub, &session.client)
}

/// `PSUBSCRIBE pattern ...`
pub(crate) fn psubscribe(session: &mut Session, words: &[Bytes]) -> Value {
    session.subscriptions.subscribe(Kind::Pattern, &words[1..], &session.context.hub, &session.client)
}

/// `UNSUBSCRIBE [channel ...]`
pub(crate) fn unsubscribe(session: &mut Session, words: &[Bytes]) -> Value {
    session.subscriptions.unsubscribe(Kind::Channel, &words[1..], &session.context.hub, &session.client)
}

/// `PUNSUBSCRIBE [pattern ...]`
pub(crate) fn punsubscribe(session: &mut Session, words: &[Bytes]) -> Value {
    session.subscriptions.unsubscribe(Kind::Pattern, &words[1..], &session.context.hub, &session.client)
}
