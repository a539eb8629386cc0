//! I18: from a failed save to the next good one nobody votes and nobody is elected. Stock does both (R9) and is excepted,
//! unless the whole world is stock; operators' failovers need no vote.

use std::collections::{BTreeMap, BTreeSet};

use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::id::Epoch;

use super::{Checker, Facts, Observation};

/// What saves have come to.
#[derive(Debug, Default)]
pub struct NoVoteWithoutSave {
    /// Whose last one failed.
    failed: BTreeSet<usize>,
    /// Epoch of the last vote on each node's disk, by node and master.
    votes: BTreeMap<(usize, usize), Epoch>,
}

impl Checker for NoVoteWithoutSave {
    fn rule(&self) -> &'static str {
        "I18: no vote without a save"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::SaveFailed { node } => {
                self.failed.insert(*node);
            }
            Observation::Synced { node, image } | Observation::Started { node, image } => {
                self.failed.remove(node);
                for (master, record) in image.masters() {
                    self.votes.insert((*node, master), record.leader_epoch);
                }
            }
            Observation::Emitted { node, master, event, .. }
                if event.kind == EventKind::VoteForLeader && self.failed.contains(node) =>
            {
                // A process that is late says so after another save, which failed.
                let epoch = event.payload.rsplit(' ').next().and_then(|epoch| epoch.parse().ok()).map(Epoch);
                let saved = self.votes.get(&(*node, *master));
                if epoch.is_some_and(|epoch| saved.is_some_and(|saved| *saved >= epoch)) {
                    return Ok(());
                }
                let forced = facts.attempts.get(&(*node, *master)).is_some_and(|attempt| attempt.forced);
                if !forced && (!facts.is_stock(*node) || facts.limits.first_stock == 0) {
                    return Err(format!("n{node}, whose last save failed: {event}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
