//! What a client is answered: one tree of values, written as RESP2 or RESP3.
//!
//! Nulls and verbatim strings are written by `redis-protocol`. Integers, the headers of aggregates and the null array
//! are ours: the library appends a stray byte to some integers, merges equal keys of a map and cannot write `*-1`.
//! Error lines are ours because they may echo bytes that are not UTF-8, and strings because nearly every reply is made
//! of them: the library spends a tenth of a pipelined PING on one.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use redis_protocol::{resp2, resp3};

use super::int::{put_bulk, put_line};

/// What a connection negotiated with HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Every connection begins with it.
    #[default]
    Resp2,
    /// `HELLO 3`
    Resp3,
}

/// A reply to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+text`
    Status(Cow<'static, str>),
    /// `-text`, its code included. CR and LF become spaces when written.
    Error(Cow<'static, [u8]>),
    /// `:n`
    Integer(i64),
    /// `$n`
    Bulk(Bytes),
    /// `$-1`, in RESP3 `_`.
    Null,
    /// `*-1`, in RESP3 `_`.
    NullArray,
    /// `*n`
    Array(Vec<Value>),
    /// `*2n` of keys and values, in RESP3 `%n`.
    Map(Vec<(Value, Value)>),
    /// A map of which everything but the header is encoded: the number of pairs, and bulk strings.
    Pairs(usize, Vec<u8>),
    /// `*n`, in RESP3 `~n`.
    Set(Vec<Value>),
    /// `*n`, in RESP3 `>n`.
    Push(Vec<Value>),
    /// `$n`, in RESP3 `=n` with the format `txt`.
    Verbatim(Bytes),
    /// A time given in ms, as a number of seconds: `$n`, in RESP3 `,`.
    Seconds(u64),
    /// A frame made beforehand, the same in both protocols.
    Ready(Bytes),
    /// Several replies, one after the other.
    Several(Vec<Value>),
    /// No reply at all.
    Nothing,
}

impl Value {
    /// `+OK`
    pub const OK: Value = Value::Status(Cow::Borrowed("OK"));

    /// An error line, its code included.
    pub fn error(text: impl Into<String>) -> Value {
        Value::Error(Cow::Owned(text.into().into_bytes()))
    }

    /// An error line that is known beforehand.
    pub const fn fixed_error(text: &'static str) -> Value {
        Value::Error(Cow::Borrowed(text.as_bytes()))
    }

    /// An error line from pieces of which some are echoed as they came.
    pub fn echo_error(pieces: &[&[u8]]) -> Value {
        Value::Error(Cow::Owned(pieces.concat()))
    }

    /// A bulk string known beforehand.
    pub const fn name(text: &'static str) -> Value {
        Value::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// A bulk string.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Bulk(Bytes::from(text.into()))
    }

    /// A number written as a bulk string, as everywhere in instance maps.
    pub fn number(n: impl itoa::Integer) -> Value {
        Value::Bulk(Bytes::copy_from_slice(itoa::Buffer::new().format(n).as_bytes()))
    }

    /// Appends this value.
    pub fn write(&self, protocol: Protocol, out: &mut BytesMut) {
        match self {
            Value::Status(text) => put_status(text, out),
            Value::Error(text) => put_error(text, out),
            Value::Integer(n) => put_line(out, b':', *n),
            Value::Bulk(bytes) => put_bulk(out, bytes),
            Value::Null => match protocol {
                Protocol::Resp2 => put_resp2(&resp2::types::BorrowedFrame::Null, out),
                Protocol::Resp3 => put_resp3(&resp3::types::BorrowedFrame::Null, out),
            },
            Value::NullArray => match protocol {
                Protocol::Resp2 => out.put_slice(b"*-1\r\n"),
                Protocol::Resp3 => put_resp3(&resp3::types::BorrowedFrame::Null, out),
            },
            Value::Array(items) => put_items(b'*', items, protocol, out),
            Value::Set(items) => put_items(aggregate(b'~', protocol), items, protocol, out),
            Value::Push(items) => put_items(aggregate(b'>', protocol), items, protocol, out),
            Value::Map(pairs) => {
                put_map_header(pairs.len(), protocol, out);
                for (key, value) in pairs {
                    key.write(protocol, out);
                    value.write(protocol, out);
                }
            }
            Value::Pairs(count, encoded) => {
                put_map_header(*count, protocol, out);
                out.extend_from_slice(encoded);
            }
            Value::Verbatim(data) => match protocol {
                Protocol::Resp2 => put_bulk(out, data),
                Protocol::Resp3 => {
                    let format = resp3::types::VerbatimStringFormat::Text;
                    put_resp3(&resp3::types::BorrowedFrame::VerbatimString { data, format, attributes: None }, out);
                }
            },
            Value::Seconds(ms) => {
                let text = seconds(*ms);
                match protocol {
                    Protocol::Resp2 => put_bulk(out, text.as_bytes()),
                    Protocol::Resp3 => out.put_slice(format!(",{text}\r\n").as_bytes()),
                }
            }
            Value::Ready(frame) => out.extend_from_slice(frame),
            Value::Several(values) => {
                for value in values {
                    value.write(protocol, out);
                }
            }
            Value::Nothing => {}
        }
    }

    /// The bytes of this value alone.
    pub fn to_bytes(&self, protocol: Protocol) -> Bytes {
        let mut out = BytesMut::new();
        self.write(protocol, &mut out);
        out.freeze()
    }
}

/// 17 significant digits, as C's `%.17g` writes them.
fn seconds(ms: u64) -> String {
    let seconds = ms as f64 / 1_000.0;
    let before_point = (ms / 1_000).checked_ilog10().map_or(0, |digits| digits as usize + 1);
    let leading_zeros = if ms == 0 { 0 } else { 3 - (ms.ilog10() as usize + 1).min(3) };
    let text = format!("{seconds:.*}", 17 + leading_zeros - before_point);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn aggregate(resp3: u8, protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Resp2 => b'*',
        Protocol::Resp3 => resp3,
    }
}

fn put_map_header(pairs: usize, protocol: Protocol, out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => put_line(out, b'*', 2 * pairs as i64),
        Protocol::Resp3 => put_line(out, b'%', pairs as i64),
    }
}

