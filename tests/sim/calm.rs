//! What is promised of single events, seen at the end of a world in which everything was possible, when nothing else
//! happens any more: a master that is reborn empty (beyond.md B3), and one that comes back (B8).

use crate::faults::Undo;
use crate::redis_model::Persistence;
use crate::world::{Violation, World};

const MS: u64 = 1_000;
/// How long a full resynchronisation waits for more replicas by default (`repl-diskless-sync-delay`), microseconds.
const SYNC_DELAY_US: std::ops::Range<u64> = 5_000_000..6_000_000;

impl World {
    /// Whether delays are short beside the times that are promised, and everybody promises them: with stock's elections
    /// a split vote costs seconds.
    pub fn promises_times(&self) -> bool {
        const SHORT_US: u64 = 20_000;
        let delay = self.swarm.latency_us.max(self.swarm.jitter_us);
        delay <= SHORT_US && self.elects_fast()
    }

    /// A master without persistence is restarted at once. One of its replicas is promoted before they copy the emptiness,
    /// with the data that it had.
    pub fn be_reborn_empty(&mut self, group: usize, master: usize) -> Result<(), Violation> {
        // Everybody has asked for INFO once, and an attempt that was given up keeps nobody from another.
        let rest = self.swarm.info_ms.max(2 * self.swarm.longest_failover_timeout_ms());
        self.run_for((rest + 2_000) * MS)?;
        let mut members = self.servers.iter().filter(|server| server.group == group);
        let is_ready = self.servers[master].has_keys && members.all(|server| server.answers(self.sh.now));
        // An attempt to connect that was lost in a partition is waited for, and whoever waits does not see what there is.
        let views = || self.nodes.iter().filter_map(|node| node.view(group));
        let sees_all = views().flat_map(|view| &view.replicas).all(|replica| replica.instance.flags == "slave");
        if self.named_master(group) != Some(master) || !is_ready || !sees_all {
            return Ok(());
        }
        self.sh.stats.rebirths += 1;
        let had = self.servers[master].replid;
        let away = self.sh.rng.fixed(1) % 200 * MS;
        self.sh.sync_us = SYNC_DELAY_US;
        self.servers[master].persistence = Persistence::None;
        self.kill_server(master, false, away);
        self.run_for(4_000 * MS)?;
        let promoted = self.named_master(group).filter(|named| *named != master);
        let kept = promoted.and_then(|promoted| self.servers[promoted].left);
        if kept.is_none_or(|kept| kept.replid != had) {
            let ip = &self.servers[master].ip;
            return Err(Violation {
                rule: "B3: a master reborn empty is replaced by a replica with its data",
                story: format!("{ip} had {had}, and 4 s after its restart {kept:?} is left of it"),
                at: self.sh.now,
            });
        }
        self.demand_agreement("agreement about a master reborn empty")
    }

    /// A master that was replaced while it was away stops taking writes soon after it is back.
    pub fn be_back(&mut self, group: usize, master: usize) -> Result<(), Violation> {
        const FOR_GOOD: u64 = u64::MAX / 4;
        // It is looked for once a second.
        const PROMISED_US: u64 = 1_500 * MS;
        // With an AOF it comes back with data that nobody can tell from a stranger's.
        let hangs = self.sh.rng.fixed(2).is_multiple_of(2) || self.servers[master].persistence == Persistence::Aof;
        self.run_for((self.swarm.info_ms + 2_000) * MS)?;
        if self.named_master(group) != Some(master) {
            return Ok(());
        }
        self.sh.stats.returns += 1;
        let undo = if hangs {
            self.hang_server(master, FOR_GOOD);
            Undo::ResumeServer(master)
        } else {
            self.kill_server(master, false, FOR_GOOD);
            Undo::StartServer { server: master, power: false }
        };
        self.demand_agreement("failover")?;
        self.undo(undo);
        let loading = 15_000 * MS;
        self.run_while(loading, |world| !world.servers[master].answers(world.sh.now))?;
        if !self.run_while(PROMISED_US, |world| world.servers[master].upstream.is_none())? {
            return Err(Violation {
                rule: "B8: a master that is back is demoted at once",
                story: format!("{} takes writes for {} ms", self.servers[master].ip, PROMISED_US / MS),
                at: self.sh.now,
            });
        }
        self.demand_agreement("agreement about a master that is back")
    }
}
