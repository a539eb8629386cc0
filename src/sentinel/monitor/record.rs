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

impl MasterRecord {
    /// Whether it says what `before` says and something of members that were heard of meanwhile. Nobody waits for such a
    /// record to be saved, as for a vote, a configuration or an operator's change, and a crash that loses it loses what is
    /// learnt again.
    pub fn differs_by_discovery(&self, before: &MasterRecord) -> bool {
        fn decided(record: &MasterRecord) -> impl PartialEq {
            let MasterRecord { spec, addr, config_epoch, leader_epoch, identity, .. } = record;
            (spec, addr, config_epoch, leader_epoch, &identity.adopted)
        }
        let knows_more = self.replicas.len() >= before.replicas.len() && self.sentinels.len() >= before.sentinels.len();
        decided(self) == decided(before) && knows_more && self != before
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::time::Periods;

    #[test]
    fn only_a_record_that_knows_more_may_wait_to_be_saved() {
        let before = MasterRecord {
            spec: MasterSpec::new(MasterName::from("a"), 2, &Periods::default()),
            addr: Addr::new("10.0.0.1", 6379),
            config_epoch: Epoch(3),
            leader_epoch: Epoch(4),
            replicas: vec![Addr::new("10.0.0.2", 6379)],
            sentinels: Vec::new(),
            identity: IdentityRecord::default(),
        };
        let changed = |change: fn(&mut MasterRecord)| {
            let mut record = before.clone();
            // With whatever else it comes.
            record.sentinels.push((RunId::from("b"), Addr::new("10.0.0.3", 26379)));
            change(&mut record);
            record.differs_by_discovery(&before)
        };
        assert!(changed(|_| {}));
        assert!(changed(|record| record.replicas.push(Addr::new("10.0.0.4", 6379))));
        assert!(changed(|record| record.identity.replids.push("c".to_owned())));
        assert!(!before.differs_by_discovery(&before), "written for another reason, a new epoch perhaps");
        assert!(!changed(|record| record.leader_epoch = Epoch(5)));
        assert!(!changed(|record| record.config_epoch = Epoch(4)));
        assert!(!changed(|record| record.addr = Addr::new("10.0.0.2", 6379)));
        assert!(!changed(|record| record.spec.down_after += 1));
        assert!(!changed(|record| record.replicas.clear()));
        assert!(!changed(|record| record.identity.adopted.push(("10.0.0.9 6379".to_owned(), None))));
    }
}
