//! New certificates without a restart: when one of the files has changed, and on SIGHUP.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::net::tls::{Fingerprint, Tls, TlsError};
use crate::sentinel::event::Level;
use crate::telemetry::log::log;

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// Looks after the certificates of a process.
#[derive(Debug)]
pub struct Reloader {
    tls: Tls,
    hangup: Signal,
    seen: Fingerprint,
}

impl Reloader {
    /// For what was just loaded. Needs a running runtime.
    pub fn new(tls: Tls) -> io::Result<Reloader> {
        Ok(Reloader { hangup: signal(SignalKind::hangup())?, seen: tls.fingerprint(), tls })
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(PERIOD) => false,
                _ = self.hangup.recv() => true,
            };
            // Files may be on a disk that takes its time.
            let (tls, seen) = (self.tls.clone(), self.seen.clone());
            let look = tokio::task::spawn_blocking(move || {
                let now = tls.fingerprint();
                let loaded = (asked || now != seen).then(|| tls.reload());
                (now, loaded)
            });
            let (now, loaded) = look.await.expect("looking at files does not panic");
            self.seen = now;
            report(loaded);
        }
    }
}

/// A pair of which only one half is new fails, and again it is looked at when the other half is there.
fn report(loaded: Option<Result<(), TlsError>>) {
    match loaded {
        None => {}
        Some(Ok(())) => log(Level::Notice, "TLS certificates were loaded anew, for connections from now on."),
        Some(Err(error)) => {
            log(Level::Warning, &error.to_string());
            log(Level::Warning, "TLS certificates stay as they were.");
        }
    }
}
