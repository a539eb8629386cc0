//! The failover state machine of the leader.
//!
//! | state | waits for | goes on with | next |
//! |---|---|---|---|
//! | `Idle` | ODOWN and the delay after the last attempt, or an operator | `+new-epoch`, `+try-failover` | `WaitStart` |
//! | `WaitStart` | own vote on disk, and a majority of votes (none if forced) | `+elected-leader`, `+failover-state-select-slave` | `SelectReplica` |
//! | | the election cannot be won, or timed out | `-failover-abort-not-elected` | `Idle` |
//! | `SelectReplica` | nothing | `+selected-slave`, `+failover-state-send-slaveof-noone` | `SendReplicaofNoOne` |
//! | | no replica is fit | `-failover-abort-no-good-slave` | `Idle` |
//! | `SendReplicaofNoOne` | a connection to the chosen one | `+failover-state-wait-promotion` | `WaitPromotion` |
//! | `WaitPromotion` | INFO `role:master`, then the new address on disk | `+promoted-slave`, `+failover-state-reconf-slaves` | `ReconfReplicas` |
//! | both | `failover-timeout` | `-failover-abort-slave-timeout` | `Idle` |
//! | `ReconfReplicas` | the other replicas, see [`super::reconf`] | `+failover-end` | `UpdateConfig` |
//! | `UpdateConfig` | the end of the step | `+switch-master` | `Idle` |

use rand::RngExt;

