//! Processes that stand still (failover.md 182, 187, I23), or come to nothing in time.

use super::{FOR_GOOD, MS, SECOND, agree, named_by, pass, quiet, world};
use crate::swarm::Swarm;

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

/// failover.md 182, R16: where monitors wait seconds for their turn nobody is taken for dead, and there is no TILT. A master
/// that dies is replaced all the same, once, and the others stay.
#[test]
fn processes_that_are_late_with_everything_take_nobody_for_dead() {
    for seed in 1..=20 {
        let groups = vec![2, 2, 2, 2];
        let mut world = world(Swarm { groups, down_after_ms: 2_500, ..Swarm::quiet(seed) });
        for node in 0..3 {
            world.overload_node(node, 1_500 * MS, 90 * SECOND);
        }
        pass(&mut world, 30 * SECOND);
        assert_eq!((world.sh.stats.elections, world.sh.stats.tilts), (0, 0), "seed {seed}");
        world.kill_server(0, false, FOR_GOOD);
        pass(&mut world, 60 * SECOND);
        agree(&mut world);
        assert_ne!(named_by(&world, 0), Some(0), "seed {seed}");
        assert_eq!((world.sh.stats.failovers, world.sh.stats.tilts), (1, 0), "seed {seed}");
    }
}
