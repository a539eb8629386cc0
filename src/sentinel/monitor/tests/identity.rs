//! Whose server is it (beyond.md B2): what speaks against one, and what does not.

use super::*;
use crate::sentinel::policy::{IdentityGuard, MasterPolicy, Policies};

const STRANGER: &str = "cccccccccccccccccccccccccccccccccccccccc";
const DATA: &str = "db0:keys=5000,expires=0,avg_ttl=0";

fn replid(letter: char) -> String {
    format!("master_replid:{}", letter.to_string().repeat(40))
}

fn replid2(letter: char) -> String {
    format!("master_replid2:{}", letter.to_string().repeat(40))
}

/// A master and two replicas with data of history `a`, and two peers.
fn group(guard: IdentityGuard) -> Bench {
    let mut bench = Bench::with_peers();
    bench.node.policies = with(guard);
    for server in bench.servers.values_mut() {
        server.more = vec![replid('a'), DATA.to_owned()];
    }
    bench.run(11_000);
    bench.seen.clear();
    bench
}

/// The master is dead, and its replica has been told to take its place, and has not.
fn told_to_promote() -> Bench {
    let mut bench = group(IdentityGuard::Evidence);
    bench.elect_me(1);
    let chosen = bench.servers.get_mut(REPLICA).expect("there");
    (chosen.offset, chosen.obeys) = (11, false);
    bench.kill(MASTER);
    bench.run(1_500);
    bench
}

fn with(identity_guard: IdentityGuard) -> Policies {
    Policies { defaults: MasterPolicy { identity_guard, ..MasterPolicy::default() }, ..Policies::default() }
}

fn master(run_id: char, more: Vec<String>) -> FakeServer {
    FakeServer {
        role: Role::Master,
        master_port: 0,
        run_id,
        replicas: Vec::new(),
        offset: 0,
        obeys: true,
        link_down_seconds: 0,
        version: "7.0.15",
        more,
    }
}

/// Another process begins to answer at an address. What is told about it, and whether it is told anything, in 22 s.
fn reused(bench: &mut Bench, at: &str, server: FakeServer) -> (Vec<String>, bool) {
    bench.kill(at);
    bench.run(1_500);
    bench.servers.insert(at.to_owned(), server);
    bench.dead.remove(at);
    watched(bench, at)
}

fn watched(bench: &mut Bench, at: &str) -> (Vec<String>, bool) {
    bench.seen.clear();
    outcome(bench, at)
}

fn outcome(bench: &mut Bench, at: &str) -> (Vec<String>, bool) {
    bench.run(22_000);
    let told = bench.sent_to(at).iter().any(|command| command.starts_with("SLAVEOF"));
    (bench.events().into_iter().filter(|event| event.contains("foreign")).collect(), told)
}

fn foreign(port: u16, reason: &str) -> Vec<String> {
    vec![format!("+foreign-instance slave 127.0.0.1:{port} 127.0.0.1 {port} @ mymaster 127.0.0.1 6379 #{reason}")]
}

/// The hellos of a Sentinel that is none of ours, heard at a server.
fn hears(bench: &mut Bench, at: &str, name: &str, master_port: u16) {
    let text = format!("127.0.0.1,26390,{STRANGER},1,{name},127.0.0.1,{master_port},0");
    let links: Vec<LinkId> =
        bench.subscriptions.iter().copied().filter(|link| bench.links.get(link).is_some_and(|to| to == at)).collect();
    for link in links {
        bench.feed(Input::PubSub { link, payload: Some(text.as_bytes().into()) });
    }
}

fn flags(bench: &Bench, port: u16) -> String {
    let view = bench.monitor.view(&bench.env());
    view.replicas.iter().find(|replica| replica.instance.port == port).expect("it is known").instance.flags.to_string()
}

