//! Coordinated failovers: an operator's that lose nothing (beyond.md B4).
//!
//! Once the order stands ([`super::order`]), there is an election like any other, though the master is up, and a replica is
//! selected. Then:
//!
//! | stage of `WaitOffset` | waits for | goes on with | next |
//! |---|---|---|---|
//! | `Pausing` | `CLIENT PAUSE ... WRITE` or `FAILOVER TO ...`, answered | | `Stopped` |
//! | `Stopped` | INFO of the master: its offset, final now | INFO to the replica, again and again | `CatchingUp` |
//! | `CatchingUp` | the replica at that offset, in that history | INFO, the demotion and the end of the pause, in one transaction | `Demoting` |
//! | `Demoting` | the demotion, confirmed, and no write before it | `+failover-state-send-slaveof-noone` | state `SendReplicaofNoOne` |
//! | all | a refusal, or the connection breaks | `-failover-abort-not-handed-over` | `Idle` |
//! | all but `Demoting` | our vote for another leader, who begins anew | the same | `Idle` |
//! | the first three | the order's `TIMEOUT` | `-failover-abort-slave-timeout` | `Idle` |
//!
//! From then on it is a failover like any other. The demotion comes first: at no time are there two masters, and when we
//! die in between there is none, which is healed like every group without a master (beyond.md B6). The pause outlasts
//! everything that we wait for, so that no write slips in between the offset and the demotion. Nor do we rely on it: another
//! leader, whose attempt ended, may have ended the pause. INFO in the transaction tells where the master was when it was
//! demoted. Beyond what the replica has, the handover is undone; and a replica, it is another leader's that was first.
//!
//! On the path `failover` it is the server's own `FAILOVER` that holds writes. It would go on by itself, and does if we die;
//! but it waits for the replica's next acknowledgement, up to a second, so that we are mostly faster: the demotion begins
//! with `FAILOVER ABORT` then. If the server was faster the replica says that it is a master, and all that follows finds it
//! done.
//!
//! An attempt that is given up owes the old master that it takes writes again ([`Undo`]): the end of the pause; that it is
//! made a master again, if it may have been demoted and the replica was told nothing; `FAILOVER ABORT`. That is sent on
//! every new connection until it is answered. Once the replica was told, or may have been by its server, nobody knows
//! whether it is a master, so there must not be another; and after [`WINDOW`] others may be at work.
//!
//! While writes are held nothing is published at the master: PUBLISH would wait, and everything behind it.

use std::sync::Arc;

use super::Monitor;
use super::failover::FailoverState;
use super::info::InfoReport;
use super::instance::{ReplicaKey, Role, ServerId};
use super::reconf::transaction;
use crate::sentinel::Env;
use crate::sentinel::addr::Addr;
use crate::sentinel::command::Command;
use crate::sentinel::event::{EventKind, Level};
use crate::sentinel::id::{Epoch, LinkId};
use crate::sentinel::io::{HandoverStep, Outbox, Output, Reply, Tag};
use crate::sentinel::link::is_due;
use crate::sentinel::policy::CoordinatedPath;
use crate::sentinel::time::Millis;

/// How long after the demotion was sent it may take to be confirmed, and the replica to be told, ms.
const PATIENCE: u64 = 1_000;
/// How long after the demotion was sent the old master may be made master again, ms. Less than [`super::down`] waits before
/// a group without a master counts as failed: then others may be at work.
const WINDOW: u64 = 3_000;
/// By how much the pause outlasts the last moment at which the demotion may be confirmed, ms: clocks differ.
const PAUSE_MARGIN: u64 = 1_000;
/// Stands for the offset of a master that has handed over already: its server has seen to it.
const FINAL: u64 = u64::MAX;
/// A PING in the replication stream, bytes, which pauses do not stop: the one thing to come after the last write. No write
/// is as short.
const STREAM_PING: u64 = 14;
/// INFO to the replica until it has caught up, ms: the spacing grows with the time it takes, within these bounds.
const CATCH_UP_INFO_SPACING: std::ops::RangeInclusive<u64> = 2..=50;

/// How a coordinated failover goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordination {
    /// By which commands; the master takes them.
    pub path: CoordinatedPath,
    /// `TIMEOUT`, ms.
    pub timeout: u64,
    /// When the demotion was sent that the old master has confirmed.
    pub demoted_at: Option<Millis>,
}

