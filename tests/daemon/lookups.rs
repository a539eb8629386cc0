//! What is answered from snapshots.

use std::sync::Arc;

use sentineld::sentinel::id::RunId;
use sentineld::sentinel::monitor::view::MasterView;
use sentineld::sentinel::time::Millis;

use crate::wire::{Wire, bulk};
use crate::world::{MYID, Manner, PEER, World, master, peer, replica};

const UNKNOWN: &str = "-ERR No such master with that name\r\n";

/// commands.md 55 to 62
#[tokio::test]
async fn tells_where_a_master_is() {
    let world = World::new();
    let (publish, _) = world.monitor(master("mymaster", "127.0.0.1", 6379, world.now()), Manner::default());
    world.monitor(master("six", "::1", 1, world.now()), Manner::default());
    let mut client = world.client().await;
    let ask = "SENTINEL get-master-addr-by-name mymaster";
    client.exchange(ask, "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n").await;
    client.exchange("SENTINEL get-primary-addr-by-name mymaster", "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n").await;
    client.exchange("SENTINEL get-master-addr-by-name six", "*2\r\n$3\r\n::1\r\n$1\r\n1\r\n").await;
    client.exchange("SENTINEL get-master-addr-by-name nope", "*-1\r\n").await;
    client.exchange("SENTINEL get-master-addr-by-name ", "*-1\r\n").await;
    client.exchange("SENTINEL get-master-addr-by-name MyMaster", "*-1\r\n").await;
    client
        .exchange(
            "SENTINEL get-master-addr-by-name a b",
            "-ERR wrong number of arguments for 'sentinel|get-master-addr-by-name' command\r\n",
        )
        .await;
    let mut third = world.resp3_client().await;
    third.exchange("SENTINEL get-master-addr-by-name nope", "_\r\n").await;
    // The promoted replica's address is told as soon as it is published, on connections that exist already.
    let mut view = MasterView::clone(&publish.borrow());
    view.current_port = 6380;
    world.publisher.readdress(&view);
    publish.send_replace(Arc::new(view));
    client.exchange(ask, "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6380\r\n").await;
    third.exchange(ask, "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6380\r\n").await;
    world.publisher.remove(&crate::world::named("mymaster"));
    client.exchange(ask, "*-1\r\n").await;
}

/// Names of the pairs of a map.
fn keys(strings: &[String]) -> Vec<&str> {
    strings.iter().step_by(2).map(String::as_str).collect()
}

fn value<'a>(strings: &'a [String], key: &str) -> &'a str {
    let at = strings.iter().step_by(2).position(|name| name == key).unwrap_or_else(|| panic!("no {key}"));
    &strings[at * 2 + 1]
}

const MASTER_FIELDS: [&str; 20] = [
    "name",
    "ip",
    "port",
    "runid",
    "flags",
    "link-pending-commands",
    "link-refcount",
    "last-ping-sent",
    "last-ok-ping-reply",
    "last-ping-reply",
    "down-after-milliseconds",
    "info-refresh",
    "role-reported",
    "role-reported-time",
    "config-epoch",
    "num-slaves",
    "num-other-sentinels",
    "quorum",
    "failover-timeout",
    "parallel-syncs",
];

