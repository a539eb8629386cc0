//! Planted bugs. The suite must catch every one of them within a stated number of seeds; a simulation that nobody has
//! seen fail proves nothing. They sit at the edge of the core, which stays as it is.

use std::sync::Arc;

use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::ages::SharedAges;
use sentineld::sentinel::command::Command;
use sentineld::sentinel::event::EventKind;
use sentineld::sentinel::id::{Epoch, LinkId, RunId};
use sentineld::sentinel::io::{HandoverStep, Input, Output, Reply, Tag};
use sentineld::sentinel::monitor::hello::Hello;
use sentineld::sentinel::monitor::record::MasterRecord;
use sentineld::sentinel::node::Routed;
use sentineld::sentinel::peer::LinkHealth;
use sentineld::sentinel::peer::PeerInput;
use sentineld::sentinel::policy::{CoordinatedPath, FastDemote, IdentityGuard, RebornMaster, StaleReplicaPromotion};
use sentineld::sentinel::time::Millis;

use crate::checker::Weakness;
use crate::faults::Fault;
use crate::redis_model::Denied;
use crate::swarm::Swarm;

/// The planted bugs, each with the rule that has to see it, alone.
pub const HUNTS: &[(Canary, &str)] = &[
    (Canary::GrantBeforeDurable, "I5"),
    (Canary::GrantBeforeDurable, "I2"),
    (Canary::TallyIgnoresEpoch, "I7"),
    (Canary::OwnPeer, "I7"),
    (Canary::HelloIgnoresEpoch, "I9"),
    (Canary::HelloIgnoresEpoch, "I10"),
    (Canary::VotersForgotten, "I12"),
    (Canary::VotesForgotten, "I2"),
    (Canary::VotesForgotten, "I3"),
    (Canary::EpochForgotten, "I4"),
    (Canary::VotesForAll, "I2"),
    (Canary::SaveFailureIgnored, "I18"),
    (Canary::TiltIgnored, "I14"),
    (Canary::PriorityIgnored, "I15"),
    (Canary::PromotionBelieved, "I8"),
    (Canary::ParallelIgnored, "I16"),
    (Canary::OldAddressAnnounced, "I9"),
    (Canary::ReadersLate, "reads"),
    (Canary::NewMasterListed, "I21"),
    (Canary::EverybodyAgrees, "6.3"),
    (Canary::EventsSwapped, "grammar"),
    (Canary::OdownUntold, "I6"),
    (Canary::RepliesUncounted, "I22"),
    (Canary::OffsetsIgnored, "B4"),
    (Canary::PauseForgotten, "B4"),
    (Canary::RemoveForgetsVotes, "I3"),
    (Canary::LinkLeavesWithOne, "I20"),
    (Canary::VotesLost, "liveness"),
    (Canary::CorrectionsLost, "liveness"),
    (Canary::LateObserver, "liveness"),
    (Canary::Unguarded, "B2"),
    (Canary::StrangersBelieved, "B2"),
    (Canary::RebirthOverlooked, "B3"),
    (Canary::ReturnAwaited, "B8"),
    (Canary::StockTally, "I7"),
    (Canary::StockUnsaved, "I5"),
    (Canary::StockUnsaved, "I2"),
    (Canary::StockHalfAdopts, "I9"),
    (Canary::StockBelieves, "I19"),
    (Canary::StockMeetsItself, "I13"),
    (Canary::StockLeaderHangs, "I17"),
    (Canary::StockWalkBlocks, "8.7"),
];

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// All is well.
    None,
    /// The core is told that a record is on disk as soon as it wants it saved.
    GrantBeforeDurable,
    /// A peer's vote for me counts in whatever epoch I am a candidate now.
    TallyIgnoresEpoch,
    /// My own hellos come back under other ids, so that I become my own peers.
    OwnPeer,
    /// Hellos are always taken for newer than what I know.
    HelloIgnoresEpoch,
    /// Hellos of others are not heard, so nobody knows how many voters there are.
    VotersForgotten,
    /// A start does not read `leader-epoch`.
    VotesForgotten,
    /// A start does not read `current-epoch`.
    EpochForgotten,
    /// Every candidate is told that it has the vote.
    VotesForAll,
    /// The core is told that a commit that failed is on disk.
    SaveFailureIgnored,
    /// No monitor knows that there is TILT.
    TiltIgnored,
    /// Priority 0 is taken for 100.
    PriorityIgnored,
    /// Every replica is taken for a master once it was told to be one.
    PromotionBelieved,
    /// `parallel-syncs` is read wrong.
    ParallelIgnored,
    /// Hellos name the next server instead of the promoted one.
    OldAddressAnnounced,
    /// A switch is told before readers see it.
    ReadersLate,
    /// After a switch the new master is among the replicas.
    NewMasterListed,
    /// Every answer of a peer counts as one that says down.
    EverybodyAgrees,
    /// Events of one step come in the wrong order.
    EventsSwapped,
    /// `+odown` is lost.
    OdownUntold,
    /// Commands pile up.
    RepliesUncounted,
    /// A replica is taken for one that has everything, whatever its master has, also when it was demoted.
    OffsetsIgnored,
    /// Writes are not stopped before offsets are compared, and it is not noticed at the demotion.
    PauseForgotten,
    /// A master that is removed and monitored again may be voted for twice in one epoch.
    RemoveForgetsVotes,
    /// The link to a peer is closed when one of its masters needs it no longer.
    LinkLeavesWithOne,
    /// Peers' votes are lost.
    VotesLost,
    /// SLAVEOF a master is never sent.
    CorrectionsLost,
    /// Stock's rule for stale replicas: who saw the death late promotes nobody (beyond.md B1).
    LateObserver,
    /// Whatever is at a remembered address is told (beyond.md B2).
    Unguarded,
    /// Keys are taken for none, and hellos are not heard, so that nothing speaks against a stranger.
    StrangersBelieved,
    /// A master that comes back with nothing is any other (beyond.md B3).
    RebirthOverlooked,
    /// A master that comes back is left alone for 8 s (beyond.md B8).
    ReturnAwaited,
    /// R3: stock counts votes of whatever epoch is current.
    StockTally,
    /// R9: stock votes although the save failed.
    StockUnsaved,
    /// R7: stock takes a newer epoch without the address that it belongs to.
    StockHalfAdopts,
    /// R6: stock believes any epoch.
    StockBelieves,
    /// R8: stock becomes its own peer.
    StockMeetsItself,
    /// R1: one stuck replica keeps stock from the others, and from seeing that it is stuck.
    StockWalkBlocks,
    /// R2: stock waits for a dead promoted replica for ever.
    StockLeaderHangs,
}

