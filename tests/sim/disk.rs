//! What one Sentinel's file holds, and how writing it can go wrong. The text is `sentinel.conf` as the daemon writes and
//! reads it, so its format is part of every crash.
//!
//! A commit replaces the whole file. It is in place at one moment and acknowledged at a later one; a crash between
//! the two leaves the new content, a crash before leaves the old. A commit that failed may still have left its content
//! in place without being synced: then a crash decides which of the two the next start finds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use sentineld::conf::files::NoFiles;
use sentineld::conf::image::ConfImage;
use sentineld::conf::load::{SourceSet, load};
use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::id::{Epoch, MasterName, Rev, RunId};
use sentineld::sentinel::monitor::record::MasterRecord;

use crate::dns::true_ip;

/// Content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `sentinel current-epoch`
    pub epoch: Epoch,
    /// Masters by name.
    pub records: BTreeMap<MasterName, MasterRecord>,
    /// The file itself.
    pub text: Vec<u8>,
}

impl Image {
    /// What a start makes of this text: the state, and the image that the next save starts from.
    pub fn load(text: &[u8], myid: &RunId) -> Result<(Image, ConfImage), String> {
        let sources = SourceSet {
            main: text.to_vec(),
            stdin: None,
            options: Vec::new(),
            cwd: PathBuf::from("/var/lib/sentinel"),
        };
        let stranger = RunId::from("no id in the file");
        let loaded = load(&sources, stranger, &NoFiles).map_err(|error| format!("{error:?}"))?;
        if loaded.node.myid != *myid {
            return Err(format!("the file says that I am {}", loaded.node.myid));
        }
        let records = loaded.masters.into_iter().map(|record| (record.spec.name.clone(), record)).collect();
        Ok((Image { epoch: loaded.current_epoch, records, text: text.to_vec() }, loaded.image))
    }
}

impl Image {
    /// Masters with their numbers, which their names end with.
    pub fn masters(&self) -> impl Iterator<Item = (usize, &MasterRecord)> {
        let number = |name: &MasterName| name.to_string()[1..].parse().expect("masters are m0, m1, ...");
        self.records.iter().map(move |(name, record)| (number(name), record))
    }

    /// The state with its lists in order, as lines of replicas and peers take each other's places in the file, and with
    /// addresses for names: where names are not announced, the file keeps what they were looked up to. A replica that is
    /// known under two addresses is one.
    pub fn sorted(&self) -> (Epoch, BTreeMap<MasterName, MasterRecord>) {
        let mut records = self.records.clone();
        for record in records.values_mut() {
            for addr in record.replicas.iter_mut().chain([&mut record.addr]) {
                *addr = Addr::new(&true_ip(&addr.host), addr.port);
            }
            record.replicas.sort();
            record.replicas.dedup();
            record.sentinels.sort();
        }
        (self.epoch, records)
    }
}

/// Whether nothing has been learnt of this master yet: an operator has just had it monitored.
pub fn is_new(record: &MasterRecord) -> bool {
    record.config_epoch == Epoch(0) && record.sentinels.is_empty()
}

/// How the disk behaves just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Commits take their time and succeed.
    Good,
    /// Each commit takes this much longer, microseconds.
    Slow(u64),
    /// Commits fail and leave the file alone.
    Full,
    /// Commits fail at the last moment: the content is in place but not safe.
    FailsToSync,
}

/// One Sentinel's disk. Survives its crashes.
#[derive(Debug)]
pub struct Disk {
    /// What a start after a crash finds.
    pub synced: Arc<Image>,
    /// What it may find instead.
    pub unsynced: Option<Arc<Image>>,
    /// Current behaviour.
    pub health: Health,
}

impl Disk {
    /// A disk that holds `image`.
    pub fn new(image: Image) -> Disk {
        Disk { synced: Arc::new(image), unsynced: None, health: Health::Good }
    }

    /// Puts a commit in place. Returns whether it is safe now.
    pub fn replace(&mut self, image: Arc<Image>) -> bool {
        match self.health {
            Health::Good | Health::Slow(_) => {
                self.synced = image;
                self.unsynced = None;
                true
            }
            Health::Full => false,
            Health::FailsToSync => {
                self.unsynced = Some(image);
                false
            }
        }
    }

    /// What the next start finds.
    pub fn crash(&mut self, rng: &mut StdRng) -> Arc<Image> {
        let survives = rng.random_bool(0.5);
        if let Some(image) = self.unsynced.take()
            && survives
        {
            self.synced = image;
        }
        self.synced.clone()
    }
}

/// The store of one running process: group commit, as in production, in front of a [`Disk`].
#[derive(Debug)]
pub struct Store {
    conf: ConfImage,
    queued: BTreeMap<usize, Rev>,
    writing: Option<Write>,
    failed: BTreeMap<usize, Rev>,
    /// A master was removed since the last commit began.
    removed: bool,
}

/// A commit on its way.
#[derive(Clone, Debug)]
pub struct Write {
    /// What is written.
    pub image: Arc<Image>,
    /// Newest revision of each master in it.
    pub covers: BTreeMap<usize, Rev>,
}

impl Store {
    /// A store of a process that has read `conf`.
    pub fn new(conf: ConfImage) -> Store {
        Store { conf, queued: BTreeMap::new(), writing: None, failed: BTreeMap::new(), removed: false }
    }

    /// Queues a record.
    pub fn enqueue(&mut self, master: usize, rev: Rev, record: MasterRecord) {
        self.conf.set_master(record);
        self.queued.insert(master, rev);
    }

    /// Forgets a master.
    pub fn remove(&mut self, name: &MasterName) {
        self.conf.remove_master(name);
        self.removed = true;
    }

    /// Starts a commit of everything queued, or of what failed before, unless one is on its way.
    pub fn begin(&mut self, epoch: Epoch) -> Option<Write> {
        if self.writing.is_some() || (self.queued.is_empty() && self.failed.is_empty() && !self.removed) {
            return None;
        }
        self.removed = false;
        let records = self.conf.masters().map(|record| (record.spec.name.clone(), record.clone())).collect();
        let image = Image { epoch, records, text: self.conf.render(epoch) };
        let mut covers = std::mem::take(&mut self.failed);
        covers.append(&mut self.queued);
        let write = Write { image: Arc::new(image), covers };
        self.writing = Some(write.clone());
        Some(write)
    }

    /// Whether something waits that no retry timer covers.
    pub fn has_fresh_work(&self) -> bool {
        !self.queued.is_empty() || self.removed
    }

    /// Ends the commit; returns what it covered.
    pub fn finish(&mut self, saved: bool) -> BTreeMap<usize, Rev> {
        let covers = self.writing.take().map(|write| write.covers).unwrap_or_default();
        if !saved {
            self.failed.clone_from(&covers);
        }
        covers
    }
}
