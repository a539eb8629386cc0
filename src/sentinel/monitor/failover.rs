//! The failover state machine of the leader.
//!
//! | state | waits for | goes on with | next |
//! |---|---|---|---|
//! | `Idle` | ODOWN, the delay after the last attempt and a disk that works, or an operator | `+new-epoch`, `+try-failover` | `WaitStart` |
//! | `WaitStart` | own vote on disk, and a majority of votes (none if forced) | `+elected-leader`, `+failover-state-select-slave` | `SelectReplica` |
//! | | the election cannot be won, or timed out | `-failover-abort-not-elected` | `Idle` |
//! | `SelectReplica` | a coordinated failover: see [`super::coordinated`] | `+selected-slave`, `+failover-state-wait-offset` | `WaitOffset` |
//! | | INFO that replicas owe, for a moment, if none is fit | `+selected-slave`, `+failover-state-send-slaveof-noone` | `SendReplicaofNoOne` |
//! | | no replica is fit | `-failover-abort-no-good-slave` | `Idle` |
//! | `SendReplicaofNoOne` | a connection to the chosen one | `+failover-state-wait-promotion` | `WaitPromotion` |
//! | `WaitPromotion` | INFO `role:master`, then the new address on disk | `+promoted-slave`, `+failover-state-reconf-slaves` | `ReconfReplicas` |
//! | both | `failover-timeout` | `-failover-abort-slave-timeout` | `Idle` |
//! | `ReconfReplicas` | the other replicas, see [`super::reconf`] | `+failover-end` | `UpdateConfig` |
//! | `UpdateConfig` | the end of the step | `+switch-master` | `Idle` |

use super::Monitor;
use super::coordinated::Stage;
use super::election::Pace;
use super::instance::{Replica, ReplicaKey, Role, ServerId};
use super::order::Plan;
use super::reconf::transaction;
use super::select::{Candidate, Data, MasterState, majority_answers, select, select_relative};
use crate::sentinel::Env;
use crate::sentinel::event::{EventKind, Level};
use crate::sentinel::id::{Epoch, LinkId, Rev};
use crate::sentinel::io::{Outbox, Output};
use crate::sentinel::link::is_due;
use crate::sentinel::policy::StaleReplicaPromotion;
use crate::sentinel::scripts::Part;
use crate::sentinel::time::Millis;

/// Where the failover of this master stands, if we lead one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FailoverState {
    /// None under way.
    #[default]
    Idle,
    /// Running for leader.
    WaitStart {
        /// The epoch to be elected in.
        epoch: Epoch,
        /// An election that is not won by then is lost.
        until: Millis,
    },
    /// Elected.
    SelectReplica {
        /// Ours.
        epoch: Epoch,
    },
    /// Writes are stopped, and the chosen one is to get them all.
    WaitOffset {
        /// Ours.
        epoch: Epoch,
        /// Entered at.
        since: Millis,
        /// The chosen one.
        promoted: ReplicaKey,
        /// The connection on which the master was told.
        told_on: LinkId,
        /// How far that has got.
        stage: Stage,
    },
    /// Chosen, not told yet.
    SendReplicaofNoOne {
        /// Ours.
        epoch: Epoch,
        /// Entered at.
        since: Millis,
        /// The chosen one.
        promoted: ReplicaKey,
    },
    /// Told; waiting until it says that it is master.
    WaitPromotion {
        /// Ours.
        epoch: Epoch,
        /// Entered at.
        since: Millis,
        /// The chosen one.
        promoted: ReplicaKey,
        /// The connection on which it was told.
        told_on: LinkId,
        /// Reports on that connection which were asked for before, and are still on their way. What has called itself master
        /// all along does so in them, whatever has become of it meanwhile.
        owed: u32,
        /// It is master; this revision makes that durable.
        saving: Option<Rev>,
    },
    /// Promoted and announced; the other replicas are being reconfigured.
    ReconfReplicas {
        /// Ours.
        epoch: Epoch,
        /// Entered at.
        since: Millis,
        /// The new master.
        promoted: ReplicaKey,
    },
    /// Done; the switch follows at the end of the step.
    UpdateConfig {
        /// Ours.
        epoch: Epoch,
        /// The new master.
        promoted: ReplicaKey,
    },
}