use super::Monitor;
use super::instance::{Replica, ReplicaKey, ServerId};
use super::reconf::transaction;
use super::select::{Candidate, MasterState, majority_answers, select, select_relative};
use super::vote::{Rival, Tally};
use crate::sentinel::Env;
use crate::sentinel::event::{Event, EventKind};
use crate::sentinel::id::{Epoch, LinkId, Rev, RunId};
use crate::sentinel::io::{Outbox, Output};
use crate::sentinel::link::is_due;
use crate::sentinel::policy::{Election, StaleReplicaPromotion};
use crate::sentinel::time::{Millis, UnixMillis};

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
    /// Stock's name, as shown by SENTINEL MASTER; `None` when idle.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            FailoverState::Idle => return None,
            FailoverState::WaitStart { .. } => "wait_start",
            FailoverState::SelectReplica { .. } => "select_slave",
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
            | FailoverState::SendReplicaofNoOne { epoch, .. }
            | FailoverState::WaitPromotion { epoch, .. }
            | FailoverState::ReconfReplicas { epoch, .. }
            | FailoverState::UpdateConfig { epoch, .. } => Some(*epoch),
        }
    }

    /// The chosen replica, once there is one.
    pub fn promoted(&self) -> Option<&str> {
        match self {
            FailoverState::SendReplicaofNoOne { promoted, .. }
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

/// What keeps the next attempt from starting at once.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hold {
    /// An attempt of ours that was carried out or given up: twice `failover-timeout`.
    Full,
    /// Nobody won the last election: a short random time, doubling.
    Retry { until: Millis },
    /// We voted for this Sentinel, which may be at work: twice `failover-timeout`, less if it is down.
    Leader(RunId),
}

/// State and history of failovers of one master.
/// The default is: nothing under way, nothing to wait for.
#[derive(Clone, Debug, Default)]
pub struct Failover {
    /// Where it stands.
    pub state: FailoverState,
    /// By what right.
    pub authority: Authority,
    hold: Option<(Millis, Hold)>,
    attempts_in_vain: u32,
    /// When we start, having found ODOWN: see `Monitor::start_delay`.
    candidacy: Option<Millis>,
    delay_logged: bool,
    /// Since when stock's rule refuses every replica.
    refused_since: Option<Millis>,
}

impl Failover {
    /// The master is well again: the next failure starts with a fresh back-off.
    pub fn forget_backoff(&mut self) {
        self.attempts_in_vain = 0;
        self.refused_since = None;
    }

    /// Whether `SENTINEL FAILOVER` started it.
    pub fn is_forced(&self) -> bool {
        self.state != FailoverState::Idle && self.authority == Authority::Operator
    }

    fn hold(&mut self, since: Millis, hold: Hold) {
        self.hold = Some((since, hold));
        self.delay_logged = false;
        self.candidacy = None;
    }
}

/// A lost election without a winner is repeated after a random time in this range, ms, doubling with each.
const RETRY_RANGE: std::ops::Range<u64> = 100..500;
/// Stock adds up to this much to the time of an attempt, ms.
const MAX_DESYNC: u64 = 1_000;
/// How long replicas that do not answer are waited for before a stale one is promoted, ms, at least.
const MIN_STALE_WAIT: u64 = 10_000;
/// Candidates start one after the other, this far apart plus a round trip, ms: the first has the votes before the
/// second asks.
const CANDIDATE_SPACING: u64 = 20;

impl Monitor {
    /// The chosen replica's key.
    pub(super) fn promoted(&self) -> Option<&str> {
        self.failover.state.promoted()
    }

    /// When the next attempt may start; `None` is at once (failover.md 7.2, 12.3 S12).
    fn hold_until(&self, env: &Env<'_>) -> Option<Millis> {
        let timeout = self.spec.failover_timeout;
        let (since, hold) = self.failover.hold.as_ref()?;
        Some(match hold {
            Hold::Retry { until } => *until,
            Hold::Full => *since + 2 * timeout,
            Hold::Leader(leader) => {
                let gone = self.sentinels.get(leader).is_some_and(|sentinel| sentinel.sdown.is_some());
                *since + if gone { timeout.min(env.node.periods.election_timeout) + MAX_DESYNC } else { 2 * timeout }
            }
        })
    }

    /// When a failover starts by itself, if ODOWN lasts and nobody else asks for our vote meanwhile.
    pub(super) fn start_at(&self, env: &Env<'_>) -> Option<Millis> {
        let idle = self.odown.is_some() && self.failover.state == FailoverState::Idle;
        idle.then(|| {
            let held = self.hold_until(env).unwrap_or_default();
            self.failover.candidacy.unwrap_or(env.now.mono).max(held)
        })
    }

    /// Starts a failover if ODOWN and due.
    pub(super) fn start_if_needed(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        if self.odown.is_none() || self.failover.state != FailoverState::Idle {
            self.failover.candidacy = None;
            return;
        }
        if let Some(until) = self.hold_until(env).filter(|until| *until > now) {
            self.log_delay(until, env, out);
            return;
        }
        let due = *self.failover.candidacy.get_or_insert(now + self.start_delay(env));
        if due <= now {
            self.start_failover(Authority::Votes, env, out);
        }
    }

    /// How long to let others go first. Sentinels that see ODOWN in the same instant would each vote for themselves
    /// and nobody would win; so they queue, in an order that differs from epoch to epoch. Starting later is always
    /// safe, and who has voted meanwhile does not start.
    fn start_delay(&self, env: &Env<'_>) -> u64 {
        if self.elects_as_stock(env) {
            return 0;
        }
        let epoch = env.epoch.current().0 + 1;
        let place = |id: &RunId| fnv1a(&[self.spec.name.as_str(), &epoch.to_string(), id.as_str()]);
        let mine = place(&env.node.myid);
        let reachable = || self.sentinels.iter().filter(|(_, sentinel)| sentinel.is_reachable());
        let rank = reachable().filter(|(id, _)| place(id) < mine).count() as u64;
        let round_trip = reachable().map(|(_, sentinel)| sentinel.health.round_trip).max().unwrap_or(0);
        rank * (CANDIDATE_SPACING + round_trip.min(MAX_DESYNC))
    }

    fn elects_as_stock(&self, env: &Env<'_>) -> bool {
        env.node.policies.of(&self.spec.name).election == Election::Stock
    }

    fn log_delay(&mut self, until: Millis, env: &Env<'_>, out: &mut Outbox) {
        let short = matches!(self.failover.hold, Some((_, Hold::Retry { .. })));
        if !short && !self.failover.delay_logged {
            self.failover.delay_logged = true;
            let wall = UnixMillis(env.now.wall.0 + until.since(env.now.mono));
            out.push(Output::NextFailoverDelay { until: wall });
        }
    }

    /// Starts an attempt in a fresh epoch, with our vote on its way to the disk.
    pub(super) fn start_failover(&mut self, authority: Authority, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        let epoch = env.epoch.advance();
        let at = now + self.rng.random_range(0..MAX_DESYNC);
        let timeout = env.node.periods.election_timeout.min(self.spec.failover_timeout);
        self.failover.state = FailoverState::WaitStart { epoch, until: at + timeout };
        self.failover.authority = authority;
        self.failover.hold(at, Hold::Full);
        out.emit(Event::new(EventKind::NewEpoch, epoch.to_string()));
        self.emit(EventKind::TryFailover, self.describe(&ServerId::Master, env), out);
        for sentinel in self.sentinels.values_mut() {
            sentinel.opinion.asked_at = None;
        }
        // A peer may already have told us of a vote in this very epoch: then we follow the majority of such votes.
        let peers_choice = self.tally(epoch).favourite().cloned();
        let candidate = peers_choice.filter(|_| authority == Authority::Votes).unwrap_or(env.node.myid.clone());
        self.cast_vote(candidate, epoch, env, out);
    }

    /// Votes, if this epoch's vote is still free. What follows waits for `Durable`.
    pub(super) fn cast_vote(&mut self, candidate: RunId, epoch: Epoch, env: &Env<'_>, out: &mut Outbox) {
        if !self.ledger.may_vote(epoch, env.epoch.current()) {
            return;
        }
        if candidate != env.node.myid {
            let at = env.now.mono + self.rng.random_range(0..MAX_DESYNC);
            self.failover.hold(at, Hold::Leader(candidate.clone()));
        }
        self.ledger.cast(candidate, epoch, self.next_rev());
        self.persist(env, out);
    }

    /// The votes of `epoch` known here: the peers' as they reported them, and mine once it is on disk.
    fn tally(&self, epoch: Epoch) -> Tally {
        let mine = match self.ledger.vote() {
            (Some(leader), cast_in) => Some((leader, cast_in)),
            (None, _) => None,
        };
        let votes = self.sentinels.values().filter_map(|sentinel| sentinel.opinion.vote()).chain(mine);
        // Who cannot be reached will hardly vote in time, and who has voted in a later epoch never will in this one.
        // Giving an attempt up costs only its epoch (failover.md 12.3, S13).
        let open = self
            .sentinels
            .values()
            .filter(|sentinel| sentinel.is_reachable() && sentinel.opinion.leader_epoch < epoch)
            .count();
        let own_vote_open = self.ledger.is_pending() && self.ledger.leader_epoch() == epoch;
        Tally::new(epoch, votes, open + usize::from(own_vote_open), self.sentinels.len() + 1, self.spec.quorum)
    }

    /// One transition of the state machine, if one is due. True when there was one.
    pub(super) fn advance(&mut self, env: &Env<'_>, out: &mut Outbox) -> bool {
        match self.failover.state.clone() {
            FailoverState::Idle | FailoverState::UpdateConfig { .. } => false,
            FailoverState::WaitStart { epoch, until } => self.wait_start(epoch, until, env, out),
            FailoverState::SelectReplica { epoch } => self.select_replica(epoch, env, out),
            FailoverState::SendReplicaofNoOne { epoch, since, promoted } => {
                self.send_replicaof_no_one(epoch, since, promoted, env, out)
            }
            FailoverState::WaitPromotion { epoch, promoted, saving: Some(rev), .. } => {
                rev <= self.durable && self.promotion_saved(epoch, promoted, env, out)
            }
            FailoverState::WaitPromotion { since, .. } => {
                let timed_out = is_due(Some(self.step_times_out_at(since)), env.now.mono);
                timed_out && self.abort(EventKind::AbortReplicaTimeout, env, out)
            }
            FailoverState::ReconfReplicas { epoch, since, promoted } => {
                self.reconfigure_replicas(epoch, since, &promoted, env, out)
            }
        }
    }

    /// When the state machine has something to do, apart from what inputs bring.
    pub(super) fn advance_at(&self) -> Option<Millis> {
        match &self.failover.state {
            FailoverState::WaitStart { until, .. } => Some(*until + 1),
            FailoverState::SendReplicaofNoOne { since, .. }
            | FailoverState::WaitPromotion { since, saving: None, .. }
            | FailoverState::ReconfReplicas { since, .. } => Some(self.step_times_out_at(*since)),
            _ => None,
        }
    }

    pub(super) fn step_times_out_at(&self, since: Millis) -> Millis {
        since + self.spec.failover_timeout + 1
    }

    fn wait_start(&mut self, epoch: Epoch, until: Millis, env: &Env<'_>, out: &mut Outbox) -> bool {
        let now = env.now.mono;
        // Nothing is led before our own vote and with it the epoch are on disk: after a crash this epoch could be
        // asked for again.
        if self.ledger.is_pending() && now <= until {
            return false;
        }
        let own_vote_saved = matches!(self.ledger.vote(), (Some(_), cast_in) if cast_in == epoch);
        if self.failover.authority == Authority::Operator && !self.ledger.is_pending() {
            return self.elected(epoch, env, out);
        }
        let tally = self.tally(epoch);
        let me = &env.node.myid;
        if own_vote_saved && tally.elects(me) {
            return self.elected(epoch, env, out);
        }
        if own_vote_saved && tally.may_elect(me) && now <= until {
            return false;
        }
        if self.elects_as_stock(env) && now <= until {
            return false;
        }
        let rival = tally.rival(me);
        self.abort(EventKind::AbortNotElected, env, out);
        if !self.elects_as_stock(env) {
            self.hold_after_lost_election(rival, env);
        }
        true
    }

    /// After an election that we did not win: whoever won or may yet win is let work; if nobody can, we try again soon.
    fn hold_after_lost_election(&mut self, rival: Option<Rival>, env: &Env<'_>) {
        let now = env.now.mono;
        let timeout = env.node.periods.election_timeout.min(self.spec.failover_timeout);
        let voted_for = match self.ledger.vote() {
            (Some(leader), _) if *leader != env.node.myid => Some(leader.clone()),
            _ => None,
        };
        match rival {
            Some(Rival::Elected(leader)) => self.failover.hold(now, Hold::Leader(leader)),
            Some(Rival::Possible(_)) => {
                let until = now + timeout + self.rng.random_range(0..MAX_DESYNC);
                self.failover.hold(now, Hold::Retry { until });
            }
            None if voted_for.is_some() => {
                self.failover.hold(now, Hold::Leader(voted_for.expect("just matched")));
            }
            None => self.hold_briefly(env),
        }
    }

    /// Tries again after a short random time that doubles with each attempt that came to nothing.
    fn hold_briefly(&mut self, env: &Env<'_>) {
        let longest = env.node.periods.election_timeout.min(self.spec.failover_timeout);
        let factor = 1u64 << self.failover.attempts_in_vain.min(10);
        let delay = (self.rng.random_range(RETRY_RANGE) * factor).min(longest);
        self.failover.attempts_in_vain += 1;
        self.failover.hold(env.now.mono, Hold::Retry { until: env.now.mono + delay });
    }

    fn elected(&mut self, epoch: Epoch, env: &Env<'_>, out: &mut Outbox) -> bool {
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
        select(&self.candidates(), self.master_state(), now, periods).map(str::to_owned)
    }

    /// The best replica where stock's rule finds none, and staleness is not a reason to stay without a master.
    fn best_stale_replica(&mut self, env: &Env<'_>) -> Option<ReplicaKey> {
        let (now, periods) = (env.now.mono, &env.node.periods);
        let refused_since = *self.failover.refused_since.get_or_insert(now);
        let waited = now.since(refused_since) >= (2 * self.spec.down_after).max(MIN_STALE_WAIT);
        let candidates = self.candidates();
        let allowed = match env.node.policies.of(&self.spec.name).stale_replica_promotion {
            StaleReplicaPromotion::Never => false,
            StaleReplicaPromotion::Relative => waited || majority_answers(&candidates, now, periods),
            StaleReplicaPromotion::Always => true,
        };
        let chosen = allowed.then(|| select_relative(&candidates, self.master_state(), now, periods))?;
        chosen.map(str::to_owned)
    }

    fn master_state(&self) -> MasterState {
        MasterState { sdown: self.master.sdown, down_after: self.spec.down_after }
    }

    fn candidates(&self) -> Vec<Candidate<'_>> {
        self.replicas
            .iter()
            .map(|(key, replica)| Candidate {
                key,
                down: replica.server.sdown.is_some(),
                connected: replica.server.link.health.connected,
                last_available: replica.server.link.health.last_available,
                info_at: replica.server.info_at,
                priority: replica.priority,
                link_down: replica.link_down,
                offset: replica.offset,
                run_id: replica.server.run_id.as_deref(),
                is_kin: self.is_kin(replica),
            })
            .collect()
    }

    /// Whether a replica's data is of this master's history. If we never heard the master, of the same history as that
    /// of another replica.
    fn is_kin(&self, replica: &Replica) -> bool {
        if !self.history.is_empty() {
            return replica.replids.iter().any(|replid| self.history.contains(replid));
        }
        let sharing = |other: &&Replica| other.replids.iter().any(|replid| replica.replids.contains(replid));
        self.replicas.len() == 1 || self.replicas.values().filter(sharing).count() > 1
    }

    fn select_replica(&mut self, epoch: Epoch, env: &Env<'_>, out: &mut Outbox) -> bool {
        let fresh = self.best_replica(env);
        let is_stale = fresh.is_none();
        let Some(promoted) = fresh.or_else(|| self.best_stale_replica(env)) else {
            self.abort(EventKind::AbortNoGoodReplica, env, out);
            if !self.elects_as_stock(env) {
                self.hold_briefly(env);
            }
            return true;
        };
        let replica = self.describe(&ServerId::Replica(promoted.clone()), env);
        if let (true, Some(chosen)) = (is_stale, self.replicas.get(&promoted)) {
            let payload = format!("{replica} #link-down {} offset {}", chosen.link_down, chosen.offset);
            self.emit(EventKind::StaleCandidateAccepted, payload, out);
        }
        self.failover.state = FailoverState::SendReplicaofNoOne { epoch, since: env.now.mono, promoted };
        self.emit(EventKind::SelectedReplica, replica.clone(), out);
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
        let told_on = self.server(&who).and_then(|server| server.link.command_id());
        let Some(told_on) = told_on.filter(|_| self.send_all(&who, transaction(None, env), out)) else {
            let timed_out = is_due(Some(self.step_times_out_at(since)), env.now.mono);
            return timed_out && self.abort(EventKind::AbortReplicaTimeout, env, out);
        };
        // EXEC's reply proves nothing; INFO in the same write tells a round trip later whether it is master
        // (failover.md 12.3, S8; 154).
        self.send_info(&who, env.now.mono, out);
        self.failover.state =
            FailoverState::WaitPromotion { epoch, since: env.now.mono, promoted, told_on, saving: None };
        self.emit(EventKind::StateWaitPromotion, self.describe(&who, env), out);
        true
    }

    /// The chosen replica still reports slave on a newer connection than the one it was told on: the order was lost
    /// with that connection, so it is given again.
    pub(super) fn retry_promotion(&mut self, key: &str, env: &Env<'_>, out: &mut Outbox) {
        let who = ServerId::Replica(key.to_owned());
        let link = self.server(&who).and_then(|server| server.link.command_id());
        let lost = matches!(&self.failover.state, FailoverState::WaitPromotion { promoted, told_on, saving: None, .. }
            if promoted == key && link.is_some_and(|link| link != *told_on));
        if lost && self.send_all(&who, transaction(None, env), out) {
            self.send_info(&who, env.now.mono, out);
            if let (FailoverState::WaitPromotion { told_on, .. }, Some(link)) = (&mut self.failover.state, link) {
                *told_on = link;
            }
        }
    }

    /// The chosen replica says that it is master: that goes to disk before anybody is told (failover.md 155).
    pub(super) fn promotion_reported(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let rev = self.next_rev();
        if let FailoverState::WaitPromotion { saving: saving @ None, .. } = &mut self.failover.state {
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
        self.announce_now(env.now.mono);
        self.demote_old_master(env, out);
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
    fn abort(&mut self, event: EventKind, env: &Env<'_>, out: &mut Outbox) -> bool {
        self.failover.state = FailoverState::Idle;
        self.failover.authority = Authority::Votes;
        self.emit(event, self.describe(&ServerId::Master, env), out);
        true
    }
}

/// 64-bit FNV-1a over words with separators, then mixed: an order that every node computes alike.
fn fnv1a(words: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in words.iter().flat_map(|word| word.bytes().chain([0xff])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ (hash >> 29)
}
