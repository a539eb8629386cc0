//! The tasks of the control thread together, with a store that writes to memory and servers on loopback sockets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;

use sentineld::conf::files::NoFiles;
use sentineld::conf::load::{self, SourceSet};
use sentineld::driver::clock::Clock;
use sentineld::driver::post;
use sentineld::driver::process::Process;
use sentineld::driver::resolver::Resolver;
use sentineld::driver::supervisor::{self, Asker, Identity, Inlets, Supervisor};
use sentineld::driver::{Answered, NodeChange, SupervisorRequest};
use sentineld::publish::{Publisher, Reader};
use sentineld::sentinel::CROWD;
use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::epoch::EpochRegister;
use sentineld::sentinel::groups::GroupRegister;
use sentineld::sentinel::id::{Epoch, MasterName, Rev, RunId};
use sentineld::sentinel::io::Answer;
use sentineld::sentinel::lateness::LatenessRegister;
use sentineld::sentinel::monitor::record::{IdentityRecord, MasterRecord, MasterSpec};
use sentineld::sentinel::monitor::view::MasterView;
use sentineld::sentinel::time::Periods;
use sentineld::server::pubsub::{self, Feed};
use sentineld::store::file::{Disk, SaveError};

/// A file in memory that can be made to refuse.
#[derive(Default)]
struct MemoryDisk {
    text: Mutex<Vec<u8>>,
    refuses: AtomicBool,
}

impl MemoryDisk {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Disk for MemoryDisk {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    fn replace(&self, text: &[u8]) -> Result<(), SaveError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(SaveError::Create(io::ErrorKind::PermissionDenied.into()));
        }
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text.to_vec();
        Ok(())
    }
}

/// A running supervisor.
struct Rig {
    process: Rc<Process>,
    reader: Reader,
    requests: mpsc::Sender<(SupervisorRequest, Asker)>,
    stops: mpsc::Receiver<Asker>,
    disk: Arc<MemoryDisk>,
    /// Keeps the queue of events open.
    _feed: Feed,
}

impl Rig {
    async fn start(conf: &str) -> Rig {
        let sources = SourceSet { main: conf.into(), stdin: None, options: Vec::new(), cwd: Path::new("/").to_owned() };
        let loaded = load::load(&sources, RunId::from(&*"a".repeat(40)), &NoFiles).expect("the text is right");
        let disk = Arc::new(MemoryDisk::default());
        let last_votes = loaded.masters.iter().map(|master| master.leader_epoch);
        let epoch = EpochRegister::new(loaded.current_epoch, last_votes);
        let (acked, acks) = mpsc::channel(supervisor::ACKS);
        let (requests, requested) = mpsc::channel(supervisor::REQUESTS);
        let (notice_sender, notices) = mpsc::channel(supervisor::NOTICES);
        let (stop, stops) = mpsc::channel(1);
        let (store, store_task) = sentineld::store::spawn(loaded.image, disk.clone(), epoch.reader(), None, acked);
        let (hub, _, feed) = pubsub::hub();
        let (post, postman) = post::office();
        tokio::task::spawn_local(postman.run());
        let process = Rc::new(Process {
            groups: GroupRegister::default(),
            clock: Clock::new(),
            epoch,
            tilt: Arc::default(),
            lateness: LatenessRegister::default(),
            node: watch::channel(Arc::new(loaded.node)).0,
            log_level: watch::channel("notice".to_owned()).0,
            publisher: Publisher::default(),
            hub,
            store,
            resolver: Resolver::new(tokio::runtime::Handle::current()),
            notices: notice_sender,
            post,
            monitors: RefCell::default(),
            tls: None,
            peers: RefCell::default(),
            scripts: RefCell::default(),
            script_submitted: tokio::sync::Notify::new(),
            saves: RefCell::default(),
        });
        let inlets = Inlets { requests: requested, notices, acks, store: store_task };
        let mut supervisor = Supervisor::new(process.clone(), inlets, stop);
        supervisor.start(Identity::Known, loaded.masters).await;
        tokio::task::spawn_local(supervisor.run());
        Rig { reader: process.publisher.reader(), process, requests, stops, disk, _feed: feed }
    }

    async fn ask(&self, request: SupervisorRequest) -> Answered {
        let (asker, answer) = oneshot::channel();
        self.requests.send((request, asker)).await.expect("the supervisor runs");
        within(answer).await.expect("the supervisor answers")
    }

    fn knows(&self, name: &str) -> bool {
        self.reader.directory.borrow().contains_key(name)
    }

    fn view(&self) -> Arc<MasterView> {
        let directory = self.reader.directory.borrow();
        directory.values().next().expect("a master").view.borrow().clone()
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(5), future).await.expect("happens within five seconds")
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

fn on_control_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(test));
}

/// A master on a thread of its own, so that it lives on while the control thread stands still.
struct Server {
    port: u16,
    pings: Arc<AtomicU64>,
}

