//! What concerns more than one master: pure rules that the supervisor and the simulator call alike.

use std::collections::{BTreeMap, BTreeSet};

use super::addr::Addr;
use super::id::{MasterName, RunId};
use super::peer::PeerInput;

/// A message between a monitor and the rest of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeNotice {
    /// Monitor to supervisor: this master has this peer, or its `down_after` changed. The first to say so creates it.
    WatchPeer {
        /// The peer.
        peer: RunId,
        /// Where it is.
        addr: Addr,
        /// ms; the peer is pinged at the smallest of its masters' periods.
        down_after: u64,
    },
    /// Monitor to supervisor: this master has this peer no longer.
    UnwatchPeer {
        /// The peer.
        peer: RunId,
    },
    /// Both ways: the peer has a new address. A monitor that receives it follows without asking.
    PeerMoved {
        /// The peer.
        peer: RunId,
        /// Where it is now.
        addr: Addr,
    },
    /// Both ways: another id now lives at this peer's address, so this one is gone. A monitor that receives it forgets
    /// the peer.
    PeerReplaced {
        /// The peer that is gone.
        peer: RunId,
        /// Whose address that was.
        addr: Addr,
    },
    /// Supervisor to the monitor that sent `PeerMoved`: so many other masters knew the peer and follow.
    PeerMoveFollowed {
        /// The peer.
        peer: RunId,
        /// Other masters that have it; not 0.
        others: usize,
    },
    /// Supervisor to monitors: `NodeSettings` changed; look at them again.
    SettingsChanged,
}

/// What the supervisor has to do about a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed {
    /// Make this peer; nobody knew it.
    CreatePeer {
        /// Its id.
        peer: RunId,
        /// Where it is.
        addr: Addr,
    },
    /// Hand this to the peer.
    ToPeer {
        /// Which.
        peer: RunId,
        /// What.
        input: PeerInput,
    },
    /// Close the peer's connection and forget it: no master has it any more.
    DropPeer {
        /// Which.
        peer: RunId,
    },
    /// Hand this to a monitor, as `Input::Notice`.
    ToMonitor {
        /// Which.
        master: MasterName,
        /// What.
        notice: NodeNotice,
    },
}

/// Which masters know which peers.
#[derive(Debug, Default)]
pub struct PeerRegistry {
    peers: BTreeMap<RunId, BTreeSet<MasterName>>,
}

impl PeerRegistry {
    /// Routes a notice that the monitor of `from` has sent.
    pub fn route(&mut self, from: &MasterName, notice: NodeNotice) -> Vec<Routed> {
        match notice {
            NodeNotice::WatchPeer { peer, addr, down_after } => {
                let mut routed = Vec::new();
                let watchers = self.peers.entry(peer.clone()).or_default();
                if watchers.is_empty() {
                    routed.push(Routed::CreatePeer { peer: peer.clone(), addr });
                }
                watchers.insert(from.clone());
                routed.push(Routed::ToPeer { peer, input: PeerInput::Watch { master: from.clone(), down_after } });
                routed
            }
            NodeNotice::UnwatchPeer { peer } => self.unwatch(from, peer),
            NodeNotice::PeerMoved { peer, addr } => {
                let mut routed = vec![Routed::ToPeer { peer: peer.clone(), input: PeerInput::Moved(addr.clone()) }];
                let others = self.others(from, &peer);
                routed.extend(others.iter().map(|master| Routed::ToMonitor {
                    master: master.clone(),
                    notice: NodeNotice::PeerMoved { peer: peer.clone(), addr: addr.clone() },
                }));
                if !others.is_empty() {
                    let followed = NodeNotice::PeerMoveFollowed { peer, others: others.len() };
                    routed.push(Routed::ToMonitor { master: from.clone(), notice: followed });
                }
                routed
            }
            NodeNotice::PeerReplaced { peer, addr } => {
                let others = self.others(from, &peer);
                let mut routed: Vec<Routed> = others
                    .into_iter()
                    .map(|master| Routed::ToMonitor {
                        master,
                        notice: NodeNotice::PeerReplaced { peer: peer.clone(), addr: addr.clone() },
                    })
                    .collect();
                routed.extend(self.unwatch(from, peer));
                routed
            }
            NodeNotice::PeerMoveFollowed { .. } | NodeNotice::SettingsChanged => Vec::new(),
        }
    }

    /// Forgets a master that was removed.
    pub fn forget_master(&mut self, master: &MasterName) -> Vec<Routed> {
        let known: Vec<RunId> = self.peers.keys().cloned().collect();
        known.into_iter().flat_map(|peer| self.unwatch(master, peer)).collect()
    }

    fn unwatch(&mut self, master: &MasterName, peer: RunId) -> Vec<Routed> {
        let Some(watchers) = self.peers.get_mut(&peer) else { return Vec::new() };
        if !watchers.remove(master) {
            return Vec::new();
        }
        if watchers.is_empty() {
            self.peers.remove(&peer);
            return vec![Routed::DropPeer { peer }];
        }
        vec![Routed::ToPeer { peer, input: PeerInput::Unwatch { master: master.clone() } }]
    }

    fn others(&self, from: &MasterName, peer: &RunId) -> Vec<MasterName> {
        let watchers = self.peers.get(peer).into_iter().flatten();
        watchers.filter(|master| *master != from).cloned().collect()
    }
}
