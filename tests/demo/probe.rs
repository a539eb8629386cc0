//! Clients of the demo, a thread each: one writes as an application does, the others only look.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::resp::{Client, Value};

/// Between two questions: the resolution of what is measured.
const STEP: Duration = Duration::from_millis(1);

/// Something that a client noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The writer's first write that failed since the last one that worked.
    WriteFailed,
    /// The writer's first write that worked after that, and how long it could not write.
    WriteWorks { port: u16, outage: Duration },
    /// A server accepts writes.
    Writable { port: u16 },
    /// The Sentinel at this place names another master than before.
    Names { place: usize, port: u16 },
}

/// Findings with their times, in the order of their arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings(Arc<Mutex<Vec<(Instant, Finding)>>>);

impl Findings {
    fn add(&self, finding: Finding) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), finding));
    }

    /// A copy of everything so far.
    pub(crate) fn all(&self) -> Vec<(Instant, Finding)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Threads that end when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Probes {
    /// A client that finds the master of `mymaster` through the Sentinels at these ports, and writes all the time.
    /// `written` counts its successes.
    pub(crate) fn write(&mut self, sentinels: Vec<u16>, findings: Findings, written: Arc<AtomicU64>) {
        let (mut master, mut last) = (None::<(u16, Client)>, Instant::now());
        let mut is_down = false;
        self.every_step(move || {
            let worked = master.as_mut().is_some_and(|(_, client)| {
                client.call(&["INCR", "demo:writes"]).is_ok_and(|reply| matches!(reply, Value::Integer(_)))
            });
            if let (true, Some((port, _))) = (worked, &master) {
                if std::mem::take(&mut is_down) {
                    findings.add(Finding::WriteWorks { port: *port, outage: last.elapsed() });
                }
                last = Instant::now();
                written.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if master.take().is_some() && !std::mem::replace(&mut is_down, true) {
                findings.add(Finding::WriteFailed);
            }
            master = sentinels.iter().find_map(|&sentinel| {
                let port = named(&mut Client::connect(sentinel).ok()?)?;
                Some((port, Client::connect(port).ok()?))
            });
        });
    }

    /// Notes when the server at `port` accepts a write for the first time.
    pub(crate) fn watch_server(&mut self, port: u16, findings: Findings) {
        let (mut client, mut found) = (None, false);
        self.every_step(move || {
            if found {
                return;
            }
            client = client.take().or_else(|| Client::connect(port).ok());
            match client.as_mut().map(|client: &mut Client| client.call(&["SET", "demo:probe", "1"])) {
                Some(Ok(Value::Simple(_))) => {
                    findings.add(Finding::Writable { port });
                    found = true;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => client = None,
            }
        });
    }

    /// Notes each change of the address that the Sentinel at `port` gives.
    pub(crate) fn watch_sentinel(&mut self, place: usize, port: u16, mut last: u16, findings: Findings) {
        let mut client = None;
        self.every_step(move || {
            client = client.take().or_else(|| Client::connect(port).ok());
            match client.as_mut().map(named) {
                Some(Some(now)) if now != last => {
                    findings.add(Finding::Names { place, port: now });
                    last = now;
                }
                Some(Some(_)) => {}
                Some(None) | None => client = None,
            }
        });
    }

    fn every_step(&mut self, mut step: impl FnMut() + Send + 'static) {
        let ended = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                step();
                std::thread::sleep(STEP);
            }
        }));
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A probe that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn named(sentinel: &mut Client) -> Option<u16> {
    let reply = sentinel.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]).ok()?;
    reply.items().get(1)?.text()?.parse().ok()
}