/// commands.md 24 to 32, 40, 41
#[tokio::test]
async fn tells_the_state_of_masters() {
    let world = World::new();
    let mut client = world.client().await;
    client.exchange("SENTINEL MASTERS", "*0\r\n").await;
    client.exchange("SENTINEL MASTER mymaster", UNKNOWN).await;
    let before = Millis(world.now().0 - 5_000);
    let mut view = master("mymaster", "127.0.0.1", 6379, before);
    view.replicas.push(replica("127.0.0.1", 6380, before));
    view.sentinels.push(peer(PEER, before));
    world.monitor(view, Manner::default());
    world.monitor(master("other", "127.0.0.1", 6390, before), Manner::default());

    client.ask("SENTINEL MASTER mymaster").await;
    let (header, fields) = client.strings().await;
    assert_eq!(header, "*40");
    assert_eq!(keys(&fields), MASTER_FIELDS);
    for (key, expected) in [
        ("name", "mymaster"),
        ("ip", "127.0.0.1"),
        ("port", "6379"),
        ("flags", "master"),
        ("last-ping-sent", "0"),
        ("info-refresh", "0"),
        ("role-reported", "master"),
        ("config-epoch", "3"),
        ("num-slaves", "1"),
        ("num-other-sentinels", "1"),
        ("quorum", "2"),
        ("failover-timeout", "180000"),
        ("parallel-syncs", "1"),
        ("down-after-milliseconds", "30000"),
    ] {
        assert_eq!(value(&fields, key), expected, "{key}");
    }
    let age: u64 = value(&fields, "last-ok-ping-reply").parse().unwrap();
    assert!((5_000..15_000).contains(&age), "{age}");

    let mut third = world.resp3_client().await;
    third.ask("SENTINEL PRIMARY mymaster").await;
    let (header, fields) = third.strings().await;
    assert_eq!(header, "%20");
    assert_eq!(keys(&fields), MASTER_FIELDS);

    client.ask("SENTINEL MASTERS").await;
    assert_eq!(client.line().await, "*2");
    for name in ["mymaster", "other"] {
        assert_eq!(value(&client.strings().await.1, "name"), name);
    }
    client.exchange("SENTINEL MASTER MyMaster", UNKNOWN).await;
    client.exchange("SENTINEL MASTER", "-ERR wrong number of arguments for 'sentinel|master' command\r\n").await;
}

/// commands.md 34 to 38
#[tokio::test]
async fn tells_more_of_a_master_in_trouble() {
    let world = World::new();
    let mut view = master("mymaster", "127.0.0.1", 6379, world.now());
    view.instance.flags = "s_down,o_down,master,failover_in_progress".into();
    view.instance.sdown_since = Some(world.now());
    view.odown_since = Some(world.now());
    view.failover_state = Some("wait_start");
    view.notification_script = Some("/bin/true".to_owned());
    view.client_reconfig_script = Some("/bin/false".to_owned());
    world.monitor(view, Manner::default());
    let mut client = world.client().await;
    client.ask("SENTINEL MASTER mymaster").await;
    let (header, fields) = client.strings().await;
    assert_eq!(header, "*50");
    let mut expected = MASTER_FIELDS.to_vec();
    expected.insert(7, "failover-state");
    expected.insert(11, "s-down-time");
    expected.insert(12, "o-down-time");
    expected.extend(["notification-script", "client-reconfig-script"]);
    assert_eq!(keys(&fields), expected);
    assert_eq!(value(&fields, "failover-state"), "wait_start");
}

/// commands.md 42 to 49
#[tokio::test]
async fn tells_the_state_of_replicas() {
    let world = World::new();
    let mut view = master("mymaster", "127.0.0.1", 6379, world.now());
    view.replicas.push(replica("127.0.0.1", 6380, world.now()));
    view.replicas.push(replica("::1", 6381, world.now()));
    view.replicas[1].master_link_up = false;
    view.replicas[1].master_link_down = 7_000;
    view.replicas.push(replica("127.0.0.1", 6382, world.now()));
    view.replicas[2].announced = false;
    world.monitor(view, Manner::default());
    let mut client = world.client().await;
    for command in ["REPLICAS", "slaves"] {
        client.ask(&format!("SENTINEL {command} mymaster")).await;
        assert_eq!(client.line().await, "*2");
        let (header, fields) = client.strings().await;
        assert_eq!(header, "*42");
        let mut expected = MASTER_FIELDS[..14].to_vec();
        expected.extend([
            "master-link-down-time",
            "master-link-status",
            "master-host",
            "master-port",
            "slave-priority",
            "slave-repl-offset",
            "replica-announced",
        ]);
        assert_eq!(keys(&fields), expected);
        assert_eq!(value(&fields, "name"), "127.0.0.1:6380");
        assert_eq!(value(&fields, "master-link-status"), "ok");
        let (_, fields) = client.strings().await;
        assert_eq!(value(&fields, "name"), "[::1]:6381");
        assert_eq!(value(&fields, "master-link-status"), "err");
        assert_eq!(value(&fields, "master-link-down-time"), "7000");
    }
    client.exchange("SENTINEL REPLICAS nope", UNKNOWN).await;
    client.ask("SENTINEL MASTER mymaster").await;
    assert_eq!(value(&client.strings().await.1, "num-slaves"), "3");
}

