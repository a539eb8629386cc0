//! After the faults: Sentinels must agree, and servers must follow.

use std::borrow::Cow;

use rand::RngExt;
use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::id::Epoch;
use sentineld::sentinel::io::{AdminRequest, FailoverOrder};
use sentineld::sentinel::monitor::view::MasterView;
use sentineld::sentinel::policy::Election;

use crate::dns::true_ip;
use crate::redis_model::Process;
use crate::world::{Violation, World};

const MS: u64 = 1_000;
/// Time for what is slow by its nature: TILT, 8 s before a returned master is converted, the next INFO, links that went
/// silent and are given up after 15 s.
const SLACK_MS: u64 = 45_000;

impl World {
    /// Ends all faults and demands agreement; then, in some worlds, kills a master for good and demands it again.
    pub fn settle(&mut self) -> Result<(), Violation> {
        self.swarm.rates.clear();
        for node in &mut self.nodes {
            node.dies_on_commit = false;
        }
        for undo in self.sh.agenda.take_undos() {
            self.undo(undo);
        }
        self.sh.trace.note(self.sh.now, || "all faults end".to_owned());
        self.run_for(2_000 * MS)?;
        self.forget_strangers()?;
        self.vouch_for_members()?;
        self.resolve_collisions()?;
        self.demand_agreement("agreement")?;
        self.restart_the_deaf()?;
        let group = self.swarm.seed as usize % self.swarm.groups.len();
        if self.sh.rng.heal.random_bool(0.5)
            && let Some(master) = self.named_master(group)
        {
            self.lose_a_minority();
            // A group without replicas has nobody to promote, nor has one of which nobody who is left knows any.
            if !self.has_a_candidate(group) {
                return Ok(());
            }
            self.kill_for_good(master)?;
            return self.demand_agreement("failover");
        }
        match self.named_master(group) {
            Some(master) if self.promises_times() && self.has_a_candidate(group) => match self.sh.rng.fixed(0) % 2 {
                0 => self.be_reborn_empty(group, master),
                _ => self.be_back(group, master),
            },
            _ => Ok(()),
        }
    }

    /// Somebody else's Sentinel whose hello was heard over a connection that led to two processes may have been taken for
    /// a peer. An operator sees one that is not his, and has it forgotten, as soon as no failover is under way there and it
    /// has heard of the newest configuration: with its peers it forgets where it would hear of that.
    fn forget_strangers(&mut self) -> Result<(), Violation> {
        const TRIES: usize = 30;
        for _ in 0..TRIES {
            let is_ours = |id: &str| self.sh.checkers.facts.node_of(id).is_some();
            let newest = |group| self.nodes.iter().filter_map(|node| Some(node.view(group)?.config_epoch)).max();
            let polluted = self.seats().into_iter().filter_map(|(node, group)| {
                let view = self.nodes[node].view(group)?;
                let is_polluted = view.sentinels.iter().any(|peer| !is_ours(&peer.instance.name));
                let is_ready = view.failover_state.is_none() && Some(view.config_epoch) == newest(group);
                is_polluted.then_some((node, group, is_ready))
            });
            let polluted: Vec<_> = polluted.collect();
            if polluted.is_empty() {
                break;
            }
            for (node, group, _) in polluted.into_iter().filter(|(.., is_ready)| *is_ready) {
                self.administer(node, group, AdminRequest::Reset);
            }
            self.run_for(1_000 * MS)?;
        }
        Ok(())
    }

    /// Whoever was told to forget its replicas, and lost what it remembered of them with its process, may take one for
    /// somebody else's. An operator who sees that adopts it.
    fn vouch_for_members(&mut self) -> Result<(), Violation> {
        const TRIES: usize = 3;
        if !self.swarm.operated && !self.is_reset {
            return Ok(());
        }
        for _ in 0..TRIES {
            let is_well = |world: &World| world.disagreement().is_none() && world.all_wronged().is_empty();
            if self.run_while(5_000 * MS, |world| !is_well(world))? {
                break;
            }
            for (node, group, addr) in self.all_wronged() {
                self.administer(node, group, AdminRequest::Adopt(addr));
            }
        }
        Ok(())
    }

    fn all_wronged(&self) -> Vec<(usize, usize, Addr)> {
        let seats = self.seats().into_iter();
        seats
            .flat_map(|(node, group)| self.wronged(node, group).into_iter().map(move |addr| (node, group, addr)))
            .collect()
    }

