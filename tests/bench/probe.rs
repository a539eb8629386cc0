//! Somebody who asks a Sentinel again and again and writes down how long each answer took.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::watcher::patient;

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it was asked for.
    pub(crate) asked: Instant,
    pub(crate) took: Duration,
}

/// Asks one request after the other, in a thread of its own, until this is dropped.
pub(crate) struct Probe {
    samples: Arc<Mutex<Vec<Sample>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    /// Asks on one connection, every `period`; `request` gives the words of each request by its number.
    pub(crate) fn standing(
        port: u16,
        period: Duration,
        request: impl Fn(usize) -> Vec<String> + Send + 'static,
    ) -> Probe {
        let mut client = patient(port).expect("it has answered already");
        let mut number = 0;
        Probe::start(period, move || {
            let words = request(number);
            number += 1;
            client.call(&words.iter().map(String::as_str).collect::<Vec<_>>()).is_ok()
        })
    }

    /// Connects anew and sends a PING, every `period`.
    pub(crate) fn connecting(port: u16, period: Duration) -> Probe {
        Probe::start(period, move || {
            // Whoever is refused has waited too.
            let _ = patient(port).and_then(|mut client| client.call(&["PING"]));
            true
        })
    }

    fn start(period: Duration, mut ask: impl FnMut() -> bool + Send + 'static) -> Probe {
        let (samples, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (notes, end) = (Arc::clone(&samples), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let asked = Instant::now();
                if !ask() {
                    return;
                }
                let sample = Sample { asked, took: asked.elapsed() };
                notes.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                std::thread::sleep(period.saturating_sub(sample.took));
            }
        });
        Probe { samples, ends, thread: Some(thread) }
    }

    /// The longest wait of those who have asked since then and have an answer, ms.
    pub(crate) fn longest_ms(&self, since: Instant) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let took = samples.iter().filter(|sample| sample.asked >= since).map(|sample| sample.took).max();
        took.unwrap_or_default().as_secs_f64() * 1e3
    }

    /// Waits for the answer to the last request; everything that was asked.
    pub(crate) fn finish(mut self) -> Vec<Sample> {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("whoever asks does not panic");
        }
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // Its last request is answered, or it hangs until the Sentinel is killed, which comes after this.
        self.ends.store(true, Ordering::Relaxed);
    }
}
