//! What a connection writes, what it makes of what it reads, and how it ends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

use super::*;
use crate::sentinel::id::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

/// Connections that the test owns.
struct Rig {
    links: Links,
    said: VecDeque<LinkEvent>,
    server: TcpListener,
}

const LINK: LinkId = LinkId(1);

impl Rig {
    async fn new() -> Rig {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        Rig { links: Links::default(), said: VecDeque::new(), server }
    }

    fn addr(&self) -> Addr {
        Addr::new("127.0.0.1", self.server.local_addr().expect("bound").port())
    }

    fn connect(&mut self, channel: Channel) {
        let addr = self.addr();
        self.links.connect(LINK, &addr, channel, Route::default());
    }

    fn send(&mut self, tag: Tag, command: &Command) {
        self.links.send(LINK, tag, command, &RenameMap::new()).expect("the connection is open");
    }

    /// The server's end, once the connection is established.
    async fn accept(&mut self) -> TcpStream {
        assert!(matches!(self.event().await, LinkEvent::Up(LINK, _)));
        within(self.server.accept()).await.expect("accepts").0
    }

    async fn event(&mut self) -> LinkEvent {
        let Rig { links, said, .. } = self;
        within(poll_fn(|cx| {
            let mut events = Vec::new();
            links.poll(cx, &mut events);
            said.extend(events);
            said.pop_front().map_or(Poll::Pending, Poll::Ready)
        }))
        .await
    }

    /// Lets what is queued leave.
    async fn turn(&mut self) {
        let Rig { links, said, .. } = self;
        let mut events = Vec::new();
        poll_fn(|cx| {
            links.poll(cx, &mut events);
            Poll::Ready(())
        })
        .await;
        said.extend(events);
    }

    /// Nothing was said, and nothing will be.
    async fn assert_silent(&mut self) {
        let said = tokio::time::timeout(Duration::from_millis(50), self.event()).await;
        assert!(said.is_err(), "{said:?}");
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(5), future).await.expect("happens within five seconds")
}

async fn read(stream: &mut TcpStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    within(stream.read_exact(&mut bytes)).await.expect("bytes come");
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
}

fn on_control_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(test));
}

const PING: &str = "*1\r\n$4\r\nPING\r\n";
const INFO: &str = "*1\r\n$4\r\nINFO\r\n";
const SETNAME: &str = "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$1\r\nx\r\n";

/// config.md 207: the order of commands on a new link.
#[test]
fn commands_queue_while_it_connects_and_leave_in_one_write() {
    on_control_thread(async {
        let mut rig = Rig::new().await;
        rig.connect(Channel::Command);
        rig.send(Tag::Ignored, &Command::ClientSetname("x".to_owned()));
        rig.send(Tag::Ping, &Command::Ping);
        rig.send(Tag::Info, &Command::Info);
        let mut stream = rig.accept().await;
        let expected = [SETNAME, PING, INFO].concat();
        let mut bytes = [0; 4096];
        let count = within(stream.read(&mut bytes)).await.expect("bytes come");
        assert_eq!(String::from_utf8_lossy(&bytes[..count]), expected, "one write is one read on loopback");
    });
}

#[test]
fn replies_come_back_with_the_tags_of_their_commands() {
    on_control_thread(async {
        let mut rig = Rig::new().await;
        rig.connect(Channel::Command);
        rig.send(Tag::Ignored, &Command::ClientSetname("x".to_owned()));
        rig.send(Tag::Ping, &Command::Ping);
        rig.send(Tag::Info, &Command::Info);
        let mut stream = rig.accept().await;
        read(&mut stream, &[SETNAME, PING, INFO].concat()).await;
        // Split in the middle of a reply, and of a line.
        stream.write_all(b"+OK\r\n-LOADING\r").await.expect("the link is read");
        assert_eq!(rig.event().await, LinkEvent::Reply(LINK, Tag::Ignored, Reply::Status(b"OK"[..].into())));
        stream.write_all(b"\n$2\r\nab\r\n").await.expect("the link is read");
        assert_eq!(rig.event().await, LinkEvent::Reply(LINK, Tag::Ping, Reply::Error(b"LOADING"[..].into())));
        assert_eq!(rig.event().await, LinkEvent::Reply(LINK, Tag::Info, Reply::Bulk(b"ab"[..].into())));
        rig.assert_silent().await;
    });
}

/// failover.md 32
#[test]
fn a_connection_leaves_from_the_source_that_was_named() {
    on_control_thread(async {
        let mut rig = Rig::new().await;
        let (addr, source) = (rig.addr(), IpAddr::from([127, 0, 0, 2]));
        rig.links.connect(LINK, &addr, Channel::Command, Route { source: Some(source), tls: None });
        assert_eq!(rig.event().await, LinkEvent::Up(LINK, source));
        let (_, peer) = within(rig.server.accept()).await.expect("accepts");
        assert_eq!(peer.ip(), source);
    });
}