impl Coordination {
    /// How long writes are held, ms: we may wait, then demote, and no write comes before both are over.
    fn hold(self) -> u64 {
        self.timeout + PATIENCE + PAUSE_MARGIN
    }
}

/// Where the handover on the path `pause` stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `CLIENT PAUSE` was sent.
    Pausing,
    /// The master takes no writes.
    Stopped,
    /// The replica is to reach this point of the master's history.
    CatchingUp {
        /// Since when that is known.
        since: Millis,
        /// `master_replid`
        replid: Arc<str>,
        /// `master_repl_offset`
        offset: u64,
    },
    /// The replica has everything up to here.
    CaughtUp {
        /// `master_repl_offset`
        offset: u64,
    },
    /// The old master was told to follow it.
    Demoting {
        /// When.
        at: Millis,
        /// What the replica has.
        offset: u64,
    },
    /// The old master was demoted too late: it took writes that the replica does not have.
    Spoilt {
        /// When it was told.
        at: Millis,
    },
}

/// What an attempt that was given up owes the old master. It is sent until it is answered, on new connections too.
#[derive(Clone, Debug)]
pub struct Undo {
    what: Amends,
    /// The process that it is owed to.
    run_id: Option<Arc<str>>,
    until: Millis,
    sent_on: Option<LinkId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amends {
    /// Writes are stopped.
    Unpause,
    /// It may have been demoted, and nobody was promoted.
    Reinstate,
    /// It may be handing over.
    AbortFailover,
}

impl Monitor {
    /// When what is owed lapses.
    pub(super) fn amends_until(&self) -> Option<Millis> {
        self.undo.as_ref().map(|undo| undo.until)
    }

    /// A reply to a command of a handover.
    pub(super) fn on_handover_reply(
        &mut self,
        step: HandoverStep,
        link: LinkId,
        value: &Reply,
        env: &Env<'_>,
        out: &mut Outbox,
    ) {
        let refusal = refusal_of(value);
        match step {
            HandoverStep::Probe => self.probe_answered(link, value),
            HandoverStep::ProbeEnd => self.probed(link, env, out),
            HandoverStep::Hold => {
                let FailoverState::WaitOffset { stage: stage @ Stage::Pausing, told_on, .. } = &mut self.failover.state
                else {
                    return;
                };
                match refusal {
                    _ if *told_on != link => {}
                    None => *stage = Stage::Stopped,
                    Some(refusal) => self.give_up("hold-refused", Some(&refusal), env, out),
                }
            }
            HandoverStep::Demote => self.demotion_answered(link, value, env, out),
            HandoverStep::Undo => drop(self.undo.take_if(|undo| undo.sent_on == Some(link))),
        }
    }

    /// Stops writes at the master: the selected replica is to get everything that was acknowledged.
    pub(super) fn stop_writes(
        &mut self,
        epoch: Epoch,
        promoted: ReplicaKey,
        coordination: Coordination,
        env: &Env<'_>,
        out: &mut Outbox,
    ) {
        let since = env.now.mono;
        let replica = self.describe(&ServerId::Replica(promoted.clone()), env);
        let link = self.master.link.command_id().filter(|_| self.master_can_be_asked());
        let target = self.replicas.get(&promoted).map(|replica| replica.server.addr.clone());
        let (Some(told_on), Some(target)) = (link, target) else {
            self.give_up("master-lost", None, env, out);
            return;
        };
        let hold = match coordination.path {
            CoordinatedPath::Pause => Command::ClientPause(coordination.hold()),
            CoordinatedPath::Failover => {
                Command::Failover { host: target.host.to_string(), port: target.port, timeout: coordination.hold() }
            }
        };
        // An older debt of ours would end this pause.
        self.undo = None;
        self.failover.state = FailoverState::WaitOffset { epoch, since, promoted, told_on, stage: Stage::Pausing };
        self.emit(EventKind::StateWaitOffset, replica, out);
        self.send(&ServerId::Master, Tag::Handover(HandoverStep::Hold), hold, out);
        self.send_info(&ServerId::Master, since, out);
    }

