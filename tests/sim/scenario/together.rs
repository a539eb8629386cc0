//! Several masters at once (failover.md 143, R3).

use sentineld::sentinel::io::{AdminRequest, FailoverOrder};

use super::{FOR_GOOD, MS, SECOND, agree, until, world};
use crate::swarm::Swarm;

/// failover.md 143: masters that fail in the same instant do not take each other's votes away.
#[test]
fn masters_that_fail_together_are_replaced_together() {
    let swarm = Swarm { groups: vec![1; 8], ..Swarm::quiet(11) };
    let mut world = world(swarm);
    for group in 0..8 {
        world.kill_server(2 * group, false, FOR_GOOD);
    }
    let patience = (1_000 + 2_000) * MS;
    until(&mut world, patience, "eight failovers", |world| world.sh.stats.failovers == 8);
    agree(&mut world);
}

/// An operator's failover needs neither ODOWN nor peers, and everybody learns of it.
#[test]
fn forced_failover_is_adopted_by_all() {
    let mut world = world(Swarm::quiet(3));
    world.administer(1, 0, AdminRequest::Failover(FailoverOrder::default()));
    until(&mut world, 10 * SECOND, "a failover", |world| world.sh.stats.failovers == 1);
    agree(&mut world);
    assert!(world.servers[0].upstream.is_some(), "the old master is a replica");
}
