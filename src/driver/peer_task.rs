//! One peer's task: the same for [`Peer`] as a monitor's task for its monitor.
//!
//! It may wait for the mailboxes of monitors, which wait for nobody; monitors never wait for it.

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::MonitorMessage;
use super::inbox::{Due, Inbox};
use super::links::SendError;
use super::process::Process;
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
    inbox: Inbox<PeerInput>,
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
            inbox: Inbox::new(mailbox),
            lookups: JoinSet::new(),
            renames: RenameMap::new(),
            wake: None,
        };
        (task, sender)
    }

    /// Runs for ever; ends by being dropped. Must run inside a `LocalSet`.
    pub async fn run(mut self) {
        let mut alarm = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let mut inputs = Vec::new();
            if let Some(wake) = self.wake.map(tokio::time::Instant::from_std).filter(|wake| *wake != alarm.deadline()) {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                () = self.inbox.receive(&mut inputs) => {}
                Some(found) = self.lookups.join_next() => {
                    inputs.push(found.expect("a look-up neither panics nor is aborted"));
                }
                () = &mut alarm, if self.wake.is_some() => {}
            }
            let due = Due::at(self.wake);
            let node = self.process.settings();
            if due == Due::Late && self.peer.is_about_to_judge(&self.process.env(&node)) {
                self.inbox.gather(&mut inputs).await;
            }
            if due != Due::No {
                // As with monitors: messages go before the tick.
                self.wake = None;
                inputs.push(PeerInput::Tick);
            }
            self.handle(inputs).await;
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
                self.inbox.links.connect(link, &addr, Channel::Command, process.route());
            }
            PeerOutput::Close(link) => {
                self.inbox.links.close(link);
            }
            PeerOutput::Send { link, tag, command } => {
                match self.inbox.links.send(link, tag, &command, &self.renames) {
                    // A connection that is gone says so itself.
                    Ok(()) | Err(SendError::Closed) => {}
                    Err(error @ SendError::Full) => {
                        return Some(PeerInput::LinkDown(link, LinkError(error.to_string())));
                    }
                }
            }
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
            PeerInput::Moved(addr.meaning(ip))
        });
    }
}