impl Canary {
    /// Makes the world one in which this bug has its chance.
    pub fn prepare(self, swarm: &mut Swarm) {
        let mut often = |faults: &[(Fault, u64)]| {
            swarm.stock = swarm.sentinels;
            swarm.spare_stock();
            swarm.rates.extend(faults.iter().map(|(fault, seconds)| (*fault, seconds * 1_000_000)));
        };
        match self {
            Canary::StockTally => {
                often(&[(Fault::ServerKill, 1)]);
                swarm.groups = vec![1; 4];
            }
            Canary::StockUnsaved => often(&[(Fault::Disk, 2), (Fault::NodeCrash, 4), (Fault::ServerKill, 5)]),
            Canary::StockLeaderHangs => {
                // The leader hangs over a replica that it has told to follow, of which there have to be some.
                often(&[(Fault::ServerKill, 3)]);
                swarm.groups = vec![3];
                swarm.failover_timeout_ms = 4_000;
            }
            Canary::StockWalkBlocks => {
                often(&[(Fault::ServerKill, 5), (Fault::Partition, 3)]);
                swarm.groups = vec![4];
                swarm.parallel_syncs = 1;
                swarm.failover_timeout_ms = 40_000;
            }
            Canary::StockHalfAdopts | Canary::StockBelieves | Canary::StockMeetsItself => {
                often(&[(Fault::Hostile, 4)]);
            }
            Canary::GrantBeforeDurable | Canary::VotesForgotten | Canary::EpochForgotten => swarm.crash_often(),
            Canary::Unguarded | Canary::StrangersBelieved => {
                swarm.rates.insert(Fault::Reuse, 8_000_000);
                swarm.stock = 0;
                if self == Canary::Unguarded {
                    swarm.policies.defaults.identity_guard = IdentityGuard::Stock;
                }
            }
            Canary::LateObserver => swarm.policies.defaults.stale_replica_promotion = StaleReplicaPromotion::Never,
            Canary::RebirthOverlooked | Canary::ReturnAwaited => {
                (swarm.stock, swarm.latency_us, swarm.jitter_us, swarm.down_after_ms) = (0, 500, 300, 3_000);
                match self {
                    Canary::RebirthOverlooked => swarm.policies.defaults.reborn_master = RebornMaster::Stock,
                    _ => swarm.policies.defaults.fast_demote = FastDemote::Stock,
                }
            }
            Canary::PriorityIgnored => {
                swarm.groups = vec![3];
                swarm.never_promoted = 0.7;
            }
            Canary::ParallelIgnored => swarm.groups = vec![5],
            Canary::SaveFailureIgnored => {
                swarm.rates.insert(Fault::Disk, 2_000_000);
            }
            Canary::TiltIgnored => {
                swarm.rates.insert(Fault::NodePause, 3_000_000);
            }
            Canary::OffsetsIgnored | Canary::PauseForgotten => {
                swarm.rates.insert(Fault::Plan, 4_000_000);
                swarm.denied = Denied::default();
                swarm.policies.defaults.coordinated_path = CoordinatedPath::Pause;
            }
            Canary::RemoveForgetsVotes | Canary::LinkLeavesWithOne => {
                swarm.be_operated();
                swarm.rates.insert(Fault::ServerKill, 4_000_000);
                swarm.disk_us = 100_000;
            }
            _ => {}
        }
    }

