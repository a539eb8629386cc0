//! What stock does not do (beyond.md), with the switch at its default and at stock's value.

use super::*;
use crate::sentinel::policy::{IdentityGuard, MasterPolicy, Masterless, Policies, StaleReplicaPromotion};

/// A Sentinel that slept through the failure: the replicas lost their master long before we see it down.
fn late_observer(policies: Policies) -> Vec<String> {
    let mut bench = Bench::with_peers();
    bench.node.policies = policies;
    bench.elect_me(1);
    for replica in [REPLICA, OTHER_REPLICA] {
        bench.servers.get_mut(replica).expect("there").link_down_seconds = 21;
    }
    bench.servers.get_mut(OTHER_REPLICA).expect("there").offset = 12;
    bench.kill(MASTER);
    bench.run(3_000);
    bench.events()
}

/// beyond.md B1
#[test]
fn a_late_observer_still_finds_a_replica() {
    let events = late_observer(Policies::default());
    let accepted = "+stale-candidate-accepted slave 127.0.0.1:6381 127.0.0.1 6381 @ mymaster 127.0.0.1 6379 \
                    #link-down 21000 offset 12";
    assert!(events.iter().any(|event| event == accepted), "{events:?}");
    assert!(events.iter().any(|event| event.starts_with("+switch-master")), "{events:?}");
    let never = MasterPolicy { stale_replica_promotion: StaleReplicaPromotion::Never, ..MasterPolicy::default() };
    let events = late_observer(Policies { defaults: never, ..Policies::default() });
    assert!(events.iter().any(|event| event.starts_with("-failover-abort-no-good-slave")), "{events:?}");
    assert!(!events.iter().any(|event| event.starts_with("+switch-master")), "{events:?}");
}

/// beyond.md B1: with half of the replicas silent, the best of the rest may not be the best of all.
#[test]
fn stale_replicas_are_promoted_only_after_the_others_were_waited_for() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").link_down_seconds = 21;
    bench.kill(OTHER_REPLICA);
    bench.kill(MASTER);
    let mut lives = |ms: u64| {
        for _ in 0..ms / 10 {
            bench.elect_me(bench.epoch.current().0 + 1);
            bench.run(10);
        }
        bench.event_names()
    };
    let events = lives(10_900);
    assert!(events.contains(&"-failover-abort-no-good-slave".to_owned()), "{events:?}");
    assert!(!events.contains(&"+stale-candidate-accepted".to_owned()), "{events:?}");
    assert!(lives(8_000).contains(&"+stale-candidate-accepted".to_owned()));
}

/// beyond.md B1: a replica that was started anew and has copied nothing yet is not promoted, as stock does.
#[test]
fn who_waits_for_its_first_copy_is_not_promoted_beside_others() {
    let promoted = |stale_replica_promotion| {
        let mut bench = Bench::with_peers();
        bench.node.policies.defaults = MasterPolicy { stale_replica_promotion, ..MasterPolicy::default() };
        bench.elect_me(1);
        for (at, replid, keys) in [(MASTER, 'a', true), (REPLICA, 'b', false), (OTHER_REPLICA, 'a', true)] {
            let server = bench.servers.get_mut(at).expect("there");
            server.more = vec![format!("master_replid:{}", replid.to_string().repeat(40))];
            server.more.extend(keys.then(|| "db0:keys=5000,expires=0,avg_ttl=0".to_owned()));
        }
        let blank = bench.servers.get_mut(REPLICA).expect("there");
        (blank.link_down_seconds, blank.offset) = (0, 99);
        bench.run(11_000);
        bench.kill(MASTER);
        bench.run(3_000);
        bench.events().into_iter().find(|event| event.starts_with("+selected-slave")).expect("somebody is promoted")
    };
    assert!(promoted(StaleReplicaPromotion::Relative).contains("127.0.0.1:6381"));
    assert!(promoted(StaleReplicaPromotion::Never).contains("127.0.0.1:6380"));
}

/// beyond.md B6
fn demoted_master(policies: Policies, ms: u64) -> Vec<String> {
    let mut bench = Bench::with_peers();
    bench.node.policies = policies;
    bench.elect_me(1);
    bench.servers.get_mut(MASTER).expect("there").role = Role::Replica;
    bench.run(2_400);
    bench.elect_me(1);
    bench.run(ms);
    bench.events()
}

