//! What changes of a link with every PING or with every master that shares it, where anybody can look at any time.
//!
//! To copy them into a view or a message at each change would cost more than everything else a quiet master costs. Whoever
//! owns the link writes them here, on the control thread; monitors that share it and client connections read.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::peer::LinkHealth;
use super::time::Millis;

const NEVER: u64 = u64::MAX;

/// A point in time that one side moves and others look at.
#[derive(Debug)]
pub struct SharedMillis(AtomicU64);

impl SharedMillis {
    /// At first `at`.
    pub fn new(at: Millis) -> SharedMillis {
        SharedMillis(AtomicU64::new(at.0))
    }

    /// Moves it.
    pub fn set(&self, at: Millis) {
        self.0.store(at.0, Relaxed);
    }

    /// Where it is now.
    pub fn get(&self) -> Millis {
        Millis(self.0.load(Relaxed))
    }
}

impl Eq for SharedMillis {}

impl PartialEq for SharedMillis {
    fn eq(&self, other: &SharedMillis) -> bool {
        self.get() == other.get()
    }
}

/// The ages of one link. Each is read for itself: another thread may see one as of now and the next as of a moment ago.
#[derive(Debug)]
pub struct SharedAges {
    generation: AtomicU64,
    ping_pending_since: AtomicU64,
    last_available: AtomicU64,
    last_pong: AtomicU64,
    pending_commands: AtomicU64,
    round_trip: AtomicU64,
    refcount: AtomicU32,
}

impl SharedAges {
    /// As in `health`.
    pub fn new(health: &LinkHealth) -> SharedAges {
        let ages = SharedAges {
            generation: AtomicU64::default(),
            ping_pending_since: AtomicU64::default(),
            last_available: AtomicU64::default(),
            last_pong: AtomicU64::default(),
            pending_commands: AtomicU64::default(),
            round_trip: AtomicU64::default(),
            refcount: AtomicU32::default(),
        };
        ages.set(health);
        ages
    }

    /// Shows what `health` says.
    pub fn set(&self, health: &LinkHealth) {
        self.generation.store(health.generation, Relaxed);
        self.ping_pending_since.store(health.ping_pending_since.map_or(NEVER, |at| at.0), Relaxed);
        self.last_available.store(health.last_available.0, Relaxed);
        self.last_pong.store(health.last_pong.0, Relaxed);
        self.pending_commands.store(health.pending_commands, Relaxed);
        self.round_trip.store(health.round_trip, Relaxed);
        self.refcount.store(health.refcount, Relaxed);
    }

    /// Brings a copy up to date. One of another connection stays: news of the connection itself come by message.
    pub fn refresh(&self, health: &mut LinkHealth) {
        if self.generation.load(Relaxed) == health.generation {
            health.ping_pending_since = self.ping_pending_since();
            health.last_available = self.last_available();
            health.last_pong = self.last_pong();
            health.pending_commands = self.pending_commands();
            health.round_trip = self.round_trip.load(Relaxed);
            health.refcount = self.refcount();
        }
    }

    /// When the oldest unanswered PING was sent.
    pub fn ping_pending_since(&self) -> Option<Millis> {
        match self.ping_pending_since.load(Relaxed) {
            NEVER => None,
            since => Some(Millis(since)),
        }
    }

    /// Last acceptable PING reply.
    pub fn last_available(&self) -> Millis {
        Millis(self.last_available.load(Relaxed))
    }

    /// Last PING reply of any kind.
    pub fn last_pong(&self) -> Millis {
        Millis(self.last_pong.load(Relaxed))
    }

    /// Commands sent and not answered.
    pub fn pending_commands(&self) -> u64 {
        self.pending_commands.load(Relaxed)
    }

    /// Masters that share the link.
    pub fn refcount(&self) -> u32 {
        self.refcount.load(Relaxed)
    }
}

impl Eq for SharedAges {}

impl PartialEq for SharedAges {
    fn eq(&self, other: &SharedAges) -> bool {
        let all = |ages: &SharedAges| {
            let pings = (ages.ping_pending_since(), ages.last_available(), ages.last_pong());
            (pings, ages.pending_commands(), ages.refcount())
        };
        all(self) == all(other)
    }
}
