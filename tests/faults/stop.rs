//! Sentinels that stand still in the middle of an election, and go on later.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::world::{Plan, World};

/// failover.md 104-143, I1-I3: the candidate stops when it has just asked for votes; another one takes over, and the first
/// finds that out when it goes on, before it does anything.
#[test]
fn a_candidate_that_stands_still_is_replaced() {
    stopped_at("+try-failover ", |candidate, place| place == candidate);
}

/// The same for the leader that has the votes.
#[test]
fn a_leader_that_stands_still_is_replaced() {
    stopped_at("+elected-leader ", |candidate, place| place == candidate);
}

/// One voter less is still a majority.
#[test]
fn a_voter_that_stands_still_is_not_needed() {
    stopped_at("+try-failover ", |candidate, place| place == (candidate + 1) % 3);
}

fn stopped_at(event: &str, is_victim: fn(usize, usize) -> bool) {
    let mut world = World::start(&Plan { failover_timeout: 3000, ..Plan::ours(3) });
    let old = world.servers[0].addr;
    let start = Instant::now();
    world.servers[0].process.kill();
    let (candidate, _) = world.wait_for_any(start, event);
    let (victims, others) = (0..3).partition::<Vec<_>, _>(|&place| is_victim(candidate, place));
    world.sentinels[victims[0]].signal(Signal::SIGSTOP);
    // It may have been fast enough to finish; then the others follow it, and there is one master all the same.
    let new = world.wait_for_new_master(&others, old);
    let resumed = Instant::now();
    world.sentinels[victims[0]].signal(Signal::SIGCONT);
    assert_eq!(world.wait_for_new_master(&[0, 1, 2], old), new);
    assert!(world.sentinels[victims[0]].events.find(resumed, "+elected-leader ").is_none());
    world.finish();
}
