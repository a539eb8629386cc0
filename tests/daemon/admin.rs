//! What becomes a message to a monitor or to the supervisor, and what is refused beforehand.

use std::sync::Arc;

use sentineld::driver::{NodeChange, SupervisorRequest};
use sentineld::sentinel::NodeSettings;
use sentineld::sentinel::monitor::hello::Hello;

use crate::wire::Wire;
use crate::world::{Manner, PEER, World, master};

async fn with_master(manner: Manner) -> (World, crate::world::Mailbox, Wire) {
    let world = World::new();
    let (_, mailbox) = world.monitor(master("mymaster", "127.0.0.1", 6379, world.now()), manner);
    let client = world.client().await;
    (world, mailbox, client)
}

fn asked(world: &World) -> Vec<String> {
    world.asked.lock().unwrap().drain(..).map(|request| format!("{request:?}")).collect()
}

fn nothing() -> Vec<String> {
    Vec::new()
}

/// commands.md 83 to 90, 93
#[tokio::test]
async fn monitor_is_judged_in_stocks_order() {
    let (world, _, mut client) = with_master(Manner::default()).await;
    for (words, error) in [
        ("m 127.0.0.1 x x", "ERR Invalid quorum"),
        ("m 127.0.0.1 x 0", "ERR Invalid port"),
        ("m nowhere 70000 0", "ERR Quorum must be 1 or greater."),
        ("m nowhere 70000 -1", "ERR Quorum must be 1 or greater."),
        ("m nowhere 70000 1", "ERR Invalid IP address or hostname specified"),
        ("m  6379 1", "ERR Invalid IP address or hostname specified"),
        ("mymaster 127.0.0.1 70000 1", "ERR Invalid port number."),
        ("m 127.0.0.1 -1 1", "ERR Invalid port number."),
        ("m\n 127.0.0.1 6379 1", "ERR The master name must not contain control characters"),
    ] {
        client.exchange(&format!("SENTINEL MONITOR {words}"), format!("-{error}\r\n")).await;
    }
    assert_eq!(asked(&world), nothing());
    for host in ["127.0.0.1", "::1"] {
        client.exchange(&format!("SENTINEL MONITOR new {host} 0 2"), "+OK\r\n").await;
        match &world.asked.lock().unwrap()[..] {
            [SupervisorRequest::Monitor { spec, addr }] => {
                assert_eq!((spec.name.as_str(), spec.quorum, spec.down_after), ("new", 2, 30_000));
                assert_eq!((spec.failover_timeout, spec.parallel_syncs), (180_000, 1));
                assert_eq!((&*addr.host, addr.port), (host, 0));
            }
            other => panic!("{other:?}"),
        }
        asked(&world);
    }
    *world.supervisor.lock().unwrap() = Manner::error("ERR Duplicate master name.");
    client.exchange("SENTINEL MONITOR mymaster 127.0.0.1 6379 1", "-ERR Duplicate master name.\r\n").await;
}

#[tokio::test]
async fn monitor_resolves_names_where_that_is_allowed() {
    let (world, _, mut client) = with_master(Manner::default()).await;
    world.settings.send_modify(|settings| Arc::make_mut(settings).resolve_hostnames = true);
    client.exchange("SENTINEL MONITOR new localhost 6379 1", "+OK\r\n").await;
    match &world.asked.lock().unwrap()[..] {
        [SupervisorRequest::Monitor { addr, .. }] => {
            assert_eq!(&*addr.host, "localhost");
            assert!(addr.ip.expect("resolved").is_loopback());
        }
        other => panic!("{other:?}"),
    }
    let invalid = "-ERR Invalid IP address or hostname specified\r\n";
    client.exchange("SENTINEL MONITOR new2 name.invalid 6379 1", invalid).await;
}

