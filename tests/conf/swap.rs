//! One file, both programs: stopping one and starting the other on it always works (config.md 142).

use std::fs;
use std::path::Path;

use sentineld::conf::files::{RealFiles, read_main};
use sentineld::conf::load::{IdOrigin, Loaded, SourceSet, load};
use sentineld::conf::table;
use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::id::{Epoch, RunId, Secret};
use sentineld::store::file::{ConfFile, Disk};

use crate::stock::Stock;

fn load_file(path: &Path) -> Loaded {
    let sources = SourceSet {
        main: read_main(path).expect("readable"),
        stdin: None,
        options: Vec::new(),
        cwd: path.parent().expect("absolute").to_owned(),
    };
    let loaded = load(&sources, RunId::from("b".repeat(40).as_str()), &RealFiles);
    loaded.unwrap_or_else(|error| panic!("{error} in\n{}", String::from_utf8_lossy(&sources.main)))
}

const BY_HAND: &str = "# two masters\nport 26401\nloglevel verbose\nrequirepass \"front \\\"door\\\"\"\n\
     sentinel monitor one 127.0.0.1 1 2\nSENTINEL auth-pass one sekret\n\
     sentinel down-after-milliseconds one 1234\nsentinel rename-command one CONFIG guessme\n\
     sentinel monitor two ::1 2 1\nsentinel known-slave two 127.0.0.3 4\n";

#[test]
fn stock_reads_what_we_write() {
    let stock = Stock::find();
    let conf = stock.path("ours.conf");
    fs::write(&conf, BY_HAND).expect("written");
    let mut loaded = load_file(&conf);
    assert_eq!(loaded.myid, IdOrigin::Fresh);
    let mut one = loaded.masters[0].clone();
    one.spec.auth_pass = Some(Secret::from(b"a b\"\\\xff".as_slice()));
    one.spec.auth_user = Some("me".to_owned());
    one.spec.failover_timeout = 5000;
    one.spec.renames.insert("SLAVEOF".to_owned(), String::new());
    one.addr = Addr::new("127.0.0.2", 3);
    (one.config_epoch, one.leader_epoch) = (Epoch(7), Epoch(8));
    one.replicas = vec![Addr::new("127.0.0.1", 1), Addr::new("fe80::1", 5)];
    one.sentinels = vec![(RunId::from("c".repeat(40).as_str()), Addr::new("127.0.0.4", 6))];
    loaded.image.set_master(one.clone());
    let mut node = loaded.node.clone();
    node.announce_ip = Some("127.0.0.9".to_owned());
    node.announce_port = 77;
    node.sentinel_pass = Some(Secret::from(b"s p".as_slice()));
    loaded.image.set_node(&node);
    let text = loaded.image.render(Epoch(9));
    ConfFile::new(conf.clone()).replace(&text).expect("saved");

    let running = stock.start(&conf);
    assert_eq!(running.ask(&["--no-auth-warning", "-a", "front \"door\"", "ping"]), ["PONG"]);
    let ask = |words: &[&str]| running.ask(&[&["--no-auth-warning", "-a", "front \"door\""], words].concat());
    assert_eq!(ask(&["sentinel", "myid"]), ["b".repeat(40)]);
    assert_eq!(ask(&["sentinel", "get-master-addr-by-name", "one"]), ["127.0.0.2", "3"]);
    assert_eq!(ask(&["sentinel", "get-master-addr-by-name", "two"]), ["::1", "2"]);
    let reply = ask(&["sentinel", "master", "one"]);
    for (field, value) in [
        ("config-epoch", "7"),
        ("num-slaves", "2"),
        ("num-other-sentinels", "1"),
        ("down-after-milliseconds", "1234"),
        ("failover-timeout", "5000"),
        ("quorum", "2"),
    ] {
        let at = reply.iter().position(|line| line == field).expect("a field");
        assert_eq!(reply[at + 1], value, "{field}");
    }
    drop(running);

    // Stock had an id in the file, so it left it alone; and so it loads here as it was saved.
    assert_eq!(fs::read(&conf).expect("readable"), text);
    let again = load_file(&conf);
    assert_eq!(
        (again.masters, again.node, again.current_epoch),
        (vec![one, loaded.masters[1].clone()], node, Epoch(9))
    );
}

