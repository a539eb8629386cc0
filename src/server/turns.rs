//! Turns of connections that have more to execute than fits into one.
//!
//! The runtime runs connections that execute and subscribers that are sent an event out of one queue. Were a thousand
//! connections in it for their next turn, an event would wait for a thousand turns; so most of them wait in a line of their
//! own.

use tokio::sync::Semaphore;

/// So many connections that have had a turn may be in the runtime's queue. With less than a handful, they would starve
/// beside a thousand that need one turn for everything; each more delays every event by its turn.
const NEXT: usize = 16;

/// The line for another turn.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Turns(Semaphore::new(NEXT))
    }
}

impl Turns {
    /// Lets others have their turns, and returns when it is the caller's again: first come, first served. Cancel-safe.
    pub(crate) async fn another(&self) {
        let _place = self.0.acquire().await.expect("nobody closes it");
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    const CONNECTIONS: usize = 1_000;

    /// On a runtime as the daemon's, woken by another thread as the events are.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn an_event_waits_for_a_few_turns_only() {
        const EVENT_AT: usize = 5 * CONNECTIONS;
        let (turns, taken, event) =
            (Arc::new(Turns::default()), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let subscriber = tokio::spawn({
            let (taken, event) = (taken.clone(), event.clone());
            async move {
                event.notified().await;
                taken.load(Ordering::Relaxed)
            }
        });
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (turns, taken, event) = (turns.clone(), taken.clone(), event.clone());
            connections.spawn(async move {
                loop {
                    turns.another().await;
                    if taken.fetch_add(1, Ordering::Relaxed) == EVENT_AT {
                        let event = event.clone();
                        std::thread::spawn(move || event.notify_one()).join().expect("it does not panic");
                    }
                }
            });
        }
        let late = subscriber.await.expect("it does not panic") - EVENT_AT;
        // The runtime looks for what other threads have woken after 127 tasks at the latest.
        assert!(late <= 200, "{late} turns");
    }

    #[tokio::test]
    async fn everybody_gets_as_many_turns() {
        let turns = Arc::new(Turns::default());
        let taken: Arc<[AtomicUsize]> = (0..CONNECTIONS).map(|_| AtomicUsize::new(0)).collect();
        let mut connections = JoinSet::new();
        for me in 0..CONNECTIONS {
            let (turns, taken) = (turns.clone(), taken.clone());
            connections.spawn(async move {
                while taken[me].fetch_add(1, Ordering::Relaxed) < 10 {
                    turns.another().await;
                }
                taken.iter().map(|taken| taken.load(Ordering::Relaxed)).min()
            });
        }
        let first = connections.join_next().await.expect("there are some").expect("it has not failed");
        assert!(first >= Some(9), "somebody has had {first:?} turns when another has had ten");
    }
}
