//! I15: a replica with priority 0 is never promoted.

use super::{Checker, Facts, Observation};

/// Remembers nothing.
#[derive(Debug, Default)]
pub struct Eligible;

impl Checker for Eligible {
    fn rule(&self) -> &'static str {
        "I15: only eligible replicas are promoted"
    }

    fn see(&mut self, seen: &Observation<'_>, _facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::PromotionSent { node, master, priority: 0 } => {
                Err(format!("n{node} promotes a replica of m{master} with priority 0"))
            }
            _ => Ok(()),
        }
    }
}