impl FailoverState {
    /// Stock's name, as shown by SENTINEL MASTER, and `wait_offset`, which stock does not have; `None` when idle.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            FailoverState::Idle => return None,
            FailoverState::WaitStart { .. } => "wait_start",
            FailoverState::SelectReplica { .. } => "select_slave",
            FailoverState::WaitOffset { .. } => "wait_offset",
            FailoverState::SendReplicaofNoOne { .. } => "send_slaveof_noone",
            FailoverState::WaitPromotion { .. } => "wait_promotion",
            FailoverState::ReconfReplicas { .. } => "reconf_slaves",
            FailoverState::UpdateConfig { .. } => "update_config",
        })
    }

    /// Our failover epoch while one is under way.
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            FailoverState::Idle => None,
            FailoverState::WaitStart { epoch, .. }
            | FailoverState::SelectReplica { epoch }
            | FailoverState::WaitOffset { epoch, .. }
            | FailoverState::SendReplicaofNoOne { epoch, .. }
            | FailoverState::WaitPromotion { epoch, .. }
            | FailoverState::ReconfReplicas { epoch, .. }
            | FailoverState::UpdateConfig { epoch, .. } => Some(*epoch),
        }
    }

    /// The chosen replica, once there is one.
    pub fn promoted(&self) -> Option<&ReplicaKey> {
        match self {
            FailoverState::WaitOffset { promoted, .. }
            | FailoverState::SendReplicaofNoOne { promoted, .. }
            | FailoverState::WaitPromotion { promoted, .. }
            | FailoverState::ReconfReplicas { promoted, .. }
            | FailoverState::UpdateConfig { promoted, .. } => Some(promoted),
            _ => None,
        }
    }
}

/// By what right a failover goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authority {
    /// A majority of votes.
    #[default]
    Votes,
    /// `SENTINEL FAILOVER`: nobody is asked.
    Operator,
}

/// State and history of failovers of one master. The default is: nothing under way, nothing to wait for.
#[derive(Clone, Debug, Default)]
pub struct Failover {
    /// Where it stands.
    pub state: FailoverState,
    /// By what right.
    pub authority: Authority,
    /// What an operator asked for.
    pub plan: Plan,
    /// When the next attempt may start.
    pub pace: Pace,
    /// Since when stock's rule refuses every replica.
    refused_since: Option<Millis>,
}

impl Failover {
    /// The master is well again: the next failure starts with a fresh back-off.
    pub fn forget_backoff(&mut self) {
        self.pace.forget_backoff();
        self.refused_since = None;
    }

    /// Whether `SENTINEL FAILOVER` started it.
    pub fn is_forced(&self) -> bool {
        self.state != FailoverState::Idle && self.authority == Authority::Operator
    }
}

/// How long after ODOWN the choice waits for INFO that replicas were asked for, ms, if none is fit without it.
const INFO_PATIENCE: u64 = 1_000;
/// How long replicas that do not answer are waited for before a stale one is promoted, ms, at least.
const MIN_STALE_WAIT: u64 = 10_000;

impl Monitor {
    /// The chosen replica's key.
    pub(super) fn promoted(&self) -> Option<&ReplicaKey> {
        self.failover.state.promoted()
    }

