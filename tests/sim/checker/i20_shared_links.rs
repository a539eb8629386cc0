//! I20: the link to a peer serves all masters that know it; what happens to one master never takes it from another.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, Facts, Observation};

/// Ids of the peers that readers see, by node and master.
#[derive(Debug, Default)]
pub struct SharedLinks(BTreeMap<(usize, usize), BTreeSet<String>>);

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
                let peers = view.sentinels.iter().map(|peer| peer.instance.name.clone()).collect();
                self.0.insert((*node, *master), peers);
            }
            Observation::PeerDropped { node, peer } => {
                let user = self.0.iter().find(|((owner, _), peers)| owner == node && peers.contains(peer.as_str()));
                if let Some(((_, master), _)) = user {
                    return Err(format!("n{node} closes its link to {peer}, which m{master} still needs"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
