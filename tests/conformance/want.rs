//! Expected replies, written once for both protocols.
//!
//! | notation | RESP2 | RESP3 |
//! |---|---|---|
//! | `+OK`, `-ERR text` | status, error; up to the end of the line, or between quotes inside a list | the same |
//! | `:5`, `:<int>` | integer | the same |
//! | `,1.5` | bulk string | double |
//! | `"text"` | bulk string | the same |
//! | `="text"` | bulk string | verbatim string of format `txt` |
//! | `null`, `nullarray` | `$-1`, `*-1` | `_` |
//! | `[a b]` | array | the same |
//! | `{k v k v}` | array of keys and values | map |
//! | `~[a b]` | array | set |
//! | `>[a b]` | array | push |
//! | `?[a b]` | array, in any order | the same |
//! | `*` | any one value | |
//! | `...` | any number of values of a list, or pairs of a map | |
//!
//! Texts have holes: see `text`.

use super::frame::Frame;
use super::text::{Names, Text};

/// Which of the two a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Resp2,
    Resp3,
}

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Status(Text),
    Error(Text),
    Integer(Text),
    Double(Text),
    Bulk(Text),
    Verbatim(Text),
    Null,
    NullArray,
    List(List, Vec<Want>),
    AnyOrder(Vec<Want>),
    /// `*`
    One,
    /// `...`
    Several,
}

/// The kinds of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Array,
    Map,
    Set,
    Push,
}

impl Want {
    /// Reads the notation. What follows it must be blank.
    pub(crate) fn parse(source: &str) -> Result<Want, String> {
        let source = source.trim();
        match source.chars().next() {
            Some('+') => Ok(Want::Status(Text::parse(&source[1..])?)),
            Some('-') => Ok(Want::Error(Text::parse(&source[1..])?)),
            _ => match value(source)? {
                (want, rest) if rest.trim().is_empty() => Ok(want),
                (_, rest) => Err(format!("what is this after a reply: {rest}")),
            },
        }
    }

    /// A message that PSUBSCRIBE of `*` delivers.
    pub(crate) fn event(channel: &str, payload: &str) -> Result<Want, String> {
        let words = ["pmessage", "*"].map(|word| Text::parse(word).map(Want::Bulk));
        let words = words.into_iter().chain([channel, payload].map(|word| Text::parse(word).map(Want::Bulk)));
        Ok(Want::List(List::Push, words.collect::<Result<_, String>>()?))
    }

    /// Whether the frame is what is wanted.
    pub(crate) fn fits(&self, frame: &Frame, protocol: Protocol, names: &mut Names) -> Result<bool, String> {
        let text = |text: &Text, bytes: &[u8], names: &mut Names| text.fits(bytes, names);
        match (self, frame) {
            (Want::One, _) => Ok(true),
            (Want::Status(want), Frame::Status(got))
            | (Want::Error(want), Frame::Error(got))
            | (Want::Integer(want), Frame::Integer(got))
            | (Want::Bulk(want), Frame::Bulk(got)) => text(want, got, names),
            (Want::Double(want), Frame::Double(got)) if protocol == Protocol::Resp3 => text(want, got, names),
            (Want::Double(want) | Want::Verbatim(want), Frame::Bulk(got)) if protocol == Protocol::Resp2 => {
                text(want, got, names)
            }
            (Want::Verbatim(want), Frame::Verbatim(got)) if protocol == Protocol::Resp3 => {
                got.strip_prefix(b"txt:").map_or(Ok(false), |got| text(want, got, names))
            }
            (Want::Null, Frame::NullBulk) | (Want::NullArray, Frame::NullArray) => Ok(protocol == Protocol::Resp2),
            (Want::Null | Want::NullArray, Frame::Null) => Ok(protocol == Protocol::Resp3),
            (Want::List(kind, want), frame) => match kind.items(frame, protocol) {
                Some(got) => all(want, got, *kind, protocol, names),
                None => Ok(false),
            },
            (Want::AnyOrder(want), Frame::Array(got)) => any_order(want, got, protocol, names),
            _ => Ok(false),
        }
    }
}

impl List {
    fn items(self, frame: &Frame, protocol: Protocol) -> Option<&[Frame]> {
        match (self, protocol, frame) {
            (List::Array, _, Frame::Array(items))
            | (_, Protocol::Resp2, Frame::Array(items))
            | (List::Map, Protocol::Resp3, Frame::Map(items))
            | (List::Set, Protocol::Resp3, Frame::Set(items))
            | (List::Push, Protocol::Resp3, Frame::Push(items)) => Some(items),
            _ => None,
        }
    }
}

fn all(want: &[Want], got: &[Frame], kind: List, protocol: Protocol, names: &mut Names) -> Result<bool, String> {
    let Some((first, others)) = want.split_first() else { return Ok(got.is_empty()) };
    if *first == Want::Several {
        let step = if kind == List::Map { 2 } else { 1 };
        for skipped in (0..=got.len()).step_by(step) {
            let mut attempt = names.clone();
            if all(others, &got[skipped..], kind, protocol, &mut attempt)? {
                *names = attempt;
                return Ok(true);
            }
        }
        return Ok(false);
    }
    match got.split_first() {
        Some((frame, rest)) => Ok(first.fits(frame, protocol, names)? && all(others, rest, kind, protocol, names)?),
        None => Ok(false),
    }
}

/// Each takes the first that fits it and is still there: enough for names, of which none fits two.
fn any_order(want: &[Want], got: &[Frame], protocol: Protocol, names: &mut Names) -> Result<bool, String> {
    let mut left: Vec<&Frame> = got.iter().collect();
    for want in want {
        let mut found = None;
        for (at, frame) in left.iter().enumerate() {
            if want.fits(frame, protocol, names)? {
                found = Some(at);
                break;
            }
        }
        match found {
            Some(at) => left.remove(at),
            None => return Ok(false),
        };
    }
    Ok(left.is_empty())
}

