//! A master that came back with nothing (beyond.md B3).

use super::*;
use crate::sentinel::policy::{MasterPolicy, Policies, RebornMaster};

const DATA: &str = "db0:keys=5,expires=0";

fn replid(letter: char) -> String {
    format!("master_replid:{}", letter.to_string().repeat(40))
}

/// A group with data of history `a`, whose master has just been killed and will be restarted.
fn killed() -> Bench {
    let mut bench = Bench::with_peers();
    for server in [MASTER, REPLICA, OTHER_REPLICA] {
        bench.servers.get_mut(server).expect("there").more = vec![replid('a'), DATA.to_owned()];
    }
    bench.run(11_000);
    bench.elect_me(1);
    bench.seen.clear();
    bench.kill(MASTER);
    bench.run(200);
    bench
}

/// The same with peers that will not agree to anything.
fn killed_without_majority() -> Bench {
    let mut bench = killed();
    for peer in [PEER_A, PEER_B] {
        bench.opinions.insert(RunId::from(peer), (false, None, Epoch(0)));
    }
    bench
}

/// The master is another process now and says `more`. What is told within `ms`.
fn restarted(bench: &mut Bench, more: Vec<String>, ms: u64) -> Vec<String> {
    bench.dead.remove(MASTER);
    let server = bench.servers.get_mut(MASTER).expect("there");
    (server.run_id, server.more) = ('x', more);
    bench.run(ms);
    bench.events()
}

fn tells(events: &[String], start: &str) -> bool {
    events.iter().any(|event| event.starts_with(start))
}

/// beyond.md B3: found within two attempts to connect, long before `down-after-milliseconds`.
#[test]
fn a_master_that_is_reborn_empty_is_replaced_at_once() {
    let events = restarted(&mut killed(), vec![replid('c')], 300);
    assert!(tells(&events, "+reborn-empty master mymaster 127.0.0.1 6379"), "{events:?}");
    assert!(events.iter().any(|event| event.ends_with("#quorum 2/2 #reborn-empty")), "{events:?}");
    assert!(tells(&events, "+switch-master"), "{events:?}");
}

/// beyond.md B3: only who still has what was lost is promoted.
#[test]
fn a_replica_that_is_empty_already_is_not_promoted() {
    let mut bench = killed();
    // It would be chosen.
    let first = bench.servers.get_mut(REPLICA).expect("there");
    (first.offset, first.more) = (99, vec![replid('c')]);
    let events = restarted(&mut bench, vec![replid('c')], 300);
    assert!(tells(&events, "+switch-master mymaster 127.0.0.1 6379 127.0.0.1 6381"), "{events:?}");
}

/// beyond.md B3: never after a restart with persistence, nor if the replicas have nothing either.
#[test]
fn nobody_is_replaced_who_has_lost_nothing() {
    let was = |letter: char| format!("master_replid2:{}", letter.to_string().repeat(40));
    let with_data = |more: Vec<String>| restarted(&mut killed(), more, 5_000);
    let rdb = with_data(vec![replid('c'), was('a')]);
    let aof = with_data(vec![replid('c'), DATA.to_owned()]);
    let loading = with_data(vec![replid('c'), "loading:1".to_owned()]);
    let mut bench = killed();
    for replica in [REPLICA, OTHER_REPLICA] {
        bench.servers.get_mut(replica).expect("there").more = vec![replid('a')];
    }
    let flushed = restarted(&mut bench, vec![replid('c')], 5_000);
    for events in [rdb, aof, loading, flushed] {
        assert!(tells(&events, "+reboot"), "{events:?}");
        assert!(!tells(&events, "+reborn-empty") && !tells(&events, "+sdown"), "{events:?}");
    }
}

/// beyond.md B3
#[test]
fn an_alert_is_all_that_comes_of_it_if_so_chosen_and_nothing_with_stock() {
    let with = |reborn_master: RebornMaster| {
        let mut bench = killed();
        let defaults = MasterPolicy { reborn_master, ..MasterPolicy::default() };
        bench.node.policies = Policies { defaults, ..Policies::default() };
        restarted(&mut bench, vec![replid('c')], 5_000)
    };
    let (alert, stock) = (with(RebornMaster::Alert), with(RebornMaster::Stock));
    assert!(tells(&alert, "+reborn-empty") && !tells(&alert, "+sdown"), "{alert:?}");
    assert!(!tells(&stock, "+reborn-empty") && !tells(&stock, "+sdown"), "{stock:?}");
}

/// beyond.md B3: without a majority it is over when the replicas have become empty, too, and once and for all: what they have
/// later is the new data.
#[test]
fn it_is_forgotten_when_nobody_has_what_was_lost() {
    let mut bench = killed_without_majority();
    let events = restarted(&mut bench, vec![replid('c')], 2_000);
    assert!(tells(&events, "+sdown master") && !tells(&events, "+odown"), "{events:?}");
    for server in [REPLICA, OTHER_REPLICA] {
        bench.servers.get_mut(server).expect("there").more = vec![replid('c')];
    }
    bench.run(2_000);
    let events = bench.events();
    assert!(tells(&events, "-sdown master"), "{events:?}");
    for server in [MASTER, REPLICA, OTHER_REPLICA] {
        bench.servers.get_mut(server).expect("there").more = vec![replid('c'), DATA.to_owned()];
    }
    bench.run(30_000);
    assert_eq!(bench.events(), Vec::<String>::new());
}

/// beyond.md B3: a replica that never finds its master again does not keep it down for ever.
#[test]
fn it_is_forgotten_after_half_a_minute() {
    let mut bench = killed_without_majority();
    let events = restarted(&mut bench, vec![replid('c')], 29_000);
    assert!(tells(&events, "+sdown master") && !tells(&events, "-sdown master"), "{events:?}");
    bench.run(2_000);
    assert!(tells(&bench.events(), "-sdown master"));
    bench.run(30_000);
    assert!(!tells(&bench.events(), "+sdown master"));
}