/// commands.md 51 to 54
#[tokio::test]
async fn tells_the_state_of_other_sentinels() {
    let world = World::new();
    let mut view = master("mymaster", "127.0.0.1", 6379, world.now());
    view.sentinels.push(peer(PEER, world.now()));
    world.monitor(view, Manner::default());
    world.monitor(master("alone", "127.0.0.1", 6390, world.now()), Manner::default());
    let mut client = world.client().await;
    client.exchange("SENTINEL SENTINELS alone", "*0\r\n").await;
    client.exchange("SENTINEL SENTINELS nope", UNKNOWN).await;
    client.ask("SENTINEL SENTINELS mymaster").await;
    assert_eq!(client.line().await, "*1");
    let (header, fields) = client.strings().await;
    assert_eq!(header, "*28");
    let mut expected = MASTER_FIELDS[..11].to_vec();
    expected.extend(["last-hello-message", "voted-leader", "voted-leader-epoch"]);
    assert_eq!(keys(&fields), expected);
    assert_eq!(value(&fields, "name"), PEER);
    assert_eq!(value(&fields, "runid"), PEER);
    assert_eq!((value(&fields, "voted-leader"), value(&fields, "voted-leader-epoch")), ("?", "0"));
}

/// commands.md 63 to 68
#[tokio::test]
async fn counts_usable_sentinels() {
    let quorum = "Not enough available Sentinels to reach the specified quorum for this master";
    let majority = "Not enough available Sentinels to reach the majority and authorize a failover";
    let fine = "Quorum and failover authorization can be reached";
    for (peers, down, quorum_needed, expected) in [
        (2, 0, 2, format!("+OK 3 usable Sentinels. {fine}\r\n")),
        (2, 1, 2, format!("+OK 2 usable Sentinels. {fine}\r\n")),
        (2, 2, 2, format!("-NOQUORUM 1 usable Sentinels. {quorum}. {majority}\r\n")),
        (2, 2, 1, format!("-NOQUORUM 1 usable Sentinels. {majority}\r\n")),
        (0, 0, 2, format!("-NOQUORUM 1 usable Sentinels. {quorum}\r\n")),
        (0, 0, 1, format!("+OK 1 usable Sentinels. {fine}\r\n")),
        (3, 1, 1, format!("+OK 3 usable Sentinels. {fine}\r\n")),
        (3, 2, 1, format!("-NOQUORUM 2 usable Sentinels. {majority}\r\n")),
    ] {
        let world = World::new();
        let mut view = master("mymaster", "127.0.0.1", 6379, world.now());
        view.quorum = quorum_needed;
        for n in 0..peers {
            view.sentinels.push(peer(&format!("{n}").repeat(40), world.now()));
            view.sentinels[n].instance.sdown_since = (n < down).then(|| world.now());
        }
        world.monitor(view, Manner::default());
        let mut client = world.client().await;
        client.exchange("SENTINEL CKQUORUM mymaster", expected).await;
        client.exchange("SENTINEL CKQUORUM nope", UNKNOWN).await;
    }
}

