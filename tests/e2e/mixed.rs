//! Sentinels of both kinds watch the same master (failover.md 198, 200; commands.md 226).
//!
//! Once each; `MIXED_RUNS=20`, which `make mixed` sets, repeats every case that often.

use std::time::Instant;

use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::resp::Value;
use crate::support::wait::{seconds, wait_until};

#[test]
fn two_stock_and_one_of_ours_led_by_stock() {
    led_by_the_first(&[Kind::Stock, Kind::Stock, Kind::under_test()]);
}

#[test]
fn two_stock_and_one_of_ours_led_by_ours() {
    led_by_the_first(&[Kind::under_test(), Kind::Stock, Kind::Stock]);
}

#[test]
fn one_stock_and_two_of_ours_led_by_stock() {
    led_by_the_first(&[Kind::Stock, Kind::under_test(), Kind::under_test()]);
}

#[test]
fn one_stock_and_two_of_ours_led_by_ours() {
    led_by_the_first(&[Kind::under_test(), Kind::Stock, Kind::under_test()]);
}

/// As often as asked for, each time with new processes.
fn led_by_the_first(kinds: &[Kind]) {
    let runs = std::env::var("MIXED_RUNS").map_or(1, |runs| runs.parse::<u32>().expect("MIXED_RUNS is a number"));
    for run in 1..=runs {
        led_once(&mixed(kinds));
        println!("{kinds:?}: {run} of {runs}");
    }
}

/// Sentinels of these kinds, of which only the first ever stands for election: the others have a quorum that three
/// Sentinels cannot reach. They detect, confirm, vote and follow.
pub(crate) fn mixed(kinds: &[Kind]) -> Plan {
    let quorum = |place: usize| if place == 0 { 2 } else { 4 };
    let sentinels = kinds.iter().enumerate().map(|(place, &kind)| (kind, quorum(place))).collect();
    Plan { sentinels, ..Plan::three(Kind::Stock) }
}

/// The first is elected by the others and fails over; then the last does, on command. Returns what still runs then.
pub(crate) fn led_once(plan: &Plan) -> Cluster {
    let kinds: Vec<Kind> = plan.sentinels.iter().map(|(kind, _)| *kind).collect();
    let mut cluster = Cluster::start(plan);
    let old = cluster.first_master();
    let start = Instant::now();
    cluster.group().at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("mymaster", old, seconds(40));
    cluster.wait_until_settled(&cluster.groups[0], new);

    assert_eq!(cluster.leader(start, "mymaster"), Some(0));
    let [leader, followers @ ..] = &cluster.sentinels[..] else { unreachable!("there are three") };
    let odown = leader.events.find(start, &format!("+odown master mymaster 127.0.0.1 {old} #quorum ")).expect("ODOWN");
    assert!(odown.payload.ends_with("2/2") || odown.payload.ends_with("3/2"), "{odown:?}");
    let vote = format!("+vote-for-leader {} 1", leader.myid());
    let voters = followers.iter().filter(|follower| follower.events.find(start, &vote).is_some()).count();
    assert!(voters >= 1, "somebody of {kinds:?} voted for the leader");
    for follower in followers {
        let update = format!("+config-update-from sentinel {} ", leader.myid());
        assert!(
            follower.events.find(start, &update).is_some(),
            "{:?} adopts the leader's configuration",
            follower.kind
        );
    }

    let last = cluster.sentinels.last().expect("there are three");
    wait_until(seconds(10), "the last knows whom it can promote", || {
        let is_fit = |replica: &Value| {
            replica.field("flags") == Some("slave") && replica.field("master-link-status") == Some("ok")
        };
        last.replicas("mymaster").iter().any(is_fit)
    });
    let again = Instant::now();
    let reply = last.call(&["SENTINEL", "FAILOVER", "mymaster"]).expect("it answers");
    assert_eq!(reply, Value::Simple("OK".to_owned()));
    let newer = cluster.wait_for_new_master("mymaster", new, seconds(20));
    cluster.wait_until_settled(&cluster.groups[0], newer);
    assert_eq!(cluster.leader(again, "mymaster"), Some(2));
    for sentinel in &cluster.sentinels {
        assert_eq!(sentinel.master("mymaster", "config-epoch").as_deref(), Some("2"), "{:?}", sentinel.kind);
    }
    cluster
}
