//! One connection of a case: bytes out, replies in, each within a time limit.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::frame::{self, Frame};
use super::want::Protocol;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    ahead: Vec<u8>,
    /// No reply takes longer.
    patience: Duration,
    /// What it speaks at present.
    pub(crate) protocol: Protocol,
    /// A HELLO was sent, and the reply tells whether the protocol changes.
    pub(crate) switching: Option<Protocol>,
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The other side closed; what it had said before, if that is no whole reply.
    Closed(Vec<u8>),
    /// Nothing came in time.
    Late,
    /// What came is not RESP.
    Garbled(String),
}

impl Wire {
    /// Connects to a port of 127.0.0.1.
    pub(crate) fn connect(port: u16, patience: Duration) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), patience)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Wire { stream, ahead: Vec::new(), patience, protocol: Protocol::Resp2, switching: None })
    }

    /// Sends bytes. The other side may have closed meanwhile; what it said last shows why.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next reply.
    pub(crate) fn read(&mut self) -> Result<Frame, Silence> {
        self.read_within(self.patience)
    }

    /// The next reply, if it comes within `limit`.
    pub(crate) fn read_within(&mut self, limit: Duration) -> Result<Frame, Silence> {
        let deadline = Instant::now() + limit;
        loop {
            match frame::parse(&self.ahead) {
                Ok(Some((frame, used))) => {
                    self.ahead.drain(..used);
                    self.note_switch(&frame);
                    return Ok(frame);
                }
                Ok(None) => {}
                Err(strange) => return Err(Silence::Garbled(strange)),
            }
            if self.receive(deadline)? == 0 {
                return Err(Silence::Closed(std::mem::take(&mut self.ahead)));
            }
        }
    }

    /// Waits for the other side to close; what came before that.
    pub(crate) fn read_to_end(&mut self) -> Result<Vec<u8>, Silence> {
        let deadline = Instant::now() + self.patience;
        while self.receive(deadline)? > 0 {}
        Ok(std::mem::take(&mut self.ahead))
    }

    /// What has come and nobody asked for.
    pub(crate) fn left_over(&mut self) -> Vec<u8> {
        // What is on its way on loopback has arrived by the time a reply was read.
        if self.stream.set_nonblocking(true).is_ok() {
            let mut bytes = [0; 4096];
            if let Ok(n) = self.stream.read(&mut bytes) {
                self.ahead.extend_from_slice(&bytes[..n]);
            }
        }
        std::mem::take(&mut self.ahead)
    }

    fn receive(&mut self, deadline: Instant) -> Result<usize, Silence> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).map_err(|error| Silence::Garbled(error.to_string()))?;
        let mut bytes = [0; 16_384];
        match self.stream.read(&mut bytes) {
            Ok(n) => {
                self.ahead.extend_from_slice(&bytes[..n]);
                Ok(n)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(Silence::Late)
            }
            // A reset is an end, too: the other side closed before it had read everything.
            Err(_) => Ok(0),
        }
    }

    fn note_switch(&mut self, frame: &Frame) {
        if let Some(protocol) = self.switching.take_if(|_| !matches!(frame, Frame::Push(_)))
            && !matches!(frame, Frame::Error(_))
        {
            self.protocol = protocol;
        }
    }
}

/// An array of bulk strings.
pub(crate) fn array(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