/// commands.md 94 to 97, 100 to 105, 108
#[tokio::test]
async fn passes_requests_on_and_answers_back() {
    let (world, mailbox, mut client) = with_master(Manner::default()).await;
    world.monitor(master("other", "127.0.0.1", 6390, world.now()), Manner::default());
    let unknown = "-ERR No such master with that name\r\n";
    client.exchange("SENTINEL REMOVE nope", unknown).await;
    client.exchange("SENTINEL FAILOVER nope", unknown).await;
    client.exchange("SENTINEL SET nope quorum 1", unknown).await;
    client.exchange("SENTINEL RESET nope*", ":0\r\n").await;
    client.exchange("SENTINEL RESET MY*", ":0\r\n").await;
    assert_eq!((asked(&world), mailbox.take()), (nothing(), nothing()));
    client.exchange("SENTINEL REMOVE mymaster", "+OK\r\n").await;
    client.exchange("SENTINEL FLUSHCONFIG", "+OK\r\n").await;
    assert_eq!(asked(&world), ["Remove(\"mymaster\")", "FlushConfig"]);
    client.exchange("SENTINEL FAILOVER mymaster", "+OK\r\n").await;
    client.exchange("SENTINEL RESET my*", ":1\r\n").await;
    client.exchange("SENTINEL RESET *", ":2\r\n").await;
    let bare = "Failover(FailoverOrder { mode: None, to: None, timeout: None })";
    assert_eq!(mailbox.take(), [bare, "Reset", "Reset"]);
    let unsaved = "ERR Failed to save config file. Check server logs.";
    *world.supervisor.lock().unwrap() = Manner::error(unsaved);
    for command in ["REMOVE mymaster", "FLUSHCONFIG", "MONITOR new 127.0.0.1 1 1", "CONFIG SET announce-port 1"] {
        client.exchange(&format!("SENTINEL {command}"), format!("-{unsaved}\r\n")).await;
    }
    client.exchange("SENTINEL FAILOVER", "-ERR wrong number of arguments for 'sentinel|failover' command\r\n").await;
}

/// beyond.md B4: options in any order and case, each once; what is wrong reaches nobody.
#[tokio::test]
async fn failover_takes_options() {
    let (_world, mailbox, mut client) = with_master(Manner::default()).await;
    let to = r#"Some(Addr { host: "10.0.0.1", ip: Some(10.0.0.1), port: 6380 })"#;
    for (options, mode, to, timeout) in [
        ("COORDINATED", "Some(Coordinated)", "None", "None"),
        ("to 10.0.0.1 6380", "None", to, "None"),
        ("TIMEOUT 1 TO 10.0.0.1 6380 coordinated", "Some(Coordinated)", to, "Some(1)"),
    ] {
        client.exchange(&format!("SENTINEL FAILOVER mymaster {options}"), "+OK\r\n").await;
        let order = format!("Failover(FailoverOrder {{ mode: {mode}, to: {to}, timeout: {timeout} }})");
        assert_eq!(mailbox.take(), [order]);
    }
    for (options, refusal) in [
        ("x", "Unknown failover option specified"),
        ("COORDINATED x", "Unknown failover option specified"),
        ("COORDINATED COORDINATED", "syntax error"),
        ("TO 10.0.0.1", "syntax error"),
        ("TO 10.0.0.1 0", "Invalid port"),
        ("TIMEOUT", "syntax error"),
        ("TIMEOUT 1 TIMEOUT 1", "syntax error"),
        ("TIMEOUT 0", "FAILOVER timeout must be greater than 0"),
        ("TIMEOUT 1.5", "value is not an integer or out of range"),
    ] {
        client.exchange(&format!("SENTINEL FAILOVER mymaster {options}"), format!("-ERR {refusal}\r\n")).await;
    }
    assert_eq!(mailbox.take(), nothing());
}

#[tokio::test]
async fn passes_on_what_a_monitor_refuses() {
    let (_world, _, mut client) = with_master(Manner::error("INPROG Failover already in progress")).await;
    client.exchange("SENTINEL FAILOVER mymaster", "-INPROG Failover already in progress\r\n").await;
}

