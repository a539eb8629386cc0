//! Elections: when to run for leader, whom to vote for, who has won, and how long to wait after a defeat.

use std::collections::BTreeSet;

use rand::RngExt;

use super::Monitor;
use super::failover::{Authority, FailoverState};
use super::instance::{Sentinel, ServerId};
use super::vote::{Rival, Tally};
use crate::sentinel::Env;
use crate::sentinel::event::EventKind;
use crate::sentinel::id::{Epoch, Rev, RunId};
use crate::sentinel::io::{Outbox, Output};
use crate::sentinel::link::is_due;
use crate::sentinel::policy::Election;
use crate::sentinel::time::{Millis, UnixMillis};

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

/// When we start, if nobody asks for our vote before.
#[derive(Clone, Copy, Debug)]
struct Candidacy {
    at: Millis,
    /// How many come before us.
    rank: u64,
    /// The current epoch when we found ODOWN.
    epoch: Epoch,
}

impl Candidacy {
    /// Every attempt since then, for whatever master, has moved the current epoch, and all of them share one process and
    /// one disk here and there: the turn of each candidate lasts longer by that much. Where steps are late, so is that of
    /// whoever comes before us.
    fn due(self, env: &Env<'_>) -> Millis {
        let crowd = env.epoch.current().0.saturating_sub(self.epoch.0).saturating_mul(CROWD_SPACING);
        let more = crowd.saturating_add(2 * env.lateness.average());
        self.at + self.rank.saturating_mul(more).min(MAX_CROWD_DELAY)
    }
}

/// When the next attempt may start. The default is: at once.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    hold: Option<(Millis, Hold)>,
    attempts_in_vain: u32,
    /// Our place among those who may start, having found ODOWN.
    candidacy: Option<Candidacy>,
    delay_logged: bool,
    /// A save that failed, while no later one has worked. Who cannot save cannot win, and asking all the same would
    /// bind the votes of those who can.
    unsaved: Option<Rev>,
}

impl Pace {
    /// The next attempt that comes to nothing is followed by the shortest delay.
    pub fn forget_backoff(&mut self) {
        self.attempts_in_vain = 0;
    }

    /// `rev` is on disk.
    pub fn saved(&mut self, rev: Rev) {
        self.unsaved = self.unsaved.filter(|unsaved| *unsaved > rev);
    }

    /// `rev` is not on disk.
    pub fn not_saved(&mut self, rev: Rev) {
        self.unsaved = self.unsaved.max(Some(rev));
    }

