//! Votes given and asked for.

use super::*;
use crate::sentinel::policy::Election;

/// failover.md 134, I5: an own vote that is not on disk elects nobody.
#[test]
fn does_not_lead_before_its_own_vote_is_durable() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.disk_answers = false;
    bench.kill(MASTER);
    bench.run(3_000);
    let events = bench.event_names();
    assert!(events.contains(&"+try-failover".to_owned()));
    assert!(!events.contains(&"+elected-leader".to_owned()), "{events:?}");
    let rev = bench.monitor.rev;
    bench.disk_answers = true;
    bench.feed(Input::Durable(rev));
    assert!(bench.event_names().contains(&"+elected-leader".to_owned()));
}

/// failover.md 118, 119, 120, 121, 124
#[test]
fn grants_one_vote_per_epoch_and_only_from_disk() {
    let mut bench = Bench::with_peers();
    bench.disk_answers = false;
    bench.ask_for_vote(PEER_A, 3);
    bench.ask_for_vote(PEER_B, 3);
    assert_eq!(bench.answers(), []);
    let rev = bench.monitor.rev;
    bench.feed(Input::Durable(rev));
    assert_eq!(bench.answers(), [vote_answer(false, Some(PEER_A), 3), vote_answer(false, Some(PEER_A), 3)]);
    assert_eq!(bench.events(), ["+new-epoch 3".to_owned(), format!("+vote-for-leader {PEER_A} 3")]);
    bench.ask_for_vote(PEER_B, 2);
    bench.ask_for_vote(PEER_B, 3);
    assert_eq!(bench.answers(), [vote_answer(false, Some(PEER_A), 3), vote_answer(false, Some(PEER_A), 3)]);
    assert_eq!(bench.events(), Vec::<String>::new());
    let restarted = Bench::with(|record, _| *record = bench.monitor.record());
    assert_eq!(restarted.monitor.ledger.vote(), (None, Epoch(3)));
}

/// beyond.md B5: attempts for other masters have moved the current epoch past the one that is asked in. With stock's
/// elections that costs the vote.
#[test]
fn attempts_for_other_masters_take_no_vote_away() {
    let mut bench = Bench::with_peers();
    bench.epoch.observe(Epoch(9));
    bench.ask_for_vote(PEER_A, 3);
    assert_eq!(bench.answers(), [vote_answer(false, Some(PEER_A), 3)]);
    bench.ask_for_vote(PEER_B, 3);
    assert_eq!(bench.answers()[1], vote_answer(false, Some(PEER_A), 3));

    // Another master of ours was at this address, and somebody has our vote about it.
    bench.epoch.note_vote(Epoch(5), &Addr::new("127.0.0.1", 6379), &RunId::from(PEER_A));
    bench.ask_for_vote(PEER_B, 5);
    assert_eq!(bench.answers()[2], vote_answer(false, Some(PEER_A), 3));

    let mut stock = Bench::with(|_, node| node.policies.defaults.election = Election::Stock);
    stock.epoch.observe(Epoch(9));
    stock.ask_for_vote(PEER_A, 3);
    assert_eq!(stock.answers(), [vote_answer(false, None, 0)]);
}

/// failover.md 128, R9
#[test]
fn refuses_a_vote_that_cannot_be_saved() {
    let mut bench = Bench::with_peers();
    bench.disk_works = false;
    bench.ask_for_vote(PEER_A, 3);
    assert_eq!(bench.answers(), [vote_answer(false, None, 0)]);
    bench.disk_works = true;
    bench.ask_for_vote(PEER_B, 3);
    assert_eq!(bench.answers()[1], vote_answer(false, None, 3), "the first may be on disk after all");
    assert!(!bench.event_names().contains(&"+vote-for-leader".to_owned()));
}

/// failover.md 204, I18: an attempt that cannot be saved is not repeated, so that the votes of the others are free for
/// those who can save; once a save works it runs again.
#[test]
fn does_not_stand_for_election_while_it_cannot_save() {
    let mut bench = Bench::with_peers();
    bench.disk_works = false;
    bench.kill(MASTER);
    bench.run(60_000);
    let saves = bench.seen.iter().filter_map(|seen| match seen {
        Output::Persist { rev, .. } => Some(*rev),
        _ => None,
    });
    let newest = saves.max().expect("it tried to save");
    let tries = |bench: &mut Bench| bench.event_names().iter().filter(|name| *name == "+try-failover").count();
    assert_eq!(tries(&mut bench), 1);
    bench.disk_works = true;
    bench.feed(Input::Durable(newest));
    bench.run(1_000);
    assert!(tries(&mut bench) >= 1, "it runs as soon as it can save");
}

