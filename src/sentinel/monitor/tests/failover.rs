//! The failover of a leader, step by step.

use super::*;

/// failover.md 144, 155, 157, 165, 166, 167, 194 and 12.1: the leader's events, in order.
#[test]
fn the_leader_fails_over_in_stock_s_order() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(2_000);
    let events = bench.events();
    let at = "@ mymaster 127.0.0.1 6379";
    let replica = format!("slave 127.0.0.1:6380 127.0.0.1 6380 {at}");
    let other = format!("slave 127.0.0.1:6381 127.0.0.1 6381 {at}");
    let master = "master mymaster 127.0.0.1 6379";
    let expected = [
        format!("+sdown {master}"),
        format!("+odown {master} #quorum 2/2"),
        "+new-epoch 1".to_owned(),
        format!("+try-failover {master}"),
        format!("+vote-for-leader {ME} 1"),
        format!("+elected-leader {master}"),
        format!("+failover-state-select-slave {master}"),
        format!("+selected-slave {replica}"),
        format!("+failover-state-send-slaveof-noone {replica}"),
        format!("+failover-state-wait-promotion {replica}"),
        format!("-role-change {replica} new reported role is master"),
        format!("+promoted-slave {replica}"),
        format!("+failover-state-reconf-slaves {master}"),
        format!("+slave-reconf-sent {other}"),
        format!("+slave-reconf-inprog {other}"),
        format!("+slave-reconf-done {other}"),
        format!("+failover-end {master}"),
        "+switch-master mymaster 127.0.0.1 6379 127.0.0.1 6380".to_owned(),
        "+slave slave 127.0.0.1:6379 127.0.0.1 6379 @ mymaster 127.0.0.1 6380".to_owned(),
        "+slave slave 127.0.0.1:6381 127.0.0.1 6381 @ mymaster 127.0.0.1 6380".to_owned(),
    ];
    assert_eq!(events[..expected.len()], expected);
    let record = bench.monitor.record();
    assert_eq!((record.addr.port, record.config_epoch, record.leader_epoch), (6380, Epoch(1), Epoch(1)));
    assert_eq!(record.sentinels.len(), 2);
}

/// failover.md 12.3, S17: the down clocks of servers whose connections are kept start anew with the switch. They are asked
/// in the same moment: a process that is busy may come to it again when it is too late for them.
#[test]
fn everybody_is_pinged_with_the_switch() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.kill(MASTER);
    bench.run(2_000);
    let is_switch = |output: &Output| matches!(output, Output::Emit(event) if event.kind == EventKind::SwitchMaster);
    let step = bench.seen.iter().skip_while(|output| !is_switch(output));
    let step = step.take_while(|output| !matches!(output, Output::WakeAt(_)));
    let is_ping = |output: &&Output| matches!(output, Output::Send { command: Command::Ping, .. });
    assert_eq!(step.filter(is_ping).count(), 2, "all but the old master, which is not connected");
}

/// failover.md 151, 12.3 S8: the transaction, and INFO in the same write.
#[test]
fn promotes_with_one_transaction() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(1_500);
    let sent = bench.sent_to(REPLICA);
    let start = sent.iter().position(|command| command == "MULTI").expect("a transaction");
    let expected = [
        "MULTI",
        "SLAVEOF NO ONE",
        "CONFIG REWRITE",
        "CLIENT KILL TYPE normal",
        "CLIENT KILL TYPE pubsub",
        "EXEC",
        "INFO",
    ];
    assert_eq!(sent[start..start + 7], expected);
}

/// failover.md I5, 155: the promotion is told to nobody before it is on disk.
#[test]
fn announces_a_promotion_only_once_it_is_durable() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.kill(MASTER);
    bench.run(500);
    bench.disk_answers = false;
    bench.run(600);
    let vote = bench.monitor.rev;
    bench.feed(Input::Durable(vote));
    bench.run(1_000);
    assert_eq!(bench.monitor.view(&bench.env()).current_port, 6379);
    assert_ne!(bench.monitor.record().addr.port, 6379, "what is being saved is the new address");
    let announced = |bench: &Bench| {
        bench.seen.iter().any(|output| {
            matches!(output, Output::SendPeer { command: Command::PublishHello(text), .. } if text.ends_with(",1"))
        })
    };
    assert!(!announced(&bench));
    let rev = bench.monitor.rev;
    bench.feed(Input::Durable(rev));
    assert!(announced(&bench));
    assert!(bench.event_names().contains(&"+promoted-slave".to_owned()));
}

/// failover.md 161, R1: a stuck replica does not hold up the rest, also with parallel-syncs 1.
#[test]
fn gives_up_a_stuck_replica() {
    let mut bench = Bench::with_peers();
    bench.admin(AdminRequest::Set(vec![SetOption {
        shown: "failover-timeout 60000".to_owned(),
        change: SpecChange::FailoverTimeout(60_000),
    }]));
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.servers.get_mut(OTHER_REPLICA).expect("there").obeys = false;
    bench.kill(MASTER);
    bench.run(9_000);
    assert!(!bench.event_names().contains(&"+failover-end".to_owned()));
    bench.run(3_000);
    let events = bench.event_names();
    assert_eq!(events[..2], ["-slave-reconf-sent-timeout", "+failover-end"]);
}

