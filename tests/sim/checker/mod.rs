//! What must hold at every moment of every run: one invariant per file, numbered as in failover.md 13.1.
//!
//! Checkers look at what anybody outside a Sentinel can see: events, views, the file, and what passes on the wire.

mod b02_strangers;
mod grammar;
mod i01_one_leader;
mod i02_one_vote;
mod i03_no_way_back;
mod i04_config_within_current;
mod i05_durable_first;
mod i06_odown_first;
mod i07_majority;
mod i08_promotion_seen;
mod i09_one_address;
mod i10_newer_only;
mod i12_minority;
mod i13_not_my_own_peer;
mod i14_tilt;
mod i15_eligible;
mod i16_parallel_syncs;
mod i17_failovers_end;
mod i18_no_vote_without_save;
mod i19_whole_or_nothing;
mod i20_shared_links;
mod i21_clean_switch;
mod i22_bounded_links;
mod nothing_lost;
mod odown_counted;
mod reads;
mod reconf_sent_ends;

use std::collections::{BTreeMap, BTreeSet};

use sentineld::sentinel::event::{Event, EventKind};
use sentineld::sentinel::id::{Epoch, RunId};
use sentineld::sentinel::monitor::hello::Hello;
use sentineld::sentinel::monitor::view::MasterView;

use crate::disk::Image;

/// Something that can be seen from outside.
#[derive(Debug)]
pub enum Observation<'a> {
    /// A Sentinel started from this file.
    Started {
        /// Which.
        node: usize,
        /// What it read.
        image: &'a Image,
    },
    /// An operator removed a master from a Sentinel; it may be monitored again, as if for the first time.
    Removed {
        /// Where.
        node: usize,
        /// Which.
        master: usize,
    },
    /// An operator has a Sentinel plan a failover.
    Planned {
        /// Which.
        node: usize,
        /// Of which master.
        master: usize,
    },
    /// An operator has a Sentinel forget what it has learnt of a master: RESET is about to be carried out.
    Reset {
        /// Where.
        node: usize,
        /// Which.
        master: usize,
    },
    /// A Sentinel closes its link to a peer for good.
    PeerDropped {
        /// Who.
        node: usize,
        /// To whom.
        peer: &'a RunId,
    },
    /// A Sentinel published an event.
    Emitted {
        /// Which.
        node: usize,
        /// About which master.
        master: usize,
        /// What.
        event: &'a Event,
        /// Whether an operator's FAILOVER caused it.
        forced: bool,
        /// What readers see at this moment. Stock shows it at the end of its tick: `None`.
        view: Option<&'a MasterView>,
    },
    /// A Sentinel's readers see this now.
    Published {
        /// Which.
        node: usize,
        /// Of which master.
        master: usize,
        /// What.
        view: &'a MasterView,
        /// Its current epoch.
        epoch: Epoch,
    },
    /// A commit is safe.
    Synced {
        /// Whose.
        node: usize,
        /// Content.
        image: &'a Image,
    },
    /// A Sentinel puts the answer to a vote request on the wire.
    VoteAnswered {
        /// The voter.
        node: usize,
        /// For which master.
        master: usize,
        /// Whom it names.
        leader: Option<&'a RunId>,
        /// The epoch it names.
        epoch: Epoch,
        /// Its file at this moment.
        disk: &'a Image,
    },
    /// A monitor is handed a peer's answer to its question.
    VoteHeard {
        /// Who asked.
        node: usize,
        /// Who answered.
        voter: usize,
        /// About which master.
        master: usize,
        /// Whom the answer names.
        leader: &'a str,
        /// The epoch it names.
        epoch: Epoch,
    },
    /// A peer's answer says whether it sees a master down.
    OpinionHeard {
        /// Who asked.
        node: usize,
        /// Who answered.
        voter: usize,
        /// About which master.
        master: usize,
        /// What it said.
        down: bool,
    },
    /// An INFO reply reaches a Sentinel.
    RoleTold {
        /// Which Sentinel.
        node: usize,
        /// For which master.
        master: usize,
        /// From which server.
        server: usize,
        /// `role:master`
        is_master: bool,
    },
    /// A commit failed.
    SaveFailed {
        /// Whose.
        node: usize,
    },
    /// A Sentinel asks a peer about a master.
    Asked {
        /// Who.
        node: usize,
        /// About which master.
        master: usize,
    },
    /// A hello leaves.
    Announced {
        /// From.
        node: usize,
        /// For which master.
        master: usize,
        /// What it says.
        hello: &'a Hello,
        /// The sender's file at this moment.
        disk: &'a Image,
    },
    /// A server becomes a master.
    BecameMaster {
        /// Which.
        server: usize,
        /// Who has acknowledged what it does not have, or goes on acknowledging.
        lacks: Option<&'a str>,
    },
    /// SLAVEOF NO ONE leaves.
    PromotionSent {
        /// From.
        node: usize,
        /// For which master.
        master: usize,
        /// Priority of the server it goes to.
        priority: u32,
    },
    /// A monitor has done everything that follows from an input.
    Stepped {
        /// Which Sentinel.
        node: usize,
        /// For which master.
        master: usize,
        /// What readers see.
        shown: &'a MasterView,
        /// What they would see if it were published now.
        is: &'a MasterView,
    },
    /// A stock Sentinel has just suffered from one of its own known weaknesses.
    Weakness {
        /// Which Sentinel.
        node: usize,
        /// For which master.
        master: usize,
        /// In which epoch.
        epoch: Epoch,
        /// What.
        weakness: Weakness,
    },
    /// A server takes SLAVEOF.
    Told {
        /// Whose.
        node: usize,
        /// Where.
        ip: &'a str,
        /// It is somebody else's.
        is_stranger: bool,
        /// What it is to replicate from is.
        to_stranger: bool,
    },
    /// The way between two Sentinels opens or closes.
    Way {
        /// From this one.
        from: usize,
        /// To this one.
        to: usize,
        /// Whether it is open now.
        open: bool,
    },
}

