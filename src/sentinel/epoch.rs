//! The process-wide `current_epoch`: a register that only grows.

use std::sync::atomic::{AtomicU64, Ordering};

use super::id::Epoch;

/// An epoch further ahead than this of the one we know is a mistake or an attack, and is refused: stock believes any
/// epoch, and one message with 2^64-1 disables every later election (failover.md 87, 127).
pub const MAX_EPOCH_LEAP: u64 = 1 << 32;

/// `current_epoch`. Shared by every master of the process.
///
/// Monitors run one at a time, so no register moves while one of them works; the atomics only let other threads read.
#[derive(Debug, Default)]
pub struct EpochRegister(AtomicU64);

impl EpochRegister {
    /// A register that starts at `epoch`, as loaded from the file.
    pub fn new(epoch: Epoch) -> Self {
        EpochRegister(AtomicU64::new(epoch.0))
    }

    /// The current epoch.
    pub fn current(&self) -> Epoch {
        Epoch(self.0.load(Ordering::SeqCst))
    }

    /// Raises the register to `seen` if that is larger. Returns the value afterwards.
    pub fn observe(&self, seen: Epoch) -> Epoch {
        Epoch(self.0.fetch_max(seen.0, Ordering::SeqCst).max(seen.0))
    }

    /// Makes a new epoch, larger than any seen.
    pub fn advance(&self) -> Epoch {
        Epoch(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Whether an epoch received from outside can be believed.
    pub fn is_sane(&self, received: Epoch) -> bool {
        received.0 <= self.current().0.saturating_add(MAX_EPOCH_LEAP)
    }
}
