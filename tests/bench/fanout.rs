//! Thousands of subscribers of one Sentinel: how fast an event reaches them, and what each costs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, getrlimit};

use crate::spread::cells;
use crate::support::Kind;
use crate::support::wait::seconds;
use crate::watcher::{at_rest, patient};
use crate::{KINDS, Length, folder, usage};

/// How many connect before somebody waits for their confirmations: fewer than stock lets wait, 511.
const BATCH: usize = 100;
/// How long nothing may be delivered, ms.
const PATIENCE: u16 = 30_000;
/// How long a Sentinel is left alone before its memory is measured.
const REST: Duration = seconds(1);

/// What the runs of one program gave.
#[derive(Default)]
struct Runs {
    /// From the command that makes an event to its first and last delivery, ms.
    first: Vec<f64>,
    last: Vec<f64>,
    /// Resident memory of a subscriber to whom nothing was delivered yet, KiB.
    memory: Vec<f64>,
}

pub(crate) fn run(length: Length) {
    let (subscribers, runs, events) = match length {
        Length::Full => (10_000, 12, 8),
        Length::Quick => (1_000, 2, 5),
    };
    // All of their sockets are in this process, besides a few others.
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of descriptors can be read");
    let subscribers = subscribers.min(limit as usize - 500);
    println!(
        "\nFanout: {subscribers} subscribers (PSUBSCRIBE *) of one Sentinel, read by one thread; medians of {runs} runs with \
         {events} events each\n(lowest-highest). An event is the +set of SENTINEL SET, and saves the file.\n"
    );
    let mut results = KINDS.map(|kind| (kind, Runs::default()));
    let folder = folder();
    for _ in 0..runs {
        for (kind, result) in &mut results {
            measure(*kind, folder.path(), subscribers, events, result);
        }
    }
    let [stock, ours] = results.map(|(_, runs)| runs);
    println!("| | stock | ours | ours/stock |\n|---|---|---|---|");
    println!("| first delivery, ms | {} |", cells([&stock.first, &ours.first], 2));
    println!("| last delivery, ms | {} |", cells([&stock.last, &ours.last], 1));
    println!("| memory of a subscriber, KiB | {} |", cells([&stock.memory, &ours.memory], 2));
}

fn measure(kind: Kind, folder: &Path, subscribers: usize, events: usize, result: &mut Runs) {
    let (sentinel, _server) = at_rest(kind, folder);
    let pid = sentinel.pid();
    let mut client = patient(sentinel.port).expect("it has answered already");
    std::thread::sleep(REST);
    let before = usage::resident_kib(pid);
    let crowd = Crowd::subscribe(sentinel.port, subscribers);
    std::thread::sleep(REST);
    result.memory.push((usage::resident_kib(pid) - before) / subscribers as f64);
    for event in 0..events {
        let quorum = (2 + event % 2).to_string();
        let start = Instant::now();
        client.send(&["SENTINEL", "SET", "mymaster", "quorum", &quorum]).expect("a running Sentinel reads");
        let heard = crowd.hear("+set", 0..subscribers);
        let reply = client.read().expect("a running Sentinel answers");
        assert_eq!(reply.text(), Some("OK"), "SENTINEL SET is obeyed");
        let [first, last] = heard.map(|at| (at - start).as_secs_f64() * 1e3);
        result.first.push(first);
        result.last.push(last);
    }
}

/// Subscribers, who are all this one thread.
struct Crowd {
    sockets: Vec<TcpStream>,
    epoll: Epoll,
}

impl Crowd {
    /// Connects so many, all of whom are confirmed.
    fn subscribe(port: u16, count: usize) -> Crowd {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("the kernel has epoll");
        let mut crowd = Crowd { sockets: Vec::with_capacity(count), epoll };
        while crowd.sockets.len() < count {
            let first = crowd.sockets.len();
            for number in first..count.min(first + BATCH) {
                let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it has room for all of them");
                socket.write_all(b"*2\r\n$10\r\nPSUBSCRIBE\r\n$1\r\n*\r\n").expect("it was accepted");
                let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
                crowd.epoll.add(&socket, event).expect("the socket is open");
                crowd.sockets.push(socket);
            }
            crowd.hear("psubscribe", first..crowd.sockets.len());
        }
        crowd
    }

    /// Waits until each of these has received what contains `word`; when the first did and the last.
    fn hear(&self, word: &str, who: Range<usize>) -> [Instant; 2] {
        let mut heard = vec![false; who.len()];
        let (mut first, mut last, mut missing) = (None, Instant::now(), who.len());
        let mut ready = [EpollEvent::empty(); 512];
        // What is delivered at a time has some hundred bytes at most, which the kernel hands over whole.
        let mut buffer = [0; 4096];
        while missing > 0 {
            let count = self.epoll.wait(&mut ready, PATIENCE).expect("sockets can be waited for");
            assert!(count > 0, "{missing} of {} have not heard {word}", who.len());
            for event in &ready[..count] {
                let number = event.data() as usize;
                let read = (&self.sockets[number]).read(&mut buffer).expect("the Sentinel runs");
                assert!(read > 0, "the Sentinel hung up");
                let has = buffer[..read].windows(word.len()).any(|part| part == word.as_bytes());
                if has && who.contains(&number) && !std::mem::replace(&mut heard[number - who.start], true) {
                    last = Instant::now();
                    first.get_or_insert(last);
                    missing -= 1;
                }
            }
        }
        [first.unwrap_or(last), last]
    }
}
