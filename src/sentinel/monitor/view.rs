//! What readers may see of a master: a copy that never changes, but for the ages in it that change all the time. Ages are
//! kept as points in time and become durations when a reply is written.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::Monitor;
use super::failover::FailoverState;
use super::instance::{Reconf, Replica, ReplicaKey, Seat, Sentinel, Server};
use crate::sentinel::Env;
use crate::sentinel::ages::{SharedAges, SharedMillis};
use crate::sentinel::id::{Epoch, MasterName, RunId};
use crate::sentinel::time::Millis;

/// A master and everything that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct MasterView {
    /// The master itself. Its address is the configured one until the switch.
    pub instance: InstanceView,
    /// Host that clients are told: the promoted replica's from the moment its promotion is seen.
    pub current_host: Arc<str>,
    /// Port that clients are told.
    pub current_port: u16,
    /// While a failover is in progress: name of its state.
    pub failover_state: Option<&'static str>,
    /// Since when ODOWN.
    pub odown_since: Option<Millis>,
    /// Epoch of the current address.
    pub config_epoch: Epoch,
    /// Epoch of my last durable vote.
    pub leader_epoch: Epoch,
    /// Sentinels that must agree on ODOWN.
    pub quorum: u32,
    /// ms
    pub failover_timeout: u64,
    /// Replicas reconfigured at once.
    pub parallel_syncs: u32,
    /// Path, if set.
    pub notification_script: Option<String>,
    /// Path, if set.
    pub client_reconfig_script: Option<String>,
    /// Role and INFO of the master.
    pub server: ServerView,
    /// By name.
    pub replicas: Vec<ReplicaView>,
    /// By run id.
    pub sentinels: Vec<SentinelView>,
}

impl MasterView {
    /// The configured name.
    pub fn name(&self) -> MasterName {
        MasterName(Arc::clone(&self.instance.name))
    }

    /// This Sentinel and the peers that are not down (CKQUORUM).
    pub fn usable_sentinels(&self) -> usize {
        1 + self.sentinels.iter().filter(|peer| peer.instance.sdown_since.is_none()).count()
    }
}

/// What masters, replicas and Sentinels have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceView {
    /// Master name, `ip:port` of a replica, run id of a Sentinel.
    pub name: Arc<str>,
    /// Ip, or host name under `announce-hostnames`.
    pub host: Arc<str>,
    /// What that means, as far as it is known.
    pub ip: Option<IpAddr>,
    /// TCP port.
    pub port: u16,
    /// Empty until known.
    pub run_id: Arc<str>,
    /// Comma-separated, in the order of commands.md 4.
    pub flags: Cow<'static, str>,
    /// PINGs, replies, and masters that share the link, as they are.
    pub ages: Arc<SharedAges>,
    /// Since when SDOWN.
    pub sdown_since: Option<Millis>,
    /// ms
    pub down_after: u64,
}

/// What masters and replicas have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerView {
    /// `master` or `slave`.
    pub role_reported: &'static str,
    /// When that role was first reported.
    pub role_reported_at: Millis,
    /// When the last INFO came.
    pub info_at: Option<Millis>,
    /// Its text.
    pub info: Option<Arc<[u8]>>,
}

/// A replica.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaView {
    /// The instance.
    pub instance: InstanceView,
    /// Role and INFO.
    pub server: ServerView,
    /// How long its link to its master was down at the last INFO, ms; negative if it never was up.
    pub master_link_down: i64,
    /// Whether that link was up at the last INFO.
    pub master_link_up: bool,
    /// `?` until reported.
    pub master_host: Arc<str>,
    /// 0 until reported.
    pub master_port: u16,
    /// `slave_priority`
    pub priority: i64,
    /// `slave_repl_offset`
    pub offset: u64,
    /// Whether it is listed (`replica_announced`).
    pub announced: bool,
}

/// A peer.
#[derive(Clone, Debug, PartialEq)]
pub struct SentinelView {
    /// The instance.
    pub instance: InstanceView,
    /// Last hello from it.
    pub last_hello: Arc<SharedMillis>,
    /// Its last reported vote for this master.
    pub voted_leader: Option<RunId>,
    /// Epoch of that vote.
    pub voted_epoch: Epoch,
}

