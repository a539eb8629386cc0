//! Events to subscribers, in one order for everybody.
//!
//! The control thread numbers an event and hands it over without ever waiting ([`HubSender`]). One task takes events
//! in that order and gives each to the outboxes of those who want it ([`Feed`]); it waits for no subscriber. An event
//! is encoded once for each form in which it is wanted, and shared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::clients::{Client, OutputLimit};
use crate::driver::clock::Clock;
use crate::pattern::{Case, matches};
use crate::resp::reply::{Protocol, Value};
use crate::sentinel::event::Event;

/// Events that may wait for the hub's task. A whole failover of a thousand masters is some ten thousand; the task
/// needs microseconds for each, so a full queue means that the serving thread does not run at all.
const QUEUE: usize = 65_536;
/// So many events are distributed together.
const TOGETHER: usize = 64;
/// To so many subscribers at a time: no more than fit into a worker's own queue of the runtime.
const AT_A_TIME: usize = 128;
/// Longest payload: stock formats it in a buffer of 1024 bytes.
const MAX_PAYLOAD: usize = 1_023;

/// An event on its way.
#[derive(Debug)]
struct Message {
    number: u64,
    channel: &'static str,
    payload: Bytes,
}

/// The control side: publishes, and never waits.
#[derive(Debug)]
pub struct HubSender {
    queue: mpsc::Sender<Message>,
    state: Mutex<Published>,
}

#[derive(Debug, Default)]
struct Published {
    events: u64,
    dropped: u64,
}

impl HubSender {
    /// Sends an event to whoever is subscribed, in the order of the calls. Debug events go nowhere. When the queue is
    /// full the event is dropped and counted; subscribers then miss it, which is better than monitors that wait.
    pub fn publish(&self, event: &Event) {
        if !event.is_published() {
            return;
        }
        let payload = event.payload.as_bytes();
        let payload = Bytes::copy_from_slice(&payload[..payload.len().min(MAX_PAYLOAD)]);
        let mut state = lock(&self.state);
        let message = Message { number: state.events + 1, channel: event.kind.name(), payload };
        if self.queue.try_send(message).is_ok() {
            state.events += 1;
        } else {
            state.dropped += 1;
            tracing::warn!("Event {} not published: the queue of events is full", event.kind.name());
        }
    }

    /// How many events were published so far. The number of the last one.
    pub fn published(&self) -> u64 {
        lock(&self.state).events
    }

    /// How many events were lost because the queue was full.
    pub fn dropped(&self) -> u64 {
        lock(&self.state).dropped
    }
}

/// The serving side: who wants what.
#[derive(Debug)]
pub struct Hub {
    subscriptions: Mutex<Subscriptions>,
    /// Number of the last event that lies in the outboxes.
    delivered: watch::Sender<u64>,
}

type Subscribers = BTreeMap<u64, Arc<Client>>;

#[derive(Debug, Default)]
struct Subscriptions {
    channels: HashMap<Bytes, Subscribers>,
    patterns: BTreeMap<Bytes, Subscribers>,
}

