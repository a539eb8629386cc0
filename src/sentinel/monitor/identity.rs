//! Who a server is: whether what answers at a remembered address is still the member of the group that was there
//! (beyond.md B2). Addresses are used again, and whatever is told to replicate loses its data.
//!
//! Nothing here proves that a server is ours before it may be told something, since an old master that was restarted can
//! prove nothing. What counts is evidence that it is not:
//!
//! | | evidence | reason |
//! |---|---|---|
//! | E1 | it belongs to another master of this process | `group NAME` |
//! | E2 | a Sentinel that is not one of ours says on its hello channel that it, or a server unknown here, is a master | `hello NAME HOST PORT` |
//! | E3 | it has replicas, and none of them is one of ours | `replica HOST PORT` |
//! | E4 | it was a replica, and now it is a master of data with an unknown history, and another process | `data` |
//! | E5 | the same, whatever it was before (`strict`) | `data` |
//!
//! None counts against a server that follows our master, or whose data has our history. With evidence it is `foreign`
//! until it is another process, or until somebody adopts it.

mod strangers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::Monitor;
use super::failover::FailoverState;
use super::info::{HELLO_PERIODS_BEFORE_CONVERSION, InfoReport};
use super::instance::{Replica, ReplicaKey, Role, Server, ServerId};
use super::record::{IdentityRecord, MemberRecord};
use crate::sentinel::Env;
use crate::sentinel::addr::Addr;
use crate::sentinel::event::EventKind;
use crate::sentinel::groups::{Asker, Whose};
use crate::sentinel::id::{LinkId, MasterName, RunId};
use crate::sentinel::io::Outbox;
use crate::sentinel::policy::IdentityGuard;
use crate::sentinel::time::Millis;

/// Addresses, peers and refusals that are remembered per master; more than that are made up.
const MAX_REMEMBERED: usize = 1_000;

/// What a server's last INFO says of who it is. Unlike its role and its ages this stays when it is seen in a new part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Papers {
    /// The connection on which it said so. Behind any other there may be another process.
    pub link: Option<LinkId>,
    /// `run_id`
    pub run_id: Option<Arc<str>>,
    /// `role`
    pub role: Option<Role>,
    /// `master_replid` and `master_replid2`; none if the server is too old to have them.
    pub replids: Vec<Arc<str>>,
    /// It has keys, or is about to have some.
    pub has_data: bool,
    /// It takes no commands yet.
    pub is_loading: bool,
    /// It has no conf file, so that after a restart it is again what it was first.
    pub has_no_file: bool,
    /// Its replicas.
    pub replicas: Vec<(Arc<str>, u16)>,
    /// What it replicates from, if it is a replica.
    pub upstream: Option<(Arc<str>, u16)>,
}

impl Papers {
    /// What `report`, which came on `link`, says.
    pub fn of(report: &InfoReport, link: Option<LinkId>) -> Papers {
        Papers {
            link,
            run_id: report.run_id.clone(),
            role: report.role,
            replids: report.replids.clone(),
            has_data: report.has_data,
            is_loading: report.is_loading,
            has_no_file: report.has_no_file,
            replicas: report.replicas.clone(),
            upstream: report.master_host.clone().zip(report.master_port),
        }
    }
}

/// What speaks against a server. It stays for as long as the process does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspicion {
    /// The process that this is about.
    run_id: Option<Arc<str>>,
    /// When it was first heard of.
    since: Millis,
    /// At its last INFO it was a member beyond doubt, or had been there for long enough.
    is_cleared: bool,
    /// It is not one of ours, and why.
    foreign: Option<Reason>,
    promotion: Promotion,
    /// A hello of a stranger on its channel.
    heard: Option<Heard>,
}

/// Whether we have told a process to be master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Promotion {
    #[default]
    Untold,
    /// What it says may be from before it heard of it.
    Told,
    /// It has said that it is a master.
    Seen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    /// On which connection: another process has another one.
    link: LinkId,
    /// That was opened later than the one on which it says who it is, so that both lead to the same process. One that was
    /// there before may lead to the process before: what is heard there counts only while it lasts.
    is_its_own: bool,
    at: Millis,
    from: RunId,
    reason: Reason,
}

/// Why a server, or what a hello says, is foreign. Its text follows `#` in events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// E1
    Group(MasterName),
    /// E2: what the hello calls a master.
    Hello(MasterName, Arc<str>, u16),
    /// E3
    Replica(Arc<str>, u16),
    /// E4, E5
    Data,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Group(name) => write!(f, "group {name}"),
            Reason::Hello(name, host, port) => write!(f, "hello {name} {host} {port}"),
            Reason::Replica(host, port) => write!(f, "replica {host} {port}"),
            Reason::Data => f.write_str("data"),
        }
    }
}

