//! Whether what we publish at the master still comes back from its replicas: a sign, free of charge, that it is one.
//!
//! A master passes PUBLISH on to its replicas, and a server that has been made a replica passes on none of its own, even
//! while all its links stay up and everything else looks as before. Every hello that we publish at the master is heard on
//! our subscriptions to the replicas, therefore; the first one that is not heard there calls for INFO at once, in place of
//! up to 10 s later. With hellos every 2 s, a demoted master is known after 2 s and [`PATIENCE`] at the latest
//! (beyond.md B6). Silence proves nothing: it only makes us look.

use super::Monitor;
use super::instance::{Role, ServerId};
use crate::sentinel::Env;
use crate::sentinel::id::LinkId;
use crate::sentinel::io::Reply;
use crate::sentinel::link::is_due;
use crate::sentinel::policy::Masterless;
use crate::sentinel::time::Millis;

/// How long a hello may take from us over the master and a replica back to us, ms. Being too short costs an INFO.
const PATIENCE: u64 = 300;
/// After so many hellos in a row that did not come back, looking again is of no use until one does: access rules forbid
/// them, or nobody replicates.
const MAX_MISSED: u32 = 3;
/// Hellos of ours that a replica may owe us itself; more than this are lost, not late.
const MAX_UNHEARD: u32 = 2;

/// What is known of the way over the master and its replicas.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo {
    /// Hellos that did not come back since the last one that did.
    missed: u32,
    /// When a hello on this way must have arrived.
    pub(super) due: Option<Millis>,
}

impl Monitor {
    /// A hello of ours was sent to `who`. A replica owes it to us on our subscription, the master on those to its
    /// replicas.
    pub(super) fn note_hello_sent(&mut self, who: &ServerId, now: Millis) {
        match who {
            ServerId::Master => {
                let subscribed = self.replicas.values().any(|replica| replica.server.link.pubsub.is_some());
                if subscribed && self.echo.missed < MAX_MISSED {
                    self.echo.due.get_or_insert(now + PATIENCE);
                }
            }
            ServerId::Replica(key) => {
                let server = self.replicas.get_mut(key).map(|replica| &mut replica.server);
                if let Some(server) = server.filter(|server| server.link.pubsub.is_some()) {
                    server.hello.unheard = (server.hello.unheard + 1).min(MAX_UNHEARD);
                }
            }
        }
    }

    /// A hello of ours came back. From a replica, those that we published there come first; any other took the way over
    /// the master. They all look the same, so that counting is the only way to tell.
    pub(super) fn note_hello_heard(&mut self, link: LinkId) {
        let replica = self.replicas.values_mut().find(|replica| replica.server.has_link(link));
        let Some(server) = replica.map(|replica| &mut replica.server) else { return };
        if server.hello.unheard > 0 {
            server.hello.unheard -= 1;
        } else {
            self.echo = Echo::default();
        }
    }

    /// A subscription is being made: what was published at that replica before is not heard on it.
    pub(super) fn note_subscribing(&mut self, link: LinkId) {
        let replica = self.replicas.values_mut().find(|replica| replica.server.has_link(link));
        if let Some(replica) = replica {
            replica.server.hello.unheard = 0;
        }
    }

    /// The master answered a PUBLISH. What it refused to publish cannot come back.
    pub(super) fn note_hello_answered(&mut self, who: &ServerId, value: &Reply) {
        if *who == ServerId::Master && matches!(value, Reply::Error(_)) {
            self.echo.due = None;
        }
    }

    /// Asks the master for INFO if its hello is missing. While it has not even answered the PUBLISH, that proves nothing;
    /// whether it lives is for PING to tell.
    pub(super) fn check_echo(&mut self, env: &Env<'_>) {
        if !is_due(self.echo.due, env.now.mono) {
            return;
        }
        if self.master.hello.outstanding > 0 {
            self.echo.due = Some(env.now.mono + PATIENCE);
            return;
        }
        self.echo = Echo { missed: self.echo.missed + 1, due: None };
        let heals = env.node.policies.of(&self.spec.name).masterless == Masterless::Heal;
        if heals && self.master.role == Role::Master {
            self.master.info_wanted_at = Some(env.now.mono);
        }
    }
}
