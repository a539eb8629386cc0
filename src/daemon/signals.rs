//! The signals that the process takes notice of (config.md 7.1).

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the process, with the others that would end it, and must not, caught.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes over the signals. Needs a running runtime.
    pub fn install() -> io::Result<Signals> {
        for ignored in [SignalKind::hangup(), SignalKind::alarm()] {
            // What is caught once stays caught when nobody listens any more.
            drop(signal(ignored)?);
        }
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for a signal to end, and names it. Cancel-safe.
    ///
    /// Where both have come, SIGTERM counts as the first: the other one insists then, and is not lost.
    pub async fn end(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for SIGINT. Cancel-safe.
    pub async fn insist(&mut self) {
        self.interrupt.recv().await;
    }
}
