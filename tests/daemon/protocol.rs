//! Framing, limits and how connections end.

use std::time::Duration;

use sentineld::server::Limits;

use crate::wire::array;
use crate::world::{LOCKED, Manner, Plan, World, master};

/// commands.md 195, 198
#[tokio::test]
async fn takes_lines_and_arrays_in_turn() {
    let world = World::new();
    let mut client = world.client().await;
    client.send("\r\n*0\r\n*-1\r\n  \r\nPING\r\nPING \"a\\x41\\n\"\r\n*1\r\n$4\r\nPINGxxping 'it\\'s'\n").await;
    client.expect("+PONG\r\n$3\r\naA\n\r\n+PONG\r\n$4\r\nit's\r\n").await;
}

/// commands.md 196, 197
#[tokio::test]
async fn a_protocol_error_is_answered_after_what_came_before_it() {
    let world = World::new();
    let long = "x".repeat(70_000);
    for (bytes, error) in [
        ("PING \"\r\n", "unbalanced quotes in request"),
        ("*01\r\n", "invalid multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*1\r\nPING\r\n", "expected '$', got 'P'"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        (&long, "too big inline request"),
        (&format!("*{long}"), "too big mbulk count string"),
        (&format!("*1\r\n${long}"), "too big bulk count string"),
    ] {
        let mut client = world.client().await;
        client.send("PING\r\n").await;
        client.send(bytes).await;
        client.expect(format!("+PONG\r\n-ERR Protocol error: {error}\r\n")).await;
        client.expect_end().await;
    }
}

/// commands.md 199: the same reply wherever a request is split. Each byte goes out alone.
#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let world = World::new();
    world.monitor(master("mymaster", "127.0.0.1", 6379, world.now()), Manner::default());
    let mut client = world.client().await;
    client.stream.set_nodelay(true).unwrap();
    for byte in array(&["SENTINEL", "get-master-addr-by-name", "mymaster"]) {
        client.send([byte]).await;
    }
    client.expect("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n").await;
}

/// commands.md 200: and none of it is read before everything is sent, which must not lock anybody out.
#[tokio::test]
async fn many_requests_may_be_sent_before_any_reply_is_read() {
    let world = World::new();
    let mut client = world.client().await;
    let requests: Vec<u8> = (0..100_000).flat_map(|n| array(&["PING", &format!("{n:0100}")])).collect();
    client.send(requests).await;
    for n in 0..100_000 {
        assert_eq!(client.bulk().await, format!("{n:0100}"));
    }
}

/// commands.md 201
#[tokio::test]
async fn browsers_are_cut_off_without_a_word() {
    let world = World::new();
    for bytes in ["POST / HTTP/1.1\r\n", "*1\r\n$4\r\npost\r\n", "PING\r\nHost: x\r\n"] {
        let mut client = world.client().await;
        client.send(bytes).await;
        client.expect_end().await;
    }
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\n").await;
    client.expect("-ERR unknown command 'GET', with args beginning with: '/' 'HTTP/1.1' \r\n").await;
}

/// commands.md 202
#[tokio::test]
async fn strangers_must_be_brief() {
    let world = World::planned(Plan { users: LOCKED, ..Plan::default() });
    for (bytes, error) in
        [("*11\r\n", "unauthenticated multibulk length"), ("*1\r\n$16385\r\n", "unauthenticated bulk length")]
    {
        let mut client = world.client().await;
        client.send(bytes).await;
        client.expect(format!("-ERR Protocol error: {error}\r\n")).await;
        client.expect_end().await;
    }
    let mut client = world.client().await;
    // The limit falls with the AUTH that stands before the long request in the same packet.
    client.send([array(&["AUTH", "secret"]), array(&["PING", &"x".repeat(20_000)])].concat()).await;
    client.expect(format!("+OK\r\n$20000\r\n{}\r\n", "x".repeat(20_000))).await;
}

/// commands.md 203
#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let limits = Limits { max_clients: 1, ..Limits::default() };
    let world = World::planned(Plan { limits, ..Plan::default() });
    let mut first = world.client().await;
    first.exchange("PING", "+PONG\r\n").await;
    let mut second = world.client().await;
    second.expect("-ERR max number of clients reached\r\n").await;
    second.expect_end().await;
    first.exchange("QUIT", "+OK\r\n").await;
    first.expect_end().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        let mut third = world.client().await;
        third.ask("PING").await;
        if third.line().await == "+PONG" {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the place of a client that left is never free");
    }
}

/// commands.md 204
#[tokio::test]
async fn idle_clients_are_closed_and_subscribers_are_not() {
    let limits = Limits { idle_timeout: 1, ..Limits::default() };
    let world = World::planned(Plan { limits, ..Plan::default() });
    let mut subscriber = world.client().await;
    subscriber.exchange("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n").await;
    let mut idle = world.client().await;
    idle.exchange("PING", "+PONG\r\n").await;
    let since = std::time::Instant::now();
    idle.expect_end().await;
    assert!(since.elapsed() >= Duration::from_secs(1));
    subscriber.exchange("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
}

/// commands.md 205
#[tokio::test]
async fn a_request_that_outgrows_the_query_buffer_ends_the_connection() {
    let limits = Limits { query_buffer: 1 << 20, ..Limits::default() };
    let world = World::planned(Plan { limits, ..Plan::default() });
    let mut client = world.client().await;
    let piece = format!("$300000\r\n{}\r\n", "x".repeat(300_000));
    client.send("*9\r\n").await;
    for _ in 0..4 {
        // The connection may end while this is on its way.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, piece.as_bytes()).await;
    }
    client.expect_end().await;
}

/// commands.md 206, config.md 186: judged by the peer's address; 127.0.0.2 is as foreign as any.
#[tokio::test]
async fn protected_mode_lets_loopback_in_only() {
    let limits = Limits { protected_mode: true, ..Limits::default() };
    let plan = |users| Plan { limits: limits.clone(), users, host: [127, 0, 0, 2], ..Plan::default() };
    let world = World::planned(plan(&[]));
    let from = |ip: [u8; 4]| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(std::net::SocketAddr::from((ip, 0))).unwrap();
        socket
    };
    let mut near = from([127, 0, 0, 1]).await.connect(world.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut near, b"PING\r\n").await.unwrap();
    let mut reply = [0; 7];
    tokio::io::AsyncReadExt::read_exact(&mut near, &mut reply).await.unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
    let mut far = from([127, 0, 0, 3]).await.connect(world.addr).await.unwrap();
    let mut refusal = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut far, &mut refusal).await.unwrap();
    assert!(refusal.starts_with(b"-DENIED Redis is running in protected mode because "));
    assert!(refusal.ends_with(b"\r\n"));

    let world = World::planned(plan(LOCKED));
    let mut far = from([127, 0, 0, 3]).await.connect(world.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut far, b"QUIT\r\n").await.unwrap();
    let mut reply = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut far, &mut reply).await.unwrap();
    assert_eq!(reply, b"+OK\r\n");
}

#[tokio::test]
async fn closing_ends_every_connection() {
    let world = World::new();
    let mut client = world.client().await;
    client.exchange("PING", "+PONG\r\n").await;
    world.close();
    client.expect_end().await;
}
