//! What a master's monitor knows of each instance: the servers (the master itself and its replicas) and the peers.

use std::sync::Arc;

use super::identity::{Papers, Suspicion};
use crate::sentinel::addr::Addr;
use crate::sentinel::ages::{SharedAges, SharedMillis};
use crate::sentinel::id::{Epoch, LinkId, RunId};
use crate::sentinel::link::Link;
use crate::sentinel::peer::LinkHealth;
use crate::sentinel::time::{ASK_VALIDITY, Millis};

/// A replica's name, `ip:port`: the key under which its master knows it.
pub type ReplicaKey = Arc<str>;

/// Which server of this master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerId {
    /// The master itself.
    Master,
    /// One of its replicas.
    Replica(ReplicaKey),
}

/// A server in its place.
#[derive(Clone, Copy, Debug)]
pub struct Seat<'a> {
    /// The server.
    pub server: &'a Server,
    /// What is known of it as a replica; of the master nothing.
    pub replica: Option<(&'a ReplicaKey, &'a Replica)>,
}

impl<'a> Seat<'a> {
    /// The seat of a replica.
    pub fn of(key: &'a ReplicaKey, replica: &'a Replica) -> Seat<'a> {
        Seat { server: &replica.server, replica: Some((key, replica)) }
    }

    /// Its name.
    pub fn id(&self) -> ServerId {
        self.replica.map_or(ServerId::Master, |(key, _)| ServerId::Replica(key.clone()))
    }
}

/// What a server says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `role:master`
    Master,
    /// `role:slave`
    Replica,
}

impl Role {
    /// The wire's word.
    pub fn word(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Replica => "slave",
        }
    }
}

/// A master or a replica.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is.
    pub addr: Addr,
    /// Its connections.
    pub link: Link,
    /// From INFO.
    pub run_id: Option<Arc<str>>,
    /// At its last INFO another server of the group had the same run id: one of the two is somewhere else.
    pub is_double: bool,
    /// Who it last said it is.
    pub papers: Papers,
    /// What speaks against its being one of ours.
    pub suspicion: Suspicion,
    /// Since when SDOWN.
    pub sdown: Option<Millis>,
    /// When it last became SDOWN; stays after it is up again.
    pub last_sdown: Option<Millis>,
    /// One SCRIPT KILL is sent per SDOWN episode.
    pub script_kill_sent: bool,
    /// Last role reported, at first what it is configured as.
    pub role: Role,
    /// When that role was first reported.
    pub role_at: Millis,
    /// When INFO was last asked for.
    pub info_sent_at: Option<Millis>,
    /// When the last INFO came.
    pub info_at: Option<Millis>,
    /// Its text.
    pub info: Option<Arc<[u8]>>,
    /// What it is asked for.
    pub info_form: InfoForm,
    /// It was asked for INFO in full and has not answered.
    pub owes_whole_info: bool,
    /// INFO is wanted at this time at the latest, whatever the period.
    pub info_wanted_at: Option<Millis>,
    /// INFOs without reply.
    pub infos_outstanding: u32,
    /// When INFO was last answered with something else than INFO, if the last answer was that.
    pub info_refused_at: Option<Millis>,
    /// When its name was last looked up, if it has one.
    pub looked_up_at: Millis,
    /// The pace of its hellos.
    pub hello: HelloPace,
}

/// How INFO is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfoForm {
    /// Without arguments: on a new connection, and of servers before 7.0.
    Whole,
    /// By sections, of servers that take several of them at once.
    Sections,
}

/// When the next hello to an instance is due.
#[derive(Clone, Copy, Debug)]
pub struct HelloPace {
    /// Not before.
    pub due: Millis,
    /// Published, not yet acknowledged. At most one, except for a forced hello.
    pub outstanding: u32,
    /// Published at this server and not yet heard on our subscription there (see [`super::echo`]).
    pub unheard: u32,
}

impl HelloPace {
    /// The first hello goes out as soon as the link is up, so that others find us without waiting a period.
    pub fn new(now: Millis) -> HelloPace {
        HelloPace { due: now, outstanding: 0, unheard: 0 }
    }

