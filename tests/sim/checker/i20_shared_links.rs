//! I20: the link to a peer serves all masters that know it; what happens to one master never takes it from another.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Checker, Facts, Observation, ThisStep};

/// Who needs which peers.
#[derive(Debug, Default)]
pub struct SharedLinks {
    /// Ids of the peers that readers see, by node and master.
    known: BTreeMap<(usize, usize), Vec<Arc<str>>>,
    /// Who drops its peers itself, and may have met them again when that is seen.
    reset: ThisStep,
}

impl Checker for SharedLinks {
    fn rule(&self) -> &'static str {
        "I20: a shared link stays for the others"
    }

    fn see(&mut self, seen: &Observation<'_>, _facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, .. } => self.known.retain(|(owner, _), _| owner != node),
            Observation::Reset { node, master } => self.reset.begin(*node, *master),
            Observation::Removed { node, master } => {
                self.known.remove(&(*node, *master));
            }
            Observation::Published { node, master, view, .. } => {
                self.reset.publish(*node, *master);
                let known = self.known.entry((*node, *master)).or_default();
                let peers = || view.sentinels.iter().map(|peer| &peer.instance.name);
                if !peers().eq(known.iter()) {
                    *known = peers().cloned().collect();
                }
            }
            Observation::PeerDropped { node, peer } => {
                let of_node = self.known.iter().filter(|((owner, _), _)| owner == node);
                let mut of_node = of_node.filter(|((_, master), _)| !self.reset.has(*node, *master));
                let user = of_node.find(|(_, peers)| peers.iter().any(|known| **known == *peer.as_str()));
                if let Some(((_, master), _)) = user {
                    return Err(format!("n{node} closes its link to {peer}, which m{master} still needs"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
