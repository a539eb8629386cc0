//! Everybody who is connected, as the rest of the process reaches them: what CLIENT LIST shows, what wakes a
//! connection, and what is waiting to be sent to a subscriber.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::tracking::Tracking;
use crate::resp::reply::Protocol;
use crate::sentinel::addr::join_host_port;
use crate::sentinel::time::Millis;

/// `client-output-buffer-limit`: how much may wait for a client before it is cut off; 0 is no limit. The default is that
/// of subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes; at once.
    pub hard: usize,
    /// Bytes; when it stays above for `soft_ms`.
    pub soft: usize,
    /// ms
    pub soft_ms: u64,
}

impl Default for OutputLimit {
    fn default() -> Self {
        OutputLimit { hard: 32 << 20, soft: 8 << 20, soft_ms: 60_000 }
    }
}

impl OutputLimit {
    /// None at all.
    pub const NONE: OutputLimit = OutputLimit { hard: 0, soft: 0, soft_ms: 0 };

    /// Whether so many bytes are too many now. `above_since` is when they began to be more than the soft limit.
    fn is_over(self, bytes: usize, now: Millis, above_since: &mut Option<Millis>) -> bool {
        if self.soft == 0 || bytes <= self.soft {
            *above_since = None;
        } else {
            above_since.get_or_insert(now);
        }
        let soft = above_since.is_some_and(|since| now.since(since) > self.soft_ms);
        soft || (self.hard > 0 && bytes > self.hard)
    }
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The file of a unix socket. Both ends are it.
    Unix(Arc<str>),
}

/// `host:port`, and a file's path with the port 0.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(addr) => f.write_str(&join_host_port(&addr.ip().to_string(), addr.port())),
            Endpoint::Unix(path) => write!(f, "{path}:0"),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// Rises by one with each connection.
    pub id: u64,
    /// The other end.
    pub peer: Endpoint,
    /// Our end.
    pub local: Endpoint,
    /// When it was accepted.
    pub since: Millis,
    /// Set by CLIENT TRACKING. Few ask for it, and there may be many of us.
    tracking: Mutex<Option<Box<Tracking>>>,
    /// Set by CLIENT NO-EVICT.
    pub no_evict: AtomicBool,
    /// Set by CLIENT SETNAME and SETINFO.
    labels: Mutex<Labels>,
    /// When it last sent something, ms.
    seen: AtomicU64,
    /// Its last command, by its place in the table.
    command: AtomicU16,
    /// Channels it is subscribed to.
    pub channels: AtomicUsize,
    /// Patterns it is subscribed to.
    pub patterns: AtomicUsize,
    /// To be closed without a word.
    cut: AtomicBool,
    /// Because too much waited for it.
    overflowed: AtomicBool,
    outbox: Mutex<Outbox>,
    wake: Notify,
}

/// What a client says of itself, empty until set, and who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Its user's name.
    pub user: Bytes,
    /// The serial of its user's account.
    pub account: u64,
    /// `CLIENT SETNAME`
    pub name: Bytes,
    /// What `CLIENT SETINFO` told, if it did.
    pub library: Option<Box<Library>>,
}

/// The library that a client uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Library {
    /// `CLIENT SETINFO lib-name`
    pub name: Bytes,
    /// `CLIENT SETINFO lib-ver`
    pub version: Bytes,
}

/// Events that wait for the connection's task.
#[derive(Debug, Default)]
struct Outbox {
    queue: Queue,
    bytes: usize,
    /// Bytes of replies, which the connection's task has.
    replies: usize,
    above_soft_since: Option<Millis>,
    protocol: Protocol,
}

/// An encoded event and its number.
type Numbered = (u64, Bytes);

/// Events in order. Nearly always there is none or one, for which nothing is allocated: of thousands of subscribers each
/// would, for every event.
#[derive(Debug, Default)]
enum Queue {
    #[default]
    Empty,
    One(Numbered),
    Several(VecDeque<Numbered>),
}

impl Queue {
    fn push(&mut self, event: Numbered) {
        *self = match std::mem::take(self) {
            Queue::Empty => Queue::One(event),
            Queue::One(first) => Queue::Several(VecDeque::from([first, event])),
            Queue::Several(mut events) => {
                events.push_back(event);
                Queue::Several(events)
            }
        };
    }

    fn front(&self) -> Option<&Numbered> {
        match self {
            Queue::Empty => None,
            Queue::One(event) => Some(event),
            Queue::Several(events) => events.front(),
        }
    }

