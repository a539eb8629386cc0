//! I4: no configuration is newer than the time itself: config epoch <= current epoch, in memory and on disk.

use super::{Checker, Facts, Observation};
use crate::disk::Image;

/// Remembers nothing.
#[derive(Debug, Default)]
pub struct ConfigWithinCurrent;

fn image(node: usize, image: &Image) -> Result<(), String> {
    for record in image.records.values() {
        let newest = record.config_epoch.max(record.leader_epoch);
        if newest > image.epoch {
            return Err(format!(
                "n{node}: {} is at {newest} on disk, current-epoch is {}",
                record.spec.name, image.epoch
            ));
        }
    }
    Ok(())
}

impl Checker for ConfigWithinCurrent {
    fn rule(&self) -> &'static str {
        "I4: config epoch within current epoch"
    }

    fn see(&mut self, seen: &Observation<'_>, _facts: &Facts) -> Result<(), String> {
        match seen {
            Observation::Synced { node, image: content } => image(*node, content),
            Observation::Published { node, master, view, epoch } if view.config_epoch > *epoch => {
                Err(format!("n{node}: m{master} is at {}, current epoch is {epoch}", view.config_epoch))
            }
            Observation::Announced { node, hello, .. } if hello.config_epoch > hello.current_epoch => {
                Err(format!("n{node} announces {hello}"))
            }
            _ => Ok(()),
        }
    }
}
