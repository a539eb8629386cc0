//! Everybody who is connected, as the rest of the process reaches them: what CLIENT LIST shows, what wakes a
//! connection, and what is waiting to be sent to a subscriber.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::tracking::Tracking;
use crate::resp::reply::Protocol;
use crate::sentinel::time::Millis;

/// `client-output-buffer-limit pubsub`: how much may wait for a subscriber before it is cut off.
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

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// Rises by one with each connection.
    pub id: u64,
    /// The other end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// When it was accepted.
    pub since: Millis,
    /// Set by CLIENT TRACKING.
    tracking: Mutex<Tracking>,
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
    /// `CLIENT SETINFO lib-name`
    pub lib_name: Bytes,
    /// `CLIENT SETINFO lib-ver`
    pub lib_version: Bytes,
}

/// Events that wait for the connection's task.
#[derive(Debug, Default)]
struct Outbox {
    queue: VecDeque<(u64, Bytes)>,
    bytes: usize,
    above_soft_since: Option<Millis>,
    protocol: Protocol,
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
        lock(&self.tracking).clone()
    }

    /// Changes that.
    pub fn track(&self, change: impl FnOnce(&mut Tracking)) {
        change(&mut lock(&self.tracking));
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
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The protocol in which the next event is to be written.
    pub fn protocol(&self) -> Protocol {
        lock(&self.outbox).protocol
    }

    /// Notes a switch of the protocol by HELLO.
    pub fn speak(&self, protocol: Protocol) {
        lock(&self.outbox).protocol = protocol;
    }

    /// Queues an encoded event. A subscriber that has fallen too far behind is cut off instead.
    pub fn deliver(&self, event: u64, frame: &Bytes, now: Millis, limit: OutputLimit) {
        let mut outbox = lock(&self.outbox);
        outbox.queue.push_back((event, frame.clone()));
        outbox.bytes += frame.len();
        if outbox.is_over(now, limit) {
            outbox.queue = VecDeque::new();
            outbox.bytes = 0;
            drop(outbox);
            self.cut_off();
            return;
        }
        drop(outbox);
        self.wake.notify_one();
    }

    /// Moves waiting events up to number `last` to `out`, as long as `out` is shorter than `room`.
    pub fn collect(&self, last: u64, room: usize, out: &mut BytesMut) {
        let mut outbox = lock(&self.outbox);
        while out.len() < room && outbox.queue.front().is_some_and(|(event, _)| *event <= last) {
            let (_, frame) = outbox.queue.pop_front().expect("it has a front");
            outbox.bytes -= frame.len();
            out.extend_from_slice(&frame);
        }
        if outbox.queue.is_empty() {
            // An idle subscriber keeps no memory.
            outbox.queue = VecDeque::new();
        }
    }

    /// Whether events wait.
    pub fn has_mail(&self) -> bool {
        !lock(&self.outbox).queue.is_empty()
    }

    /// Bytes and number of events that wait.
    pub fn backlog(&self) -> (usize, usize) {
        let outbox = lock(&self.outbox);
        (outbox.bytes, outbox.queue.len())
    }
}

impl Outbox {
    fn is_over(&mut self, now: Millis, limit: OutputLimit) -> bool {
        if limit.soft == 0 || self.bytes <= limit.soft {
            self.above_soft_since = None;
        } else {
            self.above_soft_since.get_or_insert(now);
        }
        let soft = self.above_soft_since.is_some_and(|since| now.since(since) > limit.soft_ms);
        soft || (limit.hard > 0 && self.bytes > limit.hard)
    }
}

/// Everybody who is connected.
#[derive(Debug, Default)]
pub struct Clients {
    state: Mutex<ClientsState>,
}

#[derive(Debug, Default)]
struct ClientsState {
    last_id: u64,
    connected: BTreeMap<u64, Arc<Client>>,
}

impl Clients {
    /// Enters a new connection, unless there are `max` already.
    pub fn admit(&self, peer: SocketAddr, local: SocketAddr, now: Millis, max: usize) -> Option<Arc<Client>> {
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
            outbox: Mutex::default(),
            wake: Notify::new(),
        });
        state.connected.insert(client.id, client.clone());
        Some(client)
    }

    /// Forgets a connection.
    pub fn forget(&self, id: u64) {
        lock(&self.state).connected.remove(&id);
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
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        Clients::default().admit(addr, addr, Millis(0), 1).expect("room for one")
    }

    const LIMIT: OutputLimit = OutputLimit { hard: 100, soft: 50, soft_ms: 1_000 };

    /// commands.md 194
    #[test]
    fn cuts_off_a_subscriber_at_the_hard_limit() {
        let client = client();
        let frame = Bytes::from(vec![b'x'; 40]);
        client.deliver(1, &frame, Millis(0), LIMIT);
        client.deliver(2, &frame, Millis(0), LIMIT);
        assert!(!client.is_cut_off());
        client.deliver(3, &frame, Millis(0), LIMIT);
        assert!(client.is_cut_off());
        assert_eq!(client.backlog(), (0, 0));
    }

    #[test]
    fn cuts_off_a_subscriber_that_stays_above_the_soft_limit() {
        let client = client();
        let deliver = |now| client.deliver(1, &Bytes::from_static(b"0123456789"), Millis(now), LIMIT);
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
            client.deliver(event, &Bytes::from(event.to_string()), Millis(0), OutputLimit::default());
        }
        let mut out = BytesMut::new();
        client.collect(2, usize::MAX, &mut out);
        assert_eq!(&out[..], b"12");
        client.collect(u64::MAX, 3, &mut out);
        assert_eq!(&out[..], b"123");
        assert!(client.has_mail());
    }
}
