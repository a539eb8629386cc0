//! When the store saves, and whom it tells.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;

use super::*;
use crate::conf::files::NoFiles;
use crate::conf::load::{Loaded, SourceSet, load};
use crate::sentinel::epoch::EpochRegister;
use crate::sentinel::id::{Epoch, RunId};

/// A disk in memory that fails on demand, and can be made to wait before each save.
#[derive(Default)]
struct FakeDisk {
    text: Mutex<Option<Vec<u8>>>,
    saves: Mutex<Vec<Vec<u8>>>,
    fails: AtomicBool,
    gate: Option<Mutex<blocking::Receiver<()>>>,
    /// Who hears that the file is about to be read, and lets it be.
    reader: Option<(mpsc::Sender<()>, Mutex<blocking::Receiver<()>>)>,
}

impl Disk for FakeDisk {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        if let Some((begins, gate)) = &self.reader {
            begins.blocking_send(()).expect("the test listens");
            gate.lock().expect("not poisoned").recv().expect("the test opens the gate");
        }
        Ok(self.text.lock().expect("not poisoned").clone())
    }

    fn replace(&self, text: &[u8]) -> Result<(), SaveError> {
        if let Some(gate) = &self.gate {
            gate.lock().expect("not poisoned").recv().expect("the test opens the gate");
        }
        self.saves.lock().expect("not poisoned").push(text.to_vec());
        if self.fails.load(Ordering::SeqCst) {
            return Err(SaveError::Create(nix::errno::Errno::EACCES.into()));
        }
        *self.text.lock().expect("not poisoned") = Some(text.to_vec());
        Ok(())
    }
}

impl FakeDisk {
    fn saves(&self) -> usize {
        self.saves.lock().expect("not poisoned").len()
    }

    fn text(&self) -> String {
        let text = self.text.lock().expect("not poisoned").clone().expect("saved");
        String::from_utf8(text).expect("text")
    }
}

const TWO_MASTERS: &str = "# mine\nsentinel monitor a 10.0.0.1 6379 1\nsentinel monitor b 10.0.0.2 6379 1\n";

struct Bench {
    store: StoreHandle,
    task: task::JoinHandle<()>,
    acks: mpsc::Receiver<Ack>,
    disk: Arc<FakeDisk>,
    epoch: EpochRegister,
    loaded: Loaded,
}

impl Bench {
    fn new(disk: FakeDisk) -> Bench {
        let main = TWO_MASTERS.as_bytes().to_vec();
        *disk.text.lock().expect("not poisoned") = Some(main.clone());
        let sources = SourceSet { main, stdin: None, options: Vec::new(), cwd: PathBuf::from("/") };
        let loaded = load(&sources, RunId::from("a".repeat(40).as_str()), &NoFiles).expect("loads");
        let (disk, epoch) = (Arc::new(disk), EpochRegister::default());
        let (sender, acks) = mpsc::channel(16);
        let (store, task) = spawn(loaded.image.clone(), disk.clone(), epoch.reader(), None, sender);
        Bench { store, task, acks, disk, epoch, loaded }
    }

    fn commit(&self, master: usize, leader_epoch: u64, rev: u64) {
        self.store.commit(self.change(master, leader_epoch), Rev(rev));
    }

    fn change(&self, master: usize, leader_epoch: u64) -> Change {
        let mut record = self.loaded.masters[master].clone();
        record.leader_epoch = Epoch(leader_epoch);
        Change::Master(Box::new(record))
    }

    /// The next answer: owner, revision and whether it went well.
    async fn ack(&mut self) -> (Owner, u64, bool) {
        // Time is not real here: this is over at once when nothing is left to happen.
        let ack = tokio::time::timeout(Duration::from_hours(1), self.acks.recv()).await.expect("an answer");
        let ack = ack.expect("the store is there");
        (ack.owner, ack.rev.0, ack.result.is_ok())
    }
}

