//! A server with monitors and a supervisor that do what the test says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use sentineld::acl::users::{Declaration, rules_of};
use sentineld::acl::{PubsubDefault, Users};
use sentineld::driver::clock::Clock;
use sentineld::driver::post::{self, Letterbox, Post};
use sentineld::driver::{Answered, MonitorMessage, SupervisorHandle, SupervisorRequest};
use sentineld::net::listen::{self, Listener};
use sentineld::publish::{MasterEntry, Publisher};
use sentineld::sentinel::NodeSettings;
use sentineld::sentinel::ages::{SharedAges, SharedMillis};
use sentineld::sentinel::event::{Event, EventKind};
use sentineld::sentinel::id::{Epoch, MasterName, RunId};
use sentineld::sentinel::io::{AdminRequest, Answer};
use sentineld::sentinel::monitor::view::{InstanceView, MasterView, ReplicaView, SentinelView, ServerView};
use sentineld::sentinel::peer::LinkHealth;
use sentineld::sentinel::tilt::TiltRegister;
use sentineld::sentinel::time::Millis;
use sentineld::server::Renames;
use sentineld::server::acl::Acl;
use sentineld::server::clients::Clients;
use sentineld::server::counters::Counters;
use sentineld::server::pause::Pause;
use sentineld::server::pubsub::{self, HubSender};
use sentineld::server::turns::Turns;
use sentineld::server::{Context, Facts, Limits, serve};
use tokio::sync::{mpsc, watch};

use crate::wire::Wire;

pub(crate) const MYID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const PEER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// What to build. The default has no masters and lets everybody in.
pub(crate) struct Plan {
    pub(crate) limits: Limits,
    /// Names and rules of users; without one for `default`, it may do everything.
    pub(crate) users: &'static [(&'static str, &'static str)],
    /// `aclfile`
    pub(crate) acl_file: Option<PathBuf>,
    pub(crate) renames: Renames,
    pub(crate) settings: NodeSettings,
    /// Where to listen, and where clients connect to.
    pub(crate) host: [u8; 4],
}

/// A default user who needs the password `secret`.
pub(crate) const LOCKED: &[(&str, &str)] = &[("default", "on >secret ~* &* +@all")];

fn users(users: &[(&str, &str)]) -> Users {
    let declaration = |(name, rules): &(&str, &str)| {
        let rules = rules_of(&rules.split(' ').collect::<Vec<_>>()).expect("closed");
        Declaration { name: name.as_bytes().to_vec(), rules }
    };
    let declarations: Vec<_> = users.iter().map(declaration).collect();
    Users::declared(&declarations, None, PubsubDefault::ResetChannels).expect("rules")
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            limits: Limits::default(),
            users: &[],
            acl_file: None,
            renames: Renames::new(),
            settings: NodeSettings::new(RunId::from(MYID)),
            host: [127, 0, 0, 1],
        }
    }
}

pub(crate) struct World {
    pub(crate) addr: SocketAddr,
    pub(crate) context: Arc<Context>,
    pub(crate) publisher: Publisher,
    pub(crate) hub: Arc<HubSender>,
    pub(crate) clock: Clock,
    pub(crate) tilt: Arc<TiltRegister>,
    /// What the supervisor was asked.
    pub(crate) asked: Arc<Mutex<Vec<SupervisorRequest>>>,
    /// What the supervisor answers, and which events it publishes before and after answering.
    pub(crate) supervisor: Arc<Mutex<Manner>>,
    pub(crate) settings: watch::Sender<Arc<NodeSettings>>,
    closing: watch::Sender<bool>,
    post: Post,
}

/// How somebody answers.
#[derive(Clone)]
pub(crate) struct Manner {
    pub(crate) before: Vec<Event>,
    pub(crate) answer: Answer,
    pub(crate) after: Vec<Event>,
}

impl Default for Manner {
    fn default() -> Self {
        Manner { before: Vec::new(), answer: Answer::Ok, after: Vec::new() }
    }
}

