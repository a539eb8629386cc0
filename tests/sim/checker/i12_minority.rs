//! I12: who reaches only a minority of all Sentinels promotes nobody. A peer is in reach of an attempt if both ways to
//! it were open at some time since the attempt began.

use std::collections::{BTreeMap, BTreeSet};

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation};

type Way = (usize, usize);

/// Ways that are closed, and for each attempt the ways that were open at some time.
#[derive(Debug, Default)]
pub struct Minority {
    closed: BTreeSet<Way>,
    open_since: BTreeMap<(usize, usize), BTreeSet<Way>>,
}

impl Checker for Minority {
    fn rule(&self) -> &'static str {
        "I12: no promotion from a minority"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        let all = facts.ids.len();
        match seen {
            Observation::Way { from, to, open } => {
                if *open {
                    self.closed.remove(&(*from, *to));
                    for ways in self.open_since.values_mut() {
                        ways.insert((*from, *to));
                    }
                } else {
                    self.closed.insert((*from, *to));
                }
            }
            Observation::Emitted { node, master, event, .. } if event.kind == EventKind::TryFailover => {
                let ways = (0..all).flat_map(|peer| [(*node, peer), (peer, *node)]);
                let open = ways.filter(|way| !self.closed.contains(way)).collect();
                self.open_since.insert((*node, *master), open);
            }
            Observation::PromotionSent { node, master, .. } => {
                let attempt = facts.attempts.get(&(*node, *master));
                let forced =
                    attempt.is_some_and(|attempt| attempt.forced || facts.forgives(*node, *master, attempt.epoch));
                let Some(open) = self.open_since.get(&(*node, *master)) else { return Ok(()) };
                let reached =
                    (0..all).filter(|peer| open.contains(&(*node, *peer)) && open.contains(&(*peer, *node))).count();
                if !forced && reached < all / 2 + 1 {
                    return Err(format!("n{node} promotes for m{master} and reaches only {reached} of {all}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