    /// Nobody is at work: the next attempt may start as soon as it is our turn.
    pub fn release(&mut self) {
        self.hold = None;
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
/// Candidates start one after the other, this far apart plus a round trip, ms: the first has the votes before the
/// second asks. The round trip is the longest of the last PING and the last question about this master.
const CANDIDATE_SPACING: u64 = 20;
/// So much longer a turn lasts for each attempt that has begun meanwhile, ms. With 3, one in six runs with a hundred masters
/// that died at once had an election that two Sentinels began within a few ms; with 8, none of 24.
const CROWD_SPACING: u64 = 8;
/// The longest that a candidate waits for that, ms.
const MAX_CROWD_DELAY: u64 = 2_000;
/// How long a candidate is given that may have won an election which we have not, ms: to promote a replica and to say so.
/// Between this and [`MAX_DESYNC`] more.
const RIVAL_PATIENCE: u64 = 2_000;
/// How long an answer of somebody whose turn is before ours is waited for, ms. While many masters fail together answers
/// take longer than any spacing foresees.
const TURN_PATIENCE: u64 = 500;
/// Who knows no replica stands this much later, ms: after a RESET there are others who know some, and who elects it binds
/// its vote for nothing.
const EMPTY_HANDED_DELAY: u64 = 2_000;

impl Monitor {
    /// When the next attempt may start; `None` is at once (failover.md 7.2, 12.3 S12).
    fn hold_until(&self, env: &Env<'_>) -> Option<Millis> {
        let timeout = self.spec.failover_timeout;
        let (since, hold) = self.failover.pace.hold.as_ref()?;
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
        self.may_start().then(|| {
            let held = self.hold_until(env).unwrap_or_default();
            let due = self.failover.pace.candidacy.map(|candidacy| candidacy.due(env));
            due.unwrap_or(env.now.mono).max(held).max(self.awaited_until(env))
        })
    }

    fn may_start(&self) -> bool {
        let can_save = self.failover.pace.unsaved.is_none();
        self.odown.is_some() && self.failover.state == FailoverState::Idle && can_save
    }

    /// Starts a failover if ODOWN and due.
    pub(super) fn start_if_needed(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        if !self.may_start() {
            self.failover.pace.candidacy = None;
            return;
        }
        if let Some(until) = self.hold_until(env).filter(|until| *until > now) {
            self.log_delay(until, env, out);
            return;
        }
        if self.failover.pace.candidacy.is_none() {
            let rank = self.first_in_turn(env).count() as u64;
            let at = now + self.start_delay(rank, env);
            self.failover.pace.candidacy = Some(Candidacy { at, rank, epoch: env.epoch.current() });
            // By its answer each says that it has had its turn.
            for id in self.first_in_turn(env).cloned().collect::<Vec<_>>() {
                self.sentinels.entry(id).and_modify(|sentinel| sentinel.opinion.asked_at = None);
            }
        }
        if is_due(self.start_at(env), now) {
            self.start_failover(Authority::Votes, env, out);
        }
    }

    /// How long to let others go first. Sentinels that see ODOWN in the same instant would each vote for themselves
    /// and nobody would win; so they queue, in an order that differs from failover to failover. Starting later is always
    /// safe, and who has voted meanwhile does not start.
    fn start_delay(&self, rank: u64, env: &Env<'_>) -> u64 {
        if self.elects_as_stock(env) {
            return 0;
        }
        let reachable = || self.sentinels.iter().filter(|(_, sentinel)| sentinel.is_reachable());
        let round_trip = |sentinel: &Sentinel| sentinel.health.round_trip.max(sentinel.opinion.round_trip);
        let round_trip = reachable().map(|(_, sentinel)| round_trip(sentinel)).max().unwrap_or(0);
        let empty_handed = if self.replicas.is_empty() && !self.sentinels.is_empty() { EMPTY_HANDED_DELAY } else { 0 };
        rank * (CANDIDATE_SPACING + round_trip.min(MAX_DESYNC)) + empty_handed
    }

    /// The peers within reach whose turn is before ours. In stock's elections nobody's is.
    fn first_in_turn(&self, env: &Env<'_>) -> impl Iterator<Item = &RunId> {
        // The epoch of this master's address is the same for all. The current epoch is not: where many masters fail
        // together, every attempt for one of them moves it.
        let epoch = self.config_epoch.to_string();
        let place = move |id: &RunId| fnv1a(&[self.spec.name.as_str(), &epoch, id.as_str()]);
        let mine = place(&env.node.myid);
        let in_turns = !self.elects_as_stock(env);
        let reachable = self.sentinels.iter().filter(move |(_, sentinel)| in_turns && sentinel.is_reachable());
        reachable.map(|(id, _)| id).filter(move |id| place(id) < mine)
    }

    /// Until when those whose turn is before ours are waited for: they owe us an answer, and may just be at work.
    fn awaited_until(&self, env: &Env<'_>) -> Millis {
        let owing = self.first_in_turn(env).filter_map(|id| self.sentinels.get(id)?.opinion.owing_since());
        owing.map(|since| since + TURN_PATIENCE).max().unwrap_or_default()
    }

    pub(super) fn elects_as_stock(&self, env: &Env<'_>) -> bool {
        env.node.policies.of(&self.spec.name).election == Election::Stock
    }

    fn log_delay(&mut self, until: Millis, env: &Env<'_>, out: &mut Outbox) {
        let short = matches!(self.failover.pace.hold, Some((_, Hold::Retry { .. })));
        if !short && !self.failover.pace.delay_logged {
            self.failover.pace.delay_logged = true;
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
        self.failover.pace.hold(at, Hold::Full);
        self.emit(EventKind::NewEpoch, epoch.to_string(), out);
        self.emit(EventKind::TryFailover, self.describe(&ServerId::Master, env), out);
        for sentinel in self.sentinels.values_mut() {
            sentinel.opinion.asked_at = None;
        }
        // A peer may already have told us of a vote in this very epoch: then we follow the majority of such votes.
        let peers_choice = self.tally(epoch).favourite().cloned();
        let candidate = peers_choice.filter(|_| authority == Authority::Votes).unwrap_or(env.node.myid.clone());
        self.cast_vote(candidate, epoch, env, out);
    }

    /// Whether to stand instead of voting for this candidate. Who asks again in a newer epoch, of a master that has not been
    /// well since, says with it that the attempt for which we voted has ended. If we see a replica that we would promote, it
    /// may have found none, as after a RESET or on the wrong side of a partition, and with vote after vote would keep
    /// everybody else from standing.
    pub(super) fn takes_over_from(&self, candidate: &RunId, epoch: Epoch, env: &Env<'_>) -> bool {
        let voted_at = match &self.failover.pace.hold {
            Some((at, Hold::Leader(leader))) if leader == candidate => *at,
            _ => return false,
        };
        let is_silent = self.master.link.health.last_available <= voted_at;
        let is_same_failure = is_silent || self.odown.is_some_and(|since| since <= voted_at);
        let asks_again = is_same_failure && epoch > self.ledger.leader_epoch();
        asks_again && !self.elects_as_stock(env) && self.may_start() && self.would_promote(env)
    }

    /// Whether `candidate` may have our vote for this master in `epoch`, while `current` is the current epoch. Stock votes in
    /// no epoch before the current one. Attempts for other masters move that, and when many fail together each would refuse
    /// what the others ask; who leads this master is settled by the votes about it and its configuration alone
    /// (beyond.md B5).
    pub(super) fn may_vote(&self, candidate: &RunId, epoch: Epoch, current: Epoch, env: &Env<'_>) -> bool {
        if self.elects_as_stock(env) {
            return self.ledger.may_vote(epoch, current);
        }
        let is_free = self.ledger.may_vote(epoch, self.config_epoch.next());
        is_free && env.epoch.admits_vote(epoch, &self.master.addr, candidate)
    }

    /// Votes, if this epoch's vote is still free. What follows waits for `Durable`.
    pub(super) fn cast_vote(&mut self, candidate: RunId, epoch: Epoch, env: &Env<'_>, out: &mut Outbox) {
        if !self.may_vote(&candidate, epoch, env.epoch.current(), env) {
            return;
        }
        env.epoch.note_vote(epoch, &self.master.addr, &candidate);
        if candidate != env.node.myid {
            // It may promote somebody: what we took from the old master is no longer ours to give back.
            self.undo = None;
            let at = env.now.mono + self.rng.random_range(0..MAX_DESYNC);
            self.failover.pace.hold(at, Hold::Leader(candidate.clone()));
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

    pub(super) fn wait_start(&mut self, epoch: Epoch, until: Millis, env: &Env<'_>, out: &mut Outbox) -> bool {
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
        let rival = self.rival(epoch, me);
        self.abort(EventKind::AbortNotElected, env, out);
        if !self.elects_as_stock(env) {
            self.hold_after_lost_election(rival, env);
        }
        true
    }

    /// Who else has won an election about this master, in this epoch or a later one, or may yet win it.
    fn rival(&self, epoch: Epoch, me: &RunId) -> Option<Rival> {
        let later =
            self.sentinels.values().map(|sentinel| sentinel.opinion.leader_epoch).filter(|later| *later > epoch);
        let epochs: BTreeSet<Epoch> = later.chain([epoch]).collect();
        let rivals: Vec<Rival> = epochs.into_iter().rev().filter_map(|epoch| self.tally(epoch).rival(me)).collect();
        let elected = rivals.iter().find(|rival| matches!(rival, Rival::Elected(_)));
        elected.or(rivals.first()).cloned()
    }

    /// After an election that we did not win: whoever won or may yet win is let work; if nobody can, we try again soon.
    fn hold_after_lost_election(&mut self, rival: Option<Rival>, env: &Env<'_>) {
        let now = env.now.mono;
        let voted_for = match self.ledger.vote() {
            (Some(leader), _) if *leader != env.node.myid => Some(leader.clone()),
            _ => None,
        };
        match rival {
            Some(Rival::Elected(leader)) => self.failover.pace.hold(now, Hold::Leader(leader)),
            Some(Rival::Possible(_)) => {
                let patience = RIVAL_PATIENCE + self.rng.random_range(0..MAX_DESYNC);
                let until = now + patience.min(env.node.periods.election_timeout.min(self.spec.failover_timeout));
                self.failover.pace.hold(now, Hold::Retry { until });
            }
            None => match voted_for {
                Some(leader) => self.failover.pace.hold(now, Hold::Leader(leader)),
                None => self.hold_briefly(env),
            },
        }
    }

    /// Tries again after a short random time that doubles with each attempt that came to nothing.
    pub(super) fn hold_briefly(&mut self, env: &Env<'_>) {
        let longest = env.node.periods.election_timeout.min(self.spec.failover_timeout);
        let factor = 1u64 << self.failover.pace.attempts_in_vain.min(10);
        let delay = (self.rng.random_range(RETRY_RANGE) * factor).min(longest);
        self.failover.pace.attempts_in_vain += 1;
        self.failover.pace.hold(env.now.mono, Hold::Retry { until: env.now.mono + delay });
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
