//! A coordinated failover that is announced has lost nothing: when its replica became a master, it had everything that any
//! member of the group had acknowledged in that history, and nobody went on acknowledging (beyond.md B4).

use std::collections::BTreeMap;

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation};
use crate::dns::true_ip;
use crate::redis_model::server_ip;

/// What each server lacked when it last became a master.
#[derive(Debug, Default)]
pub struct NothingLost(BTreeMap<String, Option<String>>);

impl Checker for NothingLost {
    fn rule(&self) -> &'static str {
        "B4: coordinated failovers lose nothing"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::BecameMaster { server, lacks } => {
                self.0.insert(server_ip(*server), lacks.map(str::to_owned));
            }
            Observation::Emitted { node, master, event, .. }
                if event.kind == EventKind::PromotedReplica && facts.coordinates(*node, *master) =>
            {
                let ip = event.payload.split(' ').nth(2).unwrap_or_default();
                if let Some(Some(lacks)) = self.0.get(&*true_ip(ip)) {
                    return Err(format!("n{node} announces a coordinated failover of m{master}, but {lacks}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