    /// Takes the first. Nothing stays allocated for an empty queue.
    fn pop(&mut self) -> Option<Numbered> {
        match std::mem::take(self) {
            Queue::Empty => None,
            Queue::One(event) => Some(event),
            Queue::Several(mut events) => {
                let first = events.pop_front();
                if !events.is_empty() {
                    *self = Queue::Several(events);
                }
                first
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Queue::Empty => 0,
            Queue::One(_) => 1,
            Queue::Several(events) => events.len(),
        }
    }
}

/// No invariant spans a lock in this module, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// Copies of its labels.
    pub fn labels(&self) -> Labels {
        lock(&self.labels).clone()
    }

    /// Changes its labels.
    pub fn relabel(&self, change: impl FnOnce(&mut Labels)) {
        change(&mut lock(&self.labels));
    }

    /// A copy of what it asked for with CLIENT TRACKING.
    pub fn tracking(&self) -> Tracking {
        lock(&self.tracking).as_deref().cloned().unwrap_or_default()
    }

    /// Notes a command, by its place in the table, and the time.
    pub fn note(&self, command: u16, now: Millis) {
        self.command.store(command, Ordering::Relaxed);
        self.seen.store(now.0, Ordering::Relaxed);
    }

    /// Place of its last command in the table.
    pub fn last_command(&self) -> u16 {
        self.command.load(Ordering::Relaxed)
    }

    /// When it last sent a command.
    pub fn last_seen(&self) -> Millis {
        Millis(self.seen.load(Ordering::Relaxed))
    }

    /// Has the connection closed, whatever it is doing.
    pub fn cut_off(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Whether the connection is to be closed.
    pub fn is_cut_off(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Waits until there is something to deliver, or the connection is cut off. Cancel-safe.
    pub fn woken(&self) -> Notified<'_> {
        self.wake.notified()
    }

    /// The protocol in which the next event is to be written.
    pub fn protocol(&self) -> Protocol {
        lock(&self.outbox).protocol
    }

    /// Notes a switch of the protocol by HELLO.
    pub fn speak(&self, protocol: Protocol) {
        lock(&self.outbox).protocol = protocol;
    }

    /// Queues an event, encoded for the client's protocol. A subscriber that has fallen too far behind is cut off instead.
    pub fn deliver(&self, event: u64, encoded: impl FnOnce(Protocol) -> Bytes, now: Millis, limit: OutputLimit) {
        let mut outbox = lock(&self.outbox);
        let frame = encoded(outbox.protocol);
        outbox.bytes += frame.len();
        outbox.queue.push((event, frame));
        if !self.cut_off_above(outbox, limit, now) {
            self.wake.notify_one();
        }
    }

    /// Whether it is subscribed to anything.
    pub fn is_subscriber(&self) -> bool {
        self.channels.load(Ordering::Relaxed) + self.patterns.load(Ordering::Relaxed) > 0
    }

    /// Notes how many bytes of replies wait, besides events.
    pub fn note_replies(&self, bytes: usize) {
        lock(&self.outbox).replies = bytes;
    }

    /// Cuts the client off if more waits for it than the limit allows. Called when there is more, and now and then:
    /// a soft limit is passed by standing still.
    pub fn limit_output(&self, limit: OutputLimit, now: Millis) -> bool {
        self.cut_off_above(lock(&self.outbox), limit, now)
    }

    fn cut_off_above(&self, mut outbox: MutexGuard<'_, Outbox>, limit: OutputLimit, now: Millis) -> bool {
        let bytes = outbox.bytes + outbox.replies;
        let over = limit.is_over(bytes, now, &mut outbox.above_soft_since);
        if over {
            outbox.queue = Queue::Empty;
            outbox.bytes = 0;
            drop(outbox);
            self.overflowed.store(true, Ordering::SeqCst);
            self.cut_off();
        }
        over
    }

    /// Whether it was cut off because too much waited for it.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed.load(Ordering::SeqCst)
    }

    /// Moves waiting events up to number `last` to `out`, as long as `out` is shorter than `room`. Whether some are left.
    pub fn collect(&self, last: u64, room: usize, out: &mut BytesMut) -> bool {
        let mut outbox = lock(&self.outbox);
        while out.len() < room && outbox.queue.front().is_some_and(|(event, _)| *event <= last) {
            let (_, frame) = outbox.queue.pop().expect("it has a front");
            outbox.bytes -= frame.len();
            out.extend_from_slice(&frame);
        }
        outbox.queue.front().is_some()
    }

