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

/// failover.md 182, R16: among many masters a step may be late by seconds while others step. That is no stall.
#[test]
fn a_step_that_waits_for_its_turn_is_no_stall() {
    let mut bench = Bench::with_peers();
    bench.events();
    for _ in 0..4 {
        bench.now += 1_000;
        bench.tilt.step(Millis(bench.now), bench.node.periods.tilt_trigger);
    }
    bench.feed(Input::Tick);
    assert_eq!(bench.events(), Vec::<String>::new());
}

/// failover.md 12.3, S4: what a peer says of an address counts for that one only, also if it says it when there is another.
#[test]
fn a_late_word_about_the_old_master_is_none_about_the_new_one() {
    let mut bench = Bench::with_peers();
    let peer = RunId::from(PEER_B);
    bench.opinions.remove(&peer);
    let says = |bench: &mut Bench| {
        let value = Reply::Array([Reply::Integer(1), Reply::Bulk(b"*"[..].into()), Reply::Integer(0)].into());
        bench.feed(Input::PeerReply { peer: peer.clone(), tag: Tag::Ask, value });
        bench.monitor.sentinels[&peer].opinion.master_down
    };
    bench.kill(MASTER);
    bench.run(1_100);
    let is_question = |output: &&Output| matches!(output, Output::SendPeer { peer: to, .. } if *to == peer);
    let questions = bench.seen.iter().filter(is_question).count();
    assert!(questions >= 1 && bench.event_names().contains(&"+odown".to_owned()));
    bench.hello(PEER_A, 26380, 9, 6380, 9);
    assert!(bench.event_names().contains(&"+switch-master".to_owned()));
    for _ in 0..questions {
        assert!(!says(&mut bench), "it was asked about the old one");
    }
    bench.kill(REPLICA);
    bench.run(1_100);
    assert!(says(&mut bench), "it was asked about the new one");
}

/// failover.md 12.3, S4: where the process is late with everything, what nobody waits for is done less often.
#[test]
fn a_process_that_is_late_asks_less_often() {
    let sent_while = |late: u64| {
        let mut bench = Bench::with_peers();
        bench.opinions.clear();
        bench.kill(MASTER);
        bench.run(3_000);
        for _ in 0..1_000 {
            bench.lateness.note(late);
        }
        bench.seen.clear();
        // Its own steps are on time, so others have to go on being late.
        for _ in 0..100 {
            bench.run(100);
            (0..100).for_each(|_| bench.lateness.note(late));
        }
        let count = |is_it: &dyn Fn(&Output) -> bool| bench.seen.iter().filter(|output| is_it(output)).count();
        let asks = count(&|output| matches!(output, Output::SendPeer { tag: Tag::Ask, .. }));
        let attempts = count(&|output| matches!(output, Output::Connect { addr, .. } if addr.to_string() == MASTER));
        let infos = bench.sent_to(REPLICA).iter().filter(|command| command.starts_with("INFO")).count();
        [asks, attempts, infos]
    };
    let (on_time, late) = (sent_while(0), sent_while(500));
    for (on_time, late) in on_time.into_iter().zip(late) {
        assert!(9 <= on_time && late * 19 / 10 <= on_time && 4 <= late, "{on_time} and {late}");
    }
}
