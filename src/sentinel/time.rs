//! Integer time. The core never reads a clock: whoever calls it says what time it is.
//!
//! Ages and deadlines are measured on the monotonic clock only, so a step of the wall clock can neither make an
//! instance look dead nor keep a dead one alive. The wall clock is carried for text that people read.

use std::fmt;
use std::ops::{Add, AddAssign};

/// A point on the monotonic clock: milliseconds since an origin that is fixed for the life of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is in the future.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Millis {
    type Output = Millis;

    fn add(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }
}

impl AddAssign<u64> for Millis {
    fn add_assign(&mut self, ms: u64) {
        *self = *self + ms;
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A point on the wall clock: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub u64);

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For every age and deadline.
    pub mono: Millis,
    /// For dates in log lines.
    pub wall: UnixMillis,
}

/// The protocol's periods, in milliseconds, with stock's defaults.
///
/// `SENTINEL DEBUG` changes them at run time; they are never saved. Field order is the order in which
/// `SENTINEL DEBUG` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// INFO to a healthy master or replica.
    pub info: u64,
    /// PING to any instance; the effective period is the smaller of this and `down-after-milliseconds`.
    pub ping: u64,
    /// Asking a peer again whether the master is down.
    pub ask: u64,
    /// Hello messages.
    pub publish: u64,
    /// `down-after-milliseconds` of a master that sets none.
    pub default_down_after: u64,
    /// `failover-timeout` of a master that sets none.
    pub default_failover_timeout: u64,
    /// A process that stood still for longer than this enters TILT.
    pub tilt_trigger: u64,
    /// How long TILT lasts.
    pub tilt: u64,
    /// How long a replica may stay in `reconf_sent`.
    pub slave_reconf_timeout: u64,
    /// A connection younger than this is never closed for being silent.
    pub min_link_reconnect: u64,
    /// Upper bound of an election; the effective bound is the smaller of this and `failover-timeout`.
    pub election_timeout: u64,
    /// A script that runs longer is killed.
    pub script_max_runtime: u64,
    /// First delay before a failed script runs again; doubles each time.
    pub script_retry_delay: u64,
}

impl Default for Periods {
    fn default() -> Self {
        Periods {
            info: 10_000,
            ping: 1_000,
            ask: 1_000,
            publish: 2_000,
            default_down_after: 30_000,
            default_failover_timeout: 180_000,
            tilt_trigger: 2_000,
            tilt: 30_000,
            slave_reconf_timeout: 10_000,
            min_link_reconnect: 15_000,
            election_timeout: 10_000,
            script_max_runtime: 60_000,
            script_retry_delay: 30_000,
        }
    }
}

/// INFO to a replica while its master is down or failing over, or while its replication link is down. Fixed in stock.
pub const FAST_INFO_PERIOD: u64 = 1_000;
/// Attempts to connect one link are at least this far apart. Fixed in stock.
pub const RECONNECT_PERIOD: u64 = 1_000;
/// A peer's answer about the master is worth nothing after this long (stock: five ask periods).
pub const ASK_VALIDITY: u64 = 5_000;
