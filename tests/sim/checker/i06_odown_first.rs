//! I6: no failover without ODOWN at whoever starts it, unless an operator asked.

use std::collections::BTreeSet;

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation, is_coordinated};

/// Who may start a failover of which master.
#[derive(Debug, Default)]
pub struct OdownFirst {
    /// Who sees it ODOWN.
    odown: BTreeSet<(usize, usize)>,
    /// Who was told to plan one, which has not begun yet, and may be over when its beginning is seen.
    planned: BTreeSet<(usize, usize)>,
}

impl Checker for OdownFirst {
    fn rule(&self) -> &'static str {
        "I6: ODOWN before a failover"
    }

    fn see(&mut self, seen: &Observation<'_>, _facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, .. } => {
                self.odown.retain(|(owner, _)| owner != node);
                self.planned.retain(|(owner, _)| owner != node);
            }
            Observation::Planned { node, master } => {
                self.planned.insert((*node, *master));
            }
            Observation::Removed { node, master } => {
                self.odown.remove(&(*node, *master));
                self.planned.remove(&(*node, *master));
            }
            Observation::Emitted { node, master, event, forced, view } => match event.kind {
                EventKind::ObjectivelyDown => {
                    self.odown.insert((*node, *master));
                }
                EventKind::ObjectivelyUp | EventKind::SwitchMaster | EventKind::ResetMaster => {
                    self.odown.remove(&(*node, *master));
                    self.planned.remove(&(*node, *master));
                }
                EventKind::TryFailover if self.planned.remove(&(*node, *master)) => {}
                EventKind::TryFailover if *forced || is_coordinated(*view) => {}
                EventKind::TryFailover if !self.odown.contains(&(*node, *master)) => {
                    return Err(format!("n{node} starts a failover of m{master}, which is not ODOWN there"));
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}
