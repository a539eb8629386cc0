//! Operators: SENTINEL SET, RESET, REMOVE and MONITOR on one Sentinel at a time.
//!
//! They are reasonable people. They touch a master only while its Sentinels agree on it, and never set a quorum below
//! the majority: who forgets its peers, as RESET demands, would then elect itself.

use rand::RngExt;
use rand::rngs::StdRng;
use sentineld::sentinel::io::{AdminRequest, SetOption, SpecChange};

use crate::faults::{Fault, Undo};
use crate::net::Host;
use crate::node::{Happening, NewMaster};
use crate::redis_model::Server;
use crate::swarm::Swarm;
use crate::world::{Event, World};

const MS: u64 = 1_000;

impl World {
    /// An operator does something to one master at one Sentinel.
    pub fn strike_operator(&mut self) {
        let groups = self.swarm.groups.len();
        let rng = self.sh.rng.fault(Fault::Operate);
        let (node, group) = (rng.random_range(0..self.nodes.len()), rng.random_range(0..groups));
        let (what, length) = (rng.random_range(0..6), rng.random_range(0..3_000) * MS);
        let change = change_settings(rng, &self.swarm);
        if !self.nodes[node].is_awake() || self.group_disagreement(group).is_some() {
            return;
        }
        match what {
            0 => self.administer(node, group, AdminRequest::Reset),
            1 => {
                self.sh.trace.note(self.sh.now, || format!("operator removes m{group} from n{node}"));
                self.nodes[node].happen(&mut self.sh, Happening::Remove(group));
                self.sh.push(self.sh.now + length, Event::Undo(Undo::Monitor { node, group }));
            }
            _ => self.administer(node, group, AdminRequest::Set(vec![change])),
        }
    }

    /// An operator's request to one monitor.
    pub fn administer(&mut self, node: Host, group: usize, request: AdminRequest) {
        self.sh.trace.note(self.sh.now, || format!("operator asks n{node} for {request:?} of m{group}"));
        self.is_reset |= matches!(request, AdminRequest::Reset);
        self.nodes[node].happen(&mut self.sh, Happening::Administer(group, request));
    }

    /// An operator has a master monitored again, at the address that the newest configuration names, until it is:
    /// a Sentinel that dies before that is on disk may not know of it.
    pub fn monitor_again(&mut self, node: Host, group: usize) {
        let is_monitored = self.nodes[node].view(group).is_some();
        if is_monitored && self.nodes[node].disk.synced.masters().any(|(number, _)| number == group) {
            return;
        }
        self.sh.push(self.sh.now + 1_000 * MS, Event::Undo(Undo::Monitor { node, group }));
        let views = self.nodes.iter().filter_map(|node| node.view(group));
        let newest = views.max_by_key(|view| view.config_epoch);
        let newest = newest.map(|view| (view.current_host.to_string(), view.current_port));
        // The only Sentinel there is: its operator looks which server is a master.
        let is_master = |server: &&Server| server.group == group && server.upstream.is_none();
        let found = || self.servers.iter().find(is_master).map(|server| (server.ip.clone(), server.port));
        let (Some((host, port)), true) = (newest.or_else(found), self.nodes[node].is_awake() && !is_monitored) else {
            return;
        };
        self.sh.trace.note(self.sh.now, || format!("operator has n{node} monitor m{group} at {host}"));
        let spec = self.swarm.spec(group);
        let new = NewMaster { number: group, spec, host, port };
        self.nodes[node].happen(&mut self.sh, Happening::Monitor(Box::new(new)));
    }
}

fn change_settings(rng: &mut StdRng, swarm: &Swarm) -> SetOption {
    let majority = swarm.sentinels as u32 / 2 + 1;
    let change = match rng.random_range(0..4) {
        0 => SpecChange::DownAfter(rng.random_range(500..=swarm.longest_down_after_ms())),
        1 => SpecChange::FailoverTimeout(rng.random_range(2_000..=swarm.longest_failover_timeout_ms())),
        2 => SpecChange::ParallelSyncs(rng.random_range(1..=swarm.most_parallel_syncs())),
        _ => SpecChange::Quorum(rng.random_range(majority..=swarm.sentinels as u32)),
    };
    SetOption { shown: format!("{change:?}"), change }
}