impl Manner {
    pub(crate) fn error(text: &str) -> Manner {
        Manner { answer: Answer::Error(text.to_owned()), ..Manner::default() }
    }

    /// Events after the answer are published before it is sent: only the number in it tells them apart.
    fn play(&self, hub: &HubSender) -> Answered {
        for event in &self.before {
            hub.publish(event);
        }
        let answered = Answered { answer: self.answer.clone(), after_event: hub.published() };
        for event in &self.after {
            hub.publish(event);
        }
        answered
    }
}

impl World {
    pub(crate) fn new() -> World {
        World::planned(Plan::default())
    }

    pub(crate) fn planned(plan: Plan) -> World {
        let publisher = Publisher::default();
        let (hub, subscriptions, feed) = pubsub::hub();
        let clock = Clock::new();
        let tilt = Arc::new(TiltRegister::default());
        let (requests, mut inbox) = mpsc::channel(16);
        let listener = listen::bind(SocketAddr::from((plan.host, 0)), 511).expect("bind");
        let addr = listener.local_addr().expect("address");
        let (settings, settings_seen) = watch::channel(Arc::new(plan.settings));
        let context = Context {
            reader: publisher.reader(),
            supervisor: SupervisorHandle { requests, settings: settings_seen },
            hub: subscriptions,
            clock,
            tilt: tilt.clone(),
            tls: None,
            acl: Acl::new(users(plan.users), plan.acl_file, 128),
            renames: plan.renames,
            log_level: watch::channel("notice".to_owned()).1,
            facts: Facts {
                run_id: "c".repeat(40),
                executable: "/usr/bin/sentineld".to_owned(),
                config_file: "/etc/sentinel.conf".to_owned(),
                supervised: "no",
                tcp_port: addr.port(),
                unix_socket: None,
                started: clock.mono(),
            },
            limits: plan.limits,
            counters: Counters::default(),
            clients: Clients::default(),
            pause: Pause::default(),
            turns: Turns::default(),
        };
        let (closing, closing_seen) = watch::channel(false);
        let context = Arc::new(context);
        tokio::spawn(serve(vec![Listener::Tcp(listener)], context.clone(), feed, closing_seen));
        let supervisor = Arc::new(Mutex::new(Manner::default()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn({
            let (supervisor, asked, hub) = (supervisor.clone(), asked.clone(), hub.clone());
            async move {
                while let Some((request, reply)) = inbox.recv().await {
                    let reply: tokio::sync::oneshot::Sender<Answered> = reply;
                    asked.lock().unwrap().push(request);
                    let answered = supervisor.lock().unwrap().play(&hub);
                    let _ = reply.send(answered);
                }
            }
        });
        let (post, postman) = post::office();
        tokio::spawn(postman.run());
        World { addr, context, publisher, hub, clock, tilt, asked, supervisor, settings, closing, post }
    }

    pub(crate) async fn client(&self) -> Wire {
        Wire::connect(self.addr).await
    }

    pub(crate) async fn resp3_client(&self) -> Wire {
        let mut client = self.client().await;
        client.speak(3).await;
        client
    }

    /// How clients reach a monitor, and what it receives.
    pub(crate) fn mailbox(&self) -> (Letterbox, mpsc::Receiver<MonitorMessage>) {
        let (mailbox, inbox) = mpsc::channel(16);
        (Letterbox::new(mailbox, self.post.clone()), inbox)
    }

    /// Lets a master appear, whose monitor is the test.
    pub(crate) fn monitor_by_hand(&self, view: MasterView) -> mpsc::Receiver<MonitorMessage> {
        let (mailbox, inbox) = self.mailbox();
        let name = view.name();
        self.publisher.add(name, MasterEntry { view: watch::channel(Arc::new(view)).1, mailbox });
        inbox
    }

    /// Lets a master appear, whose monitor answers in this manner. What it is sent ends up in the list.
    pub(crate) fn monitor(&self, view: MasterView, manner: Manner) -> (watch::Sender<Arc<MasterView>>, Mailbox) {
        let (mailbox, mut inbox) = self.mailbox();
        let name = view.name();
        let (publish, seen) = watch::channel(Arc::new(view));
        self.publisher.add(name, MasterEntry { view: seen, mailbox });
        let got = Mailbox::default();
        tokio::spawn({
            let (got, hub) = (got.clone(), self.hub.clone());
            async move {
                while let Some(message) = inbox.recv().await {
                    match message {
                        MonitorMessage::Input(input) => got.push(format!("{input:?}")),
                        MonitorMessage::Vote { addr, epoch, candidate, reply } => {
                            got.push(format!("vote {addr} {epoch} {candidate}"));
                            let answer = Answer::Vote { down: false, leader: Some(candidate), epoch };
                            let _ = reply.send(Manner { answer, ..manner.clone() }.play(&hub));
                        }
                        MonitorMessage::Admin { request, reply } => {
                            got.note(&request);
                            let _ = reply.send(manner.play(&hub));
                        }
                    }
                }
            }
        });
        (publish, got)
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.mono()
    }

    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// What a monitor was sent.
#[derive(Clone, Default)]
pub(crate) struct Mailbox(Arc<Mutex<Vec<String>>>);

impl Mailbox {
    fn push(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn note(&self, request: &AdminRequest) {
        match request {
            AdminRequest::Set(options) => {
                for option in options {
                    self.push(format!("{} = {:?}", option.shown, option.change));
                }
            }
            other => self.push(format!("{other:?}")),
        }
    }

    /// Everything so far, and forgets it.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) fn event(kind: EventKind, payload: &str) -> Event {
    Event::new(kind, payload)
}

/// A healthy master `name` at this address, polled just now, with no replicas or peers.
pub(crate) fn master(name: &str, host: &str, port: u16, now: Millis) -> MasterView {
    MasterView {
        instance: instance(name, host, port, "master", now),
        current_host: host.into(),
        current_port: port,
        failover_state: None,
        odown_since: None,
        config_epoch: Epoch(3),
        leader_epoch: Epoch(3),
        quorum: 2,
        failover_timeout: 180_000,
        parallel_syncs: 1,
        notification_script: None,
        client_reconfig_script: None,
        server: server("master", now),
        replicas: Vec::new(),
        sentinels: Vec::new(),
    }
}

pub(crate) fn instance(name: &str, host: &str, port: u16, flags: &str, now: Millis) -> InstanceView {
    InstanceView {
        name: name.into(),
        host: host.into(),
        ip: host.parse().ok(),
        port,
        run_id: "d".repeat(40).into(),
        flags: flags.to_owned().into(),
        ages: Arc::new(SharedAges::new(&LinkHealth { ping_pending_since: None, ..LinkHealth::new(now) })),
        sdown_since: None,
        down_after: 30_000,
    }
}

pub(crate) fn server(role: &'static str, now: Millis) -> ServerView {
    ServerView { role_reported: role, role_reported_at: now, info_at: None, info: None }
}

pub(crate) fn replica(host: &str, port: u16, now: Millis) -> ReplicaView {
    ReplicaView {
        instance: instance(&sentineld::sentinel::addr::join_host_port(host, port), host, port, "slave", now),
        server: server("slave", now),
        master_link_down: 0,
        master_link_up: true,
        master_host: "127.0.0.1".into(),
        master_port: 6379,
        priority: 100,
        offset: 17,
        announced: true,
    }
}

pub(crate) fn peer(id: &str, now: Millis) -> SentinelView {
    SentinelView {
        instance: InstanceView { run_id: id.into(), ..instance(id, "127.0.0.1", 26_380, "sentinel", now) },
        last_hello: Arc::new(SharedMillis::new(now)),
        voted_leader: None,
        voted_epoch: Epoch(0),
    }
}

pub(crate) fn named(name: &str) -> MasterName {
    MasterName::from(name)
}
