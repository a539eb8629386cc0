//! A reply that is made as it leaves. With thousands of masters `SENTINEL MASTERS` is megabytes long: made at once it would
//! wait whole for every client that reads slowly, in memory that is fetched and given back for each.

use std::fmt;

use bytes::BytesMut;

use crate::resp::int::put_line;
use crate::resp::reply::{Protocol, Value};

/// So much is made at once, and a little more.
const PIECE: usize = 64 << 10;

/// What is left of an array.
pub(crate) struct LongReply(Box<dyn ExactSizeIterator<Item = Value> + Send>);

impl LongReply {
    pub(crate) fn new(items: impl ExactSizeIterator<Item = Value> + Send + 'static) -> LongReply {
        LongReply(Box::new(items))
    }

    /// Appends the header. To be called before anything is taken.
    pub(crate) fn begin(&self, out: &mut BytesMut) {
        put_line(out, b'*', self.0.len() as i64);
    }

    /// Appends elements while there is less than a piece in `out`. Whether that was all.
    pub(crate) fn go_on(&mut self, protocol: Protocol, out: &mut BytesMut) -> bool {
        while out.len() < PIECE {
            let Some(item) = self.0.next() else { return true };
            item.write(protocol, out);
        }
        self.0.len() == 0
    }
}

impl fmt::Debug for LongReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} more", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_the_whole_and_none_is_much_larger_than_the_others() {
        let numbers = || (0..100_000).map(|n: i32| Value::number(n));
        let (mut reply, mut out, mut all) = (LongReply::new(numbers()), BytesMut::new(), Vec::new());
        reply.begin(&mut out);
        let mut is_all = false;
        while !is_all {
            is_all = reply.go_on(Protocol::Resp2, &mut out);
            assert!(out.len() < PIECE + 100, "{}", out.len());
            assert_eq!(out.len() < PIECE, is_all);
            all.extend_from_slice(&out.split());
        }
        assert_eq!(all, Value::Array(numbers().collect()).to_bytes(Protocol::Resp2));
    }
}
