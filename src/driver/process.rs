//! What the tasks of the control thread share: clocks, registers, and the ways out.
//!
//! One value, behind an `Rc`, that monitors, peers and the supervisor hold. Everything here returns at once but
//! [`Process::tell_monitor`], which only those may call who may wait for a monitor.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use super::clock::Clock;
use super::links::Route;
use super::post::Post;
use super::resolver::Resolver;
use super::{MonitorMessage, deliver};
use crate::net::tls::Tls;
use crate::publish::Publisher;
use crate::sentinel::epoch::EpochRegister;
use crate::sentinel::event::{Event, Level};
use crate::sentinel::groups::GroupRegister;
use crate::sentinel::id::{MasterName, Rev, RunId};
use crate::sentinel::lateness::LatenessRegister;
use crate::sentinel::monitor::record::MasterRecord;
use crate::sentinel::node::NodeNotice;
use crate::sentinel::peer::PeerInput;
use crate::sentinel::scripts::{ScriptJob, ScriptQueue};
use crate::sentinel::tilt::TiltRegister;
use crate::sentinel::{Env, NodeSettings};
use crate::server::pubsub::HubSender;
use crate::store::{Change, StoreHandle};
use crate::telemetry::log::{self, log};

/// Exit code of a process that `SENTINEL SIMULATE-FAILURE` killed.
const SIMULATED_FAILURE: i32 = 99;

/// Everything that is one a process.
#[derive(Debug)]
pub struct Process {
    /// Reads the time.
    pub clock: Clock,
    /// `current_epoch`
    pub epoch: EpochRegister,
    /// Which servers belong to which master.
    pub groups: GroupRegister,
    /// TILT
    pub tilt: Arc<TiltRegister>,
    /// How late it is with its work.
    pub lateness: LatenessRegister,
    /// Settings that may change while the process runs.
    pub node: watch::Sender<Arc<NodeSettings>>,
    /// `loglevel`, by stock's name.
    pub log_level: watch::Sender<String>,
    /// Where views and addresses go.
    pub publisher: Publisher,
    /// Where events go.
    pub hub: Arc<HubSender>,
    /// Where records go.
    pub store: StoreHandle,
    /// For all connections that are opened, if `tls-replication` is on.
    pub tls: Option<Tls>,
    /// Looks up host names.
    pub resolver: Resolver,
    /// To the supervisor. Bounded, since monitors keep what it has no room for.
    pub notices: mpsc::Sender<(MasterName, NodeNotice)>,
    /// The way to monitors from other threads.
    pub post: Post,
    /// Mailboxes of the monitors.
    pub monitors: RefCell<BTreeMap<MasterName, mpsc::Sender<MonitorMessage>>>,
    /// Mailboxes of the peers.
    pub peers: RefCell<BTreeMap<RunId, mpsc::Sender<PeerInput>>>,
    /// Scripts that wait or run.
    pub scripts: RefCell<ScriptQueue>,
    /// Wakes who runs them.
    pub script_submitted: Notify,
    /// What each monitor has had saved.
    pub saves: RefCell<BTreeMap<MasterName, Saves>>,
}

/// The saves of one master, over all the monitors that it had.
///
/// Each monitor counts its revisions from 1. What the store is given counts on, so that an answer to a monitor that is
/// gone never makes its successor believe that something is on disk.
#[derive(Debug)]
pub struct Saves {
    /// The newest record, from which the monitor starts again should it fail.
    pub record: MasterRecord,
    /// Revisions of earlier monitors.
    before: u64,
    /// Newest revision that the store was given.
    last: u64,
}

impl Process {
    /// The settings as of now.
    pub fn settings(&self) -> Arc<NodeSettings> {
        Arc::clone(&self.node.borrow())
    }

    /// How connections are made.
    pub fn route(&self) -> Route {
        Route { source: self.node.borrow().bind_source_addr, tls: self.tls.clone() }
    }

    /// What a machine may look at, as of now.
    pub fn env<'a>(&'a self, node: &'a NodeSettings) -> Env<'a> {
        Env {
            now: self.clock.now(),
            epoch: &self.epoch,
            tilt: &self.tilt,
            lateness: &self.lateness,
            groups: &self.groups,
            node,
        }
    }

    /// Logs an event and tells its subscribers.
    pub fn emit(&self, event: &Event) {
        log(event.kind.level(), &event.to_string());
        if event.is_published() {
            self.hub.publish(event);
        }
    }

    /// Has a script run as soon as there is room.
    pub fn run_script(&self, job: ScriptJob) {
        self.scripts.borrow_mut().submit(job, self.clock.mono());
        self.script_submitted.notify_one();
    }

    /// Logs an event of a master, tells its subscribers, and has the master's notification script run.
    pub fn announce(&self, event: &Event, notification_script: Option<&String>) {
        self.emit(event);
        if let Some(job) = ScriptJob::notification(notification_script, event) {
            self.run_script(job);
        }
    }

    /// Has a monitor's record saved.
    pub fn persist(&self, name: &MasterName, rev: Rev, record: MasterRecord) {
        let mut all = self.saves.borrow_mut();
        let saves = all.get_mut(name).expect("entered before the monitor started");
        let is_discovery = record.differs_by_discovery(&saves.record);
        saves.record.clone_from(&record);
        saves.last = saves.before + rev.0;
        let (change, rev) = (Change::Master(Box::new(record)), Rev(saves.last));
        if is_discovery {
            self.store.commit_in_time(change, rev);
        } else {
            self.store.commit(change, rev);
        }
    }

    /// Makes the next revision of this master the first of a new monitor, which starts with this record.
    pub fn begin_saves(&self, name: &MasterName, record: MasterRecord) {
        let mut all = self.saves.borrow_mut();
        let last = all.get(name).map_or(0, |saves| saves.last);
        all.insert(name.clone(), Saves { record, before: last, last });
    }

    /// The revision of the present monitor that the store means by this one, if it means one of its.
    pub fn own_rev(&self, name: &MasterName, rev: Rev) -> Option<Rev> {
        let all = self.saves.borrow();
        rev.0.checked_sub(all.get(name)?.before).filter(|own| *own > 0).map(Rev)
    }

    /// Sends to a peer, unless it is gone or cannot take more: then its link is as good as lost, and the sender's own
    /// clocks tell it so.
    pub fn tell_peer(&self, peer: &RunId, input: PeerInput) {
        if let Some(mailbox) = self.peers.borrow().get(peer) {
            // Dropped without a reply, as the core expects of a link that is down.
            let _ = mailbox.try_send(input);
        }
    }

    /// Sends to a monitor, and waits for room if there is none.
    pub async fn tell_monitor(&self, master: &MasterName, message: MonitorMessage) {
        let mailbox = self.monitors.borrow().get(master).cloned();
        if let Some(mailbox) = mailbox {
            deliver(&mailbox, message).await;
        }
    }

    /// Ends the process as `SENTINEL SIMULATE-FAILURE` wants it: at once, without any cleaning up.
    pub fn fail_as_simulated(&self) -> ! {
        log(Level::Warning, "Sentinel CRASH because of SENTINEL simulate-failure");
        log::close();
        std::process::exit(SIMULATED_FAILURE)
    }
}
