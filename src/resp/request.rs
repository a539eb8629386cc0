//! Requests of clients: arrays of bulk strings, or lines typed by hand.
//!
//! The scanner resumes where it stopped, so a request that arrives byte by byte costs no more than one that arrives
//! whole, and it holds nothing that a client has only announced. Errors are stock's, word for word (commands.md 7.2):
//! after one the connection is answered and closed.

use std::cell::Cell;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::int::parse_strict;
use super::reply::Value;

/// A line may be this long without its end in sight.
const MAX_LINE: usize = 64 << 10;
/// Words of a request before authentication.
const MAX_STRANGER_WORDS: i64 = 10;
/// Bytes of a word before authentication.
const MAX_STRANGER_BULK: i64 = 16 << 10;
/// Words for which there is room before they have come: what is only announced is not allocated.
const ROOM: usize = 16;

thread_local! {
    /// The list of a request that is done, for the next one.
    static SPARE: Cell<Vec<Bytes>> = const { Cell::new(Vec::new()) };
}

/// Takes the words of a request that is done.
pub fn reuse(mut words: Vec<Bytes>) {
    if words.capacity() <= ROOM {
        words.clear();
        SPARE.set(words);
    }
}

/// Whether the connection has authenticated itself, or need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Small requests only.
    Stranger,
    /// Stock's limits.
    Known,
}

/// Why the request cannot be read. Displayed by [`RequestError::reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The line has an open quote, or text right after a closing one.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// More than 64 KiB without a line end.
    #[error("too big inline request")]
    TooBigInline,
    /// The same in the number of words.
    #[error("too big mbulk count string")]
    TooBigCount,
    /// The same in the length of a word.
    #[error("too big bulk count string")]
    TooBigBulkCount,
    /// Not a number, or above 2^31-1.
    #[error("invalid multibulk length")]
    InvalidCount,
    /// More than ten words before authentication.
    #[error("unauthenticated multibulk length")]
    StrangerCount,
    /// Something else where a bulk string must begin.
    #[error("expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// Not a number, negative, or above `proto-max-bulk-len`.
    #[error("invalid bulk length")]
    InvalidLength,
    /// More than 16 KiB before authentication.
    #[error("unauthenticated bulk length")]
    StrangerLength,
}

impl RequestError {
    /// The error line to answer before closing.
    pub fn reply(self) -> Value {
        match self {
            // Echoed as it came, whatever it is.
            RequestError::ExpectedBulk(byte) => {
                Value::echo_error(&[b"ERR Protocol error: expected '$', got '", &[byte], b"'"])
            }
            other => Value::error(format!("ERR Protocol error: {other}")),
        }
    }
}

/// Takes requests out of the bytes of one connection.
#[derive(Debug)]
pub struct Scanner {
    /// `proto-max-bulk-len`
    max_bulk: i64,
    /// Words of the present request that are still missing; 0 between requests.
    missing: usize,
    /// Length of the word that comes next, once its header was read.
    length: Option<usize>,
    /// Words read so far.
    words: Vec<Bytes>,
    /// Their bytes.
    held: usize,
    /// The buffer's first so many bytes hold no line end.
    searched: usize,
}

impl Scanner {
    /// A scanner for a new connection. `max_bulk` is the longest word in bytes (`proto-max-bulk-len`).
    pub fn new(max_bulk: u64) -> Scanner {
        let max_bulk = i64::try_from(max_bulk).unwrap_or(i64::MAX);
        Scanner { max_bulk, missing: 0, length: None, words: Vec::new(), held: 0, searched: 0 }
    }

    /// Bytes of the incomplete request that were taken out of the buffer already.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes the next whole request off the front of `buffer`; `None` until more bytes are there. A request of no
    /// words (an empty line, `*0`) is an empty list and gets no reply. After an error nothing more can be read.
    pub fn next(&mut self, buffer: &mut BytesMut, trust: Trust) -> Result<Option<Vec<Bytes>>, RequestError> {
        if self.missing == 0 {
            match buffer.first() {
                None => return Ok(None),
                Some(b'*') => match self.count(buffer, trust)? {
                    None => return Ok(None),
                    Some(0) => return Ok(Some(Vec::new())),
                    Some(count) => {
                        self.missing = count;
                        self.words = SPARE.take();
                        self.words.reserve(count.min(ROOM));
                    }
                },
                Some(_) => return self.inline(buffer),
            }
        }
        while self.missing > 0 {
            let Some(word) = self.word(buffer, trust)? else { return Ok(None) };
            self.held += word.len();
            self.words.push(word);
            self.missing -= 1;
        }
        self.held = 0;
        Ok(Some(std::mem::take(&mut self.words)))
    }

