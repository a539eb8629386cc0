//! INFO of a master or replica: the text, and what follows from it.

use std::borrow::Cow;
use std::iter;
use std::sync::Arc;

use memchr::{memchr, memmem};

use super::Monitor;
use super::failover::FailoverState;
use super::identity::Papers;
use super::instance::{InfoForm, Reconf, Replica, ReplicaKey, Role, Server, ServerId};
use super::reconf::transaction;
use crate::sentinel::Env;
use crate::sentinel::addr::Addr;
use crate::sentinel::event::EventKind;
use crate::sentinel::io::Outbox;
use crate::sentinel::time::Millis;

/// The lines of INFO that matter (failover.md 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a line of its own")]
pub struct InfoReport {
    /// `redis_version` is 7.0 or later: INFO takes several sections, and they tell all that matters now.
    pub takes_sections: bool,
    /// `run_id`, 40 characters.
    pub run_id: Option<Arc<str>>,
    /// `role:master` or `role:slave`.
    pub role: Option<Role>,
    /// `master_replid` and `master_replid2`: the histories that its data belongs to.
    pub replids: Vec<Arc<str>>,
    /// `slaveN` lines: host and port.
    pub replicas: Vec<(Arc<str>, u16)>,
    /// `db0:`, `db1:` and so on: it has keys. Or it loads some.
    pub has_data: bool,
    /// `loading:1`: it takes no commands yet.
    pub is_loading: bool,
    /// `config_file:` with nothing behind it: what it is told to be it has forgotten after a restart.
    pub has_no_file: bool,
    /// `master_host`; this and what follows is read only after `role:slave`.
    pub master_host: Option<Arc<str>>,
    /// `master_port`
    pub master_port: Option<u16>,
    /// `master_link_status:up`
    pub link_up: Option<bool>,
    /// `master_link_down_since_seconds` in ms; 0 when absent, negative if the link never was up.
    pub link_down: i64,
    /// `slave_priority`
    pub priority: Option<i64>,
    /// `slave_repl_offset`
    pub offset: Option<u64>,
    /// `master_repl_offset`
    pub master_offset: Option<u64>,
    /// `second_repl_offset`: where it left the history of its second replication id, plus one.
    pub second_offset: Option<u64>,
    /// `replica_announced`
    pub announced: Option<bool>,
}

impl InfoReport {
    /// Reads INFO text. Lines that make no sense are passed over.
    pub fn parse(text: &[u8]) -> InfoReport {
        let text = readable(text);
        let mut report = InfoReport::default();
        for line in split(&text, "\r\n") {
            let Some(colon) = memchr(b':', line.as_bytes()) else { continue };
            let (key, value) = (&line[..colon], &line[colon + 1..]);
            match key {
                "redis_version" => {
                    let major = value.split_once('.').and_then(|(major, _)| major.parse::<u32>().ok());
                    report.takes_sections = major.is_some_and(|major| major >= 7);
                }
                "run_id" if value.len() >= 40 && value.is_char_boundary(40) => {
                    report.run_id = Some(Arc::from(&value[..40]));
                }
                "role" if value.starts_with("master") => report.role = Some(Role::Master),
                "role" if value.starts_with("slave") => report.role = Some(Role::Replica),
                "master_replid" | "master_replid2" if is_replid(value) => report.replids.push(Arc::from(value)),
                "master_repl_offset" => report.master_offset = value.parse().ok(),
                "second_repl_offset" => report.second_offset = value.parse().ok(),
                "loading" => report.is_loading = value != "0",
                "config_file" => report.has_no_file = value.is_empty(),
                _ if is_numbered(key, "db") => report.has_data = true,
                _ if is_numbered(key, "slave") => report.replicas.extend(parse_replica(value)),
                _ if report.role == Some(Role::Replica) => report.parse_replica_field(key, value),
                _ => {}
            }
        }
        // Whether it still loads is told in a section that is not asked for otherwise.
        report.takes_sections &= !report.is_loading;
        report.has_data |= report.is_loading;
        report
    }

    fn parse_replica_field(&mut self, key: &str, value: &str) {
        match key {
            "master_host" => self.master_host = Some(Arc::from(value)),
            "master_port" => self.master_port = value.parse().ok(),
            "master_link_status" => self.link_up = Some(value == "up"),
            "master_link_down_since_seconds" => {
                self.link_down = value.parse::<i64>().map_or(0, |seconds| seconds.saturating_mul(1_000));
            }
            "slave_priority" => self.priority = value.parse().ok(),
            "slave_repl_offset" => self.offset = value.parse().ok(),
            "replica_announced" => self.announced = Some(value != "0"),
            _ => {}
        }
    }
}

