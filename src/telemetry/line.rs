//! One line of the log, in the form that the configuration chooses (config.md 6.1, 6.7).

use std::fmt::{self, Write};

use chrono::{DateTime, Local, SecondsFormat};
use serde::Serialize;

/// Longest message, bytes. Stock's buffer has 1024, one of them for the terminator.
const MAX_MESSAGE: usize = 1023;

/// `log-format` of the conf file, and of `sentineld.toml`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `PID:X DD Mon YYYY HH:MM:SS.mmm * message`
    #[default]
    Stock,
    /// Valkey's: `pid=PID role=sentinel timestamp="..." level=notice message="..."`.
    Logfmt,
    /// An object a line, with the members of [`Format::Logfmt`].
    Json,
}

/// `log-timestamp-format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamp {
    /// `DD Mon YYYY HH:MM:SS.mmm`, local time; ISO 8601 in JSON.
    #[default]
    Stock,
    /// `2024-10-24T12:34:56.789+02:00`
    Iso8601,
    /// Since 1970.
    Milliseconds,
}

/// What kind of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `.`
    Debug,
    /// `-`
    Verbose,
    /// `*`
    Notice,
    /// `#`
    Warning,
    /// What stock writes from its signal handlers, with another head.
    Signal,
    /// Text that is written as it is.
    Raw,
}

const KINDS: [(Kind, char); 6] = [
    (Kind::Debug, '.'),
    (Kind::Verbose, '-'),
    (Kind::Notice, '*'),
    (Kind::Warning, '#'),
    (Kind::Signal, 's'),
    (Kind::Raw, 'r'),
];

/// A line before it has a form: what travels to the thread that writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Level, or what it is instead of a line.
    pub kind: Kind,
    /// Wall clock, ms.
    pub at: i64,
    /// As it was given.
    pub message: String,
}

impl Record {
    /// A record of this moment.
    pub fn now(kind: Kind, message: String) -> Record {
        Record { kind, at: Local::now().timestamp_millis(), message }
    }

    /// As bytes.
    pub fn encode(&self, to: &mut impl Write) -> fmt::Result {
        let mark = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or('#', |(_, mark)| *mark);
        write!(to, "{mark}{} {}", self.at, self.message)
    }

    /// From its bytes; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mark = text.chars().next()?;
        let kind = KINDS.iter().find(|(_, of)| *of == mark)?.0;
        let (at, message) = text[mark.len_utf8()..].split_once(' ')?;
        Some(Record { kind, at: at.parse().ok()?, message: message.to_owned() })
    }

    /// The line, with its end.
    pub fn render(&self, format: Format, timestamp: Timestamp) -> String {
        let mut line = String::new();
        // A string takes everything.
        let _ = match (self.kind, format) {
            (Kind::Raw, _) => write!(line, "{}", self.message),
            (_, Format::Stock) => self.stock(timestamp, &mut line),
            (_, Format::Logfmt) => self.logfmt(timestamp, &mut line),
            (_, Format::Json) => self.json(timestamp, &mut line),
        };
        line
    }

    fn stock(&self, timestamp: Timestamp, line: &mut String) -> fmt::Result {
        let pid = std::process::id();
        if self.kind == Kind::Signal {
            write!(line, "{pid}:signal-handler ({}) ", self.at / 1_000)?;
        } else {
            let mark = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or('#', |(_, mark)| *mark);
            write!(line, "{pid}:X {} {mark} ", self.stamp(timestamp))?;
        }
        put_printable(line, &self.message)?;
        line.write_char('\n')
    }

    fn logfmt(&self, timestamp: Timestamp, line: &mut String) -> fmt::Result {
        let (pid, stamp, level) = (std::process::id(), self.stamp(timestamp), self.level());
        write!(line, "pid={pid} role=sentinel timestamp=\"{stamp}\" level={level} message=\"")?;
        let message = self.message.replace('"', "'").replace(['\r', '\n'], " ");
        put_printable(line, &message)?;
        line.write_str("\"\n")
    }

    fn json(&self, timestamp: Timestamp, line: &mut String) -> fmt::Result {
        #[derive(Serialize)]
        struct Line<'a> {
            pid: u32,
            role: &'a str,
            timestamp: String,
            level: &'a str,
            message: &'a str,
        }
        let timestamp = if timestamp == Timestamp::Stock { Timestamp::Iso8601 } else { timestamp };
        let object = Line {
            pid: std::process::id(),
            role: "sentinel",
            timestamp: self.stamp(timestamp),
            level: self.level(),
            message: cut(&self.message),
        };
        // Nothing in it can fail.
        writeln!(line, "{}", serde_json::to_string(&object).unwrap_or_default())
    }

    /// Valkey calls verbose lines `info`.
    fn level(&self) -> &'static str {
        match self.kind {
            Kind::Debug => "debug",
            Kind::Verbose => "info",
            Kind::Notice => "notice",
            Kind::Warning | Kind::Signal | Kind::Raw => "warning",
        }
    }

    fn stamp(&self, timestamp: Timestamp) -> String {
        let local = DateTime::from_timestamp_millis(self.at).unwrap_or_default().with_timezone(&Local);
        match timestamp {
            Timestamp::Stock => local.format("%d %b %Y %H:%M:%S%.3f").to_string(),
            Timestamp::Iso8601 => local.to_rfc3339_opts(SecondsFormat::Millis, false),
            Timestamp::Milliseconds => self.at.to_string(),
        }
    }
}

fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE)]
}

/// Cuts a message and escapes its control characters: names and addresses come from the network, and a line end among
/// them would let a node forge lines.
fn put_printable(writer: &mut impl fmt::Write, message: &str) -> fmt::Result {
    for c in cut(message).chars() {
        match c {
            '\n' => writer.write_str("\\n")?,
            '\r' => writer.write_str("\\r")?,
            '\t' => writer.write_str("\\t")?,
            c if c.is_control() => write!(writer, "\\x{:02x}", u32::from(c))?,
            c => writer.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        for (letter, written) in [("x", MAX_MESSAGE), ("é", MAX_MESSAGE - 1)] {
            let mut text = String::new();
            put_printable(&mut text, &letter.repeat(2000)).expect("strings take everything");
            assert_eq!(text.len(), written);
        }
    }

    /// config.md 158, 159. Valkey's, so stock has none of it.
    #[test]
    fn other_formats() {
        let at = 1_729_766_096_789;
        let record = Record { kind: Kind::Verbose, at, message: "say \"a\"\r\nb".to_owned() };
        let mut bytes = String::new();
        record.encode(&mut bytes).expect("a string");
        assert_eq!(Record::decode(bytes.as_bytes()), Some(record.clone()));
        let pid = std::process::id();
        let line = record.render(Format::Logfmt, Timestamp::Milliseconds);
        let expected = format!("pid={pid} role=sentinel timestamp=\"{at}\" level=info message=\"say 'a'  b\"\n");
        assert_eq!(line, expected);
        let line = record.render(Format::Json, Timestamp::Milliseconds);
        let expected = format!(
            "{{\"pid\":{pid},\"role\":\"sentinel\",\"timestamp\":\"{at}\",\"level\":\"info\",\
             \"message\":\"say \\\"a\\\"\\r\\nb\"}}\n"
        );
        assert_eq!(line, expected);
        let line = record.render(Format::Stock, Timestamp::Iso8601);
        let stamp = line.split(' ').nth(1).expect("the second word");
        let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert!(["9999-99-99T99:99:99.999+99:99", "9999-99-99T99:99:99.999-99:99"].contains(&&*shape), "{line}");
        assert_eq!(DateTime::parse_from_rfc3339(stamp).expect("ISO 8601").timestamp_millis(), at);
        let line = record.render(Format::Stock, Timestamp::Milliseconds);
        assert_eq!(line, format!("{pid}:X {at} - say \"a\"\\r\\nb\n"));
    }

    #[test]
    fn what_is_no_record_is_none() {
        for bytes in [&b""[..], b"x", b"#", b"#12", b"#x y", b"\xff1 x"] {
            assert_eq!(Record::decode(bytes), None);
        }
    }
}