/// A master whose monitor is gone is unknown, even while it is still listed.
#[tokio::test]
async fn a_monitor_that_ended_is_an_unknown_master() {
    use sentineld::publish::MasterEntry;
    let world = World::new();
    let (_keep, view) = tokio::sync::watch::channel(Arc::new(master("gone", "127.0.0.1", 6379, world.now())));
    let (mailbox, _) = world.mailbox();
    world.publisher.add(crate::world::named("gone"), MasterEntry { view, mailbox });
    let mut client = world.client().await;
    client.exchange("SENTINEL FAILOVER gone", "-ERR No such master with that name\r\n").await;
    client.exchange("SENTINEL RESET *", ":0\r\n").await;
    let vote = format!("SENTINEL is-master-down-by-addr 127.0.0.1 6379 7 {PEER}");
    client.exchange(&vote, "*3\r\n:0\r\n$1\r\n*\r\n:0\r\n").await;
}

/// commands.md 113 to 128
#[tokio::test]
async fn set_reads_options_from_left_to_right() {
    let (world, mailbox, mut client) = with_master(Manner::default()).await;
    client
        .exchange(
            "SENTINEL SET mymaster Quorum 3 down-after-milliseconds 1 failover-timeout 2 parallel-syncs 4 auth-pass pw \
             auth-user joe rename-command config GUESSME master-reboot-down-after-period 0",
            "+OK\r\n",
        )
        .await;
    assert_eq!(
        mailbox.take(),
        [
            "Quorum 3 = Quorum(3)",
            "down-after-milliseconds 1 = DownAfter(1)",
            "failover-timeout 2 = FailoverTimeout(2)",
            "parallel-syncs 4 = ParallelSyncs(4)",
            "auth-pass ****** = AuthPass(Some(******))",
            "auth-user joe = AuthUser(Some(\"joe\"))",
            "rename-command config GUESSME = RenameCommand { from: \"CONFIG\", to: \"GUESSME\" }",
            "master-reboot-down-after-period 0 = RebootDownAfter(0)",
        ]
    );
    client.exchange("SENTINEL SET mymaster auth-pass  auth-user ", "+OK\r\n").await;
    assert_eq!(mailbox.take(), ["auth-pass ****** = AuthPass(None)", "auth-user  = AuthUser(None)"]);
    let denied = "Reconfiguration of scripts path is denied for security reasons. Check the deny-scripts-reconfig \
                  configuration directive in your Sentinel configuration";
    for (options, error, applied) in [
        ("bogus 1", "Unknown option or number of arguments for SENTINEL SET 'bogus'", ""),
        (
            "quorum 6 parallel-syncs",
            "Unknown option or number of arguments for SENTINEL SET 'parallel-syncs'",
            "quorum 6 = Quorum(6)",
        ),
        ("quorum 6 Parallel-Syncs 0", "Invalid argument '0' for SENTINEL SET 'Parallel-Syncs'", "quorum 6 = Quorum(6)"),
        ("quorum 0", "Invalid argument '0' for SENTINEL SET 'quorum'", ""),
        ("quorum +5", "Invalid argument '+5' for SENTINEL SET 'quorum'", ""),
        ("quorum 99999999999", "Invalid argument '99999999999' for SENTINEL SET 'quorum'", ""),
        ("down-after-milliseconds x", "Invalid argument 'x' for SENTINEL SET 'down-after-milliseconds'", ""),
        (
            "master-reboot-down-after-period -1",
            "Invalid argument '-1' for SENTINEL SET 'master-reboot-down-after-period'",
            "",
        ),
        ("rename-command a", "Unknown option or number of arguments for SENTINEL SET 'rename-command'", ""),
        ("rename-command  b", "Invalid argument '' for SENTINEL SET 'rename-command'", ""),
        ("notification-script /bin/true", denied, ""),
        ("client-reconfig-script ", denied, ""),
    ] {
        client.exchange(&format!("SENTINEL SET mymaster {options}"), format!("-ERR {error}\r\n")).await;
        assert_eq!(mailbox.take().concat(), applied, "{options}");
    }
    for short in ["mymaster", "mymaster quorum"] {
        let arity = "-ERR wrong number of arguments for 'sentinel|set' command\r\n";
        client.exchange(&format!("SENTINEL SET {short}"), arity).await;
    }
    world
        .settings
        .send_modify(|settings: &mut Arc<NodeSettings>| Arc::make_mut(settings).deny_scripts_reconfig = false);
    client
        .exchange(
            "SENTINEL SET mymaster notification-script /nowhere",
            "-ERR Notification script seems non existing or non executable\r\n",
        )
        .await;
    client
        .exchange(
            "SENTINEL SET mymaster client-reconfig-script /dev/null",
            "-ERR Client reconfiguration script seems non existing or non executable\r\n",
        )
        .await;
    client.exchange("SENTINEL SET mymaster notification-script /bin/sh client-reconfig-script ", "+OK\r\n").await;
    assert_eq!(
        mailbox.take(),
        [
            "notification-script /bin/sh = NotificationScript(Some(\"/bin/sh\"))",
            "client-reconfig-script  = ClientReconfigScript(None)"
        ]
    );
}

