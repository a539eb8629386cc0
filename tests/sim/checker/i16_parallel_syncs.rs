//! I16: no more replicas are made to synchronise at once than `parallel-syncs` says. The pass after the timeout is
//! best effort and excepted: it marks nobody.

use super::{Checker, Facts, Observation, has_flag};

/// Remembers nothing.
#[derive(Debug, Default)]
pub struct ParallelSyncs;

impl Checker for ParallelSyncs {
    fn rule(&self) -> &'static str {
        "I16: parallel-syncs is a limit"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        let Observation::Published { node, master, view, .. } = seen else { return Ok(()) };
        let syncing = |flags: &str| has_flag(flags, "reconf_sent") || has_flag(flags, "reconf_inprog");
        let count = view.replicas.iter().filter(|replica| syncing(&replica.instance.flags)).count();
        let limit = facts.limits.parallel_syncs;
        if count <= limit {
            return Ok(());
        }
        Err(format!("n{node} reconfigures {count} replicas of m{master} at once, {limit} are allowed"))
    }
}
