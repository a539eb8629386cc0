//! Streams that are no requests, at a live daemon: it goes on answering, and its memory stays flat.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fixture::{Fixture, Program, Scene, Stage};
use super::wire::{Wire, array};

/// Streams, each on a connection of its own.
const STREAMS: u64 = 10_000;
/// Of these, the first are not measured: allocators and tables grow to their size.
const WARM_UP: u64 = 2_000;
/// How much more memory may be resident after the others, KiB. Half a KiB kept for each stream would be 4000.
const GROWTH: u64 = 2_048;
const CLIENTS: u64 = 4;

/// Requests that the streams are made from. None that would end or pause the daemon.
const REQUESTS: &[&[&str]] = &[
    &["PING", "x"],
    &["SENTINEL", "MASTERS"],
    &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "dm"],
    &["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", "6379", "0", "*"],
    &["INFO"],
    &["SUBSCRIBE", "+sdown", "+odown"],
    &["PSUBSCRIBE", "*"],
    &["HELLO", "3"],
    &["CLIENT", "LIST"],
    &["CLIENT", "SETNAME", "somebody"],
    &["COMMAND"],
    &["PUBLISH", "__sentinel__:hello", "127.0.0.1,9,x,0,dm,127.0.0.1,9,0"],
    &["ACL", "WHOAMI"],
];

/// Plays it, and panics if the daemon falls silent or keeps what it was sent.
pub(crate) fn play(program: &Program) {
    let stage = Stage::start(&Scene { fixture: Fixture::Dead, conf: String::new() }, program);
    let port = stage.port("a");
    let pid = process_id(port);
    throw(port, 0..WARM_UP);
    let before = resident_kib(&pid);
    throw(port, WARM_UP..STREAMS);
    let after = resident_kib(&pid);
    println!("{STREAMS} streams: {before} KiB resident after {WARM_UP} of them, {after} KiB at the end");
    let mut wire = Wire::connect(port, Duration::from_secs(5)).expect("it listens");
    wire.send(b"PING\r\n");
    assert_eq!(wire.read().map(|reply| reply.to_string()), Ok("+PONG".to_owned()));
    assert!(after < before + GROWTH, "{before} KiB grew to {after} KiB\n{}", stage.log());
}

fn throw(port: u16, seeds: std::ops::Range<u64>) {
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let seeds = seeds.clone().filter(move |seed| seed % CLIENTS == client);
            scope.spawn(move || seeds.for_each(|seed| throw_one(port, seed)));
        }
    });
}

/// One stream. What is answered is read and not looked at; the daemon has to close in the end.
fn throw_one(port: u16, seed: u64) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it accepts");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("an open socket");
    // It may close in the middle, and be gone by the time the rest is sent.
    let _ = stream.write_all(&malformed(seed));
    let _ = stream.shutdown(Shutdown::Write);
    let mut bytes = [0; 16_384];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("stream {seed} is not closed: {error}"),
        }
    }
}

/// Requests with bytes changed, cut, repeated and put in, or noise alone.
fn malformed(seed: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(seed);
    if rng.random_range(0..4) == 0 {
        let length = rng.random_range(1..2_000);
        return (0..length).map(|_| rng.random::<u8>()).collect();
    }
    let mut stream = Vec::new();
    for _ in 0..rng.random_range(1..6) {
        let request = REQUESTS[rng.random_range(0..REQUESTS.len())];
        let words: Vec<Vec<u8>> = request.iter().map(|word| word.as_bytes().to_vec()).collect();
        stream.extend(array(&words));
    }
    for _ in 0..rng.random_range(1..10) {
        let at = rng.random_range(0..stream.len());
        match rng.random_range(0..4) {
            0 => stream[at] = rng.random(),
            1 => stream.insert(at, rng.random()),
            2 => drop(stream.remove(at)),
            _ => {
                let digits = format!("{}", rng.random::<i32>());
                stream.splice(at..at, digits.into_bytes());
            }
        }
        if stream.is_empty() {
            break;
        }
    }
    stream
}

fn process_id(port: u16) -> String {
    let mut wire = Wire::connect(port, Duration::from_secs(5)).expect("it listens");
    wire.send(b"INFO server\r\n");
    let info = wire.read().expect("INFO is answered").to_string();
    let at = info.find("process_id:").expect("INFO names it") + "process_id:".len();
    info[at..].chars().take_while(char::is_ascii_digit).collect()
}

fn resident_kib(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