/// What is remembered of the group, besides the history of its data.
#[derive(Debug, Default)]
pub(super) struct Identity {
    guard: IdentityGuard,
    /// Members as they last were when they were members beyond doubt, by address.
    members: BTreeMap<String, MemberRecord>,
    /// Peers that have named our master.
    kin: BTreeSet<RunId>,
    /// Addresses that an operator has vouched for, with the process that was there.
    adopted: BTreeMap<String, Option<String>>,
    /// Hellos that were refused, as told.
    refused: BTreeSet<String>,
    /// There is a state file.
    is_saved: bool,
    changed: bool,
}

impl Identity {
    /// What a record says; `peers` are those of the file.
    pub(super) fn new(record: IdentityRecord, peers: impl Iterator<Item = RunId>, is_saved: bool) -> Identity {
        let IdentityRecord { members, adopted, .. } = record;
        Identity {
            members: members.into_iter().collect(),
            kin: peers.collect(),
            adopted: adopted.into_iter().collect(),
            is_saved,
            ..Identity::default()
        }
    }

    fn remember(&mut self, addr: &Addr, run_id: &str, role: Role) {
        let key = key_of(addr);
        let known = self.members.get(&key);
        let was_master = role == Role::Master || known.is_some_and(|known| known.was_master);
        let is_news = known.is_none_or(|known| known.run_id != run_id || known.role != role);
        let has_room = known.is_some() || self.members.len() < MAX_REMEMBERED;
        if is_news && has_room {
            self.members.insert(key, MemberRecord { run_id: run_id.to_owned(), role, was_master });
            self.changed = true;
        }
    }
}

/// Whether hellos on a server's channel would have been heard for as long as stock leaves a replica in the wrong role alone.
/// Our own are heard there: a connection on which nothing is heard may lead nowhere, and a server that stands still hands
/// on nobody's.
fn was_listened_to(server: &Server, env: &Env<'_>) -> bool {
    let (now, periods) = (env.now.mono, &env.node.periods);
    let listening = server.link.pubsub.and_then(|pubsub| pubsub.listening_since(now, periods));
    listening.is_some_and(|since| {
        now.since(since.max(server.suspicion.since)) > HELLO_PERIODS_BEFORE_CONVERSION * periods.publish
    })
}

/// Where it is, by number if that is known.
fn key_of(addr: &Addr) -> String {
    addr.ip.map_or_else(|| addr.to_string(), |ip| format!("{ip} {}", addr.port))
}

impl Server {
    /// Whether it is known not to belong to this group.
    pub fn is_foreign(&self) -> bool {
        self.suspicion.foreign.is_some()
    }

    /// Whether there is somebody at the other end of a connection.
    fn is_there(&self) -> bool {
        let is_open = self.link.command.is_some_and(|command| command.local.is_some());
        is_open || self.link.pubsub.is_some_and(|pubsub| pubsub.last_activity > pubsub.since)
    }

    /// When the younger of its connections was opened.
    fn connected_since(&self) -> Millis {
        let connections = [self.link.command, self.link.pubsub].into_iter().flatten();
        connections.map(|connection| connection.since).max().unwrap_or_default()
    }

    /// Whether INFO has told who is at the other end of the present connection.
    pub(super) fn has_shown_papers(&self) -> bool {
        self.papers.link.is_some() && self.papers.link == self.link.command_id()
    }
}

impl Monitor {
    pub(super) fn guards(&self) -> bool {
        self.identity.guard != IdentityGuard::Stock
    }

    /// At the beginning of each step, as settings may have changed.
    pub(super) fn choose_guard(&mut self, env: &Env<'_>) {
        self.identity.guard = env.node.policies.of(&self.spec.name).identity_guard;
    }

    /// Whether a server's data is known to be this group's, or there is none that could be somebody else's.
    pub(super) fn is_ours(&self, papers: &Papers) -> bool {
        !self.guards() || !papers.has_data || self.has_our_history(papers)
    }

    fn has_our_history(&self, papers: &Papers) -> bool {
        papers.replids.iter().any(|replid| self.history.contains(replid))
    }

    /// Whether this is the process that was last seen as a member at this address.
    pub(super) fn is_same_member(&self, server: &Server) -> bool {
        let member = self.identity.members.get(&key_of(&server.addr));
        member.is_some_and(|member| server.papers.run_id.as_deref() == Some(&*member.run_id))
    }

