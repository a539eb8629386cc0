//! Votes: the ledger of the ones I cast, and the tally of an election.
//!
//! A vote binds for ever, so it counts for nobody, not even for myself, before it is on disk. [`Ledger::durable`] is
//! the only place where a [`Grant`] comes to be, and it is called for `Input::Durable` alone.

use std::collections::BTreeMap;

use crate::sentinel::id::{Epoch, ReplyToken, Rev, RunId};

/// My votes for one master: one per epoch, first come first served.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    leader: Option<RunId>,
    leader_epoch: Epoch,
    cast: Option<Cast>,
}

/// A vote on its way to the disk.
#[derive(Clone, Debug)]
struct Cast {
    rev: Rev,
    waiting: Vec<ReplyToken>,
    before: (Option<RunId>, Epoch),
}

/// A vote that is on disk, with those who wait to hear of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    leader: RunId,
    epoch: Epoch,
    waiting: Vec<ReplyToken>,
}

impl Grant {
    /// Whom I voted for.
    pub fn leader(&self) -> &RunId {
        &self.leader
    }

    /// In which epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whom to answer.
    pub fn waiting(&self) -> &[ReplyToken] {
        &self.waiting
    }
}

/// A vote that could not be saved and so was not given.
#[derive(Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Whom to answer.
    pub waiting: Vec<ReplyToken>,
    /// What to answer with: `*`.
    pub leader: Option<RunId>,
    /// The epoch of the vote before.
    pub epoch: Epoch,
}

impl Ledger {
    /// As loaded: the epoch of the last vote is known, whom it went to is not.
    pub fn new(leader_epoch: Epoch) -> Ledger {
        Ledger { leader: None, leader_epoch, cast: None }
    }

    /// Epoch of my last vote, on disk or on its way there. No other vote will be cast in it.
    pub fn leader_epoch(&self) -> Epoch {
        self.leader_epoch
    }

    /// Whether a vote in `epoch` is still possible, if none before `oldest` is.
    pub fn may_vote(&self, epoch: Epoch, oldest: Epoch) -> bool {
        self.leader_epoch < epoch && oldest <= epoch
    }

    /// Casts a vote that `rev` will make durable.
    pub fn cast(&mut self, candidate: RunId, epoch: Epoch, rev: Rev) {
        assert!(epoch > self.leader_epoch, "one vote per epoch: {epoch} after {}", self.leader_epoch);
        // A vote in a later epoch overtakes one still on its way: those who wait for it hear what is decided now.
        let (waiting, before) = match self.cast.take() {
            Some(overtaken) => (overtaken.waiting, overtaken.before),
            None => (Vec::new(), (self.leader.take(), self.leader_epoch)),
        };
        self.leader = Some(candidate);
        self.leader_epoch = epoch;
        self.cast = Some(Cast { rev, waiting, before });
    }

    /// The vote that binds and is on disk: what may be told and counted.
    pub fn vote(&self) -> (Option<&RunId>, Epoch) {
        match &self.cast {
            Some(cast) => (cast.before.0.as_ref(), cast.before.1),
            None => (self.leader.as_ref(), self.leader_epoch),
        }
    }

    /// Makes `token` wait for the vote that is on its way. False when there is none.
    pub fn wait(&mut self, token: ReplyToken) -> bool {
        match &mut self.cast {
            Some(cast) => {
                cast.waiting.push(token);
                true
            }
            None => false,
        }
    }

    /// Whether a vote is on its way to the disk.
    pub fn is_pending(&self) -> bool {
        self.cast.is_some()
    }

    /// Everything up to `rev` is on disk: releases the vote if it is covered.
    pub fn durable(&mut self, rev: Rev) -> Option<Grant> {
        let cast = self.cast.take_if(|cast| cast.rev <= rev)?;
        let leader = self.leader.clone().expect("a cast vote names its candidate");
        Some(Grant { leader, epoch: self.leader_epoch, waiting: cast.waiting })
    }

    /// `rev` could not be saved: a vote that it carried is not given, now or ever in that epoch.
    pub fn failed(&mut self, rev: Rev) -> Option<Withdrawn> {
        let cast = self.cast.take_if(|cast| cast.rev <= rev)?;
        self.leader = None;
        Some(Withdrawn { waiting: cast.waiting, leader: None, epoch: cast.before.1 })
    }

