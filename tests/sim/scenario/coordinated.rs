//! Planned failovers (beyond.md B4): forced, which is stock's, and coordinated, while clients write all the time.

use sentineld::sentinel::io::{AdminRequest, FailoverOrder};
use sentineld::sentinel::policy::FailoverMode;

use super::{MS, SECOND, agree, named_by, pass, until, world};
use crate::redis_model::Denied;
use crate::swarm::Swarm;
use crate::world::World;

fn order(world: &mut World, mode: FailoverMode) {
    let order = FailoverOrder { mode: Some(mode), ..FailoverOrder::default() };
    world.administer(0, 0, AdminRequest::Failover(order));
}

/// What a planned failover loses, at several moments of the rounds of replication.
fn losses(mode: FailoverMode, denied: Denied) -> usize {
    let lost = |moment: u64| {
        let mut world = world(Swarm { denied, ..Swarm::quiet(40 + moment) });
        pass(&mut world, 3 * SECOND + moment * 13 * MS);
        order(&mut world, mode);
        until(&mut world, 10 * SECOND, "a failover", |world| world.sh.stats.failovers == 1);
        agree(&mut world);
        world.losses.len()
    };
    (0..10).map(lost).sum()
}

/// beyond.md B4; failover.md 178
#[test]
fn a_planned_failover_loses_nothing() {
    let nothing = Denied::default();
    assert_eq!(losses(FailoverMode::Coordinated, nothing), 0);
    assert_eq!(losses(FailoverMode::Coordinated, Denied { pause: true, ..nothing }), 0);
    assert!(losses(FailoverMode::Forced, nothing) > 0, "stock's way loses what is on its way");
}

/// failover.md 178: a minority elects nobody, and writes go on.
#[test]
fn a_minority_coordinates_nothing() {
    let mut world = world(Swarm::quiet(41));
    for node in [1, 2] {
        world.crash_node(node, false, 30 * SECOND);
    }
    order(&mut world, FailoverMode::Coordinated);
    let written = world.servers[0].offset;
    pass(&mut world, 12 * SECOND);
    assert_eq!((world.sh.stats.elections, world.sh.stats.failovers), (0, 0));
    assert!(world.servers[0].offset > written && world.servers[0].takes_writes(world.sh.now));
}

/// Nobody can stop writes: nothing happens at all.
#[test]
fn a_master_that_stops_for_nobody_is_left_alone() {
    let denied = Denied { pause: true, failover: true };
    let mut world = world(Swarm { denied, ..Swarm::quiet(42) });
    order(&mut world, FailoverMode::Coordinated);
    pass(&mut world, 5 * SECOND);
    assert_eq!((world.sh.stats.elections, world.sh.stats.forced), (0, 0));
    assert!(world.servers[0].takes_writes(world.sh.now));
}

/// beyond.md B4, B6: the leader dies at any moment of a coordinated failover. Nothing is lost, at no time are there two
/// masters that take writes, and soon there is one.
#[test]
fn a_leader_that_dies_while_it_coordinates_costs_time_at_most() {
    for (moment, pause) in (0..120).flat_map(|moment| [(moment, false), (moment, true)]) {
        let mut world = world(Swarm { denied: Denied { pause, failover: false }, ..Swarm::quiet(43) });
        pass(&mut world, 3 * SECOND);
        order(&mut world, FailoverMode::Coordinated);
        pass(&mut world, moment * MS);
        world.crash_node(0, false, 60 * SECOND);
        let one_writes = |world: &World| {
            let writable = world.servers.iter().filter(|server| server.takes_writes(world.sh.now)).count();
            assert!(writable <= 1, "{writable} masters, the leader dead after {moment} ms");
            let named = named_by(world, 1).filter(|named| Some(*named) == named_by(world, 2));
            writable == 1 && named.is_some_and(|named| world.servers[named].takes_writes(world.sh.now))
        };
        // The pause, or what a group without a master waits for, and 7 s.
        until(&mut world, 15 * SECOND, "one master", one_writes);
        pass(&mut world, 20 * SECOND);
        assert!(one_writes(&world), "it stays");
        assert_eq!(world.losses, Vec::<String>::new(), "the leader dead after {moment} ms");
    }
}

/// beyond.md B4; failover.md 181: the leader's connections to the old master, or to the replica, break at any moment. Soon
/// one of the two takes writes, by an attempt that was given up or one that went on; nothing is lost.
#[test]
fn a_lost_connection_costs_a_second_at_most() {
    let cases = (0..120).flat_map(|moment| [0, 1, 2].map(|lost| (3_000, moment, lost)));
    // What makes a master write again goes before a hello, which would wait for that and hold it up.
    let with_a_hello_due = (3_000..5_000).step_by(10).map(|start| (start, 118, 0));
    let cases = cases.chain(with_a_hello_due);
    for ((start, moment, lost), pause) in cases.flat_map(|case| [(case, false), (case, true)]) {
        let mut world = world(Swarm { denied: Denied { pause, failover: false }, ..Swarm::quiet(44) });
        pass(&mut world, start * MS);
        order(&mut world, FailoverMode::Coordinated);
        pass(&mut world, moment * MS);
        let host = world.servers[lost].host;
        let to_it = |world: &World, conn: &usize| {
            let conn = &world.sh.net.conns[*conn];
            conn.client == 0 && conn.server == host
        };
        let broken: Vec<usize> = world.sh.net.live.iter().copied().filter(|conn| to_it(&world, conn)).collect();
        for conn in broken {
            world.sh.break_both(conn);
        }
        pass(&mut world, MS);
        // A server that hands over by itself cannot be made a master again: its replica may be one.
        let patience = if pause { 15_000 } else { 1_100 };
        until(&mut world, patience * MS, "a master that takes writes", |world| {
            let writable = world.servers.iter().filter(|server| server.takes_writes(world.sh.now)).count();
            assert!(writable <= 1, "{writable} masters, connections to {lost} lost after {moment} ms");
            writable == 1
        });
        agree(&mut world);
        pass(&mut world, 5 * SECOND);
        agree(&mut world);
        assert_eq!(world.losses, Vec::<String>::new(), "connections to {lost} lost after {moment} ms");
    }
}