/// beyond.md B6: the first hello at the master that does not come back from its replicas brings INFO at once.
#[test]
fn a_missing_echo_brings_info() {
    let mut bench = Bench::with_peers();
    bench.run(20_000);
    bench.seen.clear();
    let infos = |bench: &mut Bench, ms: u64| {
        bench.seen.clear();
        bench.run(ms);
        bench.sent_to(MASTER).iter().filter(|command| *command == "INFO").count()
    };
    bench.servers.get_mut(MASTER).expect("there").role = Role::Replica;
    assert!(infos(&mut bench, 2_400) >= 1, "a period of hellos and some patience");
    assert!(bench.monitor.master.role == Role::Replica);

    // A master that cannot pass on anything is not asked more often than others.
    let mut bench = Bench::with_peers();
    for replica in [REPLICA, OTHER_REPLICA] {
        bench.servers.get_mut(replica).expect("there").master_port = 7;
    }
    bench.run(10_000);
    assert!(infos(&mut bench, 100_000) <= 10);

    let mut bench = Bench::with_peers();
    bench.node.policies = Policies::stock();
    bench.run(20_000);
    bench.servers.get_mut(MASTER).expect("there").role = Role::Replica;
    assert!((0..4).any(|_| infos(&mut bench, 2_400) == 0), "stock asks every 10 s");
}

/// beyond.md B6
#[test]
fn a_group_without_a_master_gets_one() {
    let events = demoted_master(Policies::default(), 5_600);
    assert!(events.iter().any(|event| event.ends_with("#quorum 2/2 #masterless")), "{events:?}");
    assert!(events.iter().any(|event| event.starts_with("+switch-master")), "{events:?}");
    let doubts = |event: &&String| event.starts_with("-sdown master") || event.starts_with("-odown");
    assert_eq!(events.iter().find(doubts), None, "down until the switch: {events:?}");
    let stock = MasterPolicy { masterless: Masterless::Stock, ..MasterPolicy::default() };
    let events = demoted_master(Policies { defaults: stock, ..Policies::default() }, 5_600);
    assert!(!events.iter().any(|event| event.starts_with("+sdown")), "{events:?}");
}

/// beyond.md B6: the only server that is left is the master, made a replica of one that is gone.
#[test]
fn a_master_that_is_a_replica_of_nobody_here_is_master_again_if_nobody_else_can_be() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    for replica in [REPLICA, OTHER_REPLICA] {
        bench.kill(replica);
    }
    bench.run(3_000);
    bench.servers.get_mut(MASTER).expect("there").role = Role::Replica;
    bench.seen.clear();
    for epoch in 1..9 {
        bench.elect_me(epoch);
        bench.run(2_000);
    }
    let events = bench.events();
    assert!(events.iter().any(|event| event.starts_with("-failover-abort-no-good-slave")), "{events:?}");
    assert!(events.iter().any(|event| event.starts_with("-odown master")), "{events:?}");
    assert!(!events.iter().any(|event| event.starts_with("+switch-master")), "{events:?}");
    assert_eq!(bench.servers.get(MASTER).expect("there").role, Role::Master);
}

/// failover.md 98
#[test]
fn stock_waits_two_info_periods_for_a_demoted_master() {
    let events = demoted_master(Policies::stock(), 29_600);
    assert!(events.iter().any(|event| event.starts_with("+sdown master")), "{events:?}");
    let short = demoted_master(Policies::stock(), 16_600);
    assert!(!short.iter().any(|event| event.starts_with("+sdown master")), "{short:?}");
}