    /// When to publish, if nothing is outstanding.
    pub fn at(&self) -> Option<Millis> {
        (self.outstanding == 0).then_some(self.due)
    }

    /// The connection is gone and with it the replies.
    pub fn forget(&mut self) {
        self.outstanding = 0;
    }
}

impl Server {
    /// A server that is known since `now`, with the role it is configured as.
    pub fn new(addr: Addr, role: Role, now: Millis) -> Server {
        Server {
            addr,
            link: Link::new(now),
            run_id: None,
            is_double: false,
            papers: Papers::default(),
            suspicion: Suspicion::default(),
            sdown: None,
            last_sdown: None,
            script_kill_sent: false,
            role,
            role_at: now,
            info_sent_at: None,
            info_at: None,
            info: None,
            info_form: InfoForm::Whole,
            owes_whole_info: false,
            info_wanted_at: None,
            infos_outstanding: 0,
            info_refused_at: None,
            looked_up_at: now,
            hello: HelloPace::new(now),
        }
    }

    /// Whether both are one server, met twice: a name may have meant another one for a while. After a restart only one of
    /// the two may have said who is there now.
    pub fn is_same_server(&self, other: &Server) -> bool {
        self.addr.same_as(&other.addr) || (self.run_id.is_some() && self.run_id == other.run_id)
    }

    /// The same process seen in a new part (failover.md 8.8): connections and cached INFO stay, everything believed
    /// about it starts again.
    #[must_use]
    pub fn recast(self, role: Role, now: Millis) -> Server {
        let Server { addr, mut link, papers, suspicion, info_at, info, infos_outstanding, hello, .. } = self;
        link.restart(now);
        let hello = HelloPace { due: now, ..hello };
        // What a replica's last INFO said of priority and offset is forgotten with its old part, so that INFO is not
        // fresh: it would be chosen by defaults (failover.md 146, 148).
        let info_at = info_at.filter(|_| role == Role::Master);
        Server {
            link,
            papers,
            suspicion,
            info_at,
            info,
            infos_outstanding,
            hello,
            info_wanted_at: Some(now),
            ..Server::new(addr, role, now)
        }
    }

    /// Whether `link` is one of its connections.
    pub fn has_link(&self, link: LinkId) -> bool {
        self.link.command_id() == Some(link) || self.link.pubsub.is_some_and(|pubsub| pubsub.id == link)
    }

    /// Forgets what can no longer be answered on a lost command connection.
    pub fn forget_outstanding(&mut self) {
        self.infos_outstanding = 0;
        self.info_form = InfoForm::Whole;
        self.owes_whole_info = false;
        self.hello.forget();
    }
}

/// How far a replica is on its way to a new master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconf {
    /// Not asked yet.
    None,
    /// SLAVEOF was sent.
    Sent {
        /// When.
        at: Millis,
    },
    /// It reports the new master.
    InProgress {
        /// When SLAVEOF was sent.
        at: Millis,
    },
    /// And its link to it is up; or it was given up.
    Done,
}

/// A replica.
#[derive(Clone, Debug)]
pub struct Replica {
    /// The server.
    pub server: Server,
    /// When the master it reports last changed.
    pub conf_changed_at: Millis,
    /// `master_link_down_since_seconds` in ms; 0 while the link is up, negative if it never was.
    pub link_down: i64,
    /// `master_link_status:up`
    pub link_up: bool,
    /// `slave_priority`; 100 until INFO says otherwise.
    pub priority: i64,
    /// `replica_announced`; only hides it from SENTINEL REPLICAS.
    pub announced: bool,
    /// `slave_repl_offset`
    pub offset: u64,
    /// Replication ids of its data.
    pub replids: Vec<Arc<str>>,
    /// Host of the master it reports.
    pub master_host: Option<Arc<str>>,
    /// Port of the master it reports.
    pub master_port: u16,
    /// Progress of its reconfiguration.
    pub reconf: Reconf,
}

impl Replica {
    /// A replica that is known since now.
    pub fn new(server: Server, now: Millis) -> Replica {
        Replica {
            server,
            conf_changed_at: now,
            link_down: 0,
            link_up: false,
            priority: 100,
            announced: true,
            offset: 0,
            replids: Vec::new(),
            master_host: None,
            master_port: 0,
            reconf: Reconf::None,
        }
    }
}

