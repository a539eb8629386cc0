//! I3: leader, config and current epoch never decrease: on disk for ever, in memory while a process lives. A stock leader
//! that hears of a newer configuration and promotes all the same goes back to its own config epoch.

use std::collections::{BTreeMap, BTreeSet};

use sentineld::sentinel::id::Epoch;

use super::{Checker, Facts, Observation};
use crate::disk::{Image, is_new};

/// Highest values seen.
#[derive(Debug, Default)]
pub struct NoWayBack {
    disk_current: BTreeMap<usize, Epoch>,
    disk: BTreeMap<(usize, String), (Epoch, Epoch)>,
    memory_current: BTreeMap<usize, Epoch>,
    memory: BTreeMap<(usize, usize), (Epoch, Epoch)>,
    /// Removed by an operator since the last start. One save may hold that, a new MONITOR and what was learnt then.
    removed: BTreeSet<(usize, String)>,
}

impl NoWayBack {
    fn image(&mut self, node: usize, image: &Image, facts: &Facts) -> Result<(), String> {
        let current = self.disk_current.entry(node).or_default();
        if image.epoch < *current {
            return Err(format!("n{node}: current-epoch on disk goes from {current} back to {}", image.epoch));
        }
        *current = image.epoch;
        for (name, record) in &image.records {
            let highest = self.disk.entry((node, name.to_string())).or_default();
            let is_lower = record.config_epoch < highest.1;
            if is_new(record) || (is_lower && self.removed.remove(&(node, name.to_string()))) {
                highest.1 = Epoch(0);
            }
            let is_back = record.config_epoch < highest.1 && !facts.is_stock(node);
            if record.leader_epoch < highest.0 || is_back {
                return Err(format!(
                    "n{node}: leader-epoch and config-epoch of {name} on disk go from {highest:?} back to ({}, {})",
                    record.leader_epoch, record.config_epoch
                ));
            }
            *highest = (record.leader_epoch, record.config_epoch);
        }
        Ok(())
    }
}

impl Checker for NoWayBack {
    fn rule(&self) -> &'static str {
        "I3: epochs never decrease"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, image } => {
                self.memory_current.insert(*node, image.epoch);
                self.memory.retain(|(owner, _), _| owner != node);
                let seen = self.image(*node, image, facts);
                // A removal that did not come to disk has not been.
                let is_there = |name: &String| image.records.iter().any(|(known, _)| known.as_str() == name);
                self.removed.retain(|(owner, name)| owner != node || !is_there(name));
                seen
            }
            Observation::Removed { node, master } => {
                let highest = self.memory.entry((*node, *master)).or_default();
                highest.1 = Epoch(0);
                self.removed.insert((*node, format!("m{master}")));
                Ok(())
            }
            Observation::Synced { node, image } => self.image(*node, image, facts),
            Observation::Published { node, master, view, epoch } => {
                let current = self.memory_current.entry(*node).or_default();
                if *epoch < *current {
                    return Err(format!("n{node}: current epoch goes from {current} back to {epoch}"));
                }
                *current = *epoch;
                let highest = self.memory.entry((*node, *master)).or_default();
                let is_back = view.config_epoch < highest.1 && !facts.is_stock(*node);
                if view.leader_epoch < highest.0 || is_back {
                    return Err(format!(
                        "n{node}: leader and config epoch of m{master} go from {highest:?} back to ({}, {})",
                        view.leader_epoch, view.config_epoch
                    ));
                }
                *highest = (view.leader_epoch, view.config_epoch);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
