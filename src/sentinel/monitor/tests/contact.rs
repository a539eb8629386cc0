//! Connections, their pace, and what counts as a sign of life.

use super::*;

/// failover.md 13, 14, 16, 17, 33
#[test]
fn greets_a_server_as_stock_does() {
    let bench = Bench::new();
    let sent = bench.sent_to(MASTER);
    let expected = [
        "CLIENT SETNAME sentinel-11111111-cmd",
        "PING",
        "INFO",
        "CLIENT SETNAME sentinel-11111111-pubsub",
        "SUBSCRIBE __sentinel__:hello",
    ];
    assert_eq!(sent[..5], expected);
}

/// failover.md 18
#[test]
fn authenticates_with_a_password_only() {
    let greeting = |user: Option<&str>, password: Option<&str>| {
        let bench = Bench::with(|record, _| {
            record.spec.auth_user = user.map(str::to_owned);
            record.spec.auth_pass = password.map(|password| Secret::from(password.as_bytes()));
        });
        bench.sent_to(MASTER)[0].clone()
    };
    assert_eq!(greeting(None, Some("pw")), "AUTH pw");
    assert_eq!(greeting(Some("bob"), Some("pw")), "AUTH bob pw");
    assert_eq!(greeting(Some("bob"), None), "CLIENT SETNAME sentinel-11111111-cmd");
}

/// failover.md 28
#[test]
fn renames_command_words_but_not_subcommands() {
    let bench = Bench::with(|record, _| {
        record.spec.renames.insert("CLIENT".to_owned(), "CLIENTX".to_owned());
        record.spec.renames.insert("INFO".to_owned(), "INFOX".to_owned());
    });
    let sent = bench.sent_to(MASTER);
    assert!(sent.contains(&"CLIENTX SETNAME sentinel-11111111-cmd".to_owned()), "{sent:?}");
    assert!(sent.contains(&"INFOX".to_owned()));
}

/// failover.md 36, 38, 42. The master is sent PING more often than by stock unless there are many (failover.md 12.3, S2).
#[test]
fn keeps_stock_s_pace_with_healthy_servers() {
    for (crowded, master_pings) in [(false, 248..=251), (true, 99..=101)] {
        let mut bench = Bench::with_peers();
        bench.node.crowded = crowded;
        bench.run(1_000);
        bench.seen.clear();
        bench.run(100_000);
        for (port, pings) in [(MASTER, master_pings), (REPLICA, 99..=101)] {
            let sent = bench.sent_to(port);
            let count = |word: &str| sent.iter().filter(|command| command.starts_with(word)).count();
            assert!(pings.contains(&count("PING")), "{}", count("PING"));
            assert!((9..=10).contains(&count("INFO")), "{}", count("INFO"));
            assert!((48..=51).contains(&count("PUBLISH")), "{}", count("PUBLISH"));
        }
    }
}

/// failover.md 12.3, S2: in a crowd periodic work begins at fewer moments, which more masters share.
#[test]
fn a_crowd_works_at_common_times() {
    for (crowded, remainder) in [(false, 20), (true, 0)] {
        let mut bench = Bench::with_peers();
        bench.node.crowded = crowded;
        bench.run(10_000);
        let mut pings = 0;
        for _ in 0..10_000 {
            bench.seen.clear();
            bench.run(1);
            if bench.sent_to(REPLICA).iter().any(|command| command == "PING") {
                assert_eq!(bench.now % 50, remainder);
                pings += 1;
            }
        }
        assert!(pings >= 9, "{pings}");
    }
}

/// failover.md 34
#[test]
fn new_credentials_rebuild_the_links() {
    let mut bench = Bench::with_peers();
    let change = SpecChange::AuthPass(Some(Secret::from(&b"pw"[..])));
    bench.admin(AdminRequest::Set(vec![SetOption { shown: "auth-pass ******".to_owned(), change }]));
    bench.run(1_100);
    assert_eq!(bench.sent_to(MASTER).iter().filter(|command| *command == "AUTH pw").count(), 2);
    assert_eq!(bench.sent_to(REPLICA).iter().filter(|command| *command == "AUTH pw").count(), 2);
}

/// failover.md 94, 95, 96
#[test]
fn only_some_replies_are_signs_of_life() {
    use crate::sentinel::link::PingReply;
    let error = |text: &str| PingReply::of(&Reply::Error(text.as_bytes().into()));
    assert_eq!(PingReply::of(&Reply::Status(b"PONG"[..].into())), PingReply::Pong);
    assert_eq!(error("LOADING Redis is loading"), PingReply::Alive);
    assert_eq!(error("MASTERDOWN Link"), PingReply::Alive);
    assert_eq!(error("BUSY script"), PingReply::Busy);
    for unusable in ["NOAUTH x", "ERR x"] {
        assert_eq!(error(unusable), PingReply::Unusable);
    }
    assert_eq!(PingReply::of(&Reply::Status(b"OTHER"[..].into())), PingReply::Unusable);
}