/// A peer as this master's monitor sees it.
#[derive(Clone, Debug)]
pub struct Sentinel {
    /// Where it is.
    pub addr: Addr,
    /// The shared link as of this step.
    pub health: LinkHealth,
    /// Its ages as they are.
    pub ages: Arc<SharedAges>,
    /// Since when SDOWN.
    pub sdown: Option<Millis>,
    /// Last hello from it about this master.
    pub last_hello: Arc<SharedMillis>,
    /// The pace of our hellos to it.
    pub hello: HelloPace,
    /// What it last said of this master.
    pub opinion: Opinion,
}

impl Sentinel {
    /// A peer that is known since now.
    pub fn new(addr: Addr, now: Millis) -> Sentinel {
        let health = LinkHealth::new(now);
        Sentinel {
            addr,
            health,
            ages: Arc::new(SharedAges::new(&health)),
            sdown: None,
            last_hello: Arc::new(SharedMillis::new(now)),
            hello: HelloPace::new(now),
            opinion: Opinion::new(now),
        }
    }

    /// Whether it can be expected to answer.
    pub fn is_reachable(&self) -> bool {
        self.health.connected && self.sdown.is_none()
    }
}

/// A peer's answers to is-master-down-by-addr.
#[derive(Clone, Debug)]
pub struct Opinion {
    /// It says that the master is down.
    pub master_down: bool,
    /// When it last answered; at first when it became known.
    pub answered_at: Millis,
    /// When it was last asked on its present connection about the present episode.
    pub asked_at: Option<Millis>,
    /// When the last question left on its present connection, about whatever episode.
    last_question: Millis,
    /// Questions that it has not answered.
    owed: u32,
    /// The oldest of them are about a master that was replaced since.
    outdated: u32,
    /// How long its last answer took, ms. When many masters fail together that is far more than a PING takes.
    pub round_trip: u64,
    /// Whom it last said it voted for.
    pub leader: Option<RunId>,
    /// In which epoch. Stays when the rest expires.
    pub leader_epoch: Epoch,
}

impl Opinion {
    fn new(now: Millis) -> Opinion {
        Opinion {
            master_down: false,
            answered_at: now,
            asked_at: None,
            last_question: now,
            owed: 0,
            outdated: 0,
            round_trip: 0,
            leader: None,
            leader_epoch: Epoch(0),
        }
    }

    /// When it is too old to count (failover.md 111).
    pub fn expires_at(&self) -> Option<Millis> {
        (self.master_down || self.leader.is_some()).then(|| self.answered_at + ASK_VALIDITY + 1)
    }

    /// It is asked now.
    pub fn ask(&mut self, now: Millis) {
        self.asked_at = Some(now);
        self.last_question = now;
        self.owed += 1;
    }

    /// When it was asked what it has not answered, if it owes anything.
    pub fn owing_since(&self) -> Option<Millis> {
        (self.owed > 0).then_some(self.last_question)
    }

    /// It has answered. False if that was about a master that was replaced since.
    pub fn answered(&mut self, now: Millis) -> bool {
        self.owed = self.owed.saturating_sub(1);
        if self.owed == 0 {
            self.round_trip = now.since(self.last_question);
        }
        let is_current = self.outdated == 0;
        self.outdated = self.outdated.saturating_sub(1);
        is_current
    }

    /// What it was asked will not be answered: the connection is gone.
    pub fn forget_question(&mut self) {
        self.asked_at = None;
        self.owed = 0;
        self.outdated = 0;
    }

    /// The master was replaced: neither what it said of the old one nor what it still has to say counts for the new one.
    pub fn forget_master(&mut self) {
        self.master_down = false;
        self.asked_at = None;
        self.outdated = self.owed;
    }

    /// Drops what is too old.
    pub fn expire(&mut self) {
        self.master_down = false;
        self.leader = None;
    }

    /// The vote it reported, for the tally.
    pub fn vote(&self) -> Option<(&RunId, Epoch)> {
        self.leader.as_ref().map(|leader| (leader, self.leader_epoch))
    }
}
