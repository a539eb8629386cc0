//! failover.md 6.3: ODOWN says how many agree, and no more than have said so lately agree. Stock looks at the age of
//! answers only after it has counted them, so after TILT it counts what is long outdated; it is excepted.

use std::collections::BTreeMap;

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation};

/// Answers are worth something for 5 s from when the monitor comes to them. That may be late, by a pause and by turns of
/// other monitors.
const VALID_US: u64 = 15_000_000;

/// When a peer last said that a master is down, by asker, master and peer. Absent: it last said that it is up.
#[derive(Debug, Default)]
pub struct OdownCounted(BTreeMap<(usize, usize, usize), u64>);

impl Checker for OdownCounted {
    fn rule(&self) -> &'static str {
        "6.3: ODOWN is what peers said"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, .. } => self.0.retain(|(owner, _, _), _| owner != node),
            Observation::Removed { node, master } | Observation::Reset { node, master } => {
                self.0.retain(|(owner, of, _), _| (owner, of) != (node, master));
            }
            Observation::OpinionHeard { node, voter, master, down: true } => {
                self.0.insert((*node, *master, *voter), facts.now);
            }
            Observation::OpinionHeard { node, voter, master, down: false } => {
                self.0.remove(&(*node, *master, *voter));
            }
            Observation::Emitted { node, master, event, .. }
                if event.kind == EventKind::ObjectivelyDown && !facts.is_stock(*node) =>
            {
                let count = event.payload.split("#quorum ").nth(1).and_then(|rest| rest.split('/').next());
                let count: usize = count.and_then(|count| count.parse().ok()).unwrap_or(0);
                let heard = self
                    .0
                    .iter()
                    .filter(|((owner, of, _), at)| (*owner, *of) == (*node, *master) && facts.now - **at <= VALID_US);
                let heard = heard.count() + 1;
                if count == 0 || count > heard {
                    return Err(format!("n{node}: {event}, and {heard} have said so"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
