//! Servers with a password.

use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::resp::Value;
use crate::support::wait::{seconds, wait_until};

/// failover.md 18: `auth-pass` goes to the master and its replicas, on every connection.
#[test]
fn fails_over_servers_with_a_password() {
    let kind = Kind::under_test();
    let mut cluster = Cluster::start(&Plan { password: Some("open-sesame"), ..Plan::three(kind) });
    let old = cluster.first_master();
    cluster.group().at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("mymaster", old, seconds(40));
    cluster.wait_until_settled(&cluster.groups[0], new);
}

/// failover.md 34, 95: without the right password a master is down, and `SENTINEL SET` brings it back.
#[test]
fn a_password_can_be_corrected() {
    let kind = Kind::under_test();
    let cluster = Cluster::start(&Plan { password: Some("right"), ..Plan::three(kind) });
    let sentinel = &cluster.sentinels[0];
    let set = |password: &str| {
        let reply = sentinel.call(&["SENTINEL", "SET", "mymaster", "auth-pass", password]).expect("it answers");
        assert_eq!(reply, Value::Simple("OK".to_owned()));
    };
    let down =
        || sentinel.master("mymaster", "flags").is_some_and(|flags| flags.split(',').any(|flag| flag == "s_down"));
    set("wrong");
    wait_until(seconds(20), "a refused PING is no sign of life", down);
    set("right");
    wait_until(seconds(20), "the master is up again", || {
        sentinel.master("mymaster", "flags").as_deref() == Some("master")
    });
}