/// failover.md 164, R2: the promoted replica dies while the others are reconfigured.
#[test]
fn ends_when_the_promoted_replica_dies() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.servers.get_mut(OTHER_REPLICA).expect("there").obeys = false;
    bench.kill(MASTER);
    bench.run(1_200);
    assert!(bench.event_names().contains(&"+promoted-slave".to_owned()));
    bench.kill(REPLICA);
    bench.run(1_100);
    let events = bench.event_names();
    assert!(
        events.contains(&"+failover-end".to_owned()) && events.contains(&"+switch-master".to_owned()),
        "{events:?}"
    );
}

/// failover.md 145
#[test]
fn aborts_without_a_fit_replica() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    bench.kill(REPLICA);
    bench.kill(OTHER_REPLICA);
    bench.kill(MASTER);
    bench.run(2_000);
    let events = bench.event_names();
    assert!(events.contains(&"-failover-abort-no-good-slave".to_owned()), "{events:?}");
}

/// failover.md 153, 154: an EXEC that was answered proves nothing.
#[test]
fn waits_for_the_role_and_not_for_exec() {
    let mut bench = Bench::with_peers();
    bench.elect_me(1);
    for replica in [REPLICA, OTHER_REPLICA] {
        bench.servers.get_mut(replica).expect("there").obeys = false;
    }
    bench.kill(MASTER);
    bench.run(6_900);
    let events = bench.event_names();
    assert!(events.contains(&"+failover-state-wait-promotion".to_owned()));
    assert!(!events.contains(&"+promoted-slave".to_owned()));
    bench.run(300);
    assert!(bench.event_names().contains(&"-failover-abort-slave-timeout".to_owned()));
}

/// config.md 213; failover.md 88, 156: clients are led once, whoever led the failover, and from the moment at which the
/// promotion is certain.
#[test]
fn clients_are_led_to_the_new_master_once() {
    let scripts = |bench: &Bench| -> Vec<String> {
        let words = |output: &Output| match output {
            Output::Script(job) => Some(job.argv.join(" ")),
            _ => None,
        };
        bench.seen.iter().filter_map(words).collect()
    };
    let with_script = || {
        let mut bench = Bench::with_peers();
        let change = SpecChange::ClientReconfigScript(Some("/lead".to_owned()));
        bench.admin(AdminRequest::Set(vec![SetOption { shown: "client-reconfig-script /lead".to_owned(), change }]));
        bench.servers.get_mut(REPLICA).expect("there").offset = 11;
        bench
    };
    let switch = |part: &str| format!("/lead mymaster {part} start 127.0.0.1 6379 127.0.0.1 6380");

    let mut leader = with_script();
    leader.elect_me(1);
    leader.kill(MASTER);
    leader.run(2_000);
    assert_eq!(scripts(&leader), [switch("leader")]);
    assert!(leader.event_names().contains(&"+failover-end".to_owned()));

    let mut observer = with_script();
    observer.hello(PEER_A, 26380, 1, 6380, 1);
    assert_eq!(scripts(&observer), [switch("observer")]);

    // RESET forgets a failover whose promotion was reported and is not on disk yet.
    let mut reset = with_script();
    reset.elect_me(1);
    reset.kill(MASTER);
    reset.run(500);
    reset.disk_answers = false;
    reset.run(600);
    reset.feed(Input::Durable(reset.monitor.rev));
    reset.run(1_000);
    assert_eq!(scripts(&reset), Vec::<String>::new());
    reset.admin(AdminRequest::Reset);
    assert_eq!(scripts(&reset), [switch("leader")]);
    assert!(reset.event_names().contains(&"+switch-master".to_owned()));
}

/// failover.md 192; config.md 211, 212: whatever is a warning about this master, and nothing else.
#[test]
fn warnings_run_the_notification_script() {
    let mut bench = Bench::with_peers();
    let change = SpecChange::NotificationScript(Some("/note".to_owned()));
    bench.admin(AdminRequest::Set(vec![SetOption { shown: "notification-script /note".to_owned(), change }]));
    bench.elect_me(1);
    bench.kill(MASTER);
    bench.run(2_000);
    let words = |output: &Output| match output {
        Output::Script(job) => Some(job.argv[1..].join(" ")),
        _ => None,
    };
    let told: Vec<String> = bench.seen.iter().filter_map(words).collect();
    let warning = |output: &Output| match output {
        Output::Emit(event) if event.kind.level() == Level::Warning => Some(event.to_string()),
        _ => None,
    };
    let expected: Vec<String> = bench.seen.iter().filter_map(warning).collect();
    assert_eq!(told, expected);
    assert!(told.iter().any(|line| line.starts_with("+switch-master")) && told[0].starts_with("+set"));
}
