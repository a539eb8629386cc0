//! One master: its replicas, its peers' opinions, votes and failover.
//!
//! Call [`Monitor::new`] with what the file says, then [`Monitor::handle`] with `Tick` once, and from then on with
//! every input and at every time that a `WakeAt` has named. Each call is one *step*: the input is taken in, and then
//! everything that is due is done, in the order of stock's timer: the master, its replicas, the peers, the switch.

pub mod admin;
pub mod connect;
pub mod coordinated;
pub mod demote;
pub mod down;
pub mod echo;
pub mod election;
pub mod failover;
pub mod hello;
pub mod identity;
pub mod info;
pub mod instance;
pub mod names;
pub mod order;
mod reborn;
pub mod reconf;
pub mod record;
pub mod select;
pub mod view;
pub mod vote;
mod whole_info;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Env;
use super::addr::Addr;
use super::beat::Beat;
use super::event::{Event, EventKind, Level};
use super::id::{Epoch, ReplyToken, Rev, RunId};
use super::io::{Input, Outbox, Output, Tag};
use super::link::is_due;
use super::policy::TiltMode;
use super::scripts::{Part, ScriptJob};
use super::tilt::TiltGuard;
use super::time::Millis;
use coordinated::Undo;
use demote::Deposed;
use echo::Echo;
use failover::{Failover, FailoverState};
use hello::Hello;
use identity::Identity;
use instance::{Replica, ReplicaKey, Role, Seat, Sentinel, Server, ServerId};
use names::Names;
use order::Asking;
use reborn::Reborn;
use reconf::reconf_gives_up_at;
use record::{MasterRecord, MasterSpec};
use vote::Ledger;

/// Everything about one master.
#[derive(Debug)]
pub struct Monitor {
    spec: MasterSpec,
    config_epoch: Epoch,
    ledger: Ledger,
    master: Server,
    odown: Option<Millis>,
    last_odown: Option<Millis>,
    /// Since when the master reboots, if `master-reboot-down-after-period` is set.
    reboot_since: Option<Millis>,
    reborn: Option<Reborn>,
    // On the heap, as a map has room for eleven from the first one on.
    replicas: BTreeMap<ReplicaKey, Box<Replica>>,
    sentinels: BTreeMap<RunId, Box<Sentinel>>,
    failover: Failover,
    asking: Option<Box<Asking>>,
    undo: Option<Undo>,
    /// The master that our last failover replaced, until it is a replica or somebody's newer failover counts.
    deposed: Option<Deposed>,
    echo: Echo,
    tilt: TiltGuard,
    /// Replication ids that this master's data has had, as far as seen (beyond.md B1).
    history: BTreeSet<Arc<str>>,
    identity: Identity,
    names: Names,
    rng: StdRng,
    beat: Beat,
    last_link: u64,
    rev: Rev,
    durable: Rev,
    /// No hello leaves before this revision is on disk.
    announce_after: Rev,
    held_answers: Vec<(Rev, ReplyToken)>,
    /// Who waits for INFO in full, and until when, in this order.
    info_askers: Vec<(ReplyToken, Millis)>,
    last_refusal: Option<String>,
    introduced: bool,
    /// Something that readers see has changed since the view was published.
    dirty: bool,
}

/// A step comes at least this often, ms, so that a process that stood still notices.
const MAX_SLEEP: u64 = 1_000;

impl Monitor {
    /// A monitor for a loaded or new master. `seed` feeds its jitter and its beat.
    pub fn new(record: MasterRecord, seed: u64, env: &Env<'_>) -> Monitor {
        let now = env.now.mono;
        let MasterRecord { spec, addr, config_epoch, leader_epoch, replicas, sentinels, mut identity } = record;
        let history = std::mem::take(&mut identity.replids).into_iter().map(Arc::from).collect();
        let peers = sentinels.iter().map(|(id, _)| id.clone());
        let mut monitor = Monitor {
            spec,
            config_epoch,
            ledger: Ledger::new(leader_epoch),
            master: Server::new(addr, Role::Master, now),
            odown: None,
            last_odown: None,
            reboot_since: None,
            reborn: None,
            replicas: BTreeMap::new(),
            sentinels: BTreeMap::new(),
            failover: Failover::default(),
            asking: None,
            undo: None,
            deposed: None,
            echo: Echo::default(),
            tilt: TiltGuard::default(),
            history,
            identity: Identity::new(identity, peers, env.node.policies.keeps_identity),
            names: Names::default(),
            rng: StdRng::seed_from_u64(seed),
            beat: Beat::new(seed),
            last_link: 0,
            rev: Rev(0),
            durable: Rev(0),
            announce_after: Rev(0),
            held_answers: Vec::new(),
            info_askers: Vec::new(),
            last_refusal: None,
            introduced: false,
            dirty: true,
        };
        for addr in replicas {
            monitor.add_replica(addr, env);
        }
        // Our own id in the list would make us our own voter (failover.md I13).
        for (id, addr) in sentinels.into_iter().filter(|(id, _)| *id != env.node.myid) {
            monitor.sentinels.insert(id, Box::new(Sentinel::new(addr, now)));
        }
        monitor
    }

