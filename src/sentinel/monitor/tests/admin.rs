//! What an operator does.

use super::*;

/// failover.md 172, 173, 174, 177
#[test]
fn an_operator_s_failover_asks_nobody() {
    let mut bench = Bench::new();
    bench.run(3_000);
    bench.seen.clear();
    bench.disk_answers = false;
    bench.admin(AdminRequest::Failover(FailoverOrder::default()));
    bench.admin(AdminRequest::Failover(FailoverOrder::default()));
    assert_eq!(bench.answers(), [Answer::Ok, Answer::Error("INPROG Failover already in progress".to_owned())]);
    bench.disk_answers = true;
    let rev = bench.monitor.rev;
    bench.feed(Input::Durable(rev));
    bench.run(1_000);
    let events = bench.event_names();
    assert_eq!(events[..4], ["+new-epoch", "+try-failover", "+vote-for-leader", "+elected-leader"]);
    assert!(events.contains(&"+switch-master".to_owned()), "{events:?}");
    assert_eq!(bench.servers[MASTER].role, Role::Replica);
}

/// failover.md 173
#[test]
fn an_operator_s_failover_needs_a_replica() {
    let mut bench = Bench::with(|record, _| record.addr = Addr::new("127.0.0.1", 6380));
    bench.admin(AdminRequest::Failover(FailoverOrder::default()));
    let refusal = Answer::Error("NOGOODSLAVE No suitable replica to promote".to_owned());
    assert_eq!(bench.answers(), [refusal]);
}

/// commands.md 120, 102: `+set` first, then the save, then the answer.
#[test]
fn set_is_answered_once_saved() {
    let mut bench = Bench::with_peers();
    let quorum = |n| AdminRequest::Set(vec![SetOption { shown: format!("quorum {n}"), change: SpecChange::Quorum(n) }]);
    bench.admin(quorum(3));
    assert_eq!(bench.answers(), [Answer::Ok]);
    assert_eq!(bench.events(), ["+set master mymaster 127.0.0.1 6379 quorum 3"]);
    bench.disk_works = false;
    bench.admin(quorum(4));
    assert_eq!(bench.answers(), [Answer::Error(crate::sentinel::monitor::admin::SAVE_FAILED.to_owned())]);
    assert_eq!(bench.monitor.record().spec.quorum, 4);
}

/// failover.md 125, 8.8
#[test]
fn reset_forgets_everything_but_epochs_and_settings() {
    let mut bench = Bench::with_peers();
    bench.ask_for_vote(PEER_A, 3);
    bench.seen.clear();
    bench.admin(AdminRequest::Reset);
    let events = bench.events();
    assert_eq!(events[0], "+reset-master master mymaster 127.0.0.1 6379");
    assert!(events[1].starts_with("+slave "), "replicas are found again: {events:?}");
    assert!(bench.monitor.record().sentinels.is_empty());
    bench.ask_for_vote(PEER_B, 3);
    assert_eq!(bench.answers(), [vote_answer(false, None, 3)]);
}

/// failover.md I9: once a promotion was announced, its epoch names the new address for ever.
#[test]
fn reset_in_the_middle_keeps_the_announced_address() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(OTHER_REPLICA).expect("there").obeys = false;
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(1_200);
    assert!(matches!(bench.monitor.failover.state, FailoverState::ReconfReplicas { .. }));
    bench.events();
    bench.admin(AdminRequest::Reset);
    let events = bench.event_names();
    assert_eq!(events[0], "+switch-master");
    assert!(events.contains(&"+reset-master".to_owned()));
    let record = bench.monitor.record();
    assert_eq!((record.addr.port, record.config_epoch), (6380, Epoch(1)));
}