    /// Reads `*<count>`.
    fn count(&mut self, buffer: &mut BytesMut, trust: Trust) -> Result<Option<usize>, RequestError> {
        let Some(end) = self.header(buffer, RequestError::TooBigCount)? else { return Ok(None) };
        let count = parse_strict(&buffer[1..end]).filter(|count| *count <= i64::from(i32::MAX));
        let count = count.ok_or(RequestError::InvalidCount)?;
        buffer.advance(end + 2);
        if count > MAX_STRANGER_WORDS && trust == Trust::Stranger {
            return Err(RequestError::StrangerCount);
        }
        Ok(Some(count.max(0) as usize))
    }

    /// Reads `$<length>`, then so many bytes and the two that follow, whatever they are.
    fn word(&mut self, buffer: &mut BytesMut, trust: Trust) -> Result<Option<Bytes>, RequestError> {
        let length = if let Some(length) = self.length {
            length
        } else {
            let Some(end) = self.header(buffer, RequestError::TooBigBulkCount)? else { return Ok(None) };
            let line = &buffer[..end];
            match line.first() {
                Some(b'$') => {}
                Some(other) => return Err(RequestError::ExpectedBulk(*other)),
                None => return Err(RequestError::ExpectedBulk(b'\r')),
            }
            let length = parse_strict(&line[1..]).filter(|length| (0..=self.max_bulk).contains(length));
            let length = length.ok_or(RequestError::InvalidLength)?;
            buffer.advance(end + 2);
            if length > MAX_STRANGER_BULK && trust == Trust::Stranger {
                return Err(RequestError::StrangerLength);
            }
            *self.length.insert(length as usize)
        };
        if buffer.len() < length + 2 {
            return Ok(None);
        }
        self.length = None;
        let word = buffer.split_to(length).freeze();
        buffer.advance(2);
        Ok(Some(word))
    }

    /// Where the line at the front ends, once its CR and one more byte are there. It is read in place: a part that is
    /// taken out of the buffer costs more than all else that is done with a header.
    fn header(&mut self, buffer: &[u8], too_big: RequestError) -> Result<Option<usize>, RequestError> {
        let Some(end) = self.find(buffer, b'\r', too_big)? else { return Ok(None) };
        if buffer.len() < end + 2 {
            self.searched = end;
            return Ok(None);
        }
        Ok(Some(end))
    }