    /// Forgets whom I voted for, but never that I did (reset and switch).
    pub fn forget_leader(&mut self) {
        if self.cast.is_none() {
            self.leader = None;
        }
    }
}

/// The state of an election, as far as the votes known here tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    votes: BTreeMap<RunId, usize>,
    /// Peers whose vote in this epoch is unknown and may still come.
    open: usize,
    /// Votes it takes to win: a majority of all known Sentinels, reachable or not, and the quorum.
    needed: usize,
}

impl Tally {
    /// Counts the votes of `epoch`. `reported` yields what each voter is known to have voted, `open` is how many more
    /// may come.
    pub fn new<'a>(
        epoch: Epoch,
        reported: impl Iterator<Item = (&'a RunId, Epoch)>,
        open: usize,
        voters: usize,
        quorum: u32,
    ) -> Tally {
        let mut counts = BTreeMap::new();
        // Votes of other epochs elect nobody in this one (failover.md 139; stock counts by its current epoch).
        for (leader, _) in reported.filter(|(_, cast_in)| *cast_in == epoch) {
            *counts.entry(leader.clone()).or_insert(0) += 1;
        }
        Tally { votes: counts, open, needed: (voters / 2 + 1).max(quorum as usize) }
    }

    /// Whether `candidate` has won.
    pub fn elects(&self, candidate: &RunId) -> bool {
        self.votes_for(candidate) >= self.needed
    }

    /// Whether `candidate` can still win.
    pub fn may_elect(&self, candidate: &RunId) -> bool {
        self.votes_for(candidate) + self.open >= self.needed
    }

    /// The candidate with the most votes; of several, the one with the smallest id.
    pub fn favourite(&self) -> Option<&RunId> {
        let most = *self.votes.values().max()?;
        self.votes.iter().find(|(_, count)| **count == most).map(|(leader, _)| leader)
    }

    /// Another candidate that has won or can still win.
    pub fn rival(&self, me: &RunId) -> Option<Rival> {
        let others = || self.votes.keys().filter(|leader| *leader != me);
        if let Some(winner) = others().find(|leader| self.elects(leader)) {
            return Some(Rival::Elected(winner.clone()));
        }
        others().find(|leader| self.may_elect(leader)).map(|leader| Rival::Possible(leader.clone()))
    }

    fn votes_for(&self, candidate: &RunId) -> usize {
        self.votes.get(candidate).copied().unwrap_or(0)
    }
}

