//! I18: from a failed save to the next good one nobody votes and nobody is elected. Stock does both (R9) and is excepted,
//! unless the whole world is stock; operators' failovers need no vote.

use std::collections::BTreeSet;

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation};

/// Whose last save failed.
#[derive(Debug, Default)]
pub struct NoVoteWithoutSave(BTreeSet<usize>);

impl Checker for NoVoteWithoutSave {
    fn rule(&self) -> &'static str {
        "I18: no vote without a save"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::SaveFailed { node } => {
                self.0.insert(*node);
            }
            Observation::Synced { node, .. } | Observation::Started { node, .. } => {
                self.0.remove(node);
            }
            Observation::Emitted { node, master, event, .. }
                if event.kind == EventKind::VoteForLeader && self.0.contains(node) =>
            {
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
