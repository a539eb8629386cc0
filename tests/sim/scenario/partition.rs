//! Sentinels and masters cut off from each other (failover.md 205, 206, I12).

use super::{FOR_GOOD, SECOND, agree, named_by, pass, quiet, until, ways};
use crate::net::Host;

/// Hosts of the quiet world: Sentinels 0 to 2, then the master and two replicas.
const MASTER: Host = 3;

/// failover.md 205, 206: the majority promotes, the minority with the old master does not, and after healing the old
/// master is a replica.
#[test]
fn minority_with_the_old_master_follows_after_healing() {
    let mut world = quiet();
    world.partition(ways(&[0, MASTER], &[1, 2, 4, 5]), 20 * SECOND, &[0, 1, 1, 0, 1, 1]);
    until(&mut world, 19 * SECOND, "a failover", |world| (1..3).all(|node| named_by(world, node) != Some(0)));
    assert_eq!(named_by(&world, 0), Some(0), "the minority acted");
    agree(&mut world);
    assert!(world.servers[0].upstream.is_some(), "the old master is a replica");
}

/// The minority that holds all servers sees its master up and changes nothing; the majority sees it down and can promote
/// nobody.
#[test]
fn majority_without_servers_promotes_nobody() {
    let mut world = quiet();
    world.partition(ways(&[0, MASTER, 4, 5], &[1, 2]), 15 * SECOND, &[0, 1, 1, 0, 0, 0]);
    pass(&mut world, 14 * SECOND);
    assert_eq!(world.sh.stats.failovers, 0);
    agree(&mut world);
    assert_eq!(named_by(&world, 1), Some(0));
}

/// A voter that hears everything and is heard by nobody costs time and nothing else.
#[test]
fn voter_that_is_not_heard_does_not_stop_the_others() {
    let mut world = quiet();
    let deaf = vec![(0, 1), (0, 2)];
    world.partition(deaf, 40 * SECOND, &[0, 1, 1]);
    pass(&mut world, SECOND);
    world.kill_server(0, false, FOR_GOOD);
    until(&mut world, 30 * SECOND, "a failover", |world| (0..3).all(|node| named_by(world, node) != Some(0)));
}