/// How late a PONG is.
const PONG_DELAY: Duration = Duration::from_millis(30);

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let port = listener.local_addr().expect("bound").port();
        let pings = Arc::new(AtomicU64::new(0));
        let (count, subscribers) = (pings.clone(), Arc::new(Mutex::new(Vec::new())));
        // The threads end with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (count, subscribers) = (count.clone(), subscribers.clone());
                std::thread::spawn(move || serve(stream, &count, &subscribers));
            }
        });
        Server { port, pings }
    }

    fn pings(&self) -> u64 {
        self.pings.load(Ordering::SeqCst)
    }
}

/// Answers until the connection ends. Each PONG comes after a message on every subscription.
fn serve(mut stream: TcpStream, pings: &AtomicU64, subscribers: &Mutex<Vec<TcpStream>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let words = read_command(&mut reader)?;
        let reply = match words[0].as_str() {
            "PING" => {
                pings.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(PONG_DELAY);
                for subscriber in subscribers.lock().ok()?.iter_mut() {
                    subscriber.write_all(b"*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$1\r\nx\r\n").ok()?;
                }
                std::thread::sleep(PONG_DELAY);
                "+PONG\r\n".to_owned()
            }
            "INFO" => {
                let info = "# Server\r\nrun_id:0123456789012345678901234567890123456789\r\nrole:master\r\n";
                format!("${}\r\n{info}\r\n", info.len())
            }
            "SUBSCRIBE" => {
                subscribers.lock().ok()?.push(stream.try_clone().ok()?);
                "*3\r\n$9\r\nsubscribe\r\n$18\r\n__sentinel__:hello\r\n:1\r\n".to_owned()
            }
            "PUBLISH" => ":1\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        };
        stream.write_all(reply.as_bytes()).ok()?;
    }
}

fn read_command(reader: &mut impl BufRead) -> Option<VecDeque<String>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let count: usize = line.strip_prefix('*')?.trim_end().parse().ok()?;
    let mut words = VecDeque::new();
    for _ in 0..count {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length: usize = line.strip_prefix('$')?.trim_end().parse().ok()?;
        let mut word = vec![0; length + 2];
        reader.read_exact(&mut word).ok()?;
        words.push_back(String::from_utf8_lossy(&word[..length]).into_owned());
    }
    Some(words)
}

fn conf_for(port: u16) -> String {
    format!(
        "sentinel myid {}\nsentinel monitor m 127.0.0.1 {port} 1\nsentinel down-after-milliseconds m 200\n",
        "b".repeat(40)
    )
}

/// A stall that is longer than `down-after-milliseconds` and too short for TILT, with the PONG in the socket when it
/// ends.
#[test]
fn messages_go_before_the_tick_so_that_a_stall_takes_nobody_down() {
    on_control_thread(async {
        let server = Server::start();
        let rig = Rig::start(&conf_for(server.port)).await;
        eventually(|| rig.view().server.info_at.is_some() && rig.view().instance.ages.ping_pending_since().is_none())
            .await;
        let events = rig.process.hub.published();
        for _ in 0..3 {
            let (pings, answered) = (server.pings(), rig.view().instance.ages.last_pong());
            eventually(|| server.pings() > pings).await;
            // The control thread stands still, as if the process had been stopped.
            std::thread::sleep(Duration::from_millis(400));
            eventually(|| rig.view().instance.ages.last_pong() > answered).await;
        }
        assert_eq!(rig.process.hub.published(), events, "nothing was announced, +sdown least of all");
    });
}

/// `failover.md` 93: one that never answers is SDOWN, so the test above can fail.
#[test]
fn a_master_that_does_not_answer_is_taken_down() {
    on_control_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let rig = Rig::start(&conf_for(listener.local_addr().expect("bound").port())).await;
        eventually(|| rig.view().instance.sdown_since.is_some()).await;
    });
}

fn new_master(name: &str) -> SupervisorRequest {
    let spec = MasterSpec::new(MasterName::from(name), 1, &Periods::default());
    // Port 0 is never connected to.
    SupervisorRequest::Monitor { spec, addr: Addr::new("127.0.0.1", 0) }
}

/// `commands.md` 83, 90, 92, 94, 95
#[test]
fn masters_come_and_go_saved_before_the_answer_and_announced_in_stocks_order() {
    on_control_thread(async {
        let rig = Rig::start("").await;
        let monitored = rig.ask(new_master("m")).await;
        assert_eq!((monitored.answer, monitored.after_event), (Answer::Ok, 0), "+monitor comes after +OK");
        assert!(rig.disk.text().contains("sentinel monitor m 127.0.0.1 0 1\n"), "{}", rig.disk.text());
        eventually(|| rig.knows("m") && rig.process.hub.published() == 1).await;
        let again = rig.ask(new_master("m")).await.answer;
        assert_eq!(again, Answer::Error("ERR Duplicate master name.".to_owned()));
        let removed = rig.ask(SupervisorRequest::Remove(MasterName::from("m"))).await;
        assert_eq!((removed.answer, removed.after_event), (Answer::Ok, 2), "-monitor comes before +OK");
        assert!(!rig.knows("m") && !rig.disk.text().contains("sentinel monitor"));
        let gone = rig.ask(SupervisorRequest::Remove(MasterName::from("m"))).await.answer;
        assert_eq!(gone, Answer::Error("ERR No such master with that name".to_owned()));
    });
}