    /// Takes one input and leaves what follows from it in `out`.
    pub fn handle(&mut self, input: Input, env: &Env<'_>, out: &mut Outbox) {
        self.handle_all([input], env, out);
    }

    /// Takes inputs that have arrived together, then looks once at what is due. After a stall the reply that shows a
    /// master alive may lie behind other inputs; a step between them would take the master for dead.
    pub fn handle_all(&mut self, inputs: impl IntoIterator<Item = Input>, env: &Env<'_>, out: &mut Outbox) {
        self.choose_guard(env);
        self.check_tilt(env, out);
        self.introduce_peers(out);
        for input in inputs {
            self.take(input, env, out);
        }
        for sentinel in self.sentinels.values_mut() {
            sentinel.ages.refresh(&mut sentinel.health);
        }
        self.step(env, out);
        self.save_identity(env, out);
        self.servers().for_each(|server| server.link.show_ages());
        self.publish_view(env, out);
        let wake = self.next_wake(env);
        self.tilt.expect(wake);
        out.push(Output::WakeAt(wake));
    }

    fn take(&mut self, input: Input, env: &Env<'_>, out: &mut Outbox) {
        let now = env.now.mono;
        match input {
            Input::LinkUp { link, local } => self.on_link_up(link, local, now),
            Input::LinkDown(link, error) => self.on_link_down(link, &error, env, out),
            Input::Reply { link, tag, value } => self.on_reply(link, tag, &value, env, out),
            Input::PubSub { link, payload } => {
                if payload.is_none() {
                    self.note_subscribing(link);
                }
                let hello = payload.as_deref().and_then(Hello::parse);
                if let (true, Some(hello)) = (self.on_pubsub(link, env), hello) {
                    self.note_hello_on(link, &hello, env);
                    if hello.id == env.node.myid && hello.master == self.spec.name {
                        self.note_hello_heard(link);
                    }
                    self.on_hello(&hello, env, out);
                }
            }
            Input::Hello(hello) => self.on_hello(&hello, env, out),
            Input::Resolved { host, ip } => self.on_resolved(&host, ip, env, out),
            Input::PeerHealth { peer, health, ages } => {
                if let Some(sentinel) = self.sentinels.get_mut(&peer) {
                    if sentinel.health.generation != health.generation || !health.connected {
                        sentinel.hello.forget();
                        sentinel.opinion.forget_question();
                    }
                    sentinel.health = *health;
                    sentinel.ages = ages;
                    self.dirty = true;
                }
            }
            Input::PeerReply { peer, tag: Tag::Ask, value } => self.on_opinion(&peer, &value, env, out),
            Input::PeerReply { peer, tag: Tag::Publish, value } => {
                let beat = self.beat(env);
                if let Some(sentinel) = self.sentinels.get_mut(&peer) {
                    sentinel.hello.answered(&value, beat, env);
                }
            }
            Input::Tick | Input::PeerReply { .. } => {}
            Input::VoteRequest { from, addr, epoch, candidate } => {
                self.on_vote_request(from, &addr, epoch, candidate, env, out);
            }
            Input::Admin { from, request } => self.on_admin(from, request, env, out),
            Input::Durable(rev) => self.on_durable(rev, env, out),
            Input::PersistFailed(rev) => self.on_persist_failed(rev, env, out),
            Input::Notice(notice) => self.on_notice(notice, env, out),
        }
    }

