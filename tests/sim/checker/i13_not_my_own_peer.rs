//! I13: own id never counts as a peer, in views or on disk, and peers that were known stay voters.

use std::collections::BTreeMap;

use super::{Checker, Facts, Observation};

/// Most peers seen, by node and master, since the node was told of the master or had it RESET. Nothing in these worlds
/// removes a peer for good.
#[derive(Debug, Default)]
pub struct NotMyOwnPeer(BTreeMap<(usize, usize), usize>);

impl Checker for NotMyOwnPeer {
    fn rule(&self) -> &'static str {
        "I13: voters are all known peers and me"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, .. } => self.0.retain(|(owner, _), _| owner != node),
            Observation::Removed { node, master } | Observation::Reset { node, master } => {
                self.0.remove(&(*node, *master));
            }
            Observation::Published { node, master, view, .. } => {
                let me = facts.ids[*node].as_str();
                if view.sentinels.iter().any(|peer| *peer.instance.name == *me) {
                    return Err(format!("n{node} is its own peer for m{master}"));
                }
                let most = self.0.entry((*node, *master)).or_default();
                if view.sentinels.len() < *most {
                    return Err(format!("n{node} forgot a voter of m{master}: {} of {most}", view.sentinels.len()));
                }
                *most = view.sentinels.len();
            }
            Observation::Synced { node, image } => {
                let own = image
                    .records
                    .values()
                    .find(|record| record.sentinels.iter().any(|(id, _)| *id == facts.ids[*node]));
                if let Some(record) = own {
                    return Err(format!("n{node} saved itself as a peer of {}", record.spec.name));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