/// failover.md 9: a name is looked up again at each attempt, and the last good answer is kept meanwhile.
#[test]
fn names_are_looked_up_again_at_each_attempt() {
    let mut bench = Bench::with(|record, node| {
        node.resolve_hostnames = true;
        record.addr = Addr::new("redis.example", 6379);
    });
    let lookups = |bench: &mut Bench| {
        let seen = std::mem::take(&mut bench.seen);
        seen.iter().filter(|output| matches!(output, Output::Resolve(_))).count()
    };
    assert_eq!(lookups(&mut bench), 1);
    assert!(bench.links.is_empty(), "no address, no connection");
    let resolved = |ip: &str| Input::Resolved { host: "redis.example".into(), ip: ip.parse().ok() };
    bench.feed(resolved("127.0.0.1"));
    assert!(bench.links.values().any(|addr| addr == "redis.example:6379"));
    lookups(&mut bench);
    bench.kill("redis.example:6379");
    bench.run(3_000);
    assert!(lookups(&mut bench) >= 2);
    bench.feed(resolved("nothing"));
    assert_eq!(bench.monitor.record().addr.ip, "127.0.0.1".parse().ok(), "the last good answer is kept");
    bench.feed(resolved("127.0.0.2"));
    assert_eq!(bench.monitor.record().addr.ip, "127.0.0.2".parse().ok());
}

/// failover.md 3: nobody is told to replicate itself, also when only the name of the two that it goes by has told of its
/// restart.
#[test]
fn a_master_that_has_a_name_besides_is_not_told_to_follow_itself() {
    let mut bench = Bench::with(|record, node| {
        (node.resolve_hostnames, node.announce_hostnames) = (true, true);
        record.replicas.push(Addr::new("redis.example", 6379));
        node.policies.defaults.identity_guard = IdentityGuard::Stock;
    });
    let restarted = FakeServer { run_id: 'x', ..bench.servers[MASTER].clone() };
    bench.servers.insert("redis.example:6379".to_owned(), restarted);
    bench.feed(Input::Resolved { host: "redis.example".into(), ip: "127.0.0.1".parse().ok() });
    bench.run(25_000);
    let sent = bench.sent_to("redis.example:6379");
    assert!(sent.iter().any(|command| command.starts_with("INFO")));
    assert!(!sent.iter().any(|command| command.starts_with("SLAVEOF")), "{sent:?}");
}

/// failover.md 9: whoever connects to where a name led before does not wait there for somebody to answer.
#[test]
fn an_attempt_to_connect_to_the_old_address_is_given_up() {
    let mut bench = Bench::with(|record, node| {
        node.resolve_hostnames = true;
        record.addr = Addr::new("silent.example", 6379);
    });
    let resolved = |ip: &str| Input::Resolved { host: "silent.example".into(), ip: ip.parse().ok() };
    bench.feed(resolved("127.0.0.9"));
    bench.seen.clear();
    bench.feed(resolved("127.0.0.1"));
    let opened = bench.seen.iter().filter_map(|output| match output {
        Output::Connect { addr, .. } => addr.ip,
        _ => None,
    });
    assert_eq!(opened.collect::<Vec<_>>(), ["127.0.0.1".parse::<IpAddr>().expect("an address")]);
}

/// beyond.md B7
#[test]
fn a_stall_with_a_healthy_master_takes_nobody_for_dead() {
    let mut bench = Bench::with_peers();
    bench.now += 5_000;
    bench.feed(Input::Tick);
    bench.run(60_000);
    assert_eq!(bench.events(), ["+tilt #tilt mode entered", "-tilt #tilt mode exited"]);
}

/// beyond.md B7: acting within down-after of the end of the stall.
#[test]
fn a_stall_costs_a_stall() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.kill(MASTER);
    bench.now += 5_000;
    bench.feed(Input::Tick);
    bench.run(999);
    assert_eq!(bench.events(), ["+tilt #tilt mode entered"]);
    bench.ask_for_vote(PEER_A, 1);
    bench.run(10);
    let events = bench.event_names();
    assert!(events.contains(&"-tilt".to_owned()) && events.contains(&"+sdown".to_owned()), "{events:?}");
}

/// beyond.md B7, failover.md 189
#[test]
fn a_step_of_the_wall_clock_changes_nothing() {
    for step in [3_600_000, -500_000] {
        let mut bench = Bench::with_peers();
        bench.wall_step = step;
        bench.run(40_000);
        let told = bench.logs().iter().filter(|line| line.starts_with("The wall clock was set")).count();
        assert_eq!(told, 1);
        assert_eq!(bench.events(), Vec::<String>::new());
        bench.node.policies = Policies::stock();
        bench.wall_step = 0;
        bench.run(1_100);
        assert_eq!(bench.event_names(), ["+tilt"]);
    }
}
