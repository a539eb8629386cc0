//! I10: the address changes only together with a larger config epoch, for what readers see and for what is on disk. A stock
//! Sentinel that counts votes of another epoch for its own (R3) does not keep to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sentineld::sentinel::id::Epoch;

use crate::disk::is_new;
use crate::dns::true_ip;

use super::{Checker, Facts, Observation};

/// Newest epoch and address.
#[derive(Debug, Default)]
pub struct NewerOnly {
    memory: BTreeMap<(usize, usize), (Epoch, Arc<str>, u16)>,
    disk: BTreeMap<(usize, usize), (Epoch, Arc<str>, u16)>,
    /// Removed by an operator since the last start, as in [`super::i03_no_way_back`].
    removed: BTreeSet<(usize, usize)>,
}

fn changed(known: &mut (Epoch, Arc<str>, u16), epoch: Epoch, (host, port): (&str, u16)) -> Result<(), String> {
    let same = (true_ip(&known.1), known.2) == (true_ip(host), port);
    if epoch <= known.0 && !same {
        return Err(format!("{}:{} at epoch {} became {host}:{port} at epoch {epoch}", known.1, known.2, known.0));
    }
    known.0 = epoch;
    if !same {
        (known.1, known.2) = (host.into(), port);
    }
    Ok(())
}

impl Checker for NewerOnly {
    fn rule(&self) -> &'static str {
        "I10: a new address needs a newer epoch"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, image } => {
                self.memory.retain(|(owner, _), _| owner != node);
                // A removal that did not come to disk has not been.
                let is_there = |master: usize| image.masters().any(|(known, _)| known == master);
                self.removed.retain(|(owner, master)| owner != node || !is_there(*master));
                Ok(())
            }
            Observation::Removed { node, master } => {
                self.memory.remove(&(*node, *master));
                self.removed.insert((*node, *master));
                Ok(())
            }
            Observation::Published { node, master, view, .. } => {
                let address = (&*view.current_host, view.current_port);
                let first = || (view.config_epoch, view.current_host.clone(), view.current_port);
                let known = self.memory.entry((*node, *master)).or_insert_with(first);
                if facts.forgives(*node, *master, view.config_epoch) {
                    *known = first();
                }
                changed(known, view.config_epoch, address).map_err(|story| format!("n{node} m{master}: {story}"))
            }
            Observation::Synced { node, image } => {
                for (master, record) in image.masters() {
                    let address = (&*record.addr.host, record.addr.port);
                    let first = || (record.config_epoch, Arc::clone(&record.addr.host), record.addr.port);
                    let known = self.disk.entry((*node, master)).or_insert_with(first);
                    if is_new(record) || facts.forgives(*node, master, record.config_epoch) {
                        *known = first();
                    }
                    if let Err(story) = changed(known, record.config_epoch, address) {
                        if !self.removed.remove(&(*node, master)) {
                            return Err(format!("file of n{node} m{master}: {story}"));
                        }
                        *known = first();
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
