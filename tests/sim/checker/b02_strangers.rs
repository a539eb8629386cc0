//! beyond.md B2: nobody else's data is touched, and ours is not replaced by somebody else's.

use super::{Checker, Facts, Observation};

/// Remembers nothing.
#[derive(Debug, Default)]
pub struct Strangers;

impl Checker for Strangers {
    fn rule(&self) -> &'static str {
        "B2: no SLAVEOF goes to somebody else's server, nor names one"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Told { node, ip, is_stranger, to_stranger } if !facts.is_stock(*node) => match () {
                () if *is_stranger => Err(format!("n{node} tells {ip}, which is somebody else's")),
                () if *to_stranger => Err(format!("n{node} has {ip} follow somebody else's server")),
                () => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
