//! Replies as they come over the wire, in either protocol. Independent of the code under test: it parses what arrives,
//! and prints it in the notation of the cases (see `want`).

use std::fmt;

/// One reply or message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// `+`
    Status(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`, as its digits.
    Integer(Vec<u8>),
    /// `,`, as its digits.
    Double(Vec<u8>),
    /// `$`
    Bulk(Vec<u8>),
    /// `=`, with its format.
    Verbatim(Vec<u8>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    /// `*`
    Array(Vec<Frame>),
    /// `%`, keys and values in turn.
    Map(Vec<Frame>),
    /// `~`
    Set(Vec<Frame>),
    /// `>`
    Push(Vec<Frame>),
}

/// Takes one whole frame off the front: it and its length, `None` until more bytes are there.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Frame, usize)>, String> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let (line, mut used) = (&bytes[..end], end + 2);
    let Some((&kind, rest)) = line.split_first() else { return Err("an empty line".to_owned()) };
    let strange = || format!("not RESP: {}", line.escape_ascii());
    let number = || std::str::from_utf8(rest).ok().and_then(|text| text.parse::<i64>().ok()).ok_or_else(strange);
    let text = rest.to_vec();
    let frame = match kind {
        b'+' => Frame::Status(text),
        b'-' => Frame::Error(text),
        b':' => {
            number()?;
            Frame::Integer(text)
        }
        b',' => Frame::Double(text),
        b'_' if rest.is_empty() => Frame::Null,
        b'$' if rest == b"-1" => Frame::NullBulk,
        b'*' if rest == b"-1" => Frame::NullArray,
        b'$' | b'=' => {
            let length = usize::try_from(number()?).map_err(|_| strange())?;
            let Some(body) = bytes.get(used..used + length + 2) else { return Ok(None) };
            let Some(body) = body.strip_suffix(b"\r\n") else { return Err(strange()) };
            used += length + 2;
            if kind == b'$' { Frame::Bulk(body.to_vec()) } else { Frame::Verbatim(body.to_vec()) }
        }
        b'*' | b'%' | b'~' | b'>' => {
            let length = usize::try_from(number()?).map_err(|_| strange())?;
            let mut items = Vec::new();
            for _ in 0..length * if kind == b'%' { 2 } else { 1 } {
                let Some((item, n)) = parse(&bytes[used..])? else { return Ok(None) };
                items.push(item);
                used += n;
            }
            match kind {
                b'*' => Frame::Array(items),
                b'%' => Frame::Map(items),
                b'~' => Frame::Set(items),
                _ => Frame::Push(items),
            }
        }
        _ => return Err(strange()),
    };
    Ok(Some((frame, used)))
}

/// Bytes as they are written in a case.
fn escaped(bytes: &[u8]) -> String {
    let mut shown = bytes.escape_ascii().to_string().replace("\\'", "'").replace('<', "\\<");
    if shown.ends_with(' ') {
        shown.truncate(shown.len() - 1);
        shown.push_str("\\s");
    }
    shown
}

/// Above this many characters a reply is shown over several lines.
const WIDE: usize = 110;

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::Status(text) => write!(f, "+{}", escaped(text)),
            Frame::Error(text) => write!(f, "-{}", escaped(text)),
            _ => self.nested(f, 0),
        }
    }
}

impl Frame {
    fn nested(&self, f: &mut impl fmt::Write, depth: usize) -> fmt::Result {
        match self {
            Frame::Status(text) => write!(f, "+\"{}\"", escaped(text)),
            Frame::Error(text) => write!(f, "-\"{}\"", escaped(text)),
            Frame::Integer(text) => write!(f, ":{}", escaped(text)),
            Frame::Double(text) => write!(f, ",{}", escaped(text)),
            Frame::Bulk(text) => write!(f, "\"{}\"", escaped(text)),
            Frame::Verbatim(text) => write!(f, "=\"{}\"", escaped(text)),
            Frame::NullBulk | Frame::Null => f.write_str("null"),
            Frame::NullArray => f.write_str("nullarray"),
            Frame::Array(items) => list(f, "[", items, "]", depth),
            Frame::Map(items) => list(f, "{", items, "}", depth),
            Frame::Set(items) => list(f, "~[", items, "]", depth),
            Frame::Push(items) => list(f, ">[", items, "]", depth),
        }
    }
}

fn list(f: &mut impl fmt::Write, open: &str, items: &[Frame], close: &str, depth: usize) -> fmt::Result {
    let mut shown = Vec::new();
    for item in items {
        let mut text = String::new();
        item.nested(&mut text, depth + 1)?;
        shown.push(text);
    }
    let line = shown.join(" ");
    if line.len() <= WIDE && !line.contains('\n') {
        return write!(f, "{open}{line}{close}");
    }
    let indent = "  ".repeat(depth + 1);
    writeln!(f, "{open}")?;
    // Keys stand beside their values where there are any.
    let step = if items.len().is_multiple_of(2) && matches!(items[0], Frame::Bulk(_)) { 2 } else { 1 };
    for pair in shown.chunks(step) {
        writeln!(f, "{indent}{}", pair.join(" "))?;
    }
    write!(f, "{}{close}", "  ".repeat(depth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_both_protocols() {
        for (wire, shown) in [
            ("+OK\r\n", "+OK"),
            ("-ERR no\r\n", "-ERR no"),
            ("*2\r\n:1\r\n$3\r\na\"b\r\n", "[:1 \"a\\\"b\"]"),
            ("%1\r\n+k\r\n_\r\n", "{+\"k\" null}"),
            (">1\r\n~1\r\n=6\r\ntxt:ab\r\n", ">[~[=\"txt:ab\"]]"),
            ("*-1\r\n", "nullarray"),
            (",1.5\r\n", ",1.5"),
        ] {
            let (frame, used) = parse(wire.as_bytes()).expect("RESP").expect("whole");
            assert_eq!((frame.to_string().as_str(), used), (shown, wire.len()));
            for cut in 0..wire.len() {
                assert_eq!(parse(&wire.as_bytes()[..cut]), Ok(None), "{wire:?} up to {cut}");
            }
        }
        assert!(parse(b"PONG\r\n").is_err());
        assert!(parse(b"$2\r\nabcd\r\n").is_err());
    }
}
