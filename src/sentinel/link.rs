//! The state of one link: its connections and the ages that tell whether the other side lives.
//!
//! A [`Link`] is embedded by a master, a replica ([`super::monitor`]) and a peer ([`super::peer`]). It decides when to
//! connect, PING and recycle; its owner emits what it decides. Every rule is a deadline, used both to act and to know
//! when to wake.

use std::net::IpAddr;
use std::sync::Arc;

use super::ages::SharedAges;
use super::id::LinkId;
use super::io::Reply;
use super::peer::LinkHealth;
use super::time::{Millis, Periods, RECONNECT_PERIOD};

/// Ordinary commands are not sent while this many replies are outstanding, times the masters that share the link.
pub const MAX_PENDING_COMMANDS: u64 = 100;

/// One open connection, perhaps still being established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its name.
    pub id: LinkId,
    /// When it was opened.
    pub since: Millis,
    /// Our own address on it, once established.
    pub local: Option<IpAddr>,
    /// When something last arrived on it.
    pub last_activity: Millis,
    /// Since when things have arrived on a subscription without a long silence.
    pub steady_since: Option<Millis>,
}

/// A subscription on which nothing arrives for more than so many hello periods was silent.
const HELLO_PERIODS_OF_SILENCE: u64 = 2;

impl Connection {
    fn opened(id: LinkId, now: Millis) -> Connection {
        Connection { id, since: now, local: None, last_activity: now, steady_since: None }
    }

    /// Something arrives on a subscription.
    pub fn heard(&mut self, now: Millis, periods: &Periods) {
        if self.is_silent(now, periods) {
            self.steady_since = None;
        }
        self.steady_since.get_or_insert(now);
        self.last_activity = now;
    }

    /// Since when hellos would have been heard on a subscription: neither is it silent, nor was it.
    pub fn listening_since(&self, now: Millis, periods: &Periods) -> Option<Millis> {
        self.steady_since.filter(|_| !self.is_silent(now, periods))
    }

    fn is_silent(&self, now: Millis, periods: &Periods) -> bool {
        now.since(self.last_activity) > HELLO_PERIODS_OF_SILENCE * periods.publish
    }
}

/// What a reply to PING says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingReply {
    /// `+PONG`
    Pong,
    /// `-LOADING` or `-MASTERDOWN`: alive, though not serving.
    Alive,
    /// `-BUSY`: a script runs; counts as no answer.
    Busy,
    /// Anything else: something answers, but not an instance we can use.
    Unusable,
}

impl PingReply {
    /// Classifies by prefix, as stock does.
    pub fn of(value: &Reply) -> PingReply {
        match value {
            Reply::Status(text) if text.starts_with(b"PONG") => PingReply::Pong,
            Reply::Error(text) if text.starts_with(b"LOADING") || text.starts_with(b"MASTERDOWN") => PingReply::Alive,
            Reply::Error(text) if text.starts_with(b"BUSY") => PingReply::Busy,
            _ => PingReply::Unusable,
        }
    }
}

/// Something about each of the two connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts<T> {
    /// The command connection.
    pub command: T,
    /// The hello subscription.
    pub pubsub: T,
}

/// One instance's link.
#[derive(Clone, Debug)]
pub struct Link {
    /// The command connection.
    pub command: Option<Connection>,
    /// The hello subscription; peers have none.
    pub pubsub: Option<Connection>,
    /// Ages, in the form that peers hand to monitors.
    pub health: LinkHealth,
    /// The same ages for others to look at, as of the last [`Link::show_ages`].
    ages: Arc<SharedAges>,
    last_attempts: Attempts<Option<Millis>>,
    last_ping: Option<Millis>,
    /// Time between two attempts at the command connection, ms.
    command_pace: u64,
    /// And this much more, ms.
    respite: u64,
    /// Attempts at the command connection in a row that led to nothing.
    failures: u32,
}

/// After so many attempts that led to nothing the next one need not be soon.
const FEW_FAILURES: u32 = 3;

