//! What INFO counts. Written by every connection, without locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::sentinel::time::Millis;

/// Totals since the start, and rates of the last second.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU64,
    rejections: AtomicU64,
    commands: AtomicU64,
    errors: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    sampled: Mutex<Sample>,
}

/// A copy of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted, rejected ones included.
    pub connections: u64,
    /// Connections turned away.
    pub rejections: u64,
    /// Commands executed.
    pub commands: u64,
    /// Error replies.
    pub errors: u64,
    /// Reads from sockets.
    pub reads: u64,
    /// Writes to sockets.
    pub writes: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
}

/// Per second, over the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Commands.
    pub commands: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
}

#[derive(Debug, Default)]
struct Sample {
    at: Millis,
    totals: Totals,
    rates: Rates,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Counters {
    /// A connection was accepted.
    pub fn connection(&self) {
        add(&self.connections, 1);
    }

    /// A connection was turned away.
    pub fn rejection(&self) {
        add(&self.rejections, 1);
    }

    /// A command is executed.
    pub fn command(&self) {
        add(&self.commands, 1);
    }

    /// An error is replied.
    pub fn error(&self) {
        add(&self.errors, 1);
    }

    /// Something was read.
    pub fn read(&self, bytes: usize) {
        add(&self.reads, 1);
        add(&self.bytes_in, bytes as u64);
    }

    /// Something was written.
    pub fn write(&self, bytes: usize) {
        add(&self.writes, 1);
        add(&self.bytes_out, bytes as u64);
    }

    /// All of them.
    pub fn totals(&self) -> Totals {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            connections: get(&self.connections),
            rejections: get(&self.rejections),
            commands: get(&self.commands),
            errors: get(&self.errors),
            reads: get(&self.reads),
            writes: get(&self.writes),
            bytes_in: get(&self.bytes_in),
            bytes_out: get(&self.bytes_out),
        }
    }

    /// Measures the rates since the last call.
    pub fn sample(&self, now: Millis) {
        let totals = self.totals();
        let mut sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.since(sampled.at).max(1);
        let rate = |new: u64, old: u64| (new - old) * 1_000 / elapsed;
        sampled.rates = Rates {
            commands: rate(totals.commands, sampled.totals.commands),
            bytes_in: rate(totals.bytes_in, sampled.totals.bytes_in),
            bytes_out: rate(totals.bytes_out, sampled.totals.bytes_out),
        };
        sampled.at = now;
        sampled.totals = totals;
    }

    /// As of the last sample.
    pub fn rates(&self) -> Rates {
        self.sampled.lock().unwrap_or_else(PoisonError::into_inner).rates
    }
}