/// How much of INFO is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// What a server would be asked for that takes several sections; of any other server, all of it.
    Sections,
    /// All of it.
    Whole,
}

/// The sections of an INFO that matter, as if they alone had been asked for.
fn sections_of(text: &[u8]) -> Vec<u8> {
    let text = readable(text);
    let matters =
        |section: &&str| ["# Server", "# Replication", "# Keyspace"].iter().any(|head| section.starts_with(head));
    let sections: Vec<&str> = split(&text, "\r\n\r\n").filter(matters).collect();
    sections.join("\r\n\r\n").into_bytes()
}

/// The text, which is UTF-8 nearly always. To see that is much faster than to look for what is not.
fn readable(text: &[u8]) -> Cow<'_, str> {
    str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed)
}

/// `text.split(separator)`, in a fraction of the time.
fn split<'a>(text: &'a str, separator: &'a str) -> impl Iterator<Item = &'a str> {
    let ends = memmem::find_iter(text.as_bytes(), separator).chain(iter::once(text.len()));
    let mut start = 0;
    ends.map(move |end| &text[std::mem::replace(&mut start, end + separator.len())..end])
}

/// 40 characters; all zeros stand for none.
fn is_replid(value: &str) -> bool {
    value.len() == 40 && value.bytes().any(|byte| byte != b'0')
}