/// beyond.md B2, E4
#[test]
fn unknown_data_at_a_replica_s_address_is_left_alone() {
    let stranger = || master('x', vec![replid('x'), DATA.to_owned()]);
    let mut bench = group(IdentityGuard::Evidence);
    assert_eq!(reused(&mut bench, REPLICA, stranger()), (foreign(6380, "data"), false));
    assert_eq!(flags(&bench, 6380), "slave,foreign");
    assert_eq!(watched(&mut bench, REPLICA), (Vec::new(), false), "told once");
    assert!(!bench.sent_to(REPLICA).iter().any(|command| command.starts_with("PUBLISH")), "nor is it told of us");
    let mut bench = group(IdentityGuard::Stock);
    assert_eq!(reused(&mut bench, REPLICA, stranger()), (Vec::new(), true));
}

/// beyond.md B2, E4: a replica of a replica is one of ours by its data, and was a replica when it was last heard of.
#[test]
fn unknown_data_at_the_address_of_a_replica_s_replica_is_left_alone() {
    const CHAINED: &str = "127.0.0.1:6390";
    let mut bench = group(IdentityGuard::Evidence);
    let ours = vec![replid('a'), DATA.to_owned()];
    bench
        .servers
        .insert(CHAINED.to_owned(), FakeServer { role: Role::Replica, master_port: 6381, ..master('q', ours) });
    bench.servers.get_mut(MASTER).expect("there").replicas.push(6390);
    bench.run(11_000);
    let stranger = master('x', vec![replid('x'), DATA.to_owned()]);
    assert_eq!(reused(&mut bench, CHAINED, stranger), (foreign(6390, "data"), false));
}

/// beyond.md B2: what comes back at its own address is told what every replica is told.
#[test]
fn members_that_come_back_are_no_strangers() {
    let data = DATA.to_owned();
    let returning = [
        ("empty, also with a new history", master('x', vec![replid('x')])),
        ("promoted by hand", master('r', vec![replid('x'), replid2('a'), data.clone()])),
        ("the same process", master('r', vec![replid('x'), data.clone()])),
        ("restarted from RDB", master('x', vec![replid('x'), replid2('a'), data.clone()])),
        ("too old to have replication ids", master('x', vec![data.clone()])),
        ("of ours, with replicas of ours", FakeServer { replicas: vec![6381], ..master('x', vec![replid('x')]) }),
    ];
    for (what, server) in returning {
        let mut bench = group(IdentityGuard::Evidence);
        assert_eq!(reused(&mut bench, REPLICA, server), (Vec::new(), true), "{what}");
    }
}

/// beyond.md B2, E4 and E5: an old master that was restarted with AOF can prove nothing.
#[test]
fn an_old_master_is_no_stranger_unless_that_is_asked_for() {
    for (guard, wanted) in
        [(IdentityGuard::Evidence, (Vec::new(), true)), (IdentityGuard::Strict, (vec!["data"], false))]
    {
        let mut bench = group(guard);
        bench.elect_me(1);
        bench.servers.get_mut(REPLICA).expect("there").offset = 11;
        bench.kill(MASTER);
        bench.run(2_500);
        let (events, told) = reused(&mut bench, MASTER, master('x', vec![replid('x'), DATA.to_owned()]));
        let reasons: Vec<&str> = events.iter().filter_map(|event| event.rsplit_once('#')).map(|(_, why)| why).collect();
        assert_eq!((reasons, told), wanted, "{guard:?}");
    }
}

/// beyond.md B2, E4: who cannot remember that it was demoted comes back as a master with AOF, and is ours.
#[test]
fn an_old_master_without_a_conf_file_is_no_stranger_after_it_was_a_replica() {
    for (line, wanted) in [("config_file:", true), ("config_file:/etc/redis.conf", false)] {
        let mut bench = group(IdentityGuard::Evidence);
        bench.elect_me(1);
        bench.servers.get_mut(REPLICA).expect("there").offset = 11;
        bench.kill(MASTER);
        bench.run(2_500);
        assert!(reused(&mut bench, MASTER, master('y', vec![replid('y')])).1, "it becomes a replica");
        let again = master('x', vec![replid('x'), DATA.to_owned(), line.to_owned()]);
        assert_eq!(reused(&mut bench, MASTER, again).1, wanted, "{line}");
    }
}