/// commands.md 134 to 139
#[tokio::test]
async fn config_set_is_all_or_nothing() {
    let (world, _, mut client) = with_master(Manner::default()).await;
    client
        .exchange(
            "SENTINEL CONFIG SET Announce-Port 5000 announce-ip 10.0.0.1 resolve-hostnames YES sentinel-pass pw \
             sentinel-user  announce-hostnames no loglevel debug",
            "+OK\r\n",
        )
        .await;
    match &world.asked.lock().unwrap()[..] {
        [SupervisorRequest::ConfigSet(changes)] => assert_eq!(
            changes[..],
            [
                NodeChange::AnnouncePort(5_000),
                NodeChange::AnnounceIp(Some("10.0.0.1".to_owned())),
                NodeChange::ResolveHostnames(true),
                NodeChange::SentinelPass(Some(sentineld::sentinel::id::Secret::from(&b"pw"[..]))),
                NodeChange::SentinelUser(None),
                NodeChange::AnnounceHostnames(false),
                NodeChange::LogLevel("debug".to_owned()),
            ]
        ),
        other => panic!("{other:?}"),
    }
    asked(&world);
    for (words, error) in [
        ("a b", "Invalid argument 'a' to SENTINEL CONFIG SET"),
        ("announce-port 70000", "Invalid value '70000' to SENTINEL CONFIG SET 'announce-port'"),
        ("ANNOUNCE-PORT -1", "Invalid value '-1' to SENTINEL CONFIG SET 'ANNOUNCE-PORT'"),
        ("announce-port abc", "Invalid value 'abc' to SENTINEL CONFIG SET 'announce-port'"),
        ("resolve-hostnames 1", "Invalid value '1' to SENTINEL CONFIG SET 'resolve-hostnames'"),
        ("loglevel loud", "Invalid value 'loud' to SENTINEL CONFIG SET 'loglevel'"),
        ("announce-ip a announce-port x", "Invalid value 'x' to SENTINEL CONFIG SET 'announce-port'"),
        ("announce-ip a ANNOUNCE-IP b", "Duplicate argument 'ANNOUNCE-IP' to SENTINEL CONFIG SET"),
        ("announce-ip a announce-port", "Missing argument 'announce-port' value"),
    ] {
        client.exchange(&format!("SENTINEL CONFIG SET {words}"), format!("-ERR {error}\r\n")).await;
    }
    assert_eq!(asked(&world), nothing());
}

