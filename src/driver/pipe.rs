//! One connection to a server or a peer: bytes out, replies in, no decisions.
//!
//! [`Links`] holds the connections of one owner, a monitor's task or a peer's. Each connection is a task of its own
//! that connects, writes whatever waits in one write, takes replies apart and puts them into the owner's mailbox,
//! matched first in, first out with the tags of what was sent. A pipe may wait for its owner's mailbox; an owner never
//! waits for a pipe (design: who may wait on whom), so too much unsent is a lost connection.
//!
//! There are thousands of them, and nearly always nothing happens on one: then it holds no buffer.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::MonitorMessage;
use crate::net::tls::Tls;
use crate::resp::node::{NodeDecoder, encode_command};
use crate::sentinel::addr::Addr;
use crate::sentinel::command::{Command, HELLO_CHANNEL, RenameMap};
use crate::sentinel::id::LinkId;
use crate::sentinel::io::{Channel, Input, LinkError, Reply, Tag};
use crate::sentinel::peer::PeerInput;

/// Unsent bytes beyond which nothing is added: nobody reads at the other end. The core stops at 100 unanswered commands,
/// most of them hellos of some hundred bytes.
const MAX_UNSENT: usize = 256 << 10;
/// Bytes read at once.
const READ: usize = 16 << 10;

thread_local! {
    /// What is being read just now. Replies that are not whole yet are kept by their connection.
    static INCOMING: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// What a pipe tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The connection is established, `local` being our end.
    Up(LinkId, IpAddr),
    /// The connection is gone. Nothing else follows from it.
    Down(LinkId, LinkError),
    /// The reply to a command.
    Reply(LinkId, Tag, Reply),
    /// A push: the payload of a hello, or nothing for an acknowledgement.
    PubSub(LinkId, Option<Box<[u8]>>),
}

impl LinkEvent {
    /// The connection it is about.
    pub fn link(&self) -> LinkId {
        match self {
            LinkEvent::Up(link, _)
            | LinkEvent::Down(link, _)
            | LinkEvent::Reply(link, ..)
            | LinkEvent::PubSub(link, _) => *link,
        }
    }
}

impl From<LinkEvent> for Input {
    fn from(event: LinkEvent) -> Input {
        match event {
            LinkEvent::Up(link, local) => Input::LinkUp { link, local },
            LinkEvent::Down(link, error) => Input::LinkDown(link, error),
            LinkEvent::Reply(link, tag, value) => Input::Reply { link, tag, value },
            LinkEvent::PubSub(link, payload) => Input::PubSub { link, payload },
        }
    }
}

impl From<LinkEvent> for MonitorMessage {
    fn from(event: LinkEvent) -> MonitorMessage {
        MonitorMessage::Input(event.into())
    }
}

impl From<LinkEvent> for PeerInput {
    fn from(event: LinkEvent) -> PeerInput {
        match event {
            LinkEvent::Up(link, local) => PeerInput::LinkUp { link, local },
            LinkEvent::Down(link, error) => PeerInput::LinkDown(link, error),
            LinkEvent::Reply(link, tag, value) => PeerInput::Reply { link, tag, value },
            // Peers have no pub/sub connection, so this only says that something strange came.
            LinkEvent::PubSub(link, _) => PeerInput::Reply { link, tag: Tag::Ignored, value: Reply::Null },
        }
    }
}

/// What waits to be written on one connection, and to be answered: its owner adds, its task takes away.
#[derive(Debug, Default)]
struct Outgoing {
    unsent: BytesMut,
    /// Tags of unanswered commands, oldest first.
    waiting: VecDeque<Tag>,
    /// Wakes the task.
    waker: Option<Waker>,
    /// The task has come to its end.
    ended: bool,
}

/// The connection cannot take what it was given, because it is gone or nobody reads at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It was never opened, was closed, or has ended; its end has been or will be told.
    #[error("no such connection")]
    Closed,
    /// Too much waits already. The connection is closed now, and its end is not told otherwise.
    #[error("output queue is full")]
    Full,
}

/// How connections are made.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// `bind-source-addr`
    pub source: Option<IpAddr>,
    /// `tls-replication`
    pub tls: Option<Tls>,
}

#[derive(Debug)]
struct Pipe {
    outgoing: Rc<RefCell<Outgoing>>,
    task: AbortHandle,
}