/// What stock is known to do wrong (failover.md 13.2), and what is excepted where it strikes: this node, this master, this
/// epoch, and of rules about all nodes this master and this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weakness {
    /// R3: elected by votes of another epoch than the attempt's.
    OtherEpoch,
    /// R9: voted, or went on, although the save failed.
    Unsaved,
    /// R7, and a newer configuration that names the address before one's own promotion: the epoch is taken without its
    /// address.
    HalfAdopted,
    /// R2: the promoted replica is down, and the leader waits for it for ever.
    StuckLeader,
}

/// One attempt at a failover, as far as it can be seen.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Which of all attempts.
    pub serial: u64,
    /// Its epoch.
    pub epoch: Epoch,
    /// An operator asked for it.
    pub forced: bool,
    /// An operator asked for it, and nothing may get lost.
    pub coordinated: bool,
    /// `+elected-leader` was seen.
    pub elected: bool,
}

/// Settings that rules are about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// `parallel-syncs`
    pub parallel_syncs: usize,
    /// `failover-timeout`, microseconds.
    pub failover_timeout_us: u64,
    /// The Sentinels from this one on are stock.
    pub first_stock: usize,
}

/// What several checkers need to know, kept up to date before they look.
#[derive(Debug)]
pub struct Facts {
    /// Microseconds since the world began.
    pub now: u64,
    /// What the world was told.
    pub limits: Limits,
    /// Ids of the Sentinels.
    pub ids: Vec<RunId>,
    /// Number of voters and quorum by node and master.
    pub voters: BTreeMap<(usize, usize), (usize, usize)>,
    /// Attempt under way by node and master.
    pub attempts: BTreeMap<(usize, usize), Attempt>,
    /// Epochs in which an operator's failover ran, by master: those skip the vote, as in stock, so another may own the
    /// same epoch.
    pub forced_epochs: BTreeSet<(usize, Epoch)>,
    /// Where a stock Sentinel's own weakness struck: node, master, epoch.
    forgiven: BTreeSet<(usize, usize, Epoch)>,
    epochs: Vec<Epoch>,
    serial: u64,
}

