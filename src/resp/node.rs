//! Links to servers and peers: commands out, RESP2 replies in.
//!
//! The drivers of links own one [`NodeDecoder`] per connection. `redis-protocol` decodes by recursion without a limit
//! and starts again from the first byte on every call, so it must never see bytes that this module has not framed: the
//! framer walks a reply without recursion, remembers how far it came, and refuses what no server sends a Sentinel.

use bytes::{Buf, BytesMut};
use memchr::memchr;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use thiserror::Error;

use super::int::{parse_strict, put_bulk, put_line};
use crate::sentinel::io::Reply;

/// Arrays inside arrays. `EXEC` replies are two deep.
const MAX_DEPTH: usize = 8;
/// Elements of one reply, at all depths together. The largest reply we ask for has a handful.
const MAX_ELEMENTS: u64 = 65_536;
/// One bulk string. INFO is some ten KiB, a hello some hundred bytes.
const MAX_BULK: i64 = 16 << 20;
/// A whole reply.
const MAX_FRAME: usize = 32 << 20;
/// A status, error or length line.
const MAX_LINE: usize = 64 << 10;

/// What came is not a reply, or not one that a Sentinel has any use for. The connection cannot be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NodeError {
    /// First byte of a reply.
    #[error("the reply begins with byte {0:#04x}")]
    Kind(u8),
    /// A line that does not end in CRLF, or a bulk string that does not.
    #[error("a line of the reply does not end in CRLF")]
    LineEnd,
    /// A line with no end in sight.
    #[error("a line of the reply is longer than {MAX_LINE} bytes")]
    LineTooLong,
    /// A length that is not a number, or a negative one other than -1.
    #[error("the reply has an invalid length")]
    Length,
    /// More than [`MAX_BULK`] or [`MAX_FRAME`] bytes.
    #[error("the reply is too big")]
    TooBig,
    /// More than [`MAX_ELEMENTS`].
    #[error("the reply has too many elements")]
    TooMany,
    /// Deeper than [`MAX_DEPTH`].
    #[error("the reply is nested too deep")]
    TooDeep,
    /// Well framed, and yet not decodable: an integer out of range, say.
    #[error("the reply cannot be decoded")]
    Malformed,
}

/// Takes replies out of the bytes of one connection.
#[derive(Debug, Default)]
pub struct NodeDecoder {
    framer: Framer,
}

impl NodeDecoder {
    /// A decoder for a new connection.
    pub fn new() -> NodeDecoder {
        NodeDecoder::default()
    }

    /// Takes the next whole reply off the front of `buffer`, or `None` until more bytes are there. `buffer` must be
    /// the same one in every call, and nobody else may take bytes from it. After an error the connection is done for.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Reply>, NodeError> {
        let Some(end) = self.framer.end(buffer)? else { return Ok(None) };
        let reply = match buffer[0] {
            // An error line may hold any bytes; the library insists on UTF-8.
            b'-' => Reply::Error(buffer[1..end - 2].into()),
            _ => match decode(&buffer[..end]) {
                Ok(Some((frame, used))) if used == end => reply_of(frame),
                _ => return Err(NodeError::Malformed),
            },
        };
        buffer.advance(end);
        Ok(Some(reply))
    }
}

/// Recursion is bounded by [`MAX_DEPTH`], which the framer has checked.
fn reply_of(frame: OwnedFrame) -> Reply {
    match frame {
        OwnedFrame::SimpleString(text) => Reply::Status(text.into()),
        OwnedFrame::Error(text) => Reply::Error(text.into_bytes().into()),
        OwnedFrame::Integer(n) => Reply::Integer(n),
        OwnedFrame::BulkString(bytes) => Reply::Bulk(bytes.into()),
        OwnedFrame::Null => Reply::Null,
        OwnedFrame::Array(items) => Reply::Array(items.into_iter().map(reply_of).collect()),
    }
}

/// Finds the end of one reply without decoding it.
#[derive(Debug, Default)]
struct Framer {
    /// Everything before this is framed; the next element begins here.
    position: usize,
    /// The line that begins at `position` has no end before this.
    searched: usize,
    /// Elements still missing in each open array, outermost first.
    open: Vec<u64>,
    /// Elements announced so far.
    elements: u64,
}

