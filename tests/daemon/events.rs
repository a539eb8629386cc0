//! Subscribing, and the order of events and replies.

use std::time::Duration;

use sentineld::sentinel::event::EventKind;
use sentineld::server::clients::{Endpoint, OutputLimit};
use sentineld::server::{Limits, Renames, converse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::wire::array;
use crate::world::{Manner, Plan, World, event, master};

/// commands.md 180 to 182
#[tokio::test]
async fn acknowledges_each_subscription() {
    let world = World::new();
    let mut client = world.client().await;
    client.exchange("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n").await;
    client.exchange("PUNSUBSCRIBE", "*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n").await;
    client
        .exchange(
            "SUBSCRIBE a b a",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n\
             *3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n",
        )
        .await;
    client.exchange("PSUBSCRIBE a", "*3\r\n$10\r\npsubscribe\r\n$1\r\na\r\n:3\r\n").await;
    client.exchange("UNSUBSCRIBE nope", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnope\r\n:3\r\n").await;
    client
        .exchange(
            "UNSUBSCRIBE",
            "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n",
        )
        .await;
    client.exchange("PUNSUBSCRIBE a", "*3\r\n$12\r\npunsubscribe\r\n$1\r\na\r\n:0\r\n").await;
    // 0 left: an ordinary connection again.
    client.exchange("CLIENT GETNAME", "$-1\r\n").await;
}

/// commands.md 209: `user default ... resetchannels`.
#[tokio::test]
async fn a_user_without_channels_subscribes_to_none() {
    let world = World::planned(Plan { users: &[("default", "on nopass +@all")], ..Plan::default() });
    let mut client = world.client().await;
    let refusal = "-NOPERM this user has no permissions to access one of the channels used as arguments\r\n";
    client.exchange("SUBSCRIBE +sdown", refusal).await;
    client.exchange("PSUBSCRIBE *", refusal).await;
    client.exchange("PUBLISH __sentinel__:hello x", refusal).await;
    client.exchange("PING", "+PONG\r\n").await;
}

/// config.md 68
#[tokio::test]
async fn renamed_commands_go_by_their_new_names() {
    let renames = Renames::from([("ping".to_owned(), Some("alive".to_owned())), ("role".to_owned(), None)]);
    let world = World::planned(Plan { renames, ..Plan::default() });
    let mut client = world.client().await;
    client.exchange("ALIVE", "+PONG\r\n").await;
    client.exchange("PING", "-ERR unknown command 'PING', with args beginning with: \r\n").await;
    client.exchange("ROLE", "-ERR unknown command 'ROLE', with args beginning with: \r\n").await;
}

/// commands.md 183, 184, 188
#[tokio::test]
async fn a_resp2_subscriber_may_do_little_else() {
    let world = World::new();
    let mut client = world.client().await;
    client.exchange("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n").await;
    let refused = |name| {
        format!(
            "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context\r\n"
        )
    };
    client.exchange("CLIENT ID", refused("client|id")).await;
    client.exchange("sentinel masters", refused("sentinel|masters")).await;
    client.exchange("HELLO 3", refused("hello")).await;
    client.exchange("FOO", "-ERR unknown command 'FOO', with args beginning with: \r\n").await;
    client.exchange("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    client.exchange("PING hey", "*2\r\n$4\r\npong\r\n$3\r\nhey\r\n").await;
    let mut third = world.resp3_client().await;
    third.exchange("SUBSCRIBE a", ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n").await;
    third.exchange("PING", "+PONG\r\n").await; // 185
    third.exchange("ROLE", "*2\r\n$8\r\nsentinel\r\n*0\r\n").await;
    third.speak(2).await;
    third.exchange("ROLE", refused("role")).await;
}

/// commands.md 186, 187
#[tokio::test]
async fn delivers_each_form_in_order() {
    let world = World::new();
    let mut second = world.client().await;
    second.exchange("SUBSCRIBE +sdown", "*3\r\n$9\r\nsubscribe\r\n$6\r\n+sdown\r\n:1\r\n").await;
    second.exchange("PSUBSCRIBE +s*", "*3\r\n$10\r\npsubscribe\r\n$3\r\n+s*\r\n:2\r\n").await;
    let mut third = world.resp3_client().await;
    third.exchange("PSUBSCRIBE *", ">3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n").await;
    world.hub.publish(&event(EventKind::SubjectivelyDown, "x"));
    world.hub.publish(&event(EventKind::CommandLinkReconnection, "never published"));
    world.hub.publish(&event(EventKind::ObjectivelyDown, &"y".repeat(2_000)));
    second.expect(array(&["message", "+sdown", "x"])).await;
    second.expect(array(&["pmessage", "+s*", "+sdown", "x"])).await;
    third.expect(">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$6\r\n+sdown\r\n$1\r\nx\r\n").await;
    // A payload ends after 1023 bytes.
    let cut = "y".repeat(1_023);
    third.expect(format!(">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$6\r\n+odown\r\n$1023\r\n{cut}\r\n")).await;
    assert_eq!(world.hub.published(), 2);
    second.exchange("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    second.exchange("PUNSUBSCRIBE", "*3\r\n$12\r\npunsubscribe\r\n$3\r\n+s*\r\n:1\r\n").await;
    second.exchange("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$6\r\n+sdown\r\n:0\r\n").await;
    world.hub.publish(&event(EventKind::SubjectivelyDown, "z"));
    third.expect(">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$6\r\n+sdown\r\n$1\r\nz\r\n").await;
    second.exchange("PING", "+PONG\r\n").await;
}

/// commands.md 186: to however many, who are served some at a time, and though some of them leave.
#[tokio::test]
async fn delivers_to_hundreds_in_order() {
    let world = World::new();
    let mut subscribers = Vec::new();
    for _ in 0..400 {
        let mut client = world.client().await;
        client.exchange("SUBSCRIBE +sdown", "*3\r\n$9\r\nsubscribe\r\n$6\r\n+sdown\r\n:1\r\n").await;
        client.exchange("PSUBSCRIBE +s*", "*3\r\n$10\r\npsubscribe\r\n$3\r\n+s*\r\n:2\r\n").await;
        subscribers.push(client);
    }
    for payload in ["1", "2", "3"] {
        world.hub.publish(&event(EventKind::SubjectivelyDown, payload));
    }
    drop(subscribers.drain(100..200));
    for client in &mut subscribers {
        for payload in ["1", "2", "3"] {
            client.expect(array(&["message", "+sdown", payload])).await;
            client.expect(array(&["pmessage", "+s*", "+sdown", payload])).await;
        }
    }
    for mut client in subscribers {
        client.exchange("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    }
}

/// commands.md 92, 94, 120 and 1.4: what was published before the answer comes before it, what after, after. All of it is
/// published before the answer is sent, so only the number in the answer tells one from the other.
#[tokio::test]
async fn a_subscriber_sees_events_and_replies_in_one_order() {
    let world = World::new();
    let manner = Manner {
        before: vec![event(EventKind::Set, "one"), event(EventKind::Set, "two")],
        after: vec![event(EventKind::SubjectivelyDown, "three")],
        ..Manner::default()
    };
    world.monitor(master("mymaster", "127.0.0.1", 6379, world.now()), manner.clone());
    *world.supervisor.lock().unwrap() = Manner { before: Vec::new(), ..manner };
    let mut client = world.resp3_client().await;
    client.exchange("PSUBSCRIBE *", ">3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n").await;
    let push = |channel: &str, payload: &str| {
        let frame = String::from_utf8(array(&["pmessage", "*", channel, payload])).unwrap();
        frame.replacen('*', ">", 1)
    };
    for _ in 0..50 {
        client.ask("SENTINEL SET mymaster quorum 3").await;
        client.expect(push("+set", "one") + &push("+set", "two") + "+OK\r\n" + &push("+sdown", "three")).await;
        client.ask("SENTINEL MONITOR new 127.0.0.1 1 1").await;
        client.expect("+OK\r\n".to_owned() + &push("+sdown", "three")).await;
        client.ask("SENTINEL RESET *").await;
        client.expect(push("+set", "one") + &push("+set", "two") + ":1\r\n" + &push("+sdown", "three")).await;
    }
}

/// The reply waits for events that are still on their way through the hub: it takes more than one turn of its task to
/// distribute so many.
#[tokio::test]
async fn a_reply_overtakes_no_event() {
    let world = World::new();
    let before: Vec<_> = (0..1_000).map(|n| event(EventKind::Set, &n.to_string())).collect();
    world.monitor(master("mymaster", "127.0.0.1", 6379, world.now()), Manner { before, ..Manner::default() });
    let mut client = world.resp3_client().await;
    client.exchange("SUBSCRIBE +set", ">3\r\n$9\r\nsubscribe\r\n$4\r\n+set\r\n:1\r\n").await;
    client.ask("SENTINEL FAILOVER mymaster").await;
    for n in 0..1_000 {
        let frame = String::from_utf8(array(&["message", "+set", &n.to_string()])).unwrap();
        client.expect(frame.replacen('*', ">", 1)).await;
    }
    client.expect("+OK\r\n").await;
}

#[tokio::test]
async fn subscriptions_end_with_their_connection() {
    let world = World::new();
    let mut client = world.client().await;
    let mut subscriber = world.resp3_client().await;
    subscriber.exchange("SUBSCRIBE a", ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n").await;
    subscriber.exchange("PSUBSCRIBE b", ">3\r\n$10\r\npsubscribe\r\n$1\r\nb\r\n:2\r\n").await;
    client.ask("INFO stats").await;
    assert!(client.bulk().await.contains("pubsub_channels:1\r\npubsub_patterns:1\r\n"));
    drop(subscriber);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        client.ask("INFO stats").await;
        if client.bulk().await.contains("pubsub_channels:0\r\npubsub_patterns:0\r\n") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "subscriptions outlive their connection");
    }
}

/// commands.md 194: and nobody else notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_is_cut_off_and_delays_nobody() {
    let subscriber = OutputLimit { hard: 1 << 20, soft: 0, soft_ms: 0 };
    let world = World::planned(Plan { limits: Limits { subscriber, ..Limits::default() }, ..Plan::default() });
    let mut slow = world.client().await;
    slow.exchange("SUBSCRIBE +sdown", "*3\r\n$9\r\nsubscribe\r\n$6\r\n+sdown\r\n:1\r\n").await;
    let mut quick = world.client().await;
    quick.exchange("SUBSCRIBE +sdown", "*3\r\n$9\r\nsubscribe\r\n$6\r\n+sdown\r\n:1\r\n").await;
    let payload = "x".repeat(1_000);
    let frame = array(&["message", "+sdown", &payload]);
    let mut watcher = world.client().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        for _ in 0..100 {
            world.hub.publish(&event(EventKind::SubjectivelyDown, &payload));
        }
        for _ in 0..100 {
            quick.expect(&frame).await;
        }
        watcher.ask("CLIENT LIST TYPE pubsub").await;
        if watcher.bulk().await.lines().count() == 1 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the slow subscriber is still there");
    }
    quick.exchange("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    assert_eq!(world.hub.dropped(), 0);
}

/// Both wake the connection, which must not take the event for being cut off.
#[tokio::test]
async fn an_event_that_comes_with_quit_does_not_take_its_reply_away() {
    let world = World::new();
    for _ in 0..20 {
        let (mut far, near) = tokio::io::duplex(4_096);
        let end = || Endpoint::Tcp(world.addr);
        tokio::spawn(converse(near, end(), end(), world.context.clone()));
        far.write_all(b"SUBSCRIBE +sdown\r\n").await.unwrap();
        let mut acknowledgement = *b"*3\r\n$9\r\nsubscribe\r\n$6\r\n+sdown\r\n:1\r\n";
        far.read_exact(&mut acknowledgement).await.unwrap();
        // Neither waits for anything, so both are there when the connection's task runs next.
        world.hub.publish(&event(EventKind::SubjectivelyDown, "x"));
        far.write_all(b"QUIT\r\n").await.unwrap();
        let mut last = Vec::new();
        far.read_to_end(&mut last).await.unwrap();
        assert_eq!(last.escape_ascii().to_string(), "+OK\\r\\n");
    }
}