    /// Members of a group that one of its Sentinels takes for somebody else's: what its flags say, and masters of newer
    /// configurations that it does not follow.
    fn wronged(&self, node: usize, group: usize) -> Vec<Addr> {
        let Some(view) = self.nodes[node].view(group) else { return Vec::new() };
        let replicas = view.replicas.iter().map(|replica| &replica.instance);
        let foreign = replicas.filter(|instance| instance.flags.ends_with("foreign"));
        let all = self.nodes.iter().filter_map(|node| node.view(group));
        let newer = all.filter(|other| other.config_epoch > view.config_epoch).map(|other| &other.instance);
        let servers = foreign
            .chain(newer)
            .filter_map(|instance| Some(&self.servers[self.server_at(&instance.host, instance.port)?]));
        servers.filter(|server| server.group == group).map(|server| Addr::new(&server.ip, server.port)).collect()
    }

    /// Every Sentinel with every group.
    fn seats(&self) -> Vec<(usize, usize)> {
        let groups = 0..self.swarm.groups.len();
        (0..self.nodes.len()).flat_map(|node| groups.clone().map(move |group| (node, group))).collect()
    }

    /// A failover that an operator forces asks nobody, so its epoch may be another one's, too; and a stock leader may take a
    /// newer epoch without its address (R7). Neither of two addresses is newer then, for ever
    /// (failover.md I9 excepts it). An operator sees that, and asks for a failover, which is newer than both.
    fn resolve_collisions(&mut self) -> Result<(), Violation> {
        const TRIES: usize = 5;
        if self.sh.stats.forced == 0 && self.swarm.stock == 0 {
            return Ok(());
        }
        for _ in 0..TRIES {
            if self.run_while(10_000 * MS, |world| world.disagreement().is_some())? {
                break;
            }
            let Some(group) = (0..self.swarm.groups.len()).find(|group| self.epochs_collide(*group)) else { break };
            self.administer(0, group, AdminRequest::Failover(FailoverOrder::default()));
        }
        Ok(())
    }

