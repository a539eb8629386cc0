//! B1: a replica that was just started anew, on an empty disk, when its master dies, and is the one that is preferred.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::reborn::{KEYS, Sync, filled, size};
use crate::support::Kind;
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::table::tell;
use crate::{pass, runs};

/// beyond.md B1
#[test]
fn a_replica_that_waits_for_its_first_copy_is_not_promoted_beside_another() {
    for _ in 0..runs().unwrap_or(1) {
        std::thread::scope(|scope| {
            let [stock, ours] = [Kind::Stock, Kind::Ours].map(|kind| scope.spawn(move || keys_left(kind)));
            assert_eq!(ours.join().expect("it went through"), KEYS);
            assert_eq!(stock.join().expect("it went through"), 0);
        });
    }
}

/// How many keys the servers have that outlive the master.
fn keys_left(kind: Kind) -> i64 {
    let mut world = filled(kind, Sync::Default);
    let [master, preferred, other] = [0, 1, 2].map(|place| world.cluster.groups[0].servers[place].port);
    let set = |port: u16, key: &str, value: &str| {
        for words in [&["CONFIG", "SET", key, value][..], &["CONFIG", "REWRITE"]] {
            world.cluster.groups[0].at(port).call(words).expect("it answers");
        }
    };
    set(preferred, "replica-priority", "1");
    // It dies before that.
    set(master, "repl-diskless-sync-delay", "60");
    let folder = world.cluster.groups[0].at(preferred).call(&["CONFIG", "GET", "dir"]).expect("it answers");
    let folder = PathBuf::from(folder.field("dir").expect("it has one"));
    let since = Instant::now();
    let process = &mut world.cluster.group().at_mut(preferred).process;
    process.kill();
    // What it had copied first is still there, and would spare it another copy.
    std::fs::remove_file(folder.join("dump.rdb")).expect("its first copy is in a file");
    process.start_again();
    let rebooted = format!("+reboot slave 127.0.0.1:{preferred}");
    for sentinel in &world.cluster.sentinels {
        wait_until(seconds(15), "it has seen that", || sentinel.events.find(since, &rebooted).is_some());
    }
    // A connection that breaks in its first second is tried again only when that second is over.
    pass(Duration::from_millis(1_500));
    world.cluster.group().at_mut(master).process.kill();
    let limit = seconds(30);
    world.cluster.wait_for_new_master("mymaster", master, limit);
    let servers = [preferred, other].map(|port| world.cluster.groups[0].at(port));
    let left = wait_for(limit, "they agree", || {
        let [first, second] = servers.map(size);
        (first == second && first >= 0).then_some(first)
    });
    let what = "keys left when the preferred replica was started anew before";
    tell(&format!("{what}, {}: {left} of {KEYS}; {} ms", kind.label(), since.elapsed().as_millis()));
    left
}
