//! Saving: one task that turns changes into a file, as many at a time as there are.
//!
//! Monitors and the supervisor commit; nobody waits here. Each commit is answered by one [`Ack`] once the file is on
//! disk or could not be written. While a save runs, further commits collect and are saved together, and what nobody waits
//! for stays for more to come when there was a save just before: a thousand masters are discovered with tens of saves.
//! What somebody waits for stays as long as the last save took to prepare, which is nothing with a few masters: a thousand
//! elections need the processor more than a thousand saves.
//! After a failure the state stays dirty and is saved again, after a while or with the next commit; a master hears of it
//! when its newest record is on disk after all.

pub mod file;
pub mod state;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task;
use tokio::time::{Instant, sleep_until};

use crate::acl::Users;
pub use crate::conf::daemon::LogLevel;
use crate::conf::error::strerror;
use crate::conf::files::AnyFiles;
use crate::conf::identity;
use crate::conf::image::{ConfImage, Rendered};
use crate::conf::load::{SourceSet, load};
use crate::sentinel::NodeSettings;
use crate::sentinel::epoch::CurrentEpoch;
use crate::sentinel::id::{MasterName, Rev, RunId};
use crate::sentinel::monitor::record::MasterRecord;
use file::{Disk, SaveError};

/// Something to save.
#[derive(Clone, Debug)]
pub enum Change {
    /// A master is new or has changed.
    Master(Box<MasterRecord>),
    /// A master is gone. Its commits that are still open are never answered.
    Removed(MasterName),
    /// Settings of the process have changed.
    Node(Box<NodeSettings>),
    /// `loglevel` has changed.
    LogLevel(LogLevel),
    /// Nothing; the file is written all the same.
    Flush,
}

/// Whom an answer is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Whoever committed this master's record.
    Master(MasterName),
    /// Whoever committed anything else, with the number of the commit's `Rev`.
    Node(u64),
}

/// The answer to one commit.
///
/// A master's answers come in the order of its commits. After a failure another answer, `Ok`, comes for the newest of
/// the failed revisions once it is on disk; commits of `Owner::Node` are answered once.
#[derive(Clone, Debug)]
pub struct Ack {
    /// Whom it is for.
    pub owner: Owner,
    /// From the commit.
    pub rev: Rev,
    /// Shared by everything that was in the same save.
    pub result: Result<(), Arc<SaveError>>,
}

/// The way to the store. Cheap to clone; the store ends when the last one is dropped and everything is saved.
#[derive(Clone, Debug)]
pub struct StoreHandle {
    queue: Arc<Mutex<Queue>>,
    /// Holds one wake-up, which stands for any number of commits.
    wake: mpsc::Sender<()>,
}

/// Commits that the store has not taken yet. A newer record of a master replaces an older one, so that this holds one
/// record a master however slow the disk is.
#[derive(Debug, Default)]
struct Queue {
    changes: Vec<Change>,
    /// Where a master's record is in `changes`.
    records: BTreeMap<MasterName, usize>,
    open: Vec<(Owner, Rev)>,
    /// Somebody waits for one of them.
    is_urgent: bool,
}

impl Queue {
    fn push(&mut self, change: Change, rev: Rev) {
        let owner = match &change {
            Change::Master(record) => Owner::Master(record.spec.name.clone()),
            _ => Owner::Node(rev.0),
        };
        if let Change::Removed(name) = &change {
            self.records.remove(name);
            self.open.retain(|(owner, _)| !matches!(owner, Owner::Master(master) if master == name));
        }
        self.open.push((owner, rev));
        match change {
            Change::Master(record) => {
                let name = record.spec.name.clone();
                if let Some(at) = self.records.get(&name) {
                    self.changes[*at] = Change::Master(record);
                } else {
                    self.records.insert(name, self.changes.len());
                    self.changes.push(Change::Master(record));
                }
            }
            Change::Flush => {}
            change => self.changes.push(change),
        }
    }
}