    fn inline(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, RequestError> {
        let Some(end) = self.find(buffer, b'\n', RequestError::TooBigInline)? else { return Ok(None) };
        let line = buffer.split_to(end + 1);
        let line = &line[..end];
        let words = split_words(line.strip_suffix(b"\r").unwrap_or(line)).ok_or(RequestError::UnbalancedQuotes)?;
        Ok(Some(words.into_iter().map(Bytes::from).collect()))
    }

    fn find(&mut self, buffer: &[u8], end: u8, too_big: RequestError) -> Result<Option<usize>, RequestError> {
        let found = memchr(end, &buffer[self.searched..]).map(|offset| self.searched + offset);
        self.searched = if found.is_some() { 0 } else { buffer.len() };
        if found.is_none() && buffer.len() > MAX_LINE { Err(too_big) } else { Ok(found) }
    }
}

/// Splits a line typed by hand: words between blanks; `"..."` with `\n \r \t \b \a \xHH` and any other byte behind a
/// backslash as itself; `'...'` with `\'`. `None` for an open quote, or for text right after a closing one.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = &rest[rest.iter().take_while(|byte| is_blank(**byte)).count()..];
        if rest.is_empty() {
            return Some(words);
        }
        let (word, after) = split_word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// The blanks of C's `isspace`.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn split_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some((word, rest)),
            [b'"', quoted @ ..] => return close(double_quoted(quoted, &mut word)?, word),
            [b'\'', quoted @ ..] => return close(single_quoted(quoted, &mut word)?, word),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn close(rest: &[u8], word: Vec<u8>) -> Option<(Vec<u8>, &[u8])> {
    rest.first().is_none_or(|byte| is_blank(*byte)).then_some((word, rest))
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(*high) << 4 | hex_digit(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescape(*escaped), after),
            [byte, after @ ..] => (*byte, after),
        };
        word.push(byte);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
        };
        word.push(byte);
        rest = after;
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_digit(digit: u8) -> u8 {
    char::from(digit).to_digit(16).expect("a hex digit") as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX_BULK: u64 = 512 << 20;

    type Outcome = (Vec<Vec<Vec<u8>>>, Option<RequestError>);

    /// Everything that `chunks` give, one after the other.
    fn scan<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, trust: Trust) -> Outcome {
        let mut scanner = Scanner::new(MAX_BULK);
        let (mut buffer, mut requests) = (BytesMut::new(), Vec::new());
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            loop {
                match scanner.next(&mut buffer, trust) {
                    Ok(Some(words)) => requests.push(words.iter().map(|word| word.to_vec()).collect()),
                    Ok(None) => break,
                    Err(error) => return (requests, Some(error)),
                }
            }
        }
        (requests, None)
    }

    fn failure(wire: &[u8], trust: Trust) -> RequestError {
        scan([wire], trust).1.unwrap_or_else(|| panic!("{} was read", wire.escape_ascii()))
    }

    #[test]
    fn the_list_of_a_request_that_is_done_serves_the_next_one() {
        let (mut one, mut other) = (Scanner::new(MAX_BULK), Scanner::new(MAX_BULK));
        let (mut whole, mut half) =
            (BytesMut::from(&b"*1\r\n$4\r\nPING\r\n"[..]), BytesMut::from(&b"*2\r\n$1\r\na\r\n"[..]));
        let words = one.next(&mut whole, Trust::Known).expect("it can be read").expect("it is whole");
        let place = words.as_ptr();
        reuse(words);
        assert_eq!(other.next(&mut half, Trust::Known), Ok(None));
        // The half request has it now.
        whole.extend_from_slice(b"*1\r\n$4\r\nQUIT\r\n");
        let words = one.next(&mut whole, Trust::Known).expect("it can be read").expect("it is whole");
        assert_eq!((&words[..], words.as_ptr() == place), (&[Bytes::from_static(b"QUIT")][..], false));
        half.extend_from_slice(b"$1\r\nb\r\n");
        let words = other.next(&mut half, Trust::Known).expect("it can be read").expect("it is whole");
        assert_eq!(
            (&words[..], words.as_ptr() == place),
            (&[Bytes::from_static(b"a"), Bytes::from_static(b"b")][..], true)
        );
    }

    /// commands.md 195
    #[test]
    fn splits_lines_as_stock_does() {
        let words = |line: &[u8]| split_words(line).map(|words| words.concat_with_bars());
        assert_eq!(words(b" PING \"a\\x41\\n\" "), Some(b"PING|aA\n".to_vec()));
        assert_eq!(
            words(b"'it\\'s' \"\\\"\\\\\\r\\t\\b\\a\\q\" a\"b c\""),
            Some(b"it's|\"\\\r\t\x08\x07q|ab c".to_vec())
        );
        assert_eq!(words(b"\"\" ''"), Some(b"|".to_vec()));
        assert_eq!(words(b"\"\\xZZ\""), Some(b"xZZ".to_vec()));
        assert_eq!(words(b"   "), Some(b"".to_vec()));
    }

    trait Bars {
        fn concat_with_bars(&self) -> Vec<u8>;
    }
    impl Bars for Vec<Vec<u8>> {
        fn concat_with_bars(&self) -> Vec<u8> {
            self.join(&b'|')
        }
    }

    /// commands.md 196, 197
    #[test]
    fn refuses_with_the_right_error() {
        for (wire, error) in [
            (&b"PING \"abc\r\n"[..], RequestError::UnbalancedQuotes),
            (b"PING 'abc\\'\r\n", RequestError::UnbalancedQuotes),
            (b"PING \"abc\"d\r\n", RequestError::UnbalancedQuotes),
            (b"*a\r\n", RequestError::InvalidCount),
            (b"*01\r\n", RequestError::InvalidCount),
            (b"* 1\r\n", RequestError::InvalidCount),
            (b"*2147483648\r\n", RequestError::InvalidCount),
            (b"*1\r\nPING\r\n", RequestError::ExpectedBulk(b'P')),
            (b"*1\r\n\r\n", RequestError::ExpectedBulk(b'\r')),
            (b"*1\r\n$a\r\n", RequestError::InvalidLength),
            (b"*1\r\n$-1\r\n", RequestError::InvalidLength),
            (b"*1\r\n$04\r\n", RequestError::InvalidLength),
            (b"*1\r\n$536870913\r\n", RequestError::InvalidLength),
        ] {
            assert_eq!(failure(wire, Trust::Known), error, "{}", wire.escape_ascii());
        }
        let long = vec![b'x'; MAX_LINE + 1];
        assert_eq!(failure(&long, Trust::Known), RequestError::TooBigInline);
        assert_eq!(failure(&[b"*", &long[..]].concat(), Trust::Known), RequestError::TooBigCount);
        assert_eq!(failure(&[b"*1\r\n$", &long[..]].concat(), Trust::Known), RequestError::TooBigBulkCount);
    }

    /// commands.md 7.2: a long line whose end arrives with it is fine.
    #[test]
    fn accepts_a_long_line_that_is_complete() {
        let line = [&vec![b'x'; 70_000][..], b"\n"].concat();
        assert_eq!(scan([&line[..]], Trust::Known).0[0][0].len(), 70_000);
    }

    /// commands.md 202
    #[test]
    fn limits_strangers() {
        assert_eq!(failure(b"*11\r\n", Trust::Stranger), RequestError::StrangerCount);
        assert_eq!(failure(b"*1\r\n$16385\r\n", Trust::Stranger), RequestError::StrangerLength);
        assert_eq!(scan([&b"*10\r\n$16384\r\n"[..]], Trust::Stranger), (vec![], None));
        assert_eq!(scan([&b"*11\r\n$16385\r\n"[..]], Trust::Known), (vec![], None));
    }

    /// commands.md 198 and 7.1
    #[test]
    fn skips_what_says_nothing() {
        let (requests, error) = scan([&b"\r\n\n*0\r\n*-1\r\n*-7\r\n*1\r\n$4\r\nPINGxxPING\r\n"[..]], Trust::Known);
        let ping = vec![b"PING".to_vec()];
        assert_eq!(requests, vec![vec![], vec![], vec![], vec![], vec![], ping.clone(), ping]);
        assert_eq!(error, None);
    }

    #[test]
    fn announced_words_cost_nothing() {
        let mut scanner = Scanner::new(MAX_BULK);
        let mut buffer = BytesMut::from(&b"*2147483647\r\n$536870912\r\nab"[..]);
        assert_eq!(scanner.next(&mut buffer, Trust::Known), Ok(None));
        assert!(scanner.words.capacity() <= 16);
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let word = proptest::collection::vec(any::<u8>(), 0..12);
        let whole = proptest::collection::vec(word, 0..5).prop_map(|words| {
            let mut out = BytesMut::new();
            super::super::node::encode_command(&words, &mut out);
            out.to_vec()
        });
        let line = "[ a-z\"'\\\\x0-9]{0,16}\r?\n".prop_map(String::into_bytes);
        let noise = "[*$]?[-0-9]{0,2}\r?\n?".prop_map(String::into_bytes);
        prop_oneof![4 => whole, 2 => line, 1 => noise]
    }

    proptest! {
        /// commands.md 199
        #[test]
        fn reads_the_same_wherever_the_bytes_are_split(
            pieces in proptest::collection::vec(pieces(), 1..6),
            stranger in any::<bool>(),
        ) {
            let wire = pieces.concat();
            let trust = if stranger { Trust::Stranger } else { Trust::Known };
            let whole = scan([&wire[..]], trust);
            for at in 0..=wire.len() {
                prop_assert_eq!(&scan([&wire[..at], &wire[at..]], trust), &whole, "split at {}", at);
            }
            prop_assert_eq!(&scan(wire.chunks(1), trust), &whole);
        }
    }
}