    /// Does everything that is due. The order of events inside a step is stock's.
    fn step(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let acting = !env.tilt.is_on();
        self.check_echo(env);
        if self.is_waiting(self.master_seat(), env) {
            self.keep_in_touch(&ServerId::Master, env, out);
        }
        self.check_asking(env, out);
        self.make_amends(env, out);
        self.check_rebirth(env, out);
        if acting {
            self.expire_opinions(env.now.mono);
            self.check_server_down(&ServerId::Master, env, out);
            self.check_objectively_down(env, out);
            self.start_if_needed(env, out);
            while self.advance(env, out) {}
            self.ask_peers(env, out);
        }
        // Looking is cheap, and most of the time there is nothing to do.
        let waiting = |seat: &Seat<'_>| self.is_waiting(*seat, env);
        let waiting: Vec<ServerId> = self
            .replicas
            .iter()
            .map(|(key, replica)| Seat::of(key, replica))
            .filter(waiting)
            .map(|seat| seat.id())
            .collect();
        for who in waiting {
            self.keep_in_touch(&who, env, out);
            if acting {
                self.check_server_down(&who, env, out);
            }
        }
        let waiting = |sentinel: &Sentinel| self.is_peer_waiting(sentinel, env);
        let waiting: Vec<RunId> =
            self.sentinels.iter().filter(|(_, sentinel)| waiting(sentinel)).map(|(id, _)| id.clone()).collect();
        for peer in waiting {
            self.publish_to_peer(&peer, env, out);
            if acting {
                self.check_peer_down(&peer, env, out);
            }
        }
        if matches!(self.failover.state, FailoverState::UpdateConfig { .. }) {
            self.finish_failover(env, out);
            // The down clocks of all start anew with it, so PINGs leave with it, too.
            let servers: Vec<ServerId> = self.seats().map(|seat| seat.id()).collect();
            for who in servers {
                self.keep_in_touch(&who, env, out);
            }
        }
        self.forget_doubles(env, out);
        self.answer_info_askers(env.now.mono, out);
    }

    /// The earliest time at which something is due. Every rule that acts on time is here with the very deadline that
    /// it acts on.
    fn next_wake(&self, env: &Env<'_>) -> Millis {
        let now = env.now.mono;
        let mut earliest = now + MAX_SLEEP;
        let mut at = |deadline: Option<Millis>| earliest = deadline.map_or(earliest, |at| earliest.min(at));
        let tilt = env.tilt.until();
        at(tilt);
        at(self.hello_at(env));
        at(self.echo.due);
        at(self.info_askers_at());
        at(self.asking_until());
        at(self.amends_until());
        at(self.reborn_until());
        for seat in self.seats() {
            at(self.touch_at(seat, env));
            if tilt.is_none() && seat.server.sdown.is_none() {
                at(self.server_down_at(seat, env));
            }
        }
        if tilt.is_none() {
            at(self.start_at(env));
            at(self.advance_at(env));
            for sentinel in self.sentinels.values() {
                at(sentinel.opinion.expires_at());
                at(self.ask_at(sentinel, now, env));
                at(sentinel.sdown.is_none().then(|| sentinel.health.look_at(self.spec.down_after, now)));
            }
            self.replicas.values().for_each(|replica| at(reconf_gives_up_at(replica, env)));
        }
        earliest.max(now + 1)
    }

    /// Whether a tick now would hold somebody's silence against it: with SDOWN, by giving a connection up, or by standing for
    /// leader where another may have asked for our vote. Then everything that has arrived should have been read before.
    pub fn is_about_to_judge(&self, env: &Env<'_>) -> bool {
        let now = env.now.mono;
        let is_silent = |server: &Server| {
            let (link, periods) = (&server.link, &env.node.periods);
            (server.sdown.is_none() && is_due(link.health.down_at(self.spec.down_after), now))
                || is_due(link.recycle_command_at(self.spec.down_after, periods), now)
                || is_due(link.recycle_pubsub_at(periods), now)
        };
        let is_gone = |sentinel: &Sentinel| {
            let mut health = sentinel.health;
            sentinel.ages.refresh(&mut health);
            sentinel.sdown.is_none() && is_due(health.down_at(self.spec.down_after), now)
        };
        is_due(self.start_at(env), now)
            || self.servers().any(is_silent)
            || self.sentinels.values().any(|sentinel| is_gone(sentinel))
    }

    /// Whether there is something to do for this server: it is due for something, or seems to be down, or no longer to
    /// be.
    fn is_waiting(&self, seat: Seat<'_>, env: &Env<'_>) -> bool {
        let now = env.now.mono;
        is_due(self.touch_at(seat, env), now)
            || (seat.server.link.health.connected && is_due(seat.server.hello.at(), now))
            || is_due(self.server_down_at(seat, env), now) != seat.server.sdown.is_some()
    }

