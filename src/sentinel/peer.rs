//! One remote Sentinel, shared by every master that knows it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use super::Env;
use super::addr::Addr;
use super::ages::SharedAges;
use super::command::Command;
use super::event::{Event, EventKind};
use super::id::{LinkId, MasterName, RunId, Secret};
use super::io::{Channel, LinkError, Reply, Tag};
use super::link::{Link, PingReply, WantsPubSub, is_due};
use super::policy::TiltMode;
use super::tilt::TiltGuard;
use super::time::Millis;

/// An input of [`Peer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerInput {
    /// The time asked for with `WakeAt` has come.
    Tick,
    /// The connection is established; `local` is our own address on it.
    LinkUp {
        /// Which connection.
        link: LinkId,
        /// Announced in hellos unless `announce-ip` is set.
        local: IpAddr,
    },
    /// The connection failed or was closed by the other side.
    LinkDown(LinkId, LinkError),
    /// The reply to one `Send`, in the order of sending.
    Reply {
        /// Which connection.
        link: LinkId,
        /// From the `Send`.
        tag: Tag,
        /// What came.
        value: Reply,
    },
    /// A master has this peer; also sent again when its `down_after` changes.
    Watch {
        /// Which master.
        master: MasterName,
        /// ms
        down_after: u64,
    },
    /// A master has this peer no longer.
    Unwatch {
        /// Which master.
        master: MasterName,
    },
    /// A monitor's `SendPeer`. Dropped without a reply while the link is down.
    Send {
        /// Who asks and gets the reply.
        master: MasterName,
        /// Comes back with the reply.
        tag: Tag,
        /// What to send.
        command: Command,
    },
    /// The peer has a new address.
    Moved(Addr),
    /// `NodeSettings` changed; new credentials mean a new connection.
    SettingsChanged,
}

/// An output of [`Peer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerOutput {
    /// Open the command connection. `Send`s may follow at once.
    Connect {
        /// Names the new connection.
        link: LinkId,
        /// Where to.
        addr: Addr,
    },
    /// Close it. No input for it follows.
    Close(LinkId),
    /// Queue a command.
    Send {
        /// Which connection.
        link: LinkId,
        /// Comes back with the reply.
        tag: Tag,
        /// What to send.
        command: Command,
    },
    /// Tell a monitor: `Input::PeerHealth`.
    Health {
        /// Which master.
        master: MasterName,
        /// The link as of now.
        health: LinkHealth,
        /// Where its ages are found later.
        ages: Arc<SharedAges>,
    },
    /// Tell a monitor: `Input::PeerReply`.
    Reply {
        /// Which master.
        master: MasterName,
        /// From its `SendPeer`.
        tag: Tag,
        /// What came.
        value: Reply,
    },
    /// Log an event (debug level only).
    Emit(Event),
    /// Look up the peer's host name; answered by `Moved` with the address filled in.
    Resolve(Addr),
    /// Send `Tick` at this time, unless a later batch names another.
    WakeAt(Millis),
}

/// Outputs of one call, in order.
#[derive(Debug, Default)]
pub struct PeerOutbox(Vec<PeerOutput>);

impl PeerOutbox {
    /// Appends an output.
    pub fn push(&mut self, output: PeerOutput) {
        self.0.push(output);
    }

    /// What is in it, in order.
    pub fn as_slice(&self) -> &[PeerOutput] {
        &self.0
    }

    /// Takes everything out, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, PeerOutput> {
        self.0.drain(..)
    }
}

/// What is known of a link: whether it is there, and its ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkHealth {
    /// Changes when the connection is replaced; replies to what was sent before will not come.
    pub generation: u64,
    /// Whether the connection exists (it may still be connecting).
    pub connected: bool,
    /// Our own address on it, once established.
    pub local: Option<IpAddr>,
    /// When the first unanswered PING was sent.
    pub ping_pending_since: Option<Millis>,
    /// Last acceptable PING reply.
    pub last_available: Millis,
    /// Last PING reply of any kind.
    pub last_pong: Millis,
    /// Commands sent and not answered.
    pub pending_commands: u64,
    /// Masters that share the link.
    pub refcount: u32,
    /// Round trip of the last answered PING, ms.
    pub round_trip: u64,
}

/// One remote Sentinel: one connection and one stream of PINGs, however many masters it shares with us.
///
/// | input | what follows |
/// |---|---|
/// | first `Watch`, `Tick` | connect, AUTH, CLIENT SETNAME, PING |
/// | `Send` | the command, if connected |
/// | `Reply` | to the master that sent, in order |
/// | `Moved`, new credentials | the old connection is closed, a new one opened |
#[derive(Debug)]
pub struct Peer {
    id: RunId,
    addr: Addr,
    link: Link,
    /// The masters that have it, and the `down_after` of each.
    watchers: BTreeMap<MasterName, u64>,
    /// Those who have to be told how the link is whether that has changed or not.
    newcomers: Vec<MasterName>,
    /// The shortest of the `down_after`s. Looked for when one changes: at a thousand masters that costs as much as all else
    /// that an input does.
    down_after: Option<u64>,
    /// Who gets the replies that are outstanding, in order of sending.
    awaiting: VecDeque<Option<(MasterName, Tag)>>,
    credentials: Option<(Option<String>, Secret)>,
    last_link: u64,
    reported: Option<LinkHealth>,
    tilt: TiltGuard,
}