#[test]
fn a_lost_connection_says_so_once_and_after_all_replies() {
    on_control_thread(async {
        let mut rig = Rig::new().await;
        rig.connect(Channel::Command);
        rig.send(Tag::Ping, &Command::Ping);
        let mut stream = rig.accept().await;
        read(&mut stream, PING).await;
        stream.write_all(b"+PONG\r\n").await.expect("the link is read");
        drop(stream);
        assert!(matches!(rig.event().await, LinkEvent::Reply(LINK, Tag::Ping, _)));
        assert!(matches!(rig.event().await, LinkEvent::Down(LINK, _)));
        assert_eq!(rig.links.send(LINK, Tag::Ping, &Command::Ping, &RenameMap::new()), Err(SendError::Closed));
        rig.assert_silent().await;
    });
}

#[test]
fn a_refused_connection_and_a_name_without_address_say_so_once() {
    on_control_thread(async {
        let mut rig = Rig::new().await;
        let addr = rig.addr();
        rig.server = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        rig.links.connect(LinkId(1), &addr, Channel::Command, Route::default());
        rig.links.connect(LinkId(2), &Addr::new("name.invalid", 1), Channel::Command, Route::default());
        let (first, second) = (rig.event().await, rig.event().await);
        assert!(matches!((&first, &second), (LinkEvent::Down(..), LinkEvent::Down(..))));
        assert_ne!(first.link(), second.link());
        rig.assert_silent().await;
    });
}

#[test]
fn a_closed_connection_says_nothing_and_is_closed_at_the_other_end() {
    on_control_thread(async {
        let mut rig = Rig::new().await;
        rig.connect(Channel::Command);
        let mut stream = rig.accept().await;
        assert!(rig.links.close(LINK));
        assert!(!rig.links.close(LINK));
        assert_eq!(within(stream.read(&mut [0; 8])).await.expect("a clean end"), 0);
        rig.assert_silent().await;
    });
}

#[test]
fn a_reply_that_nobody_asked_for_ends_the_connection() {
    on_control_thread(async {
        for hostile in [&b"+OK\r\n"[..], b"HTTP/1.1 400\r\n", b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"]
        {
            let mut rig = Rig::new().await;
            rig.connect(Channel::Command);
            let mut stream = rig.accept().await;
            stream.write_all(hostile).await.expect("the link is read");
            assert!(matches!(rig.event().await, LinkEvent::Down(LINK, _)));
        }
    });
}

#[test]
fn a_reader_that_does_not_read_fills_the_queue_and_loses_the_connection() {
    on_control_thread(async {
        let mut rig = Rig::new().await;
        rig.connect(Channel::Command);
        let _stream = rig.accept().await;
        let big = Command::PublishHello("x".repeat(60_000));
        let mut sent = 0;
        let error = loop {
            if let Err(error) = rig.links.send(LINK, Tag::Publish, &big, &RenameMap::new()) {
                break error;
            }
            sent += 1;
            assert!(sent < 10_000, "the kernel's buffers end somewhere");
            rig.turn().await;
        };
        assert_eq!(error, SendError::Full);
        rig.assert_silent().await;
    });
}

/// A subscription: two ordinary replies, then pushes.
#[test]
fn hellos_are_pushes_and_the_replies_before_them_are_matched() {
    on_control_thread(async {
        let mut rig = Rig::new().await;
        rig.connect(Channel::PubSub);
        rig.send(Tag::Ignored, &Command::Auth { user: None, password: Secret::from(&b"pw"[..]) });
        rig.send(Tag::Ignored, &Command::ClientSetname("x".to_owned()));
        rig.send(Tag::Ignored, &Command::SubscribeHello);
        let mut stream = rig.accept().await;
        let subscribe = "*2\r\n$9\r\nSUBSCRIBE\r\n$18\r\n__sentinel__:hello\r\n";
        read(&mut stream, &["*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n", SETNAME, subscribe].concat()).await;
        let replies = "-ERR no password is set\r\n+OK\r\n*3\r\n$9\r\nsubscribe\r\n$18\r\n__sentinel__:hello\r\n:1\r\n";
        let hello = "*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$5\r\nhello\r\n";
        let other = "*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$5\r\nhello\r\n";
        stream.write_all([replies, hello, other].concat().as_bytes()).await.expect("the link is read");
        assert!(matches!(rig.event().await, LinkEvent::Reply(LINK, Tag::Ignored, Reply::Error(_))));
        assert!(matches!(rig.event().await, LinkEvent::Reply(LINK, Tag::Ignored, Reply::Status(_))));
        assert_eq!(rig.event().await, LinkEvent::PubSub(LINK, None));
        assert_eq!(rig.event().await, LinkEvent::PubSub(LINK, Some(b"hello"[..].into())));
        assert_eq!(rig.event().await, LinkEvent::PubSub(LINK, None));
        rig.assert_silent().await;
    });
}

#[test]
fn a_slow_owner_loses_nothing() {
    on_control_thread(async {
        let mut rig = Rig::new().await;
        rig.connect(Channel::Command);
        for _ in 0..10_000 {
            rig.send(Tag::Ping, &Command::Ping);
        }
        let mut stream = rig.accept().await;
        // More than is read at once, while the owner does something else.
        let writing = tokio::task::spawn_local(async move {
            stream.write_all(&b"+PONG\r\n".repeat(10_000)).await.expect("the link is read");
            stream
        });
        let _stream = within(writing).await.expect("does not panic");
        for _ in 0..10_000 {
            assert!(matches!(rig.event().await, LinkEvent::Reply(LINK, Tag::Ping, _)));
        }
        rig.assert_silent().await;
    });
}