    /// INFO of the master or of the replica, while the one waits for the other.
    pub(super) fn note_handover(&mut self, who: &ServerId, report: &InfoReport, env: &Env<'_>, out: &mut Outbox) {
        let hands_over = self.server_hands_over();
        let FailoverState::WaitOffset { promoted, stage, .. } = &mut self.failover.state else { return };
        match (stage, who) {
            // The answer to the pause came before: this is the master's state after it.
            (stage @ Stage::Stopped, ServerId::Master) => {
                if hands_over && report.role == Some(Role::Replica) {
                    // It was faster than its INFO. The replica will say that it is master.
                    *stage = Stage::CatchingUp { since: env.now.mono, replid: Arc::from(""), offset: FINAL };
                    let who = ServerId::Replica(promoted.clone());
                    self.send_info(&who, env.now.mono, out);
                    return;
                }
                let point = report.replids.first().zip(report.master_offset);
                let Some((replid, offset)) = point.filter(|_| report.role == Some(Role::Master)) else {
                    self.give_up("no-offset", None, env, out);
                    return;
                };
                *stage = Stage::CatchingUp { since: env.now.mono, replid: replid.clone(), offset };
                let who = ServerId::Replica(promoted.clone());
                self.send_info(&who, env.now.mono, out);
            }
            (stage @ Stage::CatchingUp { .. }, ServerId::Replica(key))
                if key == promoted
                    && (has_reached(stage, report) || (hands_over && was_handed_over(stage, report))) =>
            {
                let Stage::CatchingUp { offset, .. } = *stage else { return };
                *stage = Stage::CaughtUp { offset };
            }
            _ => {}
        }
    }

    /// When the replica that is catching up is asked for INFO next.
    pub(super) fn catch_up_info_at(&self, key: &ReplicaKey, last: Option<Millis>) -> Option<Millis> {
        match &self.failover.state {
            FailoverState::WaitOffset { promoted, stage: Stage::CatchingUp { since, .. }, .. } if promoted == key => {
                let last = last?;
                let spacing = last.since(*since).clamp(*CATCH_UP_INFO_SPACING.start(), *CATCH_UP_INFO_SPACING.end());
                Some(last + spacing)
            }
            _ => None,
        }
    }

    /// What is due in `WaitOffset`. True when something was.
    pub(super) fn wait_offset(&mut self, env: &Env<'_>, out: &mut Outbox) -> bool {
        let FailoverState::WaitOffset { epoch, promoted, told_on, stage, .. } = &self.failover.state else {
            return false;
        };
        let (epoch, promoted, told_on, stage) = (*epoch, promoted.clone(), *told_on, stage.clone());
        let lost = self.master.sdown.is_some() || (self.master.role == Role::Replica && !self.server_hands_over());
        if self.master.link.command_id() != Some(told_on) || lost {
            self.give_up("master-lost", None, env, out);
            return true;
        }
        if !matches!(stage, Stage::Demoting { .. }) && self.is_superseded(epoch) {
            self.give_up("superseded", None, env, out);
            return true;
        }
        if is_due(self.wait_offset_ends_at(), env.now.mono) {
            match stage {
                Stage::Demoting { .. } => self.give_up("demotion-unanswered", None, env, out),
                _ => drop(self.abort(EventKind::AbortReplicaTimeout, env, out)),
            }
            return true;
        }
        if let Stage::CaughtUp { offset } = stage {
            self.demote_master(&promoted, offset, env, out);
        }
        false
    }

    /// Whether another leader was elected since: our vote was for somebody in a later epoch.
    pub(super) fn is_superseded(&self, epoch: Epoch) -> bool {
        self.ledger.leader_epoch() > epoch
    }

    /// When the wait in `WaitOffset` is over without success.
    pub(super) fn wait_offset_ends_at(&self) -> Option<Millis> {
        match (&self.failover.state, self.failover.plan.coordination) {
            (FailoverState::WaitOffset { stage: Stage::Demoting { at, .. }, .. }, _) => Some(*at + PATIENCE),
            (FailoverState::WaitOffset { since, .. }, Some(coordination)) => Some(*since + coordination.timeout + 1),
            _ => None,
        }
    }

    /// The old master follows the replica, which has everything. The pause ends in the same transaction: from here on
    /// the old master refuses writes by itself, and what it is fed by the new one must not wait.
    fn demote_master(&mut self, promoted: &ReplicaKey, offset: u64, env: &Env<'_>, out: &mut Outbox) {
        let Some(target) = self.replicas.get(promoted).map(|replica| replica.server.addr.clone()) else { return };
        let mut commands = transaction(Some(&target), env);
        commands.pop();
        commands.insert(1, self.info_command(&ServerId::Master));
        if self.server_hands_over() {
            // It obeys nobody else meanwhile.
            commands.insert(1, Command::FailoverAbort);
        } else {
            commands.push(Command::ClientUnpause);
        }
        self.send_all(&ServerId::Master, commands, out);
        self.send(&ServerId::Master, Tag::Handover(HandoverStep::Demote), Command::Exec, out);
        if let FailoverState::WaitOffset { stage, .. } = &mut self.failover.state {
            *stage = Stage::Demoting { at: env.now.mono, offset };
        }
    }

