//! INFO replies of the stock model: discovery, roles, corrections, progress (failover.md 4).

use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::command::Command;
use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::monitor::info::InfoReport;
use sentineld::sentinel::monitor::instance::Role;

use super::{Reconf, Server, State, Stock, Surroundings};

impl Stock {
    pub(super) fn informed(&mut self, around: &mut Surroundings<'_>, master: usize, server: usize, text: &[u8]) {
        let now = around.now();
        let report = InfoReport::parse(text);
        let it = &mut self.masters[master].servers[server];
        it.info_at = now;
        it.link_down = report.link_down;
        if let Some(run_id) = &report.run_id {
            it.run_id = run_id.to_string();
        }
        if server == 0 {
            self.discover(around, master, &report);
        }
        let Some(role) = report.role else { return };
        let it = &mut self.masters[master].servers[server];
        let is_master = role == Role::Master;
        if is_master != it.is_master {
            it.is_master = is_master;
            it.role_at = now;
            if !is_master {
                it.conf_changed = now;
            }
        }
        if !is_master {
            let host = report.master_host.as_deref().map(str::to_owned);
            let follows = host.zip(report.master_port);
            if follows.is_some() && follows != it.master {
                it.master = follows;
                it.conf_changed = now;
            }
            it.link_up = report.link_up.unwrap_or(it.link_up);
            it.priority = report.priority.unwrap_or(it.priority);
            it.offset = report.offset.unwrap_or(it.offset);
        }
        if server == 0 || self.tilt_since.is_some() {
            return;
        }
        if is_master {
            self.reports_master(around, master, server);
        } else {
            self.reports_replica(around, master, server);
        }
    }

    fn discover(&mut self, around: &mut Surroundings<'_>, master: usize, report: &InfoReport) {
        let now = around.now();
        for (host, port) in &report.replicas {
            let addr = Addr::new(host, *port);
            if self.masters[master].servers.iter().any(|server| server.addr.same_as(&addr)) {
                continue;
            }
            self.masters[master].servers.push(Server::new(addr, false, now));
            let who = self.masters[master].describe_server(self.masters[master].servers.len() - 1);
            self.emit(around, master, EventKind::Replica, who);
            self.save(around);
        }
    }

    fn reports_master(&mut self, around: &mut Surroundings<'_>, master: usize, server: usize) {
        let seen = &self.masters[master];
        if seen.promoted == Some(server) {
            if seen.state == State::WaitPromotion {
                self.promotion_seen(around, master, server);
            }
            return;
        }
        let wait = 4 * self.periods.publish;
        if around.now() - seen.servers[server].role_at > wait && self.may_correct(around, master, server, wait) {
            self.correct(around, master, server, EventKind::ConvertToReplica);
        }
    }

    fn reports_replica(&mut self, around: &mut Surroundings<'_>, master: usize, server: usize) {
        let seen = &self.masters[master];
        let it = &seen.servers[server];
        let follows =
            |addr: &Addr| it.master.as_ref().is_some_and(|(host, port)| addr.same_as(&Addr::new(host, *port)));
        if let Some(promoted) = seen.promoted.filter(|_| seen.state == State::ReconfReplicas) {
            let (right, up) = (follows(&seen.servers[promoted].addr), it.link_up);
            if it.reconf == Reconf::Sent && right {
                self.progress(around, master, server, Reconf::InProgress, EventKind::ReconfInProgress);
            }
            if self.masters[master].servers[server].reconf == Reconf::InProgress && up {
                self.progress(around, master, server, Reconf::Done, EventKind::ReconfDone);
            }
            return;
        }
        let wait = seen.spec.failover_timeout;
        let settled = around.now() - it.conf_changed > wait;
        if !follows(&seen.servers[0].addr) && settled && self.may_correct(around, master, server, wait) {
            self.correct(around, master, server, EventKind::FixReplicaConfig);
        }
    }

    fn progress(&mut self, around: &mut Surroundings<'_>, master: usize, server: usize, to: Reconf, kind: EventKind) {
        self.masters[master].servers[server].reconf = to;
        let who = self.masters[master].describe_server(server);
        self.emit(around, master, kind, who);
    }

    /// The master looks sane, and neither it nor the replica went down lately (failover.md 4.4).
    fn may_correct(&self, around: &Surroundings<'_>, master: usize, server: usize, wait: u64) -> bool {
        let now = around.now();
        let seen = &self.masters[master];
        let first = &seen.servers[0];
        let sane = first.is_master
            && first.sdown_since.is_none()
            && seen.odown_since == 0
            && now - first.info_at < 2 * self.periods.info;
        let calm = |server: &Server| server.last_sdown == 0 || now - server.last_sdown > wait;
        sane && calm(first) && calm(&seen.servers[server])
    }

    fn correct(&mut self, around: &mut Surroundings<'_>, master: usize, server: usize, kind: EventKind) {
        let addr = self.masters[master].servers[0].addr.clone();
        let follow = Command::Replicaof { host: addr.host.to_string(), port: addr.port };
        if self.send_transaction(around, master, server, follow) {
            let who = self.masters[master].describe_server(server);
            self.emit(around, master, kind, who);
        }
    }
}
