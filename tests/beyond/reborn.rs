//! B3: a master that is restarted before anybody takes it for dead, and comes back with nothing.

use std::time::{Duration, Instant};

use crate::support::Kind;
use crate::support::cluster::Plan;
use crate::support::resp::Value;
use crate::support::sentinel::Sentinel;
use crate::support::server::Server;
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::table::tell;
use crate::{World, pass, plan, runs};

/// Nobody is taken for dead meanwhile.
const DOWN_AFTER: Duration = seconds(5);
/// How long the master is away, ms.
const ABSENCES: [u64; 3] = [0, 200, 1_000];
pub(crate) const KEYS: i64 = 100;

/// How soon replicas copy what their master has, once they have found it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sync {
    /// The defaults of Redis 7.0: after 5 s.
    Default,
    /// From a file, which takes no time for so little: `repl-diskless-sync no`.
    FromFile,
}

/// What the master has when it is back.
#[derive(Clone, Copy, Debug)]
enum Restart {
    /// An RDB file.
    Rdb,
    /// An AOF.
    Aof,
    /// Nothing, as before: FLUSHALL came first.
    Flushed,
}

/// beyond.md B3
#[test]
fn a_master_that_comes_back_with_nothing_does_not_empty_its_replicas() {
    let rounds = runs().map_or(1, |runs| 2 * runs);
    std::thread::scope(|scope| {
        let kept_of = |sync: Sync| {
            let absences = ABSENCES.map(|absence| scope.spawn(move || kept(Kind::Ours, sync, absence, rounds)));
            absences.into_iter().map(|kept| kept.join().expect("it went through")).sum::<u32>()
        };
        let stock = scope.spawn(|| kept(Kind::Stock, Sync::Default, 0, 1));
        assert_eq!(kept_of(Sync::Default), rounds * 3);
        // Nine of ten are promised, as replicas may be faster. One run on a busy machine says nothing.
        let from_file = kept_of(Sync::FromFile);
        assert!(runs().is_none() || from_file * 10 >= rounds * 27, "{from_file} of {}", rounds * 3);
        assert_eq!(stock.join().expect("it went through"), 0);
    });
}

/// beyond.md B3
#[test]
fn a_master_that_comes_back_and_has_lost_nothing_stays() {
    let rounds = runs().map_or(1, |runs| 2 * runs);
    std::thread::scope(|scope| {
        for restart in [Restart::Rdb, Restart::Aof, Restart::Flushed] {
            scope.spawn(move || (0..rounds).for_each(|_| stays(restart)));
        }
    });
}

/// Restarts a master without its data, again and again. How often the group kept it.
fn kept(kind: Kind, sync: Sync, absence: u64, rounds: u32) -> u32 {
    let rounds = (0..rounds).map(|_| {
        let mut world = filled(kind, sync);
        let master = world.cluster.first_master();
        let since = Instant::now();
        restart(&mut world, master, Duration::from_millis(absence));
        let is_kept = wait_for(seconds(40), "everybody has all keys, or nobody any", || {
            let servers = &world.cluster.groups[0].servers;
            let sizes: Vec<i64> = servers.iter().map(size).collect();
            let all = |wanted: i64| sizes.iter().all(|size| *size == wanted);
            (all(KEYS) || all(0)).then(|| all(KEYS))
        });
        let came_of_it = if is_kept { "kept by all" } else { "lost" };
        let took = since.elapsed().as_millis();
        tell(&format!("a master reborn empty after {absence} ms, {sync:?}, {}: {came_of_it}; {took} ms", kind.label()));
        u32::from(is_kept)
    });
    rounds.sum()
}

/// Restarts a master that has lost nothing: nobody takes its place.
fn stays(what: Restart) {
    let mut world = filled(Kind::Ours, Sync::Default);
    let master = world.cluster.first_master();
    let server = world.cluster.groups[0].at(master);
    let call = |words: &[&str]| server.call(words).expect("it answers");
    match what {
        Restart::Rdb => drop(call(&["SAVE"])),
        Restart::Aof => {
            call(&["CONFIG", "SET", "appendonly", "yes"]);
            call(&["CONFIG", "REWRITE"]);
            let is_written =
                || call(&["INFO", "persistence"]).text().is_some_and(|text| text.contains("aof_rewrite_in_progress:0"));
            wait_until(seconds(20), "the AOF is written", is_written);
        }
        Restart::Flushed => {
            call(&["FLUSHALL"]);
            let servers = &world.cluster.groups[0].servers;
            wait_until(seconds(10), "the replicas are empty, too", || servers.iter().all(|server| size(server) == 0));
        }
    }
    let since = Instant::now();
    restart(&mut world, master, Duration::ZERO);
    pass(seconds(8));
    for sentinel in &world.cluster.sentinels {
        assert!(sentinel.events.find(since, "+reboot").is_some(), "{what:?}: it saw that");
        for event in ["+reborn-empty", "+sdown master", "+switch-master"] {
            assert_eq!(sentinel.events.find(since, event).map(|seen| seen.line()), None, "{what:?}");
        }
    }
}

/// A group with data, which its Sentinels have seen.
pub(crate) fn filled(kind: Kind, sync: Sync) -> World {
    let world = World::of(&Plan { down_after: DOWN_AFTER.as_millis() as u64, ..plan(kind) });
    let servers = &world.cluster.groups[0].servers;
    for server in servers {
        let (key, value) = match sync {
            Sync::Default => ("repl-diskless-sync-delay", "5"),
            Sync::FromFile => ("repl-diskless-sync", "no"),
        };
        for words in [&["CONFIG", "SET", key, value][..], &["CONFIG", "REWRITE"]] {
            assert_eq!(server.call(words).expect("it answers"), Value::Simple("OK".to_owned()));
        }
    }
    let master = world.cluster.groups[0].at(world.cluster.first_master());
    let mut client = master.client().expect("it accepts connections");
    for key in 0..KEYS {
        client.call(&["SET", &format!("key:{key}"), "value"]).expect("it answers");
    }
    wait_until(seconds(10), "everybody has all keys", || servers.iter().all(|server| size(server) == KEYS));
    // Who is asked for INFO asks for it, of servers from 7.0 on; the others tell every 10 s.
    let has_seen = |sentinel: &Sentinel| {
        let seen = sentinel.call(&["SENTINEL", "INFO-CACHE", "mymaster"]).expect("it answers");
        format!("{seen:?}").matches("db0:keys=").count() == servers.len()
    };
    for sentinel in &world.cluster.sentinels {
        wait_until(seconds(15), "it has seen all keys", || kind == Kind::Stock || has_seen(sentinel));
    }
    world
}

/// Kills a server, and starts it again after a while.
fn restart(world: &mut World, port: u16, absence: Duration) {
    let process = &mut world.cluster.group().at_mut(port).process;
    process.kill();
    pass(absence);
    process.start_again();
}

/// Its keys; -1 if it does not answer.
pub(crate) fn size(server: &Server) -> i64 {
    match server.call(&["DBSIZE"]) {
        Ok(Value::Integer(keys)) => keys,
        _ => -1,
    }
}
