//! Readers that hear of a switch find the new address: it is published before it is told. And they see what is: nothing
//! changes without being published.

use std::collections::BTreeMap;

use sentineld::sentinel::event::EventKind;

use crate::dns::true_ip;

use super::{Checker, Facts, Observation};

/// When a switch was told while another address was shown, by node and master.
#[derive(Debug, Default)]
pub struct Reads(BTreeMap<(usize, usize), (u64, String)>);

impl Checker for Reads {
    fn rule(&self) -> &'static str {
        "reads: published before it is told"
    }

    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Started { node, .. } => self.0.retain(|(owner, _), _| owner != node),
            Observation::Removed { node, master } => {
                self.0.remove(&(*node, *master));
            }
            Observation::Stepped { node, master, shown, is } if shown != is => {
                return Err(format!("n{node} m{master} shows {shown:?}, and is {is:?}"));
            }
            Observation::Emitted { node, master, event, view: Some(view), .. } => {
                let key = (*node, *master);
                if event.kind == EventKind::SwitchMaster {
                    let told = event.payload.split(' ').nth(3).unwrap_or_default();
                    if true_ip(told) == true_ip(&view.current_host) {
                        self.0.remove(&key);
                    } else {
                        self.0.insert(key, (facts.now, event.to_string()));
                    }
                }
                // Of two switches in one step only the last is shown, and told last.
                if let Some((at, story)) = self.0.get(&key)
                    && *at < facts.now
                {
                    return Err(format!("n{node} told {story} and showed another address"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
