//! How long a candidate waits for a vote that has to be on disk first.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::resp::{Client, Value};
use crate::world::{Plan, World};

const VOTES: u64 = 21;

/// failover.md 199, 118: 10 ms, the median of some votes, and what this machine's disk takes to replace a small file: the
/// bound is meant for a fast one.
#[test]
fn a_vote_is_answered_within_ten_ms() {
    let world = World::start(&Plan::ours(3));
    let (voter, master) = (&world.sentinels[0], world.servers[0].addr);
    let candidate = &world.sentinels[1].id;
    let disk = median((0..VOTES).map(|_| replace_a_file(voter.conf.parent().expect("it lies in a folder"))).collect());
    let mut client = Client::connect_to(voter.addr).expect("it answers");
    let (ip, port) = (master.ip().to_string(), master.port().to_string());
    let mut ask = |epoch: u64| {
        let start = Instant::now();
        let epoch_text = epoch.to_string();
        let reply = client.call(&["SENTINEL", "is-master-down-by-addr", &ip, &port, &epoch_text, candidate]);
        let vote = [Value::Integer(0), Value::Bulk(candidate.clone()), Value::Integer(epoch.cast_signed())];
        assert_eq!(reply.ok(), Some(Value::Array(vote.to_vec())));
        start.elapsed()
    };
    let answer = median((1..=VOTES).map(&mut ask).collect());
    println!("a vote takes {} us, replacing a file {} us", answer.as_micros(), disk.as_micros());
    assert!(answer < Duration::from_millis(10) + 2 * disk, "a vote takes {} us", answer.as_micros());
    world.finish();
}

/// What a vote costs at least: a file written, flushed and renamed, and its folder flushed.
fn replace_a_file(folder: &Path) -> Duration {
    let start = Instant::now();
    let (new, name) = (folder.join("probe.new"), folder.join("probe"));
    std::fs::write(&new, vec![b'x'; 1000]).expect("the test folder is writable");
    let flush = |path: &Path| File::open(path).and_then(|file| file.sync_all()).expect("it can be flushed");
    flush(&new);
    std::fs::rename(&new, name).expect("the test folder is writable");
    flush(folder);
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
