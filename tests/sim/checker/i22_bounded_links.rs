//! I22: commands that wait for replies are bounded: 100 for each master that shares the link, and control commands.

use super::{Checker, Facts, Observation};

/// Votes and transactions are sent all the same: this many at most.
const CONTROL: u64 = 30;

/// Remembers nothing.
#[derive(Debug, Default)]
pub struct BoundedLinks;

impl Checker for BoundedLinks {
    fn rule(&self) -> &'static str {
        "I22: pending commands are bounded"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        let Observation::Published { node, view, .. } = seen else { return Ok(()) };
        if facts.is_stock(*node) {
            return Ok(());
        }
        let replicas = view.replicas.iter().map(|replica| &replica.instance);
        let peers = view.sentinels.iter().map(|peer| &peer.instance);
        for instance in replicas.chain(peers).chain([&view.instance]) {
            if instance.ages.pending_commands() > 100 * u64::from(instance.ages.refcount()) + CONTROL {
                return Err(format!(
                    "n{node}: {} commands wait for {}",
                    instance.ages.pending_commands(),
                    instance.name
                ));
            }
        }
        Ok(())
    }
}