impl Framer {
    /// The length of the first reply in `bytes`, once it is complete.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, NodeError> {
        loop {
            if self.position > MAX_FRAME {
                return Err(NodeError::TooBig);
            }
            let Some(&kind) = bytes.get(self.position) else { return Ok(None) };
            if !b"+-:$*".contains(&kind) {
                return Err(NodeError::Kind(kind));
            }
            let Some(line_end) = self.line_end(bytes)? else { return Ok(None) };
            let line = &bytes[self.position + 1..line_end - 2];
            let mut next = line_end;
            let mut opened = 0;
            match kind {
                b'$' => {
                    let length = length_of(line)?;
                    if length > MAX_BULK {
                        return Err(NodeError::TooBig);
                    }
                    if length >= 0 {
                        next += length as usize + 2;
                        if bytes.len() < next {
                            // The header is looked at again, which is cheap; the payload never is.
                            return Ok(None);
                        }
                        if &bytes[next - 2..next] != b"\r\n" {
                            return Err(NodeError::LineEnd);
                        }
                    }
                }
                b'*' => {
                    opened = length_of(line)?.max(0) as u64;
                    self.elements = self.elements.saturating_add(opened);
                    if self.elements > MAX_ELEMENTS {
                        return Err(NodeError::TooMany);
                    }
                }
                _ => {}
            }
            self.position = next;
            self.searched = next;
            if opened > 0 {
                if self.open.len() == MAX_DEPTH {
                    return Err(NodeError::TooDeep);
                }
                self.open.push(opened);
            } else if self.close_element() {
                return Ok(Some(std::mem::take(self).position));
            }
        }
    }

    /// One past the CRLF of the line at `position`, if it is there.
    fn line_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, NodeError> {
        let from = self.searched.max(self.position);
        let Some(offset) = memchr(b'\n', &bytes[from..]) else {
            self.searched = bytes.len();
            return if bytes.len() - self.position > MAX_LINE { Err(NodeError::LineTooLong) } else { Ok(None) };
        };
        let newline = from + offset;
        // What was searched before holds no line end, so this one is found again at once when the bulk is incomplete.
        self.searched = newline;
        let has_return = newline > self.position + 1 && bytes[newline - 1] == b'\r';
        if has_return { Ok(Some(newline + 1)) } else { Err(NodeError::LineEnd) }
    }

    /// Notes that an element is complete, and with it every array that it was the last one of. True at the end of the
    /// reply.
    fn close_element(&mut self) -> bool {
        while let Some(missing) = self.open.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }
}

fn length_of(line: &[u8]) -> Result<i64, NodeError> {
    parse_strict(line).filter(|length| *length >= -1).ok_or(NodeError::Length)
}