    /// One transition of the state machine, if one is due. True when there was one.
    pub(super) fn advance(&mut self, env: &Env<'_>, out: &mut Outbox) -> bool {
        match self.failover.state.clone() {
            FailoverState::Idle | FailoverState::UpdateConfig { .. } => false,
            FailoverState::WaitStart { epoch, until } => self.wait_start(epoch, until, env, out),
            FailoverState::SelectReplica { epoch } => self.select_replica(epoch, env, out),
            FailoverState::WaitOffset { .. } => self.wait_offset(env, out),
            FailoverState::SendReplicaofNoOne { epoch, since, promoted } => {
                self.send_replicaof_no_one(epoch, since, promoted, env, out)
            }
            FailoverState::WaitPromotion { epoch, promoted, saving: Some(rev), .. } => {
                rev <= self.durable && self.promotion_saved(epoch, promoted, env, out)
            }
            FailoverState::WaitPromotion { since, .. } => {
                let timed_out = is_due(Some(self.promotion_times_out_at(since)), env.now.mono);
                timed_out && self.abort(EventKind::AbortReplicaTimeout, env, out)
            }
            FailoverState::ReconfReplicas { epoch, since, promoted } => {
                self.reconfigure_replicas(epoch, since, &promoted, env, out)
            }
        }
    }

    /// When the state machine has something to do, apart from what inputs bring.
    pub(super) fn advance_at(&self, env: &Env<'_>) -> Option<Millis> {
        match &self.failover.state {
            FailoverState::WaitStart { until, .. } => Some(*until + 1),
            FailoverState::SelectReplica { .. } => self.odown.map(|since| since + INFO_PATIENCE),
            // It may be over by what was found out after its turn in this step.
            FailoverState::ReconfReplicas { promoted, .. } if self.is_reconfigured(promoted, env) => Some(Millis(0)),
            FailoverState::WaitOffset { stage: Stage::CaughtUp { .. }, .. } => Some(Millis(0)),
            FailoverState::WaitOffset { .. } => self.wait_offset_ends_at(),
            FailoverState::SendReplicaofNoOne { since, .. }
            | FailoverState::WaitPromotion { since, saving: None, .. } => Some(self.promotion_times_out_at(*since)),
            FailoverState::ReconfReplicas { since, .. } => Some(self.step_times_out_at(*since)),
            _ => None,
        }
    }

    pub(super) fn step_times_out_at(&self, since: Millis) -> Millis {
        since + self.spec.failover_timeout + 1
    }

    pub(super) fn elected(&mut self, epoch: Epoch, env: &Env<'_>, out: &mut Outbox) -> bool {
        let master = self.describe(&ServerId::Master, env);
        self.emit(EventKind::ElectedLeader, master.clone(), out);
        if env.node.crash_after_election {
            out.push(Output::Exit);
        }
        self.failover.state = FailoverState::SelectReplica { epoch };
        self.emit(EventKind::StateSelectReplica, master, out);
        true
    }

    /// The best replica as of now, by stock's rule.
    pub(super) fn best_replica(&self, env: &Env<'_>) -> Option<ReplicaKey> {
        let (now, periods) = (env.now.mono, &env.node.periods);
        select(&self.candidates(env), self.master_state(env), now, periods).map(ReplicaKey::from)
    }

    /// Whether there is a replica that would be chosen, now or when it has been waited for others long enough.
    pub(super) fn would_promote(&self, env: &Env<'_>) -> bool {
        let (now, periods) = (env.now.mono, &env.node.periods);
        let relative = || select_relative(&self.candidates(env), self.master_state(env), now, periods).is_some();
        let may_be_stale =
            env.node.policies.of(&self.spec.name).stale_replica_promotion != StaleReplicaPromotion::Never;
        self.best_replica(env).is_some() || (may_be_stale && relative())
    }

    /// The best replica where stock's rule finds none, and staleness is not a reason to stay without a master.
    fn best_stale_replica(&mut self, env: &Env<'_>) -> Option<ReplicaKey> {
        let (now, periods) = (env.now.mono, &env.node.periods);
        let refused_since = *self.failover.refused_since.get_or_insert(now);
        let waited = now.since(refused_since) >= (2 * self.spec.down_after).max(MIN_STALE_WAIT);
        let candidates = self.candidates(env);
        let allowed = match env.node.policies.of(&self.spec.name).stale_replica_promotion {
            StaleReplicaPromotion::Never => false,
            StaleReplicaPromotion::Relative => waited || majority_answers(&candidates, now, periods),
            StaleReplicaPromotion::Always => true,
        };
        let chosen = allowed.then(|| select_relative(&candidates, self.master_state(env), now, periods))?;
        chosen.map(ReplicaKey::from)
    }

