//! Clients that write without end, go where Sentinels tell them to, and remember what was acknowledged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::cluster::Cluster;
use crate::support::resp::{Client, Value, ask};
use crate::support::wait::{seconds, wait_until};

const WRITERS: usize = 8;
/// Between two writes of one writer.
const SPACING: Duration = Duration::from_millis(4);
/// Between two looks for the master.
const RETRY: Duration = Duration::from_millis(5);
/// Keys asked about at once.
const BATCH: usize = 500;

/// What was acknowledged and is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    /// Writes that were acknowledged.
    pub(crate) acknowledged: usize,
    /// Of these, keys that are missing, and INCRs that are not counted.
    pub(crate) writes: usize,
    /// How often an INCR was answered with no more than an earlier one.
    pub(crate) backwards: usize,
}

/// Writers, until they are dropped. Every second write of each is an INCR, the other ones SET keys that nobody else sets.
pub(crate) struct Writers {
    shared: Vec<Arc<Shared>>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    number: usize,
    sentinels: Vec<u16>,
    begun: Instant,
    /// When the last write was acknowledged, and the longest time without one; microseconds.
    last: AtomicU64,
    longest: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Clone, Copy, Default)]
struct Told {
    /// INCRs and SETs that were acknowledged. A SET that was not is repeated.
    counted: usize,
    set: usize,
    counter: i64,
    backwards: usize,
}

impl Writers {
    /// Starts them.
    pub(crate) fn start(cluster: &Cluster) -> Writers {
        let sentinels: Vec<u16> = cluster.sentinels.iter().map(|sentinel| sentinel.port).collect();
        let end = Arc::new(AtomicBool::new(false));
        let (mut shared, mut threads) = (Vec::new(), Vec::new());
        for number in 0..WRITERS {
            let writer = Arc::new(Shared {
                number,
                sentinels: sentinels.clone(),
                begun: Instant::now(),
                last: AtomicU64::new(0),
                longest: AtomicU64::new(0),
                told: Mutex::default(),
            });
            shared.push(Arc::clone(&writer));
            let end = Arc::clone(&end);
            threads.push(std::thread::spawn(move || writer.write(&end)));
        }
        Writers { shared, end, threads }
    }

    /// Waits until each has written once more.
    pub(crate) fn wait_for_writes(&self) {
        let now = |writer: &Shared| writer.begun.elapsed().as_micros() as u64;
        let asked: Vec<u64> = self.shared.iter().map(|writer| now(writer)).collect();
        wait_until(seconds(20), "all writers can write", || {
            self.shared.iter().zip(&asked).all(|(writer, asked)| writer.last.load(Ordering::Relaxed) > *asked)
        });
    }

    /// The longest time without a write, of each writer, since the last call.
    pub(crate) fn take_gaps(&self) -> Vec<Duration> {
        let taken = self.shared.iter().map(|writer| writer.longest.swap(0, Ordering::Relaxed));
        taken.map(Duration::from_micros).collect()
    }

    /// What the server at `port` lacks of what is acknowledged by now.
    pub(crate) fn losses(&self, port: u16) -> Losses {
        let mut client = Client::connect(port).expect("it accepts connections");
        let mut losses = Losses::default();
        for writer in &self.shared {
            let told = *writer.told.lock().unwrap_or_else(PoisonError::into_inner);
            losses.acknowledged += told.counted + told.set;
            losses.backwards += told.backwards;
            let keys: Vec<String> = (0..told.set).map(|number| writer.key(number)).collect();
            for keys in keys.chunks(BATCH) {
                let words: Vec<&str> = std::iter::once("EXISTS").chain(keys.iter().map(String::as_str)).collect();
                let Ok(Value::Integer(there)) = client.call(&words) else { panic!("EXISTS counts") };
                losses.writes += keys.len() - there as usize;
            }
            let counter = match client.call(&["GET", &writer.counter()]).expect("it answers") {
                Value::Bulk(text) => text.parse().expect("a counter is a number"),
                _ => 0,
            };
            losses.writes += usize::try_from(told.counter - counter).unwrap_or(0);
        }
        losses
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A writer that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn key(&self, number: usize) -> String {
        format!("log:{}:{number}", self.number)
    }

    fn counter(&self) -> String {
        format!("counter:{}", self.number)
    }

    fn write(&self, end: &AtomicBool) {
        let mut turn = self.number;
        let mut client = None;
        while !end.load(Ordering::Relaxed) {
            let Some(open) = &mut client else {
                turn += 1;
                client = self.connect(turn);
                if client.is_none() {
                    std::thread::sleep(RETRY);
                }
                continue;
            };
            if self.write_once(open, turn).is_none() {
                client = None;
                std::thread::sleep(RETRY);
                continue;
            }
            turn += 1;
            std::thread::sleep(SPACING);
        }
    }

    fn connect(&self, turn: usize) -> Option<Client> {
        let sentinel = self.sentinels[turn % self.sentinels.len()];
        let address = ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]).ok()?;
        let port = address.items().get(1)?.text()?.parse().ok()?;
        let client = Client::connect(port).ok()?;
        client.set_timeout(Some(seconds(15))).ok()?;
        Some(client)
    }

    /// `None` if it was not acknowledged.
    fn write_once(&self, client: &mut Client, turn: usize) -> Option<()> {
        let next = self.told.lock().unwrap_or_else(PoisonError::into_inner).set;
        let reply = if turn.is_multiple_of(2) {
            client.call(&["INCR", &self.counter()])
        } else {
            client.call(&["SET", &self.key(next), "x"])
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match reply.ok()? {
            Value::Integer(value) => {
                told.backwards += usize::from(value <= told.counter);
                told.counter = told.counter.max(value);
                told.counted += 1;
            }
            Value::Simple(_) => told.set += 1,
            _ => return None,
        }
        let now = self.begun.elapsed().as_micros() as u64;
        let before = self.last.swap(now, Ordering::Relaxed);
        self.longest.fetch_max(now - before, Ordering::Relaxed);
        Some(())
    }
}
