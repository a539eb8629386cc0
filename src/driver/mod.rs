//! The only place where the core meets tokio: tasks that move bytes and messages, and decide nothing.

pub mod clock;
pub mod monitor_task;
pub mod peer_task;
pub mod pipe;
pub mod process;
pub mod resolver;
pub mod script_runner;
pub mod supervisor;

use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::sentinel::NodeSettings;
use crate::sentinel::addr::Addr;
use crate::sentinel::id::{Epoch, MasterName, RunId, Secret};
use crate::sentinel::io::{AdminRequest, Answer, Input};
use crate::sentinel::monitor::record::MasterSpec;

/// An answer as a client connection receives it.
#[derive(Debug)]
pub struct Answered {
    /// What to reply.
    pub answer: Answer,
    /// How many events the process had published when the answer was given. A client that is itself subscribed sees
    /// those before the reply and all later ones after it, as on stock's single thread.
    pub after_event: u64,
}

/// What lands in a monitor's mailbox.
#[derive(Debug)]
pub enum MonitorMessage {
    /// From pipes, peers, the store and the supervisor.
    Input(Input),
    /// A vote request of a peer.
    Vote {
        /// The address asked about.
        addr: Addr,
        /// The candidate's epoch.
        epoch: Epoch,
        /// The candidate.
        candidate: RunId,
        /// Dropped unanswered only if the master is removed meanwhile.
        reply: oneshot::Sender<Answered>,
    },
    /// A command of an operator.
    Admin {
        /// Parsed request.
        request: AdminRequest,
        /// Dropped unanswered only if the master is removed meanwhile.
        reply: oneshot::Sender<Answered>,
    },
}

/// What the supervisor is asked.
#[derive(Debug)]
pub enum SupervisorRequest {
    /// `SENTINEL MONITOR`, validated but for the name being free.
    Monitor {
        /// Settings of the new master.
        spec: MasterSpec,
        /// Its address.
        addr: Addr,
    },
    /// `SENTINEL REMOVE` of a name that may not exist.
    Remove(MasterName),
    /// `SENTINEL CONFIG SET`, all validated.
    ConfigSet(Vec<NodeChange>),
    /// `SENTINEL FLUSHCONFIG`
    FlushConfig,
    /// `SENTINEL DEBUG` and `SENTINEL SIMULATE-FAILURE`: changes that are not saved.
    Tune(Vec<NodeChange>),
    /// `SHUTDOWN`
    Shutdown,
}

/// A change of the process's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// Empty is unset.
    AnnounceIp(Option<String>),
    /// 0 is unset.
    AnnouncePort(u16),
    /// Empty is unset. Peer links are rebuilt.
    SentinelUser(Option<String>),
    /// Empty is unset. Peer links are rebuilt.
    SentinelPass(Option<Secret>),
    /// `resolve-hostnames`
    ResolveHostnames(bool),
    /// `announce-hostnames`
    AnnounceHostnames(bool),
    /// `loglevel`, one of stock's names.
    LogLevel(String),
    /// One of `SENTINEL DEBUG`'s periods, by its upper-case name, ms.
    Period(&'static str, u64),
    /// `SENTINEL SIMULATE-FAILURE`: replaces both flags.
    SimulateFailure {
        /// `crash-after-election`
        after_election: bool,
        /// `crash-after-promotion`
        after_promotion: bool,
    },
}

/// The way to the supervisor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SupervisorHandle {
    /// Bounded: a client that asks too much waits in its own connection.
    pub requests: mpsc::Sender<(SupervisorRequest, oneshot::Sender<Answered>)>,
    /// Current settings of the process.
    pub settings: tokio::sync::watch::Receiver<std::sync::Arc<NodeSettings>>,
}

/// Messages that a machine takes at once. What waits beyond that comes after its tick, so that a flood cannot hold the
/// tick up.
const BATCH: usize = 256;
/// A tick that comes later than this after its deadline is late: this thread stood still or was busy.
const LATE: Duration = Duration::from_millis(5);
/// How often a late tick is put off: in each round the sockets are looked at and every task that is ready runs once,
/// so a reply needs three to get through its pipe and a peer to a monitor.
const MIN_ROUNDS: usize = 4;
/// The same while messages keep coming, unless the rounds have taken [`LONG`].
const MAX_ROUNDS: usize = 8;
/// Where thousands of masters keep this thread busy messages always keep coming, and a tick that is put off for seconds is
/// taken for a stall of the process.
const LONG: Duration = Duration::from_millis(200);

/// Whether a tick is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Not yet.
    No,
    /// It is.
    OnTime,
    /// It has been for a while.
    Late,
}

