//! A client that sees bytes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing on loopback takes this long.
const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    /// Read, and not asked for yet.
    ahead: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(addr: SocketAddr) -> Wire {
        let stream = timeout(DEADLINE, TcpStream::connect(addr)).await.expect("in time").expect("connect");
        Wire::over(stream)
    }

    pub(crate) fn over(stream: TcpStream) -> Wire {
        Wire { stream, ahead: Vec::new() }
    }

    /// Sends bytes. The other side may have ended the connection meanwhile; what it said last shows why.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(DEADLINE, self.stream.write_all(bytes.as_ref())).await.expect("in time");
    }

    /// Sends words as an array of bulk strings.
    pub(crate) async fn ask(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        self.send(array(&words)).await;
    }

    async fn read_more(&mut self, wanted: &str) -> usize {
        let mut bytes = [0; 4096];
        let n = timeout(DEADLINE, self.stream.read(&mut bytes)).await;
        let n = n.unwrap_or_else(|_| panic!("no {wanted}, only {:?}", self.ahead.escape_ascii().to_string()));
        // A reset is an end, too: the other side closed before it had read everything.
        let n = n.unwrap_or(0);
        self.ahead.extend_from_slice(&bytes[..n]);
        n
    }

    /// Expects exactly these bytes next.
    pub(crate) async fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let wanted = expected.escape_ascii().to_string();
        while self.ahead.len() < expected.len() && expected.starts_with(&self.ahead) {
            if self.read_more(&wanted).await == 0 {
                break;
            }
        }
        let got = &self.ahead[..expected.len().min(self.ahead.len())];
        assert_eq!(got.escape_ascii().to_string(), wanted);
        self.ahead.drain(..expected.len());
    }

    /// Sends a line of words and expects these bytes.
    pub(crate) async fn exchange(&mut self, line: &str, expected: impl AsRef<[u8]>) {
        self.ask(line).await;
        self.expect(expected).await;
    }

    /// Expects the other side to close, and nothing before.
    pub(crate) async fn expect_end(&mut self) {
        while self.read_more("end").await > 0 {}
        assert_eq!(self.ahead.escape_ascii().to_string(), "");
    }

    /// Chooses the protocol and passes the greeting over.
    pub(crate) async fn speak(&mut self, protocol: u8) {
        self.ask(&format!("HELLO {protocol}")).await;
        while self.line().await != "modules" {}
        self.expect("*0\r\n").await;
    }

    /// The next line, without its end.
    pub(crate) async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.ahead.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).expect("text");
            }
            assert!(self.read_more("line").await > 0, "the connection ended");
        }
    }

    /// The next bulk string's (or verbatim string's) bytes.
    pub(crate) async fn bulk(&mut self) -> String {
        let header = self.line().await;
        let length: usize = header[1..].parse().unwrap_or_else(|_| panic!("{header} is no bulk string"));
        while self.ahead.len() < length + 2 {
            assert!(self.read_more("bulk").await > 0, "the connection ended");
        }
        let bytes = self.ahead.drain(..length + 2).take(length).collect();
        String::from_utf8(bytes).expect("text")
    }

    /// The next array or map of bulk strings: its header and its strings.
    pub(crate) async fn strings(&mut self) -> (String, Vec<String>) {
        let header = self.line().await;
        let count: usize = header[1..].parse().unwrap_or_else(|_| panic!("{header} is no aggregate"));
        let mut strings = Vec::new();
        for _ in 0..count * if header.starts_with('%') { 2 } else { 1 } {
            strings.push(self.bulk().await);
        }
        (header, strings)
    }
}

/// An array of bulk strings.
pub(crate) fn array(words: &[&str]) -> Vec<u8> {
    let mut wire = format!("*{}\r\n", words.len());
    for word in words {
        wire += &bulk(word);
    }
    wire.into_bytes()
}

pub(crate) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}
