//! What an operator orders with `SENTINEL FAILOVER`: whether it can be done, and its beginning.
//!
//! Checked in this order, each with the reply when it fails: what the words are about (`ERR`), that nothing is under way
//! (`INPROG`), that there is a fit replica (`NOGOODSLAVE`) and, of a coordinated one, that the master would stop writes
//! (`NOGOODPRIMARY`). The last one takes a round trip: the master is asked in a transaction that it refuses as a whole, for
//! the path that is configured and, if it refuses that, for the other one. Nothing has changed until all of it is settled.

use super::Monitor;
use super::coordinated::Coordination;
use super::failover::{Authority, FailoverState};
use super::instance::{ReplicaKey, Role, ServerId};
use super::select::{Candidate, select};
use crate::sentinel::Env;
use crate::sentinel::command::Command;
use crate::sentinel::event::Level;
use crate::sentinel::id::{LinkId, ReplyToken};
use crate::sentinel::io::{Answer, FailoverOrder, HandoverStep, Outbox, Output, Reply, Tag};
use crate::sentinel::link::is_due;
use crate::sentinel::policy::{CoordinatedPath, FailoverMode};
use crate::sentinel::time::Millis;

/// How long the master may take to say whether it would stop writes, ms.
const PROBE_PATIENCE: u64 = 1_000;
/// The longest default of `TIMEOUT`, ms.
const DEFAULT_TIMEOUT: u64 = 10_000;
const IN_PROGRESS: &str = "INPROG Failover already in progress";
const NO_GOOD_REPLICA: &str = "NOGOODSLAVE No suitable replica to promote";
const NO_SUCH_REPLICA: &str = "NOGOODSLAVE No such replica";
const UNFIT_REPLICA: &str = "NOGOODSLAVE The named replica is not suitable to be promoted";
/// Valkey's words; here they mean that `CLIENT PAUSE` does not work either.
const NO_GOOD_MASTER: &str = "NOGOODPRIMARY Primary does not support FAILOVER command";
const MASTER_UNREACHABLE: &str = "NOGOODPRIMARY Primary is down or does not answer";
const IN_TILT: &str = "ERR Sentinel is in TILT mode";
const TIMEOUT_UNUSED: &str = "ERR TIMEOUT is for COORDINATED failovers";

/// What an operator asked for, as far as the attempt under way has to know. The default is an attempt like any other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// `TO`
    pub to: Option<ReplicaKey>,
    /// `COORDINATED`
    pub coordination: Option<Coordination>,
}

/// An operator waits to hear whether a coordinated failover begins.
#[derive(Clone, Debug)]
pub struct Asking {
    from: ReplyToken,
    plan: Plan,
    coordination: Coordination,
    asked_on: LinkId,
    until: Millis,
    refusal: Option<String>,
    /// The other path was refused before.
    is_last: bool,
}

impl Monitor {
    /// `SENTINEL FAILOVER`. What cannot be done is refused, and nothing has changed.
    pub(super) fn order_failover(&mut self, from: ReplyToken, order: &FailoverOrder, env: &Env<'_>, out: &mut Outbox) {
        let begun = self.plan_failover(order, env).and_then(|plan| match plan.coordination {
            None => {
                self.carry_out(plan, env, out);
                Ok(Some(Answer::Ok))
            }
            Some(coordination) => self.probe(from, plan, coordination, env, out).map(|()| None),
        });
        if let Some(with) = begun.unwrap_or_else(|refusal| Some(Answer::Error(refusal))) {
            out.push(Output::Answer { to: from, with });
        }
    }

    fn plan_failover(&self, order: &FailoverOrder, env: &Env<'_>) -> Result<Plan, String> {
        let policy = env.node.policies.of(&self.spec.name);
        let is_coordinated = order.mode.unwrap_or(policy.failover_mode) == FailoverMode::Coordinated;
        let longest = self.spec.failover_timeout;
        match order.timeout {
            Some(_) if !is_coordinated => return Err(TIMEOUT_UNUSED.to_owned()),
            // Whoever voted for us leaves us alone for longer than that.
            Some(timeout) if timeout > longest => {
                return Err(format!("ERR TIMEOUT must not exceed failover-timeout, {longest} ms"));
            }
            _ => {}
        }
        if self.failover.state != FailoverState::Idle || self.asking.is_some() {
            return Err(IN_PROGRESS.to_owned());
        }
        if is_coordinated && env.tilt.is_on() {
            return Err(IN_TILT.to_owned());
        }
        let to = match &order.to {
            None => None,
            Some(addr) => {
                let known = self.keys_where(|replica| replica.server.addr.same_as(addr)).into_iter().next();
                Some(known.ok_or(NO_SUCH_REPLICA)?)
            }
        };
        let timeout = order.timeout.unwrap_or(longest.min(DEFAULT_TIMEOUT));
        let coordination = Coordination { path: policy.coordinated_path, timeout, demoted_at: None };
        let plan = Plan { to, coordination: is_coordinated.then_some(coordination) };
        match (self.planned_replica(&plan, env), &plan.to) {
            (Some(_), _) => Ok(plan),
            (None, Some(_)) => Err(UNFIT_REPLICA.to_owned()),
            (None, None) => Err(NO_GOOD_REPLICA.to_owned()),
        }
    }

