//! CLIENT PAUSE and UNPAUSE: for a while, commands are held instead of executed.
//!
//! As in stock, a pause of mode ALL holds every command of every client, those of other Sentinels and UNPAUSE included,
//! and one of mode WRITE holds nothing, because no command of a Sentinel writes. Events reach subscribers all the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::session::Session;
use crate::resp::int::parse_strict;
use crate::resp::reply::Value;
use crate::sentinel::time::Millis;

/// What a pause holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Write,
    All,
}

/// The pause of the process.
#[derive(Debug, Default)]
pub struct Pause {
    current: Mutex<Option<(Mode, Millis)>>,
    /// End of a pause that holds commands: read with every command, so without the lock.
    held_until: AtomicU64,
}

/// The longest pause, ms. Stock adds the timeout to the time of day, and a sum that overflows has passed already.
const LONGEST: i64 = i64::MAX - (1 << 42);

impl Pause {
    /// How long commands are held from now on, ms; 0 if they are not.
    pub(crate) fn left(&self, now: Millis) -> u64 {
        self.held_until.load(Ordering::Relaxed).saturating_sub(now.0)
    }

    /// One pause never shortens or weakens another.
    fn begin(&self, mode: Mode, ms: u64, now: Millis) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let running = current.filter(|(_, until)| *until > now);
        let until = Millis(now.0.saturating_add(ms));
        let (mode, until) = running.map_or((mode, until), |(other, end)| (mode.max(other), until.max(end)));
        *current = Some((mode, until));
        self.held_until.store(if mode == Mode::All { until.0 } else { 0 }, Ordering::Relaxed);
    }

    fn end(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.held_until.store(0, Ordering::Relaxed);
    }
}

/// `CLIENT PAUSE ms [WRITE|ALL]`
pub(crate) fn pause(session: &mut Session, words: &[Bytes]) -> Value {
    let mode = match &words[3..] {
        [] => Mode::All,
        [mode] if mode.eq_ignore_ascii_case(b"all") => Mode::All,
        [mode] if mode.eq_ignore_ascii_case(b"write") => Mode::Write,
        [_] => return Value::fixed_error("ERR CLIENT PAUSE mode must be WRITE or ALL"),
        _ => return super::client::wrong_words(&words[1]),
    };
    match parse_strict(&words[2]) {
        None => Value::fixed_error("ERR timeout is not an integer or out of range"),
        Some(..0) => Value::fixed_error("ERR timeout is negative"),
        Some(ms) => {
            if ms < LONGEST {
                session.context.pause.begin(mode, ms as u64, session.context.clock.mono());
            }
            Value::OK
        }
    }
}

/// `CLIENT UNPAUSE`
pub(crate) fn unpause(session: &mut Session, _words: &[Bytes]) -> Value {
    session.context.pause.end();
    Value::OK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_until_its_end_and_no_other_shortens_it() {
        let pause = Pause::default();
        assert_eq!(pause.left(Millis(5)), 0);
        pause.begin(Mode::All, 100, Millis(5));
        assert_eq!((pause.left(Millis(5)), pause.left(Millis(104)), pause.left(Millis(105))), (100, 1, 0));
        pause.begin(Mode::Write, 10, Millis(50));
        assert_eq!(pause.left(Millis(50)), 55);
        pause.end();
        assert_eq!(pause.left(Millis(50)), 0);
    }

    #[test]
    fn a_pause_of_writes_holds_nothing_but_lends_its_end() {
        let pause = Pause::default();
        pause.begin(Mode::Write, 500, Millis(0));
        assert_eq!(pause.left(Millis(0)), 0);
        pause.begin(Mode::All, 10, Millis(0));
        assert_eq!(pause.left(Millis(0)), 500);
        // What is over lends nothing.
        pause.begin(Mode::Write, 10, Millis(600));
        assert_eq!(pause.left(Millis(600)), 0);
    }
}