/// What a subscription names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One channel.
    Channel,
    /// All channels that match a glob pattern.
    Pattern,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Subscribes a client; events distributed from now on are delivered. Returns the name as all its subscribers share it,
    /// which does not keep the buffer alive in which it arrived.
    pub fn subscribe(&self, kind: Kind, name: &Bytes, client: &Arc<Client>) -> Bytes {
        let mut subscriptions = lock(&self.subscriptions);
        let known = match kind {
            Kind::Channel => subscriptions.channels.get_key_value(name).map(|(name, _)| name.clone()),
            Kind::Pattern => subscriptions.patterns.get_key_value(name).map(|(name, _)| name.clone()),
        };
        let name = known.unwrap_or_else(|| Bytes::copy_from_slice(name));
        let subscribers = match kind {
            Kind::Channel => subscriptions.channels.entry(name.clone()).or_default(),
            Kind::Pattern => subscriptions.patterns.entry(name.clone()).or_default(),
        };
        subscribers.insert(client.id, client.clone());
        name
    }

    /// Ends a subscription, if there is one.
    pub fn unsubscribe(&self, kind: Kind, name: &Bytes, id: u64) {
        let mut subscriptions = lock(&self.subscriptions);
        match kind {
            Kind::Channel => {
                let empty = subscriptions.channels.get_mut(name).is_some_and(|subscribers| {
                    subscribers.remove(&id);
                    subscribers.is_empty()
                });
                if empty {
                    subscriptions.channels.remove(name);
                }
            }
            Kind::Pattern => {
                let empty = subscriptions.patterns.get_mut(name).is_some_and(|subscribers| {
                    subscribers.remove(&id);
                    subscribers.is_empty()
                });
                if empty {
                    subscriptions.patterns.remove(name);
                }
            }
        }
    }

    /// Shows every subscription.
    pub fn visit(&self, mut see: impl FnMut(Kind, &Bytes, &Client)) {
        let subscriptions = lock(&self.subscriptions);
        for (name, subscribers) in &subscriptions.channels {
            for client in subscribers.values() {
                see(Kind::Channel, name, client);
            }
        }
        for (name, subscribers) in &subscriptions.patterns {
            for client in subscribers.values() {
                see(Kind::Pattern, name, client);
            }
        }
    }

    /// Channels and patterns with at least one subscriber.
    pub fn counts(&self) -> (usize, usize) {
        let subscriptions = lock(&self.subscriptions);
        (subscriptions.channels.len(), subscriptions.patterns.len())
    }

    /// Waits until every event up to this number lies in the outboxes.
    pub async fn delivered(&self, number: u64) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.delivered.subscribe().wait_for(|delivered| *delivered >= number).await;
    }

    /// Fills the outboxes of all who want these events, some at a time: their connections write before the next are
    /// filled, all of the events together and while what belongs to them is still in the processor's caches, and whoever
    /// asks something meanwhile does not wait for thousands of writes.
    async fn distribute(&self, messages: &[Message], clock: &Clock, limit: OutputLimit) {
        let mut deliveries = lock(&self.subscriptions).wanted(messages);
        let mut first = 0;
        loop {
            let now = clock.mono();
            let next = {
                let subscriptions = lock(&self.subscriptions);
                let sets = || deliveries.iter().filter_map(|delivery| subscriptions.of(delivery.kind, &delivery.name));
                let next = sets().filter_map(|set| set.range(first..).nth(AT_A_TIME)).map(|(id, _)| *id).min();
                for Delivery { number, kind, name, frames } in &mut deliveries {
                    for (_, client) in subscriptions.of(*kind, name).into_iter().flat_map(|set| set.range(first..)) {
                        if next.is_some_and(|next| client.id >= next) {
                            break;
                        }
                        client.deliver(*number, |protocol| frames.of(protocol), now, limit);
                    }
                }
                next
            };
            let Some(next) = next else { return };
            first = next;
            tokio::task::yield_now().await;
        }
    }
}

impl Subscriptions {
    fn of(&self, kind: Kind, name: &Bytes) -> Option<&Subscribers> {
        match kind {
            Kind::Channel => self.channels.get(name),
            Kind::Pattern => self.patterns.get(name),
        }
    }

    /// What has to be delivered of these events, in order.
    fn wanted(&self, messages: &[Message]) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for Message { number, channel, payload } in messages {
            let channel = Bytes::from_static(channel.as_bytes());
            let text = [Value::Bulk(channel.clone()), Value::Bulk(payload.clone())];
            let mut add = |kind, name: &Bytes, head: &[Value]| {
                let frames = Frames { parts: [head, &text].concat(), resp2: None, resp3: None };
                deliveries.push(Delivery { number: *number, kind, name: name.clone(), frames });
            };
            if self.channels.contains_key(&channel) {
                add(Kind::Channel, &channel, &[Value::name("message")]);
            }
            for pattern in self.patterns.keys().filter(|pattern| matches(pattern, &channel, Case::Sensitive)) {
                add(Kind::Pattern, pattern, &[Value::name("pmessage"), Value::Bulk(pattern.clone())]);
            }
        }
        deliveries
    }
}

/// One event for the subscribers of one name.
struct Delivery {
    number: u64,
    kind: Kind,
    name: Bytes,
    frames: Frames,
}

/// An event, encoded for each protocol in which it is wanted.
struct Frames {
    parts: Vec<Value>,
    resp2: Option<Bytes>,
    resp3: Option<Bytes>,
}

impl Frames {
    fn of(&mut self, protocol: Protocol) -> Bytes {
        let frame = match protocol {
            Protocol::Resp2 => &mut self.resp2,
            Protocol::Resp3 => &mut self.resp3,
        };
        frame.get_or_insert_with(|| Value::Push(self.parts.clone()).to_bytes(protocol)).clone()
    }
}

/// The task's end of the queue.
#[derive(Debug)]
pub struct Feed {
    queue: mpsc::Receiver<Message>,
    hub: Arc<Hub>,
}

/// The three ends of the hub.
pub fn hub() -> (Arc<HubSender>, Arc<Hub>, Feed) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let hub = Arc::new(Hub { subscriptions: Mutex::default(), delivered: watch::channel(0).0 });
    let sender = HubSender { queue: sender, state: Mutex::default() };
    (Arc::new(sender), hub.clone(), Feed { queue, hub })
}