    /// The old master has carried its demotion out, or has not. That it had nothing to abort is no refusal.
    fn demotion_answered(&mut self, link: LinkId, value: &Reply, env: &Env<'_>, out: &mut Outbox) {
        let first = usize::from(self.server_hands_over());
        let FailoverState::WaitOffset { epoch, promoted, told_on, stage, .. } = &self.failover.state else { return };
        let Stage::Demoting { at, offset } = *stage else { return };
        if *told_on != link {
            return;
        }
        let (epoch, promoted) = (*epoch, promoted.clone());
        let (before, refusal) = match value {
            Reply::Array(replies) => (replies.get(first), replies.get(first + 1).and_then(refusal_of)),
            other => (None, Some(refusal_of(other).unwrap_or_else(|| "nothing was carried out".to_owned()))),
        };
        let before = match before {
            Some(Reply::Bulk(text)) => InfoReport::parse(text),
            _ => InfoReport::default(),
        };
        let failure = match (refusal, before.role) {
            (Some(refusal), _) => Some((Stage::CaughtUp { offset }, "demotion-refused", Some(refusal))),
            (None, _) if is_due(Some(at + PATIENCE), env.now.mono) => {
                Some((Stage::Demoting { at, offset }, "demotion-unanswered", None))
            }
            (None, Some(Role::Replica)) if self.handed_over_to(&before, &promoted) => None,
            (None, Some(Role::Replica)) => Some((Stage::CaughtUp { offset }, "master-lost", None)),
            (None, _) if before.master_offset.is_some_and(|last| last <= offset.saturating_add(STREAM_PING)) => None,
            (None, _) => Some((Stage::Spoilt { at }, "writes-went-on", None)),
        };
        if let Some((found, reason, said)) = failure {
            if let FailoverState::WaitOffset { stage, .. } = &mut self.failover.state {
                *stage = found;
            }
            self.give_up(reason, said.as_deref(), env, out);
            return;
        }
        if let Some(coordination) = &mut self.failover.plan.coordination {
            coordination.demoted_at = Some(at);
        }
        let replica = self.describe(&ServerId::Replica(promoted.clone()), env);
        self.failover.state = FailoverState::SendReplicaofNoOne { epoch, since: env.now.mono, promoted };
        self.emit(EventKind::StateSendReplicaofNoOne, replica, out);
    }

    /// Whether a master that is a replica already has handed over by itself, to the one that it was to hand over to.
    fn handed_over_to(&self, report: &InfoReport, promoted: &ReplicaKey) -> bool {
        let target = self.replicas.get(promoted).map(|replica| &replica.server.addr);
        let is_target =
            |addr: &Addr| report.master_port == Some(addr.port) && report.master_host.as_deref() == Some(&addr.host);
        self.server_hands_over() && target.is_some_and(is_target)
    }

    /// When `SendReplicaofNoOne` or `WaitPromotion` has lasted too long.
    pub(super) fn promotion_times_out_at(&self, since: Millis) -> Millis {
        let told = matches!(self.failover.state, FailoverState::WaitPromotion { .. });
        match self.failover.plan.coordination {
            None => self.step_times_out_at(since),
            Some(Coordination { demoted_at: Some(at), .. }) if !told => at + PATIENCE,
            Some(coordination) => since + coordination.timeout + 1,
        }
    }

    /// Whether the server hands over by itself.
    pub(super) fn server_hands_over(&self) -> bool {
        self.failover.plan.coordination.is_some_and(|coordination| coordination.path == CoordinatedPath::Failover)
    }

    /// Whether the old master has been demoted already.
    pub(super) fn is_handed_over(&self) -> bool {
        self.failover.plan.coordination.is_some_and(|coordination| coordination.demoted_at.is_some())
    }

    /// Whether the master's writes wait, and PUBLISH with them, and whatever is sent behind that: also what would make it
    /// write again.
    pub(super) fn writes_are_held(&self) -> bool {
        let is_owed = |undo: &Undo| undo.sent_on != self.master.link.command_id();
        matches!(self.failover.state, FailoverState::WaitOffset { .. }) || self.undo.as_ref().is_some_and(is_owed)
    }

