//! One monitor's task: mailbox in, [`Monitor::handle`], outputs executed in the order in which they were emitted.
//!
//! It waits for its mailbox and its timer and for nothing else, so nobody who waits for it can be part of a cycle.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::inbox::{Due, Inbox};
use super::links::SendError;
use super::process::Process;
use super::{Answered, MonitorMessage};
use crate::sentinel::command::RenameMap;
use crate::sentinel::event::Level;
use crate::sentinel::id::{MasterName, ReplyToken};
use crate::sentinel::io::{Answer, Input, LinkError, Outbox, Output};
use crate::sentinel::monitor::Monitor;
use crate::sentinel::monitor::record::MasterRecord;
use crate::sentinel::monitor::view::MasterView;
use crate::sentinel::node::NodeNotice;
use crate::sentinel::peer::PeerInput;
use crate::telemetry::log::{self, log};

/// Messages that may wait for one monitor. Senders wait when it is full; a monitor empties it in microseconds.
pub const MAILBOX: usize = 1024;

/// A monitor and its surroundings.
#[derive(Debug)]
pub struct MonitorTask {
    name: MasterName,
    process: Rc<Process>,
    monitor: Monitor,
    inbox: Inbox<MonitorMessage>,
    lookups: JoinSet<Input>,
    view: watch::Sender<Arc<MasterView>>,
    renames: RenameMap,
    wake: Option<Instant>,
    /// Who waits for an answer.
    askers: BTreeMap<ReplyToken, oneshot::Sender<Answered>>,
    next_token: u64,
    /// What the supervisor has no room for at the moment. The core bounds it: a few a peer.
    notices: VecDeque<NodeNotice>,
}

impl MonitorTask {
    /// A monitor for `record`, and where it is seen. Nothing happens until [`MonitorTask::run`]; its first step, which
    /// makes the first connections and names the first deadline, comes at `first` at the latest.
    pub fn new(
        record: MasterRecord,
        mailbox: mpsc::Receiver<MonitorMessage>,
        seed: u64,
        process: Rc<Process>,
        first: Instant,
    ) -> (Box<MonitorTask>, watch::Receiver<Arc<MasterView>>) {
        let (name, renames) = (record.spec.name.clone(), record.spec.renames.clone());
        let node = process.settings();
        let env = process.env(&node);
        let monitor = Monitor::new(record, seed, &env);
        let (view, reader) = watch::channel(Arc::new(monitor.view(&env)));
        let task = MonitorTask {
            name,
            process,
            monitor,
            inbox: Inbox::new(mailbox),
            lookups: JoinSet::new(),
            view,
            renames,
            wake: Some(first),
            askers: BTreeMap::new(),
            next_token: 0,
            notices: VecDeque::new(),
        };
        (Box::new(task), reader)
    }

