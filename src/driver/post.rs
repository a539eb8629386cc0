//! The way from client connections to monitors, which live on another thread.
//!
//! A task that is woken from another thread waits in a queue of its own, of which tokio's `LocalSet` takes one task for
//! every thirty that its own thread has woken, and meanwhile nothing else wakes it: not its tick either. Where a thousand
//! masters fail together, a monitor that a peer asks for a vote would stand still for seconds. So there is one queue for
//! all messages, and the control thread itself puts them into the mailboxes.

use tokio::sync::mpsc;

use super::MonitorMessage;

/// Messages that may be on their way at once. Senders wait when there are more.
const CAPACITY: usize = 1024;

/// A message, and its place in a mailbox.
#[derive(Debug)]
struct Letter {
    room: mpsc::OwnedPermit<MonitorMessage>,
    message: MonitorMessage,
}

/// Where messages for monitors are handed in.
#[derive(Clone, Debug)]
pub struct Post(mpsc::Sender<Letter>);

/// Who delivers them.
#[derive(Debug)]
pub struct Postman(mpsc::Receiver<Letter>);

/// A post office. Nothing is delivered until [`Postman::run`].
pub fn office() -> (Post, Postman) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Post(sender), Postman(receiver))
}

impl Postman {
    /// Delivers for ever. Must run on the thread of the monitors, in the root future of their `LocalSet`, which is polled
    /// every 61 tasks whoever has woken it. Never waits for a monitor.
    pub async fn run(mut self) {
        let mut letters = Vec::new();
        while self.0.recv_many(&mut letters, CAPACITY).await > 0 {
            for Letter { room, message } in letters.drain(..) {
                // One whose owner has ended drops it.
                room.send(message);
            }
        }
    }
}

/// A monitor's mailbox, as other threads reach it.
#[derive(Clone, Debug)]
pub struct Letterbox {
    mailbox: mpsc::Sender<MonitorMessage>,
    post: Post,
}

impl Letterbox {
    /// Of this mailbox.
    pub fn new(mailbox: mpsc::Sender<MonitorMessage>, post: Post) -> Letterbox {
        Letterbox { mailbox, post }
    }

    /// Sends a message, and waits for room if there is none. A monitor that has ended drops it, and with it the means to
    /// answer.
    pub async fn send(&self, message: MonitorMessage) {
        // The room is taken first, so that whoever fills one mailbox keeps nobody from another.
        if let Ok(room) = self.mailbox.clone().reserve_owned().await {
            // Closed only when the process ends.
            let _ = self.post.0.send(Letter { room, message }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::sync::oneshot;
    use tokio::task::{JoinSet, LocalSet};

    use super::*;
    use crate::sentinel::io::Input;

    /// Every one of many monitors has its letter after a few rounds of all tasks, however busy those are.
    #[test]
    fn letters_from_another_thread_do_not_wait_behind_the_work_of_this_one() {
        const MONITORS: usize = 500;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (post, postman) = office();
        let rounds = runtime.block_on(LocalSet::new().run_until(async move {
            let rounds = Rc::new(Cell::new(0_usize));
            let (mut monitors, mut boxes) = (JoinSet::new(), Vec::new());
            for number in 0..MONITORS {
                let (mailbox, mut inbox) = mpsc::channel(1);
                boxes.push(Letterbox::new(mailbox, post.clone()));
                monitors.spawn_local(async move { inbox.recv().await.map(drop) });
                let rounds = Rc::clone(&rounds);
                tokio::task::spawn_local(async move {
                    loop {
                        rounds.set(rounds.get() + usize::from(number == 0));
                        tokio::task::yield_now().await;
                    }
                });
            }
            let (posted, all_posted) = oneshot::channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                runtime.block_on(async {
                    for letterbox in &boxes {
                        letterbox.send(MonitorMessage::Input(Input::Tick)).await;
                    }
                });
                posted.send(boxes).expect("somebody waits");
            });
            let counting = async {
                let _boxes = all_posted.await.expect("all are posted");
                let before = rounds.get();
                while let Some(received) = monitors.join_next().await {
                    received.expect("no panic").expect("a letter");
                }
                rounds.get() - before
            };
            tokio::select! {
                rounds = counting => rounds,
                () = postman.run() => unreachable!("there are letterboxes"),
            }
        }));
        assert!(rounds <= 5, "{rounds} rounds");
    }
}