impl LinkHealth {
    /// Ages of an instance that is known since `now`: the down clock runs from its creation, so that one that can
    /// never be reached becomes SDOWN (failover.md 93).
    pub fn new(now: Millis) -> LinkHealth {
        LinkHealth {
            generation: 0,
            connected: false,
            local: None,
            ping_pending_since: Some(now),
            last_available: now,
            last_pong: now,
            pending_commands: 0,
            refcount: 1,
            round_trip: 0,
        }
    }

    /// Since when the instance has not answered, if it owes an answer: the first unanswered PING, or the last sign of
    /// life of an instance that is not connected (failover.md 6.1).
    pub fn silent_since(&self) -> Option<Millis> {
        match self.ping_pending_since {
            Some(since) => Some(since),
            None if !self.connected => Some(self.last_available),
            None => None,
        }
    }

    /// When the instance becomes SDOWN by silence, unless it answers before.
    pub fn down_at(&self, down_after: u64) -> Option<Millis> {
        self.silent_since().map(|since| since + down_after + 1)
    }

    /// When to look at the latest whether it has: a PING that nobody tells us of may be sent any moment.
    pub fn look_at(&self, down_after: u64, now: Millis) -> Millis {
        self.down_at(down_after).unwrap_or(now + down_after + 1)
    }
}

impl Link {
    /// A link of an instance that becomes known now.
    pub fn new(now: Millis) -> Link {
        let health = LinkHealth::new(now);
        Link {
            command: None,
            pubsub: None,
            health,
            ages: Arc::new(SharedAges::new(&health)),
            last_attempts: Attempts::default(),
            last_ping: None,
            command_pace: RECONNECT_PERIOD,
            respite: 0,
            failures: 0,
        }
    }

    /// Where its ages can be looked at.
    pub fn ages(&self) -> &Arc<SharedAges> {
        &self.ages
    }

    /// Shows the ages as they are now.
    pub fn show_ages(&self) {
        self.ages.set(&self.health);
    }

    /// Forgets every age but keeps the connections: the instance changed its role in our eyes, not its address.
    pub fn restart(&mut self, now: Millis) {
        let kept = self.health;
        self.health = LinkHealth {
            generation: kept.generation,
            connected: kept.connected,
            local: kept.local,
            pending_commands: kept.pending_commands,
            refcount: kept.refcount,
            ..LinkHealth::new(now)
        };
        self.last_ping = None;
        self.command_pace = RECONNECT_PERIOD;
    }

    /// Has a missing command connection tried so often, ms, and not once a second. Nobody is in a hurry to hear hellos.
    pub fn set_command_pace(&mut self, pace: u64) {
        self.command_pace = pace;
    }

    /// Puts the next attempt at a missing command connection off by so much, ms, if many have led to nothing.
    pub fn put_off(&mut self, respite: u64) {
        self.respite = if self.failures < FEW_FAILURES { 0 } else { respite };
    }

    /// Whether the command connection is tried more often than once a second.
    pub fn is_hurried(&self) -> bool {
        self.command_pace < RECONNECT_PERIOD
    }

    /// Discards what was asked before a stall of this process and asks anew: no answer that could not be read in time
    /// is held against the instance.
    pub fn rearm(&mut self, now: Millis) {
        if self.health.ping_pending_since.is_some() || !self.health.connected {
            self.health.ping_pending_since = Some(now);
            self.last_ping = None;
        }
    }

    /// When to open a missing connection.
    pub fn connect_at(&self, wants_pubsub: WantsPubSub, now: Millis) -> Option<Millis> {
        let Attempts { command, pubsub } = self.attempts_at(wants_pubsub, now);
        sooner(command, pubsub)
    }

    /// Notes an attempt to connect; which connections it is about.
    pub fn attempt(&mut self, wants_pubsub: WantsPubSub, now: Millis) -> Attempts<bool> {
        let Attempts { command, pubsub } = self.attempts_at(wants_pubsub, now);
        let due = Attempts { command: is_due(command, now), pubsub: is_due(pubsub, now) };
        if due.command {
            self.last_attempts.command = Some(now);
        }
        if due.pubsub {
            self.last_attempts.pubsub = Some(now);
        }
        due
    }

