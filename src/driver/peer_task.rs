//! One peer's task: the same for [`Peer`] as a monitor's task for its monitor.
//!
//! It may wait for the mailboxes of monitors, which wait for nobody; monitors never wait for it.

use std::rc::Rc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::pipe::{Links, SendError};
use super::process::Process;
use super::{BATCH, Due, MonitorMessage, gather};
use crate::sentinel::addr::Addr;
use crate::sentinel::command::RenameMap;
use crate::sentinel::id::RunId;
use crate::sentinel::io::{Channel, Input, LinkError};
use crate::sentinel::peer::{Peer, PeerInput, PeerOutbox, PeerOutput};

/// Messages that may wait for one peer. Monitors do not wait when it is full, so it has room for a question of each of
/// a thousand masters.
pub const MAILBOX: usize = 1024;

/// A peer and its surroundings.
#[derive(Debug)]
pub struct PeerTask {
    id: RunId,
    process: Rc<Process>,
    peer: Peer,
    mailbox: mpsc::Receiver<PeerInput>,
    links: Links<PeerInput>,
    lookups: JoinSet<PeerInput>,
    /// Peers are never sent renamed commands.
    renames: RenameMap,
    wake: Option<Instant>,
}

impl PeerTask {
    /// A peer, and its mailbox. Nothing happens until [`PeerTask::run`].
    pub fn new(id: RunId, addr: Addr, process: Rc<Process>) -> (PeerTask, mpsc::Sender<PeerInput>) {
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let task = PeerTask {
            peer: Peer::new(id.clone(), addr, process.clock.mono()),
            id,
            process,
            mailbox,
            links: Links::new(sender.clone()),
            lookups: JoinSet::new(),
            renames: RenameMap::new(),
            wake: None,
        };
        (task, sender)
    }

    /// Runs for ever; ends by being dropped. Must run inside a `LocalSet`.
    pub async fn run(mut self) {
        let mut messages = Vec::with_capacity(BATCH);
        loop {
            let wake = tokio::time::Instant::from_std(self.wake.unwrap_or_else(Instant::now));
            tokio::select! {
                biased;
                _ = self.mailbox.recv_many(&mut messages, BATCH) => {}
                link = self.links.broken() => {
                    messages.push(PeerInput::LinkDown(link, LinkError("internal error".to_owned())));
                }
                Some(found) = self.lookups.join_next() => {
                    messages.push(found.expect("a look-up neither panics nor is aborted"));
                }
                () = tokio::time::sleep_until(wake), if self.wake.is_some() => {}
            }
            let due = Due::at(self.wake);
            let node = self.process.settings();
            if due == Due::Late && self.peer.is_about_to_judge(&self.process.env(&node)) {
                gather(&mut self.mailbox, &mut messages).await;
            }
            let mut inputs: Vec<PeerInput> = messages.drain(..).filter(|input| self.is_timely(input)).collect();
            if due != Due::No {
                // As with monitors: messages go before the tick.
                self.wake = None;
                inputs.push(PeerInput::Tick);
            }
            self.handle(inputs).await;
        }
    }

    /// Whether an input comes from a connection that the core still has, if it comes from one.
    fn is_timely(&mut self, input: &PeerInput) -> bool {
        match input {
            PeerInput::LinkUp { link, .. } | PeerInput::Reply { link, .. } => self.links.has(*link),
            PeerInput::LinkDown(link, _) => self.links.close(*link),
            _ => true,
        }
    }

    /// Gives the peer its inputs, and whatever the execution of its outputs leads to.
    async fn handle(&mut self, mut inputs: Vec<PeerInput>) {
        let mut out = PeerOutbox::default();
        while !inputs.is_empty() {
            let node = self.process.settings();
            self.peer.handle_all(inputs.drain(..), &self.process.env(&node), &mut out);
            for output in out.drain() {
                inputs.extend(self.execute(output).await);
            }
        }
    }

    /// Executes one output. Returns what the peer has to hear of at once.
    async fn execute(&mut self, output: PeerOutput) -> Option<PeerInput> {
        let process = &self.process;
        match output {
            PeerOutput::Connect { link, addr } => {
                self.links.connect(link, &addr, Channel::Command, process.route());
            }
            PeerOutput::Close(link) => {
                self.links.close(link);
            }
            PeerOutput::Send { link, tag, command } => match self.links.send(link, tag, &command, &self.renames) {
                // A connection that is gone says so itself.
                Ok(()) | Err(SendError::Closed) => {}
                Err(error @ SendError::Full) => return Some(PeerInput::LinkDown(link, LinkError(error.to_string()))),
            },
            PeerOutput::Health { master, health, ages } => {
                let input = Input::PeerHealth { peer: self.id.clone(), health: Box::new(health), ages };
                process.tell_monitor(&master, MonitorMessage::Input(input)).await;
            }
            PeerOutput::Reply { master, tag, value } => {
                let input = Input::PeerReply { peer: self.id.clone(), tag, value };
                process.tell_monitor(&master, MonitorMessage::Input(input)).await;
            }
            PeerOutput::Emit(event) => process.emit(&event),
            PeerOutput::Resolve(addr) => self.resolve(addr),
            PeerOutput::WakeAt(at) => self.wake = Some(process.clock.instant(at)),
        }
        None
    }

    fn resolve(&mut self, addr: Addr) {
        let process = Rc::clone(&self.process);
        self.lookups.spawn_local(async move {
            let ip = process.resolver.lookup(&addr.host).await;
            PeerInput::Moved(Addr { ip, ..addr })
        });
    }
}
