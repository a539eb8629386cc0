//! I8: a leader takes its replica for promoted only after an INFO of that very replica, in this attempt, said so.

use std::collections::BTreeSet;

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation};
use crate::dns::true_ip;
use crate::redis_model::server_ip;

/// Servers that have said to be masters since the last selection, by node, master and address.
#[derive(Debug, Default)]
pub struct PromotionSeen(BTreeSet<(usize, usize, String)>);

impl Checker for PromotionSeen {
    fn rule(&self) -> &'static str {
        "I8: promotion is what INFO says"
    }

    fn see(&mut self, seen: &Observation<'_>, _facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::RoleTold { node, master, server, is_master: true } => {
                self.0.insert((*node, *master, server_ip(*server)));
            }
            Observation::Emitted { node, master, event, .. } if event.kind == EventKind::SelectedReplica => {
                self.0.retain(|(owner, of, _)| (owner, of) != (node, master));
            }
            Observation::Emitted { node, master, event, .. } if event.kind == EventKind::PromotedReplica => {
                let ip = event.payload.split(' ').nth(2).unwrap_or_default();
                if !self.0.contains(&(*node, *master, true_ip(ip).into_owned())) {
                    return Err(format!("n{node} takes {ip} for a master of m{master}, which never said so"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
