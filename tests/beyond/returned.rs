//! B1: Sentinels that were away when the master died.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::Kind;
use crate::support::server::Server;
use crate::support::wait::{seconds, wait_until};
use crate::table::{note, tell};
use crate::{DOWN_AFTER, World, pass, runs};

/// How much later than `down-after-milliseconds` after their return.
const PROMISED: Duration = seconds(2);

/// Longer than replicas may be stale by stock's rule, which is 10 times `down-after-milliseconds`.
const LONG_ENOUGH: Duration = seconds(13);

/// How long stock is given to change its mind, in a run of all tests and in the long form.
const PATIENCE: [Duration; 2] = [seconds(4), seconds(60)];

/// How Sentinels are away.
#[derive(Clone, Copy, Debug)]
enum Absence {
    /// SIGKILL, and a new start.
    Stopped,
    /// SIGSTOP and SIGCONT.
    Frozen,
}

/// beyond.md B1: they come back and replace the master, by the replica that has most of its data; stock never does.
#[test]
fn returned_sentinels_replace_a_master_that_died_meanwhile() {
    let away = if runs().is_some() { vec![seconds(5), seconds(20), seconds(60)] } else { vec![LONG_ENOUGH] };
    for _ in 0..runs().unwrap_or(1) {
        std::thread::scope(|scope| {
            for &time in &away {
                for absence in [Absence::Stopped, Absence::Frozen] {
                    scope.spawn(move || ours(absence, time));
                }
                if time >= LONG_ENOUGH {
                    scope.spawn(move || stock(time));
                }
            }
        });
    }
}

fn ours(absence: Absence, time: Duration) {
    let mut world = World::start(Kind::Ours);
    let begun = Instant::now();
    let old = world.cluster.first_master();
    let best = master_dies_in(&mut world, absence, time);
    let back = Instant::now();
    come_back(&mut world, absence);
    let new = world.cluster.wait_for_new_master("mymaster", old, DOWN_AFTER + PROMISED + seconds(20));
    let took = back.elapsed();
    note(&format!("{absence:?} for {} s, sentineld", time.as_secs()), took);
    assert!(took < DOWN_AFTER + PROMISED, "{absence:?} for {time:?}: {} ms", took.as_millis());
    assert_eq!(new, best, "the replica with the highest offset");
    world.cluster.wait_until_settled(&world.cluster.groups[0], new);
    if time >= LONG_ENOUGH {
        let mut sentinels = world.cluster.sentinels.iter();
        let accepted = sentinels.any(|sentinel| sentinel.events.find(begun, "+stale-candidate-accepted").is_some());
        assert!(accepted, "stock's rule would have refused");
    }
}

/// It wins an election and gives it up for want of a good replica, for ever.
fn stock(time: Duration) {
    let mut world = World::start(Kind::Stock);
    let old = world.cluster.first_master();
    master_dies_in(&mut world, Absence::Stopped, time);
    let back = Instant::now();
    come_back(&mut world, Absence::Stopped);
    let sentinels = &world.cluster.sentinels;
    wait_until(seconds(30), "an election without a good replica", || {
        sentinels.iter().any(|sentinel| sentinel.events.find(back, "-failover-abort-no-good-slave").is_some())
    });
    let patience = PATIENCE[usize::from(runs().is_some())];
    wait_until(patience + seconds(1), "stock has had its time", || back.elapsed() > patience);
    for sentinel in sentinels {
        assert_eq!(sentinel.address("mymaster"), Some(old), "{}", sentinel.story());
    }
    tell(&format!("Stopped for {} s, redis-sentinel: no new master after {} s", time.as_secs(), patience.as_secs()));
}

/// The Sentinels go away, one replica falls behind, the master dies, and some time passes. The port of the replica that
/// has more.
fn master_dies_in(world: &mut World, absence: Absence, time: Duration) -> u16 {
    for sentinel in &mut world.cluster.sentinels {
        match absence {
            Absence::Stopped => sentinel.process.kill(),
            Absence::Frozen => sentinel.process.signal(Signal::SIGSTOP),
        }
    }
    let group = world.cluster.group();
    let [master, behind, ahead] = &mut group.servers[..] else { panic!("a master and two replicas") };
    // A password that the master refuses: the link stays down, and nothing else changes.
    behind.call(&["CONFIG", "SET", "masterauth", "wrong"]).expect("it answers");
    behind.call(&["CLIENT", "KILL", "TYPE", "master"]).expect("it answers");
    wait_until(seconds(10), "its link is down", || behind.replication("master_link_status").as_deref() == Some("down"));
    let mut client = master.client().expect("it answers");
    for number in 0..1_000 {
        client.call(&["SET", &format!("key:{number}"), "value"]).expect("it answers");
    }
    wait_until(seconds(10), "the other one has everything", || {
        offset(ahead, "slave_repl_offset") == offset(master, "master_repl_offset")
    });
    master.process.kill();
    behind.call(&["CONFIG", "SET", "masterauth", ""]).expect("it answers");
    assert!(offset(behind, "slave_repl_offset") < offset(ahead, "slave_repl_offset"));
    let best = ahead.port;
    pass(time);
    best
}

fn come_back(world: &mut World, absence: Absence) {
    match absence {
        Absence::Frozen => world.signal_sentinels(Signal::SIGCONT),
        Absence::Stopped => {
            for sentinel in &mut world.cluster.sentinels {
                let kind = sentinel.kind;
                sentinel.start_again(kind);
            }
        }
    }
}

fn offset(server: &Server, field: &str) -> u64 {
    server.replication(field).and_then(|text| text.parse().ok()).expect("INFO tells the offset")
}
