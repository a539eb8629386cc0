//! Processes that stand still (failover.md 182, 187, I23).

use super::{FOR_GOOD, SECOND, agree, named_by, pass, quiet};

/// I23: a stall of all Sentinels with a healthy master is TILT, not a failover, in whatever order work resumes.
#[test]
fn stall_of_all_sentinels_fails_nothing_over() {
    let mut world = quiet();
    for node in 0..3 {
        world.pause_node(node, 5 * SECOND);
    }
    pass(&mut world, 20 * SECOND);
    assert_eq!(world.sh.stats.elections, 0);
    assert!(world.sh.stats.tilts >= 3, "a stall of 5 s is TILT everywhere");
    agree(&mut world);
}

/// failover.md 187: a master that died during the stall is replaced after TILT.
#[test]
fn master_that_died_during_a_stall_is_replaced() {
    let mut world = quiet();
    for node in 0..3 {
        world.pause_node(node, 5 * SECOND);
    }
    pass(&mut world, SECOND);
    world.kill_server(0, false, FOR_GOOD);
    pass(&mut world, 5 * SECOND);
    agree(&mut world);
    assert_ne!(named_by(&world, 0), Some(0));
}
