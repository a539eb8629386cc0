//! I9: a master's config epoch means one address, everywhere and for ever. Epochs of forced failovers are excepted.

use std::collections::{BTreeMap, BTreeSet};

use sentineld::sentinel::id::Epoch;

use crate::dns::true_ip;

use super::{Checker, Facts, Observation};

/// Who said it first, and who had a master monitored anew.
#[derive(Debug, Default)]
pub struct OneAddress {
    /// Who, host and port, by master and config epoch.
    said: BTreeMap<(usize, Epoch), (String, String, u16)>,
    /// Masters that an operator had monitored again: epoch 0 is then at the address of that day.
    again: BTreeSet<usize>,
}

impl OneAddress {
    fn says(
        &mut self,
        (medium, node): (&str, usize),
        master: usize,
        epoch: Epoch,
        (host, port): (&str, u16),
        facts: &Facts,
    ) -> Result<(), String> {
        let host = true_ip(host);
        let Some((first, known_host, known_port)) = self.said.get(&(master, epoch)) else {
            self.said.insert((master, epoch), (format!("{medium} of n{node}"), host.into_owned(), port));
            return Ok(());
        };
        let again = epoch == Epoch(0) && self.again.contains(&master);
        let excepted = again || facts.forced_epochs.contains(&(master, epoch)) || facts.forgives_all(master, epoch);
        if (known_host.as_str(), *known_port) == (&host, port) || excepted {
            return Ok(());
        }
        Err(format!(
            "m{master} at epoch {epoch}: {first} says {known_host}:{known_port}, {medium} of n{node} says {host}:{port}"
        ))
    }
}

impl Checker for OneAddress {
    fn rule(&self) -> &'static str {
        "I9: one address per master and config epoch"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Removed { master, .. } => {
                self.again.insert(*master);
                Ok(())
            }
            Observation::Published { node, master, view, .. } => {
                let address = (&*view.current_host, view.current_port);
                self.says(("view", *node), *master, view.config_epoch, address, facts)
            }
            Observation::Announced { node, master, hello, .. } => {
                let address = (&*hello.master_addr.host, hello.master_addr.port);
                self.says(("hello", *node), *master, hello.config_epoch, address, facts)
            }
            Observation::Synced { node, image } => {
                for (master, record) in image.masters() {
                    let address = (&*record.addr.host, record.addr.port);
                    self.says(("file", *node), master, record.config_epoch, address, facts)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
