//! A master that came back with nothing (beyond.md B3): one without persistence, restarted before anybody took it for
//! dead. Its replicas copy the emptiness as soon as they have found it again.
//!
//! So a master whose connection broke is tried again often, and says who it is before anything else. If it is another
//! process with no keys, and with a history that we do not know, its replicas are asked. One that still has data of our
//! history makes the master SDOWN, and the rest is a failover like any other, for which only such replicas stand.
//!
//! | the master | why it is not meant |
//! |---|---|
//! | restarted with RDB | its history is ours |
//! | restarted with AOF | it has keys, or loads some |
//! | emptied, then restarted | its replicas are empty, too |
//! | serves for a while, empty | whoever wanted it so has shown it: a failover now would lose what it took since |

use std::sync::Arc;

use super::Monitor;
use super::failover::FailoverState;
use super::info::InfoReport;
use super::instance::{Replica, Role, ServerId};
use crate::sentinel::Env;
use crate::sentinel::event::EventKind;
use crate::sentinel::io::Outbox;
use crate::sentinel::link::is_due;
use crate::sentinel::policy::RebornMaster;
use crate::sentinel::time::{Millis, RECONNECT_PERIOD};

/// How often a master whose connection broke is tried again, ms. The spacing grows with the time since, within these
/// bounds: replicas try once a second.
const RECONNECT_SPACING: std::ops::RangeInclusive<u64> = 50..=150;
/// For how long it is tried so often, ms.
const RECONNECT_SPAN: u64 = 2_000;
/// How long replicas have to say what they have, ms.
const PATIENCE: u64 = 1_000;
/// How long it is held against a master that it came back with nothing, ms, if no failover comes of it.
const MEMORY: u64 = 30_000;

/// A master that came back with nothing.
#[derive(Clone, Debug)]
pub(super) struct Reborn {
    run_id: Arc<str>,
    /// Since when we know.
    at: Millis,
    /// Since when we know that a replica has what it lost.
    confirmed_at: Option<Millis>,
}

impl Reborn {
    fn ends_at(&self) -> Millis {
        self.confirmed_at.map_or(self.at + PATIENCE, |at| at + MEMORY)
    }
}

impl Monitor {
    fn reborn_master(&self, env: &Env<'_>) -> RebornMaster {
        env.node.policies.of(&self.spec.name).reborn_master
    }

    /// Whether there is something that a restart of the master could cost.
    pub(super) fn fears_rebirth(&self, env: &Env<'_>) -> bool {
        let mut replicas = self.replicas.values();
        !self.history.is_empty()
            && replicas.any(|replica| replica.server.papers.has_data)
            && self.reborn_master(env) != RebornMaster::Stock
    }

    /// The command connection to the master is gone, or could not be opened.
    pub(super) fn hurry_back(&mut self, env: &Env<'_>) {
        let age = self.master.link.health.silent_since().map_or(0, |since| env.now.mono.since(since));
        let is_urgent = age < RECONNECT_SPAN && self.fears_rebirth(env);
        let spacing = (age / 2).clamp(*RECONNECT_SPACING.start(), *RECONNECT_SPACING.end());
        self.master.link.set_command_pace(if is_urgent { spacing } else { RECONNECT_PERIOD });
    }

    /// The master's INFO, before it is taken for what the master is.
    pub(super) fn note_rebirth(&mut self, report: &InfoReport, env: &Env<'_>) {
        let Some(run_id) = &report.run_id else { return };
        if self.reborn.as_ref().is_some_and(|reborn| reborn.run_id == *run_id) {
            return;
        }
        let is_another = self.master.run_id.as_ref().is_some_and(|known| known != run_id);
        let is_ours = report.replids.iter().any(|replid| self.history.contains(replid));
        let is_empty = report.role == Some(Role::Master) && !report.has_data && !report.replids.is_empty();
        let is_reborn = is_another && is_empty && !is_ours && self.fears_rebirth(env);
        let (run_id, at) = (run_id.clone(), env.now.mono);
        self.reborn = (is_reborn && self.failover.state == FailoverState::Idle).then_some(Reborn {
            run_id,
            at,
            confirmed_at: None,
        });
        if self.reborn.is_some() {
            self.replicas.values_mut().for_each(|replica| replica.server.info_wanted_at = Some(at));
        }
    }

    /// Whether a replica may be promoted after what happened to the master.
    pub(super) fn has_what_was_lost(&self, replica: &Replica) -> bool {
        let Some(reborn) = &self.reborn else { return true };
        let papers = &replica.server.papers;
        let is_before = papers.replids.first().is_some_and(|replid| self.history.contains(replid));
        let is_news = replica.server.info_at.is_some_and(|at| at >= reborn.at);
        is_news && is_before && papers.has_data && !papers.is_loading && replica.server.sdown.is_none()
    }

    /// Since when the master is down because it came back with nothing.
    pub(super) fn reborn_down_at(&self, env: &Env<'_>) -> Option<Millis> {
        let confirmed_at = self.reborn.as_ref()?.confirmed_at;
        confirmed_at.filter(|_| self.reborn_master(env) == RebornMaster::Failover)
    }

    /// When it is no longer held against the master.
    pub(super) fn reborn_until(&self) -> Option<Millis> {
        self.reborn.as_ref().map(Reborn::ends_at)
    }

    /// Looks whether a replica has what the master lost.
    pub(super) fn check_rebirth(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let Some(reborn) = &self.reborn else { return };
        let is_confirmed = reborn.confirmed_at.is_some();
        let is_kept = self.replicas.values().any(|replica| self.has_what_was_lost(replica));
        let leads = self.failover.state != FailoverState::Idle;
        if is_due(self.reborn_until(), env.now.mono) || (is_confirmed && !is_kept && !leads) {
            self.reborn = None;
            self.dirty = true;
        } else if let (false, true, Some(reborn)) = (is_confirmed, is_kept, &mut self.reborn) {
            reborn.confirmed_at = Some(env.now.mono);
            self.emit(EventKind::RebornEmpty, self.describe(&ServerId::Master, env), out);
        }
    }
}
