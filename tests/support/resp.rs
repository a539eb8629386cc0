//! A blocking RESP2 client, as small as it can be: independent of the code under test.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A peer that does not answer for this long counts as gone.
const TIMEOUT: Duration = Duration::from_secs(2);

/// One reply. Bulk strings are text: nothing in these tests is binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// `+`
    Simple(String),
    /// `-`
    Error(String),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(String),
    /// `$-1` and `*-1`
    Nil,
    /// `*`
    Array(Vec<Value>),
}

impl Value {
    /// The text of a bulk or simple string.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Value::Bulk(text) | Value::Simple(text) => Some(text),
            _ => None,
        }
    }

    /// The items of an array; none for anything else.
    pub(crate) fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// What follows `key` in a flat array of keys and values.
    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        self.items().chunks(2).find(|pair| pair[0].text() == Some(key))?.get(1)?.text()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to a port of 127.0.0.1.
    pub(crate) fn connect(port: u16) -> io::Result<Client> {
        Client::connect_to(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Connects to any address.
    pub(crate) fn connect_to(addr: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// The socket, for whoever ends a blocking read from another thread.
    pub(crate) fn socket(&self) -> io::Result<TcpStream> {
        self.stream.get_ref().try_clone()
    }

    /// How long a read may take; `None` is for ever.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(timeout)
    }

    /// Sends one command and reads one reply. Error replies are values, not errors.
    pub(crate) fn call(&mut self, words: &[&str]) -> io::Result<Value> {
        self.send(words)?;
        self.read()
    }

    /// Sends one command.
    pub(crate) fn send(&mut self, words: &[&str]) -> io::Result<()> {
        let mut request = vec![format!("*{}\r\n", words.len())];
        request.extend(words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())));
        self.stream.get_mut().write_all(request.concat().as_bytes())
    }

    /// Reads one reply or message.
    pub(crate) fn read(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (Some(kind), rest) = (line.chars().next(), line.get(1..).unwrap_or_default()) else {
            return Err(bad(line));
        };
        let number = || rest.parse::<i64>().map_err(|_| bad(line));
        Ok(match kind {
            '+' => Value::Simple(rest.to_owned()),
            '-' => Value::Error(rest.to_owned()),
            ':' => Value::Integer(number()?),
            '$' => match usize::try_from(number()?) {
                Err(_) => Value::Nil,
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Value::Bulk(String::from_utf8_lossy(&bytes).into_owned())
                }
            },
            '*' => match usize::try_from(number()?) {
                Err(_) => Value::Nil,
                Ok(length) => Value::Array((0..length).map(|_| self.read()).collect::<io::Result<_>>()?),
            },
            _ => return Err(bad(line)),
        })
    }
}

/// One command on a connection of its own.
pub(crate) fn ask(port: u16, words: &[&str]) -> io::Result<Value> {
    Client::connect(port)?.call(words)
}

fn bad(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP2: {line:?}"))
}