    /// When to open which: at once, but attempts at the same one are a second apart, or what [`Link::set_command_pace`]
    /// says. Stock counts them together; whoever is sent `CLIENT KILL` loses both, one a little later than the other, and
    /// would be without that one for a second (failover.md 12.3, S3). A subscription is tried while there is an
    /// established command connection: where that is refused or hangs, it would be, too. Stock tries both; with a
    /// thousand dead servers half of the work that they make is to try this one.
    fn attempts_at(&self, wants_pubsub: WantsPubSub, now: Millis) -> Attempts<Option<Millis>> {
        let next = |last: Option<Millis>, pace: u64| last.map_or(now, |last| last + pace);
        let is_there = self.command.is_some_and(|command| command.local.is_some());
        let pubsub_is_missing = wants_pubsub == WantsPubSub::Yes && self.pubsub.is_none();
        Attempts {
            command: self.command.is_none().then(|| next(self.last_attempts.command, self.command_pace + self.respite)),
            pubsub: (pubsub_is_missing && is_there).then(|| next(self.last_attempts.pubsub, RECONNECT_PERIOD)),
        }
    }

    /// Lets the next attempts follow at once: the reason of the last failure is gone.
    pub fn allow_attempt(&mut self) {
        self.last_attempts = Attempts::default();
    }

    /// Notes that the command connection was opened.
    pub fn command_opened(&mut self, id: LinkId, now: Millis) {
        self.command = Some(Connection::opened(id, now));
        self.health.connected = true;
        self.health.generation = id.0;
        self.health.pending_commands = 0;
    }

    /// Notes that the command connection is established, `local` being our end.
    pub fn command_established(&mut self, local: IpAddr, now: Millis) {
        if let Some(command) = &mut self.command {
            command.local = Some(local);
            command.last_activity = now;
            self.health.local = Some(local);
            self.failures = 0;
        }
    }

    /// Notes that the pub/sub connection was opened.
    pub fn pubsub_opened(&mut self, id: LinkId, now: Millis) {
        self.pubsub = Some(Connection::opened(id, now));
    }

    /// Notes that the command connection is gone. The down clock goes on, or starts now: stock starts it at the next
    /// attempt to connect, which may be a second away (failover.md 12.3, S3).
    pub fn command_lost(&mut self, now: Millis) -> Option<LinkId> {
        if let Some(command) = self.command {
            self.health.ping_pending_since.get_or_insert(now);
            self.failures = if command.local.is_some() { 0 } else { self.failures.saturating_add(1) };
        }
        self.health.connected = false;
        self.health.local = None;
        self.health.pending_commands = 0;
        self.command.take().map(|connection| connection.id)
    }

    /// Notes that the pub/sub connection is gone.
    pub fn pubsub_lost(&mut self) -> Option<LinkId> {
        self.pubsub.take().map(|connection| connection.id)
    }

    /// The id of the open command connection.
    pub fn command_id(&self) -> Option<LinkId> {
        self.command.map(|connection| connection.id)
    }

    /// Notes a command sent on the command connection.
    pub fn sent(&mut self) {
        self.health.pending_commands += 1;
    }

    /// Notes a reply on the command connection.
    pub fn replied(&mut self, now: Millis) {
        self.health.pending_commands = self.health.pending_commands.saturating_sub(1);
        if let Some(command) = &mut self.command {
            command.last_activity = now;
        }
    }

    /// Whether an ordinary command may be queued.
    pub fn has_room(&self) -> bool {
        self.health.pending_commands < MAX_PENDING_COMMANDS * u64::from(self.health.refcount)
    }

    /// When the next PING is due: a period after the last answer, and half a period after the last PING. The one that the
    /// down clock starts with needs no room: a link whose replies are all missing could not be found dead
    /// (failover.md R21).
    pub fn ping_at(&self, period: u64, now: Millis) -> Option<Millis> {
        if self.command.is_none() || (self.is_pinging() && !self.has_room()) {
            return None;
        }
        Some(match self.last_ping {
            None => now,
            Some(last) => (self.health.last_pong + period).max(last + period / 2),
        })
    }