    /// The same for a peer.
    fn is_peer_waiting(&self, sentinel: &Sentinel, env: &Env<'_>) -> bool {
        let now = env.now.mono;
        (sentinel.health.connected && is_due(sentinel.hello.at(), now))
            || is_due(sentinel.health.down_at(self.spec.down_after), now) != sentinel.sdown.is_some()
    }

    /// Before anything else: did this process stand still? TILT is entered by whoever notices first.
    fn check_tilt(&mut self, env: &Env<'_>, out: &mut Outbox) {
        let (now, periods) = (env.now.mono, &env.node.periods);
        let stock = env.node.policies.tilt == TiltMode::Stock;
        env.tilt.step(now, periods.tilt_trigger);
        if let Some(late) = self.tilt.lateness(now) {
            env.lateness.note(late);
        }
        let mut stalled = self.tilt.stalled_since(env.tilt, periods.tilt_trigger);
        if let Some(jump) = env.tilt.wall_jump(env.now, periods.tilt_trigger) {
            if stock {
                stalled = Some(now);
            } else {
                let text = format!("The wall clock was set by {jump} ms; nothing here depends on it.");
                out.push(Output::Log(Level::Warning, text));
            }
        }
        let period = if stock { periods.tilt } else { self.probing_time(env) };
        if let Some(since) = stalled
            && env.tilt.enter(now, since, period)
        {
            out.emit(Event::new(EventKind::TiltEntered, "#tilt mode entered"));
        }
        if self.tilt.must_rearm(env.tilt) && !stock {
            self.rearm_probes(env);
        }
        if env.tilt.leave(now) {
            out.emit(Event::new(EventKind::TiltExited, "#tilt mode exited"));
        }
    }

    /// How long fresh probes need until their silence means something, ms.
    fn probing_time(&self, env: &Env<'_>) -> u64 {
        self.spec.down_after.min(env.node.periods.tilt)
    }

    /// After a stall nothing that was asked before it counts, for us or against anybody. TILT lasts until what is
    /// asked now has had its time, for the slowest master of the process (beyond.md B7).
    fn rearm_probes(&mut self, env: &Env<'_>) {
        let now = env.now.mono;
        env.tilt.extend(now + self.probing_time(env));
        self.master.link.rearm(now);
        self.replicas.values_mut().for_each(|replica| replica.server.link.rearm(now));
        self.dirty = true;
    }

    /// Once, with the first input: the peers from the file are watched.
    fn introduce_peers(&mut self, out: &mut Outbox) {
        if !std::mem::replace(&mut self.introduced, true) {
            for (id, sentinel) in &self.sentinels {
                self.watch_peer(id, sentinel.addr.clone(), out);
            }
        }
    }

    fn publish_view(&mut self, env: &Env<'_>, out: &mut Outbox) {
        if std::mem::take(&mut self.dirty) {
            out.publish_first(self.view(env));
        }
    }

    /// What must be saved. While a promotion is on its way to the disk, this already names the new address.
    pub fn record(&self) -> MasterRecord {
        let (config_epoch, promoted) = match &self.failover.state {
            FailoverState::WaitPromotion { epoch, promoted, saving: Some(_), .. } => (*epoch, Some(promoted)),
            FailoverState::ReconfReplicas { promoted, .. } | FailoverState::UpdateConfig { promoted, .. } => {
                (self.config_epoch, Some(promoted))
            }
            _ => (self.config_epoch, None),
        };
        let promoted = promoted.and_then(|key| self.replicas.get(key)).map(|replica| &replica.server.addr);
        // The old master takes the promoted replica's place in the list.
        let replicas = self.replicas.values().map(|replica| &replica.server.addr);
        let replicas = replicas.map(|addr| if Some(addr) == promoted { &self.master.addr } else { addr });
        MasterRecord {
            spec: self.spec.clone(),
            addr: promoted.unwrap_or(&self.master.addr).clone(),
            config_epoch,
            leader_epoch: self.ledger.leader_epoch(),
            replicas: replicas.cloned().collect(),
            sentinels: self.sentinels.iter().map(|(id, sentinel)| (id.clone(), sentinel.addr.clone())).collect(),
            identity: self.identity_record(),
        }
    }

