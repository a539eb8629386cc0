//! B2: addresses that are used again, and members that come back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::resp::Value;
use crate::support::server::Server;
use crate::support::stock;
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::table::{note, tell};
use crate::{World, pass, plan, runs};

/// Keys of a stranger.
const KEYS: usize = 5_000;
/// With quick Sentinels, how long a stranger is watched: stock tells it after 2 s and an INFO.
const WATCHED: Duration = seconds(5);
/// How soon a member that is back follows.
const PROMISED: Duration = seconds(15);
/// How often addresses change hands in the long form.
const REUSES: u32 = 200;
/// Worlds of the long form that run side by side.
const LANES: u32 = 4;

/// beyond.md B2: two groups with the same master name; servers of one begin at addresses that were the other's, and servers
/// of nobody. No key is lost, and nobody follows a stranger.
#[test]
fn nobody_else_s_data_is_touched() {
    let rounds = runs().map_or(2, |_| REUSES / LANES);
    let lanes = runs().map_or(1, |_| LANES);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| two_groups(rounds));
        }
        scope.spawn(stock_takes_everything);
    });
    let reuses = rounds * lanes;
    let took = start.elapsed().as_secs();
    tell(&format!("an address is a stranger's, sentineld: {reuses} times, no key lost ({took} s)"));
}

/// A quick world: what stock does after 8 s and an INFO it does after 2 s and one of them.
fn quick(kind: Kind) -> World {
    let world = World::of(&Plan { down_after: 1_000, ..plan(kind) });
    for sentinel in &world.cluster.sentinels {
        let changed = sentinel.call(&["SENTINEL", "DEBUG", "INFO-PERIOD", "500", "PUBLISH-PERIOD", "500"]);
        assert_eq!(changed.expect("it answers"), Value::Simple("OK".to_owned()));
    }
    world
}

fn two_groups(rounds: u32) {
    let (mut one, mut other) = (quick(Kind::Ours), quick(Kind::Ours));
    for world in [&one, &other] {
        fill(&world.cluster.groups[0].servers[0], 500);
    }
    // Of the other group. An old master of its own can prove nothing, so that what is at its address is taken for it.
    let mut masters = BTreeSet::new();
    for round in 0..rounds {
        // Alternately a server of nobody, and one of the other group, which then has a failover, perhaps to it.
        let mut belongs = round % 2 == 1;
        let master = master_of(&one.cluster);
        let foreign_master = master_of(&other.cluster);
        let group = one.cluster.group();
        let replicas = group.servers.iter().map(|server| server.port).filter(|port| *port != master);
        let (taken, fresh): (Vec<u16>, Vec<u16>) = replicas.partition(|port| masters.contains(port));
        belongs |= fresh.is_empty();
        let choice = if belongs { [taken, fresh].concat() } else { fresh };
        let at = choice[rand::rng().random_range(0..choice.len())];
        group.at_mut(at).process.kill();
        pass(Duration::from_millis(rand::rng().random_range(0..1_500)));
        let folder = other.folder();
        let upstream = belongs.then_some(foreign_master);
        let mut stranger = Server::start_at(&stock::program("redis-server"), &folder, at, None, upstream);
        if belongs {
            wait_until(seconds(10), "it has synchronised", || stranger.follows(foreign_master));
            // The other group may make it its master, with a configuration that is newer than ours.
            let _ = other.cluster.sentinels[0].call(&["SENTINEL", "FAILOVER", "mymaster"]);
        } else {
            fill(&stranger, KEYS);
        }
        let expected = if belongs { 500 } else { KEYS };
        let watched = Instant::now();
        while watched.elapsed() < WATCHED {
            // One that is made a replica or a master of its own group has no answer for a moment.
            let has = keys(&stranger);
            assert!(belongs || has == Some(expected), "round {round}: {has:?} {}", one.cluster.sentinels[0].story());
            assert!(belongs || stranger.is_master(), "round {round}: {}", one.cluster.sentinels[0].story());
            pass(Duration::from_millis(200));
        }
        wait_until(seconds(20), "it has its keys", || keys(&stranger) == Some(expected));
        assert_eq!(master_of(&one.cluster), master, "round {round}: it follows its own master");
        let live = one.cluster.groups[0].servers.iter().filter(|server| server.process.is_started());
        for server in live {
            assert!(server.port == master || server.follows(master), "round {round}: {} is told", server.port);
            assert_eq!(keys(server), Some(500), "round {round}");
        }
        if belongs && stranger.is_master() {
            masters.insert(at);
        }
        // The stranger goes, its group gets over it, and the replica is back.
        stranger.process.kill();
        // Its replicas connect to whatever is at the address of their master, whoever watches them.
        if belongs {
            let members: Vec<u16> = other.cluster.groups[0].servers.iter().map(|server| server.port).collect();
            wait_for(seconds(60), "the other group has a master of its own", || {
                let named = other.cluster.sentinels.iter().map(|sentinel| sentinel.address("mymaster"));
                let named: Vec<Option<u16>> = named.collect();
                let agreed = named.iter().all(|port| *port == named[0]);
                named[0].filter(|port| agreed && members.contains(port))
            });
            let master = master_of(&other.cluster);
            wait_until(seconds(60), "and everybody follows it", || {
                let servers = &other.cluster.groups[0].servers;
                servers.iter().all(|server| server.port == master || server.follows(master))
            });
        }
        let back = Instant::now();
        one.cluster.group().at_mut(at).start_again();
        wait_until(PROMISED, "the replica is back", || one.cluster.groups[0].at(at).follows(master));
        note("a replica follows again after its address was a stranger's, sentineld", back.elapsed());
        for server in &other.cluster.group().servers {
            assert_eq!(keys(server), Some(500), "round {round}");
        }
    }
}

