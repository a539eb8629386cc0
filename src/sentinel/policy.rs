//! What an operator may choose where we do better than stock. Each choice has a value that is stock's behaviour exactly.
//!
//! The choices live in `sentineld.toml`, never in `sentinel.conf`, which stock must be able to load.

use std::collections::BTreeMap;

use super::id::MasterName;

/// `stale-replica-promotion`: which replicas are too stale to be promoted (beyond.md B1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleReplicaPromotion {
    /// When stock's rule refuses them all, the freshest that can be reached is good enough, once a majority can be reached
    /// or was waited for. One that waits for its first copy is refused beside one with keys.
    #[default]
    Relative,
    /// Stock's rule alone: no failover, or one to a replica that has nothing.
    Never,
    /// As `Relative`, without waiting.
    Always,
}

/// `election`: how often and how soon candidates run (beyond.md B5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Election {
    /// One after the other, given up as soon as lost, tried again at once when nobody won.
    #[default]
    Fast,
    /// All at once; a lost one costs twice `failover-timeout`.
    Stock,
}

/// `masterless`: what happens when no member of a group says that it is master (beyond.md B6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Masterless {
    /// After `down-after-milliseconds`, and 5 s at least, that is a failure like any other.
    #[default]
    Heal,
    /// Only after `down-after-milliseconds` and two INFO periods.
    Stock,
}

/// `reborn-master`: what happens when a master comes back with nothing, and a replica still has what it lost (beyond.md
/// B3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RebornMaster {
    /// It is down, and the replica is promoted.
    #[default]
    Failover,
    /// It is told, and nothing else.
    Alert,
    /// Nothing: its replicas become empty, too.
    Stock,
}

/// `fast-demote`: how soon a master that our failover replaced is made a replica when it is back (beyond.md B8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FastDemote {
    /// By the leader, while it reconfigures the others or at the first INFO afterwards.
    #[default]
    Yes,
    /// Four hello periods after it is back, by whoever comes first.
    Stock,
}

/// `identity-guard`: what is done with a server that seems not to belong to the group (beyond.md B2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityGuard {
    /// It is left alone as soon as something speaks against it.
    #[default]
    Evidence,
    /// The same, and whatever has data of an unknown history is a stranger.
    Strict,
    /// It is told what every replica is told.
    Stock,
}

/// `tilt`: what a stall of this process costs (beyond.md B7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TiltMode {
    /// Every probe is sent anew, and judgement resumes when each has had its time.
    #[default]
    Rearm,
    /// 30 s without judgement, after a step of the wall clock too.
    Stock,
}

/// `failover-mode`: what `SENTINEL FAILOVER` without further words means (beyond.md B4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailoverMode {
    /// Stock: a replica is promoted at once, and what the old master took meanwhile is lost.
    #[default]
    Forced,
    /// As with `COORDINATED`: writes are stopped until the replica has them all.
    Coordinated,
}

/// `coordinated-path`: how writes are stopped for a coordinated failover, if the master can do both (beyond.md B4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CoordinatedPath {
    /// `CLIENT PAUSE`, and this Sentinel does the rest.
    #[default]
    Pause,
    /// The server's own `FAILOVER`.
    Failover,
}

/// The choices for one master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MasterPolicy {
    /// B1
    pub stale_replica_promotion: StaleReplicaPromotion,
    /// B5
    pub election: Election,
    /// B6
    pub masterless: Masterless,
    /// B4
    pub failover_mode: FailoverMode,
    /// B4
    pub coordinated_path: CoordinatedPath,
    /// B8
    pub fast_demote: FastDemote,
    /// B3
    pub reborn_master: RebornMaster,
    /// B2
    pub identity_guard: IdentityGuard,
}

/// All choices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// For every master that has none of its own.
    pub defaults: MasterPolicy,
    /// By name of the master.
    pub masters: BTreeMap<MasterName, MasterPolicy>,
    /// For the process.
    pub tilt: TiltMode,
    /// There is a state file, in which it is kept who belongs to which master.
    pub keeps_identity: bool,
}

impl Policies {
    /// Stock's behaviour throughout.
    pub fn stock() -> Policies {
        Policies {
            defaults: MasterPolicy {
                stale_replica_promotion: StaleReplicaPromotion::Never,
                election: Election::Stock,
                masterless: Masterless::Stock,
                failover_mode: FailoverMode::Forced,
                coordinated_path: CoordinatedPath::Pause,
                fast_demote: FastDemote::Stock,
                reborn_master: RebornMaster::Stock,
                identity_guard: IdentityGuard::Stock,
            },
            masters: BTreeMap::new(),
            tilt: TiltMode::Stock,
            keeps_identity: false,
        }
    }

    /// The choices for this master.
    pub fn of(&self, master: &MasterName) -> MasterPolicy {
        self.masters.get(master).copied().unwrap_or(self.defaults)
    }
}