/// beyond.md B2, E3
#[test]
fn a_master_with_replicas_that_nobody_knows_is_left_alone() {
    let mut bench = group(IdentityGuard::Evidence);
    let server = FakeServer { replicas: vec![7001, 7002], ..master('x', vec![replid('x')]) };
    assert_eq!(reused(&mut bench, REPLICA, server), (foreign(6380, "replica 127.0.0.1 7001"), false));
}

/// beyond.md B2, E3: the name of a member is looked up after its master was.
#[test]
fn a_replica_that_turns_out_to_be_a_member_speaks_against_nobody() {
    let mut bench = Bench::with(|record, node| {
        node.resolve_hostnames = true;
        record.replicas = vec![Addr::new("redis.example", 7001)];
    });
    bench.run(11_000);
    let server = FakeServer { replicas: vec![7001], ..master('x', vec![replid('x')]) };
    assert_eq!(reused(&mut bench, REPLICA, server), (foreign(6380, "replica 127.0.0.1 7001"), false));
    bench.feed(Input::Resolved { host: "redis.example".into(), ip: "127.0.0.1".parse().ok() });
    assert_eq!(watched(&mut bench, REPLICA), (Vec::new(), true));
}

/// beyond.md B2, E2: Sentinels of others are heard there.
#[test]
fn a_server_that_others_call_theirs_is_left_alone() {
    for (name, port, wanted) in [
        ("theirs", 7001, Some("hello theirs 127.0.0.1 7001")),
        ("mymaster", 7001, Some("hello mymaster 127.0.0.1 7001")),
        ("mymaster", 6380, Some("hello mymaster 127.0.0.1 6380")),
        // The same group by another name, and one of ours that lags behind.
        ("theirs", 6379, None),
        ("mymaster", 6381, None),
    ] {
        let mut bench = group(IdentityGuard::Evidence);
        let server = master('x', vec![replid('x')]);
        bench.kill(REPLICA);
        bench.run(1_500);
        bench.servers.insert(REPLICA.to_owned(), server);
        bench.dead.remove(REPLICA);
        bench.run(2_000);
        bench.seen.clear();
        hears(&mut bench, REPLICA, name, port);
        let events = wanted.map_or(Vec::new(), |reason| foreign(6380, reason));
        assert_eq!(outcome(&mut bench, REPLICA), (events, wanted.is_none()), "{name} {port}");
    }
}

/// beyond.md B2, E2: a subscription that is older than the connection on which a server says who it is may lead to the one
/// that was there before.
#[test]
fn what_is_heard_on_an_older_subscription_counts_only_while_it_lasts() {
    let mut bench = group(IdentityGuard::Evidence);
    bench.run(1_000);
    bench.servers.insert(REPLICA.to_owned(), master('x', vec![replid('x')]));
    bench.lose(REPLICA, Channel::Command);
    bench.run(2_000);
    hears(&mut bench, REPLICA, "theirs", 7001);
    bench.run(1_000);
    assert_eq!(flags(&bench, 6380), "slave,foreign");
    bench.lose(REPLICA, Channel::PubSub);
    bench.run(2_000);
    assert_eq!(flags(&bench, 6380), "slave");
    hears(&mut bench, REPLICA, "theirs", 7001);
    bench.lose(REPLICA, Channel::PubSub);
    bench.run(2_000);
    assert_eq!(flags(&bench, 6380), "slave,foreign", "it is there that it was heard now");
}

/// beyond.md B2: who has not been listened to for long enough may be anybody's, however long it has been there.
#[test]
fn an_old_master_is_told_only_when_its_channel_was_heard_for_long_enough() {
    let mut bench = group(IdentityGuard::Evidence);
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.kill(MASTER);
    bench.run(2_500);
    bench.servers.insert(MASTER.to_owned(), master('x', vec![replid('x'), DATA.to_owned()]));
    bench.dead.remove(MASTER);
    bench.seen.clear();
    let is_told = |bench: &Bench| bench.sent_to(MASTER).iter().any(|command| command.starts_with("SLAVEOF"));
    bench.run(7_000);
    bench.lose(MASTER, Channel::PubSub);
    bench.run(7_000);
    assert!(!is_told(&bench), "Sentinels of others may have been missed");
    bench.run(6_000);
    assert!(is_told(&bench));
}

