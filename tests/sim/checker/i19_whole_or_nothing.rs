//! I19: a message that is malformed or cannot be believed changes nothing: no epoch leaps, nobody follows an address that
//! no server has, nobody meets a Sentinel that does not exist. Somebody else's does, and may be met over connections to one
//! address that lead to two processes.

use std::collections::BTreeMap;

use sentineld::sentinel::epoch::MAX_EPOCH_LEAP;
use sentineld::sentinel::id::Epoch;

use crate::dns::true_ip;

use crate::redis_model::is_of_a_stranger;

use super::{Checker, Facts, Observation};

/// Last current epoch by node.
#[derive(Debug, Default)]
pub struct WholeOrNothing(BTreeMap<usize, Epoch>);

impl Checker for WholeOrNothing {
    fn rule(&self) -> &'static str {
        "I19: a bad message changes nothing"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        let Observation::Published { node, master, view, epoch } = seen else { return Ok(()) };
        let last = self.0.insert(*node, *epoch).unwrap_or_default();
        if epoch.0 > last.0.saturating_add(MAX_EPOCH_LEAP) {
            return Err(format!("n{node}: current epoch leaps from {last} to {epoch}"));
        }
        if !true_ip(&view.current_host).starts_with("10.0.1.") {
            return Err(format!("n{node} names {} for m{master}", view.current_host));
        }
        let is_unknown = |id: &str| facts.node_of(id).is_none() && !is_of_a_stranger(id);
        let stranger = view.sentinels.iter().find(|peer| is_unknown(&peer.instance.name));
        match stranger {
            Some(peer) => Err(format!("n{node} knows a Sentinel {} for m{master}", peer.instance.name)),
            None => Ok(()),
        }
    }
}