impl Peer {
    /// A peer that is not connected yet; it connects at its first `Watch`.
    pub fn new(id: RunId, addr: Addr, now: Millis) -> Peer {
        Peer {
            id,
            addr,
            link: Link::new(now),
            watchers: BTreeMap::new(),
            newcomers: Vec::new(),
            down_after: None,
            awaiting: VecDeque::new(),
            credentials: None,
            last_link: 0,
            reported: None,
            tilt: TiltGuard::default(),
        }
    }

    /// Its run id.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Takes one input and leaves what follows from it in `out`.
    pub fn handle(&mut self, input: PeerInput, env: &Env<'_>, out: &mut PeerOutbox) {
        self.handle_all([input], env, out);
    }

    /// Takes inputs that have arrived together, then looks once at what is due: a PONG may lie behind other inputs.
    pub fn handle_all(&mut self, inputs: impl IntoIterator<Item = PeerInput>, env: &Env<'_>, out: &mut PeerOutbox) {
        for input in inputs {
            self.take(input, env, out);
        }
        self.step(env, out);
    }

    /// Whether a tick now would give the connection up for its silence. Then everything that has arrived should have been
    /// read before.
    pub fn is_about_to_judge(&self, env: &Env<'_>) -> bool {
        is_due(self.recycle_at(env), env.now.mono)
    }

    fn take(&mut self, input: PeerInput, env: &Env<'_>, out: &mut PeerOutbox) {
        let now = env.now.mono;
        match input {
            PeerInput::Tick => {}
            PeerInput::LinkUp { link, local } => {
                if self.link.command_id() == Some(link) {
                    self.link.command_established(local, now);
                }
            }
            PeerInput::LinkDown(link, error) => {
                if self.link.command_id() == Some(link) {
                    self.disconnected(now);
                    let what = format!("sentinel {} {} {} #{}", self.id, self.addr.host, self.addr.port, error.0);
                    out.push(PeerOutput::Emit(Event::new(EventKind::CommandLinkReconnection, what)));
                }
            }
            PeerInput::Reply { link, tag, value } => self.replied(link, tag, value, now, out),
            PeerInput::Watch { master, down_after } => {
                self.watchers.insert(master.clone(), down_after);
                self.newcomers.push(master);
                self.watchers_changed();
            }
            PeerInput::Unwatch { master } => {
                self.watchers.remove(&master);
                self.watchers_changed();
                for entry in &mut self.awaiting {
                    if entry.as_ref().is_some_and(|(owner, _)| *owner == master) {
                        *entry = None;
                    }
                }
            }
            PeerInput::Send { master, tag, command } => {
                if self.watchers.contains_key(&master) {
                    self.send(Some((master, tag)), tag, command, out);
                }
            }
            PeerInput::Moved(addr) => self.moved(addr, now, out),
            PeerInput::SettingsChanged => {
                if self.link.command.is_some() && self.credentials != credentials(env) {
                    self.close(now, out);
                    self.link.allow_attempt();
                }
            }
        }
    }

    fn watchers_changed(&mut self) {
        self.down_after = self.watchers.values().min().copied();
        self.link.health.refcount = self.watchers.len().max(1) as u32;
    }

    fn step(&mut self, env: &Env<'_>, out: &mut PeerOutbox) {
        let now = env.now.mono;
        if self.tilt.must_rearm(env.tilt) && env.node.policies.tilt == TiltMode::Rearm {
            self.link.rearm(now);
        }
        if is_due(self.recycle_at(env), now) {
            self.close(now, out);
        }
        if is_due(self.connect_at(now), now) {
            self.connect(env, out);
        }
        if is_due(self.link.ping_at(self.ping_period(env), now), now) {
            self.ping(now, out);
        }
        self.link.show_ages();
        self.report(out);
        let wake = [self.connect_at(now), self.link.ping_at(self.ping_period(env), now), self.recycle_at(env)];
        if let Some(at) = wake.into_iter().flatten().min() {
            out.push(PeerOutput::WakeAt(at));
        }
    }

    fn connect_at(&self, now: Millis) -> Option<Millis> {
        if self.addr.port == 0 || self.watchers.is_empty() {
            return None;
        }
        self.link.connect_at(WantsPubSub::No, now)
    }

    /// The smallest period of the masters that share this peer.
    fn ping_period(&self, env: &Env<'_>) -> u64 {
        self.down_after.map_or(env.node.periods.ping, |down_after| down_after.min(env.node.periods.ping))
    }