/// beyond.md B2, E4: who has been promoted comes back as a master, whoever did it.
#[test]
fn a_replica_that_was_promoted_in_vain_is_no_stranger_when_it_comes_back() {
    let stranger = || master('x', vec![replid('x'), DATA.to_owned()]);
    // It was seen in passing ...
    let mut bench = group(IdentityGuard::Evidence);
    let server = bench.servers.get_mut(REPLICA).expect("there");
    (server.role, server.more) = (Role::Master, vec![replid('b'), replid2('a'), DATA.to_owned()]);
    bench.run(11_000);
    assert_eq!(reused(&mut bench, REPLICA, stranger()), (Vec::new(), true));
    // ... or heard of while its name meant another address.
    let mut bench = group(IdentityGuard::Evidence);
    let replicas = bench.monitor.replicas.values_mut();
    let server = replicas.map(|replica| &mut replica.server).find(|server| server.addr.port == 6380).expect("known");
    let right = server.addr.ip.replace("203.0.113.1".parse().expect("an address"));
    let wrong = server.addr.clone();
    bench.monitor.note_promoted(&wrong);
    let replicas = bench.monitor.replicas.values_mut();
    let server = replicas.map(|replica| &mut replica.server).find(|server| server.addr == wrong).expect("known");
    server.addr.ip = right;
    assert_eq!(reused(&mut bench, REPLICA, stranger()), (Vec::new(), true));
    // ... or told by us, and the last that it said was what it was before.
    for link_down_seconds in [0, 1] {
        let mut bench = group(IdentityGuard::Evidence);
        bench.elect_me(1);
        let chosen = bench.servers.get_mut(REPLICA).expect("there");
        (chosen.offset, chosen.obeys, chosen.link_down_seconds) = (11, false, link_down_seconds);
        bench.kill(MASTER);
        bench.run(2_000);
        assert!(matches!(bench.monitor.failover.state, FailoverState::WaitPromotion { .. }));
        bench.dead.remove(MASTER);
        bench.run(10_000);
        assert_eq!((&bench.monitor.failover.state, bench.monitor.record().addr.port), (&FailoverState::Idle, 6379));
        assert_eq!(reused(&mut bench, REPLICA, stranger()), (Vec::new(), true));
    }
}

/// beyond.md B2: what has called itself master before it was told to be one does so in reports that were on their way
/// then, and may be gone by now.
#[test]
fn a_promotion_is_not_completed_by_a_report_from_before() {
    let mut bench = told_to_promote();
    let FailoverState::WaitPromotion { owed, .. } = &mut bench.monitor.failover.state else { panic!("it is told") };
    *owed = 1;
    bench.servers.get_mut(REPLICA).expect("there").role = Role::Master;
    let mut reports = 0;
    while matches!(bench.monitor.failover.state, FailoverState::WaitPromotion { saving: None, .. }) {
        let before = bench.monitor.replicas.values().filter_map(|replica| replica.server.info_at).max();
        bench.run(10);
        let replicas = bench.monitor.replicas.values();
        reports += usize::from(replicas.filter_map(|replica| replica.server.info_at).max() > before);
        assert!(reports <= 4, "it counts in the end");
    }
    assert!(reports >= 2, "the first one does not count");
}

/// beyond.md B2: whoever answers in its place has not been promoted.
#[test]
fn a_promotion_is_not_completed_by_somebody_else() {
    let data = DATA.to_owned();
    let answers = [
        ("the same process", master('r', vec![replid('b'), data.clone()]), 6380),
        ("restarted from RDB", master('x', vec![replid('b'), replid2('a'), data.clone()]), 6380),
        ("anybody", master('x', vec![replid('x'), data]), 6381),
    ];
    for (what, server, wanted) in answers {
        let mut bench = told_to_promote();
        assert!(bench.sent_to(REPLICA).contains(&"SLAVEOF NO ONE".to_owned()), "{what}");
        bench.kill(REPLICA);
        bench.servers.insert(REPLICA.to_owned(), server);
        bench.dead.remove(REPLICA);
        bench.run(1_500);
        bench.elect_me(2);
        bench.run(3_000);
        assert_eq!(bench.monitor.record().addr.port, wanted, "{what}");
    }
}

