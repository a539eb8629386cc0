//! What readers may see of a master: a copy that never changes. Ages are kept as points in time and become durations
//! when a reply is written.

use std::sync::Arc;

use crate::sentinel::id::{Epoch, MasterName, RunId};
use crate::sentinel::time::Millis;

/// A master and everything that belongs to it, as of `at`.
#[derive(Clone, Debug, PartialEq)]
pub struct MasterView {
    /// When this copy was made.
    pub at: Millis,
    /// The master itself. Its address is the configured one until the switch.
    pub instance: InstanceView,
    /// Host that clients are told: the promoted replica's from the moment its promotion is seen.
    pub current_host: String,
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
        MasterName::from(self.instance.name.as_str())
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
    pub name: String,
    /// Ip, or host name under `announce-hostnames`.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Empty until known.
    pub run_id: String,
    /// Comma-separated, in the order of commands.md 4.
    pub flags: String,
    /// Commands sent and not answered.
    pub pending_commands: u64,
    /// Masters that share the link.
    pub refcount: u32,
    /// When the oldest unanswered PING was sent.
    pub ping_pending_since: Option<Millis>,
    /// Last acceptable PING reply.
    pub last_available: Millis,
    /// Last PING reply of any kind.
    pub last_pong: Millis,
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
    pub master_host: String,
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
    pub last_hello: Millis,
    /// Its last reported vote for this master.
    pub voted_leader: Option<RunId>,
    /// Epoch of that vote.
    pub voted_epoch: Epoch,
}
