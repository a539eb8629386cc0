//! Looks at conf files all the time, and keeps every state that it sees.
//!
//! A file is replaced as a whole, so whatever is read at any moment must be a whole file.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

/// The files of one world. It ends with its owner.
#[derive(Debug)]
pub(crate) struct Sampler {
    seen: Arc<Mutex<Vec<Vec<String>>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Begins to look at `files`.
    pub(crate) fn start(files: Vec<PathBuf>) -> Sampler {
        let seen = Arc::new(Mutex::new(vec![Vec::new(); files.len()]));
        let end = Arc::new(AtomicBool::new(false));
        let (found, ended) = (Arc::clone(&seen), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                look(&files, &found);
                std::thread::sleep(STEP);
            }
            look(&files, &found);
        });
        Sampler { seen, end, thread: Some(thread) }
    }

    /// Everything that was seen, by file, in order, after one more look.
    pub(crate) fn finish(&mut self) -> Vec<Vec<String>> {
        self.stop();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("looking at files does not panic");
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop();
    }
}

fn look(files: &[PathBuf], seen: &Mutex<Vec<Vec<String>>>) {
    let texts = files.iter().map(std::fs::read_to_string).collect::<Vec<_>>();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for (text, states) in texts.into_iter().zip(seen.iter_mut()) {
        // A file that is not there is a state too: the audit finds no epoch in it where there was one.
        let text = text.unwrap_or_default();
        if states.last() != Some(&text) {
            states.push(text);
        }
    }
}
