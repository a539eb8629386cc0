//! I14: nothing is decided in TILT: no SDOWN or ODOWN, no question, no failover step, no correction.

use std::collections::BTreeSet;

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation};

/// Who is in TILT.
#[derive(Debug, Default)]
pub struct Tilt(BTreeSet<usize>);

impl Checker for Tilt {
    fn rule(&self) -> &'static str {
        "I14: nothing decided in TILT"
    }

    fn see(&mut self, seen: &Observation<'_>, _facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, .. } => {
                self.0.remove(node);
            }
            Observation::Emitted { node, event, forced, .. } => match event.kind {
                EventKind::TiltEntered => {
                    self.0.insert(*node);
                }
                EventKind::TiltExited => {
                    self.0.remove(node);
                }
                EventKind::SubjectivelyDown
                | EventKind::SubjectivelyUp
                | EventKind::ObjectivelyDown
                | EventKind::TryFailover
                | EventKind::ElectedLeader
                | EventKind::SelectedReplica
                | EventKind::PromotedReplica
                | EventKind::ConvertToReplica
                | EventKind::FixReplicaConfig
                    if self.0.contains(node) && !forced =>
                {
                    return Err(format!("n{node} in TILT: {event}"));
                }
                _ => {}
            },
            Observation::Asked { node, master } if self.0.contains(node) => {
                return Err(format!("n{node} in TILT asks about m{master}"));
            }
            Observation::PromotionSent { node, master, .. } if self.0.contains(node) => {
                return Err(format!("n{node} in TILT promotes for m{master}"));
            }
            _ => {}
        }
        Ok(())
    }
}