/// beyond.md B2, E2: what speaks against it is forgotten when whoever said it turns out to be one of ours.
#[test]
fn a_new_sentinel_of_ours_that_learns_speaks_against_nobody() {
    let mut bench = group(IdentityGuard::Evidence);
    bench.kill(REPLICA);
    bench.run(1_500);
    bench.servers.insert(REPLICA.to_owned(), master('x', vec![replid('x')]));
    bench.dead.remove(REPLICA);
    bench.run(2_000);
    hears(&mut bench, REPLICA, "mymaster", 6380);
    bench.run(2_000);
    assert_eq!(flags(&bench, 6380), "slave,foreign");
    bench.hello(STRANGER, 26390, 1, 6379, 0);
    assert!(watched(&mut bench, REPLICA).1);
}

/// beyond.md B2, E1
#[test]
fn a_member_of_another_master_of_this_process_is_left_alone() {
    let at = Addr::new("127.0.0.1", 7001);
    let run_id = "x".repeat(40);
    for (replids, wanted) in
        [(["t".repeat(40)], (foreign(6380, "group theirs"), false)), (["a".repeat(40)], (Vec::new(), true))]
    {
        let mut bench = group(IdentityGuard::Evidence);
        bench.groups.note_master(&MasterName::from("theirs"), &at, &run_id, &replids.map(Arc::from), Millis(bench.now));
        assert_eq!(reused(&mut bench, REPLICA, master('x', vec![replid('x')])), wanted);
    }
}

/// beyond.md B2: never a candidate, and not counted where all are.
#[test]
fn a_stranger_is_neither_promoted_nor_reconfigured() {
    let mut bench = group(IdentityGuard::Evidence);
    reused(&mut bench, REPLICA, master('x', vec![replid('x'), DATA.to_owned()]));
    // It now follows somebody else, and would be the best by offset.
    let server = bench.servers.get_mut(REPLICA).expect("there");
    (server.role, server.master_port, server.offset) = (Role::Replica, 7001, 1_000);
    bench.elect_me(1);
    bench.seen.clear();
    bench.kill(MASTER);
    bench.run(3_000);
    assert_eq!(bench.monitor.record().addr.port, 6381);
    assert!(!bench.sent_to(REPLICA).iter().any(|command| command.starts_with("SLAVEOF")));
    assert!(bench.event_names().contains(&"+switch-master".to_owned()), "it is not waited for");
}

/// beyond.md B2: behind a new connection there may be another process.
#[test]
fn nobody_is_told_anything_before_it_has_said_who_it_is() {
    let mut bench = group(IdentityGuard::Evidence);
    bench.elect_me(1);
    bench.servers.get_mut(REPLICA).expect("there").offset = 11;
    bench.lose(OTHER_REPLICA, Channel::Command);
    bench.kill(MASTER);
    let mut server = master('x', vec![replid('x'), DATA.to_owned()]);
    server.replicas = vec![7001];
    bench.servers.insert(OTHER_REPLICA.to_owned(), server);
    bench.run(6_000);
    assert_eq!(bench.monitor.record().addr.port, 6380);
    assert!(!bench.sent_to(OTHER_REPLICA).iter().any(|command| command.starts_with("SLAVEOF")));
}

/// beyond.md B2: `-config-update-foreign`, and nothing else happens.
#[test]
fn a_hello_of_another_group_with_our_name_changes_nothing() {
    let mut bench = group(IdentityGuard::Evidence);
    let before = bench.monitor.record();
    bench.hello(STRANGER, 26390, 9, 7001, 9);
    bench.hello(STRANGER, 26390, 9, 7001, 9);
    let told = format!(
        "-config-update-foreign sentinel {STRANGER} 127.0.0.1 26390 @ mymaster 127.0.0.1 6379 #hello mymaster 127.0.0.1 7001"
    );
    assert_eq!(bench.events(), [told]);
    assert_eq!((bench.monitor.record(), bench.epoch.current()), (before.clone(), Epoch(0)));
    bench.hello(STRANGER, 26390, 9, 7001, 0);
    assert_eq!((bench.monitor.record(), bench.epoch.current()), (before, Epoch(0)), "it gets no vote either");
    let mut bench = group(IdentityGuard::Stock);
    bench.hello(STRANGER, 26390, 9, 7001, 9);
    assert_eq!(bench.monitor.record().addr.port, 7001);
}