fn is_numbered(key: &str, word: &str) -> bool {
    key.strip_prefix(word).is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// `ip=<ip>,port=<port>,...`, or the old `<ip>,<port>,<state>` whose second comma is required. A port outside 1..65535
/// is refused (stock makes a replica with port 0 of it; failover.md 55).
fn parse_replica(value: &str) -> Option<(Arc<str>, u16)> {
    let (host, port) = if let Some((_, rest)) = value.split_once("ip=") {
        let (_, port) = rest.split_once("port=")?;
        (rest.split_once(',')?.0, port.split_once(',').map_or(port, |(port, _)| port))
    } else {
        let mut fields = value.split(',');
        let (host, port) = (fields.next()?, fields.next()?);
        fields.next()?;
        (host, port)
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| (Arc::from(host), port))
}

/// Replication ids remembered per master.
const MAX_HISTORY: usize = 1_000;

/// How long a wrong role is watched before it is corrected, ms: four hello periods, so that a newer configuration can
/// arrive first.
pub(super) const HELLO_PERIODS_BEFORE_CONVERSION: u64 = 4;

impl Monitor {
    /// An INFO reply has come from a server, of which `kept` is remembered.
    pub(super) fn on_info(&mut self, who: &ServerId, text: &[u8], kept: Kept, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        let report = InfoReport::parse(text);
        if *who == ServerId::Master {
            self.note_rebirth(&report, env);
        }
        let Some(server) = self.server_mut(who) else { return };
        server.info_at = Some(now);
        server.info = Some(match kept {
            Kept::Sections if report.takes_sections => Arc::from(sections_of(text)),
            Kept::Sections | Kept::Whole => Arc::from(text),
        });
        server.info_form = if report.takes_sections { InfoForm::Sections } else { InfoForm::Whole };
        server.info_wanted_at = None;
        server.papers = Papers::of(&report, server.link.command_id());
        self.dirty = true;
        self.note_run_id(who, &report, env, out);
        if *who == ServerId::Master {
            self.discover_replicas(&report, env, out);
        }
        self.note_replication(who, &report, now);
        self.note_identity(who, env, out);
        self.note_role(who, &report, env, out);
        self.note_handover(who, &report, env, out);
        let role = report.role;
        self.note_history(who, report.replids);
        match who {
            _ if env.tilt.is_on() => {}
            ServerId::Replica(key) => self.follow_up(&key.clone(), role, env, out),
            ServerId::Master => self.master_reported(role, env, out),
        }
    }

    fn note_run_id(&mut self, who: &ServerId, report: &InfoReport, env: &Env<'_>, out: &mut Outbox) {
        let Some(run_id) = &report.run_id else { return };
        let reboot_down_after = self.spec.reboot_down_after;
        let is_same = |server: &&Server| server.run_id.as_ref() == Some(run_id);
        let others = self.servers().filter(is_same).count();
        let Some(server) = self.server_mut(who) else { return };
        server.is_double = others > usize::from(is_same(&&*server));
        let rebooted = server.run_id.as_ref().is_some_and(|known| known != run_id);
        server.run_id = Some(run_id.clone());
        if rebooted {
            if *who == ServerId::Master && reboot_down_after != 0 {
                self.reboot_since = Some(env.now.mono);
            }
            self.emit(EventKind::Reboot, self.describe(who, env), out);
        }
    }

    fn discover_replicas(&mut self, report: &InfoReport, env: &Env<'_>, out: &mut Outbox) {
        for (host, port) in &report.replicas {
            let Some(addr) = self.locate(Addr::new(host, *port), env, out) else { continue };
            let known = self.replicas.values().any(|replica| replica.server.addr.same_as(&addr));
            if !known && !self.master.addr.same_as(&addr) {
                let key = self.add_replica(addr, env);
                self.emit(EventKind::Replica, self.describe(&ServerId::Replica(key), env), out);
                self.persist(env, out);
            }
        }
    }

    /// Makes a replica that is not known yet and returns its key.
    pub(super) fn add_replica(&mut self, addr: Addr, env: &Env<'_>) -> ReplicaKey {
        let key = ReplicaKey::from(addr.key(env.node));
        let now = env.now.mono;
        let replica = Replica::new(Server::new(addr, Role::Replica, now), now);
        self.replicas.insert(key.clone(), Box::new(replica));
        self.dirty = true;
        key
    }

    /// The replication ids of our master, and those of its replicas for the choice among them.
    fn note_history(&mut self, who: &ServerId, replids: Vec<Arc<str>>) {
        match who {
            // What came back with nothing is no part of our history unless it stays.
            ServerId::Master
                if self.master.role == Role::Master && self.reborn.is_none() && self.history_goes_on(&replids) =>
            {
                let known = self.history.len();
                self.history.extend(replids);
                if self.history.len() != known {
                    self.history_grew();
                }
                // A master has two; a thousand failovers later the oldest matter to nobody.
                while self.history.len() > MAX_HISTORY {
                    self.history.pop_first();
                }
            }
            ServerId::Master => {}
            ServerId::Replica(key) => {
                if let Some(replica) = self.replicas.get_mut(key) {
                    replica.replids = replids;
                }
            }
        }
    }

    /// While our master is being replaced, what answers at its address adds to our history only if it has it.
    fn history_goes_on(&self, replids: &[Arc<str>]) -> bool {
        self.failover.state == FailoverState::Idle || replids.iter().any(|replid| self.history.contains(replid))
    }

    fn note_replication(&mut self, who: &ServerId, report: &InfoReport, now: Millis) {
        let ServerId::Replica(key) = who else { return };
        let Some(replica) = self.replicas.get_mut(key) else { return };
        replica.link_down = report.link_down;
        let host_changed = report
            .master_host
            .as_ref()
            .is_some_and(|host| !replica.master_host.as_ref().is_some_and(|known| known.eq_ignore_ascii_case(host)));
        let port_changed = report.master_port.is_some_and(|port| port != replica.master_port);
        if host_changed || port_changed {
            replica.conf_changed_at = now;
        }
        if let Some(host) = &report.master_host {
            replica.master_host = Some(host.clone());
        }
        replica.master_port = report.master_port.unwrap_or(replica.master_port);
        replica.link_up = report.link_up.unwrap_or(replica.link_up);
        replica.priority = report.priority.unwrap_or(replica.priority);
        replica.offset = report.offset.unwrap_or(replica.offset);
        replica.announced = report.announced.unwrap_or(replica.announced);
    }

    fn note_role(&mut self, who: &ServerId, report: &InfoReport, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        let (Some(role), Some(server)) = (report.role, self.server_mut(who)) else { return };
        if role == server.role {
            return;
        }
        server.role = role;
        server.role_at = now;
        let expected = match who {
            ServerId::Master => Role::Master,
            ServerId::Replica(key) => {
                if let (Role::Replica, Some(replica)) = (role, self.replicas.get_mut(key)) {
                    replica.conf_changed_at = now;
                }
                Role::Replica
            }
        };
        let kind = if role == expected { EventKind::RoleChange } else { EventKind::RoleMismatch };
        let payload = format!("{} new reported role is {}", self.describe(who, env), role.word());
        self.emit(kind, payload, out);
    }

    /// What a replica's report calls for: the promotion it completes, a correction, or progress of its
    /// reconfiguration.
    fn follow_up(&mut self, key: &ReplicaKey, role: Option<Role>, env: &Env<'_>, out: &mut Outbox) {
        let is_from_before = self.is_report_from_before(key);
        match role {
            Some(Role::Master) if is_from_before => {}
            Some(Role::Master) if self.promoted() == Some(key) => self.promotion_reported(env, out),
            Some(Role::Master) if self.demote_deposed(key, env, out) => {}
            Some(Role::Master) => self.correct_role(key, env, out),
            Some(Role::Replica) => {
                self.note_demoted(key);
                self.retry_promotion(key, env, out);
                self.correct_master(key, env, out);
                self.note_reconfiguration(key, env, out);
            }
            None => {}
        }
    }

    /// A replica that reports master is made a replica again, once nothing newer can be on its way.
    fn correct_role(&mut self, key: &ReplicaKey, env: &Env<'_>, out: &mut Outbox) {
        let wait = HELLO_PERIODS_BEFORE_CONVERSION * env.node.periods.publish;
        let Some(replica) = self.replicas.get(key) else { return };
        let settled = env.now.mono.since(replica.server.role_at) > wait;
        if settled && self.master_looks_sane(env) && self.no_down_for(key, wait, env.now.mono) {
            self.send_correction(key, EventKind::ConvertToReplica, env, out);
        }
    }

    /// A replica that follows another address is pointed at the master.
    fn correct_master(&mut self, key: &ReplicaKey, env: &Env<'_>, out: &mut Outbox) {
        let wait = self.spec.failover_timeout;
        let Some(replica) = self.replicas.get(key) else { return };
        if self.follows(replica, &self.master.addr) || replica.reconf != Reconf::None {
            return;
        }
        let settled = env.now.mono.since(replica.conf_changed_at) > wait;
        if settled && self.master_looks_sane(env) && self.no_down_for(key, wait, env.now.mono) {
            self.send_correction(key, EventKind::FixReplicaConfig, env, out);
        }
    }

    pub(super) fn send_correction(&mut self, key: &ReplicaKey, event: EventKind, env: &Env<'_>, out: &mut Outbox) {
        let who = ServerId::Replica(key.clone());
        let master = self.master.addr.clone();
        // It would replicate from itself.
        let may_be_told =
            |replica: &Replica| !replica.server.is_same_server(&self.master) && self.may_be_moved(replica, env);
        if !self.replicas.get(key).is_some_and(|replica| may_be_told(replica)) {
            return;
        }
        if self.send_all(&who, transaction(Some(&master), env), out) {
            self.emit(event, self.describe(&who, env), out);
        }
    }

    /// Configured as master, says so itself, up, and heard of lately (failover.md 4.4).
    pub(super) fn master_looks_sane(&self, env: &Env<'_>) -> bool {
        self.master.role == Role::Master
            && self.master.sdown.is_none()
            && self.odown.is_none()
            && self.master.info_at.is_some_and(|at| env.now.mono.since(at) < 2 * env.node.periods.info)
    }

    /// Neither the replica nor the master went down within `wait`.
    fn no_down_for(&self, key: &ReplicaKey, wait: u64, now: Millis) -> bool {
        let replica = self.replicas.get(key).and_then(|replica| replica.server.last_sdown);
        [replica, self.master.last_sdown, self.last_odown].into_iter().flatten().all(|at| now.since(at) > wait)
    }

    /// Whether a replica reports `addr` as its master.
    pub(super) fn follows(&self, replica: &Replica, addr: &Addr) -> bool {
        let Some(host) = &replica.master_host else { return false };
        self.reported_addr(host, replica.master_port).same_as(addr)
    }

    fn reported_addr(&self, host: &str, port: u16) -> Addr {
        let addr = Addr::new(host, port);
        let ip = self.names.ip(host).or(addr.ip);
        addr.meaning(ip)
    }

    /// The replica that our master says it follows, if that one says it is a master: it was promoted by somebody who has
    /// not told us, and perhaps never will. Another choice would cost what it has been given since (beyond.md B4).
    pub(super) fn heir(&self) -> Option<&ReplicaKey> {
        let (host, port) = self.master.papers.upstream.as_ref().filter(|_| self.master.role == Role::Replica)?;
        let addr = self.reported_addr(host, *port);
        let is_heir = |replica: &Replica| {
            let server = &replica.server;
            server.role == Role::Master && server.sdown.is_none() && server.addr.same_as(&addr)
        };
        self.replicas.iter().find(|(_, replica)| is_heir(replica)).map(|(key, _)| key)
    }

    fn note_reconfiguration(&mut self, key: &ReplicaKey, env: &Env<'_>, out: &mut Outbox) {
        let Some(promoted) = self.promoted().and_then(|key| self.replicas.get(key)) else { return };
        if !matches!(self.failover.state, FailoverState::ReconfReplicas { .. }) {
            return;
        }
        let target = promoted.server.addr.clone();
        let Some(replica) = self.replicas.get(key) else { return };
        let (follows, link_up) = (self.follows(replica, &target), replica.link_up);
        if let (Reconf::Sent { at }, true) = (replica.reconf, follows) {
            self.set_reconf(key, Reconf::InProgress { at }, EventKind::ReconfInProgress, env, out);
        }
        let reconf = self.replicas.get(key).map(|replica| replica.reconf);
        if matches!(reconf, Some(Reconf::InProgress { .. })) && link_up {
            self.set_reconf(key, Reconf::Done, EventKind::ReconfDone, env, out);
        }
    }
}

/// When a replica in the wrong role may be corrected: INFO is asked for just then.
pub(super) fn correction_due_at(replica: &Replica, env: &Env<'_>) -> Option<Millis> {
    let wait = HELLO_PERIODS_BEFORE_CONVERSION * env.node.periods.publish;
    (replica.server.role == Role::Master).then(|| replica.server.role_at + wait + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN_ID: &str = "0123456789012345678901234567890123456789";

    fn parse(lines: &[&str]) -> InfoReport {
        InfoReport::parse(lines.join("\r\n").as_bytes())
    }

    /// failover.md 49, 50, 51, 55
    #[test]
    fn reads_both_forms_of_replica_lines() {
        let report = parse(&[
            "role:master",
            "connected_slaves:5",
            "slave0:ip=127.0.0.1,port=6380,state=online,offset=1,lag=0",
            "slave1:127.0.0.1,6381,online",
            "slave2:127.0.0.1,6382",
            "slave3:ip=127.0.0.1,port=abc,state=online",
            "slave4:ip=127.0.0.1,port=0,state=online",
            "slave_read_only:1",
        ]);
        assert_eq!(report.replicas, [(Arc::from("127.0.0.1"), 6380), (Arc::from("127.0.0.1"), 6381)]);
    }

    /// failover.md 58, 59
    #[test]
    fn replica_fields_count_only_after_role_slave() {
        let fields = ["master_host:h", "master_port:1", "master_link_down_since_seconds:-1", "slave_priority:7"];
        let before = parse(&[&fields[..], &["role:master"]].concat());
        assert_eq!((before.master_host, before.priority, before.link_down), (None, None, 0));
        let after = parse(&[&["role:slave"], &fields[..]].concat());
        assert_eq!((after.master_host.as_deref(), after.priority, after.link_down), (Some("h"), Some(7), -1000));
        assert_eq!(parse(&["role:slave"]).link_down, 0);
    }

    #[test]
    fn sections_that_matter_are_kept_as_they_came() {
        let text =
            b"# Server\r\nrun_id:x\r\n\r\n# Clients\r\na:1\r\n\r\n# Replication\r\nrole:master\r\n\r\n# Keyspace\r\n";
        let kept = b"# Server\r\nrun_id:x\r\n\r\n# Replication\r\nrole:master\r\n\r\n# Keyspace\r\n";
        assert_eq!(sections_of(text), kept);
        assert_eq!(sections_of(kept), kept);
    }

    /// beyond.md B8: what loads has data, and is asked for the section that tells when it has.
    #[test]
    fn loading_is_told_in_full_only() {
        for (loading, takes_sections) in [("0", true), ("1", false)] {
            let report = parse(&["redis_version:7.0.15", &format!("loading:{loading}")]);
            assert_eq!(
                (report.takes_sections, report.is_loading, report.has_data),
                (takes_sections, !takes_sections, !takes_sections)
            );
        }
    }

    /// failover.md 47
    #[test]
    fn run_ids_are_forty_characters() {
        assert_eq!(parse(&[&format!("run_id:{RUN_ID}")]).run_id.as_deref(), Some(RUN_ID));
        assert_eq!(parse(&["run_id:short"]).run_id, None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            InfoReport::parse(&text);
        }

        #[test]
        fn split_is_the_one_of_strings(text in "[\\r\\na:é]{0,40}") {
            for separator in ["\r\n", "\r\n\r\n"] {
                proptest::prop_assert!(split(&text, separator).eq(text.split(separator)), "{text:?}");
            }
        }
    }
}
