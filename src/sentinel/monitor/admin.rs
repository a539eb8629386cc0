//! What an operator does to this master: SET, FAILOVER, RESET, ADOPT. And what the rest of the process tells it.

use super::Monitor;
use super::instance::{Role, Sentinel, Server, ServerId};
use crate::sentinel::Env;
use crate::sentinel::addr::Addr;
use crate::sentinel::event::EventKind;
use crate::sentinel::id::{Epoch, ReplyToken, Rev, RunId};
use crate::sentinel::io::{AdminRequest, Answer, Outbox, Output, SetOption, SpecChange};
use crate::sentinel::node::NodeNotice;
use crate::sentinel::time::Millis;

/// Answer to a command whose effect could not be saved. The effect stays, as in stock.
pub const SAVE_FAILED: &str = "ERR Failed to save config file. Check server logs.";

impl Monitor {
    /// A command of an operator.
    pub(super) fn on_admin(&mut self, from: ReplyToken, request: AdminRequest, env: &Env<'_>, out: &mut Outbox) {
        match request {
            AdminRequest::Set(options) => self.set(from, options, env, out),
            AdminRequest::Failover(order) => self.order_failover(from, &order, env, out),
            AdminRequest::WholeInfo => self.fetch_whole_info(from, env, out),
            AdminRequest::Adopt(addr) => {
                self.adopt(&addr, env.now.mono);
                if env.node.policies.keeps_identity {
                    let rev = self.persist(env, out);
                    self.held_answers.push((rev, from));
                } else {
                    out.push(Output::Answer { to: from, with: Answer::Ok });
                }
            }
            AdminRequest::Reset => {
                self.reset(env, out);
                out.push(Output::Answer { to: from, with: Answer::Ok });
            }
        }
    }

    fn set(&mut self, from: ReplyToken, options: Vec<SetOption>, env: &Env<'_>, out: &mut Outbox) {
        if options.is_empty() {
            out.push(Output::Answer { to: from, with: Answer::Ok });
            return;
        }
        for option in options {
            self.change_spec(option.change, env.now.mono, out);
            let payload = format!("{} {}", self.describe(&ServerId::Master, env), option.shown);
            self.emit(EventKind::Set, payload, out);
        }
        let rev = self.persist(env, out);
        self.held_answers.push((rev, from));
    }

    fn change_spec(&mut self, change: SpecChange, now: Millis, out: &mut Outbox) {
        let spec = &mut self.spec;
        match change {
            SpecChange::DownAfter(ms) => {
                spec.down_after = ms;
                let peers: Vec<(RunId, Addr)> = self.peer_addrs();
                for (peer, addr) in peers {
                    self.watch_peer(&peer, addr, out);
                }
            }
            SpecChange::FailoverTimeout(ms) => spec.failover_timeout = ms,
            SpecChange::ParallelSyncs(count) => spec.parallel_syncs = count,
            SpecChange::Quorum(quorum) => spec.quorum = quorum,
            SpecChange::RebootDownAfter(ms) => spec.reboot_down_after = ms,
            SpecChange::NotificationScript(path) => spec.notification_script = path,
            SpecChange::ClientReconfigScript(path) => spec.client_reconfig_script = path,
            SpecChange::AuthPass(password) => {
                spec.auth_pass = password;
                self.drop_server_links(now, out);
            }
            SpecChange::AuthUser(user) => {
                spec.auth_user = user;
                self.drop_server_links(now, out);
            }
            SpecChange::RenameCommand { from, to } => {
                if from.eq_ignore_ascii_case(&to) {
                    spec.renames.remove(&from);
                } else {
                    spec.renames.insert(from, to);
                }
            }
        }
        self.dirty = true;
    }

    /// Everything that was learnt is forgotten, replicas and peers included; settings and epochs stay. Nothing is
    /// saved, as in stock.
    fn reset(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        self.settle_promotion(env, out);
        self.undo = self.amends().or(self.undo.take());
        self.drop_server_links(now, out);
        self.replicas.clear();
        for peer in std::mem::take(&mut self.sentinels).into_keys() {
            out.push(Output::Notify(NodeNotice::UnwatchPeer { peer }));
        }
        self.master = Server::new(self.master.addr.clone(), Role::Master, now);
        self.forget_failure();
        self.forget_identities(env);
        self.emit(EventKind::ResetMaster, self.describe(&ServerId::Master, env), out);
    }

