//! Clients that do not read: what waits for them is bounded, and nobody waits for them.

use std::time::{Duration, Instant};

use sentineld::sentinel::event::EventKind;
use sentineld::server::Limits;
use sentineld::server::clients::OutputLimit;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use crate::wire::{Wire, bulk};
use crate::world::{Plan, World, event, master};

const DEADLINE: Duration = Duration::from_secs(20);
/// Bytes of one event's payload.
const PAYLOAD: usize = 1_000;

fn limited(subscriber: OutputLimit) -> World {
    World::planned(Plan { limits: Limits { subscriber, ..Limits::default() }, ..Plan::default() })
}

/// A client whose kernel takes little.
async fn narrow(world: &World) -> Wire {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("an option");
    Wire::over(socket.connect(world.addr).await.expect("connect"))
}

/// A subscriber of `+sdown` who will never read more than the acknowledgement.
async fn deaf(world: &World) -> Wire {
    let mut wire = narrow(world).await;
    subscribe(&mut wire).await;
    wire
}

async fn subscribe(wire: &mut Wire) {
    wire.exchange("SUBSCRIBE +sdown", format!("*3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("+sdown"))).await;
}

async fn count(client: &mut Wire) -> usize {
    client.ask("CLIENT LIST TYPE pubsub").await;
    client.bulk().await.lines().count()
}

/// commands.md 194: cut off at the hard limit, while another subscriber gets every event at once and anybody is
/// answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_subscriber_is_cut_off_and_delays_nobody() {
    let world = limited(OutputLimit { hard: 1 << 20, soft: 0, soft_ms: 0 });
    let mut observer = world.client().await;
    let _deaf = deaf(&world).await;
    let mut keen = world.client().await;
    subscribe(&mut keen).await;
    assert_eq!(count(&mut observer).await, 2);
    let payload = "x".repeat(PAYLOAD);
    let message = format!("*3\r\n{}{}{}", bulk("message"), bulk("+sdown"), bulk(&payload));
    let start = Instant::now();
    let mut published = 0;
    // The kernel takes some megabytes before anything waits here.
    while count(&mut observer).await == 2 {
        for _ in 0..100 {
            world.hub.publish(&event(EventKind::SubjectivelyDown, &payload));
        }
        keen.expect(message.repeat(100)).await;
        published += 100;
        assert!(start.elapsed() < DEADLINE, "it is still there after {published} events");
    }
    assert!(published * PAYLOAD > 1 << 20, "cut off after {published} events, before the limit");
    keen.exchange("PING", format!("*2\r\n{}{}", bulk("pong"), bulk(""))).await;
    assert_eq!(world.hub.dropped(), 0);
}

/// commands.md 194: above the soft limit for its time, though nothing more is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_subscriber_is_cut_off_when_it_stays_above_the_soft_limit() {
    let world = limited(OutputLimit { hard: 0, soft: 100 << 10, soft_ms: 500 });
    let mut observer = world.client().await;
    let _deaf = deaf(&world).await;
    let payload = "x".repeat(PAYLOAD);
    let waiting = |line: &str| {
        let omem = line.split(" omem=").nth(1).and_then(|rest| rest.split(' ').next());
        omem.and_then(|omem| omem.parse::<usize>().ok()).expect("a number")
    };
    let start = Instant::now();
    let mut looks = 0;
    // What was handed over just now may still leave for the kernel: it has to wait for some looks in a row.
    while looks < 20 {
        observer.ask("CLIENT LIST TYPE pubsub").await;
        let list = observer.bulk().await;
        assert!(!list.is_empty(), "it is cut off before its time");
        assert!(start.elapsed() < DEADLINE, "nothing waits: {list}");
        if list.lines().next().is_some_and(|line| waiting(line) > 200 << 10) {
            looks += 1;
            continue;
        }
        looks = 0;
        for _ in 0..100 {
            world.hub.publish(&event(EventKind::SubjectivelyDown, &payload));
        }
    }
    while count(&mut observer).await > 0 {
        assert!(start.elapsed() < DEADLINE, "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// commands.md 7.3: a client that asks for much and reads nothing is closed at the limit for ordinary clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_replies_is_cut_off() {
    let normal = OutputLimit { hard: 500_000, soft: 0, soft_ms: 0 };
    let world = World::planned(Plan { limits: Limits { normal, ..Limits::default() }, ..Plan::default() });
    let mut greedy = world.client().await;
    let start = Instant::now();
    let mut observer = world.client().await;
    let is_there = async |observer: &mut Wire| {
        observer.ask("CLIENT LIST ID 1").await;
        !observer.bulk().await.is_empty()
    };
    while is_there(&mut observer).await {
        greedy.ask(&format!("PING {}", "x".repeat(100_000))).await;
        assert!(start.elapsed() < DEADLINE, "it is still there");
    }
}

/// A reply with an element for each master is made as it leaves: little of it waits for a client that does not read, and
/// neither an event nor the next reply gets into it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_reply_waits_in_pieces_and_stays_in_one() {
    const MASTERS: usize = 1_000;
    const REPLIES: usize = 20;
    let world = limited(OutputLimit { hard: 300_000, soft: 0, soft_ms: 0 });
    for number in 0..MASTERS {
        world.monitor_by_hand(master(&format!("m{number}"), "127.0.0.1", 6379, world.now()));
    }
    let mut observer = world.client().await;
    let mut slow = narrow(&world).await;
    slow.speak(3).await;
    slow.exchange("SUBSCRIBE +sdown", format!(">3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("+sdown"))).await;
    slow.send("SENTINEL MASTERS\r\n".repeat(REPLIES) + "PING\r\n").await;
    for _ in 0..100 {
        world.hub.publish(&event(EventKind::SubjectivelyDown, "x"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(count(&mut observer).await, 1, "it is cut off");
    let (mut text, mut bytes) = (String::new(), [0; 16 << 10]);
    while !text[text.len().saturating_sub(2 * bytes.len())..].contains("+PONG") {
        let read = tokio::time::timeout(DEADLINE, slow.stream.read(&mut bytes)).await;
        let read = read.expect("it goes on").expect("an open socket");
        text.push_str(str::from_utf8(&bytes[..read]).expect("text"));
    }
    let replies: Vec<&str> = text.split(&format!("*{MASTERS}\r\n")).skip(1).collect();
    assert_eq!(replies.len(), REPLIES);
    for reply in replies {
        let (_, last) = reply.rsplit_once("parallel-syncs").expect("it tells of masters");
        assert_eq!(reply.matches("parallel-syncs").count(), MASTERS);
        assert_eq!(reply.matches(">3\r\n").count(), last.matches(">3\r\n").count(), "an event came too early");
    }
    assert!(text.contains(">3\r\n"));
}
