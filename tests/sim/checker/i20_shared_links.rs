//! I20: the link to a peer serves all masters that know it; what happens to one master never takes it from another.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Checker, Facts, Observation};

/// Ids of the peers that readers see, by node and master.
#[derive(Debug, Default)]
pub struct SharedLinks(BTreeMap<(usize, usize), Vec<Arc<str>>>);

impl Checker for SharedLinks {
    fn rule(&self) -> &'static str {
        "I20: a shared link stays for the others"
    }

    fn see(&mut self, seen: &Observation<'_>, _facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, .. } => self.0.retain(|(owner, _), _| owner != node),
            Observation::Removed { node, master } => {
                self.0.remove(&(*node, *master));
            }
            Observation::Published { node, master, view, .. } => {
                let known = self.0.entry((*node, *master)).or_default();
                let peers = || view.sentinels.iter().map(|peer| &peer.instance.name);
                if !peers().eq(known.iter()) {
                    *known = peers().cloned().collect();
                }
            }
            Observation::PeerDropped { node, peer } => {
                let mut of_node = self.0.iter().filter(|((owner, _), _)| owner == node);
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