/// Appends a command as servers and peers expect it: an array of bulk strings.
pub fn encode_command(words: &[Vec<u8>], out: &mut BytesMut) {
    put_line(out, b'*', words.len() as i64);
    for word in words {
        put_bulk(out, word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(bytes: &[u8]) -> Result<Vec<Reply>, NodeError> {
        let mut buffer = BytesMut::from(bytes);
        let mut decoder = NodeDecoder::new();
        let mut replies = Vec::new();
        while let Some(reply) = decoder.next(&mut buffer)? {
            replies.push(reply);
        }
        assert!(buffer.is_empty(), "{} bytes left over", buffer.len());
        Ok(replies)
    }

    #[test]
    fn reads_what_servers_send() {
        let wire = b"+PONG\r\n-ERR \xff no\r\n:-7\r\n$5\r\nab\r\nc\r\n$-1\r\n*-1\r\n*0\r\n*3\r\n:1\r\n$1\r\n*\r\n*1\r\n+OK\r\n";
        let expected = vec![
            Reply::Status(b"PONG"[..].into()),
            Reply::Error(b"ERR \xff no"[..].into()),
            Reply::Integer(-7),
            Reply::Bulk(b"ab\r\nc"[..].into()),
            Reply::Null,
            Reply::Null,
            Reply::Array(vec![]),
            Reply::Array(vec![
                Reply::Integer(1),
                Reply::Bulk(b"*"[..].into()),
                Reply::Array(vec![Reply::Status(b"OK"[..].into())]),
            ]),
        ];
        assert_eq!(decode_all(wire), Ok(expected));
    }

    #[test]
    fn refuses_deep_nesting_at_the_first_level_too_many() {
        // A decoder that recurses dies of this.
        let hostile = b"*1\r\n".repeat(100_000);
        let mut buffer = BytesMut::from(&hostile[..]);
        assert_eq!(NodeDecoder::new().next(&mut buffer), Err(NodeError::TooDeep));
        let allowed = [b"*1\r\n".repeat(MAX_DEPTH), b":1\r\n".to_vec()].concat();
        assert_eq!(decode_all(&allowed).map(|replies| replies.len()), Ok(1));
    }

    #[test]
    fn refuses_what_would_fill_the_memory() {
        let refused = |wire: &[u8]| NodeDecoder::new().next(&mut BytesMut::from(wire)).unwrap_err();
        assert_eq!(refused(b"$16777217\r\n"), NodeError::TooBig);
        assert_eq!(refused(b"*65537\r\n"), NodeError::TooMany);
        assert_eq!(refused(b"*2\r\n*65535\r\n"), NodeError::TooMany);
        assert_eq!(refused(&b"+".repeat(MAX_LINE + 2)), NodeError::LineTooLong);
        assert_eq!(refused(b"*2\r\n$1\r\na\r\n*9223372036854775807\r\n"), NodeError::TooMany);
    }

    #[test]
    fn refuses_what_is_not_a_reply() {
        let refused = |wire: &[u8]| NodeDecoder::new().next(&mut BytesMut::from(wire)).unwrap_err();
        assert_eq!(refused(b"HTTP/1.1"), NodeError::Kind(b'H'));
        assert_eq!(refused(b"+OK\n"), NodeError::LineEnd);
        assert_eq!(refused(b"+\n"), NodeError::LineEnd);
        assert_eq!(refused(b"$1\r\nabc"), NodeError::LineEnd);
        assert_eq!(refused(b"$01\r\n"), NodeError::Length);
        assert_eq!(refused(b"$-2\r\n"), NodeError::Length);
        assert_eq!(refused(b":12x\r\n"), NodeError::Malformed);
        assert_eq!(refused(b":99999999999999999999\r\n"), NodeError::Malformed);
    }

    #[test]
    fn writes_commands_as_arrays_of_bulk_strings() {
        let mut out = BytesMut::new();
        encode_command(&[b"PING".to_vec(), b"".to_vec()], &mut out);
        assert_eq!(&out[..], b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n");
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let text = || proptest::collection::vec(any::<u8>().prop_filter("line", |b| !b"\r\n".contains(b)), 0..20);
        let leaf = prop_oneof![
            text().prop_map(|text| Reply::Status(text.into())),
            "[ -~]{0,20}".prop_map(|text| Reply::Error(text.into_bytes().into())),
            any::<i64>().prop_map(Reply::Integer),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Reply::Bulk(bytes.into())),
            Just(Reply::Null),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Reply::Array))
    }

    fn put_reply(reply: &Reply, out: &mut BytesMut) {
        match reply {
            Reply::Status(text) => out.extend_from_slice(&[b"+", &text[..], b"\r\n"].concat()),
            Reply::Error(text) => out.extend_from_slice(&[b"-", &text[..], b"\r\n"].concat()),
            Reply::Integer(n) => put_line(out, b':', *n),
            Reply::Bulk(bytes) => put_bulk(out, bytes),
            Reply::Null => out.extend_from_slice(b"$-1\r\n"),
            Reply::Array(items) => {
                put_line(out, b'*', items.len() as i64);
                for item in items {
                    put_reply(item, out);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn gives_the_same_replies_however_the_bytes_arrive(
            replies in proptest::collection::vec(reply(), 1..4),
            chunk in 1_usize..9,
        ) {
            let mut wire = BytesMut::new();
            for reply in &replies {
                put_reply(reply, &mut wire);
            }
            let mut decoder = NodeDecoder::new();
            let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
            for bytes in wire.chunks(chunk) {
                buffer.extend_from_slice(bytes);
                while let Some(reply) = decoder.next(&mut buffer).unwrap() {
                    seen.push(reply);
                }
            }
            prop_assert_eq!(seen, replies);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(prop_oneof![
            Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'0'), Just(b'-'), any::<u8>()
        ], 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut decoder = NodeDecoder::new();
            while let Ok(Some(_)) = decoder.next(&mut buffer) {}
        }
    }
}
