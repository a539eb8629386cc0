//! What must survive a crash.

use super::instance::Role;
use crate::sentinel::addr::Addr;
use crate::sentinel::command::RenameMap;
use crate::sentinel::id::{Epoch, MasterName, RunId, Secret};

/// What an operator says of one master, in `sentinel.conf` or by `SENTINEL SET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterSpec {
    /// `sentinel monitor <name>`
    pub name: MasterName,
    /// Sentinels that must agree before the master is ODOWN; at least 1.
    pub quorum: u32,
    /// `down-after-milliseconds`, ms, at least 1.
    pub down_after: u64,
    /// `failover-timeout`, ms, at least 1.
    pub failover_timeout: u64,
    /// `parallel-syncs`; 0 is accepted from a file, as in stock.
    pub parallel_syncs: u32,
    /// `auth-user`; without a password nothing is sent.
    pub auth_user: Option<String>,
    /// `auth-pass`
    pub auth_pass: Option<Secret>,
    /// `notification-script`
    pub notification_script: Option<String>,
    /// `client-reconfig-script`
    pub client_reconfig_script: Option<String>,
    /// `master-reboot-down-after-period`, ms; 0 is off.
    pub reboot_down_after: u64,
    /// `rename-command`
    pub renames: RenameMap,
}

impl MasterSpec {
    /// A master with default settings.
    pub fn new(name: MasterName, quorum: u32, periods: &crate::sentinel::time::Periods) -> MasterSpec {
        MasterSpec {
            name,
            quorum,
            down_after: periods.default_down_after,
            failover_timeout: periods.default_failover_timeout,
            parallel_syncs: 1,
            auth_user: None,
            auth_pass: None,
            notification_script: None,
            client_reconfig_script: None,
            reboot_down_after: 0,
            renames: RenameMap::new(),
        }
    }
}

/// Everything about one master that is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterRecord {
    /// Settings.
    pub spec: MasterSpec,
    /// Current address: the promoted replica's from the moment its promotion was seen.
    pub addr: Addr,
    /// Epoch of the failover that led to `addr`.
    pub config_epoch: Epoch,
    /// Epoch of my last vote. Whom I voted for is not saved, as in stock.
    pub leader_epoch: Epoch,
    /// Known replicas; during a reconfiguration the old master in place of the promoted one.
    pub replicas: Vec<Addr>,
    /// Known peers.
    pub sentinels: Vec<(RunId, Addr)>,
    /// Who the servers are. Goes to the state file, if there is one, and never to `sentinel.conf`.
    pub identity: IdentityRecord,
}

/// What tells members of a group from strangers (beyond.md B2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityRecord {
    /// Replication ids that the group's data has had.
    pub replids: Vec<String>,
    /// Members as they last were when they were members beyond doubt, by `<ip> <port>`.
    pub members: Vec<(String, MemberRecord)>,
    /// `SENTINEL ADOPT`: `<ip> <port>`, and the process that was there.
    pub adopted: Vec<(String, Option<String>)>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// The process that it was.
    pub run_id: String,
    /// What it was.
    pub role: Role,
    /// It once was master.
    pub was_master: bool,
}
