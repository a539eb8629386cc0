//! The process-wide `current_epoch`, a register that only grows, and the votes that were given in each epoch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::addr::Addr;
use super::id::{Epoch, RunId};

/// An epoch further ahead than this of the one we know is a mistake or an attack, and is refused: stock believes any
/// epoch, and one message with 2^64-1 disables every later election (failover.md 87, 127).
pub const MAX_EPOCH_LEAP: u64 = 1 << 32;

/// Epochs whose votes are remembered. No vote is given in an epoch that is no longer.
const REMEMBERED: usize = 4_096;

/// `current_epoch` for other threads to read.
#[derive(Debug, Default)]
pub struct CurrentEpoch(AtomicU64);

impl CurrentEpoch {
    /// The current epoch.
    pub fn get(&self) -> Epoch {
        Epoch(self.0.load(Ordering::SeqCst))
    }
}

/// `current_epoch`. Shared by every master of the process.
///
/// Monitors run one at a time, so no register moves while one of them works.
#[derive(Debug, Default)]
pub struct EpochRegister {
    current: Arc<CurrentEpoch>,
    /// As loaded.
    first: Epoch,
    /// Newest vote in the file, for whatever master. For whom it was is not saved, as in stock.
    last_vote_loaded: Epoch,
    votes: RefCell<Votes>,
}

#[derive(Debug, Default)]
struct Votes {
    /// About the master at which address, and for whom, by epoch.
    given: BTreeMap<Epoch, Vec<(Addr, RunId)>>,
    forgotten: Option<Epoch>,
}

impl EpochRegister {
    /// A register that starts at `epoch`, with the epochs of the masters' last votes, as loaded from the file.
    pub fn new(epoch: Epoch, last_votes: impl IntoIterator<Item = Epoch>) -> Self {
        let last_vote_loaded = last_votes.into_iter().max().unwrap_or_default();
        let current = Arc::new(CurrentEpoch(AtomicU64::new(epoch.0)));
        EpochRegister { current, first: epoch, last_vote_loaded, votes: RefCell::default() }
    }

    /// For threads that read.
    pub fn reader(&self) -> Arc<CurrentEpoch> {
        Arc::clone(&self.current)
    }

    /// The current epoch.
    pub fn current(&self) -> Epoch {
        self.current.get()
    }

    /// Raises the register to `seen` if that is larger. Returns the value afterwards.
    pub fn observe(&self, seen: Epoch) -> Epoch {
        Epoch(self.current.0.fetch_max(seen.0, Ordering::SeqCst).max(seen.0))
    }

    /// Makes a new epoch, larger than any seen.
    pub fn advance(&self) -> Epoch {
        Epoch(self.current.0.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Whether an epoch received from outside can be believed.
    pub fn is_sane(&self, received: Epoch) -> bool {
        received.0 <= self.current().0.saturating_add(MAX_EPOCH_LEAP)
    }

    /// Whether no vote of this process stands against one for `candidate` about the master at `addr`. Votes are asked for
    /// by address: what is one master to us may be another to who asks, and each of two candidates would have a majority
    /// for it. So no two have our votes in one epoch about one address, whatever masters it belonged to; and none has one in an
    /// epoch in which we may have voted before our start.
    pub fn admits_vote(&self, epoch: Epoch, addr: &Addr, candidate: &RunId) -> bool {
        let votes = self.votes.borrow();
        let mut given = votes.given.get(&epoch).into_iter().flatten();
        epoch >= self.first
            && epoch > self.last_vote_loaded
            && votes.forgotten.is_none_or(|forgotten| epoch > forgotten)
            && given.all(|(known, leader)| !known.same_as(addr) || leader == candidate)
    }

    /// Remembers a vote.
    pub fn note_vote(&self, epoch: Epoch, addr: &Addr, candidate: &RunId) {
        let mut votes = self.votes.borrow_mut();
        votes.given.entry(epoch).or_default().push((addr.clone(), candidate.clone()));
        if votes.given.len() > REMEMBERED {
            votes.forgotten = votes.given.pop_first().map(|(epoch, _)| epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One address, one candidate, whoever the master was; and nothing in an epoch that may hold votes that we forgot.
    #[test]
    fn votes_about_one_address_go_to_one_candidate() {
        let register = EpochRegister::new(Epoch(3), [Epoch(3), Epoch(1)]);
        let (here, there) = (Addr::new("10.0.0.1", 6379), Addr::new("10.0.0.2", 6379));
        let (one, other) = (RunId::from("a"), RunId::from("b"));
        assert!(!register.admits_vote(Epoch(3), &here, &one), "it may have been given before the start");
        assert!(EpochRegister::new(Epoch(3), [Epoch(2)]).admits_vote(Epoch(3), &here, &one), "it was not");
        assert!(register.admits_vote(Epoch(4), &here, &one));
        register.note_vote(Epoch(4), &here, &one);
        assert!(!register.admits_vote(Epoch(4), &here, &other));
        assert!(register.admits_vote(Epoch(4), &here, &one), "of another master at that address");
        assert!(register.admits_vote(Epoch(4), &there, &other));
        assert!(register.admits_vote(Epoch(5), &here, &other));
        for epoch in 5..=4 + REMEMBERED as u64 {
            register.note_vote(Epoch(epoch), &there, &other);
        }
        assert!(!register.admits_vote(Epoch(4), &there, &other), "forgotten");
        assert!(register.admits_vote(Epoch(5), &here, &one));
    }
}
