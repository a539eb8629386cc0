//! A Sentinel dies in the middle, and goes on where its file says it was.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::wait::{seconds, wait_for, wait_until};

/// config.md: what is saved of a master, besides the settings.
const STATE: [&str; 6] = ["myid", "monitor", "config-epoch", "leader-epoch", "known-replica", "known-sentinel"];

/// failover.md 1, 2: id, epochs, replicas and peers survive a SIGKILL.
#[test]
fn a_killed_sentinel_keeps_what_it_knew() {
    let kind = Kind::under_test();
    let mut cluster = Cluster::start(&Plan::three(kind));
    let old = cluster.first_master();
    // One failover, so that there are epochs to remember.
    cluster.group().at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("mymaster", old, seconds(40));
    cluster.wait_until_settled(&cluster.groups[0], new);

    for sentinel in &mut cluster.sentinels {
        let fields = ["port", "config-epoch", "num-slaves", "num-other-sentinels", "quorum"];
        let known = |sentinel: &crate::support::sentinel::Sentinel| {
            (sentinel.myid(), fields.map(|field| sentinel.master("mymaster", field)), sentinel.saved(&STATE))
        };
        let (before, epoch) = (known(sentinel), sentinel.saved_epoch("current-epoch"));
        assert!(epoch >= 1);
        sentinel.process.kill();
        sentinel.start_again(kind);
        assert_eq!(known(sentinel), before);
        assert!(sentinel.saved_epoch("current-epoch") >= epoch);
    }
    wait_until(seconds(20), "the master is up for all again", || {
        cluster.sentinels.iter().all(|sentinel| sentinel.master("mymaster", "flags").as_deref() == Some("master"))
    });
}

/// config.md 7.1: SIGTERM ends it with 0, and the file is what it was.
#[test]
fn a_terminated_sentinel_ends_cleanly() {
    let kind = Kind::under_test();
    let mut cluster = Cluster::start(&Plan::three(kind));
    let sentinel = &mut cluster.sentinels[0];
    let before = sentinel.saved(&STATE);
    sentinel.process.signal(Signal::SIGTERM);
    let status = sentinel.process.wait(seconds(5));
    assert_eq!(status.code(), Some(0));
    assert_eq!(sentinel.saved(&STATE), before);
    sentinel.start_again(kind);
    cluster.wait_until_acquainted();
}

/// failover.md 2, 124, 203: a vote that was seen is on disk, whenever the voter dies.
#[test]
fn a_voter_killed_after_its_vote_keeps_its_epoch() {
    killed_after("+vote-for-leader ", |place, leader| place != leader);
}

/// failover.md 169: a leader that dies after the promotion has the new address in its file.
#[test]
fn a_leader_killed_after_the_promotion_keeps_the_new_address() {
    killed_after("+promoted-slave ", |_, _| true);
}

/// Kills a master, then, with SIGKILL, the first Sentinel that publishes `event` and that `is_victim` accepts by its
/// place and the candidate's; starts it again, and wants one new master and one configuration in the end.
fn killed_after(event: &str, is_victim: fn(usize, usize) -> bool) {
    let kind = Kind::under_test();
    // Sentinel 0 alone may lead, so that it is known who votes.
    let sentinels = vec![(kind, 2), (kind, 4), (kind, 4)];
    let mut cluster = Cluster::start(&Plan { sentinels, ..Plan::three(kind) });
    let old = cluster.first_master();
    let start = Instant::now();
    cluster.group().at_mut(old).process.kill();
    let victim = wait_for(seconds(20), event, || {
        let published = |place: &usize| cluster.sentinels[*place].events.find(start, event).is_some();
        (0..3).filter(|&place| is_victim(place, 0)).find(published)
    });
    let sentinel = &mut cluster.sentinels[victim];
    sentinel.process.kill();
    let id = sentinel.saved(&["myid"]);
    assert_eq!(sentinel.saved_epoch("leader-epoch"), 1);
    assert_eq!(sentinel.saved_epoch("current-epoch"), 1);
    if event.starts_with("+promoted") {
        assert_eq!(sentinel.saved_epoch("config-epoch"), 1);
        let monitor = sentinel.saved(&["monitor"]);
        assert!(!monitor[0].contains(&format!(" {old} ")), "{monitor:?} names the promoted replica");
        assert!(sentinel.saved(&["known-replica"]).contains(&format!("known-replica mymaster 127.0.0.1 {old}")));
    }
    sentinel.start_again(kind);
    assert_eq!(sentinel.saved(&["myid"]), id);
    let new = cluster.wait_for_new_master("mymaster", old, seconds(60));
    cluster.wait_until_settled(&cluster.groups[0], new);
}