    /// What becomes of what the registry of peers says.
    pub fn routed(self, routed: Routed) -> Routed {
        match routed {
            Routed::ToPeer { peer, input: PeerInput::Unwatch { .. } } if self == Canary::LinkLeavesWithOne => {
                Routed::DropPeer { peer }
            }
            routed => routed,
        }
    }

    /// Whether a weakness of stock counts as a bug.
    pub fn conceals(self, weakness: Weakness) -> bool {
        match self {
            Canary::StockTally => weakness == Weakness::OtherEpoch,
            Canary::StockUnsaved => weakness == Weakness::Unsaved,
            Canary::StockHalfAdopts => weakness == Weakness::HalfAdopted,
            Canary::StockLeaderHangs => weakness == Weakness::StuckLeader,
            _ => false,
        }
    }

    /// What the core gets for a payload from a hello channel.
    pub fn hello(self, payload: Option<Box<[u8]>>, link: LinkId, myid: &RunId) -> Option<Box<[u8]>> {
        if self != Canary::OwnPeer {
            return payload;
        }
        let bytes = payload?;
        let Some(mut hello) = Hello::parse(&bytes).filter(|hello| hello.id == *myid) else { return Some(bytes) };
        // Two more of me, at ports of their own so that neither replaces the other.
        let alias = 1 + link.0 % 2;
        hello.addr.port += alias as u16;
        hello.id = RunId::from(format!("{}x{alias}", &myid.as_str()[..38]).as_str());
        Some(hello.to_string().into_bytes().into())
    }

    /// What a monitor gets of a record.
    pub fn loaded(self, mut record: MasterRecord) -> MasterRecord {
        match self {
            Canary::VotesForgotten => record.leader_epoch = record.config_epoch,
            Canary::ParallelIgnored => record.spec.parallel_syncs += 5,
            _ => {}
        }
        record
    }

    /// What a process gets of `current-epoch`.
    pub fn loaded_epoch(self, epoch: Epoch) -> Epoch {
        if self == Canary::EpochForgotten { Epoch(0) } else { epoch }
    }

    /// What the core gets instead of an input, if anything.
    pub fn input(self, input: Input, asked_in: Epoch) -> Option<Input> {
        Some(match (self, input) {
            (Canary::TallyIgnoresEpoch, Input::PeerReply { peer, tag, value }) => {
                Input::PeerReply { peer, tag, value: with_epoch(value, asked_in) }
            }
            (Canary::EverybodyAgrees, Input::PeerReply { peer, tag, value: Reply::Array(mut parts) }) => {
                parts[0] = Reply::Integer(1);
                Input::PeerReply { peer, tag, value: Reply::Array(parts) }
            }
            (Canary::VotesLost, Input::PeerReply { value: Reply::Array(parts), .. })
                if parts.get(1) != Some(&Reply::Bulk(b"*".as_slice().into())) =>
            {
                return None;
            }
            (Canary::HelloIgnoresEpoch, Input::PubSub { link, payload: Some(payload) }) => {
                let payload = match Hello::parse(&payload) {
                    Some(hello) => newer(hello).to_string().into_bytes().into(),
                    None => payload,
                };
                Input::PubSub { link, payload: Some(payload) }
            }
            (Canary::VotersForgotten, Input::PubSub { link, .. }) => Input::PubSub { link, payload: None },
            (Canary::PriorityIgnored, Input::Reply { link, tag: Tag::Info, value: Reply::Bulk(text) }) => {
                reworded(link, &text, "slave_priority:0", "slave_priority:100")
            }
            (Canary::OffsetsIgnored, Input::Reply { link, tag: Tag::Info, value: Reply::Bulk(text) }) => {
                Input::Reply { link, tag: Tag::Info, value: Reply::Bulk(at_offset_0(&text)) }
            }
            // Either is noticed at the demotion, unless nobody looks.
            (
                Canary::OffsetsIgnored | Canary::PauseForgotten,
                Input::Reply { link, tag: tag @ Tag::Handover(HandoverStep::Demote), value: Reply::Array(replies) },
            ) => {
                let value = replies.into_iter().map(|reply| match reply {
                    Reply::Bulk(text) => Reply::Bulk(at_offset_0(&text)),
                    reply => reply,
                });
                Input::Reply { link, tag, value: Reply::Array(value.collect()) }
            }
            (Canary::StrangersBelieved, Input::PubSub { link, payload: Some(payload) })
                if payload.starts_with(b"10.0.9.1") =>
            {
                Input::PubSub { link, payload: None }
            }
            (Canary::StrangersBelieved, Input::Reply { link, tag: Tag::Info, value: Reply::Bulk(text) }) => {
                reworded(link, &text, "db0:keys=5000,expires=0,avg_ttl=0", "")
            }
            (Canary::PromotionBelieved, Input::Reply { link, tag: Tag::Info, value: Reply::Bulk(text) }) => {
                reworded(link, &text, "role:slave", "role:master")
            }
            (_, input) => input,
        })
    }