/// commands.md 69 to 74, 78 to 82; failover.md 107, 108, 109, 122
#[tokio::test]
async fn answers_other_sentinels() {
    let world = World::new();
    let (publish, mailbox) = world.monitor(master("mymaster", "127.0.0.1", 6379, world.now()), Manner::default());
    let mut client = world.client().await;
    let ask = "SENTINEL is-master-down-by-addr 127.0.0.1 6379 5 *";
    let (up, down) = ("*3\r\n:0\r\n$1\r\n*\r\n:0\r\n", "*3\r\n:1\r\n$1\r\n*\r\n:0\r\n");
    client.exchange(ask, up).await;
    let mut view = MasterView::clone(&publish.borrow());
    view.instance.sdown_since = Some(world.now());
    publish.send_replace(Arc::new(view));
    client.exchange(ask, down).await;
    client.exchange("SENTINEL IS-PRIMARY-DOWN-BY-ADDR 127.0.0.1 6379 5 *", down).await;
    world.tilt.enter(world.now(), Millis(0), 30_000);
    client.exchange(ask, up).await;
    for port in ["6380", "-1", "70000"] {
        let unknown = format!("SENTINEL is-master-down-by-addr 127.0.0.1 {port} 5 {PEER}");
        client.exchange(&unknown, up).await;
    }
    assert_eq!(mailbox.take(), Vec::<String>::new());
    let vote = format!("SENTINEL is-master-down-by-addr 127.0.0.1 6379 7 {PEER}");
    client.exchange(&vote, format!("*3\r\n:0\r\n{}:7\r\n", bulk(PEER))).await;
    assert_eq!(mailbox.take(), [format!("vote 127.0.0.1:6379 7 {PEER}")]);
    let not_an_integer = "-ERR value is not an integer or out of range\r\n";
    for (port, epoch) in [("x", "1"), ("6379", "x"), ("6379", "-1"), ("6379", "01")] {
        let ask = format!("SENTINEL is-master-down-by-addr 127.0.0.1 {port} {epoch} {PEER}");
        client.exchange(&ask, not_an_integer).await;
    }
    client
        .exchange(
            "SENTINEL is-master-down-by-addr 127.0.0.1 6379 1",
            "-ERR wrong number of arguments for 'sentinel|is-master-down-by-addr' command\r\n",
        )
        .await;
    assert_eq!(mailbox.take(), Vec::<String>::new());
}

/// commands.md 143 to 145
#[tokio::test]
async fn repeats_what_servers_told() {
    let world = World::new();
    let mut view = master("mymaster", "127.0.0.1", 6379, world.now());
    view.server.info = Some(Arc::from(&b"role:master"[..]));
    view.server.info_at = Some(world.now());
    view.replicas.push(replica("127.0.0.1", 6380, world.now()));
    world.monitor(view, Manner::default());
    world.monitor(master("dm", "127.0.0.1", 6390, world.now()), Manner::default());
    let mut client = world.client().await;
    client.exchange("SENTINEL info-cache dm", "*2\r\n$2\r\ndm\r\n*1\r\n*2\r\n:0\r\n$-1\r\n").await;
    client.exchange("SENTINEL info-cache nope", "*0\r\n").await;
    client.exchange("SENTINEL info-cache dm nope dm", "*2\r\n$2\r\ndm\r\n*1\r\n*2\r\n:0\r\n$-1\r\n").await;
    client.ask("SENTINEL info-cache mymaster").await;
    client.expect("*2\r\n$8\r\nmymaster\r\n*2\r\n*2\r\n").await;
    assert!(client.line().await.starts_with(':'));
    client.expect("$11\r\nrole:master\r\n*2\r\n:0\r\n$-1\r\n").await;
    client.exchange("SENTINEL pending-scripts", "*0\r\n").await; // 146
    client.exchange("ROLE", "*2\r\n$8\r\nsentinel\r\n*2\r\n$2\r\ndm\r\n$8\r\nmymaster\r\n").await; // 19
}

/// commands.md 130 to 133, 142, 151
#[tokio::test]
async fn tells_its_settings() {
    let world = World::new();
    world.settings.send_modify(|settings| {
        let settings = Arc::make_mut(settings);
        settings.announce_ip = Some("10.0.0.1".to_owned());
        settings.announce_port = 5_000;
        settings.resolve_hostnames = true;
        settings.sentinel_pass = Some(sentineld::sentinel::id::Secret::from(&b"secret"[..]));
        settings.myid = RunId::from(MYID);
    });
    let mut client = world.client().await;
    client.ask("SENTINEL CONFIG GET *").await;
    let (header, pairs) = client.strings().await;
    assert_eq!(header, "*14");
    let expected = [
        ["resolve-hostnames", "yes"],
        ["announce-hostnames", "no"],
        ["announce-ip", "10.0.0.1"],
        ["announce-port", "5000"],
        ["sentinel-user", ""],
        ["sentinel-pass", "secret"],
        ["loglevel", "notice"],
    ];
    assert_eq!(pairs, expected.concat());
    client
        .exchange("SENTINEL CONFIG GET ANN*[OP]RT announce-?* nope", {
            let pairs = ["announce-port", "5000", "announce-hostnames", "no", "announce-ip", "10.0.0.1"];
            crate::wire::array(&pairs)
        })
        .await;
    client.exchange("SENTINEL CONFIG GET nope", "*0\r\n").await;
    world.resp3_client().await.exchange("SENTINEL CONFIG GET nope", "%0\r\n").await;
    let usage = "-ERR Only SENTINEL CONFIG GET <option> / SET <option> <value> are supported.\r\n";
    for wrong in ["foo a", "get", "set a"] {
        client.exchange(&format!("SENTINEL CONFIG {wrong}"), usage).await;
    }
    client.exchange("SENTINEL CONFIG", "-ERR wrong number of arguments for 'sentinel|config' command\r\n").await;
    client.ask("SENTINEL DEBUG").await;
    let (header, pairs) = client.strings().await;
    assert_eq!(header, "*26");
    assert_eq!(pairs[..4], ["INFO-PERIOD", "10000", "PING-PERIOD", "1000"]);
    assert_eq!(pairs[24..], ["SCRIPT-RETRY-DELAY", "30000"]);
}

