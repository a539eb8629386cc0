//! Replicas and peers as they are found, and configurations as they are heard of.

use super::*;

/// failover.md 49, 53, 10
#[test]
fn discovers_replicas_once() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.events(),
        [
            "+slave slave 127.0.0.1:6380 127.0.0.1 6380 @ mymaster 127.0.0.1 6379",
            "+slave slave 127.0.0.1:6381 127.0.0.1 6381 @ mymaster 127.0.0.1 6379",
        ]
    );
    bench.run(25_000);
    assert_eq!(bench.events(), Vec::<String>::new());
}

/// failover.md 74, 81, 87, R8: I13, I19.
#[test]
fn refuses_strange_hellos_whole() {
    let mut bench = Bench::with_peers();
    bench.hello(ME, 26399, 5, 6380, 5);
    bench.hello(PEER_A, 26380, u64::MAX, 6380, 5);
    bench.hello(PEER_A, 26380, 5, 6380, u64::MAX);
    let mut hello = Hello::parse(format!("127.0.0.1,26380,{PEER_A},5,mymaster,no-such-host,6380,5").as_bytes());
    bench.feed(Input::Hello(Box::new(hello.clone().expect("well-formed"))));
    hello = hello.map(|hello| Hello { addr: Addr::new("no-such-host", 26380), id: RunId::from("new"), ..hello });
    bench.feed(Input::Hello(Box::new(hello.expect("well-formed"))));
    assert_eq!(bench.events(), Vec::<String>::new());
    assert_eq!((bench.epoch.current(), bench.monitor.record().config_epoch), (Epoch(0), Epoch(0)));
    assert_eq!(bench.monitor.sentinels.len(), 2);
}

/// failover.md 77, 78, 80, 82
#[test]
fn follows_peers_as_they_move() {
    let mut bench = Bench::with_peers();
    bench.hello(PEER_A, 26390, 4, 6379, 0);
    bench.hello("cccc", 26390, 4, 6379, 0);
    let at = "@ mymaster 127.0.0.1 6379";
    assert_eq!(
        bench.events(),
        [
            format!("+sentinel-address-switch master mymaster 127.0.0.1 6379 ip 127.0.0.1 port 26390 for {PEER_A}"),
            "+new-epoch 4".to_owned(),
            format!("+sentinel-invalid-addr sentinel {PEER_A} 127.0.0.1 26390 {at}"),
            format!("+sentinel sentinel cccc 127.0.0.1 26390 {at}"),
        ]
    );
    assert_eq!(bench.monitor.sentinels.len(), 2);
}

/// failover.md 83, 84, 85, I10
#[test]
fn adopts_newer_configurations_only() {
    let mut bench = Bench::with_peers();
    bench.hello(PEER_A, 26380, 2, 6379, 2);
    assert_eq!(bench.events(), ["+new-epoch 2"]);
    bench.hello(PEER_A, 26380, 2, 6380, 2);
    bench.hello(PEER_A, 26380, 2, 6380, 1);
    assert_eq!(bench.events(), Vec::<String>::new());
    bench.hello(PEER_A, 26380, 3, 6381, 3);
    assert_eq!(
        bench.events()[..5],
        [
            "+new-epoch 3".to_owned(),
            format!("+config-update-from sentinel {PEER_A} 127.0.0.1 26380 @ mymaster 127.0.0.1 6379"),
            "+switch-master mymaster 127.0.0.1 6379 127.0.0.1 6381".to_owned(),
            "+slave slave 127.0.0.1:6379 127.0.0.1 6379 @ mymaster 127.0.0.1 6381".to_owned(),
            "+slave slave 127.0.0.1:6380 127.0.0.1 6380 @ mymaster 127.0.0.1 6381".to_owned(),
        ]
    );
}

/// failover.md I9: a newer configuration that names the address we are failing over from replaces the promoted one.
#[test]
fn a_newer_configuration_in_the_middle_replaces_the_announced_address() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(OTHER_REPLICA).expect("there").obeys = false;
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(1_200);
    assert!(matches!(bench.monitor.failover.state, FailoverState::ReconfReplicas { .. }));
    bench.hello(PEER_A, 26380, 2, 6379, 2);
    let record = bench.monitor.record();
    assert_eq!((record.addr.port, record.config_epoch), (6379, Epoch(2)));
    assert_eq!(bench.monitor.current_addr().port, 6379);
    assert_eq!(record.replicas.len(), 2);
}

/// failover.md I3: an attempt that a newer configuration has overtaken ends, even if that names the same address.
#[test]
fn an_overtaken_attempt_announces_nothing() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").obeys = false;
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(1_200);
    assert!(matches!(bench.monitor.failover.state, FailoverState::WaitPromotion { .. }));
    bench.hello(PEER_A, 26380, 2, 6379, 2);
    assert_eq!(bench.monitor.failover.state, FailoverState::Idle);
    bench.servers.get_mut(REPLICA).expect("there").obeys = true;
    bench.run(10_000);
    assert!(bench.monitor.record().config_epoch >= Epoch(2));
}

/// failover.md 84: the newer configuration brings its own host for the same address, and a replica that had it was the
/// master all along.
#[test]
fn a_newer_configuration_renames_the_master() {
    let mut bench = Bench::with(|record, node| {
        (node.resolve_hostnames, node.announce_hostnames) = (true, true);
        record.replicas.push(Addr::new("redis.example", 6379));
    });
    bench.feed(Input::Resolved { host: "redis.example".into(), ip: "127.0.0.1".parse().ok() });
    bench.feed(Input::Hello(Box::new(Hello {
        addr: Addr::new("127.0.0.1", 26380),
        id: RunId::from(PEER_A),
        current_epoch: Epoch(3),
        master: MasterName::from("mymaster"),
        master_addr: Addr::new("redis.example", 6379),
        config_epoch: Epoch(3),
    })));
    let record = bench.monitor.record();
    assert_eq!((&*record.addr.host, record.config_epoch), ("redis.example", Epoch(3)));
    assert!(record.replicas.iter().all(|addr| &*addr.host != "redis.example"), "{:?}", record.replicas);
    assert!(!bench.events().iter().any(|event| event.starts_with("+switch-master")), "it is where it was");
}