    /// Whether a server may be sent SLAVEOF: we know who is there, and nothing speaks against it.
    pub(super) fn may_be_told(&self, server: &Server) -> bool {
        !self.guards() || (server.has_shown_papers() && !server.is_foreign())
    }

    /// Whether a replica may be promoted: what it has is what the group will have.
    pub(super) fn may_be_promoted(&self, server: &Server) -> bool {
        self.may_be_told(server) && (!self.guards() || server.suspicion.is_cleared)
    }

    /// The same of a replica that is to have another master. What may be somebody else's is left alone for as long as stock
    /// leaves a replica in the wrong role alone: until then its own Sentinels have been heard, and its replicas are back.
    pub(super) fn may_be_moved(&self, replica: &Replica, env: &Env<'_>) -> bool {
        let has_nothing = !replica.server.papers.has_data;
        self.may_be_told(&replica.server) && (!self.guards() || has_nothing || self.is_accepted(replica, env))
    }

    /// The same during a failover, when nobody waits for INFO: one that had nothing then may have something now.
    pub(super) fn may_be_reconfigured(&self, replica: &Replica, env: &Env<'_>) -> bool {
        self.may_be_told(&replica.server) && (!self.guards() || self.is_accepted(replica, env))
    }

    /// Whether a replica is a member beyond doubt, or has had the time in which something would speak against it.
    fn is_accepted(&self, replica: &Replica, env: &Env<'_>) -> bool {
        let server = &replica.server;
        self.has_our_history(&server.papers)
            || self.is_obedient(replica)
            || self.is_same_member(server)
            || self.is_adopted(server)
            || was_listened_to(server, env)
    }

    /// A replica is told to be master, here or, as we hear, by somebody else: it comes back as one, also if its name means
    /// another address for a while.
    pub(super) fn note_promoted(&mut self, addr: &Addr) {
        let mut run_ids = Vec::new();
        for replica in self.replicas.values_mut().filter(|replica| replica.server.addr.same_as(addr)) {
            replica.server.suspicion.foreign = None;
            run_ids.extend(replica.server.papers.run_id.clone());
        }
        let key = key_of(addr);
        let members = self.identity.members.iter_mut();
        for (_, member) in
            members.filter(|(at, member)| **at == key || run_ids.iter().any(|id: &Arc<str>| **id == *member.run_id))
        {
            self.identity.changed |= member.role != Role::Master;
            (member.role, member.was_master) = (Role::Master, true);
        }
    }

    /// We have told a replica to be master.
    pub(super) fn note_told_to_be_master(&mut self, key: &ReplicaKey) {
        if let Some(replica) = self.replicas.get_mut(key) {
            replica.server.suspicion.promotion = Promotion::Told;
        }
    }

    /// Whether a replica that says that it is master is the one that we have told so. Another process with an unknown history
    /// may be anybody's.
    pub(super) fn is_promotion(&self, key: &ReplicaKey) -> bool {
        let server = self.replicas.get(key).map(|replica| &replica.server);
        !self.guards()
            || server.is_some_and(|server| {
                server.suspicion.promotion != Promotion::Untold || self.has_our_history(&server.papers)
            })
    }

    /// A server has said who it is: it is remembered as a member, or looked at for what speaks against it.
    pub(super) fn note_identity(&mut self, who: &ServerId, env: &Env<'_>, out: &mut Outbox) {
        let Some(server) = self.server_mut(who) else { return };
        let is_another = server.suspicion.run_id != server.papers.run_id;
        if is_another {
            // What was heard before this connection was opened may have been about the process before.
            let since = server.link.command.map(|command| command.since);
            let pubsub = server.link.pubsub.map(|pubsub| pubsub.id);
            let is_news = |heard: &Heard| Some(heard.link) == pubsub && since.is_some_and(|since| heard.at > since);
            let heard = server.suspicion.heard.take().filter(is_news);
            let (run_id, since) = (server.papers.run_id.clone(), env.now.mono);
            server.suspicion = Suspicion { run_id, since, heard, ..Suspicion::default() };
        }
        if server.suspicion.promotion == Promotion::Told && server.papers.role == Some(Role::Master) {
            server.suspicion.promotion = Promotion::Seen;
        }
        self.dirty |= is_another;
        match who {
            ServerId::Master => self.note_master_identity(env),
            ServerId::Replica(key) => self.note_replica_identity(key, env, out),
        }
    }

