//! I7: no election without votes for exactly this epoch from a majority of all known voters and at least the quorum,
//! and no SLAVEOF NO ONE without an election. Forced failovers are excepted.

use std::collections::{BTreeMap, BTreeSet};

use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::id::Epoch;

use super::{Checker, Facts, Observation};

/// Who is known at the candidate to have voted for it, by candidate, master and epoch. Counts processes, not ids.
#[derive(Debug, Default)]
pub struct Majority(BTreeMap<(usize, usize, Epoch), BTreeSet<usize>>);

impl Checker for Majority {
    fn rule(&self) -> &'static str {
        "I7: a majority of votes for this epoch"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::VoteHeard { node, voter, master, leader, epoch } => {
                if facts.node_of(leader) == Some(*node) {
                    self.0.entry((*node, *master, *epoch)).or_default().insert(*voter);
                }
                Ok(())
            }
            Observation::Emitted { node, master, event, .. } if event.kind == EventKind::VoteForLeader => {
                let mut words = event.payload.split(' ');
                let leader = words.next().and_then(|id| facts.node_of(id));
                let epoch = words.next().and_then(|word| word.parse().ok()).map(Epoch);
                if let (true, Some(epoch)) = (leader == Some(*node), epoch) {
                    self.0.entry((*node, *master, epoch)).or_default().insert(*node);
                }
                Ok(())
            }
            Observation::Emitted { node, master, event, .. } if event.kind == EventKind::ElectedLeader => {
                let Some(attempt) = facts.attempts.get(&(*node, *master)) else { return Ok(()) };
                let Some((voters, quorum)) = facts.voters.get(&(*node, *master)) else { return Ok(()) };
                let needed = (voters / 2 + 1).max(*quorum);
                let heard = self.0.get(&(*node, *master, attempt.epoch));
                let count = heard.map_or(0, BTreeSet::len);
                if attempt.forced || count >= needed || facts.forgives(*node, *master, attempt.epoch) {
                    return Ok(());
                }
                Err(format!(
                    "n{node} leads m{master} in epoch {} with {count} votes ({heard:?}) of {voters}, quorum {quorum}",
                    attempt.epoch
                ))
            }
            Observation::PromotionSent { node, master, .. } => {
                if facts.attempts.get(&(*node, *master)).is_some_and(|attempt| attempt.elected) {
                    return Ok(());
                }
                Err(format!("n{node} promotes for m{master} without an election"))
            }
            _ => Ok(()),
        }
    }
}
