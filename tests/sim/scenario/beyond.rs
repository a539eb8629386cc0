//! What stock does not do (beyond.md B1, B2, B3, B5, B6, B7, B8): each case is run with the switch at stock's value, where it has to
//! fail, and with the default.

use sentineld::sentinel::io::AdminRequest;
use sentineld::sentinel::policy::{
    Election, FastDemote, IdentityGuard, MasterPolicy, Masterless, Policies, RebornMaster, StaleReplicaPromotion,
    TiltMode,
};

use super::{FOR_GOOD, MS, SECOND, agree, named_by, pass, reaches, until, world};
use crate::redis_model::Persistence;
use crate::swarm::Swarm;
use crate::world::World;

fn with(swarm: Swarm, policies: &Policies) -> World {
    let mut world = world(swarm);
    for node in &mut world.nodes {
        node.settings.policies = policies.clone();
    }
    world
}

fn defaults(change: MasterPolicy) -> Policies {
    Policies { defaults: change, ..Policies::default() }
}

fn all_moved(world: &World) -> bool {
    world.nodes.iter().all(|node| named_by(world, node.host) != Some(0))
}

/// The master dies while all Sentinels stand still for longer than replicas may be stale.
fn late_observers(policies: &Policies) -> bool {
    let mut world = with(Swarm::quiet(21), policies);
    for node in 0..3 {
        world.pause_node(node, 20 * SECOND);
    }
    pass(&mut world, SECOND);
    world.kill_server(0, false, FOR_GOOD);
    pass(&mut world, 19 * SECOND);
    reaches(&mut world, 40 * SECOND, all_moved)
}

/// beyond.md B1
#[test]
fn late_observers_still_replace_the_master() {
    assert!(late_observers(&Policies::default()));
    let never = StaleReplicaPromotion::Never;
    assert!(!late_observers(&defaults(MasterPolicy { stale_replica_promotion: never, ..MasterPolicy::default() })));
}

/// Seeds of which every Sentinel follows the new master within down-after and a second, of kills on a slow network.
fn quick_elections(policies: &Policies) -> usize {
    let quick = |seed: &u64| {
        let swarm = Swarm {
            sentinels: 5,
            quorum: 3,
            latency_us: 10_000,
            jitter_us: 80_000,
            failover_timeout_ms: 20_000,
            ..Swarm::quiet(*seed)
        };
        let mut world = with(swarm, policies);
        world.kill_server(0, false, FOR_GOOD);
        reaches(&mut world, 2_600 * MS, all_moved)
    };
    (1..=12).filter(quick).count()
}

/// Whether the group gets a master although this Sentinel, which may be the first to stand, knows of no replica that may
/// be promoted, as after a RESET at the wrong moment.
fn one_knows_no_good_replica(ignorant: usize, stall: u64, policies: &Policies) -> bool {
    let mut world = with(Swarm { failover_timeout_ms: 60_000, ..Swarm::quiet(9) }, policies);
    world.servers[2].priority = 0;
    pass(&mut world, 11 * SECOND);
    world.kill_server(1, false, 3 * SECOND);
    pass(&mut world, 2 * SECOND);
    world.administer(ignorant, 0, AdminRequest::Reset);
    pass(&mut world, 4 * SECOND);
    if stall > 0 {
        for node in 0..3 {
            world.pause_node(node, stall);
        }
    }
    world.kill_server(0, false, FOR_GOOD);
    reaches(&mut world, stall + 30 * SECOND, all_moved)
}

/// beyond.md B5: a candidate that is refused its choice does not keep the others from standing.
#[test]
fn a_candidate_without_a_replica_keeps_nobody_from_standing() {
    let all = |stall: u64, policies: &Policies| (0..3).all(|node| one_knows_no_good_replica(node, stall, policies));
    assert!(all(0, &Policies::default()));
    assert!(all(30 * SECOND, &Policies::default()), "also if everybody else's is stale by stock's rule");
    let stock = defaults(MasterPolicy { election: Election::Stock, ..MasterPolicy::default() });
    assert!(!all(0, &stock));
}

/// beyond.md B5
#[test]
fn elections_are_fast_and_certain() {
    let fast = quick_elections(&Policies::default());
    let stock = quick_elections(&defaults(MasterPolicy { election: Election::Stock, ..MasterPolicy::default() }));
    assert!(fast == 12 && stock < 12, "{fast} and with stock's rule {stock} of 12");
}

/// Somebody makes the servers replicate as `follows` says, at several moments of the periods of INFO and hellos. Whether
/// everybody follows a new master within down-after and 7 s, each time.
fn masterless(policies: &Policies, follows: &[(usize, usize)]) -> bool {
    let heals = |moment: u64| {
        let mut world = with(Swarm::quiet(23 + moment), policies);
        pass(&mut world, 20 * SECOND + moment * 900 * MS);
        for (server, upstream) in follows {
            let upstream = &world.servers[*upstream];
            let address = (upstream.ip.clone(), upstream.port);
            world.servers[*server].demote(address, world.sh.now);
        }
        reaches(&mut world, 8 * SECOND, all_moved)
    };
    (0..11).all(heals)
}