    /// A notice of the supervisor.
    pub(super) fn on_notice(&mut self, notice: NodeNotice, env: &Env<'_>, out: &mut Outbox) {
        match notice {
            NodeNotice::PeerMoved { peer, addr } => {
                if let Some(sentinel) = self.sentinels.get_mut(&peer) {
                    **sentinel = Sentinel::new(addr, env.now.mono);
                    self.persist(env, out);
                }
            }
            NodeNotice::PeerReplaced { peer, .. } => {
                if self.sentinels.contains_key(&peer) {
                    self.sentinels.remove(&peer);
                    out.push(Output::Notify(NodeNotice::UnwatchPeer { peer }));
                    self.persist(env, out);
                }
            }
            NodeNotice::PeerMoveFollowed { peer, others } => {
                let payload = format!("{} {others} additional matching instances", self.describe_sentinel(&peer, env));
                self.emit(EventKind::SentinelAddressUpdate, payload, out);
            }
            NodeNotice::SettingsChanged => self.dirty = true,
            NodeNotice::WatchPeer { .. } | NodeNotice::UnwatchPeer { .. } => {}
        }
    }

    /// A peer wants our vote. The master is looked up by its configured address, as in stock.
    pub(super) fn on_vote_request(
        &mut self,
        from: ReplyToken,
        addr: &Addr,
        epoch: Epoch,
        candidate: RunId,
        env: &Env<'_>,
        out: &mut Outbox,
    ) {
        if !self.master.addr.same_as(addr) {
            let with = Answer::Vote { down: false, leader: None, epoch: Epoch(0) };
            out.push(Output::Answer { to: from, with });
            return;
        }
        if env.epoch.is_sane(epoch) {
            let takes_over = self.takes_over_from(&candidate, epoch, env);
            let vote_follows = !takes_over && self.may_vote(&candidate, epoch, env.epoch.current().max(epoch), env);
            if epoch > env.epoch.current() {
                env.epoch.observe(epoch);
                if !vote_follows {
                    self.persist(env, out);
                }
                self.emit(EventKind::NewEpoch, epoch.to_string(), out);
            }
            if takes_over {
                self.failover.pace.release();
            } else {
                self.cast_vote(candidate, epoch, env, out);
            }
        }
        // A vote that is not on disk is not given: the answer waits for the disk (failover.md 118, 128).
        if !self.ledger.wait(from) {
            self.answer_vote(from, env, out);
        }
    }

    fn answer_vote(&self, to: ReplyToken, env: &Env<'_>, out: &mut Outbox) {
        let (leader, epoch) = self.ledger.vote();
        let with = Answer::Vote { down: self.looks_down(env), leader: leader.cloned(), epoch };
        out.push(Output::Answer { to, with });
    }

    fn looks_down(&self, env: &Env<'_>) -> bool {
        self.master.sdown.is_some() && !env.tilt.is_on()
    }

    /// Everything up to `rev` is on disk: release what waited for it.
    pub(super) fn on_durable(&mut self, rev: Rev, env: &Env<'_>, out: &mut Outbox) {
        self.durable = self.durable.max(rev);
        self.failover.pace.saved(rev);
        if let Some(grant) = self.ledger.durable(rev) {
            self.emit(EventKind::VoteForLeader, format!("{} {}", grant.leader(), grant.epoch()), out);
            for to in grant.waiting() {
                let with = Answer::Vote {
                    down: self.looks_down(env),
                    leader: Some(grant.leader().clone()),
                    epoch: grant.epoch(),
                };
                out.push(Output::Answer { to: *to, with });
            }
        }
        for to in self.take_held(rev) {
            out.push(Output::Answer { to, with: Answer::Ok });
        }
    }

    /// `rev` is not on disk: what waited for it is refused, except a promotion, which waits on.
    pub(super) fn on_persist_failed(&mut self, rev: Rev, env: &Env<'_>, out: &mut Outbox) {
        self.failover.pace.not_saved(rev);
        if let Some(withdrawn) = self.ledger.failed(rev) {
            self.dirty = true;
            for to in withdrawn.waiting {
                let with = Answer::Vote {
                    down: self.looks_down(env),
                    leader: withdrawn.leader.clone(),
                    epoch: withdrawn.epoch,
                };
                out.push(Output::Answer { to, with });
            }
        }
        for to in self.take_held(rev) {
            out.push(Output::Answer { to, with: Answer::Error(SAVE_FAILED.to_owned()) });
        }
    }

    fn take_held(&mut self, rev: Rev) -> Vec<ReplyToken> {
        let (done, held) = std::mem::take(&mut self.held_answers).into_iter().partition(|(wants, _)| *wants <= rev);
        self.held_answers = held;
        let done: Vec<(Rev, ReplyToken)> = done;
        done.into_iter().map(|(_, token)| token).collect()
    }

    fn peer_addrs(&self) -> Vec<(RunId, Addr)> {
        self.sentinels.iter().map(|(id, sentinel)| (id.clone(), sentinel.addr.clone())).collect()
    }
}