    /// Whether events wait.
    pub fn has_mail(&self) -> bool {
        lock(&self.outbox).queue.front().is_some()
    }

    /// Bytes and number of events that wait.
    pub fn backlog(&self) -> (usize, usize) {
        let outbox = lock(&self.outbox);
        (outbox.bytes, outbox.queue.len())
    }
}

/// Everybody who is connected.
#[derive(Debug, Default)]
pub struct Clients {
    state: Mutex<ClientsState>,
    trackers: AtomicUsize,
}

#[derive(Debug, Default)]
struct ClientsState {
    last_id: u64,
    connected: BTreeMap<u64, Arc<Client>>,
}

impl Clients {
    /// Enters a new connection, unless there are `max` already.
    pub fn admit(&self, peer: Endpoint, local: Endpoint, now: Millis, max: usize) -> Option<Arc<Client>> {
        let mut state = lock(&self.state);
        if state.connected.len() >= max {
            return None;
        }
        state.last_id += 1;
        let client = Arc::new(Client {
            id: state.last_id,
            peer,
            local,
            since: now,
            tracking: Mutex::default(),
            no_evict: AtomicBool::new(false),
            labels: Mutex::default(),
            seen: AtomicU64::new(now.0),
            command: AtomicU16::new(u16::MAX),
            channels: AtomicUsize::new(0),
            patterns: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            overflowed: AtomicBool::new(false),
            outbox: Mutex::default(),
            wake: Notify::new(),
        });
        state.connected.insert(client.id, client.clone());
        Some(client)
    }

    /// Forgets a connection.
    pub fn forget(&self, id: u64) {
        let gone = lock(&self.state).connected.remove(&id);
        if let Some(client) = gone {
            self.track(&client, |tracking| tracking.on = false);
        }
    }

    /// Changes what a client asked for with CLIENT TRACKING.
    pub fn track(&self, client: &Client, change: impl FnOnce(&mut Tracking)) {
        let mut held = lock(&client.tracking);
        let mut tracking = held.take().unwrap_or_default();
        let before = tracking.on;
        change(&mut tracking);
        let on = tracking.on;
        *held = on.then_some(tracking);
        match (before, on) {
            (false, true) => self.trackers.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.trackers.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// How many track keys.
    pub fn trackers(&self) -> usize {
        self.trackers.load(Ordering::Relaxed)
    }

    /// Everybody, by id.
    pub fn list(&self) -> Vec<Arc<Client>> {
        lock(&self.state).connected.values().cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.state).connected.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Arc<Client> {
        let end = Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 1)));
        Clients::default().admit(end.clone(), end, Millis(0), 1).expect("room for one")
    }

    const LIMIT: OutputLimit = OutputLimit { hard: 100, soft: 50, soft_ms: 1_000 };

    /// commands.md 194
    #[test]
    fn cuts_off_a_subscriber_at_the_hard_limit() {
        let client = client();
        let frame = Bytes::from(vec![b'x'; 40]);
        client.deliver(1, |_| frame.clone(), Millis(0), LIMIT);
        client.deliver(2, |_| frame.clone(), Millis(0), LIMIT);
        assert!(!client.is_cut_off());
        client.deliver(3, |_| frame.clone(), Millis(0), LIMIT);
        assert!(client.is_cut_off());
        assert_eq!(client.backlog(), (0, 0));
    }

    #[test]
    fn cuts_off_a_subscriber_that_stays_above_the_soft_limit() {
        let client = client();
        let deliver = |now| client.deliver(1, |_| Bytes::from_static(b"0123456789"), Millis(now), LIMIT);
        (0..6).for_each(|_| deliver(0));
        deliver(900);
        let mut out = BytesMut::new();
        client.collect(u64::MAX, 30, &mut out);
        // Below the limit again: the clock starts anew.
        deliver(1_500);
        deliver(1_600);
        deliver(2_600);
        assert!(!client.is_cut_off());
        deliver(2_601);
        assert!(client.is_cut_off());
    }

    #[test]
    fn hands_out_events_in_order_and_not_too_many() {
        let client = client();
        for event in 1..=4 {
            client.deliver(event, |_| Bytes::from(event.to_string()), Millis(0), OutputLimit::default());
        }
        let mut out = BytesMut::new();
        client.collect(2, usize::MAX, &mut out);
        assert_eq!(&out[..], b"12");
        client.collect(u64::MAX, 3, &mut out);
        assert_eq!(&out[..], b"123");
        assert!(client.has_mail());
    }
}
