//! A master goes away in every way a master can, and comes back.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::resp::Value;
use crate::support::sentinel::Sentinel;
use crate::support::server::Server;
use crate::support::wait::{seconds, wait_until};

/// Long enough for an election that needs a second attempt.
const SWITCH: Duration = seconds(40);

/// From the first `+sdown` to the new address everywhere. Stock needs 543 ms at best (failover.md 12.2); the aim is 50,
/// and the rest is for a busy machine.
const FAST: Duration = Duration::from_millis(400);

/// Between `down-after-milliseconds` and `+sdown` of a killed master: 250 by failover.md 92, and some for a busy
/// machine.
const LATE: Duration = Duration::from_millis(500);

#[test]
fn fails_over_when_the_master_is_killed() {
    let kind = Kind::under_test();
    // The median is what is promised: a disk that stands still holds up a vote, on busy machines for half a second.
    let mut times = [(); 3].map(|()| killed(kind));
    times.sort_unstable();
    assert!(kind == Kind::Stock || times[1] < FAST, "failover.md 207: {times:?} from +sdown on");
}

#[test]
fn stock_fails_over_when_the_master_is_killed() {
    killed(Kind::Stock);
}

/// failover.md 92, 157, 165: and the old master comes back as a replica. Returns the time from the first `+sdown` until
/// everybody tells the new address (207).
fn killed(kind: Kind) -> Duration {
    let plan = Plan::three(kind);
    let mut cluster = Cluster::start(&plan);
    let old = cluster.first_master();
    let killed = Instant::now();
    cluster.group().at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("mymaster", old, SWITCH);
    let told = Instant::now();
    cluster.wait_until_settled(&cluster.groups[0], new);
    let down_after = Duration::from_millis(plan.down_after);
    for sentinel in &cluster.sentinels {
        // A follower may be told of the new master before it has noticed anything itself.
        if let Some(down) = sentinel.events.find(killed, "+sdown master ") {
            let after = down.at - killed;
            assert!((down_after..down_after + LATE).contains(&after), "+sdown {} ms after the kill", after.as_millis());
        }
        assert!(sentinel.events.find(killed, &format!("-sdown master mymaster 127.0.0.1 {old}")).is_none());
    }
    let down = |sentinel: &Sentinel| sentinel.events.find(killed, "+sdown master ").map(|seen| seen.at);
    let first = cluster.sentinels.iter().filter_map(down).min().expect("somebody saw it go down");

    for sentinel in &cluster.sentinels {
        let replicas = sentinel.replicas("mymaster");
        let mut ports = replicas.iter().filter_map(|replica| replica.field("port")).collect::<Vec<_>>();
        ports.sort_unstable();
        let rest = cluster.groups[0].servers.iter().map(|server| server.port).filter(|&port| port != new);
        let mut expected = rest.map(|port| port.to_string()).collect::<Vec<_>>();
        expected.sort_unstable();
        assert_eq!(ports, expected, "the old master is a replica now");
    }

    cluster.group().at_mut(old).start_again();
    wait_until(seconds(40), "the old master follows the new one", || cluster.groups[0].at(old).follows(new));
    let log = std::fs::read_to_string(cluster.groups[0].at(old).process.log()).expect("it logs");
    let told_to_follow = format!("REPLICAOF 127.0.0.1:{new} enabled (user request");
    assert!(log.contains(&told_to_follow), "its own conf file made it a master, and it was told otherwise");
    cluster.wait_until_acquainted();
    told - first
}

/// failover.md 91: a hung master is down although its port still accepts.
#[test]
fn fails_over_when_the_master_hangs() {
    let mut cluster = Cluster::start(&Plan::three(Kind::under_test()));
    let old = cluster.first_master();
    cluster.group().at(old).hang();
    let new = cluster.wait_for_new_master("mymaster", old, SWITCH);
    cluster.group().at(old).resume();
    wait_until(seconds(40), "the old master follows the new one", || cluster.groups[0].at(old).follows(new));
    cluster.wait_until_settled(&cluster.groups[0], new);
    cluster.wait_until_acquainted();
}

#[test]
fn fails_over_when_the_master_is_shut_down() {
    let mut cluster = Cluster::start(&Plan::three(Kind::under_test()));
    let old = cluster.first_master();
    cluster.group().at_mut(old).shut_down();
    let new = cluster.wait_for_new_master("mymaster", old, SWITCH);
    cluster.wait_until_settled(&cluster.groups[0], new);
}

#[test]
fn fails_over_on_command() {
    on_command(Kind::under_test());
}

#[test]
fn stock_fails_over_on_command() {
    on_command(Kind::Stock);
}

