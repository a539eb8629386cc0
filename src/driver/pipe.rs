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

use super::{MonitorMessage, deliver};
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

    /// Puts an event into the owner's mailbox, which closes only when the owner ends, and that aborts this task.
    fn tell(&self, event: LinkEvent) -> impl Future<Output = ()> {
        deliver(&self.owner, event.into())
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
mod tests;