/// The connections of one owner. Dropping it closes them all.
#[derive(Debug)]
pub struct Links<M> {
    owner: mpsc::Sender<M>,
    open: BTreeMap<LinkId, Pipe>,
    tasks: JoinSet<()>,
}

impl<M: From<LinkEvent> + 'static> Links<M> {
    /// No connections yet; what they have to say goes to `owner`.
    pub fn new(owner: mpsc::Sender<M>) -> Links<M> {
        Links { owner, open: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Opens a connection. Must run inside a `LocalSet`.
    pub fn connect(&mut self, link: LinkId, addr: &Addr, channel: Channel, route: Route) {
        let target = addr.ip.map(|ip| SocketAddr::new(ip, addr.port));
        let outgoing = Rc::<RefCell<Outgoing>>::default();
        let run = Run { link, channel, owner: self.owner.clone(), outgoing: Rc::clone(&outgoing) };
        let task = self.tasks.spawn_local(run.start(target, route));
        let replaced = self.open.insert(link, Pipe { outgoing, task });
        assert!(replaced.is_none(), "link ids are never reused");
    }

    /// Closes a connection; what is still heard of it is late and must be dropped. False if the owner has no such
    /// connection any more.
    pub fn close(&mut self, link: LinkId) -> bool {
        let pipe = self.open.remove(&link);
        pipe.as_ref().inspect(|pipe| pipe.task.abort());
        pipe.is_some()
    }

    /// Whether the owner still has this connection. What comes from another one is late and must be dropped.
    pub fn has(&self, link: LinkId) -> bool {
        self.open.contains_key(&link)
    }

    /// Queues a command. What is queued without an `await` in between leaves in one write.
    pub fn send(&mut self, link: LinkId, tag: Tag, command: &Command, renames: &RenameMap) -> Result<(), SendError> {
        let pipe = self.open.get(&link).ok_or(SendError::Closed)?;
        let mut outgoing = pipe.outgoing.borrow_mut();
        if outgoing.ended {
            return Err(SendError::Closed);
        }
        if outgoing.unsent.len() > MAX_UNSENT {
            drop(outgoing);
            self.close(link);
            return Err(SendError::Full);
        }
        encode_command(&command.words(renames), &mut outgoing.unsent);
        // What answers a SUBSCRIBE is a push.
        if *command != Command::SubscribeHello {
            outgoing.waiting.push_back(tag);
        }
        if let Some(waker) = outgoing.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    /// Waits for a connection's task to end in another way than by telling its owner, which only a defect can cause,
    /// and returns the connection, which stays open in the owner's eyes. Never returns otherwise. Cancel-safe.
    pub async fn broken(&mut self) -> LinkId {
        loop {
            match self.tasks.join_next_with_id().await {
                Some(Err(error)) if error.is_panic() => {
                    let failed = self.open.iter().find(|(_, pipe)| pipe.task.id() == error.id());
                    if let Some((link, _)) = failed {
                        return *link;
                    }
                }
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// The task of one connection.
struct Run<M> {
    link: LinkId,
    channel: Channel,
    owner: mpsc::Sender<M>,
    outgoing: Rc<RefCell<Outgoing>>,
}

impl<M: From<LinkEvent>> Run<M> {
    async fn start(self, target: Option<SocketAddr>, route: Route) {
        // What is over once there is a connection, and what most programs never have, is on the heap: there are many of us.
        let error = match Box::pin(connect(target, route.source)).await {
            Ok((stream, local)) => match route.tls {
                None => self.live(stream, local).await,
                Some(tls) => match Box::pin(tls.connect(stream)).await {
                    Ok(stream) => Box::pin(self.live(stream, local)).await,
                    Err(error) => LinkError(error.to_string()),
                },
            },
            Err(error) => LinkError(error.to_string()),
        };
        self.outgoing.borrow_mut().ended = true;
        self.tell(LinkEvent::Down(self.link, error)).await;
    }

    /// The life of a connection that is established; returns why it ended.
    async fn live<S>(&self, stream: S, local: IpAddr) -> LinkError
    where
        S: AsyncRead + AsyncWrite,
    {
        self.tell(LinkEvent::Up(self.link, local)).await;
        let mut stream = pin!(stream);
        let (mut received, mut decoder) = (BytesMut::new(), NodeDecoder::new());
        loop {
            if let Err(error) = poll_fn(|cx| self.poll_move(cx, stream.as_mut(), &mut received)).await {
                return error;
            }
            loop {
                match decoder.next(&mut received) {
                    Ok(Some(reply)) => match self.event_of(reply) {
                        Ok(event) => self.tell(event).await,
                        Err(error) => return error,
                    },
                    Ok(None) => break,
                    Err(error) => return LinkError(error.to_string()),
                }
            }
            if received.is_empty() {
                received = BytesMut::new();
            }
        }
    }

    /// Writes what waits, and reads what has come.
    fn poll_move<S>(
        &self,
        cx: &mut Context<'_>,
        mut stream: Pin<&mut S>,
        received: &mut BytesMut,
    ) -> Poll<Result<(), LinkError>>
    where
        S: AsyncRead + AsyncWrite,
    {
        let mut outgoing = self.outgoing.borrow_mut();
        while !outgoing.unsent.is_empty() {
            match stream.as_mut().poll_write(cx, &outgoing.unsent) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(LinkError("nothing more can be written".to_owned()))),
                Poll::Ready(Ok(count)) => outgoing.unsent.advance(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(LinkError(error.to_string()))),
                Poll::Pending => break,
            }
        }
        if outgoing.unsent.is_empty() {
            outgoing.unsent = BytesMut::new();
        }
        outgoing.waker = Some(cx.waker().clone());
        INCOMING.with_borrow_mut(|incoming| {
            let mut buffer = ReadBuf::new(incoming);
            Poll::Ready(match ready!(stream.poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => Err(LinkError("closed by the other side".to_owned())),
                Ok(()) => {
                    received.extend_from_slice(buffer.filled());
                    Ok(())
                }
                Err(error) => Err(LinkError(error.to_string())),
            })
        })
    }

    /// What a reply means: the answer to the oldest command, or a push.
    fn event_of(&self, reply: Reply) -> Result<LinkEvent, LinkError> {
        let reply = match self.channel {
            Channel::PubSub => match push_of(reply) {
                Ok(payload) => return Ok(LinkEvent::PubSub(self.link, payload)),
                Err(reply) => reply,
            },
            Channel::Command => reply,
        };
        match (self.outgoing.borrow_mut().waiting.pop_front(), self.channel) {
            (Some(tag), _) => Ok(LinkEvent::Reply(self.link, tag, reply)),
            // A refused SUBSCRIBE: stock does not look at the acknowledgement either.
            (None, Channel::PubSub) => Ok(LinkEvent::PubSub(self.link, None)),
            (None, Channel::Command) => Err(LinkError("a reply that nobody asked for".to_owned())),
        }
    }

    async fn tell(&self, event: LinkEvent) {
        // The owner's mailbox closes only when the owner ends, and that aborts this task.
        if let Err(mpsc::error::TrySendError::Full(message)) = self.owner.try_send(event.into()) {
            let _ = Box::pin(self.owner.send(message)).await;
        }
    }
}

/// Takes a pub/sub push apart: `Ok(Some)` for a message on the hello channel, `Ok(None)` for any other push, and the
/// reply back if it is none.
fn push_of(reply: Reply) -> Result<Option<Box<[u8]>>, Reply> {
    let Reply::Array(mut items) = reply else { return Err(reply) };
    match items.as_mut_slice() {
        [Reply::Bulk(kind), Reply::Bulk(channel), Reply::Bulk(payload)] if **kind == *b"message" => {
            let is_hello = **channel == *HELLO_CHANNEL.as_bytes();
            Ok(is_hello.then(|| std::mem::take(payload)))
        }
        _ => Ok(None),
    }
}

async fn connect(target: Option<SocketAddr>, source: Option<IpAddr>) -> io::Result<(TcpStream, IpAddr)> {
    let Some(target) = target else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host name has no address"));
    };
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?.ip().to_canonical();
    Ok((stream, local))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sentinel::id::Secret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    /// Links of an owner whose mailbox the test reads.
    struct Rig {
        links: Links<LinkEvent>,
        mailbox: mpsc::Receiver<LinkEvent>,
        server: TcpListener,
    }

    const LINK: LinkId = LinkId(1);

    impl Rig {
        async fn new(mailbox: usize) -> Rig {
            let (owner, mailbox) = mpsc::channel(mailbox);
            let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
            Rig { links: Links::new(owner), mailbox, server }
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

        async fn accept(&self) -> TcpStream {
            within(self.server.accept()).await.expect("accepts").0
        }

        async fn event(&mut self) -> LinkEvent {
            within(self.mailbox.recv()).await.expect("links hold the sending side")
        }

        /// Everything is quiet: no task has anything left to do, and nothing was said.
        async fn assert_silent(&mut self) {
            let said = tokio::time::timeout(Duration::from_millis(50), self.mailbox.recv()).await;
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

    fn local() -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }

    const PING: &str = "*1\r\n$4\r\nPING\r\n";
    const INFO: &str = "*1\r\n$4\r\nINFO\r\n";
    const SETNAME: &str = "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$1\r\nx\r\n";

    /// config.md 207: the order of commands on a new link.
    #[test]
    fn commands_queue_while_it_connects_and_leave_in_one_write() {
        on_control_thread(async {
            let mut rig = Rig::new(16).await;
            rig.connect(Channel::Command);
            rig.send(Tag::Ignored, &Command::ClientSetname("x".to_owned()));
            rig.send(Tag::Ping, &Command::Ping);
            rig.send(Tag::Info, &Command::Info);
            let mut stream = rig.accept().await;
            assert_eq!(rig.event().await, LinkEvent::Up(LINK, local()));
            let expected = [SETNAME, PING, INFO].concat();
            let mut bytes = [0; 4096];
            let count = within(stream.read(&mut bytes)).await.expect("bytes come");
            assert_eq!(String::from_utf8_lossy(&bytes[..count]), expected, "one write is one read on loopback");
        });
    }

    #[test]
    fn replies_come_back_with_the_tags_of_their_commands() {
        on_control_thread(async {
            let mut rig = Rig::new(16).await;
            rig.connect(Channel::Command);
            rig.send(Tag::Ignored, &Command::ClientSetname("x".to_owned()));
            rig.send(Tag::Ping, &Command::Ping);
            rig.send(Tag::Info, &Command::Info);
            let mut stream = rig.accept().await;
            read(&mut stream, &[SETNAME, PING, INFO].concat()).await;
            // Split in the middle of a reply, and of a line.
            stream.write_all(b"+OK\r\n-LOADING\r").await.expect("the pipe reads");
            assert_eq!(rig.event().await, LinkEvent::Up(LINK, local()));
            assert_eq!(rig.event().await, LinkEvent::Reply(LINK, Tag::Ignored, Reply::Status(b"OK"[..].into())));
            stream.write_all(b"\n$2\r\nab\r\n").await.expect("the pipe reads");
            assert_eq!(rig.event().await, LinkEvent::Reply(LINK, Tag::Ping, Reply::Error(b"LOADING"[..].into())));
            assert_eq!(rig.event().await, LinkEvent::Reply(LINK, Tag::Info, Reply::Bulk(b"ab"[..].into())));
            rig.assert_silent().await;
        });
    }

    /// failover.md 32
    #[test]
    fn a_connection_leaves_from_the_source_that_was_named() {
        on_control_thread(async {
            let mut rig = Rig::new(16).await;
            let (addr, source) = (rig.addr(), IpAddr::from([127, 0, 0, 2]));
            rig.links.connect(LINK, &addr, Channel::Command, Route { source: Some(source), tls: None });
            assert_eq!(rig.accept().await.peer_addr().expect("connected").ip(), source);
        });
    }

    #[test]
    fn a_lost_connection_says_so_once_and_after_all_replies() {
        on_control_thread(async {
            let mut rig = Rig::new(16).await;
            rig.connect(Channel::Command);
            rig.send(Tag::Ping, &Command::Ping);
            let mut stream = rig.accept().await;
            read(&mut stream, PING).await;
            stream.write_all(b"+PONG\r\n").await.expect("the pipe reads");
            drop(stream);
            assert_eq!(rig.event().await, LinkEvent::Up(LINK, local()));
            assert!(matches!(rig.event().await, LinkEvent::Reply(LINK, Tag::Ping, _)));
            assert!(matches!(rig.event().await, LinkEvent::Down(LINK, _)));
            assert_eq!(rig.links.send(LINK, Tag::Ping, &Command::Ping, &RenameMap::new()), Err(SendError::Closed));
            rig.assert_silent().await;
        });
    }

    #[test]
    fn a_refused_connection_and_a_name_without_address_say_so_once() {
        on_control_thread(async {
            let mut rig = Rig::new(16).await;
            let addr = rig.addr();
            let (_, unbound) = mpsc::channel::<()>(1);
            drop((std::mem::replace(&mut rig.server, TcpListener::bind("127.0.0.1:0").await.expect("ports")), unbound));
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
            let mut rig = Rig::new(16).await;
            rig.connect(Channel::Command);
            let mut stream = rig.accept().await;
            assert_eq!(rig.event().await, LinkEvent::Up(LINK, local()));
            assert!(rig.links.close(LINK));
            assert!(!rig.links.close(LINK));
            assert!(!rig.links.has(LINK));
            assert_eq!(within(stream.read(&mut [0; 8])).await.expect("a clean end"), 0);
            rig.assert_silent().await;
        });
    }

    #[test]
    fn a_reply_that_nobody_asked_for_ends_the_connection() {
        on_control_thread(async {
            for hostile in
                [&b"+OK\r\n"[..], b"HTTP/1.1 400\r\n", b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"]
            {
                let mut rig = Rig::new(16).await;
                rig.connect(Channel::Command);
                let mut stream = rig.accept().await;
                stream.write_all(hostile).await.expect("the pipe reads");
                assert_eq!(rig.event().await, LinkEvent::Up(LINK, local()));
                assert!(matches!(rig.event().await, LinkEvent::Down(LINK, _)));
            }
        });
    }

    #[test]
    fn a_reader_that_does_not_read_fills_the_queue_and_loses_the_connection() {
        on_control_thread(async {
            let mut rig = Rig::new(16).await;
            rig.connect(Channel::Command);
            let _stream = rig.accept().await;
            assert_eq!(rig.event().await, LinkEvent::Up(LINK, local()));
            let big = Command::PublishHello("x".repeat(60_000));
            let mut sent = 0;
            let error = loop {
                if let Err(error) = rig.links.send(LINK, Tag::Publish, &big, &RenameMap::new()) {
                    break error;
                }
                sent += 1;
                assert!(sent < 10_000, "the kernel's buffers end somewhere");
                tokio::task::yield_now().await;
            };
            assert_eq!(error, SendError::Full);
            assert!(!rig.links.has(LINK));
            rig.assert_silent().await;
        });
    }

    /// A subscription: two ordinary replies, then pushes.
    #[test]
    fn hellos_are_pushes_and_the_replies_before_them_are_matched() {
        on_control_thread(async {
            let mut rig = Rig::new(16).await;
            rig.connect(Channel::PubSub);
            rig.send(Tag::Ignored, &Command::Auth { user: None, password: Secret::from(&b"pw"[..]) });
            rig.send(Tag::Ignored, &Command::ClientSetname("x".to_owned()));
            rig.send(Tag::Ignored, &Command::SubscribeHello);
            let mut stream = rig.accept().await;
            let subscribe = "*2\r\n$9\r\nSUBSCRIBE\r\n$18\r\n__sentinel__:hello\r\n";
            read(&mut stream, &["*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n", SETNAME, subscribe].concat()).await;
            let replies =
                "-ERR no password is set\r\n+OK\r\n*3\r\n$9\r\nsubscribe\r\n$18\r\n__sentinel__:hello\r\n:1\r\n";
            let hello = "*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$5\r\nhello\r\n";
            let other = "*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$5\r\nhello\r\n";
            stream.write_all([replies, hello, other].concat().as_bytes()).await.expect("the pipe reads");
            assert_eq!(rig.event().await, LinkEvent::Up(LINK, local()));
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
            let mut rig = Rig::new(1).await;
            rig.connect(Channel::Command);
            for _ in 0..200 {
                rig.send(Tag::Ping, &Command::Ping);
            }
            let mut stream = rig.accept().await;
            stream.write_all(&b"+PONG\r\n".repeat(200)).await.expect("fits the kernel's buffers");
            assert_eq!(rig.event().await, LinkEvent::Up(LINK, local()));
            for _ in 0..200 {
                assert!(matches!(rig.event().await, LinkEvent::Reply(LINK, Tag::Ping, _)));
            }
        });
    }
}
