//! I21: a switch leaves no marks of the failover, and a list of replicas in which the old master is, and the new one is not.

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation};

/// Remembers nothing.
#[derive(Debug, Default)]
pub struct CleanSwitch;

impl Checker for CleanSwitch {
    fn rule(&self) -> &'static str {
        "I21: a switch leaves nothing behind"
    }

    fn see(&mut self, seen: &Observation<'_>, _facts: &Facts) -> Result<(), String> {
        let Observation::Emitted { node, event, view: Some(view), .. } = seen else { return Ok(()) };
        if event.kind != EventKind::SwitchMaster {
            return Ok(());
        }
        let words: Vec<&str> = event.payload.split(' ').collect();
        let [_, old, _, new, _] = words.as_slice() else {
            return Err(format!("n{node}: {event} has not five words"));
        };
        // Of two switches in one step only the last is shown.
        if *view.instance.host != **new {
            return Ok(());
        }
        let is_marked = |flags: &str| flags.contains("promoted") || flags.contains("reconf");
        if let Some(marked) = view.replicas.iter().find(|replica| is_marked(&replica.instance.flags)) {
            return Err(format!("n{node}: after {event} {} is {}", marked.instance.name, marked.instance.flags));
        }
        let has = |wanted: &str| view.replicas.iter().any(|replica| *replica.instance.host == *wanted);
        // A newer configuration may have given the old master the new one's name just before.
        if has(new) || (old != new && !has(old)) {
            let names: Vec<&str> = view.replicas.iter().map(|replica| &*replica.instance.name).collect();
            return Err(format!("n{node}: after {event} the replicas are {names:?}"));
        }
        Ok(())
    }
}