impl Facts {
    fn new(ids: Vec<RunId>) -> Facts {
        let epochs = vec![Epoch(0); ids.len()];
        Facts {
            now: 0,
            limits: Limits::default(),
            ids,
            voters: BTreeMap::new(),
            attempts: BTreeMap::new(),
            forced_epochs: BTreeSet::new(),
            forgiven: BTreeSet::new(),
            epochs,
            serial: 0,
        }
    }

    /// The Sentinel with this id.
    pub fn node_of(&self, id: &str) -> Option<usize> {
        self.ids.iter().position(|known| known.as_str() == id)
    }

    /// Whether this Sentinel is stock.
    pub fn is_stock(&self, node: usize) -> bool {
        node >= self.limits.first_stock
    }

    /// Whether the attempt under way is a coordinated one.
    pub fn coordinates(&self, node: usize, master: usize) -> bool {
        self.attempts.get(&(node, master)).is_some_and(|attempt| attempt.coordinated)
    }

    /// Whether a weakness of stock struck this Sentinel for this master in this epoch.
    pub fn forgives(&self, node: usize, master: usize, epoch: Epoch) -> bool {
        self.forgiven.contains(&(node, master, epoch))
    }

    /// Whether a weakness of stock struck any Sentinel for this master in this epoch.
    pub fn forgives_all(&self, master: usize, epoch: Epoch) -> bool {
        (0..self.ids.len()).any(|node| self.forgives(node, master, epoch))
    }

