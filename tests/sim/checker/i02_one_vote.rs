//! I2: a Sentinel names one candidate per master and epoch, for ever: across crashes, resets and full disks.

use std::collections::BTreeMap;

use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::id::Epoch;

use super::{Checker, Facts, Observation};

/// Candidate by voter, master and epoch.
#[derive(Debug, Default)]
pub struct OneVote(BTreeMap<(usize, usize, Epoch), String>);

impl OneVote {
    fn voted(
        &mut self,
        facts: &Facts,
        (node, master, epoch): (usize, usize, Epoch),
        leader: &str,
    ) -> Result<(), String> {
        let first = self.0.entry((node, master, epoch)).or_insert_with(|| leader.to_owned());
        if first == leader || facts.forgives(node, master, epoch) {
            return Ok(());
        }
        Err(format!("n{node} voted for {first} and for {leader} for m{master} in epoch {epoch}"))
    }
}

impl Checker for OneVote {
    fn rule(&self) -> &'static str {
        "I2: one vote per Sentinel, master and epoch"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::VoteAnswered { node, master, leader: Some(leader), epoch, .. } => {
                self.voted(facts, (*node, *master, *epoch), leader.as_str())
            }
            Observation::Emitted { node, master, event, .. } if event.kind == EventKind::VoteForLeader => {
                let mut words = event.payload.split(' ');
                let (Some(leader), Some(Ok(epoch))) = (words.next(), words.next().map(str::parse)) else {
                    return Err(format!("+vote-for-leader {} says no id and epoch", event.payload));
                };
                self.voted(facts, (*node, *master, Epoch(epoch)), leader)
            }
            _ => Ok(()),
        }
    }
}