    /// The best replica that fits the plan and passes the usual filters. What says that it is a master, like an old one
    /// that has just come back, has nothing to be handed over to.
    pub(super) fn planned_replica(&self, plan: &Plan, env: &Env<'_>) -> Option<ReplicaKey> {
        let fits = |key: &str| {
            let replicates = self.replicas.get(key).is_some_and(|replica| replica.server.role == Role::Replica);
            plan.to.as_deref().is_none_or(|to| to == key) && (plan.coordination.is_none() || replicates)
        };
        let mut candidates = self.candidates(env);
        candidates.retain(|candidate| fits(candidate.key));
        let choose = |candidates: &[Candidate<'_>]| {
            select(candidates, self.master_state(env), env.now.mono, &env.node.periods).map(ReplicaKey::from)
        };
        let heir = self.heir().filter(|_| *plan == Plan::default() && self.heals_masterless(env));
        let heir = heir.and_then(|heir| candidates.iter().find(|candidate| *candidate.key == **heir));
        heir.and_then(|heir| choose(std::slice::from_ref(heir))).or_else(|| choose(&candidates))
    }

    fn carry_out(&mut self, plan: Plan, env: &Env<'_>, out: &mut Outbox) {
        let text = format!("Executing user requested FAILOVER of '{}'", self.spec.name);
        out.push(Output::Log(Level::Warning, text));
        let authority = if plan.coordination.is_some() { Authority::Votes } else { Authority::Operator };
        self.failover.plan = plan;
        self.start_failover(authority, env, out);
    }

    /// Asks the master whether it would do what the path takes. Servers check commands when they are queued; the
    /// transaction is then refused as a whole for the command in it that all refuse.
    fn probe(
        &mut self,
        from: ReplyToken,
        plan: Plan,
        coordination: Coordination,
        env: &Env<'_>,
        out: &mut Outbox,
    ) -> Result<(), String> {
        let link = self.master.link.command_id().filter(|_| self.master_can_be_asked());
        let asked_on = link.ok_or(MASTER_UNREACHABLE)?;
        self.send_probe(coordination.path, out);
        let until = env.now.mono + PROBE_PATIENCE;
        let asking = Asking { from, plan, coordination, asked_on, until, refusal: None, is_last: false };
        self.asking = Some(Box::new(asking));
        Ok(())
    }

    pub(super) fn master_can_be_asked(&self) -> bool {
        self.master.sdown.is_none() && self.master.role == Role::Master
    }

    fn send_probe(&mut self, path: CoordinatedPath, out: &mut Outbox) {
        let tried = match path {
            CoordinatedPath::Pause => vec![Command::ClientPause(1), Command::ClientUnpause],
            CoordinatedPath::Failover => vec![Command::FailoverAbort],
        };
        let probe = |command| (Tag::Handover(HandoverStep::Probe), command);
        let commands = std::iter::once((Tag::Ignored, Command::Multi))
            .chain(tried.into_iter().map(probe))
            .chain([(Tag::Ignored, Command::Refused), (Tag::Handover(HandoverStep::ProbeEnd), Command::Exec)]);
        for (tag, command) in commands {
            self.send(&ServerId::Master, tag, command, out);
        }
    }

    /// The answer to one of the commands in question.
    pub(super) fn probe_answered(&mut self, link: LinkId, value: &Reply) {
        let refusal = match value {
            Reply::Status(text) if &**text == b"QUEUED" => return,
            Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
            _ => "it has no transactions".to_owned(),
        };
        if let Some(asking) = self.asking.as_mut().filter(|asking| asking.asked_on == link) {
            asking.refusal.get_or_insert(refusal);
        }
    }

    /// The master has answered: the attempt begins, or the other path is tried, or the operator hears no.
    pub(super) fn probed(&mut self, link: LinkId, env: &Env<'_>, out: &mut Outbox) {
        let Some(mut asking) = self.asking.take_if(|asking| asking.asked_on == link) else { return };
        let Some(refusal) = asking.refusal.take() else {
            let plan = Plan { coordination: Some(asking.coordination), ..asking.plan };
            let with = if self.failover.state != FailoverState::Idle {
                Answer::Error(IN_PROGRESS.to_owned())
            } else if env.tilt.is_on() {
                Answer::Error(IN_TILT.to_owned())
            } else {
                self.carry_out(plan, env, out);
                Answer::Ok
            };
            out.push(Output::Answer { to: asking.from, with });
            return;
        };
        let (refused, other, name) = match asking.coordination.path {
            CoordinatedPath::Pause => ("CLIENT PAUSE", CoordinatedPath::Failover, "FAILOVER"),
            CoordinatedPath::Failover => ("FAILOVER", CoordinatedPath::Pause, "CLIENT PAUSE"),
        };
        let next = if asking.is_last { "nothing is left to stop writes by" } else { name };
        let turn = if asking.is_last { "" } else { "trying " };
        let text = format!("The master of '{}' refuses {refused} ({refusal}): {turn}{next}", self.spec.name);
        out.push(Output::Log(Level::Warning, text));
        if asking.is_last {
            out.push(Output::Answer { to: asking.from, with: Answer::Error(NO_GOOD_MASTER.to_owned()) });
            return;
        }
        asking.coordination.path = other;
        (asking.is_last, asking.until) = (true, env.now.mono + PROBE_PATIENCE);
        self.send_probe(other, out);
        self.asking = Some(asking);
    }

    /// When the operator has waited long enough.
    pub(super) fn asking_until(&self) -> Option<Millis> {
        self.asking.as_ref().map(|asking| asking.until)
    }

    /// An operator who waits for a master that does not answer waits no longer.
    pub(super) fn check_asking(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let link = self.master.link.command_id();
        let over = |asking: &mut Box<Asking>| is_due(Some(asking.until), env.now.mono) || link != Some(asking.asked_on);
        if let Some(asking) = self.asking.take_if(over) {
            out.push(Output::Answer { to: asking.from, with: Answer::Error(MASTER_UNREACHABLE.to_owned()) });
        }
    }
}