/// failover.md 108, 127, R6
#[test]
fn refuses_strange_vote_requests() {
    let mut bench = Bench::with_peers();
    bench.ask_for_vote(PEER_A, u64::MAX);
    assert_eq!(bench.answers(), [vote_answer(false, None, 0)]);
    assert_eq!(bench.epoch.current(), Epoch(0));
    let (from, addr) = (ReplyToken(2), Addr::new("127.0.0.1", 1));
    bench.feed(Input::VoteRequest { from, addr, epoch: Epoch(9), candidate: RunId::from(PEER_A) });
    assert_eq!(bench.answers()[1], vote_answer(false, None, 0));
    assert_eq!(bench.epoch.current(), Epoch(0));
}

/// failover.md 140, 136, and 12.3 S12, S13: without a majority an attempt ends at once, and the next follows soon.
#[test]
fn gives_up_an_election_that_cannot_be_won() {
    let mut bench = Bench::with_peers();
    bench.opinions.insert(RunId::from(PEER_A), (true, Some(RunId::from(PEER_A)), Epoch(1)));
    bench.opinions.insert(RunId::from(PEER_B), (true, Some(RunId::from(PEER_B)), Epoch(1)));
    bench.kill(MASTER);
    bench.run(1_100);
    let events = bench.event_names();
    assert!(events.contains(&"-failover-abort-not-elected".to_owned()), "{events:?}");
    bench.elect_me(2);
    bench.run(600);
    assert!(bench.event_names().contains(&"+elected-leader".to_owned()));
}

/// failover.md 130, 131: who has voted for another lets it work.
#[test]
fn a_voter_waits_for_the_leader_it_voted_for() {
    let mut bench = Bench::with_peers();
    bench.kill(MASTER);
    bench.run(900);
    bench.ask_for_vote(PEER_A, 1);
    bench.run(11_000);
    let delays = bench.seen.iter().filter(|output| matches!(output, Output::NextFailoverDelay { .. })).count();
    assert_eq!(delays, 1);
    assert!(!bench.event_names().contains(&"+try-failover".to_owned()));
    bench.run(3_000);
    assert!(bench.event_names().contains(&"+try-failover".to_owned()));
}

/// beyond.md B5: who asks again has given up; who knows a replica stands itself, and who knows none votes again.
#[test]
fn a_candidate_that_asks_again_is_overtaken_by_who_knows_a_replica() {
    let asked_twice = |knows_a_replica: bool| {
        let mut bench = Bench::with_peers();
        if !knows_a_replica {
            bench.kill(REPLICA);
            bench.kill(OTHER_REPLICA);
            bench.run(2_000);
        }
        bench.kill(MASTER);
        bench.run(900);
        bench.ask_for_vote(PEER_A, 1);
        bench.run(1_000);
        bench.ask_for_vote(PEER_A, 2);
        bench.run(1_000);
        let answer = bench.answers().last().cloned();
        (answer, bench.event_names().contains(&"+try-failover".to_owned()))
    };
    assert_eq!(asked_twice(true), (Some(vote_answer(true, Some(PEER_A), 1)), true));
    assert_eq!(asked_twice(false), (Some(vote_answer(true, Some(PEER_A), 2)), false));
}

/// beyond.md B5: a master that was well meanwhile has failed anew, and who asked for votes then does not ask again.
#[test]
fn a_candidate_of_another_failure_is_voted_for() {
    let mut bench = Bench::with_peers();
    bench.kill(MASTER);
    bench.run(900);
    bench.ask_for_vote(PEER_A, 1);
    bench.dead.remove(MASTER);
    bench.run(14_000);
    bench.kill(MASTER);
    bench.run(1_010);
    bench.ask_for_vote(PEER_A, 2);
    bench.run(100);
    assert_eq!(bench.answers().last(), Some(&vote_answer(true, Some(PEER_A), 2)));
}

/// beyond.md B5: whose turn is not the first waits longer for those before where the process is late with everything.
#[test]
fn a_turn_lasts_longer_where_steps_are_late() {
    let waited = |late: u64| {
        let mut bench = Bench::with_peers();
        for peer in [PEER_A, PEER_B] {
            bench.opinions.insert(RunId::from(peer), (true, None, Epoch(0)));
        }
        bench.kill(MASTER);
        bench.run(1_000);
        (0..1_000).for_each(|_| bench.lateness.note(late));
        bench.seen.clear();
        let odown_at = bench.now;
        while !bench.event_names().contains(&"+try-failover".to_owned()) {
            bench.run(1);
        }
        bench.now - odown_at
    };
    assert!((1..=50).contains(&waited(0)), "{}", waited(0));
    assert!((190..=260).contains(&waited(100)), "{}", waited(100));
}
