//! Two masters in one process: what happens to one leaves the other alone.

use std::time::Instant;

use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::wait::{seconds, wait_until};

/// failover.md 29, 129: one connection per peer, votes per master.
#[test]
fn one_of_two_masters_dies() {
    let kind = Kind::under_test();
    let plan = Plan { masters: vec!["mymaster", "resque"], replicas: 1, ..Plan::three(kind) };
    let mut cluster = Cluster::start(&plan);
    wait_until(seconds(5), "a peer of two masters has one link", || {
        let mut peers = cluster.sentinels.iter().flat_map(|sentinel| sentinel.peers("resque"));
        peers.all(|peer| peer.field("link-refcount") == Some("2"))
    });
    let healthy = cluster.groups[0].servers[0].port;
    let old = cluster.groups[1].servers[0].port;
    let start = Instant::now();
    cluster.groups[1].at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("resque", old, seconds(40));
    cluster.wait_until_settled(&cluster.groups[1], new);
    for sentinel in &cluster.sentinels {
        assert_eq!(sentinel.address("mymaster"), Some(healthy));
        assert_eq!(sentinel.master("mymaster", "flags").as_deref(), Some("master"));
        assert_eq!(sentinel.master("mymaster", "config-epoch").as_deref(), Some("0"));
        let disturbed = sentinel.events.all().into_iter().filter(|seen| seen.at >= start);
        let disturbed = disturbed.map(|seen| seen.line()).find(|line| line.contains("mymaster"));
        assert_eq!(disturbed, None, "nothing is said about the healthy master");
    }
}
