//! One conf file, now under stock, now under `sentineld`, now under stock again.

use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::resp::Value;
use crate::support::wait::seconds;

/// Everything that must come over: who am I, who leads in which epoch, where is everybody.
const STATE: [&str; 9] = [
    "myid",
    "monitor",
    "down-after-milliseconds",
    "failover-timeout",
    "config-epoch",
    "leader-epoch",
    "current-epoch",
    "known-replica",
    "known-sentinel",
];

#[test]
fn a_conf_file_moves_from_stock_to_ours_and_back() {
    let mut cluster = Cluster::start(&Plan::three(Kind::Stock));
    for kind in [Kind::under_test(), Kind::Stock] {
        // A failover each time, so that epochs and addresses are not those of a new file.
        let old = cluster.sentinels[0].address("mymaster").expect("a Sentinel names its master");
        let reply = cluster.sentinels[2].call(&["SENTINEL", "FAILOVER", "mymaster"]).expect("it answers");
        assert_eq!(reply, Value::Simple("OK".to_owned()));
        let new = cluster.wait_for_new_master("mymaster", old, seconds(20));
        cluster.wait_until_settled(&cluster.groups[0], new);
        cluster.wait_until_acquainted();

        for sentinel in &mut cluster.sentinels {
            let (id, master) = (sentinel.myid(), sentinel.address("mymaster"));
            sentinel.shut_down();
            let before = sentinel.saved(&STATE);
            assert_eq!(before.len(), 7 + 2 + 2, "{before:?}");
            sentinel.start_again(kind);
            assert_eq!(sentinel.saved(&STATE), before, "as {kind:?}");
            assert_eq!(sentinel.myid(), id);
            assert_eq!(sentinel.address("mymaster"), master);
        }
        cluster.wait_until_acquainted();
    }
    for sentinel in &cluster.sentinels {
        assert_eq!(sentinel.kind, Kind::Stock);
        assert_eq!(sentinel.saved_epoch("current-epoch"), 2);
    }
}