/// An idle monitor sleeps until something is due.
#[test]
fn does_not_spin() {
    let mut bench = Bench::with_peers();
    let mut steps = 0;
    let end = bench.now + 60_000;
    while bench.wake <= end {
        bench.now = bench.now.max(bench.wake);
        bench.feed(Input::Tick);
        steps += 1;
    }
    assert!(steps < 60 * 12, "{steps} steps in a minute");
    let channels = bench.links.len();
    assert_eq!(channels, 6, "a command and a pub/sub connection each ({:?})", Channel::PubSub);
}

/// beyond.md B5: whoever is sent CLIENT KILL loses both connections, over a long way one later than the other. Neither
/// waits a second for the other's sake: a new master would be taken for dead (failover.md 22).
#[test]
fn each_connection_is_opened_again_at_once() {
    let mut bench = Bench::with_peers();
    bench.run(5_000);
    for channel in [Channel::PubSub, Channel::Command] {
        bench.lose(MASTER, channel);
        bench.run(40);
        assert_eq!(bench.links.values().filter(|addr| *addr == MASTER).count(), 2, "{channel:?} is there again");
    }
    bench.lose(MASTER, Channel::PubSub);
    bench.run(900);
    assert_eq!(bench.links.values().filter(|addr| *addr == MASTER).count(), 1, "but not more than once a second");
}

/// failover.md 12.3, S3: where the command connection is refused, or hangs, a subscription would be, too.
#[test]
fn a_subscription_is_tried_where_commands_can_be_sent() {
    let mut bench = Bench::with_peers();
    let attempts = |bench: &Bench, wanted: Channel| {
        let is_it = |output: &&Output| matches!(output, Output::Connect { channel, .. } if *channel == wanted);
        bench.seen.iter().filter(is_it).count()
    };
    bench.kill(MASTER);
    bench.seen.clear();
    bench.run(5_000);
    assert!(attempts(&bench, Channel::Command) >= 5);
    assert_eq!(attempts(&bench, Channel::PubSub), 0);
    bench.dead.clear();
    bench.run(1_100);
    assert_eq!(bench.links.values().filter(|addr| *addr == MASTER).count(), 2);
}

/// What is looked at is all that is asked for, of servers that can tell: 7.0 on. A new connection starts with the whole, as
/// does stock, and so does whoever refuses (failover.md 14).
#[test]
fn asks_for_sections_where_they_are_taken() {
    let sections = "INFO server replication keyspace";
    let infos =
        |bench: &Bench| bench.sent_to(MASTER).into_iter().filter(|sent| sent.starts_with("INFO")).collect::<Vec<_>>();
    for (version, next) in
        [("6.2.14", "INFO"), ("7.0.0", sections), ("10.0.0", sections), ("7", "INFO"), ("x.y", "INFO")]
    {
        let mut bench = Bench::new();
        bench.servers.get_mut(MASTER).expect("it is there").version = version;
        bench.run(20_000);
        bench.seen.clear();
        bench.run(10_000);
        assert_eq!(infos(&bench), [next], "{version}");
        bench.seen.clear();
        bench.lose(MASTER, Channel::Command);
        bench.run(1_000);
        assert_eq!(infos(&bench)[0], "INFO", "{version}");
    }
}

/// commands.md 143: whoever wants to see INFO sees all of it. A server that does not answer delays that by half a second.
#[test]
fn info_in_full_is_fetched_for_who_asks() {
    let text = |bench: &Bench| {
        let info = bench.monitor.master.info.as_deref().expect("it was polled");
        String::from_utf8(info.to_vec()).expect("text")
    };
    let mut bench = Bench::new();
    bench.servers.values_mut().for_each(|server| server.version = "7.0.15");
    bench.run(30_000);
    assert!(!text(&bench).contains("used_memory"));
    bench.admin(AdminRequest::WholeInfo);
    assert_eq!(bench.answers(), [Answer::Ok]);
    assert!(text(&bench).contains("used_memory"));

    bench.run(30_000);
    bench.dead.insert(REPLICA.to_owned());
    bench.admin(AdminRequest::WholeInfo);
    bench.admin(AdminRequest::WholeInfo);
    assert!(text(&bench).contains("used_memory"), "the master has answered");
    bench.run(499);
    assert_eq!(bench.answers().len(), 1);
    bench.run(2);
    assert_eq!(bench.answers().len(), 3);
}
