//! Connections to a server or a peer: bytes out, replies in, no decisions.
//!
//! [`Links`] holds the connections of one owner, a monitor or a peer, and is a part of its task: what is queued leaves, and
//! what has come is taken apart, whenever that task runs, so that neither a command nor its reply waits for a turn of
//! another task. Replies are matched first in, first out with the tags of what was sent.
//!
//! There are thousands of connections, and nearly always nothing happens on one: then it holds no buffer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use super::MonitorMessage;
use crate::net::tls::{self, Tls};
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

/// What a connection tells its owner.
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

/// The connection cannot take what it was given, because it is gone or nobody reads at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It was never opened, was closed, or has ended; its owner has been told.
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

/// The connections of one owner, oldest first. Dropping it closes them all.
#[derive(Debug, Default)]
pub struct Links {
    open: Vec<Link>,
}

impl Links {
    /// Opens a connection. Nothing happens on it until [`Links::poll`].
    pub fn connect(&mut self, link: LinkId, addr: &Addr, channel: Channel, route: Route) {
        assert!(self.find(link).is_none(), "link ids are never reused");
        let target = addr.ip.map(|ip| SocketAddr::new(ip, addr.port));
        self.open.push(Link {
            id: link,
            channel,
            stage: Stage::Connecting(Box::pin(establish(target, route))),
            unsent: BytesMut::new(),
            waiting: VecDeque::new(),
            received: BytesMut::new(),
            decoder: NodeDecoder::new(),
        });
    }

    /// Closes a connection, of which nothing more is heard. False if there is no such connection any more.
    pub fn close(&mut self, link: LinkId) -> bool {
        let found = self.find(link);
        found.inspect(|at| drop(self.open.remove(*at))).is_some()
    }

    /// Queues a command. What is queued before the next [`Links::poll`] leaves in one write.
    pub fn send(&mut self, link: LinkId, tag: Tag, command: &Command, renames: &RenameMap) -> Result<(), SendError> {
        let at = self.find(link).ok_or(SendError::Closed)?;
        let Link { unsent, waiting, .. } = &mut self.open[at];
        if unsent.len() > MAX_UNSENT {
            self.open.remove(at);
            return Err(SendError::Full);
        }
        encode_command(&command.words(renames), unsent);
        // What answers a SUBSCRIBE is a push.
        if *command != Command::SubscribeHello {
            waiting.push_back(tag);
        }
        Ok(())
    }

    /// Writes what waits, and adds to `events` what has come meanwhile, of each connection in order. A connection that
    /// ended is closed, and its end is the last that is heard of it. If nothing was added, the task is woken when something
    /// can be; otherwise this must be called again.
    pub fn poll<M: From<LinkEvent>>(&mut self, cx: &mut Context<'_>, events: &mut Vec<M>) {
        self.open.retain_mut(|link| match link.poll(cx, events) {
            Ok(()) => true,
            Err(error) => {
                events.push(LinkEvent::Down(link.id, error).into());
                false
            }
        });
    }

    fn find(&self, link: LinkId) -> Option<usize> {
        self.open.iter().position(|open| open.id == link)
    }
}

/// A connection that is being made, and our end of it once it is.
type Connecting = Pin<Box<dyn Future<Output = Result<(Stream, IpAddr), LinkError>>>>;

enum Stage {
    /// On the heap, since it is over soon.
    Connecting(Connecting),
    Established(Stream),
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Connecting(_) => "Connecting",
            Stage::Established(_) => "Established",
        })
    }
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    channel: Channel,
    stage: Stage,
    unsent: BytesMut,
    /// Tags of unanswered commands, oldest first.
    waiting: VecDeque<Tag>,
    /// The beginning of a reply.
    received: BytesMut,
    decoder: NodeDecoder,
}

impl Link {
    /// As [`Links::poll`]; an error is the end.
    fn poll<M: From<LinkEvent>>(&mut self, cx: &mut Context<'_>, events: &mut Vec<M>) -> Result<(), LinkError> {
        if let Stage::Connecting(connecting) = &mut self.stage {
            let Poll::Ready(established) = connecting.as_mut().poll(cx) else { return Ok(()) };
            let (stream, local) = established?;
            self.stage = Stage::Established(stream);
            events.push(LinkEvent::Up(self.id, local).into());
        }
        self.write(cx)?;
        let before = events.len();
        // One read that says something is enough: others have their turn before the next.
        while events.len() == before && self.read(cx)? {
            self.take_apart(events)?;
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), LinkError> {
        let Stage::Established(stream) = &mut self.stage else { return Ok(()) };
        while !self.unsent.is_empty() {
            match stream.poll_write(cx, &self.unsent) {
                Poll::Ready(Ok(0)) => return Err(LinkError("nothing more can be written".to_owned())),
                Poll::Ready(Ok(count)) => self.unsent.advance(count),
                Poll::Ready(Err(error)) => return Err(LinkError(error.to_string())),
                Poll::Pending => return Ok(()),
            }
        }
        self.unsent = BytesMut::new();
        Ok(())
    }

    /// Reads once; false if there is nothing to read, and then the task is woken when there is.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, LinkError> {
        let Stage::Established(stream) = &mut self.stage else { return Ok(false) };
        INCOMING.with_borrow_mut(|incoming| {
            let mut buffer = ReadBuf::new(incoming);
            match stream.poll_read(cx, &mut buffer) {
                Poll::Pending => Ok(false),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    Err(LinkError("closed by the other side".to_owned()))
                }
                Poll::Ready(Ok(())) => {
                    self.received.extend_from_slice(buffer.filled());
                    Ok(true)
                }
                Poll::Ready(Err(error)) => Err(LinkError(error.to_string())),
            }
        })
    }

    fn take_apart<M: From<LinkEvent>>(&mut self, events: &mut Vec<M>) -> Result<(), LinkError> {
        while let Some(reply) = self.decoder.next(&mut self.received).map_err(|error| LinkError(error.to_string()))? {
            events.push(self.event_of(reply)?.into());
        }
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
        Ok(())
    }

    /// What a reply means: the answer to the oldest command, or a push.
    fn event_of(&mut self, reply: Reply) -> Result<LinkEvent, LinkError> {
        let reply = match self.channel {
            Channel::PubSub => match push_of(reply) {
                Ok(payload) => return Ok(LinkEvent::PubSub(self.id, payload)),
                Err(reply) => reply,
            },
            Channel::Command => reply,
        };
        match (self.waiting.pop_front(), self.channel) {
            (Some(tag), _) => Ok(LinkEvent::Reply(self.id, tag, reply)),
            // A refused SUBSCRIBE: stock does not look at the acknowledgement either.
            (None, Channel::PubSub) => Ok(LinkEvent::PubSub(self.id, None)),
            (None, Channel::Command) => Err(LinkError("a reply that nobody asked for".to_owned())),
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

/// A connection with or without TLS.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

impl Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }
}

async fn establish(target: Option<SocketAddr>, route: Route) -> Result<(Stream, IpAddr), LinkError> {
    let connected = async {
        let (stream, local) = connect(target, route.source).await?;
        let stream = match route.tls {
            None => Stream::Plain(stream),
            Some(tls) => Stream::Tls(Box::new(tls.connect(stream).await?)),
        };
        Ok::<_, io::Error>((stream, local))
    };
    connected.await.map_err(|error| LinkError(error.to_string()))
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
