//! Disks that cannot be written (failover.md 128, 204, I18).

use super::{FOR_GOOD, MS, SECOND, agree, named_by, pass, quiet, until};
use crate::disk::Health;

/// failover.md 204: a full disk on one of three Sentinels does not stop the failover by the other two.
#[test]
fn full_disk_on_one_voter_does_not_stop_the_others() {
    let mut world = quiet();
    world.break_disk(0, Health::Full, FOR_GOOD);
    world.kill_server(0, false, FOR_GOOD);
    until(&mut world, 20 * SECOND, "a failover", |world| (0..3).all(|node| named_by(world, node) != Some(0)));
}

/// I18: where nobody can save a vote, nobody is elected; once two can, somebody is.
#[test]
fn full_disks_everywhere_stop_every_election() {
    let mut world = quiet();
    for node in 0..3 {
        world.break_disk(node, Health::Full, 20 * SECOND);
    }
    world.kill_server(0, false, FOR_GOOD);
    pass(&mut world, 19 * SECOND);
    assert_eq!(world.sh.stats.elections, 0, "elected without a saved vote");
    agree(&mut world);
    assert_ne!(named_by(&world, 0), Some(0));
}

/// failover.md 203: a voter whose write is in place but was never acknowledged has voted, and stays silent about it.
#[test]
fn voters_that_crash_while_saving_never_vote_twice() {
    let mut world = quiet();
    for node in 0..3 {
        world.break_disk(node, Health::Slow(400 * MS), 30 * SECOND);
    }
    world.kill_server(0, false, FOR_GOOD);
    for round in 0..12 {
        pass(&mut world, 700 * MS);
        world.crash_node(round % 3, false, 50 * MS);
    }
    agree(&mut world);
}
