//! Who is down, who is asked, and who is corrected.

use super::*;

/// failover.md 92, 97, 104, 112, 113: the very millisecond.
#[test]
fn a_killed_master_is_down_after_its_time() {
    let mut bench = Bench::with(|record, _| record.spec.quorum = 1);
    bench.run(5_300);
    bench.events();
    bench.kill(MASTER);
    bench.run(1_000);
    assert_eq!(bench.events(), Vec::<String>::new());
    bench.run(1);
    let events = bench.event_names();
    assert_eq!(events[..4], ["+sdown", "+odown", "+new-epoch", "+try-failover"]);
}

/// failover.md 92, 12.3 S3: also when the connection was opened so lately that the next attempt has to wait.
#[test]
fn the_down_clock_starts_when_the_connection_breaks() {
    let mut bench = Bench::new();
    bench.run(100);
    bench.events();
    bench.kill(MASTER);
    bench.run(1_000);
    assert_eq!(bench.events(), Vec::<String>::new());
    bench.run(1);
    assert_eq!(bench.event_names(), ["+sdown"]);
}

/// failover.md 45, 105, 12.3 S4: eager at first, then once a second.
#[test]
fn asks_peers_eagerly_but_within_bounds() {
    let mut bench = Bench::with_peers();
    bench.opinions.insert(RunId::from(PEER_A), (false, None, Epoch(0)));
    bench.opinions.insert(RunId::from(PEER_B), (false, None, Epoch(0)));
    bench.kill(MASTER);
    let asks = |bench: &mut Bench, ms| {
        bench.seen.clear();
        bench.run(ms);
        let asks = bench.seen.iter().filter(|output| matches!(output, Output::SendPeer { tag: Tag::Ask, .. })).count();
        asks / 2
    };
    assert_eq!(asks(&mut bench, 1_000), 0);
    let first_second = asks(&mut bench, 1_001);
    assert!((10..=16).contains(&first_second), "{first_second}");
    assert!((9..=11).contains(&asks(&mut bench, 10_000)));
}

/// failover.md 63, 65: a replica in the master's role is corrected after 8 s, and not at its next INFO after that.
#[test]
fn converts_a_returned_master_after_eight_seconds() {
    let mut bench = Bench::with_peers();
    bench.run(20_000);
    bench.servers.get_mut(REPLICA).expect("there").role = Role::Master;
    bench.run(10_000);
    let seen_at = bench.now;
    assert!(bench.event_names().contains(&"-role-change".to_owned()));
    while !bench.event_names().contains(&"+convert-to-slave".to_owned()) {
        bench.run(10);
        assert!(bench.now - seen_at <= 8_100, "not converted");
    }
    assert_eq!(bench.servers[REPLICA].role, Role::Replica);
}

/// failover.md 66
#[test]
fn fixes_a_replica_of_another_master_after_the_failover_timeout() {
    let mut bench = Bench::with_peers();
    bench.run(20_000);
    bench.servers.get_mut(REPLICA).expect("there").master_port = 7000;
    bench.run(10_100);
    assert!(!bench.event_names().contains(&"+fix-slave-config".to_owned()));
    bench.run(10_100);
    assert!(bench.event_names().contains(&"+fix-slave-config".to_owned()));
    assert_eq!(bench.servers[REPLICA].master_port, 6379);
}

/// failover.md 182, 183, 185, 187, I14
#[test]
fn a_stall_suspends_judgement() {
    let mut bench = Bench::with_peers();
    bench.node.policies = Policies::stock();
    bench.kill(MASTER);
    bench.now += 3_500;
    bench.feed(Input::Tick);
    assert_eq!(bench.events(), ["+tilt #tilt mode entered"]);
    bench.run(29_000);
    assert_eq!(bench.events(), Vec::<String>::new());
    bench.ask_for_vote(PEER_A, 1);
    assert_eq!(bench.answers(), [vote_answer(false, Some(PEER_A), 1)]);
    bench.events();
    bench.run(1_500);
    let events = bench.event_names();
    assert_eq!(events[..3], ["-tilt", "+sdown", "+odown"]);
}