impl Due {
    /// Of a task that wanted to be woken then.
    fn at(wake: Option<Instant>) -> Due {
        match wake.and_then(|wake| Instant::now().checked_duration_since(wake)) {
            None => Due::No,
            Some(age) if age <= LATE => Due::OnTime,
            Some(_) => Due::Late,
        }
    }
}

/// Adds what is on its way to what has arrived. Before a late tick that judges somebody every message counts that could
/// have come earlier: after a stall the sockets hold replies that no pipe has read yet, and without this a master that did
/// answer would be taken for one that did not. Stock's event loop looks at its sockets before its timers, too. Any other
/// tick goes ahead: where thousands of masters keep this thread busy, every tick is late.
async fn gather<M>(mailbox: &mut mpsc::Receiver<M>, messages: &mut Vec<M>) {
    let begun = Instant::now();
    for round in 1..=MAX_ROUNDS {
        tokio::task::yield_now().await;
        let before = messages.len();
        while messages.len() < BATCH
            && let Ok(message) = mailbox.try_recv()
        {
            messages.push(message);
        }
        if is_enough(round, messages.len() > before, begun.elapsed()) {
            return;
        }
    }
}

/// Whether the rounds so far are enough; messages came in the last of them or not.
fn is_enough(rounds: usize, more_came: bool, took: Duration) -> bool {
    rounds >= MIN_ROUNDS && (!more_came || took > LONG)
}

/// Puts a message into a mailbox, and waits for room if there is none. Nearly always there is, and then this does not count
/// towards what a task may do in one turn: with tokio's hundred or so, who has news for a thousand monitors would need many
/// turns for them, which last long when all those masters fail together.
async fn deliver<M>(mailbox: &mpsc::Sender<M>, message: M) {
    if let Err(TrySendError::Full(message)) = mailbox.try_send(message) {
        // Closed only if its owner has ended.
        let _ = Box::pin(mailbox.send(message)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::task::Poll;

    use tokio::io::AsyncReadExt;
    use tokio::task::LocalSet;

    use super::*;

    /// A tick may find its task woken before the sockets were looked at. Then what they hold comes first all the same, also
    /// what a task in between passes on.
    #[test]
    fn what_the_sockets_hold_is_gathered_before_a_tick() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(LocalSet::new().run_until(async {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
            let mut other_end = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
            let (stream, _) = listener.accept().expect("accepts");
            stream.set_nonblocking(true).expect("a socket");
            let mut stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
            let (read, mut passed_on) = mpsc::channel(1);
            let (sender, mut mailbox) = mpsc::channel(1);
            tokio::task::spawn_local(async move { read.send(stream.read_u8().await).await });
            tokio::task::spawn_local(async move { sender.send(passed_on.recv().await).await });
            // Both tasks wait now.
            tokio::time::sleep(Duration::from_millis(5)).await;
            other_end.write_all(b"x").expect("the socket takes it");
            // As a task, since a `LocalSet` polls its root future out of turn.
            let gathering = tokio::task::spawn_local(async move {
                let mut messages = Vec::new();
                gather(&mut mailbox, &mut messages).await;
                messages
            });
            let messages = gathering.await.expect("does not panic");
            assert!(matches!(messages[..], [Some(Ok(b'x'))]), "{messages:?}");
        }));
    }

    /// Messages for which there is room do not count towards the share of a turn.
    #[test]
    fn a_thousand_messages_are_delivered_in_one_turn() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (sender, mut mailbox) = mpsc::channel(1_000);
        let news = async {
            for number in 0..1_000 {
                deliver(&sender, number).await;
            }
        };
        let mut news = std::pin::pin!(news);
        let turn = std::future::poll_fn(|cx| Poll::Ready(news.as_mut().poll(cx)));
        assert!(runtime.block_on(turn).is_ready());
        assert_eq!(
            (0..1_000).map_while(|_| mailbox.try_recv().ok()).collect::<Vec<_>>(),
            (0..1_000).collect::<Vec<_>>()
        );
    }

    /// Where a round of all tasks takes long, a tick is put off for no more of them than it must be, although there is always
    /// more.
    #[test]
    fn a_busy_thread_gathers_no_more_than_it_must() {
        let (short, long) = (Duration::from_millis(1), LONG + Duration::from_millis(1));
        assert!(is_enough(MIN_ROUNDS, false, short), "nothing more comes");
        assert!(!is_enough(MIN_ROUNDS, true, short), "more comes, and soon");
        assert!(is_enough(MIN_ROUNDS, true, long), "more comes, but it takes long");
        assert!(
            !is_enough(MIN_ROUNDS - 1, true, long) && !is_enough(MIN_ROUNDS - 1, false, long),
            "it may be on its way"
        );
    }
}