    /// Whether a replica that was asked for INFO when its master went down may still answer. An election among few is
    /// over before that, and INFO from before the failure may be too old to choose by; stock's ticks leave it the time.
    fn replicas_are_asked(&self, env: &Env<'_>) -> bool {
        let in_time = self.odown.is_some_and(|since| env.now.mono.since(since) < INFO_PATIENCE);
        let asked = |replica: &Replica| replica.server.infos_outstanding > 0 && replica.server.sdown.is_none();
        in_time && self.replicas.values().any(|replica| asked(replica))
    }

    pub(super) fn master_state(&self, env: &Env<'_>) -> MasterState {
        let is_replica = self.heals_masterless(env) && self.master.role == Role::Replica;
        MasterState { sdown: self.master.sdown, down_after: self.spec.down_after, is_replica }
    }

    pub(super) fn candidates(&self, env: &Env<'_>) -> Vec<Candidate<'_>> {
        let as_stock = env.node.policies.of(&self.spec.name).stale_replica_promotion == StaleReplicaPromotion::Never;
        self.replicas
            .iter()
            .filter(|(_, replica)| !replica.server.is_foreign() && self.has_what_was_lost(replica))
            .map(|(key, replica)| Candidate {
                key,
                down: replica.server.sdown.is_some(),
                connected: replica.server.link.health.connected,
                last_available: replica.server.link.health.last_available,
                info_at: replica.server.info_at.filter(|_| self.may_be_promoted(&replica.server)),
                priority: replica.priority,
                link_down: replica.link_down,
                offset: replica.offset,
                run_id: replica.server.run_id.as_deref(),
                is_kin: self.is_kin(replica),
                data: if as_stock { Data::Keys } else { self.data_of(replica) },
            })
            .collect()
    }

    /// Whether a replica's data is of this master's history. If we never heard the master, of the same history as that
    /// of another replica.
    fn is_kin(&self, replica: &Replica) -> bool {
        if !self.history.is_empty() {
            return replica.replids.iter().any(|replid| self.history.contains(replid));
        }
        let is_shared = |replid: &_| replica.replids.contains(replid);
        let sharing = self.replicas.values().filter(|other| other.replids.iter().any(is_shared));
        self.replicas.len() == 1 || sharing.count() > 1
    }

    /// What a replica has to lose. One that was told of a FLUSHALL has nothing, but our history. Servers before 4.0 do not
    /// tell of any.
    fn data_of(&self, replica: &Replica) -> Data {
        if replica.server.papers.has_data {
            Data::Keys
        } else if replica.replids.is_empty() || self.is_kin(replica) {
            Data::Nothing
        } else {
            Data::Awaited
        }
    }

    /// A group without a master, in which nobody can be promoted, gets the one back that it had: that one says that it is
    /// a replica, of somebody who is gone, and has what the group has (beyond.md B6).
    fn reinstate_master(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let is_masterless = self.heals_masterless(env) && self.odown.is_some() && self.master.role == Role::Replica;
        let is_silent = is_due(self.master.link.health.down_at(self.spec.down_after), env.now.mono);
        if is_masterless && !is_silent && self.send_all(&ServerId::Master, transaction(None, env), out) {
            self.send_info(&ServerId::Master, env.now.mono, out);
            let text =
                format!("'{}' has no master and no good replica: the one that it had is told to be it", self.spec.name);
            out.push(Output::Log(Level::Warning, text));
        }
    }

    fn select_replica(&mut self, epoch: Epoch, env: &Env<'_>, out: &mut Outbox) -> bool {
        let plan = self.failover.plan.clone();
        let fresh = self.planned_replica(&plan, env);
        if fresh.is_none() && self.replicas_are_asked(env) {
            return false;
        }
        let is_stale = fresh.is_none();
        let may_be_stale = plan == Plan::default();
        let stale = || may_be_stale.then(|| self.best_stale_replica(env)).flatten();
        let Some(promoted) = fresh.or_else(stale) else {
            self.reinstate_master(env, out);
            self.abort(EventKind::AbortNoGoodReplica, env, out);
            // Without any replica the next attempt waits as long as stock's, so that who knows one gets its turn.
            if may_be_stale && !self.elects_as_stock(env) && !self.replicas.is_empty() {
                self.hold_briefly(env);
            }
            return true;
        };
        let replica = self.describe(&ServerId::Replica(promoted.clone()), env);
        if let (true, Some(chosen)) = (is_stale, self.replicas.get(&promoted)) {
            let payload = format!("{replica} #link-down {} offset {}", chosen.link_down, chosen.offset);
            self.emit(EventKind::StaleCandidateAccepted, payload, out);
        }
        self.emit(EventKind::SelectedReplica, replica.clone(), out);
        if let Some(coordination) = plan.coordination {
            self.stop_writes(epoch, promoted, coordination, env, out);
            return true;
        }
        self.failover.state = FailoverState::SendReplicaofNoOne { epoch, since: env.now.mono, promoted };
        self.emit(EventKind::StateSendReplicaofNoOne, replica, out);
        true
    }

    fn send_replicaof_no_one(
        &mut self,
        epoch: Epoch,
        since: Millis,
        promoted: ReplicaKey,
        env: &Env<'_>,
        out: &mut Outbox,
    ) -> bool {
        let who = ServerId::Replica(promoted.clone());
        let timed_out = is_due(Some(self.promotion_times_out_at(since)), env.now.mono);
        let server = self.server(&who).filter(|server| self.may_be_promoted(server));
        let link = server.and_then(|server| server.link.command_id()).filter(|_| !timed_out);
        let owed = self.infos_owed(&who);
        let Some(told_on) = link.filter(|_| self.send_all(&who, transaction(None, env), out)) else {
            return timed_out && self.abort(EventKind::AbortReplicaTimeout, env, out);
        };
        // Whatever an earlier attempt owes the old master, that one is not to be a master again.
        self.undo = None;
        if let Some(addr) = self.server(&who).map(|server| server.addr.clone()) {
            self.note_promoted(&addr);
        }
        self.note_told_to_be_master(&promoted);
        // EXEC's reply proves nothing; INFO in the same write tells a round trip later whether it is master
        // (failover.md 12.3, S8; 154).
        self.send_info(&who, env.now.mono, out);
        self.failover.state =
            FailoverState::WaitPromotion { epoch, since: env.now.mono, promoted, told_on, owed, saving: None };
        self.emit(EventKind::StateWaitPromotion, self.describe(&who, env), out);
        true
    }

    /// The chosen replica still reports slave on a newer connection than the one it was told on: the order was lost
    /// with that connection, so it is given again. Not so if the old master was demoted before, and another leader is at
    /// work now: that one may have made the old master a master again.
    pub(super) fn retry_promotion(&mut self, key: &ReplicaKey, env: &Env<'_>, out: &mut Outbox) {
        let who = ServerId::Replica(key.clone());
        let link = self.server(&who).and_then(|server| server.link.command_id());
        let lost = matches!(&self.failover.state, FailoverState::WaitPromotion { promoted, told_on, saving: None, .. }
            if promoted == key && link.is_some_and(|link| link != *told_on));
        let is_anothers =
            self.failover.state.epoch().is_some_and(|epoch| self.is_handed_over() && self.is_superseded(epoch));
        let may_be_promoted = self.server(&who).is_some_and(|server| self.may_be_promoted(server));
        let still_owed = self.infos_owed(&who);
        if lost && may_be_promoted && !is_anothers && self.send_all(&who, transaction(None, env), out) {
            self.note_told_to_be_master(key);
            self.send_info(&who, env.now.mono, out);
            if let (FailoverState::WaitPromotion { told_on, owed, .. }, Some(link)) = (&mut self.failover.state, link) {
                (*told_on, *owed) = (link, still_owed);
            }
        }
    }

    fn infos_owed(&self, who: &ServerId) -> u32 {
        self.server(who).map_or(0, |server| server.infos_outstanding)
    }

    /// Whether a report of a replica is one that was asked for before it was told to be master.
    pub(super) fn is_report_from_before(&mut self, key: &ReplicaKey) -> bool {
        let link = self.server(&ServerId::Replica(key.clone())).and_then(|server| server.link.command_id());
        match &mut self.failover.state {
            FailoverState::WaitPromotion { promoted, told_on, owed, .. }
                if promoted == key && link == Some(*told_on) && *owed > 0 =>
            {
                *owed -= 1;
                true
            }
            _ => false,
        }
    }

    /// The chosen replica says that it is master: that goes to disk before anybody is told (failover.md 155). Unless another
    /// process has taken its place that may be anybody's: then nobody was promoted, and the next attempt need not wait.
    pub(super) fn promotion_reported(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let rev = self.next_rev();
        let FailoverState::WaitPromotion { promoted, saving: None, .. } = &self.failover.state else { return };
        if !self.is_promotion(promoted) {
            self.failover.pace.release();
            self.abort(EventKind::AbortReplicaTimeout, env, out);
        } else if let FailoverState::WaitPromotion { saving, .. } = &mut self.failover.state {
            *saving = Some(rev);
            self.persist(env, out);
        }
    }

    /// The new address is on disk: from here on everybody is told, and nothing aborts any more.
    fn promotion_saved(&mut self, epoch: Epoch, promoted: ReplicaKey, env: &Env<'_>, out: &mut Outbox) -> bool {
        assert!(epoch > self.config_epoch, "config epochs grow: {epoch} after {}", self.config_epoch);
        self.config_epoch = epoch;
        let replica = self.describe(&ServerId::Replica(promoted.clone()), env);
        self.failover.state = FailoverState::ReconfReplicas { epoch, since: env.now.mono, promoted };
        self.emit(EventKind::PromotedReplica, replica, out);
        if env.node.crash_after_promotion {
            out.push(Output::Exit);
        }
        self.emit(EventKind::StateReconfReplicas, self.describe(&ServerId::Master, env), out);
        self.lead_clients(Part::Leader, &self.master.addr, self.current_addr(), env, out);
        self.announce_now(env.now.mono);
        if !self.is_handed_over() {
            self.demote_old_master(env, out);
        }
        true
    }

    /// Ends an attempt whose epoch is not newer than the configuration just adopted: what it would announce is old.
    pub(super) fn abort_overtaken(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let overtaken = self.failover.state.epoch().is_some_and(|epoch| epoch <= self.config_epoch);
        if overtaken {
            let elected = !matches!(self.failover.state, FailoverState::WaitStart { .. });
            let event = if elected { EventKind::AbortReplicaTimeout } else { EventKind::AbortNotElected };
            self.abort(event, env, out);
        }
    }

    /// Gives the attempt up. The delay until the next one runs from its start.
    pub(super) fn abort(&mut self, event: EventKind, env: &Env<'_>, out: &mut Outbox) -> bool {
        self.abort_telling(event, self.describe(&ServerId::Master, env), env, out);
        true
    }

    /// The same with another payload. A coordinated attempt was about a master that is well, and leaves it so: it is no
    /// reason to wait if that one should die now.
    pub(super) fn abort_telling(&mut self, event: EventKind, payload: String, env: &Env<'_>, out: &mut Outbox) {
        self.undo = self.amends().or(self.undo.take());
        if self.failover.plan.coordination.is_some() {
            self.failover.pace.release();
            self.master.hello.due = env.now.mono;
        }
        self.failover.state = FailoverState::Idle;
        self.failover.authority = Authority::Votes;
        self.failover.plan = Plan::default();
        self.emit(event, payload, out);
        self.make_amends(env, out);
    }
}
