//! B6: no member of the group is master.

use std::time::{Duration, Instant};

use rand::RngExt;

use crate::support::Kind;
use crate::support::wait::{find_within, seconds, wait_for};
use crate::table::{note, tell};
use crate::{DOWN_AFTER, World, pass, runs};

/// Who replicates from whom, by place; what it is called.
const CASES: [(&str, &[(usize, usize)]); 2] =
    [("a demoted master", &[(0, 1)]), ("a cycle of three", &[(0, 1), (1, 2), (2, 0)])];

/// How much later than `down-after-milliseconds` everybody follows a new master.
const PROMISED: Duration = seconds(7);

/// beyond.md B6
#[test]
fn a_group_without_a_master_heals_in_time() {
    for _ in 0..runs().unwrap_or(1) {
        std::thread::scope(|scope| {
            for (name, follows) in CASES {
                scope.spawn(move || {
                    let took = heal(Kind::Ours, follows, DOWN_AFTER + PROMISED).expect("somebody is promoted in time");
                    note(&format!("{name} heals, sentineld"), took);
                });
                scope.spawn(move || stock_takes_longer(name, follows));
            }
        });
    }
}

fn stock_takes_longer(name: &str, follows: &[(usize, usize)]) {
    let limit = if runs().is_some() { seconds(90) } else { DOWN_AFTER + PROMISED };
    let healed = heal(Kind::Stock, follows, limit);
    match healed {
        Some(took) => note(&format!("{name} heals, redis-sentinel"), took),
        None => tell(&format!("{name}, redis-sentinel: no master after {} s", limit.as_secs())),
    }
    assert!(healed.is_none_or(|took| took > DOWN_AFTER + PROMISED), "stock is as fast: {healed:?}");
}

/// Makes the servers replicate as `follows` says; how long it takes until all Sentinels follow a new master.
fn heal(kind: Kind, follows: &[(usize, usize)], limit: Duration) -> Option<Duration> {
    let world = World::start(kind);
    let cluster = &world.cluster;
    let servers = &cluster.groups[0].servers;
    // The moment matters: INFO every 10 s, hellos every 2 s.
    pass(Duration::from_millis(rand::rng().random_range(0..2_000)));
    let start = Instant::now();
    for (server, upstream) in follows {
        let upstream = servers[*upstream].port.to_string();
        servers[*server].call(&["REPLICAOF", "127.0.0.1", &upstream]).expect("it answers");
    }
    let old = servers[0].port;
    let switched = |sentinel: &crate::support::sentinel::Sentinel| {
        sentinel.events.find(start, "+switch-master").map(|seen| seen.at - start)
    };
    let took = wait_for(limit + seconds(3), "all Sentinels have switched, or the time is up", || {
        let told = cluster.sentinels.iter().map(switched).collect::<Option<Vec<_>>>();
        told.map(|times| times.into_iter().max()).or_else(|| (start.elapsed() > limit).then_some(None))
    })?;
    let new = cluster.wait_for_new_master("mymaster", old, seconds(10));
    cluster.wait_until_settled(&cluster.groups[0], new);
    if kind == Kind::Ours {
        // The others may see the promoted replica before they hear of it, and then there is a master again.
        let leader = &cluster.sentinels[cluster.leader(start, "mymaster").expect("somebody led")];
        let doubts = ["-sdown master", "-odown"].iter().find_map(|event| leader.events.find(start, event));
        assert!(doubts.is_none(), "for the leader it is down until the switch: {}", leader.story());
        let odown = cluster.sentinels.iter().find_map(|sentinel| sentinel.events.find(start, "+odown"));
        assert!(odown.is_some_and(|seen| seen.payload.ends_with("#masterless")), "the reason is told");
    }
    Some(took)
}

/// beyond.md B6: the one server that is left was made a replica of one that is gone. There is nobody to promote.
#[test]
fn the_only_server_left_is_master_again() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let took = is_master_again(Kind::Ours, seconds(25)).expect("it is master again");
            note("the only server left is master again, sentineld", took);
        });
        scope.spawn(|| assert_eq!(is_master_again(Kind::Stock, seconds(25)), None));
    });
}

fn is_master_again(kind: Kind, limit: Duration) -> Option<Duration> {
    let mut world = World::start(kind);
    let servers = &mut world.cluster.group().servers;
    servers[1..].iter_mut().for_each(|replica| replica.process.kill());
    let gone = servers[1].port.to_string();
    let start = Instant::now();
    servers[0].call(&["REPLICAOF", "127.0.0.1", &gone]).expect("it answers");
    find_within(limit, || servers[0].is_master().then(|| start.elapsed()))
}