    fn before(&mut self, seen: &Observation<'_>) {
        match seen {
            Observation::Weakness { node, master, epoch, .. } => {
                self.forgiven.insert((*node, *master, *epoch));
            }
            Observation::Started { node, image } => {
                self.epochs[*node] = image.epoch;
                self.attempts.retain(|(owner, _), _| owner != node);
                self.voters.retain(|(owner, _), _| owner != node);
            }
            Observation::Removed { node, master } => {
                self.attempts.remove(&(*node, *master));
                self.voters.remove(&(*node, *master));
            }
            Observation::Published { node, master, view, .. } => {
                self.voters.insert((*node, *master), (view.sentinels.len() + 1, view.quorum as usize));
            }
            Observation::Emitted { node, master, event, forced, view } => {
                self.event(*node, *master, event, *forced);
                if let (EventKind::TryFailover, true) = (event.kind, is_coordinated(*view)) {
                    self.attempts.entry((*node, *master)).and_modify(|attempt| attempt.coordinated = true);
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, node: usize, master: usize, event: &Event, forced: bool) {
        match event.kind {
            EventKind::NewEpoch => {
                let epoch = Epoch(event.payload.parse().unwrap_or(0));
                self.epochs[node] = epoch;
            }
            EventKind::TryFailover => {
                self.serial += 1;
                let epoch = self.epochs[node];
                if forced {
                    self.forced_epochs.insert((master, epoch));
                }
                let attempt = Attempt { serial: self.serial, epoch, forced, coordinated: false, elected: false };
                self.attempts.insert((node, master), attempt);
            }
            EventKind::ElectedLeader => {
                if let Some(attempt) = self.attempts.get_mut(&(node, master)) {
                    attempt.elected = true;
                }
            }
            _ => {}
        }
    }

    fn after(&mut self, seen: &Observation<'_>) {
        if let Observation::Emitted { node, master, event, .. } = seen
            && matches!(
                event.kind,
                EventKind::AbortNotElected
                    | EventKind::AbortNoGoodReplica
                    | EventKind::AbortReplicaTimeout
                    | EventKind::AbortNotHandedOver
                    | EventKind::SwitchMaster
                    | EventKind::ResetMaster
            )
        {
            self.attempts.remove(&(*node, *master));
        }
    }
}

/// Whether what is emitted belongs to a coordinated failover.
pub fn is_coordinated(view: Option<&MasterView>) -> bool {
    view.is_some_and(|view| has_flag(&view.instance.flags, "coordinated_failover"))
}

/// Whether this flag is among those of an instance.
pub fn has_flag(flags: &str, flag: &str) -> bool {
    // Most instances have a single short one.
    flags.len() >= flag.len() && flags.split(',').any(|set| set == flag)
}

/// Whose present step began with something. What a step leads to is seen at its end: first what is published, then the
/// rest.
#[derive(Debug, Default)]
pub struct ThisStep(BTreeMap<(usize, usize), bool>);

impl ThisStep {
    /// It begins.
    pub fn begin(&mut self, node: usize, master: usize) {
        self.0.insert((node, master), false);
    }

    /// Something is published: by this step, or already by the next.
    pub fn publish(&mut self, node: usize, master: usize) {
        match self.0.get_mut(&(node, master)) {
            Some(is_published @ false) => *is_published = true,
            Some(true) => drop(self.0.remove(&(node, master))),
            None => {}
        }
    }

    /// Whether it is still this step.
    pub fn has(&self, node: usize, master: usize) -> bool {
        self.0.contains_key(&(node, master))
    }
}

/// One invariant.
pub trait Checker: std::fmt::Debug {
    /// Its number and rule.
    fn rule(&self) -> &'static str;
    /// Looks at one observation. The error says what is wrong.
    fn see(&mut self, seen: &Observation<'_>, facts: &Facts) -> Result<(), String>;
}

/// All invariants of one run.
#[derive(Debug)]
pub struct Checkers {
    /// What they share.
    pub facts: Facts,
    list: Vec<Box<dyn Checker>>,
    /// The first violation: rule and story.
    pub violation: Option<(&'static str, String)>,
}

impl Checkers {
    /// All invariants, or only the one with this number.
    pub fn new(ids: Vec<RunId>, only: Option<&str>) -> Checkers {
        let list: Vec<Box<dyn Checker>> = vec![
            Box::<i01_one_leader::OneLeader>::default(),
            Box::<i02_one_vote::OneVote>::default(),
            Box::<i03_no_way_back::NoWayBack>::default(),
            Box::<i04_config_within_current::ConfigWithinCurrent>::default(),
            Box::<i05_durable_first::DurableFirst>::default(),
            Box::<i06_odown_first::OdownFirst>::default(),
            Box::<i07_majority::Majority>::default(),
            Box::<i08_promotion_seen::PromotionSeen>::default(),
            Box::<i09_one_address::OneAddress>::default(),
            Box::<i10_newer_only::NewerOnly>::default(),
            Box::<i12_minority::Minority>::default(),
            Box::<i13_not_my_own_peer::NotMyOwnPeer>::default(),
            Box::<i14_tilt::Tilt>::default(),
            Box::<i15_eligible::Eligible>::default(),
            Box::<i16_parallel_syncs::ParallelSyncs>::default(),
            Box::<reconf_sent_ends::ReconfSentEnds>::default(),
            Box::<i17_failovers_end::FailoversEnd>::default(),
            Box::<i18_no_vote_without_save::NoVoteWithoutSave>::default(),
            Box::<i20_shared_links::SharedLinks>::default(),
            Box::<i21_clean_switch::CleanSwitch>::default(),
            Box::<i22_bounded_links::BoundedLinks>::default(),
            Box::<nothing_lost::NothingLost>::default(),
            Box::<b02_strangers::Strangers>::default(),
            Box::<grammar::Grammar>::default(),
            Box::<odown_counted::OdownCounted>::default(),
            Box::<reads::Reads>::default(),
            Box::<i19_whole_or_nothing::WholeOrNothing>::default(),
        ];
        let list = list
            .into_iter()
            .filter(|checker| only.is_none_or(|rule| checker.rule().split(':').next() == Some(rule)))
            .collect();
        Checkers { facts: Facts::new(ids), list, violation: None }
    }

    /// Shows every checker what was seen.
    pub fn see(&mut self, seen: &Observation<'_>) {
        self.facts.before(seen);
        for checker in &mut self.list {
            if let Err(story) = checker.see(seen, &self.facts)
                && self.violation.is_none()
            {
                self.violation = Some((checker.rule(), story));
            }
        }
        self.facts.after(seen);
    }
}