/// failover.md 172, 176, 177: a healthy master is replaced, nobody is asked, and it becomes a replica itself.
fn on_command(kind: Kind) {
    let cluster = Cluster::start(&Plan::three(kind));
    let old = cluster.first_master();
    let start = Instant::now();
    let reply = cluster.sentinels[1].call(&["SENTINEL", "FAILOVER", "mymaster"]).expect("it answers");
    assert_eq!(reply, Value::Simple("OK".to_owned()));
    let new = cluster.wait_for_new_master("mymaster", old, seconds(20));
    cluster.wait_until_settled(&cluster.groups[0], new);
    cluster.wait_until_acquainted();
    assert_eq!(cluster.leader(start, "mymaster"), Some(1), "the Sentinel that was told to leads");
    for sentinel in &cluster.sentinels {
        assert!(sentinel.events.find(start, "+odown").is_none(), "nothing was down");
    }
}

/// failover.md 146, 150, 173: the lower priority wins, and a replica with priority 0 is never promoted.
#[test]
fn promotes_by_priority() {
    let cluster = Cluster::start(&Plan::three(Kind::under_test()));
    let [master, preferred, other] = &cluster.groups[0].servers[..] else { unreachable!("there are three") };
    let sentinel = &cluster.sentinels[0];
    let set = |wanted: [(&Server, &str); 2]| {
        for (server, priority) in wanted {
            server.call(&["CONFIG", "SET", "replica-priority", priority]).expect("it answers");
        }
        wait_until(seconds(15), "the Sentinel has read the priorities", || {
            let replicas = sentinel.replicas("mymaster");
            wanted.iter().all(|(server, priority)| {
                let port = server.port.to_string();
                let replica = replicas.iter().find(|replica| replica.field("port") == Some(&port));
                replica.is_some_and(|replica| replica.field("slave-priority") == Some(priority))
            })
        });
    };
    set([(preferred, "0"), (other, "0")]);
    let reply = sentinel.call(&["SENTINEL", "FAILOVER", "mymaster"]).expect("it answers");
    assert_eq!(reply, Value::Error("NOGOODSLAVE No suitable replica to promote".to_owned()));
    set([(preferred, "50"), (other, "200")]);
    let reply = sentinel.call(&["SENTINEL", "FAILOVER", "mymaster"]).expect("it answers");
    assert_eq!(reply, Value::Simple("OK".to_owned()));
    assert_eq!(cluster.wait_for_new_master("mymaster", master.port, seconds(20)), preferred.port);
}

/// failover.md 182, 185: a Sentinel that stood still does not trust its clock, and accuses nobody.
#[test]
fn a_stall_is_not_taken_for_a_dead_master() {
    let cluster = Cluster::start(&Plan::three(Kind::under_test()));
    let stalled = &cluster.sentinels[0];
    let stop = Instant::now();
    stalled.process.signal(Signal::SIGSTOP);
    wait_until(seconds(5), "time passes", || stop.elapsed() >= seconds(3));
    stalled.process.signal(Signal::SIGCONT);
    wait_until(seconds(5), "it notices", || stalled.events.find(stop, "+tilt #tilt mode entered").is_some());
    let resumed = Instant::now();
    wait_until(seconds(5), "time passes", || resumed.elapsed() >= Duration::from_millis(1500));
    for name in ["+sdown", "+odown", "+try-failover"] {
        assert!(stalled.events.find(stop, name).is_none(), "{name} in TILT");
    }
    assert_eq!(stalled.address("mymaster"), Some(cluster.first_master()));
}

/// failover.md 138: down Sentinels count as voters, so one of three is no majority, whatever its quorum.
#[test]
fn a_minority_never_elects_a_leader() {
    let kind = Kind::under_test();
    let mut cluster = Cluster::start(&Plan { sentinels: vec![(kind, 1); 3], ..Plan::three(kind) });
    let old = cluster.first_master();
    let [left, others @ ..] = &mut cluster.sentinels[..] else { unreachable!("there are three") };
    for other in others {
        other.process.kill();
    }
    let start = Instant::now();
    cluster.groups[0].at_mut(old).process.kill();
    let left = &*left;
    wait_until(seconds(30), "the attempt is given up", || {
        left.events.find(start, &format!("-failover-abort-not-elected master mymaster 127.0.0.1 {old}")).is_some()
    });
    let seen = |name: &str| left.events.find(start, name);
    let order = ["+sdown master", "+odown master", "+try-failover", "-failover-abort-not-elected"].map(|name| {
        let seen = seen(name).unwrap_or_else(|| panic!("{name} was published"));
        seen.at
    });
    assert!(order.is_sorted());
    assert!(seen("+elected-leader").is_none());
    assert_eq!(left.address("mymaster"), Some(old));
}