    fn note_master_identity(&mut self, env: &Env<'_>) {
        let (name, addr) = (&self.spec.name, &self.master.addr);
        // Once it is about to be replaced what is at its address need not be what was.
        let replaced = self.failover.state != FailoverState::Idle;
        match (&self.master.papers.run_id, self.master.papers.role) {
            (Some(run_id), Some(Role::Master)) if !replaced => {
                env.groups.note_master(name, addr, run_id, &self.master.papers.replids, env.now.mono);
                self.identity.remember(addr, run_id, Role::Master);
            }
            (_, Some(Role::Master)) => {}
            _ => env.groups.forget_member(name, addr),
        }
    }

    fn note_replica_identity(&mut self, key: &ReplicaKey, env: &Env<'_>, out: &mut Outbox) {
        let Some(replica) = self.replicas.get(key) else { return };
        let Server { addr, papers, .. } = &replica.server;
        let is_obedient = self.is_obedient(replica);
        match &papers.run_id {
            Some(run_id) if is_obedient => env.groups.note_member(&self.spec.name, addr, run_id, env.now.mono),
            _ if is_obedient => {}
            _ => env.groups.forget_member(&self.spec.name, addr),
        }
        // Somebody may have promoted it, perhaps in vain, or it follows another replica: its data says that it is ours.
        if let (Some(run_id), Some(role)) = (&papers.run_id, papers.role)
            && (is_obedient || self.has_our_history(papers))
        {
            // Once promoted it comes back as a master, with a history that nobody knows.
            let is_told = replica.server.suspicion.promotion == Promotion::Told;
            self.identity.remember(addr, run_id, if is_told { Role::Master } else { role });
        }
        let found = self.evidence(replica, env);
        let is_news = found.is_some() && !replica.server.is_foreign();
        if let Some(replica) = self.replicas.get_mut(key) {
            self.dirty |= replica.server.is_foreign() != found.is_some();
            replica.server.suspicion.foreign.clone_from(&found);
        }
        let is_cleared = self.replicas.get(key).is_some_and(|replica| self.is_accepted(replica, env));
        if let Some(replica) = self.replicas.get_mut(key) {
            replica.server.suspicion.is_cleared = is_cleared;
        }
        if let (true, Some(reason)) = (is_news, found) {
            let payload = format!("{} #{reason}", self.describe(&ServerId::Replica(key.clone()), env));
            self.emit(EventKind::ForeignInstance, payload, out);
        }
    }

    /// Whether it does what a member does: it follows our master.
    fn is_obedient(&self, replica: &Replica) -> bool {
        let follows = |addr: &Addr| self.follows(replica, addr);
        replica.server.papers.role == Some(Role::Replica)
            && (follows(&self.master.addr) || follows(self.current_addr()))
    }

    /// What speaks against a server.
    fn evidence(&self, replica: &Replica, env: &Env<'_>) -> Option<Reason> {
        let server = &replica.server;
        let papers = &server.papers;
        // Its data is ours from before the promotion.
        let is_promoted = server.suspicion.promotion != Promotion::Untold && papers.role == Some(Role::Master);
        if !self.guards() || self.is_adopted(server) || is_promoted || self.is_obedient(replica) {
            return None;
        }
        if self.has_our_history(papers) {
            return None;
        }
        let kept = server.suspicion.foreign.clone().filter(|reason| match reason {
            Reason::Hello(..) => false,
            // The name of a member may have been looked up since.
            Reason::Replica(host, port) => !self.was_member(&Addr::new(host, *port)),
            Reason::Group(_) | Reason::Data => true,
        });
        kept.or_else(|| self.owned_by_others(papers.run_id.as_deref().map(Whose::Process), env))
            .or_else(|| self.stranger_at(server).cloned())
            .or_else(|| self.unknown_replica(papers))
            .or_else(|| self.unknown_data(server).then_some(Reason::Data))
    }

    /// E2: what a Sentinel that is none of ours says there.
    fn stranger_at<'a>(&'a self, server: &'a Server) -> Option<&'a Reason> {
        let pubsub = server.link.pubsub.map(|pubsub| pubsub.id);
        let counts = |heard: &&Heard| {
            !self.identity.kin.contains(&heard.from) && (heard.is_its_own || pubsub == Some(heard.link))
        };
        server.suspicion.heard.as_ref().filter(counts).map(|heard| &heard.reason)
    }

    /// E1
    fn owned_by_others(&self, whose: Option<Whose<'_>>, env: &Env<'_>) -> Option<Reason> {
        let asker = Asker { name: &self.spec.name, master: &self.master.addr, replids: &self.history };
        env.groups.other_owner(whose?, asker).map(Reason::Group)
    }