impl Feed {
    /// Distributes events until the last sender is gone.
    pub async fn run(mut self, clock: Clock, limit: OutputLimit) {
        let mut messages = Vec::new();
        while self.queue.recv_many(&mut messages, TOGETHER).await > 0 {
            self.hub.distribute(&messages, &clock, limit).await;
            self.hub.delivered.send_replace(messages.last().map_or(0, |message| message.number));
            messages.clear();
            // More may be there already, but those who have got these are to write them now.
            tokio::task::yield_now().await;
        }
    }
}

/// Channels and patterns of one client, for its acknowledgements and its end.
#[derive(Debug, Default)]
pub struct OwnSubscriptions {
    channels: Names,
    patterns: Names,
}

/// Names without doubles. Most connections have one or two, for which a set takes far more room than they need.
#[derive(Debug)]
enum Names {
    Few(Vec<Bytes>),
    Many(BTreeSet<Bytes>),
}

impl Default for Names {
    fn default() -> Self {
        Names::Few(Vec::new())
    }
}

impl Names {
    /// The most that are looked through one by one.
    const FEW: usize = 8;

    fn len(&self) -> usize {
        match self {
            Names::Few(names) => names.len(),
            Names::Many(names) => names.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Bytes> {
        let (few, many) = match self {
            Names::Few(names) => (Some(names), None),
            Names::Many(names) => (None, Some(names)),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    /// False if it is there already.
    fn insert(&mut self, name: Bytes) -> bool {
        match self {
            Names::Few(names) if names.contains(&name) => false,
            Names::Few(names) if names.len() < Names::FEW => {
                names.reserve_exact(1);
                names.push(name);
                true
            }
            Names::Few(names) => {
                *self = Names::Many(names.drain(..).chain([name]).collect());
                true
            }
            Names::Many(names) => names.insert(name),
        }
    }

    /// False if it is not there.
    fn remove(&mut self, name: &Bytes) -> bool {
        match self {
            Names::Few(names) => {
                let before = names.len();
                names.retain(|known| known != name);
                names.len() < before
            }
            Names::Many(names) => names.remove(name),
        }
    }
}

impl OwnSubscriptions {
    /// Channels and patterns together.
    pub fn count(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// `SUBSCRIBE` and `PSUBSCRIBE`: one acknowledgement a name.
    pub fn subscribe(&mut self, kind: Kind, names: &[Bytes], hub: &Hub, client: &Arc<Client>) -> Value {
        let mut acks = Vec::with_capacity(names.len());
        for name in names {
            let name = hub.subscribe(kind, name, client);
            self.set(kind).insert(name.clone());
            let verb = match kind {
                Kind::Channel => "subscribe",
                Kind::Pattern => "psubscribe",
            };
            acks.push(self.ack(verb, Value::Bulk(name)));
        }
        self.show(client);
        Value::Several(acks)
    }

    /// `UNSUBSCRIBE` and `PUNSUBSCRIBE`; without names, from everything of that kind.
    pub fn unsubscribe(&mut self, kind: Kind, names: &[Bytes], hub: &Hub, client: &Client) -> Value {
        let verb = match kind {
            Kind::Channel => "unsubscribe",
            Kind::Pattern => "punsubscribe",
        };
        let names = if names.is_empty() { self.set(kind).iter().cloned().collect() } else { names.to_vec() };
        let mut acks = Vec::with_capacity(names.len().max(1));
        for name in names {
            if self.set(kind).remove(&name) {
                hub.unsubscribe(kind, &name, client.id);
            }
            acks.push(self.ack(verb, Value::Bulk(name)));
        }
        if acks.is_empty() {
            acks.push(self.ack(verb, Value::Null));
        }
        self.show(client);
        Value::Several(acks)
    }

    /// Ends every subscription of a connection that ends.
    pub fn clear(&mut self, hub: &Hub, client: &Client) {
        for kind in [Kind::Channel, Kind::Pattern] {
            for name in std::mem::take(self.set(kind)).iter() {
                hub.unsubscribe(kind, name, client.id);
            }
        }
        self.show(client);
    }

    /// Whether every one of them is allowed.
    pub fn all(&self, is_allowed: impl Fn(Kind, &[u8]) -> bool) -> bool {
        let channels = self.channels.iter().all(|name| is_allowed(Kind::Channel, name));
        channels && self.patterns.iter().all(|name| is_allowed(Kind::Pattern, name))
    }

    fn set(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }

    fn ack(&self, verb: &'static str, name: Value) -> Value {
        Value::Push(vec![Value::name(verb), name, Value::Integer(self.count() as i64)])
    }

    /// Lets CLIENT LIST see the counts.
    fn show(&self, client: &Client) {
        client.channels.store(self.channels.len(), Ordering::Relaxed);
        client.patterns.store(self.patterns.len(), Ordering::Relaxed);
    }
}
