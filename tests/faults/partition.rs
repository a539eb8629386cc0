//! Links that are cut, one way or both, slow or lossy.

use std::time::Instant;

use crate::support::Kind;
use crate::support::wait::{seconds, wait_until};
use crate::world::{Plan, World};

#[test]
fn the_majority_promotes_and_the_minority_does_not() {
    old_master_in_the_minority(&Plan::ours(3), 1);
}

#[test]
fn the_majority_promotes_also_with_stock_among_it() {
    old_master_in_the_minority(&Plan::mixed(), 1);
}

#[test]
fn three_of_five_promote_and_two_do_not() {
    old_master_in_the_minority(&Plan::ours(5), 2);
}

/// failover.md 205, 206, I11, I12: the master and the first `minority` Sentinels are cut off together.
fn old_master_in_the_minority(plan: &Plan, minority: usize) {
    let mut world = World::start(plan);
    let old = world.servers[0].addr;
    let start = Instant::now();
    let side = world.sentinels[..minority].iter().map(|sentinel| sentinel.host).chain([0]).collect::<Vec<_>>();
    world.isolate(&side);
    let majority = (minority..plan.sentinels.len()).collect::<Vec<_>>();
    let new = world.wait_for_new_master(&majority, old);
    wait_until(seconds(20), "the new master is a master", || world.server(new).is_master());
    let told = Instant::now();
    wait_until(seconds(10), "time passes", || told.elapsed() >= seconds(2));
    for sentinel in &world.sentinels[..minority] {
        for never in ["+odown", "+try-failover", "+elected-leader", "+switch-master"] {
            assert!(sentinel.events.find(start, never).is_none(), "{never} in the minority");
        }
        if world.cuts_links() {
            assert_eq!(sentinel.master_addr(), Some(old), "the minority knows of no other master");
            assert!(world.server(old).is_master());
        }
    }
    world.heal();
    for sentinel in &world.sentinels[..minority] {
        sentinel.wait_for_event(start, &format!("+switch-master mymaster {} 6379 {}", old.ip(), new.ip()), seconds(40));
    }
    wait_until(seconds(40), "the old master becomes a replica", || world.server(old).follows(new));
    let evidence = world.finish();
    assert!(evidence[0].events.iter().any(|line| line.starts_with("+config-update-from ")));
}

/// failover.md 138, I12: two of five see the master down and reach their quorum, but two votes are no majority. The other
/// three see it up, and when it dies they are enough.
#[test]
fn two_of_five_reach_the_quorum_and_elect_nobody() {
    let mut world = World::start(&Plan::ours(5));
    let old = world.servers[0].addr;
    let start = Instant::now();
    let side = [world.sentinels[0].host, world.sentinels[1].host];
    world.isolate(&side);
    if world.cuts_links() {
        world.wait_for_any(start, "-failover-abort-not-elected ");
    }
    for sentinel in &world.sentinels {
        for never in ["+elected-leader", "+switch-master"] {
            assert!(sentinel.events.find(start, never).is_none(), "{never} without a majority");
        }
    }
    for sentinel in &world.sentinels[2..] {
        assert!(sentinel.events.find(start, "+sdown master").is_none(), "the majority sees the master up");
    }
    assert!(world.server(old).is_master());
    world.server_mut(old).process.kill();
    let new = world.wait_for_new_master(&[2, 3, 4], old);
    world.heal();
    assert_eq!(world.wait_for_new_master(&[0, 1, 2, 3, 4], old), new);
    world.finish();
}

/// failover.md I12, I13: a Sentinel that hears everybody and is heard by nobody, and one that is heard and hears
/// nothing, change nothing, and miss nothing for good.
#[test]
fn a_sentinel_with_one_way_links_does_no_harm() {
    let mut world = World::start(&Plan::ours(3));
    for hears in [true, false] {
        let old = world.wait_until_agreed();
        let start = Instant::now();
        let lonely = world.sentinels[0].host;
        let others = world.others(&[lonely]);
        if hears {
            world.cut(&[lonely], &others, &[lonely]);
        } else {
            world.cut(&others, &[lonely], &[lonely]);
        }
        let told_by_others = |world: &World, event: &str| {
            let event = format!("{event} sentinel {} ", world.sentinels[0].id);
            for place in [1, 2] {
                world.sentinels[place].wait_for_event(start, &event, seconds(20));
            }
        };
        told_by_others(&world, "+sdown");
        if world.cuts_links() {
            world.sentinels[0].wait_for_event(start, "+sdown master ", seconds(20));
            assert!(world.sentinels[0].events.find(start, "+odown").is_none(), "nobody confirms it");
        }
        world.server_mut(old).process.kill();
        let new = world.wait_for_new_master(&[1, 2], old);
        assert!(world.sentinels[0].events.find(start, "+elected-leader").is_none());
        world.heal();
        assert_eq!(world.wait_for_new_master(&[0, 1, 2], old), new);
        // Who is cut off again before it was found again goes down only once.
        told_by_others(&world, "-sdown");
        world.server_mut(old).start_again_below(new);
    }
    world.finish();
}

/// failover.md 112: only one Sentinel does not hear the master. Its quorum is 2, so nothing happens; and the other way
/// round, when the master does not hear it.
#[test]
fn a_master_that_one_sentinel_cannot_reach_stays() {
    let mut world = World::start(&Plan { sentinels: vec![Kind::Ours, Kind::Stock, Kind::Ours], ..Plan::mixed() });
    let old = world.servers[0].addr;
    let (master, lonely) = (world.server_host(old), world.sentinels[0].host);
    for (from, to) in [(master, lonely), (lonely, master)] {
        let start = Instant::now();
        world.cut(&[from], &[to], &[lonely]);
        if world.cuts_links() {
            let sentinel = &world.sentinels[0];
            sentinel.wait_for_event(start, "+sdown master ", seconds(20));
            let down = Instant::now();
            wait_until(seconds(10), "time passes", || down.elapsed() >= seconds(3));
            assert!(sentinel.field("flags").is_some_and(|flags| flags.contains("s_down")));
        }
        for sentinel in &world.sentinels {
            assert!(sentinel.events.find(start, "+odown").is_none());
            assert!(sentinel.events.find(start, "+try-failover").is_none());
        }
        world.heal();
        assert_eq!(world.wait_until_agreed(), old);
    }
    world.finish();
}

/// Packets are late and every fifth is lost: elections take longer, and nothing else is different.
#[test]
fn fails_over_on_slow_and_lossy_lines() {
    let mut world = World::start(&Plan { down_after: 3000, ..Plan::ours(3) });
    world.make_bad_lines();
    let old = world.servers[0].addr;
    world.servers[0].process.kill();
    world.wait_for_new_master(&[0, 1, 2], old);
    world.finish();
}
