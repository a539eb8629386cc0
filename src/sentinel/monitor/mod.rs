//! One master.

pub mod hello;
pub mod record;
pub mod view;

use super::Env;
use super::io::{Input, Outbox};
use record::MasterRecord;
use view::MasterView;

/// Everything about one master: its replicas, its peers' opinions, votes and failover.
#[derive(Debug)]
pub struct Monitor {
    record: MasterRecord,
}

impl Monitor {
    /// A monitor for a loaded or new master. `seed` feeds its jitter.
    pub fn new(record: MasterRecord, _seed: u64, _env: &Env<'_>) -> Monitor {
        Monitor { record }
    }

    /// Takes one input and leaves what follows from it in `out`.
    pub fn handle(&mut self, _input: Input, _env: &Env<'_>, _out: &mut Outbox) {}

    /// What must be saved.
    pub fn record(&self) -> MasterRecord {
        self.record.clone()
    }

    /// What readers may see.
    pub fn view(&self, _env: &Env<'_>) -> MasterView {
        unreachable!("skeleton")
    }
}