/// commands.md 148 to 150, 152
#[tokio::test]
async fn simulations_and_periods_apply_up_to_the_first_mistake() {
    let (world, _, mut client) = with_master(Manner::default()).await;
    let flags = |election: bool, promotion: bool| {
        format!("Tune([SimulateFailure {{ after_election: {election}, after_promotion: {promotion} }}])")
    };
    let unknown = "-ERR Unknown failure simulation specified\r\n";
    let help = "*2\r\n$20\r\ncrash-after-election\r\n$21\r\ncrash-after-promotion\r\n";
    for (words, reply, expected) in [
        ("Crash-After-Election crash-after-promotion", "+OK\r\n", flags(true, true)),
        ("crash-after-promotion zz", unknown, flags(false, true)),
        ("zz", unknown, flags(false, false)),
        ("help", help, flags(false, false)),
    ] {
        client.exchange(&format!("SENTINEL SIMULATE-FAILURE {words}"), reply).await;
        assert_eq!(asked(&world), [expected]);
    }
    client.exchange("SENTINEL DEBUG info-period 5 TILT-TRIGGER 7", "+OK\r\n").await;
    assert_eq!(asked(&world), ["Tune([Period(\"INFO-PERIOD\", 5), Period(\"TILT-TRIGGER\", 7)])"]);
    client
        .exchange(
            "SENTINEL DEBUG info-period 5 ping-period 0",
            "-ERR Invalid argument '0' for SENTINEL DEBUG 'ping-period'\r\n",
        )
        .await;
    assert_eq!(asked(&world), ["Tune([Period(\"INFO-PERIOD\", 5)])"]);
    for (words, error) in [
        ("x", "Unknown option or number of arguments for SENTINEL DEBUG 'x'"),
        ("info-period", "Unknown option or number of arguments for SENTINEL DEBUG 'info-period'"),
        ("info-period 1x", "Invalid argument '1x' for SENTINEL DEBUG 'info-period'"),
        ("info-period -5", "Invalid argument '-5' for SENTINEL DEBUG 'info-period'"),
    ] {
        client.exchange(&format!("SENTINEL DEBUG {words}"), format!("-ERR {error}\r\n")).await;
    }
    assert_eq!(asked(&world), nothing());
}

/// commands.md 189 to 193; failover.md 73, 75, 76
#[tokio::test]
async fn hellos_go_to_the_monitor_of_their_master() {
    let (_world, mailbox, mut client) = with_master(Manner::default()).await;
    let publish = |payload: &str| format!("PUBLISH __sentinel__:hello {payload}");
    for ignored in ["garbage", "", "a,b,c,d,e,f,g,h", &format!("127.0.0.1,26380,{PEER},1,nope,127.0.0.1,6379,1")] {
        client.exchange(&publish(ignored), ":1\r\n").await;
    }
    let hello = format!("127.0.0.1,26380,{PEER},1,mymaster,127.0.0.1,6379,1");
    client.exchange(&publish(&hello), ":1\r\n").await;
    // The reply does not wait for the monitor; an answered request that follows it does.
    client.exchange("SENTINEL FAILOVER mymaster", "+OK\r\n").await;
    let got = mailbox.take();
    assert_eq!(got.len(), 2, "{got:?}");
    assert_eq!(got[0], format!("Hello({:?})", Hello::parse(hello.as_bytes()).expect("well-formed")));
    client.exchange("PUBLISH other x", "-ERR Only HELLO messages are accepted by Sentinel instances.\r\n").await;
}

/// commands.md 179
#[tokio::test]
async fn shutdown_closes_without_a_reply() {
    let (world, _, mut client) = with_master(Manner::default()).await;
    client.exchange("SHUTDOWN ABORT", "-ERR No shutdown in progress.\r\n").await;
    client.exchange("SHUTDOWN SAVE NOSAVE", "-ERR syntax error\r\n").await;
    client.exchange("SHUTDOWN now please", "-ERR syntax error\r\n").await;
    assert_eq!(asked(&world), nothing());
    client.ask("SHUTDOWN NOSAVE NOSAVE").await;
    client.expect_end().await;
    assert_eq!(asked(&world), ["Shutdown"]);
}