/// Who else may lead in this epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rival {
    /// Has the votes it needs.
    Elected(RunId),
    /// Could still get them.
    Possible(RunId),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> RunId {
        RunId::from(text)
    }

    /// failover.md 118, 119
    #[test]
    fn a_vote_is_told_only_once_it_is_durable() {
        let mut ledger = Ledger::new(Epoch(3));
        assert!(ledger.may_vote(Epoch(4), Epoch(4)));
        ledger.cast(id("a"), Epoch(4), Rev(7));
        assert!(ledger.wait(ReplyToken(1)));
        assert!(!ledger.may_vote(Epoch(4), Epoch(4)));
        assert_eq!(ledger.vote(), (None, Epoch(3)));
        assert_eq!(ledger.durable(Rev(6)), None);
        let grant = ledger.durable(Rev(7)).expect("covered");
        assert_eq!((grant.leader(), grant.epoch(), grant.waiting()), (&id("a"), Epoch(4), &[ReplyToken(1)][..]));
        assert_eq!(ledger.vote(), (Some(&id("a")), Epoch(4)));
    }

    /// failover.md 128
    #[test]
    fn a_vote_that_cannot_be_saved_is_never_given() {
        let mut ledger = Ledger::new(Epoch(3));
        ledger.cast(id("a"), Epoch(4), Rev(7));
        ledger.wait(ReplyToken(1));
        let withdrawn = ledger.failed(Rev(7)).expect("covered");
        assert_eq!(withdrawn, Withdrawn { waiting: vec![ReplyToken(1)], leader: None, epoch: Epoch(3) });
        assert!(!ledger.may_vote(Epoch(4), Epoch(4)), "the file may hold it after all");
        assert_eq!(ledger.durable(Rev(8)), None);
        assert_eq!(ledger.vote().0, None);
    }

    /// failover.md 123, 121
    #[test]
    fn old_epochs_get_no_vote() {
        let ledger = Ledger::new(Epoch(0));
        assert!(!ledger.may_vote(Epoch(0), Epoch(0)));
        assert!(!ledger.may_vote(Epoch(2), Epoch(3)));
    }

    /// failover.md 136, 138, 139
    #[test]
    fn winning_takes_majority_and_quorum_of_this_epoch() {
        let (a, b) = (id("a"), id("b"));
        let votes = [(&a, Epoch(5)), (&a, Epoch(5)), (&a, Epoch(4)), (&b, Epoch(5))];
        let count = |open, voters, quorum| Tally::new(Epoch(5), votes.into_iter(), open, voters, quorum);
        assert!(count(0, 3, 2).elects(&a));
        assert!(!count(0, 3, 3).elects(&a));
        assert!(!count(0, 5, 2).elects(&a));
        assert!(count(1, 5, 2).may_elect(&a));
        assert!(!count(1, 5, 2).may_elect(&b));
        assert_eq!(count(0, 3, 2).favourite(), Some(&a));
        assert_eq!(count(0, 3, 2).rival(&b), Some(Rival::Elected(a.clone())));
        assert_eq!(count(2, 5, 2).rival(&a), Some(Rival::Possible(b.clone())));
        assert_eq!(count(0, 5, 2).rival(&a), None);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Ask { candidate: u8, epoch: u64 },
        Save,
        Fail,
        Crash,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0u8..3, 0u64..6).prop_map(|(candidate, epoch)| Op::Ask { candidate, epoch }),
            2 => Just(Op::Save),
            1 => Just(Op::Fail),
            1 => Just(Op::Crash),
        ]
    }

    proptest! {
        /// failover.md I2: whatever happens, nobody ever hears two names for one epoch.
        #[test]
        fn never_tells_two_candidates_for_one_epoch(ops in prop::collection::vec(op(), 1..60)) {
            let mut ledger = Ledger::new(Epoch(0));
            let (mut rev, mut on_disk, mut current) = (0, Epoch(0), Epoch(0));
            let mut told: BTreeMap<Epoch, RunId> = BTreeMap::new();
            for op in ops {
                match op {
                    Op::Ask { candidate, epoch } => {
                        current = current.max(Epoch(epoch));
                        if ledger.may_vote(Epoch(epoch), current) {
                            rev += 1;
                            ledger.cast(id(&candidate.to_string()), Epoch(epoch), Rev(rev));
                        }
                    }
                    Op::Save => {
                        on_disk = ledger.leader_epoch();
                        ledger.durable(Rev(rev));
                    }
                    Op::Fail => {
                        ledger.failed(Rev(rev));
                    }
                    Op::Crash => ledger = Ledger::new(on_disk),
                }
                if let (Some(leader), epoch) = ledger.vote() {
                    let first = told.entry(epoch).or_insert_with(|| leader.clone());
                    prop_assert_eq!(&*first, leader);
                }
            }
        }

        /// failover.md 136, against a count that does nothing clever.
        #[test]
        fn agrees_with_a_dumb_count(votes in prop::collection::vec((0u8..3, 4u64..6), 0..8), quorum in 1u32..6) {
            let votes: Vec<(RunId, Epoch)> = votes.iter().map(|(who, epoch)| (id(&who.to_string()), Epoch(*epoch))).collect();
            let voters = votes.len() + 1;
            let tally = Tally::new(Epoch(5), votes.iter().map(|(who, epoch)| (who, *epoch)), 0, voters, quorum);
            for who in ["0", "1", "2"] {
                let count = votes.iter().filter(|vote| **vote == (id(who), Epoch(5))).count();
                prop_assert_eq!(tally.elects(&id(who)), 2 * count > voters && count >= quorum as usize);
            }
        }
    }
}