    /// What becomes of the outputs of one step.
    pub fn outputs(self, outputs: &mut Vec<Output>) {
        let is = |output: &Output, kind| matches!(output, Output::Emit(event) if event.kind == kind);
        match self {
            Canary::OldAddressAnnounced => {
                for output in outputs {
                    if let Output::Send { command: Command::PublishHello(payload), .. } = output
                        && let Some(mut hello) =
                            Hello::parse(payload.as_bytes()).filter(|hello| hello.config_epoch.0 > 0)
                    {
                        hello.master_addr = Addr::new("10.0.1.1", hello.master_addr.port);
                        *payload = hello.to_string();
                    }
                }
            }
            Canary::ReadersLate if outputs.iter().any(|output| is(output, EventKind::SwitchMaster)) => {
                outputs.sort_by_key(|output| matches!(output, Output::Publish(_)));
            }
            Canary::NewMasterListed => {
                for output in outputs {
                    if let Output::Publish(view) = output {
                        let master = (view.current_host.clone(), view.current_port);
                        if let Some(last) = view.replicas.last_mut() {
                            (last.instance.host, last.instance.port) = master;
                        }
                    }
                }
            }
            Canary::EventsSwapped => {
                let events: Vec<usize> =
                    (0..outputs.len()).filter(|at| matches!(outputs[*at], Output::Emit(_))).collect();
                if let [first, .., last] = events.as_slice() {
                    outputs.swap(*first, *last);
                }
            }
            Canary::OdownUntold => outputs.retain(|output| !is(output, EventKind::ObjectivelyDown)),
            Canary::RepliesUncounted => {
                for output in outputs {
                    if let Output::Publish(view) = output
                        && view.odown_since.is_some()
                    {
                        let health = LinkHealth { pending_commands: 200, ..LinkHealth::new(Millis::default()) };
                        view.instance.ages = Arc::new(SharedAges::new(&health));
                    }
                }
            }
            Canary::PauseForgotten => {
                for output in outputs {
                    if let Output::Send { command: command @ Command::ClientPause(_), .. } = output {
                        *command = Command::ClientUnpause;
                    }
                }
            }
            Canary::CorrectionsLost => {
                outputs.retain(|output| !matches!(output, Output::Send { command: Command::Replicaof { .. }, .. }));
            }
            _ => {}
        }
    }
}

fn reworded(link: LinkId, text: &[u8], from: &str, to: &str) -> Input {
    let text = String::from_utf8_lossy(text).replace(&format!("{from}\r"), &format!("{to}\r"));
    Input::Reply { link, tag: Tag::Info, value: Reply::Bulk(text.into_bytes().into()) }
}

fn at_offset_0(text: &[u8]) -> Box<[u8]> {
    let text = String::from_utf8_lossy(text).replace("master_repl_offset:", "master_repl_offset:0\r\nwas:");
    text.into_bytes().into()
}

fn with_epoch(value: Reply, asked_in: Epoch) -> Reply {
    match value {
        Reply::Array(mut parts) if parts.len() == 3 && parts[1] != Reply::Bulk(b"*".as_slice().into()) => {
            parts[2] = Reply::Integer(asked_in.0 as i64);
            Reply::Array(parts)
        }
        value => value,
    }
}

fn newer(hello: Hello) -> Hello {
    // As current as can be without moving the receiver's own epoch.
    Hello { config_epoch: hello.current_epoch, ..hello }
}