/// `failover.md` 12.3, S2: with few masters each is sent PING more often.
#[test]
fn many_masters_are_a_crowd() {
    on_control_thread(async {
        let rig = Rig::start("").await;
        for number in 1..CROWD {
            rig.ask(new_master(&format!("m{number}"))).await;
        }
        assert!(!rig.process.settings().crowded);
        rig.ask(new_master("last")).await;
        assert!(rig.process.settings().crowded);
        rig.ask(SupervisorRequest::Remove(MasterName::from("m1"))).await;
        assert!(!rig.process.settings().crowded);
    });
}

/// `commands.md` 101, 103, 104
#[test]
fn a_change_stays_when_it_cannot_be_saved() {
    on_control_thread(async {
        let rig = Rig::start("").await;
        rig.disk.refuses.store(true, Ordering::SeqCst);
        let failed = Answer::Error("ERR Failed to save config file. Check server logs.".to_owned());
        assert_eq!(rig.ask(SupervisorRequest::FlushConfig).await.answer, failed);
        assert_eq!(rig.ask(new_master("m")).await.answer, failed);
        eventually(|| rig.knows("m")).await;
        let change = NodeChange::AnnouncePort(7);
        assert_eq!(rig.ask(SupervisorRequest::ConfigSet(vec![change])).await.answer, failed);
        assert_eq!(rig.process.settings().announce_port, 7);
        assert_eq!(rig.ask(SupervisorRequest::Remove(MasterName::from("m"))).await.answer, failed);
        assert!(!rig.knows("m"));
        rig.disk.refuses.store(false, Ordering::SeqCst);
        assert_eq!(rig.ask(SupervisorRequest::FlushConfig).await.answer, Answer::Ok);
        assert!(rig.disk.text().contains("announce-port 7") && !rig.disk.text().contains("sentinel monitor"));
    });
}

/// A forgotten vote cannot be given twice: a new master starts with everything voted for already.
#[test]
fn a_new_master_has_voted_in_every_epoch_so_far() {
    on_control_thread(async {
        let rig = Rig::start("sentinel current-epoch 9\n").await;
        rig.ask(new_master("m")).await;
        assert!(rig.disk.text().contains("sentinel leader-epoch m 9\n"), "{}", rig.disk.text());
    });
}

#[test]
fn an_answer_to_an_earlier_monitor_means_nothing_to_its_successor() {
    on_control_thread(async {
        let rig = Rig::start("").await;
        let (process, name) = (&rig.process, MasterName::from("m"));
        let record = MasterRecord {
            spec: MasterSpec::new(name.clone(), 1, &Periods::default()),
            addr: Addr::new("127.0.0.1", 0),
            config_epoch: Epoch(0),
            leader_epoch: Epoch(0),
            replicas: Vec::new(),
            sentinels: Vec::new(),
            identity: IdentityRecord::default(),
        };
        process.begin_saves(&name, record.clone());
        process.persist(&name, Rev(1), record.clone());
        process.persist(&name, Rev(2), record.clone());
        assert_eq!(process.own_rev(&name, Rev(2)), Some(Rev(2)));
        process.begin_saves(&name, record.clone());
        assert_eq!(process.own_rev(&name, Rev(2)), None);
        process.persist(&name, Rev(1), record);
        assert_eq!(process.own_rev(&name, Rev(3)), Some(Rev(1)));
    });
}

/// `failover.md` 182, for a process that watches nobody.
#[test]
fn a_stall_without_masters_is_noticed_too() {
    on_control_thread(async {
        let rig = Rig::start("").await;
        let periods = vec![NodeChange::Period("TILT-TRIGGER", 50), NodeChange::Period("TILT-PERIOD", 10)];
        assert_eq!(rig.ask(SupervisorRequest::Tune(periods)).await.answer, Answer::Ok);
        std::thread::sleep(Duration::from_millis(1_200));
        eventually(|| rig.process.hub.published() == 2).await;
        assert!(!rig.process.tilt.is_on(), "+tilt, then -tilt");
    });
}

/// `commands.md` 179
#[test]
fn shutdown_is_passed_on_and_not_answered() {
    on_control_thread(async {
        let mut rig = Rig::start("").await;
        let (asker, mut answer) = oneshot::channel();
        rig.requests.send((SupervisorRequest::Shutdown, asker)).await.expect("the supervisor runs");
        let held = within(rig.stops.recv()).await;
        assert!(held.is_some() && matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
    });
}