fn put_items(kind: u8, items: &[Value], protocol: Protocol, out: &mut BytesMut) {
    put_line(out, kind, items.len() as i64);
    for item in items {
        item.write(protocol, out);
    }
}

fn put_status(text: &str, out: &mut BytesMut) {
    out.reserve(text.len() + 3);
    out.put_u8(b'+');
    out.put_slice(text.as_bytes());
    out.put_slice(b"\r\n");
}

fn put_error(text: &[u8], out: &mut BytesMut) {
    out.reserve(text.len() + 3);
    out.put_u8(b'-');
    out.extend(text.iter().map(|byte| if b"\r\n".contains(byte) { b' ' } else { *byte }));
    out.put_slice(b"\r\n");
}

fn put_resp2(frame: &resp2::types::BorrowedFrame<'_>, out: &mut BytesMut) {
    resp2::encode::extend_encode_borrowed(out, frame, false).expect("the encoder sizes the buffer itself");
}

fn put_resp3(frame: &resp3::types::BorrowedFrame<'_>, out: &mut BytesMut) {
    resp3::encode::complete::extend_encode_borrowed(out, frame, false).expect("the encoder sizes the buffer itself");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: &Value) -> [String; 2] {
        [Protocol::Resp2, Protocol::Resp3]
            .map(|protocol| String::from_utf8(value.to_bytes(protocol).to_vec()).expect("text"))
    }

    /// commands.md 1.5
    #[test]
    fn maps_types_to_each_protocol() {
        let pair = || vec![(Value::name("k"), Value::Integer(9_999_999_999_999_999))];
        for (value, resp2, resp3) in [
            (Value::OK, "+OK\r\n", "+OK\r\n"),
            (Value::error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (Value::Null, "$-1\r\n", "_\r\n"),
            (Value::NullArray, "*-1\r\n", "_\r\n"),
            (Value::Map(pair()), "*2\r\n$1\r\nk\r\n:9999999999999999\r\n", "%1\r\n$1\r\nk\r\n:9999999999999999\r\n"),
            (Value::Set(vec![Value::OK]), "*1\r\n+OK\r\n", "~1\r\n+OK\r\n"),
            (Value::Push(vec![Value::Integer(-1)]), "*1\r\n:-1\r\n", ">1\r\n:-1\r\n"),
            (Value::Verbatim(Bytes::from_static(b"ab")), "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n"),
            (Value::Array(vec![]), "*0\r\n", "*0\r\n"),
            (Value::name(""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (Value::number(-17), "$3\r\n-17\r\n", "$3\r\n-17\r\n"),
            (Value::Nothing, "", ""),
            (Value::Seconds(0), "$1\r\n0\r\n", ",0\r\n"),
            (Value::Seconds(1), "$5\r\n0.001\r\n", ",0.001\r\n"),
            (Value::Seconds(27_474), "$6\r\n27.474\r\n", ",27.474\r\n"),
            (Value::Seconds(100), "$19\r\n0.10000000000000001\r\n", ",0.10000000000000001\r\n"),
            (Value::Seconds(7_120_000), "$4\r\n7120\r\n", ",7120\r\n"),
        ] {
            assert_eq!(written(&value), [resp2.to_owned(), resp3.to_owned()], "{value:?}");
        }
    }

    #[test]
    fn keeps_order_and_repeated_keys_of_a_map() {
        let pairs = ["b", "a", "b"].map(|key| (Value::text(key), Value::Null)).to_vec();
        assert_eq!(written(&Value::Map(pairs))[1], "%3\r\n$1\r\nb\r\n_\r\n$1\r\na\r\n_\r\n$1\r\nb\r\n_\r\n");
    }

    proptest! {
        #[test]
        fn writes_integers_exactly(n in any::<i64>(), digits in 0_u32..19) {
            for n in [n, 10_i64.pow(digits) - 1, 1 - 10_i64.pow(digits), 10_i64.pow(digits)] {
                let written = Value::Integer(n).to_bytes(Protocol::Resp2);
                prop_assert_eq!(written, Bytes::from(format!(":{n}\r\n")));
            }
        }

        #[test]
        fn writes_strings_exactly(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let expected = [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
            prop_assert_eq!(&Value::Bulk(bytes.into()).to_bytes(Protocol::Resp3)[..], &expected);
        }
    }
}