fn value(source: &str) -> Result<(Want, &str), String> {
    let source = source.trim_start();
    for (prefix, kind) in [("[", List::Array), ("{", List::Map), ("~[", List::Set), (">[", List::Push)] {
        if let Some(inner) = source.strip_prefix(prefix) {
            let (items, rest) = items(inner, if prefix == "{" { '}' } else { ']' })?;
            return Ok((Want::List(kind, items), rest));
        }
    }
    if let Some(inner) = source.strip_prefix("?[") {
        return items(inner, ']').map(|(items, rest)| (Want::AnyOrder(items), rest));
    }
    for (prefix, make) in QUOTED {
        if let Some(inner) = source.strip_prefix(prefix) {
            let end = closing_quote(inner).ok_or_else(|| format!("no closing quote: {inner}"))?;
            return Ok((make(Text::parse(&inner[..end])?), &inner[end + 1..]));
        }
    }
    let end = source.find(|char: char| char.is_whitespace() || "]}".contains(char)).unwrap_or(source.len());
    let (word, rest) = source.split_at(end);
    let want = match word {
        "*" => Want::One,
        "..." => Want::Several,
        "null" => Want::Null,
        "nullarray" => Want::NullArray,
        _ => match word.split_at_checked(1) {
            Some((":", number)) => Want::Integer(Text::parse(number)?),
            Some((",", number)) => Want::Double(Text::parse(number)?),
            Some(("+", text)) => Want::Status(Text::parse(text)?),
            _ => return Err(format!("not a reply: {source}")),
        },
    };
    Ok((want, rest))
}

type Make = fn(Text) -> Want;

const QUOTED: [(&str, Make); 4] =
    [("\"", Want::Bulk), ("=\"", Want::Verbatim), ("+\"", Want::Status), ("-\"", Want::Error)];

fn items(mut source: &str, close: char) -> Result<(Vec<Want>, &str), String> {
    let mut items = Vec::new();
    loop {
        source = source.trim_start();
        if let Some(rest) = source.strip_prefix(close) {
            return Ok((items, rest));
        }
        if source.is_empty() {
            return Err(format!("no closing {close}"));
        }
        let (item, rest) = value(source)?;
        items.push(item);
        source = rest;
    }
}

/// Where the quote is that ends this text.
pub(crate) fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// Whether more lines are needed: a list or a text is still open.
pub(crate) fn is_open(source: &str) -> bool {
    let trimmed = source.trim_start();
    if trimmed.starts_with(['+', '-']) {
        return false;
    }
    let (mut depth, mut rest) = (0_i32, trimmed);
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        match char {
            '"' => match closing_quote(rest) {
                Some(end) => rest = &rest[end + 1..],
                None => return true,
            },
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    depth > 0
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;

    fn fits(want: &str, wire: &str, protocol: Protocol) -> bool {
        let (frame, _) = frame::parse(wire.as_bytes()).expect("RESP").expect("whole");
        Want::parse(want).expect("a reply").fits(&frame, protocol, &mut Names::new()).expect("known names")
    }

    #[test]
    fn one_notation_stands_for_both_protocols() {
        use Protocol::{Resp2, Resp3};
        for (want, resp2, resp3) in [
            ("null", "$-1\r\n", "_\r\n"),
            ("nullarray", "*-1\r\n", "_\r\n"),
            ("{\"k\" :1}", "*2\r\n$1\r\nk\r\n:1\r\n", "%1\r\n$1\r\nk\r\n:1\r\n"),
            ("~[+a]", "*1\r\n+a\r\n", "~1\r\n+a\r\n"),
            (">[\"a\"]", "*1\r\n$1\r\na\r\n", ">1\r\n$1\r\na\r\n"),
            ("=\"ab\"", "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n"),
            (",1.5", "$3\r\n1.5\r\n", ",1.5\r\n"),
        ] {
            assert!(fits(want, resp2, Resp2) && fits(want, resp3, Resp3), "{want}");
            assert!(!fits(want, resp2, Resp3) && !fits(want, resp3, Resp2), "{want} in the wrong protocol");
        }
        assert!(fits("-ERR no <any>", "-ERR no such\r\n", Resp2));
        assert!(!fits("\"5\"", ":5\r\n", Resp2) && !fits(":5", "$1\r\n5\r\n", Resp2) && !fits("+OK", "-OK\r\n", Resp2));
    }

    #[test]
    fn dots_skip_values_and_pairs() {
        let wire = "*6\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\nb\r\n$1\r\ne\r\n";
        assert!(fits("[... \"c\" ...]", wire, Protocol::Resp2));
        assert!(fits("{... \"b\" \"e\" ...}", wire, Protocol::Resp2));
        assert!(!fits("{... \"b\" \"c\" ...}", wire, Protocol::Resp2), "a value is no key");
        assert!(!fits("[... \"x\" ...]", wire, Protocol::Resp2));
        assert!(!fits("[\"a\" \"b\"]", wire, Protocol::Resp2));
        assert!(fits("?[\"e\" \"d\" \"c\" \"b\" \"b\" \"a\"]", wire, Protocol::Resp2));
        assert!(!fits("?[\"e\" \"d\" \"c\" \"b\" \"a\" \"a\"]", wire, Protocol::Resp2));
    }

    #[test]
    fn knows_when_a_reply_goes_on_in_the_next_line() {
        assert!(is_open("[ \"a]\"") && is_open("\"a") && !is_open("[ \"[\" ]") && !is_open("-ERR [") && !is_open(":1"));
    }
}
