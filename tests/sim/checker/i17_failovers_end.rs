//! I17: every failover that was started ends, by an abort or a switch, within the election timeout, twice the failover
//! timeout, and slack. TILT stops the state machine, so its time does not count.

use std::collections::BTreeMap;

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation};

const SECOND: u64 = 1_000_000;
const ELECTION_US: u64 = 10 * SECOND;
/// Timers that are late, processes that stand still for less than the TILT trigger, INFO that is due every second.
const SLACK_US: u64 = 15 * SECOND;
/// TILT may last for its whole period, after a stall that caused it.
const TILT_US: u64 = 45 * SECOND;

/// Serial and deadline of the attempt under way, by node and master.
#[derive(Debug, Default)]
pub struct FailoversEnd(BTreeMap<(usize, usize), (u64, u64)>);

impl Checker for FailoversEnd {
    fn rule(&self) -> &'static str {
        "I17: every failover ends"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        let (node, master) = match seen {
            Observation::Emitted { node, event, .. } if event.kind == EventKind::TiltEntered => {
                let deadlines = self.0.iter_mut().filter(|((owner, _), _)| owner == node);
                for (_, (_, deadline)) in deadlines {
                    *deadline = (*deadline).max(facts.now) + TILT_US;
                }
                return Ok(());
            }
            Observation::Emitted { node, master, .. } | Observation::Published { node, master, .. } => (*node, *master),
            Observation::Weakness { node, master, .. } => {
                // Stock waits as long as the weakness lasts.
                if let Some((_, deadline)) = self.0.get_mut(&(*node, *master)) {
                    *deadline = (*deadline).max(facts.now) + SLACK_US;
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        // Beside ours stock may hang; that ours go on is liveness.
        if facts.is_stock(node) && facts.limits.first_stock > 0 {
            return Ok(());
        }
        let Some(attempt) = facts.attempts.get(&(node, master)) else {
            self.0.remove(&(node, master));
            return Ok(());
        };
        let bound = ELECTION_US.min(facts.limits.failover_timeout_us) + 2 * facts.limits.failover_timeout_us + SLACK_US;
        let entry = self.0.entry((node, master)).or_insert((attempt.serial, facts.now + bound));
        if entry.0 != attempt.serial {
            *entry = (attempt.serial, facts.now + bound);
        }
        if facts.now <= entry.1 {
            return Ok(());
        }
        Err(format!("n{node} has not ended the failover of m{master} in epoch {}", attempt.epoch))
    }
}