impl StoreHandle {
    /// Asks for a change to be saved. Returns at once; the answer comes through the channel given to [`spawn`].
    pub fn commit(&self, change: Change, rev: Rev) {
        self.enqueue(change, rev, true);
    }

    /// The same for a change that nobody waits for and that may be lost in a crash: it is saved with the next that is not,
    /// or [`PACE`] after the last save.
    pub fn commit_in_time(&self, change: Change, rev: Rev) {
        self.enqueue(change, rev, false);
    }

    fn enqueue(&self, change: Change, rev: Rev, is_urgent: bool) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push(change, rev);
        queue.is_urgent |= is_urgent;
        drop(queue);
        // Full means that a wake-up is on its way already, closed that the process is ending.
        let _ = self.wake.try_send(());
    }
}

/// Starts the store. `image` is what was loaded; `epoch` and `users` are read at each save; there are no users when an
/// ACL file has them. Acks wait for room in their channel, so
/// whoever receives them must never wait for the store.
pub fn spawn(
    image: ConfImage,
    disk: Arc<dyn Disk>,
    epoch: Arc<CurrentEpoch>,
    users: Option<watch::Receiver<Arc<Users>>>,
    acks: mpsc::Sender<Ack>,
) -> (StoreHandle, task::JoinHandle<()>) {
    let queue = Arc::new(Mutex::new(Queue::default()));
    let (wake, woken) = mpsc::channel(1);
    let saver = Box::new(Saver { image, disk, epoch, users, written: None, preparation: Duration::ZERO });
    let store = Store {
        queue: queue.clone(),
        woken,
        acks,
        saver: Some(saver),
        failed: BTreeMap::new(),
        retry: None,
        pause: Instant::now(),
        rest: Instant::now(),
        waits_until: None,
    };
    (StoreHandle { queue, wake }, tokio::spawn(store.run()))
}

/// Between saves of what nobody waits for.
pub const PACE: Duration = Duration::from_millis(100);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

struct Store {
    queue: Arc<Mutex<Queue>>,
    woken: mpsc::Receiver<()>,
    acks: mpsc::Sender<Ack>,
    /// Away while a save runs.
    saver: Option<Box<Saver>>,
    /// Newest revision of each master that is not on disk because a save failed.
    failed: BTreeMap<MasterName, Rev>,
    /// When to save again after a failure, and after which delay that is.
    retry: Option<(Instant, Duration)>,
    /// Until when changes that nobody waits for collect.
    pause: Instant,
    /// Until when others do.
    rest: Instant,
    /// Changes are there, and wait.
    waits_until: Option<Instant>,
}

