//! The only place where the core meets tokio: tasks that move bytes and messages, and decide nothing.

pub mod clock;
mod inbox;
pub mod links;
pub mod monitor_task;
pub mod peer_task;
pub mod post;
pub mod process;
pub mod resolver;
pub mod script_runner;
pub mod supervisor;

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
    /// From connections, peers, the store and the supervisor.
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
    use std::task::Poll;

    use super::*;

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
}