/// beyond.md B2: a subscription stays where the name of a replica led before, and another group's Sentinel is heard there.
#[test]
fn whoever_speaks_for_where_a_name_led_before_is_no_peer() {
    let at = "redis.example:7001";
    let mut bench = Bench::with(|record, node| {
        node.resolve_hostnames = true;
        record.replicas = vec![Addr::new("redis.example", 7001)];
    });
    bench.servers.insert(at.to_owned(), bench.servers[REPLICA].clone());
    let leads_to = |ip: &str| Input::Resolved { host: "redis.example".into(), ip: ip.parse().ok() };
    bench.feed(leads_to("127.0.0.1"));
    bench.run(11_000);
    // Another member followed it then.
    let other = bench.servers.get_mut(OTHER_REPLICA).expect("there");
    (other.master_port, other.obeys) = (7001, false);
    bench.run(11_000);
    bench.feed(leads_to("127.0.0.9"));
    hears(&mut bench, at, "mymaster", 7001);
    let link = bench.subscriptions.iter().copied().find(|link| bench.links.get(link).is_some_and(|to| to == at));
    let newer = format!("127.0.0.1,26390,{STRANGER},9,mymaster,127.0.0.1,7001,9");
    bench.feed(Input::PubSub { link: link.expect("it is subscribed to"), payload: Some(newer.as_bytes().into()) });
    assert_eq!((bench.monitor.record().sentinels, bench.monitor.record().addr.port), (Vec::new(), 6379));
    // One of ours that lags behind is not heard there.
    bench.hello(PEER_A, 26380, 0, 7001, 0);
    assert_eq!(bench.monitor.record().sentinels.len(), 1);
}

/// beyond.md B2: everything that a Sentinel may have missed.
#[test]
fn a_newer_configuration_of_ours_is_followed() {
    // By one of ours, to a member.
    let mut bench = group(IdentityGuard::Evidence);
    bench.hello(PEER_A, 26380, 1, 6380, 1);
    assert_eq!(bench.monitor.record().addr.port, 6380);
    // By somebody new, to a member that is a master, but not to one that still follows ours.
    let mut bench = group(IdentityGuard::Evidence);
    bench.hello(STRANGER, 26390, 1, 6380, 1);
    assert_eq!(bench.monitor.record().addr.port, 6379);
    let server = bench.servers.get_mut(REPLICA).expect("there");
    (server.role, server.more) = (Role::Master, vec![replid('b'), replid2('a'), DATA.to_owned()]);
    bench.hello(STRANGER, 26390, 1, 6380, 1);
    bench.hello(STRANGER, 26390, 1, 6380, 1);
    assert_eq!(bench.monitor.record().addr.port, 6380);
    // To one that joined and was promoted since we last looked, while our master is dead ...
    let mut bench = group(IdentityGuard::Evidence);
    bench.kill(MASTER);
    bench.run(1_500);
    bench.hello(PEER_A, 26380, 1, 6390, 1);
    assert_eq!(bench.monitor.record().addr.port, 6390);
    // ... or is its replica by now.
    let mut bench = group(IdentityGuard::Evidence);
    bench.hello(PEER_A, 26380, 1, 6390, 1);
    assert_eq!(bench.monitor.record().addr.port, 6379, "it is still there, and knows of no such replica");
    let server = bench.servers.get_mut(MASTER).expect("there");
    (server.role, server.master_port) = (Role::Replica, 6390);
    bench.hello(PEER_A, 26380, 1, 6390, 1);
    bench.hello(PEER_A, 26380, 1, 6390, 1);
    assert_eq!(bench.monitor.record().addr.port, 6390);
    // Whoever was only told where a master is that is not there believes what it hears.
    let mut bench = Bench::with(|record, _| record.addr = Addr::new("127.0.0.1", 6999));
    bench.hello(STRANGER, 26390, 1, 6390, 1);
    assert_eq!(bench.monitor.record().addr.port, 6390);
    // Whoever comes back with a file that names its master and a replica, and no peer, believes its master.
    let mut bench = Bench::with(|record, _| record.replicas = vec![Addr::new("127.0.0.1", 6380)]);
    let server = bench.servers.get_mut(MASTER).expect("there");
    (server.role, server.master_port) = (Role::Replica, 6390);
    bench.hello(PEER_A, 26380, 1, 6390, 1);
    assert_eq!(bench.monitor.record().addr.port, 6379, "it has said nothing yet");
    bench.run(1_500);
    bench.hello(PEER_A, 26380, 1, 6390, 1);
    assert_eq!(bench.monitor.record().addr.port, 6390);
    // After RESET nobody is known.
    let mut bench = group(IdentityGuard::Evidence);
    bench.kill(MASTER);
    bench.admin(AdminRequest::Reset);
    bench.hello(PEER_A, 26380, 1, 6390, 1);
    assert_eq!(bench.monitor.record().addr.port, 6390);
}

