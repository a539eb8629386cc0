//! I5: what others may build on is on the sender's disk: a vote before it is answered, one's own vote before it elects
//! oneself, and the epoch of a configuration before it is announced.
//!
//! The announced address itself need not be on disk: its epoch is spent for ever by the votes that elected the leader,
//! so a crash can lose the address and never give the epoch to another.

use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::id::Epoch;

use super::{Checker, Facts, Observation};
use crate::disk::Image;

/// Epoch of the last vote on each node's disk, by node and master.
#[derive(Debug, Default)]
pub struct DurableFirst(std::collections::BTreeMap<(usize, usize), Epoch>);

fn leader_epoch(image: &Image, master: usize) -> Epoch {
    image.masters().find(|(number, _)| *number == master).map_or(Epoch(0), |(_, record)| record.leader_epoch)
}

impl Checker for DurableFirst {
    fn rule(&self) -> &'static str {
        "I5: durable before it is said"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, image } | Observation::Synced { node, image } => {
                for (master, record) in image.masters() {
                    self.0.insert((*node, master), record.leader_epoch);
                }
                Ok(())
            }
            Observation::VoteAnswered { node, master, leader: Some(leader), epoch, disk } => {
                let durable = leader_epoch(disk, *master) >= *epoch && disk.epoch >= *epoch;
                if durable || facts.forgives(*node, *master, *epoch) {
                    return Ok(());
                }
                Err(format!("n{node} answers {leader} {epoch} for m{master}, which is not in its file"))
            }
            Observation::Announced { node, master, hello, disk } => {
                let Some(attempt) = facts.attempts.get(&(*node, *master)) else { return Ok(()) };
                let forgiven = attempt.forced || facts.forgives(*node, *master, attempt.epoch);
                let leads = attempt.elected && !forgiven && attempt.epoch == hello.config_epoch;
                if !leads || leader_epoch(disk, *master) >= hello.config_epoch {
                    return Ok(());
                }
                Err(format!("n{node} announces {hello}, and the epoch is not in its file"))
            }
            Observation::Emitted { node, master, event, .. } if event.kind == EventKind::ElectedLeader => {
                let Some(attempt) = facts.attempts.get(&(*node, *master)) else { return Ok(()) };
                let durable = self.0.get(&(*node, *master)).is_some_and(|epoch| *epoch >= attempt.epoch);
                if attempt.forced || durable || facts.forgives(*node, *master, attempt.epoch) {
                    return Ok(());
                }
                Err(format!("n{node} leads m{master} in epoch {} before its own vote is in its file", attempt.epoch))
            }
            _ => Ok(()),
        }
    }
}
