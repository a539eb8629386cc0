//! Sentinels and servers of other versions than 7.0.15 (failover.md 201): they share a quorum with sentineld, follow it and
//! are followed by it, and refuse nothing that it sends.

use crate::mixed::{led_once, mixed};
use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::resp::Value;

#[test]
fn redis_6_2_follows_and_leads() {
    shares_a_quorum("redis-6.2");
}

#[test]
fn redis_8_2_follows_and_leads() {
    shares_a_quorum("redis-8.2");
}

#[test]
fn valkey_9_1_follows_and_leads() {
    shares_a_quorum("valkey-9.1");
}

/// Two of ours and one of theirs, over servers of theirs: ours is elected, then theirs fails over on command.
fn shares_a_quorum(version: &'static str) {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("no programs of {version} for this machine: see tests/versions.sh");
        return;
    }
    let kinds = [Kind::under_test(), Kind::under_test(), Kind::Other(version)];
    let cluster = led_once(&Plan { server_version: Some(version), ..mixed(&kinds) });
    let refused = refusals(&cluster);
    assert!(refused.is_empty(), "{version} refused: {refused:?}");
}

/// What the servers and the Sentinel of the other version answered with an error since they started.
fn refusals(cluster: &Cluster) -> Vec<String> {
    let live = cluster.groups[0].servers.iter().filter(|server| server.process.is_started());
    let of_servers = live.flat_map(|server| {
        let info = server.call(&["INFO", "all"]).expect("it answers");
        lines(&info, |line| line.starts_with("errorstat_") || is_failed_call(line))
    });
    let others = cluster.sentinels.iter().filter(|sentinel| matches!(sentinel.kind, Kind::Other(_)));
    let of_sentinels = others.flat_map(|sentinel| {
        let info = sentinel.call(&["INFO"]).expect("it answers");
        lines(&info, |line| line.strip_prefix("total_error_replies:").is_some_and(|count| count != "0"))
    });
    of_servers.chain(of_sentinels).collect()
}

/// `cmdstat_x:calls=1,...,rejected_calls=0,failed_calls=0`
fn is_failed_call(line: &str) -> bool {
    let counts =
        |name: &str| line.split(',').find_map(|part| part.strip_prefix(name)).is_some_and(|count| count != "0");
    line.starts_with("cmdstat_") && (counts("rejected_calls=") || counts("failed_calls="))
}

fn lines(info: &Value, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let text = info.text().expect("INFO is text");
    text.lines().map(str::trim_end).filter(|line| wanted(line)).map(str::to_owned).collect()
}