#[test]
fn we_read_what_stock_writes() {
    let stock = Stock::find();
    let conf = stock.path("theirs.conf");
    // Without known-slave: 7.0.15 keeps that line, adds known-replica, and does not start again.
    let by_hand = BY_HAND.replace("requirepass \"front \\\"door\\\"\"\n", "").replace("known-slave", "known-replica");
    fs::write(&conf, by_hand).expect("written");
    let running = stock.start(&conf);
    for words in [
        &["sentinel", "monitor", "three", "127.0.0.5", "6", "3"][..],
        &["sentinel", "set", "three", "auth-pass", "pw", "auth-user", "u", "parallel-syncs", "4"],
        &["sentinel", "set", "two", "rename-command", "SLAVEOF", "x", "failover-timeout", "5"],
        &["sentinel", "config", "set", "announce-ip", "127.0.0.8"],
        &["sentinel", "remove", "one"],
        &["sentinel", "flushconfig"],
    ] {
        assert_eq!(running.ask(words), ["OK"], "{words:?}");
    }
    let id = running.ask(&["sentinel", "myid"]);
    assert_eq!(running.field("three", "quorum"), "3");
    drop(running);

    let loaded = load_file(&conf);
    assert_eq!((loaded.node.myid.as_str(), loaded.myid), (id[0].as_str(), IdOrigin::File));
    assert_eq!(loaded.node.announce_ip.as_deref(), Some("127.0.0.8"));
    let named = |name: &str| {
        loaded.masters.iter().find(|master| master.spec.name.as_str() == name).unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(loaded.masters.len(), 2);
    let (two, three) = (named("two"), named("three"));
    assert_eq!((two.addr.clone(), two.spec.failover_timeout), (Addr::new("::1", 2), 5));
    assert_eq!(two.replicas, [Addr::new("127.0.0.3", 4)]);
    assert_eq!(two.spec.renames.get("SLAVEOF").map(String::as_str), Some("x"));
    assert_eq!((three.addr.clone(), three.spec.quorum, three.spec.parallel_syncs), (Addr::new("127.0.0.5", 6), 3, 4));
    assert_eq!(three.spec.auth_pass, Some(Secret::from(b"pw".as_slice())));
    assert_eq!(three.spec.auth_user.as_deref(), Some("u"));

    // And back: what we save of it starts stock again, which still knows the same.
    ConfFile::new(conf.clone()).replace(&loaded.image.render(loaded.current_epoch)).expect("saved");
    let running = stock.start(&conf);
    assert_eq!(running.ask(&["sentinel", "myid"]), id);
    assert_eq!(running.field("three", "quorum"), "3");
    assert_eq!(running.field("two", "num-slaves"), "1");
}

/// The example is for both programs.
#[test]
fn the_example_loads_in_both() {
    let stock = Stock::find();
    let conf = stock.path("example.conf");
    let example = include_str!("../../sentinel.conf.example");
    fs::write(&conf, example).expect("written");
    assert_eq!(stock.start(&conf).field("mymaster", "quorum"), "2");

    fs::write(&conf, example).expect("written");
    let loaded = load_file(&conf);
    assert_eq!(loaded.masters.len(), 1);
    // What is commented out is right as well.
    let all: Vec<&str> = example.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
    let directives = all.iter().filter(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_sentinel = words[0] == "sentinel" && words.len() > 2 && !words[1].ends_with("-script");
        is_sentinel || (table::find(words[0].as_bytes()).is_some() && words.len() == 2)
    });
    let text: Vec<&str> =
        directives.copied().filter(|line| !line.starts_with("unixsocket ") && !line.starts_with("pidfile")).collect();
    assert!(text.len() > 20, "{text:?}");
    fs::write(&conf, text.join("\n")).expect("written");
    load_file(&conf);
}

/// Every directive that does something here is in the example, with its default or a value of use.
#[test]
fn the_example_names_every_directive_that_counts() {
    let example = include_str!("../../sentinel.conf.example");
    let named: Vec<&str> = example.lines().map(|line| line.trim_start_matches("# ")).collect();
    let has = |words: &str| named.iter().any(|line| line.starts_with(&format!("{words} ")));
    let plain = "port bind bind-source-addr protected-mode unixsocket unixsocketperm timeout tcp-keepalive tcp-backlog \
                 maxclients client-query-buffer-limit proto-max-bulk-len client-output-buffer-limit loglevel logfile \
                 syslog-enabled syslog-ident syslog-facility daemonize supervised pidfile dir requirepass user aclfile \
                 acllog-max-len acl-pubsub-default set-proc-title proc-title-template always-show-logo rename-command \
                 include";
    let sentinel = "monitor down-after-milliseconds failover-timeout parallel-syncs notification-script \
                    client-reconfig-script auth-pass auth-user master-reboot-down-after-period rename-command \
                    announce-ip announce-port deny-scripts-reconfig resolve-hostnames announce-hostnames sentinel-user \
                    sentinel-pass";
    let tls = table::DIRECTIVES.iter().map(|(name, _)| *name).filter(|name| name.starts_with("tls-"));
    let tls = tls.filter(|name| *name != "tls-cluster").map(str::to_owned);
    let sentinel = sentinel.split_whitespace().map(|name| format!("sentinel {name}"));
    let plain = plain.split_whitespace().map(str::to_owned);
    let missing: Vec<String> = plain.chain(sentinel).chain(tls).filter(|name| !has(name)).collect();
    assert_eq!(missing, Vec::<String>::new());
}