/// Stock makes a replica of whatever answers at a remembered address.
fn stock_takes_everything() {
    let mut world = quick(Kind::Stock);
    let group = world.cluster.group();
    let at = group.servers[1].port;
    group.at_mut(at).process.kill();
    let folder = world.folder();
    let stranger = Server::start_at(&stock::program("redis-server"), &folder, at, None, None);
    fill(&stranger, KEYS);
    let start = Instant::now();
    wait_until(seconds(60), "stock takes its keys", || keys(&stranger).is_some_and(|keys| keys < KEYS));
    note("an address is a stranger's, redis-sentinel: all keys gone", start.elapsed());
}

fn fill(server: &Server, count: usize) {
    let script = format!("for n = 1, {count} do redis.call('SET', 'key:' .. n, n) end");
    server.call(&["EVAL", &script, "0"]).expect("it answers");
    assert_eq!(keys(server), Some(count));
}

/// How many keys it has, if it says so.
fn keys(server: &Server) -> Option<usize> {
    match server.call(&["DBSIZE"]) {
        Ok(Value::Integer(count)) => usize::try_from(count).ok(),
        _ => None,
    }
}

fn master_of(cluster: &Cluster) -> u16 {
    cluster.sentinels[0].address("mymaster").expect("it names one")
}

/// What an old master has of its data when it is back.
#[derive(Clone, Copy, Debug)]
enum Persistence {
    Rdb,
    Aof,
    Nothing,
}

/// beyond.md B2: what is ours joins, whatever it can prove.
#[test]
fn members_that_come_back_join() {
    for _ in 0..runs().unwrap_or(1) {
        std::thread::scope(|scope| {
            for persistence in [Persistence::Rdb, Persistence::Aof, Persistence::Nothing] {
                scope.spawn(move || old_master_joins(persistence));
            }
        });
    }
}

fn old_master_joins(persistence: Persistence) {
    let mut world = World::start(Kind::Ours);
    let begun = Instant::now();
    let old = world.cluster.first_master();
    let folder = world.folder();
    let server = world.cluster.group().at_mut(old);
    fill(server, 500);
    match persistence {
        Persistence::Rdb => drop(server.call(&["SAVE"])),
        Persistence::Aof => {
            for words in [&["CONFIG", "SET", "appendonly", "yes"][..], &["CONFIG", "REWRITE"]] {
                server.call(words).expect("it answers");
            }
            let is_written = || {
                server.call(&["INFO", "persistence"]).ok().is_some_and(|info| {
                    info.text().is_some_and(|text| {
                        text.contains("aof_rewrite_in_progress:0") && text.contains("aof_rewrite_scheduled:0")
                    })
                })
            };
            wait_until(seconds(10), "the file is written", is_written);
        }
        Persistence::Nothing => {}
    }
    server.process.kill();
    let new = world.cluster.wait_for_new_master("mymaster", old, seconds(20));
    world.cluster.wait_until_settled(&world.cluster.groups[0], new);
    let back = Instant::now();
    world.cluster.group().at_mut(old).start_again();
    wait_until(PROMISED, "it follows the new master", || world.cluster.groups[0].at(old).follows(new));
    note(&format!("old master ({persistence:?}) follows, sentineld"), back.elapsed());
    let joined = Instant::now();
    let replica = Server::start(&folder, None, Some(new));
    wait_until(PROMISED, "an empty new replica is known", || {
        world.cluster.sentinels.iter().all(|sentinel| {
            let mut replicas = sentinel.replicas("mymaster").into_iter();
            replicas.any(|known| known.field("port") == Some(replica.port.to_string().as_str()))
        })
    });
    note("an empty new replica is known to all, sentineld", joined.elapsed());
    let foreign = world.cluster.sentinels.iter().find_map(|sentinel| sentinel.events.find(begun, "+foreign-instance"));
    assert!(foreign.is_none(), "nobody is a stranger: {foreign:?}");
}
