//! The leader dies at each step of its failover (failover.md 169, 170, 203).

use super::{FOR_GOOD, MS, SECOND, agree, leader_in, named_by, pass, quiet, until};

/// failover.md 169: the new address is in the file, and the others get it from the returned leader or by a failover of
/// their own.
#[test]
fn leader_that_crashes_right_after_promotion_leaves_one_master() {
    let mut world = quiet();
    world.kill_server(0, false, FOR_GOOD);
    until(&mut world, 10 * SECOND, "a promotion", |world| (0..3).any(|node| named_by(world, node) != Some(0)));
    let leader = (0..3).find(|node| named_by(&world, *node) != Some(0)).expect("just seen");
    world.crash_node(leader, false, 8 * SECOND);
    agree(&mut world);
}

/// The same, and the leader never returns: its replica is a master that nobody knows of.
#[test]
fn leader_that_dies_right_after_promotion_is_replaced() {
    let mut world = quiet();
    world.kill_server(0, false, FOR_GOOD);
    until(&mut world, 10 * SECOND, "a leader", |world| leader_in(world, "wait_promotion").is_some());
    let leader = leader_in(&world, "wait_promotion").expect("just seen");
    pass(&mut world, 2 * MS);
    world.crash_node(leader, true, 25 * SECOND);
    agree(&mut world);
}

/// failover.md 170: nothing but epochs are left, and another tries after its delay.
#[test]
fn leader_that_crashes_before_promotion_is_replaced() {
    let mut world = quiet();
    world.kill_server(0, false, FOR_GOOD);
    until(&mut world, 10 * SECOND, "an attempt", |world| leader_in(world, "wait_start").is_some());
    let leader = leader_in(&world, "wait_start").expect("just seen");
    world.crash_node(leader, true, 30 * SECOND);
    agree(&mut world);
}

/// failover.md 164: the promoted replica dies while others are reconfigured; the failover ends and the next one heals.
#[test]
fn promoted_replica_that_dies_is_replaced() {
    let mut world = quiet();
    world.kill_server(0, false, FOR_GOOD);
    until(&mut world, 10 * SECOND, "a promotion", |world| (0..3).any(|node| named_by(world, node) != Some(0)));
    let promoted = world.named_master(0).filter(|server| *server != 0);
    let promoted = promoted.or_else(|| (0..3).filter_map(|node| named_by(&world, node)).find(|server| *server != 0));
    world.kill_server(promoted.expect("just seen"), false, FOR_GOOD);
    agree(&mut world);
}