fn master(name: &str) -> Owner {
    Owner::Master(MasterName::from(name))
}

#[tokio::test(start_paused = true)]
async fn everything_that_waits_goes_into_one_save() {
    let (open, gate) = blocking::channel();
    let mut bench = Bench::new(FakeDisk { gate: Some(Mutex::new(gate)), ..FakeDisk::default() });
    bench.commit(0, 1, 1);
    tokio::task::yield_now().await;
    // The first save stands at the gate; these come meanwhile.
    bench.commit(0, 2, 2);
    bench.commit(1, 3, 1);
    bench.commit(0, 4, 3);
    bench.store.commit(Change::Flush, Rev(77));
    bench.epoch.observe(Epoch(4));
    open.send(()).expect("waited for");
    assert_eq!(bench.ack().await, (master("a"), 1, true));
    open.send(()).expect("waited for");
    for expected in
        [(master("a"), 2, true), (master("b"), 1, true), (master("a"), 3, true), (Owner::Node(77), 77, true)]
    {
        assert_eq!(bench.ack().await, expected);
    }
    assert_eq!(bench.disk.saves(), 2);
    let text = bench.disk.text();
    for line in ["# mine\n", "leader-epoch a 4\n", "leader-epoch b 3\n", "current-epoch 4\n"] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// The discovery of a thousand masters is one change after the other for seconds.
#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_collects_between_saves() {
    let mut bench = Bench::new(FakeDisk::default());
    let began = Instant::now();
    for rev in 1..=10 {
        bench.store.commit_in_time(bench.change(0, rev), Rev(rev));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    for rev in 1..=10 {
        assert_eq!(bench.ack().await, (master("a"), rev, true));
    }
    assert!(began.elapsed() <= Duration::from_millis(300) + PACE, "{:?}", began.elapsed());
    assert_eq!(bench.disk.saves(), 4, "the first at once, and then every 100 ms");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_waits_for_takes_the_rest_along_at_once() {
    let mut bench = Bench::new(FakeDisk::default());
    bench.commit(0, 1, 1);
    bench.ack().await;
    let began = Instant::now();
    bench.store.commit_in_time(bench.change(0, 2), Rev(2));
    tokio::task::yield_now().await;
    bench.commit(1, 3, 1);
    for expected in [(master("a"), 2, true), (master("b"), 1, true)] {
        assert_eq!(bench.ack().await, expected);
    }
    assert_eq!((bench.disk.saves(), began.elapsed()), (2, Duration::ZERO));
}

/// While a thousand masters fail over, preparing one save after the other would take a processor from the elections.
#[tokio::test(start_paused = true)]
async fn a_save_that_took_long_to_prepare_is_followed_by_a_rest_as_long() {
    let (begins, mut begun) = mpsc::channel(1);
    let (open, gate) = blocking::channel();
    let mut bench = Bench::new(FakeDisk { reader: Some((begins, Mutex::new(gate))), ..FakeDisk::default() });
    let long = Duration::from_millis(40);
    bench.commit(0, 1, 1);
    begun.recv().await;
    tokio::time::advance(long).await;
    open.send(()).expect("the disk waits");
    bench.ack().await;
    let rests = Instant::now();
    bench.commit(0, 2, 2);
    begun.recv().await;
    assert!(rests.elapsed() >= long, "{:?}", rests.elapsed());
    open.send(()).expect("the disk waits");
    bench.ack().await;
    let rests = Instant::now();
    bench.commit(0, 3, 3);
    begun.recv().await;
    assert_eq!(rests.elapsed(), Duration::ZERO, "the second took no time");
    open.send(()).expect("the disk waits");
    bench.ack().await;
}

/// config.md 5.7, 131
#[tokio::test(start_paused = true)]
async fn a_failed_save_is_told_once_and_tried_again() {
    let mut bench = Bench::new(FakeDisk { fails: AtomicBool::new(true), ..FakeDisk::default() });
    bench.commit(0, 1, 1);
    bench.store.commit(Change::Flush, Rev(9));
    assert_eq!(bench.ack().await, (master("a"), 1, false));
    assert_eq!(bench.ack().await, (Owner::Node(9), 9, false));
    bench.commit(0, 2, 2);
    bench.commit(1, 2, 5);
    assert_eq!(bench.ack().await, (master("a"), 2, false));
    assert_eq!(bench.ack().await, (master("b"), 5, false));

    let before = bench.disk.saves();
    let began = Instant::now();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(bench.acks.try_recv().is_err(), "silent while nothing new is to be told");
    // 200 + 400 + ... + 6400 ms, then every 10 s.
    let retries = bench.disk.saves() - before;
    assert!((9..=11).contains(&retries), "{retries} retries in {:?}", began.elapsed());

    bench.disk.fails.store(false, Ordering::SeqCst);
    assert_eq!(bench.ack().await, (master("a"), 2, true));
    assert_eq!(bench.ack().await, (master("b"), 5, true));
    assert!(bench.disk.text().contains("leader-epoch a 2\n"));

    let saves = bench.disk.saves();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(bench.disk.saves(), saves, "clean is clean");
}

#[tokio::test(start_paused = true)]
async fn a_new_commit_saves_what_had_failed() {
    let mut bench = Bench::new(FakeDisk { fails: AtomicBool::new(true), ..FakeDisk::default() });
    bench.commit(0, 1, 1);
    assert_eq!(bench.ack().await, (master("a"), 1, false));
    bench.disk.fails.store(false, Ordering::SeqCst);
    bench.commit(1, 2, 1);
    assert_eq!(bench.ack().await, (master("a"), 1, true));
    assert_eq!(bench.ack().await, (master("b"), 1, true));
    assert_eq!(bench.disk.saves(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_removed_master_is_neither_saved_nor_told() {
    let mut bench = Bench::new(FakeDisk { fails: AtomicBool::new(true), ..FakeDisk::default() });
    bench.commit(0, 1, 1);
    assert_eq!(bench.ack().await, (master("a"), 1, false));
    bench.disk.fails.store(false, Ordering::SeqCst);
    bench.commit(0, 2, 2);
    bench.store.commit(Change::Removed(MasterName::from("a")), Rev(50));
    assert_eq!(bench.ack().await, (Owner::Node(50), 50, true));
    assert!(!bench.disk.text().contains(" a "));
    // The name may come back, as another master.
    bench.commit(0, 8, 1);
    assert_eq!(bench.ack().await, (master("a"), 1, true));
    assert!(bench.disk.text().contains("leader-epoch a 8"));
}

/// config.md 129
#[tokio::test(start_paused = true)]
async fn hand_edits_made_meanwhile_survive() {
    let mut bench = Bench::new(FakeDisk::default());
    bench.commit(0, 1, 1);
    bench.ack().await;
    let edited = bench.disk.text().replace("# mine\n", "# mine\n# and yours\ntimeout 5\n");
    *bench.disk.text.lock().expect("not poisoned") = Some(edited.into_bytes());
    bench.commit(0, 2, 2);
    bench.ack().await;
    assert!(bench.disk.text().starts_with("# mine\n# and yours\ntimeout 5\nsentinel monitor a"));
    assert!(bench.disk.text().contains("leader-epoch a 2\n"));
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_saved_before_the_store_ends() {
    let mut bench = Bench::new(FakeDisk::default());
    bench.commit(0, 6, 1);
    bench.ack().await;
    bench.store.commit_in_time(bench.change(0, 7), Rev(2));
    drop(bench.store);
    bench.task.await.expect("ends");
    assert!(bench.acks.recv().await.expect("answered").result.is_ok());
    assert!(bench.acks.recv().await.is_none());
    assert!(bench.disk.text().contains("leader-epoch a 7\n"));
}
