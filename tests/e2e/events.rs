//! What a failover looks like to those who subscribe (failover.md, sections 11 and 12.1).

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::cluster::{Cluster, Plan};
use crate::support::process::KilledAtEnd;
use crate::support::recorder::Seen;
use crate::support::wait::{seconds, wait_until};
use crate::support::{Kind, stock};

#[test]
fn tells_a_failover_in_order() {
    in_order(Kind::under_test());
}

#[test]
fn stock_tells_a_failover_in_order() {
    in_order(Kind::Stock);
}

/// failover.md 83, 97, 114, 133, 144, 165, 190, 194, 195.
fn in_order(kind: Kind) {
    // One Sentinel may lead; the others confirm and vote, whatever their timing.
    let sentinels = vec![(kind, 2), (kind, 4), (kind, 4)];
    let mut cluster = Cluster::start(&Plan { sentinels, failover_timeout: 10_000, ..Plan::three(kind) });
    let old = cluster.first_master();
    let start = Instant::now();
    cluster.group().at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("mymaster", old, seconds(20));
    cluster.wait_until_settled(&cluster.groups[0], new);

    let other = cluster.groups[0].servers.iter().map(|server| server.port).find(|&port| port != old && port != new);
    let other = other.expect("one replica remains");
    let leader = &cluster.sentinels[0];
    let (id, leader_port) = (leader.myid(), leader.port);
    let master = format!("master mymaster 127.0.0.1 {old}");
    let replica = |port: u16, of: u16| format!("slave 127.0.0.1:{port} 127.0.0.1 {port} @ mymaster 127.0.0.1 {of}");
    let switch = format!("+switch-master mymaster 127.0.0.1 {old} 127.0.0.1 {new}");
    let mut replicas = [format!("+slave {}", replica(other, new)), format!("+slave {}", replica(old, new))];
    replicas.sort();

    let (told, tail) = story(&leader.events.all(), start, 2);
    let down = told.iter().position(|line| line.starts_with("+odown")).expect("the leader saw ODOWN");
    let odown = &told[down];
    assert!((2..=3).any(|n| *odown == format!("+odown {master} #quorum {n}/2")), "{odown}");
    let expected = [
        format!("+sdown {master}"),
        odown.clone(),
        "+new-epoch 1".to_owned(),
        format!("+try-failover {master}"),
        format!("+vote-for-leader {id} 1"),
        format!("+elected-leader {master}"),
        format!("+failover-state-select-slave {master}"),
        format!("+selected-slave {}", replica(new, old)),
        format!("+failover-state-send-slaveof-noone {}", replica(new, old)),
        format!("+failover-state-wait-promotion {}", replica(new, old)),
        format!("+promoted-slave {}", replica(new, old)),
        format!("+failover-state-reconf-slaves {master}"),
        format!("+slave-reconf-sent {}", replica(other, old)),
        format!("+slave-reconf-inprog {}", replica(other, old)),
        format!("+slave-reconf-done {}", replica(other, old)),
        format!("+failover-end {master}"),
        switch.clone(),
    ];
    assert_eq!(told, expected);
    assert_eq!(tail, replicas);

    for follower in &cluster.sentinels[1..] {
        let (mut told, tail) = story(&follower.events.all(), start, 2);
        // Its own detection runs beside the election and may come at any point before the end, or too late.
        told.retain(|line| *line != format!("+sdown {master}"));
        let expected = [
            "+new-epoch 1".to_owned(),
            format!("+vote-for-leader {id} 1"),
            format!("+config-update-from sentinel {id} 127.0.0.1 {leader_port} @ mymaster 127.0.0.1 {old}"),
            switch.clone(),
        ];
        assert_eq!(told, expected);
        assert_eq!(tail, replicas);
    }
}

/// What was published from `start` to `+switch-master`, and the sorted `count` `+slave` lines behind it. Left out is
/// what may come at any time: roles as replicas report them, and the end of ODOWN when the asking ends.
fn story(seen: &[Seen], start: Instant, count: usize) -> (Vec<String>, Vec<String>) {
    let own = seen.iter().filter(|seen| seen.at >= start);
    let own = own.filter(|seen| !["+role-change", "-role-change", "-odown"].contains(&seen.name.as_str()));
    let mut lines = own.map(Seen::line).collect::<Vec<_>>();
    let end = lines.iter().position(|line| line.starts_with("+switch-master")).expect("it switched") + 1;
    let mut tail = lines.split_off(end);
    tail.truncate(count);
    tail.sort();
    (lines, tail)
}

/// failover.md 190: `redis-cli psubscribe '*'`, as operators run it.
#[test]
fn redis_cli_shows_the_events() {
    let mut cluster = Cluster::start(&Plan::three(Kind::under_test()));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shown = folder.path().join("shown");
    let output = std::fs::File::create(&shown).expect("the test folder is writable");
    let mut client = Command::new(stock::program("redis-cli"));
    client.args(["-p", &cluster.sentinels[0].port.to_string(), "psubscribe", "*"]);
    let mut client = KilledAtEnd(client.stdin(Stdio::null()).stdout(output).spawn().expect("redis-cli starts"));
    let text = || std::fs::read_to_string(&shown).expect("the file is there");
    wait_until(seconds(10), "redis-cli is subscribed", || text().contains("psubscribe"));

    let old = cluster.first_master();
    cluster.group().at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("mymaster", old, seconds(40));
    let master = format!("master mymaster 127.0.0.1 {old}");
    let switch = format!("pmessage\n*\n+switch-master\nmymaster 127.0.0.1 {old} 127.0.0.1 {new}\n");
    wait_until(seconds(10), "redis-cli shows the switch", || text().contains(&switch));
    assert!(text().contains(&format!("pmessage\n*\n+sdown\n{master}\n")), "{}", text());
    assert!(client.0.try_wait().expect("it is a child").is_none(), "redis-cli is still connected");
}

/// failover.md 97, 103: each edge once, for replicas and for Sentinels too.
#[test]
fn tells_each_edge_once() {
    let mut cluster = Cluster::start(&Plan::three(Kind::under_test()));
    let start = Instant::now();
    let master = cluster.first_master();
    let port = cluster.group().servers[1].port;
    let gone = cluster.sentinels.pop().expect("there are three");
    let id = gone.myid();
    let replica = format!("slave 127.0.0.1:{port} 127.0.0.1 {port} @ mymaster 127.0.0.1 {master}");
    let peer = format!("sentinel {id} 127.0.0.1 {} @ mymaster 127.0.0.1 {master}", gone.port);
    cluster.group().at_mut(port).process.kill();
    drop(gone);
    let published = |line: &str| {
        let times = |sentinel: &crate::support::sentinel::Sentinel| {
            let all = sentinel.events.all();
            all.iter().filter(|seen| seen.at >= start && seen.line() == line).count()
        };
        cluster.sentinels.iter().map(times).collect::<Vec<_>>()
    };
    wait_until(seconds(10), "both are down for both", || {
        [&replica, &peer].iter().all(|who| published(&format!("+sdown {who}")) == [1, 1])
    });
    // Some more looks at what is down must not tell it again.
    let quiet = Instant::now();
    wait_until(seconds(5), "time passes", || quiet.elapsed() >= Duration::from_millis(1500));
    assert_eq!(published(&format!("+sdown {replica}")), [1, 1]);
    assert_eq!(published(&format!("+sdown {peer}")), [1, 1]);
    assert_eq!(published(&format!("-sdown {replica}")), [0, 0]);
    assert_eq!(published(&format!("+odown {replica}")), [0, 0], "failover.md 116");
}