    /// E3: one of its replicas, if it has any and none of them is known here.
    fn unknown_replica(&self, papers: &Papers) -> Option<Reason> {
        let is_known = |(host, port): &(Arc<str>, u16)| self.was_member(&Addr::new(host, *port));
        if papers.role != Some(Role::Master) || papers.replicas.iter().any(is_known) {
            return None;
        }
        papers.replicas.first().map(|(host, port)| Reason::Replica(host.clone(), *port))
    }

    /// E4 and E5. Whoever never heard our master knows no history to compare with.
    fn unknown_data(&self, server: &Server) -> bool {
        let papers = &server.papers;
        let is_unknown = papers.has_data && !papers.replids.is_empty() && !self.history.is_empty();
        let members = || self.identity.members.values();
        let is_process = |run_id: &str| members().any(|member| member.run_id == *run_id);
        let was_replica = self.identity.members.get(&key_of(&server.addr)).is_some_and(|member| {
            // One that has no file to remember its demotion in comes back as the master that it was.
            member.role == Role::Replica && !(member.was_master && papers.has_no_file)
        });
        is_unknown
            && match self.identity.guard {
                IdentityGuard::Stock => false,
                IdentityGuard::Evidence => {
                    let is_new = papers.run_id.as_ref().is_some_and(|run_id| !is_process(run_id));
                    papers.role == Some(Role::Master) && was_replica && is_new
                }
                IdentityGuard::Strict => true,
            }
    }

    fn is_adopted(&self, server: &Server) -> bool {
        self.identity
            .adopted
            .get(&key_of(&server.addr))
            .is_some_and(|run_id| run_id.is_none() || run_id.as_deref() == server.papers.run_id.as_deref())
    }

    /// Whether an address is, or ever was, one of this group's.
    fn was_member(&self, addr: &Addr) -> bool {
        self.servers().any(|server| server.addr.same_as(addr)) || self.identity.members.contains_key(&key_of(addr))
    }

    /// Whoever was only told where its master is, and has not found it yet, has to believe what it hears.
    fn knows_members(&self) -> bool {
        !self.history.is_empty() || !self.identity.kin.is_empty() || !self.replicas.is_empty()
    }

    fn is_master_here(&self, addr: &Addr) -> bool {
        self.master.addr.same_as(addr) || self.current_addr().same_as(addr)
    }

    /// `SENTINEL ADOPT`: an operator says that what is, or will be, at this address belongs to this group.
    pub(super) fn adopt(&mut self, addr: &Addr, now: Millis) {
        let mut run_id = None;
        for replica in self.replicas.values_mut().filter(|replica| replica.server.addr.same_as(addr)) {
            let server = &mut replica.server;
            run_id.clone_from(&server.papers.run_id);
            server.suspicion =
                Suspicion { run_id: run_id.clone(), since: server.suspicion.since, ..Suspicion::default() };
            server.info_wanted_at = Some(now);
        }
        if self.identity.adopted.len() < MAX_REMEMBERED {
            self.identity.adopted.insert(key_of(addr), run_id.as_deref().map(str::to_owned));
        }
        self.identity.refused.clear();
        self.identity.changed = true;
        self.dirty = true;
    }

    /// RESET: what spoke for or against anybody is forgotten. Where members were is not: who was away for long names
    /// one of them.
    pub(super) fn forget_identities(&mut self, env: &Env<'_>) {
        self.identity.kin.clear();
        self.identity.adopted.clear();
        self.identity.refused.clear();
        self.history.clear();
        self.identity.changed = true;
        env.groups.forget(&self.spec.name);
    }

    /// What goes to the state file, if there is one.
    pub(super) fn identity_record(&self) -> IdentityRecord {
        if !self.identity.is_saved {
            return IdentityRecord::default();
        }
        IdentityRecord {
            replids: self.history.iter().map(ToString::to_string).collect(),
            members: self.identity.members.iter().map(|(at, member)| (at.clone(), member.clone())).collect(),
            adopted: self.identity.adopted.iter().map(|(at, run_id)| (at.clone(), run_id.clone())).collect(),
        }
    }

    pub(super) fn history_grew(&mut self) {
        self.identity.changed = true;
    }

    /// At the end of a step.
    pub(super) fn save_identity(&mut self, env: &Env<'_>, out: &mut Outbox) {
        if std::mem::take(&mut self.identity.changed) && self.identity.is_saved {
            self.persist(env, out);
        }
    }
}