impl Monitor {
    /// A copy of everything that readers may see, as of now.
    pub fn view(&self, env: &Env<'_>) -> MasterView {
        let current = self.current_addr();
        MasterView {
            instance: self.server_view(self.master_seat(), Arc::clone(&self.spec.name.0), env),
            current_host: current.shown_host(env.node),
            current_port: current.port,
            failover_state: self.failover.state.name(),
            odown_since: self.odown,
            config_epoch: self.config_epoch,
            leader_epoch: self.ledger.vote().1,
            quorum: self.spec.quorum,
            failover_timeout: self.spec.failover_timeout,
            parallel_syncs: self.spec.parallel_syncs,
            notification_script: self.spec.notification_script.clone(),
            client_reconfig_script: self.spec.client_reconfig_script.clone(),
            server: ServerView::of(&self.master),
            replicas: self.replicas.iter().map(|(key, replica)| self.replica_view(key, replica, env)).collect(),
            sentinels: self.sentinels.iter().map(|(id, sentinel)| self.sentinel_view(id, sentinel, env)).collect(),
        }
    }

    fn server_view(&self, seat: Seat<'_>, name: Arc<str>, env: &Env<'_>) -> InstanceView {
        let server = seat.server;
        InstanceView {
            name,
            host: server.addr.shown_host(env.node),
            ip: server.addr.ip,
            port: server.addr.port,
            run_id: server.run_id.clone().unwrap_or_default(),
            flags: self.server_flags(seat),
            ages: Arc::clone(server.link.ages()),
            sdown_since: server.sdown,
            down_after: self.spec.down_after,
        }
    }

    fn replica_view(&self, key: &ReplicaKey, replica: &Replica, env: &Env<'_>) -> ReplicaView {
        ReplicaView {
            instance: self.server_view(Seat::of(key, replica), Arc::clone(key), env),
            server: ServerView::of(&replica.server),
            master_link_down: replica.link_down,
            master_link_up: replica.link_up,
            master_host: replica.master_host.clone().unwrap_or_else(|| Arc::from("?")),
            master_port: replica.master_port,
            priority: replica.priority,
            offset: replica.offset,
            announced: replica.announced,
        }
    }

    fn sentinel_view(&self, id: &RunId, sentinel: &Sentinel, env: &Env<'_>) -> SentinelView {
        let health = &sentinel.health;
        let flags = [
            ("s_down", sentinel.sdown.is_some()),
            ("sentinel", true),
            ("disconnected", !health.connected),
            ("master_down", sentinel.opinion.master_down),
        ];
        SentinelView {
            instance: InstanceView {
                name: Arc::clone(&id.0),
                host: sentinel.addr.shown_host(env.node),
                ip: sentinel.addr.ip,
                port: sentinel.addr.port,
                run_id: Arc::clone(&id.0),
                flags: join_flags(flags),
                ages: Arc::clone(&sentinel.ages),
                sdown_since: sentinel.sdown,
                down_after: self.spec.down_after,
            },
            last_hello: Arc::clone(&sentinel.last_hello),
            voted_leader: sentinel.opinion.leader.clone(),
            voted_epoch: sentinel.opinion.leader_epoch,
        }
    }

    /// Flags in stock's order (failover.md 11).
    fn server_flags(&self, seat: Seat<'_>) -> Cow<'static, str> {
        let Seat { server, replica } = seat;
        let is_master = replica.is_none();
        let reconf = replica.map(|(_, replica)| replica.reconf);
        let link = &server.link;
        join_flags([
            ("s_down", server.sdown.is_some()),
            ("o_down", is_master && self.odown.is_some()),
            ("master", is_master),
            ("slave", !is_master),
            ("disconnected", link.command.is_none() || link.pubsub.is_none()),
            ("failover_in_progress", is_master && self.failover.state != FailoverState::Idle),
            ("promoted", replica.is_some_and(|(key, _)| self.promoted() == Some(key))),
            ("reconf_sent", matches!(reconf, Some(Reconf::Sent { .. }))),
            ("reconf_inprog", matches!(reconf, Some(Reconf::InProgress { .. }))),
            ("reconf_done", reconf == Some(Reconf::Done)),
            ("force_failover", is_master && self.failover.is_forced()),
            ("coordinated_failover", is_master && self.failover.plan.coordination.is_some()),
            ("script_kill_sent", server.script_kill_sent),
            ("master_reboot", is_master && self.reboot_since.is_some()),
            ("foreign", server.is_foreign()),
        ])
    }
}

impl ServerView {
    fn of(server: &Server) -> ServerView {
        ServerView {
            role_reported: server.role.word(),
            role_reported_at: server.role_at,
            info_at: server.info_at,
            info: server.info.clone(),
        }
    }
}

/// Room for some more flags, bytes.
const TYPICAL_FLAGS: usize = 48;

/// The flags that are set. Nearly always there is one.
fn join_flags<const N: usize>(flags: [(&'static str, bool); N]) -> Cow<'static, str> {
    let mut set = flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag);
    let mut joined = Cow::Borrowed(set.next().unwrap_or_default());
    for flag in set {
        let text = joined.to_mut();
        text.reserve(TYPICAL_FLAGS);
        text.push(',');
        text.push_str(flag);
    }
    joined
}