    /// Runs for ever; ends by being dropped. Must run inside a `LocalSet`. Boxed, since a task has room for its future and
    /// for what the future was made of.
    pub async fn run(mut self: Box<Self>) {
        let supervisor = self.process.notices.clone();
        let mut messages = Vec::new();
        let mut alarm = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            if let Some(wake) = self.wake.map(tokio::time::Instant::from_std).filter(|wake| *wake != alarm.deadline()) {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                () = self.inbox.receive(&mut messages) => {}
                Some(found) = self.lookups.join_next() => {
                    messages.push(MonitorMessage::Input(found.expect("a look-up neither panics nor is aborted")));
                }
                Ok(room) = supervisor.reserve(), if !self.notices.is_empty() => {
                    room.send((self.name.clone(), self.notices.pop_front().expect("the guard says so")));
                    continue;
                }
                () = &mut alarm, if self.wake.is_some() => {}
            }
            let due = Due::at(self.wake);
            let node = self.process.settings();
            if due == Due::Late && self.monitor.is_about_to_judge(&self.process.env(&node)) {
                self.inbox.gather(&mut messages).await;
            }
            let mut inputs: Vec<Input> = messages.drain(..).map(|message| self.input_of(message)).collect();
            if due != Due::No {
                // Messages go before the tick.
                inputs.push(Input::Tick);
            }
            self.handle(inputs);
        }
    }

    fn input_of(&mut self, message: MonitorMessage) -> Input {
        match message {
            MonitorMessage::Input(input) => input,
            MonitorMessage::Vote { addr, epoch, candidate, reply } => {
                Input::VoteRequest { from: self.remember(reply), addr, epoch, candidate }
            }
            MonitorMessage::Admin { request, reply } => Input::Admin { from: self.remember(reply), request },
        }
    }

    fn remember(&mut self, asker: oneshot::Sender<Answered>) -> ReplyToken {
        self.next_token += 1;
        let token = ReplyToken(self.next_token);
        self.askers.insert(token, asker);
        token
    }

    /// Gives the monitor its inputs, and whatever the execution of its outputs leads to.
    fn handle(&mut self, mut inputs: Vec<Input>) {
        let mut out = Outbox::default();
        while !inputs.is_empty() {
            let may_rename = inputs.iter().any(|input| matches!(input, Input::Admin { .. }));
            let node = self.process.settings();
            self.monitor.handle_all(inputs.drain(..), &self.process.env(&node), &mut out);
            if may_rename {
                self.renames.clone_from(&self.monitor.spec().renames);
            }
            inputs.extend(out.drain().filter_map(|output| self.execute(output)));
        }
    }

    /// Executes one output. Returns what the monitor has to hear of at once.
    fn execute(&mut self, output: Output) -> Option<Input> {
        let process = &self.process;
        match output {
            Output::Connect { link, addr, channel } => {
                self.inbox.links.connect(link, &addr, channel, process.route());
            }
            Output::Close(link) => {
                self.inbox.links.close(link);
            }
            Output::Send { link, tag, command } => match self.inbox.links.send(link, tag, &command, &self.renames) {
                // A connection that is gone says so itself.
                Ok(()) | Err(SendError::Closed) => {}
                Err(error @ SendError::Full) => return Some(Input::LinkDown(link, LinkError(error.to_string()))),
            },
            Output::SendPeer { peer, tag, command } => {
                process.tell_peer(&peer, PeerInput::Send { master: self.name.clone(), tag, command });
            }
            Output::Persist { rev, record } => process.persist(&self.name, rev, *record),
            Output::Publish(view) => {
                process.publisher.readdress(&view);
                self.view.send_replace(Arc::from(view));
            }
            Output::Emit(event) => process.emit(&event),
            Output::Script(job) => process.run_script(job),
            Output::Log(level, text) => log(level, &text),
            Output::NextFailoverDelay { until } => {
                let date = log::ctime(until);
                let line = format!("Next failover delay: I will not start a failover before {date}");
                log(Level::Warning, &line);
            }
            Output::Answer { to, with } => self.answer(to, with),
            Output::Notify(notice) => self.tell_supervisor(notice),
            Output::Resolve(host) => self.resolve(host),
            Output::WakeAt(at) => self.wake = Some(process.clock.instant(at)),
            Output::Exit => process.fail_as_simulated(),
        }
        None
    }

    fn answer(&mut self, to: ReplyToken, answer: Answer) {
        let Some(asker) = self.askers.remove(&to) else { return };
        // An asker that has hung up needs no answer.
        let _ = asker.send(Answered { answer, after_event: self.process.hub.published() });
    }

    fn tell_supervisor(&mut self, notice: NodeNotice) {
        self.notices.push_back(notice);
        // Usually there is room; otherwise `run` sends the rest when there is.
        while let Some(notice) = self.notices.pop_front() {
            let Err(refused) = self.process.notices.try_send((self.name.clone(), notice)) else { continue };
            self.notices.push_front(refused.into_inner().1);
            return;
        }
    }

    fn resolve(&mut self, host: Arc<str>) {
        let process = Rc::clone(&self.process);
        self.lookups.spawn_local(async move {
            let ip = process.resolver.lookup(&host).await;
            Input::Resolved { host, ip }
        });
    }
}