async fn info(client: &mut Wire, sections: &str) -> String {
    client.ask(&format!("INFO{sections}")).await;
    client.bulk().await
}

fn titles(info: &str) -> Vec<&str> {
    info.lines().filter_map(|line| line.strip_prefix("# ")).collect()
}

/// commands.md 154 to 163
#[tokio::test]
async fn tells_about_the_process() {
    let world = World::new();
    let mut view = master("mymaster", "127.0.0.1", 6379, world.now());
    view.replicas.push(replica("127.0.0.1", 6380, world.now()));
    view.sentinels.push(peer(PEER, world.now()));
    let (publish, _) = world.monitor(view, Manner::default());
    world.monitor(master("six", "::1", 1, world.now()), Manner::default());
    let mut client = world.client().await;
    let whole = info(&mut client, "").await;
    let sections = ["Server", "Clients", "Stats", "CPU", "Sentinel"];
    assert_eq!(titles(&whole), sections);
    for same in [" all", " default", " everything", " ALL nope", " cpu everything"] {
        assert_eq!(titles(&info(&mut client, same).await), sections, "{same}");
    }
    assert_eq!(titles(&info(&mut client, " sentinel cpu SERVER").await), ["Server", "CPU", "Sentinel"]);
    for unknown in ["nope", "keyspace", "replication"] {
        assert_eq!(info(&mut client, &format!(" {unknown}")).await, "");
    }
    let head = "# Sentinel\r\nsentinel_masters:2\r\nsentinel_tilt:0\r\nsentinel_tilt_since_seconds:-1\r\n\
                sentinel_running_scripts:0\r\nsentinel_scripts_queue_length:0\r\nsentinel_simulate_failure_flags:0\r\n";
    let tail = "master1:name=six,status=ok,address=::1:1,slaves=0,sentinels=1\r\n";
    let of = |status| format!("master0:name=mymaster,status={status},address=127.0.0.1:6379,slaves=1,sentinels=2\r\n");
    assert_eq!(info(&mut client, " sentinel").await, format!("{head}{}{tail}", of("ok")));
    assert!(whole.ends_with(&format!("\r\n\r\n{head}{}{tail}", of("ok"))));
    let mut view = MasterView::clone(&publish.borrow());
    view.instance.sdown_since = Some(world.now());
    publish.send_replace(Arc::new(view.clone()));
    assert!(info(&mut client, " sentinel").await.contains(&of("sdown")));
    view.odown_since = Some(world.now());
    publish.send_replace(Arc::new(view));
    assert!(info(&mut client, " sentinel").await.contains(&of("odown")));
    // failover.md 188
    world.tilt.enter(world.now(), Millis(0), 30_000);
    assert!(info(&mut client, " sentinel").await.contains("sentinel_tilt:1\r\nsentinel_tilt_since_seconds:0\r\n"));
    for line in [
        "redis_version:7.0.15\r\n",
        "redis_mode:sentinel\r\n",
        &format!("tcp_port:{}\r\n", world.addr.port()),
        "connected_clients:1\r\n",
        "maxclients:10000\r\n",
        "total_connections_received:1\r\n",
        "config_file:/etc/sentinel.conf\r\n",
    ] {
        assert!(whole.contains(line), "{line}");
    }
    let mut third = world.resp3_client().await;
    third.ask("INFO sentinel").await;
    assert!(third.line().await.starts_with('$'));
}
