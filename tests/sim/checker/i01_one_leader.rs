//! I1: at most one leader per master and failover epoch. Forced failovers skip the vote and are excepted.

use std::collections::BTreeMap;

use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::id::Epoch;

use super::{Checker, Facts, Observation};

/// Attempt that was elected, by master and epoch.
#[derive(Debug, Default)]
pub struct OneLeader(BTreeMap<(usize, Epoch), (usize, u64)>);

impl Checker for OneLeader {
    fn rule(&self) -> &'static str {
        "I1: one leader per master and epoch"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        let Observation::Emitted { node, master, event, .. } = seen else { return Ok(()) };
        if event.kind != EventKind::ElectedLeader {
            return Ok(());
        }
        let Some(attempt) = facts.attempts.get(&(*node, *master)) else {
            return Err(format!("n{node} was elected for m{master} without an attempt"));
        };
        if attempt.forced || facts.forgives_all(*master, attempt.epoch) {
            return Ok(());
        }
        let first = *self.0.entry((*master, attempt.epoch)).or_insert((*node, attempt.serial));
        if first == (*node, attempt.serial) {
            return Ok(());
        }
        Err(format!("n{} and n{node} both lead m{master} in epoch {}", first.0, attempt.epoch))
    }
}