    fn recycle_at(&self, env: &Env<'_>) -> Option<Millis> {
        self.link.recycle_command_at(self.down_after?, &env.node.periods)
    }

    fn connect(&mut self, env: &Env<'_>, out: &mut PeerOutbox) {
        let now = env.now.mono;
        self.link.attempt(WantsPubSub::No, now);
        // A name may mean another address by now; the last good answer serves until there is a new one.
        if self.addr.is_named() {
            out.push(PeerOutput::Resolve(self.addr.clone()));
        }
        if self.addr.ip.is_none() {
            return;
        }
        self.last_link += 1;
        let link = LinkId(self.last_link);
        self.link.command_opened(link, now);
        out.push(PeerOutput::Connect { link, addr: self.addr.clone() });
        self.credentials = credentials(env);
        if let Some((user, password)) = self.credentials.clone() {
            self.send(None, Tag::Ignored, Command::Auth { user, password }, out);
        }
        let name = env.node.client_name(Channel::Command);
        self.send(None, Tag::Ignored, Command::ClientSetname(name), out);
        self.ping(now, out);
    }

    fn ping(&mut self, now: Millis, out: &mut PeerOutbox) {
        self.link.pinged(now);
        self.send(None, Tag::Ping, Command::Ping, out);
    }

    fn send(&mut self, from: Option<(MasterName, Tag)>, tag: Tag, command: Command, out: &mut PeerOutbox) {
        let Some(link) = self.link.command_id() else { return };
        // Questions about a master are never dropped for want of room (failover.md 2.4); they are few.
        let exempt = !matches!(command, Command::PublishHello(_));
        if !exempt && !self.link.has_room() {
            return;
        }
        self.link.sent();
        self.awaiting.push_back(from);
        out.push(PeerOutput::Send { link, tag, command });
    }

    fn replied(&mut self, link: LinkId, tag: Tag, value: Reply, now: Millis, out: &mut PeerOutbox) {
        if self.link.command_id() != Some(link) {
            return;
        }
        self.link.replied(now);
        let asker = self.awaiting.pop_front().flatten();
        let is_answer = asker.is_some() && !matches!(value, Reply::Error(_));
        if tag == Tag::Ping || is_answer {
            let seemed_down = self.down_after.and_then(|down_after| self.link.health.down_at(down_after));
            if is_due(seemed_down, now) {
                // Whoever took it for down has to hear of this at once.
                self.reported = None;
            }
        }
        if tag == Tag::Ping {
            self.link.ponged(PingReply::of(&value), now);
        } else if is_answer {
            self.link.answered(now);
        }
        if let Some((master, tag)) = asker {
            out.push(PeerOutput::Reply { master, tag, value });
        }
    }

    fn moved(&mut self, addr: Addr, now: Millis, out: &mut PeerOutbox) {
        let same_name = self.addr.host == addr.host && self.addr.port == addr.port;
        // A look-up without an answer takes nothing away: the last good address stays.
        if self.addr == addr || (same_name && addr.ip.is_none()) {
            return;
        }
        self.addr = addr;
        // A name with several addresses gives another one each time; a connection that works is not closed for that.
        if !(same_name && self.link.health.local.is_some()) {
            self.close(now, out);
            self.link.allow_attempt();
        }
    }

    fn close(&mut self, now: Millis, out: &mut PeerOutbox) {
        if let Some(link) = self.disconnected(now) {
            out.push(PeerOutput::Close(link));
        }
    }

    fn disconnected(&mut self, now: Millis) -> Option<LinkId> {
        self.awaiting.clear();
        self.link.command_lost(now)
    }

    /// Tells the masters what they may have to act on at once. Ages they look up by themselves.
    fn report(&mut self, out: &mut PeerOutbox) {
        let health = self.link.health;
        let known = self.reported.is_some_and(|told| {
            (told.generation, told.connected, told.local) == (health.generation, health.connected, health.local)
        });
        let newcomers = std::mem::take(&mut self.newcomers);
        let untold: Vec<MasterName> = if known {
            newcomers.into_iter().filter(|master| self.watchers.contains_key(master)).collect()
        } else {
            self.reported = Some(health);
            self.watchers.keys().cloned().collect()
        };
        let ages = self.link.ages();
        for master in untold {
            out.push(PeerOutput::Health { master, health, ages: Arc::clone(ages) });
        }
    }
}

/// What to authenticate with at peers: `sentinel-pass` with `sentinel-user`, else `requirepass`, else nothing.
fn credentials(env: &Env<'_>) -> Option<(Option<String>, Secret)> {
    match (&env.node.sentinel_pass, &env.node.requirepass) {
        (Some(password), _) => Some((env.node.sentinel_user.clone(), password.clone())),
        (None, Some(password)) => Some((None, password.clone())),
        (None, None) => None,
    }
}