    /// An operator restarts a stock Sentinel whose last answered PING grows older and older (failover.md R21).
    fn restart_the_deaf(&mut self) -> Result<(), Violation> {
        let deaf: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_deaf()).collect();
        for node in &deaf {
            self.sh.trace.note(self.sh.now, || format!("n{node} is deaf, and restarted"));
            self.nodes[*node].crash(&mut self.sh, false);
            self.nodes[*node].start(&mut self.sh);
        }
        if deaf.is_empty() { Ok(()) } else { self.demand_agreement("agreement after a restart") }
    }

    fn epochs_collide(&self, group: usize) -> bool {
        let views = || self.nodes.iter().filter_map(|node| node.view(group));
        let collide = |one: &MasterView, other: &MasterView| {
            one.config_epoch == other.config_epoch && true_ip(&one.current_host) != true_ip(&other.current_host)
        };
        views().any(|one| views().any(|other| collide(one, other)))
    }

    /// In some worlds as many Sentinels die for good as the others can do without. Not beside stock: what is left might be
    /// stock alone, and promises nothing.
    fn lose_a_minority(&mut self) {
        let groups = 0..self.swarm.groups.len();
        let quorums = groups.flat_map(|group| self.nodes.iter().filter_map(move |node| node.view(group)));
        let quorum = quorums.map(|view| view.quorum as usize).max().unwrap_or(1);
        let spare = self.nodes.len() - quorum.max(self.nodes.len() / 2 + 1);
        if !self.sh.rng.heal.random_bool(0.5) || self.swarm.stock > 0 {
            return;
        }
        for node in 0..spare {
            self.sh.trace.note(self.sh.now, || format!("n{node} dies for good"));
            self.nodes[node].crash(&mut self.sh, false);
            self.lost.insert(node);
        }
    }

    /// Kills a master, in some worlds while nobody watches: every Sentinel stands still until the replicas have been
    /// without it for longer than stock lets a candidate be (beyond.md B1). Worlds with stock peers are spared that.
    fn kill_for_good(&mut self, master: usize) -> Result<(), Violation> {
        const FOR_GOOD: u64 = u64::MAX / 4;
        let late = self.sh.rng.heal.random_bool(0.25) && self.swarm.stock == 0;
        let unseen = (11 * self.swarm.longest_down_after_ms() + 2_000) * MS;
        if late {
            for node in 0..self.nodes.len() {
                self.pause_node(node, unseen);
            }
        }
        self.kill_server(master, false, FOR_GOOD);
        if late {
            self.run_for(unseen)?;
        }
        Ok(())
    }

    /// Runs until everybody agrees, at most for twice the failover timeout and the slack.
    pub fn demand_agreement(&mut self, what: &str) -> Result<(), Violation> {
        // A stock leader that lost an election or a voter whose leader died waits twice the timeout (R4, R5), and again
        // when the next attempt fails, too.
        let timeouts = if self.elects_fast() { 2 } else { 8 };
        let patience =
            (timeouts * self.swarm.longest_failover_timeout_ms() + self.swarm.longest_down_after_ms() + SLACK_MS) * MS;
        let began = self.sh.now;
        let agreed = self.run_while(patience, |world| world.disagreement().is_some())?;
        if agreed {
            self.sh.stats.convergence_us = self.sh.stats.convergence_us.max(self.sh.now - began);
            return Ok(());
        }
        Err(Violation {
            rule: "liveness: one master, known to all, followed by all",
            story: format!("no {what} after {} s: {}", patience / 1_000_000, self.disagreement().unwrap_or_default()),
            at: self.sh.now,
        })
    }

    /// Whether nobody here elects as stock does.
    pub fn elects_fast(&self) -> bool {
        self.swarm.stock == 0 && self.swarm.policies.defaults.election == Election::Fast
    }

    /// Whether a Sentinel that is left knows a replica that may be promoted; only a RESET makes it forget one. With stock's
    /// elections all have to: the one that knows none may win for ever.
    fn has_a_candidate(&self, group: usize) -> bool {
        let members = self.servers.iter().filter(|server| server.group == group && server.upstream.is_some());
        let candidates: Vec<&str> = members.filter(|server| server.priority > 0).map(|server| &*server.ip).collect();
        if !self.swarm.operated && !self.is_reset {
            return !candidates.is_empty();
        }
        let is_candidate = |host: &str| candidates.contains(&&*true_ip(host));
        let knows_one = |view: &MasterView| view.replicas.iter().any(|known| is_candidate(&known.instance.host));
        let mut views = self.nodes.iter().filter(|node| node.is_running()).filter_map(|node| node.view(group));
        if self.elects_fast() { views.any(knows_one) } else { views.all(knows_one) }
    }

    /// Whether any Sentinel knows this server. After a RESET nobody need: who was away then, and comes back as a master,
    /// is a stranger.
    fn is_known(&self, group: usize, ip: &str) -> bool {
        let views = self.nodes.iter().filter_map(|node| node.view(group));
        let mut replicas = views.flat_map(|view| &view.replicas);
        !(self.swarm.operated || self.is_reset) || replicas.any(|replica| true_ip(&replica.instance.host) == *ip)
    }

    /// What keeps this world from being whole, if anything does.
    pub fn disagreement(&self) -> Option<String> {
        (0..self.swarm.groups.len()).find_map(|group| self.group_disagreement(group))
    }

    /// The same for one group.
    pub fn group_disagreement(&self, group: usize) -> Option<String> {
        let mut named: Option<(Cow<'_, str>, u16)> = None;
        let mut newest: Option<Epoch> = None;
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            let Some(view) = node.view(group) else { return Some(format!("n{} does not monitor m{group}", node.host)) };
            let address = (true_ip(&view.current_host), view.current_port);
            if node.in_tilt() {
                return Some(format!("n{} is in TILT", node.host));
            }
            if *named.get_or_insert_with(|| address.clone()) != address {
                return Some(format!("n{} names {address:?} for m{group}, others {named:?}", node.host));
            }
            if *newest.get_or_insert(view.config_epoch) != view.config_epoch {
                return Some(format!("n{} has m{group} at {}, others {newest:?}", node.host, view.config_epoch));
            }
            if let Some(state) = view.failover_state {
                return Some(format!("n{} is in {state} for m{group}", node.host));
            }
            if view.instance.flags != "master" {
                return Some(format!("n{} sees m{group} {}", node.host, view.instance.flags));
            }
            let is_lost = |id: &str| self.sh.checkers.facts.node_of(id).is_some_and(|peer| self.lost.contains(&peer));
            let peers = view.sentinels.iter().filter(|peer| !is_lost(&peer.instance.name));
            let live = peers.clone().find(|peer| peer.instance.flags != "sentinel");
            if let Some(peer) = live {
                return Some(format!("n{} sees {} {}", node.host, peer.instance.name, peer.instance.flags));
            }
        }
        let (host, port) = named?;
        let master = self.server_at(&host, port);
        let Some(master) = master.filter(|master| self.servers[*master].group == group) else {
            return Some(format!("m{group} is said to be at {host}:{port}"));
        };
        let server = &self.servers[master];
        if server.process != Process::Running || server.upstream.is_some() {
            return Some(format!("{host} is named master of m{group} and is none"));
        }
        let members = self.servers.iter().enumerate();
        let strays = members.filter(|(number, server)| {
            server.group == group
                && *number != master
                && server.process == Process::Running
                && self.is_known(group, &server.ip)
                && !server.upstream.as_ref().is_some_and(|upstream| true_ip(&upstream.host) == host && upstream.up)
        });
        strays.map(|(_, server)| format!("{} does not follow {host}: {:?}", server.ip, server.upstream)).next()
    }
}
