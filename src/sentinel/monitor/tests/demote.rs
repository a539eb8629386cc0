//! The old master after our failover (beyond.md B8).

use super::*;
use crate::sentinel::policy::{FastDemote, MasterPolicy, Policies};

fn replid(letter: char) -> String {
    format!("master_replid:{}", letter.to_string().repeat(40))
}

/// We have replaced the master, which is dead; its data was of history `m`, its successor's is of history `n`.
fn replaced() -> Bench {
    let mut bench = Bench::with_peers();
    bench.servers.get_mut(MASTER).expect("there").more = vec![replid('a'), "db0:keys=5,expires=0".to_owned()];
    bench.run(11_000);
    bench.elect_me(1);
    let promoted = bench.servers.get_mut(REPLICA).expect("there");
    (promoted.offset, promoted.more) = (11, vec![replid('b')]);
    bench.kill(MASTER);
    bench.run(2_500);
    assert_eq!(bench.monitor.record().addr.port, 6380);
    bench.seen.clear();
    bench
}

/// We have promoted another, and a replica does not follow it yet.
fn reconfiguring() -> Bench {
    let mut bench = Bench::with_peers();
    bench.servers.get_mut(OTHER_REPLICA).expect("there").obeys = false;
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.elect_me(1);
    bench.kill(MASTER);
    bench.run(1_500);
    assert!(matches!(bench.monitor.failover.state, FailoverState::ReconfReplicas { .. }));
    bench.seen.clear();
    bench
}

/// The peers say hello, and the old master is back and says `more`. What it is sent within a second.
fn comes_back(bench: &mut Bench, run_id: char, more: Vec<String>) -> Vec<String> {
    for (peer, port) in [(PEER_A, 26380), (PEER_B, 26381)] {
        bench.hello(peer, port, 1, 6380, 1);
    }
    bench.dead.remove(MASTER);
    let server = bench.servers.get_mut(MASTER).expect("there");
    (server.run_id, server.more) = (run_id, more);
    bench.run(1_000);
    bench.sent_to(MASTER)
}

fn is_demoted(sent: &[String]) -> bool {
    sent.iter().any(|command| command == "SLAVEOF 127.0.0.1 6380")
}

const DATA: &str = "db0:keys=5,expires=0";

/// beyond.md B8: what is known to be ours is told at its first INFO, and what may be somebody else's is not.
#[test]
fn an_old_master_is_told_at_its_first_info_if_its_data_is_ours() {
    let was = |letter: char| format!("master_replid2:{}", letter.to_string().repeat(40));
    let data = DATA.to_owned();
    assert!(is_demoted(&comes_back(&mut replaced(), 'm', vec![replid('a'), data.clone()])), "the same process");
    assert!(
        is_demoted(&comes_back(&mut replaced(), 'x', vec![replid('c'), was('a'), data.clone()])),
        "from an RDB file"
    );
    assert!(is_demoted(&comes_back(&mut replaced(), 'x', vec![replid('c')])), "empty");
    let unknown = comes_back(&mut replaced(), 'x', vec![replid('c'), data.clone()]);
    assert!(unknown.contains(&"INFO".to_owned()) && !is_demoted(&unknown), "{unknown:?}");
    let promoted_again = comes_back(&mut replaced(), 'm', vec![replid('c'), was('b'), data]);
    assert!(!is_demoted(&promoted_again), "it has had its successor's data: {promoted_again:?}");
}

/// beyond.md B8
#[test]
fn stock_leaves_an_old_master_alone_for_eight_seconds() {
    let mut bench = replaced();
    let stock = MasterPolicy { fast_demote: FastDemote::Stock, ..MasterPolicy::default() };
    bench.node.policies = Policies { defaults: stock, ..Policies::default() };
    assert!(!is_demoted(&comes_back(&mut bench, 'm', vec![replid('a')])));
    bench.run(9_000);
    assert!(is_demoted(&bench.sent_to(MASTER)));
}

/// beyond.md B8: it need not be there at the moment of the promotion, nor does the end of the failover have to be waited for.
#[test]
fn an_old_master_that_is_back_during_the_reconfiguration_is_told() {
    let mut bench = reconfiguring();
    assert!(is_demoted(&comes_back(&mut bench, 'x', Vec::new())));
    assert!(matches!(bench.monitor.failover.state, FailoverState::ReconfReplicas { .. }));
}

/// beyond.md B8: that the old master is master during our reconfiguration may be another leader's newer failover.
#[test]
fn an_old_master_that_another_leader_may_have_promoted_again_is_left_alone() {
    let mut voted = reconfiguring();
    voted.ask_for_vote(PEER_A, 2);
    assert!(!is_demoted(&comes_back(&mut voted, 'x', Vec::new())), "our vote is for another leader");
    let mut replaced = reconfiguring();
    replaced.servers.get_mut(REPLICA).expect("there").role = Role::Replica;
    replaced.run(1_500);
    assert!(!is_demoted(&comes_back(&mut replaced, 'x', Vec::new())), "the one that we promoted is a replica again");
}

/// beyond.md B8: two leaders in a row promoted the same replica, and either may be the one that is left to do it.
#[test]
fn an_old_master_is_told_by_a_leader_that_was_overtaken_with_the_same_master() {
    for mut bench in [replaced(), reconfiguring()] {
        bench.hello(PEER_A, 26380, 2, 6380, 2);
        assert_eq!((bench.monitor.record().addr.port, bench.monitor.record().config_epoch), (6380, Epoch(2)));
        assert!(is_demoted(&comes_back(&mut bench, 'm', vec![replid('a'), DATA.to_owned()])));
    }
    let mut another = replaced();
    another.hello(PEER_A, 26380, 2, 6381, 2);
    another.hello(PEER_A, 26380, 3, 6380, 3);
    assert!(!is_demoted(&comes_back(&mut another, 'm', vec![replid('a'), DATA.to_owned()])), "others led since");
}
