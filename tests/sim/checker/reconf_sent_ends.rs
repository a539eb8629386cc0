//! failover.md 8.7: a replica that was sent to the new master and never gets there is given up after 10 s, whatever other
//! replicas do. Stock Sentinels are excepted (R1), unless the whole world is stock.

use std::collections::BTreeMap;
use std::sync::Arc;

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation, has_flag};

const SECOND: u64 = 1_000_000;
/// `slave-reconf-timeout` and slack for a process that stands still for less than the TILT trigger.
const LIMIT_US: u64 = 10 * SECOND + 5 * SECOND;
/// TILT may last for its whole period, after a stall that caused it.
const TILT_US: u64 = 45 * SECOND;

/// When a replica has to be done, and when it was first seen not to be.
type Due = (u64, Option<u64>);

/// Replicas on their way, by node, master and name.
#[derive(Debug, Default)]
pub struct ReconfSentEnds(BTreeMap<(usize, usize), BTreeMap<Arc<str>, Due>>);

impl Checker for ReconfSentEnds {
    fn rule(&self) -> &'static str {
        "8.7: reconf_sent ends"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, .. } => self.0.retain(|(owner, _), _| owner != node),
            Observation::Removed { node, master } => {
                self.0.remove(&(*node, *master));
            }
            Observation::Emitted { node, event, .. } if event.kind == EventKind::TiltEntered => {
                let own = self.0.iter_mut().filter(|((owner, _), _)| owner == node);
                for (deadline, late) in own.flat_map(|(_, replicas)| replicas.values_mut()) {
                    (*deadline, *late) = ((*deadline).max(facts.now) + TILT_US, None);
                }
            }
            Observation::Published { node, master, view, .. } => {
                if facts.is_stock(*node) && facts.limits.first_stock > 0 {
                    return Ok(());
                }
                let sent = self.0.entry((*node, *master)).or_default();
                let mut still = BTreeMap::new();
                for replica in &view.replicas {
                    if !has_flag(&replica.instance.flags, "reconf_sent") {
                        continue;
                    }
                    let name = &replica.instance.name;
                    let (deadline, late) = sent.get(name).copied().unwrap_or((facts.now + LIMIT_US, None));
                    // What is shown in the moment at which it wakes comes before its word that it had stood still.
                    if late.is_some_and(|late| late < facts.now) {
                        return Err(format!("n{node} waits for {name} of m{master} for ever"));
                    }
                    still.insert(name.clone(), (deadline, late.or((facts.now > deadline).then_some(facts.now))));
                }
                *sent = still;
            }
            _ => {}
        }
        Ok(())
    }
}