/// beyond.md B6: a demoted master, and a cycle of three.
#[test]
fn a_group_without_a_master_gets_one() {
    let stock = defaults(MasterPolicy { masterless: Masterless::Stock, ..MasterPolicy::default() });
    for follows in [&[(0, 1)][..], &[(0, 1), (1, 2), (2, 0)]] {
        assert!(masterless(&Policies::default(), follows), "{follows:?}");
        assert!(!masterless(&stock, follows), "{follows:?}");
    }
}

/// The master is back when it has been replaced for a while. Whether it is a replica within half a second of answering.
fn old_master_is_demoted(hangs: bool, policies: &Policies) -> bool {
    let mut world = with(Swarm::quiet(26), policies);
    if hangs {
        world.hang_server(0, 20 * SECOND);
    } else {
        world.kill_server(0, false, 20 * SECOND);
    }
    pass(&mut world, 19 * SECOND);
    assert!(all_moved(&world));
    until(&mut world, 20 * SECOND, "it answers", |world| world.servers[0].answers(world.sh.now));
    reaches(&mut world, 500 * MS, |world| world.servers[0].upstream.is_some())
}

/// beyond.md B8
#[test]
fn an_old_master_is_demoted_as_soon_as_it_is_back() {
    let stock = defaults(MasterPolicy { fast_demote: FastDemote::Stock, ..MasterPolicy::default() });
    for hangs in [false, true] {
        assert!(old_master_is_demoted(hangs, &Policies::default()), "hangs: {hangs}");
        assert!(!old_master_is_demoted(hangs, &stock), "hangs: {hangs}");
    }
}

/// Seeds of which a master without persistence that is restarted at once is replaced by one that has its data.
fn reborn_empty(policies: &Policies) -> usize {
    let kept = |seed: &u64| {
        let mut world = with(Swarm { down_after_ms: 5_000, ..Swarm::quiet(*seed) }, policies);
        world.servers[0].persistence = Persistence::None;
        pass(&mut world, 12 * SECOND);
        let had = world.servers[0].offset;
        world.kill_server(0, false, 200 * MS);
        pass(&mut world, 4 * SECOND);
        let master = named_by(&world, 0).filter(|master| *master != 0);
        master.is_some_and(|master| world.servers[master].has_keys && world.servers[master].offset >= had)
    };
    (70..90).filter(kept).count()
}

/// beyond.md B3
#[test]
fn a_master_that_is_reborn_empty_is_replaced() {
    let kept = reborn_empty(&Policies::default());
    assert!(kept >= 18, "{kept} of 20: replicas may be faster");
    assert_eq!(
        reborn_empty(&defaults(MasterPolicy { reborn_master: RebornMaster::Stock, ..MasterPolicy::default() })),
        0
    );
    assert_eq!(
        reborn_empty(&defaults(MasterPolicy { reborn_master: RebornMaster::Alert, ..MasterPolicy::default() })),
        0
    );
}

/// A replica's address is somebody else's for a minute: a master with data, whose Sentinel knows it by the same name, and
/// a newer configuration. Afterwards the replica is back.
fn stranger_is_left_alone(policies: &Policies) -> bool {
    let mut world = with(Swarm::quiet(27), policies);
    pass(&mut world, 20 * SECOND);
    world.reuse_address(1, 5, 60 * SECOND);
    let left_alone = world.run_for(59 * SECOND).is_ok();
    if left_alone {
        assert!(world.nodes.iter().all(|node| named_by(&world, node.host) == Some(0)));
        assert!(reaches(&mut world, 20 * SECOND, |world| world.servers[1].follows(&world.servers[0])));
        agree(&mut world);
    }
    left_alone
}

/// beyond.md B2
#[test]
fn somebody_else_s_server_is_left_alone() {
    for guard in [IdentityGuard::Evidence, IdentityGuard::Strict] {
        assert!(stranger_is_left_alone(&defaults(MasterPolicy { identity_guard: guard, ..MasterPolicy::default() })));
    }
    let stock = defaults(MasterPolicy { identity_guard: IdentityGuard::Stock, ..MasterPolicy::default() });
    assert!(!stranger_is_left_alone(&stock));
}

/// The master dies while all Sentinels stand still for 5 s.
fn stalled(policies: &Policies) -> bool {
    let mut world = with(Swarm { tilt_ms: 30_000, ..Swarm::quiet(24) }, policies);
    for node in 0..3 {
        world.pause_node(node, 5 * SECOND);
    }
    pass(&mut world, SECOND);
    world.kill_server(0, false, FOR_GOOD);
    pass(&mut world, 4 * SECOND);
    reaches(&mut world, 5 * SECOND, all_moved)
}

/// beyond.md B7
#[test]
fn a_stall_costs_a_stall() {
    assert!(stalled(&Policies::default()));
    assert!(!stalled(&Policies { tilt: TiltMode::Stock, ..Policies::default() }));
}

/// beyond.md B7, I23: wall clocks that jump by an hour change nothing.
#[test]
fn wall_jumps_change_nothing() {
    let mut world = with(Swarm::quiet(25), &Policies::default());
    for jump in [3_600_000, 0, 7_200_000] {
        for node in &mut world.nodes {
            node.wall_offset = jump;
        }
        pass(&mut world, 20 * SECOND);
    }
    assert_eq!((world.sh.stats.tilts, world.sh.stats.elections), (0, 0));
    assert_eq!(named_by(&world, 0), Some(0));
}
