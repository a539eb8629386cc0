//! ACL LOG: what was refused, newest first.
//!
//! Like entries of one minute are counted, not repeated. Bounded by `acllog-max-len`, and each entry in its size, since
//! strangers can fill it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sentinel::time::Millis;

/// Entries that are looked at for a like one.
const COMPARED: usize = 10;
/// How long a like entry is added to, ms.
const GROUPING: u64 = 60_000;
/// Longest name and object that are kept.
const LONGEST: usize = 4 << 10;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A command that the user may not use.
    Command,
    /// A channel that the user may not use.
    Channel,
    /// A wrong password, or no such user, or one who is off.
    Auth,
}

impl Reason {
    /// As in the reply.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// The command, the channel, or the word that asked for authentication.
    pub object: Vec<u8>,
    /// The user, or whom the client wanted to be.
    pub user: Vec<u8>,
    /// The client, as CLIENT LIST has it.
    pub client: Vec<u8>,
    /// When it happened last.
    pub at: Millis,
    /// How often it happened.
    pub count: u64,
}

/// The log.
#[derive(Debug)]
pub struct DenialLog {
    entries: Mutex<VecDeque<Refused>>,
    longest: usize,
}

impl DenialLog {
    /// An empty one for so many entries.
    pub fn new(longest: usize) -> DenialLog {
        DenialLog { entries: Mutex::default(), longest }
    }

    /// Notes what was refused just now.
    pub fn note(&self, mut refused: Refused) {
        refused.object.truncate(LONGEST);
        refused.user.truncate(LONGEST);
        let mut entries = self.lock();
        let is_like = |entry: &Refused| {
            (entry.reason, &entry.object, &entry.user) == (refused.reason, &refused.object, &refused.user)
                && refused.at.since(entry.at) <= GROUPING
        };
        if let Some(at) = entries.iter().take(COMPARED).position(is_like) {
            refused.count += entries[at].count;
            entries.remove(at);
        }
        entries.push_front(refused);
        entries.truncate(self.longest);
    }

    /// The newest so many.
    pub fn newest(&self, count: usize) -> Vec<Refused> {
        self.lock().iter().take(count).cloned().collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Nothing is left half done under the lock.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Refused>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(object: &str, at: u64) -> Refused {
        let (object, user, client) = (object.as_bytes().to_vec(), b"bob".to_vec(), Vec::new());
        Refused { reason: Reason::Command, object, user, client, at: Millis(at), count: 1 }
    }

    fn shown(log: &DenialLog) -> Vec<(String, u64)> {
        let entries = log.newest(100).into_iter();
        entries.map(|entry| (String::from_utf8(entry.object).expect("text"), entry.count)).collect()
    }

    /// commands.md 214
    #[test]
    fn counts_like_entries_of_a_minute_and_keeps_so_many() {
        let log = DenialLog::new(2);
        for (object, at) in [("a", 0), ("b", 1), ("a", 2)] {
            log.note(refused(object, at));
        }
        assert_eq!(shown(&log), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        log.note(refused("b", 60_001));
        assert_eq!(shown(&log), [("b".to_owned(), 2), ("a".to_owned(), 2)]);
        log.note(refused("a", 60_003));
        assert_eq!(shown(&log), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        log.note(refused(&"x".repeat(LONGEST + 1), 60_004));
        assert_eq!(log.newest(1)[0].object.len(), LONGEST);
        log.clear();
        assert_eq!(shown(&log), []);
    }
}
