//! I6: no failover without ODOWN at whoever starts it, unless an operator asked.

use std::collections::BTreeSet;

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation, is_coordinated};

/// Who sees which master ODOWN.
#[derive(Debug, Default)]
pub struct OdownFirst(BTreeSet<(usize, usize)>);

impl Checker for OdownFirst {
    fn rule(&self) -> &'static str {
        "I6: ODOWN before a failover"
    }

    fn see(&mut self, seen: &Observation<'_>, _facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, .. } => self.0.retain(|(owner, _)| owner != node),
            Observation::Removed { node, master } => {
                self.0.remove(&(*node, *master));
            }
            Observation::Emitted { node, master, event, forced, view } => match event.kind {
                EventKind::ObjectivelyDown => {
                    self.0.insert((*node, *master));
                }
                EventKind::ObjectivelyUp | EventKind::SwitchMaster | EventKind::ResetMaster => {
                    self.0.remove(&(*node, *master));
                }
                EventKind::TryFailover if *forced || is_coordinated(*view) => {}
                EventKind::TryFailover if !self.0.contains(&(*node, *master)) => {
                    return Err(format!("n{node} starts a failover of m{master}, which is not ODOWN there"));
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}