/// beyond.md B2: an operator knows better.
#[test]
fn adopting_overrides_what_speaks_against_a_server() {
    let mut bench = group(IdentityGuard::Evidence);
    reused(&mut bench, REPLICA, master('x', vec![replid('x'), DATA.to_owned()]));
    bench.admin(AdminRequest::Adopt(Addr::new("127.0.0.1", 6380)));
    assert_eq!(bench.answers(), [Answer::Ok]);
    assert!(bench.sent_to(REPLICA).contains(&"SLAVEOF 127.0.0.1 6379".to_owned()), "at once");
    assert_eq!(watched(&mut bench, REPLICA).0, Vec::<String>::new());
    // One process is meant, and not whoever comes after it.
    assert_eq!(
        reused(&mut bench, REPLICA, master('y', vec![replid('y'), DATA.to_owned()])),
        (foreign(6380, "data"), false)
    );
    let mut bench = group(IdentityGuard::Evidence);
    bench.admin(AdminRequest::Adopt(Addr::new("127.0.0.1", 7001)));
    bench.hello(STRANGER, 26390, 9, 7001, 9);
    assert_eq!(bench.monitor.record().addr.port, 7001);
}

/// beyond.md B2: what is known of members survives a restart where there is a state file.
#[test]
fn members_are_remembered_in_the_state_file() {
    let mut bench = group(IdentityGuard::Evidence);
    assert_eq!(bench.monitor.record().identity, IdentityRecord::default(), "without one nothing is written");
    bench.node.policies.keeps_identity = true;
    let restart = |bench: &mut Bench, record: MasterRecord| {
        bench.monitor = Monitor::new(record, 7, &bench.env());
        bench.links.clear();
        bench.subscriptions.clear();
        bench.feed(Input::Tick);
    };
    let record = bench.monitor.record();
    restart(&mut bench, record);
    bench.run(11_000);
    let record = bench.monitor.record();
    assert_eq!((record.identity.members.len(), record.identity.replids.len()), (3, 1), "{:?}", record.identity);
    let saved = bench.seen.iter().rev().find_map(|output| match output {
        Output::Persist { record, .. } => Some(record.identity.clone()),
        _ => None,
    });
    assert_eq!(saved.as_ref(), Some(&record.identity), "and saved");
    // It dies with us, and something else is there when we are back.
    bench.kill(REPLICA);
    bench.servers.insert(REPLICA.to_owned(), master('x', vec![replid('x'), DATA.to_owned()]));
    bench.dead.remove(REPLICA);
    restart(&mut bench, record);
    assert!(!watched(&mut bench, REPLICA).1);
    assert_eq!(flags(&bench, 6380), "slave,foreign");
}
