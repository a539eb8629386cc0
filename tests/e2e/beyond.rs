//! What stock cannot do (`tests/spec/beyond.md`), with real servers. Stock's own outcome stands beside ours where it can
//! be seen in a bounded time: there the test says what stock does instead.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::sentinel::Sentinel;
use crate::support::wait::{seconds, wait_until};

/// How much later than `down-after-milliseconds` a master may be replaced, by beyond.md.
const PROMISED: Duration = seconds(2);

/// Some for a busy machine.
const SLACK: Duration = seconds(2);

/// Lets time pass: what is tested is that it passed.
fn wait(time: Duration) {
    std::thread::sleep(time);
}

fn signal_all(cluster: &Cluster, signal: Signal) {
    for sentinel in &cluster.sentinels {
        sentinel.process.signal(signal);
    }
}

/// beyond.md B1, B7: all Sentinels stand still while the master dies.
#[test]
fn frozen_sentinels_replace_a_master_that_died_meanwhile() {
    let plan = Plan::three(Kind::Ours);
    let mut cluster = Cluster::start(&plan);
    let old = cluster.first_master();
    signal_all(&cluster, Signal::SIGSTOP);
    cluster.group().at_mut(old).process.kill();
    wait(seconds(13));
    let woken = Instant::now();
    signal_all(&cluster, Signal::SIGCONT);
    let new = cluster.wait_for_new_master("mymaster", old, seconds(40));
    let took = woken.elapsed();
    assert!(took < Duration::from_millis(plan.down_after) + PROMISED + SLACK, "{} ms", took.as_millis());
    cluster.wait_until_settled(&cluster.groups[0], new);
}

/// beyond.md B1: stock wins an election and aborts it for want of a good replica, for ever.
#[test]
fn stock_never_replaces_a_master_that_died_while_it_was_stopped() {
    let mut cluster = Cluster::start(&Plan::three(Kind::Stock));
    let start = Instant::now();
    let old = stopped_while_the_master_dies(&mut cluster, seconds(33));
    wait_until(seconds(30), "an election without a good replica", || {
        cluster.sentinels.iter().any(|sentinel| sentinel.events.find(start, "-failover-abort-no-good-slave").is_some())
    });
    assert_eq!(cluster.sentinels[0].address("mymaster"), Some(old));
}

/// beyond.md B1
#[test]
fn stopped_sentinels_replace_a_master_that_died_meanwhile() {
    let plan = Plan::three(Kind::Ours);
    let mut cluster = Cluster::start(&plan);
    let begun = Instant::now();
    let old = stopped_while_the_master_dies(&mut cluster, seconds(13));
    let started = Instant::now();
    let new = cluster.wait_for_new_master("mymaster", old, seconds(40));
    let took = started.elapsed();
    let accepted = |sentinel: &Sentinel| sentinel.events.find(begun, "+stale-candidate-accepted").is_some();
    assert!(cluster.sentinels.iter().any(accepted), "stock's rule would have refused");
    assert!(took < Duration::from_millis(plan.down_after) + PROMISED + SLACK, "{} ms", took.as_millis());
    cluster.wait_until_settled(&cluster.groups[0], new);
}

/// Kills the Sentinels and the master, and starts the Sentinels again after `time`. Returns the master's port.
fn stopped_while_the_master_dies(cluster: &mut Cluster, time: Duration) -> u16 {
    let old = cluster.first_master();
    for sentinel in &mut cluster.sentinels {
        sentinel.process.kill();
    }
    cluster.group().at_mut(old).process.kill();
    wait(time);
    for sentinel in &mut cluster.sentinels {
        let kind = sentinel.kind;
        sentinel.start_again(kind);
    }
    old
}

/// beyond.md B7: a stall of everybody with a healthy master costs nothing.
#[test]
fn a_stall_of_all_sentinels_is_no_failure() {
    let cluster = Cluster::start(&Plan::three(Kind::Ours));
    let start = Instant::now();
    signal_all(&cluster, Signal::SIGSTOP);
    wait(seconds(5));
    signal_all(&cluster, Signal::SIGCONT);
    wait_until(seconds(20), "TILT is entered and left", || {
        cluster.sentinels.iter().all(|sentinel| sentinel.events.find(start, "-tilt").is_some())
    });
    for sentinel in &cluster.sentinels {
        assert!(sentinel.events.find(start, "+tilt #tilt mode entered").is_some());
        assert!(sentinel.events.find(start, "+sdown").is_none(), "{}", sentinel.story());
    }
}

/// beyond.md B6: a master that somebody made a replica.
#[test]
fn a_group_without_a_master_heals() {
    let plan = Plan::three(Kind::Ours);
    let cluster = Cluster::start(&plan);
    let old = cluster.first_master();
    let replica = cluster.groups[0].servers.iter().map(|server| server.port).find(|port| *port != old).expect("two");
    let start = Instant::now();
    cluster.groups[0].at(old).call(&["REPLICAOF", "127.0.0.1", &replica.to_string()]).expect("it answers");
    let new = cluster.wait_for_new_master("mymaster", old, seconds(60));
    let took = start.elapsed();
    assert!(took < Duration::from_millis(plan.down_after) + seconds(7), "{}", took.as_millis());
    cluster.wait_until_settled(&cluster.groups[0], new);
    let down = |sentinel: &Sentinel| sentinel.events.find(start, "+odown");
    let odown = cluster.sentinels.iter().find_map(down).expect("somebody saw it");
    assert!(odown.line().ends_with("#masterless"), "{}", odown.line());
}