    /// Its name and settings.
    pub fn spec(&self) -> &MasterSpec {
        &self.spec
    }

    /// The address that others are told: the promoted replica's from the moment its promotion is saved.
    fn current_addr(&self) -> &Addr {
        let promoted = match &self.failover.state {
            FailoverState::ReconfReplicas { promoted, .. } | FailoverState::UpdateConfig { promoted, .. } => {
                self.replicas.get(promoted)
            }
            _ => None,
        };
        promoted.map_or(&self.master.addr, |replica| &replica.server.addr)
    }

    fn next_rev(&self) -> Rev {
        Rev(self.rev.0 + 1)
    }

    fn persist(&mut self, env: &Env<'_>, out: &mut Outbox) -> Rev {
        assert!(self.config_epoch <= env.epoch.current(), "a configuration is never newer than the current epoch");
        self.rev = self.next_rev();
        self.dirty = true;
        out.push(Output::Persist { rev: self.rev, record: Box::new(self.record()) });
        self.rev
    }

    fn master_seat(&self) -> Seat<'_> {
        Seat { server: &self.master, replica: None }
    }

    fn seats(&self) -> impl Iterator<Item = Seat<'_>> {
        std::iter::once(self.master_seat()).chain(self.replicas.iter().map(|(key, replica)| Seat::of(key, replica)))
    }

    fn seat(&self, who: &ServerId) -> Option<Seat<'_>> {
        match who {
            ServerId::Master => Some(self.master_seat()),
            ServerId::Replica(key) => self.replicas.get_key_value(key).map(|(key, replica)| Seat::of(key, replica)),
        }
    }

    fn server(&self, who: &ServerId) -> Option<&Server> {
        match who {
            ServerId::Master => Some(&self.master),
            ServerId::Replica(key) => self.replicas.get(key).map(|replica| &replica.server),
        }
    }

    fn server_mut(&mut self, who: &ServerId) -> Option<&mut Server> {
        match who {
            ServerId::Master => Some(&mut self.master),
            ServerId::Replica(key) => self.replicas.get_mut(key).map(|replica| &mut replica.server),
        }
    }

    fn servers(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.master).chain(self.replicas.values().map(|replica| &replica.server))
    }

    fn emit(&mut self, kind: EventKind, payload: impl Into<String>, out: &mut Outbox) {
        self.dirty = true;
        let event = Event::new(kind, payload);
        let script = ScriptJob::notification(self.spec.notification_script.as_ref(), &event);
        out.emit(event);
        if let Some(job) = script {
            out.push(Output::Script(job));
        }
    }

    /// Runs `client-reconfig-script`, if there is one: clients are to be led from one address to another.
    fn lead_clients(&self, part: Part, from: &Addr, to: &Addr, env: &Env<'_>, out: &mut Outbox) {
        if let Some(path) = &self.spec.client_reconfig_script {
            let shown = |addr: &Addr| (addr.shown_host(env.node).to_string(), addr.port);
            let job = ScriptJob::client_reconfig(path, &self.spec.name, part, shown(from), shown(to));
            out.push(Output::Script(job));
        }
    }

    /// `<type> <name> <ip> <port>`, for a replica followed by ` @ <master> <ip> <port>`.
    fn describe(&self, who: &ServerId, env: &Env<'_>) -> String {
        let master = &self.master.addr;
        let at = format!("{} {} {}", self.spec.name, master.shown_host(env.node), master.port);
        match who {
            ServerId::Master => format!("master {at}"),
            ServerId::Replica(key) => {
                let addr = self.replicas.get(key).map(|replica| &replica.server.addr);
                let (host, port) = addr.map_or_else(Default::default, |addr| (addr.shown_host(env.node), addr.port));
                format!("slave {key} {host} {port} @ {at}")
            }
        }
    }

    /// `sentinel <id> <ip> <port> @ <master> <ip> <port>`
    fn describe_sentinel(&self, id: &RunId, env: &Env<'_>) -> String {
        let master = &self.master.addr;
        let at = format!("{} {} {}", self.spec.name, master.shown_host(env.node), master.port);
        let addr = self.sentinels.get(id).map(|sentinel| &sentinel.addr);
        let (host, port) = addr.map_or_else(Default::default, |addr| (addr.shown_host(env.node), addr.port));
        format!("sentinel {id} {host} {port} @ {at}")
    }
}