    /// Whether a PING waits for its answer.
    pub fn is_pinging(&self) -> bool {
        self.health.ping_pending_since.is_some()
    }

    /// Notes a PING sent. The down clock starts at the first one that is not answered.
    pub fn pinged(&mut self, now: Millis) {
        self.last_ping = Some(now);
        self.health.ping_pending_since.get_or_insert(now);
    }

    /// Notes a reply to PING.
    pub fn ponged(&mut self, reply: PingReply, now: Millis) {
        self.health.last_pong = now;
        if matches!(reply, PingReply::Pong | PingReply::Alive) {
            if let Some(since) = self.health.ping_pending_since.take() {
                self.health.round_trip = now.since(since);
            }
            self.health.last_available = now;
        }
    }

    /// Notes an answer to something else while a PING waits for its own: that comes behind this one, so the down clock
    /// starts again. A peer that is asked about a thousand masters at once is busy with them, not dead (failover.md 6.1).
    pub fn answered(&mut self, now: Millis) {
        self.health.last_available = now;
        if self.health.ping_pending_since.is_some() {
            self.health.ping_pending_since = Some(now);
        }
    }

    /// When to close a command connection on which PINGs go unanswered (failover.md 24).
    pub fn recycle_command_at(&self, down_after: u64, periods: &Periods) -> Option<Millis> {
        let command = self.command?;
        let pending = self.health.ping_pending_since?;
        let silent = pending.max(self.health.last_pong) + down_after / 2;
        Some((command.since + periods.min_link_reconnect).max(silent) + 1)
    }

    /// When to close a pub/sub connection on which no hello arrives (failover.md 25).
    pub fn recycle_pubsub_at(&self, periods: &Periods) -> Option<Millis> {
        let pubsub = self.pubsub?;
        Some((pubsub.since + periods.min_link_reconnect).max(pubsub.last_activity + 3 * periods.publish) + 1)
    }
}

/// Whether an instance has a pub/sub connection: masters and replicas do, peers do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantsPubSub {
    /// Master or replica.
    Yes,
    /// Peer.
    No,
}

/// The sooner of two deadlines that need not be there.
pub fn sooner(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Whether a deadline has come.
pub fn is_due(at: Option<Millis>, now: Millis) -> bool {
    at.is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// failover.md 12.3, S3
    #[test]
    fn only_an_attempt_behind_many_that_led_to_nothing_is_put_off() {
        let mut link = Link::new(Millis(0));
        let next = |link: &mut Link, at: u64, established: bool| {
            link.attempt(WantsPubSub::No, Millis(at));
            link.command_opened(LinkId(at), Millis(at));
            if established {
                link.command_established([127, 0, 0, 1].into(), Millis(at));
            }
            link.command_lost(Millis(at));
            link.put_off(500);
            link.connect_at(WantsPubSub::No, Millis(at)).map(|next| next.0 - at)
        };
        assert_eq!([0, 1_000, 2_000].map(|at| next(&mut link, at, false)), [Some(1_000), Some(1_000), Some(1_500)]);
        link.restart(Millis(3_000));
        assert_eq!(next(&mut link, 3_500, false), Some(1_500), "that it has another role now does not bring it back");
        assert_eq!(next(&mut link, 5_000, true), Some(1_000));
        assert_eq!(next(&mut link, 6_000, false), Some(1_000));
    }

    /// beyond.md B2
    #[test]
    fn a_subscription_is_listened_to_from_the_end_of_its_last_silence() {
        let periods = Periods::default();
        let mut pubsub = Connection::opened(LinkId(1), Millis(1_000));
        let since = |pubsub: &Connection, now| pubsub.listening_since(Millis(now), &periods);
        assert_eq!(since(&pubsub, 1_000), None, "nothing was heard yet");
        for at in [1_500, 3_500, 7_500] {
            pubsub.heard(Millis(at), &periods);
        }
        assert_eq!(since(&pubsub, 11_500), Some(Millis(1_500)));
        assert_eq!(since(&pubsub, 11_501), None, "it stands still");
        pubsub.heard(Millis(11_600), &periods);
        assert_eq!(since(&pubsub, 11_600), Some(Millis(11_600)));
    }
}
