//! Lines on a terminal, with colour and one line of status that is always the last; plain lines everywhere else.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Nobody reads faster.
const STATUS_PERIOD: Duration = Duration::from_millis(50);

/// How a line is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// What belongs to it without being news.
    Quiet,
    /// Something is down.
    Bad,
    /// A decision.
    Notable,
    /// Something works again.
    Good,
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
    has_colour: bool,
    /// Guards a whole line; when the status that stands there was written, if one does.
    status_shown: Mutex<Option<Instant>>,
}

impl Screen {
    /// Looks at what standard output is.
    pub(crate) fn new() -> Screen {
        let is_terminal = std::io::stdout().is_terminal();
        let has_colour = is_terminal && std::env::var_os("NO_COLOR").is_none();
        Screen { is_terminal, has_colour, status_shown: Mutex::new(None) }
    }

    /// One line.
    pub(crate) fn line(&self, tone: Tone, text: &str) {
        let mut shown = self.status_shown.lock().unwrap_or_else(PoisonError::into_inner);
        let clear = if shown.take().is_some() { "\r\x1b[K" } else { "" };
        let (on, off) = match tone {
            _ if !self.has_colour => ("", ""),
            Tone::Plain => ("", ""),
            Tone::Quiet => ("\x1b[2m", "\x1b[0m"),
            Tone::Bad => ("\x1b[31m", "\x1b[0m"),
            Tone::Notable => ("\x1b[33m", "\x1b[0m"),
            Tone::Good => ("\x1b[1;32m", "\x1b[0m"),
        };
        write(&format!("{clear}{on}{text}{off}\n"));
    }

    /// An empty line.
    pub(crate) fn gap(&self) {
        self.line(Tone::Plain, "");
    }

    /// Replaces the status below the last line; on a terminal only.
    pub(crate) fn status(&self, text: &str) {
        if self.is_terminal {
            let mut shown = self.status_shown.lock().unwrap_or_else(PoisonError::into_inner);
            if shown.is_some_and(|at| at.elapsed() < STATUS_PERIOD) {
                return;
            }
            *shown = Some(Instant::now());
            write(&format!("\r\x1b[K{text}"));
        }
    }
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that went away, as in `make demo | head`, does not stop the demo from cleaning up.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