impl Store {
    async fn run(mut self) {
        loop {
            let (open, is_due) = tokio::select! {
                open = self.woken.recv() => (open.is_some(), false),
                () = at(self.retry.map(|(time, _)| time)) => (true, true),
                () = at(self.waits_until) => (true, true),
            };
            let queue = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let begin = if queue.is_urgent { self.rest } else { self.pause };
                self.waits_until = (open && !is_due && Instant::now() < begin).then_some(begin);
                if self.waits_until.is_some() {
                    continue;
                }
                std::mem::take(&mut *queue)
            };
            if (!queue.open.is_empty() || self.retry.is_some()) && self.save(queue).await.is_err() {
                return;
            }
            self.pause = Instant::now() + PACE;
            if !open {
                return;
            }
        }
    }

    /// Saves and answers. Fails when nobody wants answers any more.
    async fn save(&mut self, queue: Queue) -> Result<(), mpsc::error::SendError<Ack>> {
        for change in &queue.changes {
            if let Change::Removed(name) = change {
                self.failed.remove(name);
            }
        }
        let mut saver = self.saver.take().expect("comes back from every save");
        let outcome = task::spawn_blocking(move || {
            let result = saver.save(queue.changes);
            (saver, result)
        });
        let (saver, result) = outcome.await.expect("saving does not panic and is never cancelled");
        self.rest = Instant::now() + saver.preparation;
        self.saver = Some(saver);
        let result = result.map_err(Arc::new);
        match &result {
            Ok(()) => {
                self.retry = None;
                tracing::info!("Sentinel new configuration saved on disk");
            }
            Err(error) => {
                let delay = self.retry.map_or(FIRST_RETRY, |(_, delay)| (delay * 2).min(LONGEST_RETRY));
                self.retry = Some((Instant::now() + delay, delay));
                tracing::warn!("{error}");
                tracing::warn!(
                    "WARNING: Sentinel was not able to save the new configuration on disk!!!: {}",
                    error.cause().map_or_else(|| "it could not be loaded".to_owned(), strerror)
                );
            }
        }
        self.answer(queue.open, &result).await
    }

    async fn answer(
        &mut self,
        mut open: Vec<(Owner, Rev)>,
        result: &Result<(), Arc<SaveError>>,
    ) -> Result<(), mpsc::error::SendError<Ack>> {
        match result {
            Ok(()) => {
                let late = std::mem::take(&mut self.failed);
                let late = late.into_iter().filter(|(name, _)| {
                    !open.iter().any(|(owner, _)| matches!(owner, Owner::Master(master) if master == name))
                });
                let late: Vec<_> = late.map(|(name, rev)| (Owner::Master(name), rev)).collect();
                open.splice(0..0, late);
            }
            Err(_) => {
                for (owner, rev) in &open {
                    if let Owner::Master(name) = owner {
                        self.failed.insert(name.clone(), *rev);
                    }
                }
            }
        }
        for (owner, rev) in open {
            self.acks.send(Ack { owner, rev, result: result.clone() }).await?;
        }
        Ok(())
    }
}

/// Comes at that time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The state and the file, as they travel to a thread that may block.
struct Saver {
    image: ConfImage,
    disk: Arc<dyn Disk>,
    epoch: Arc<CurrentEpoch>,
    users: Option<watch::Receiver<Arc<Users>>>,
    /// What we last wrote. Anything else in the file was written by somebody else.
    written: Option<Vec<u8>>,
    /// What the last save took until there was a text to be written.
    preparation: Duration,
}

impl Saver {
    fn save(&mut self, changes: Vec<Change>) -> Result<(), SaveError> {
        let begun = Instant::now();
        for change in changes {
            match change {
                Change::Master(record) => self.image.set_master(*record),
                Change::Removed(name) => self.image.remove_master(&name),
                Change::Node(node) => self.image.set_node(&node),
                Change::LogLevel(level) => self.image.set_log_level(level),
                Change::Flush => {}
            }
        }
        if let Some(users) = &mut self.users
            && users.has_changed().unwrap_or(false)
        {
            self.image.set_users(&users.borrow_and_update());
        }
        let there = self.disk.read().map_err(SaveError::Read)?.unwrap_or_default();
        if self.written.as_ref() != Some(&there) {
            self.image.reread(&there);
        }
        // Read after the changes were taken, so it covers every epoch in them.
        let Rendered { text, news } = self.image.rendered(self.epoch.get());
        check(news)?;
        self.image.found_good();
        self.disk.annex(identity::print(self.image.identities()));
        self.preparation = begun.elapsed();
        self.disk.replace(&text)?;
        self.written = Some(text);
        Ok(())
    }
}

/// A file from which nobody could start must not replace one from which somebody can.
fn check(news: Vec<u8>) -> Result<(), SaveError> {
    let sources = SourceSet { main: news, stdin: None, options: Vec::new(), cwd: PathBuf::from("/") };
    let nobody = RunId::from("");
    load(&sources, nobody, &AnyFiles).map(drop).map_err(|error| SaveError::Unloadable(error.to_string()))
}

#[cfg(test)]
mod tests;