    /// Whether votes are asked for although the master is up.
    pub(super) fn polls_for_operator(&self) -> bool {
        matches!(self.failover.state, FailoverState::WaitStart { .. }) && self.failover.plan.coordination.is_some()
    }

    /// Ends an attempt for a reason of its own: `#<reason>` behind the master, and what the server said in the log.
    fn give_up(&mut self, reason: &str, said: Option<&str>, env: &Env<'_>, out: &mut Outbox) {
        if let Some(said) = said {
            let text = format!("The master of '{}' does not hand over: {said}", self.spec.name);
            out.push(Output::Log(Level::Warning, text));
        }
        let payload = format!("{} #{reason}", self.describe(&ServerId::Master, env));
        self.abort_telling(EventKind::AbortNotHandedOver, payload, env, out);
    }

    /// What an attempt that is given up now owes the old master: it takes writes again, as soon as it can be told.
    pub(super) fn amends(&self) -> Option<Undo> {
        let coordination = self.failover.plan.coordination?;
        let by_itself = coordination.path == CoordinatedPath::Failover;
        let held_until = |since: Millis| since + coordination.hold();
        let (what, until) = match &self.failover.state {
            FailoverState::WaitOffset { stage: Stage::Spoilt { at }, .. } => (Amends::Reinstate, *at + WINDOW),
            // If it was faster, the replica is a master, and there must not be another.
            FailoverState::WaitOffset { since, .. } if by_itself => (Amends::AbortFailover, held_until(*since)),
            FailoverState::WaitOffset { stage: Stage::Demoting { at, .. }, .. } => (Amends::Reinstate, *at + WINDOW),
            FailoverState::WaitOffset { since, .. } => (Amends::Unpause, held_until(*since)),
            FailoverState::SendReplicaofNoOne { .. } if !by_itself => {
                (Amends::Reinstate, coordination.demoted_at? + WINDOW)
            }
            // The replica was told. Whether it has become a master cannot be known, so there must not be another.
            _ => return None,
        };
        Some(Undo { what, run_id: self.master.papers.run_id.clone(), until, sent_on: None })
    }

    /// Whether something is owed to the old master, who is to say who it is.
    pub(super) fn owes_amends(&self) -> bool {
        self.undo.is_some()
    }

    /// Pays what is owed, once on each connection.
    pub(super) fn make_amends(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let Some(undo) = &self.undo else { return };
        let link = self.master.link.command_id();
        if env.now.mono > undo.until {
            self.undo = None;
            return;
        }
        if link.is_none() || undo.sent_on == link {
            return;
        }
        // Whatever else answers at its address now is not to be made a master.
        let papers = &self.master.papers;
        if undo.what == Amends::Reinstate && (papers.link != link || papers.run_id != undo.run_id) {
            return;
        }
        let mut commands = match undo.what {
            Amends::Unpause => vec![Command::ClientUnpause],
            Amends::AbortFailover => vec![Command::FailoverAbort],
            Amends::Reinstate => {
                let mut commands = transaction(None, env);
                commands.insert(commands.len() - 1, Command::ClientUnpause);
                commands
            }
        };
        let last = commands.pop().expect("there is something to send in each case");
        self.send_all(&ServerId::Master, commands, out);
        self.send(&ServerId::Master, Tag::Handover(HandoverStep::Undo), last, out);
        self.send_info(&ServerId::Master, env.now.mono, out);
        if let Some(undo) = &mut self.undo {
            undo.sent_on = link;
        }
    }
}

/// Whether a report shows the replica at the point that it is to reach.
fn has_reached(stage: &Stage, report: &InfoReport) -> bool {
    let Stage::CatchingUp { replid, offset, .. } = stage else { return false };
    let same_history = report.role == Some(Role::Replica) && report.replids.first() == Some(replid);
    same_history && report.offset.is_some_and(|reached| reached >= *offset)
}

/// Whether a report shows that the server was faster: the replica is a master, with everything. One that is a master with
/// less was promoted by somebody else, who did not wait.
fn was_handed_over(stage: &Stage, report: &InfoReport) -> bool {
    let Stage::CatchingUp { replid, offset, .. } = stage else { return false };
    let left_after = report.second_offset.filter(|_| report.replids.get(1) == Some(replid));
    let has_everything = *offset == FINAL || left_after.is_some_and(|left| left > *offset);
    report.role == Some(Role::Master) && has_everything
}

/// The text of an error.
fn refusal_of(value: &Reply) -> Option<String> {
    match value {
        Reply::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    }
}
