//! What a case says: lines that are sent, replies that are expected, things that are done to processes and files.
//!
//! | line | |
//! |---|---|
//! | `> PING x` | sends an array of bulk strings on the connection `a`; words may be quoted |
//! | `b> PING x` | the same on `b`; `M`, `R`, `P` and `Q` lead to the fixture's servers and other Sentinels |
//! | `>. PING` | the same, byte by byte |
//! | `>> "PING\r\n"` | sends these bytes |
//! | `?> SENTINEL MASTER m` | sends it again and again, until the reply that follows is what is expected |
//! | `+PONG` | the next reply on the connection that was written to last: see `want` |
//! | `b< +PONG` | the next reply on `b` |
//! | `b<* >["message" ...]` | a reply on `b`; others before it are passed over |
//! | `event +sdown master m` | an event, as PSUBSCRIBE of `*` delivers it |
//! | `closed` | the other side closes, and says no more |
//! | `! kill M` and others | see `Action` |
//! | `100 x > PING` | any of these, so many times |
//! | `2\| `, `3\| `, `ours\| `, `stock\| ` before a line | holds for that protocol or program only |
//! | `# words` | nothing |

use super::text::Text;
use super::want::{Protocol, Want, is_open};
use crate::support::Kind;

/// One line, with what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// As written, for people.
    pub(crate) source: String,
    /// Only in this protocol.
    pub(crate) protocol: Option<Protocol>,
    /// Only for this program.
    pub(crate) kind: Option<Kind>,
    /// How often.
    pub(crate) times: usize,
    pub(crate) act: Act,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Send { to: String, words: Vec<Text> },
    Trickle { to: String, words: Vec<Text> },
    Raw { to: String, bytes: Text },
    Until { to: String, words: Vec<Text>, want: Want },
    Expect { from: Option<String>, want: Want, pass_over: bool },
    Closed { from: Option<String> },
    Do(Action),
}

/// What is done to processes and files. `self` is the Sentinel under test.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// `stop M`, `continue M`, `kill M`, `start M`: signals, and a start on the same files.
    Process(Signal, String),
    /// `exit 0`: the Sentinel ends by itself, with this code.
    Exit(i32),
    /// `file text`: the conf file has such a line, at the latest in a few seconds.
    File(Text),
    /// `no file text`: it has none, at the latest in a few seconds.
    NoFile(Text),
    /// `log text`: the log has such a line.
    Log(Text),
    /// `no log text`: it has none.
    NoLog(Text),
    /// `delete file`: the conf file.
    DeleteFile,
    /// `hide folder`, `show folder`: nothing can be saved meanwhile.
    HideFolder,
    ShowFolder,
    /// `program name text`: an executable file in the Sentinel's folder; `\n` ends its lines.
    Program(String, Text),
    /// `stall 700`: the Sentinel is stopped for so many ms.
    Stall(u64),
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Stop,
    Continue,
    Kill,
    Start,
}

/// Reads a whole script.
pub(crate) fn parse(source: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let mut text = line.trim().to_owned();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let mut step = parse_guard(&text);
        let body = step.source.clone();
        text.truncate(text.len() - body.len());
        let mut body = body;
        while is_open(wanted(&body)) {
            let more = lines.next().ok_or_else(|| format!("a list is not closed: {body}"))?;
            body = format!("{body}\n{}", more.trim());
        }
        step.source = format!("{text}{body}");
        let body = times(&mut step, &body);
        let pending = steps.last_mut().and_then(|last| match &mut last.act {
            Act::Until { want: want @ Want::Several, .. } => Some(want),
            _ => None,
        });
        if let Some(want) = pending {
            *want = Want::parse(body)?;
            let last = steps.last_mut().expect("it is pending");
            last.source = format!("{}\n{}", last.source, step.source);
            continue;
        }
        step.act = act(body)?;
        steps.push(step);
    }
    Ok(steps)
}

/// The guards off the front; the rest is left in `source`.
fn parse_guard(line: &str) -> Step {
    let act = Act::Closed { from: None };
    let mut step = Step { source: line.to_owned(), protocol: None, kind: None, times: 1, act };
    while let Some((guard, rest)) = step.source.split_once("| ") {
        match guard {
            "2" => step.protocol = Some(Protocol::Resp2),
            "3" => step.protocol = Some(Protocol::Resp3),
            "ours" => step.kind = Some(Kind::Ours),
            "stock" => step.kind = Some(Kind::Stock),
            _ => break,
        }
        step.source = rest.trim_start().to_owned();
    }
    step
}

fn times<'a>(step: &mut Step, body: &'a str) -> &'a str {
    if let Some((count, rest)) = body.split_once(" x ")
        && let Ok(count) = count.parse()
    {
        step.times = count;
        return rest.trim_start();
    }
    body
}

const OPERATORS: [&str; 6] = ["?> ", ">> ", ">. ", "<* ", "> ", "< "];

/// Connection, operator and the rest.
fn split_operator(body: &str) -> Option<(&str, &str, &str)> {
    let end = body.find(|char: char| !char.is_ascii_alphanumeric())?;
    let (name, rest) = body.split_at(end);
    let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator))?;
    Some((name, operator, &rest[operator.len()..]))
}

/// The part of a line that may be an expected reply.
fn wanted(body: &str) -> &str {
    let body =
        body.split_once(" x ").filter(|(count, _)| count.parse::<usize>().is_ok()).map_or(body, |(_, rest)| rest);
    match split_operator(body) {
        Some((_, "< " | "<* ", want)) => want,
        Some(_) => "",
        None if body.starts_with('!') || body.starts_with("event ") => "",
        None => body,
    }
}

fn act(body: &str) -> Result<Act, String> {
    if let Some(action) = body.strip_prefix("! ") {
        return action_of(action).map(Act::Do);
    }
    let Some((name, operator, rest)) = split_operator(body) else { return expect(None, body, false) };
    let to = if name.is_empty() { "a".to_owned() } else { name.to_owned() };
    Ok(match operator {
        "> " => Act::Send { to, words: words(rest)? },
        ">. " => Act::Trickle { to, words: words(rest)? },
        "?> " => Act::Until { to, words: words(rest)?, want: Want::Several },
        ">> " => Act::Raw { to, bytes: words(rest)?.pop().ok_or("nothing to send")? },
        operator => return expect(Some(to), rest, operator == "<* "),
    })
}

fn expect(from: Option<String>, want: &str, pass_over: bool) -> Result<Act, String> {
    if want == "closed" {
        return Ok(Act::Closed { from });
    }
    let want = match want.strip_prefix("event ").map(|event| event.split_once(' ').unwrap_or((event, ""))) {
        Some((channel, payload)) => Want::event(channel, payload)?,
        None => Want::parse(want)?,
    };
    Ok(Act::Expect { from, want, pass_over })
}

fn action_of(line: &str) -> Result<Action, String> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let process = |signal| Ok(Action::Process(signal, rest.to_owned()));
    let number = || rest.parse().map_err(|_| format!("not a number: {line}"));
    match (verb, rest) {
        ("stop", _) => process(Signal::Stop),
        ("continue", _) => process(Signal::Continue),
        ("kill", _) => process(Signal::Kill),
        ("start", _) => process(Signal::Start),
        ("exit", _) => Ok(Action::Exit(number()? as i32)),
        ("stall", _) => Ok(Action::Stall(number()?)),
        ("file", _) => Text::parse(rest).map(Action::File),
        ("log", _) => Text::parse(rest).map(Action::Log),
        ("no", _) => match rest.split_once(' ') {
            Some(("file", text)) => Text::parse(text).map(Action::NoFile),
            Some(("log", text)) => Text::parse(text).map(Action::NoLog),
            _ => Err(format!("no such action: {line}")),
        },
        ("delete", "file") => Ok(Action::DeleteFile),
        ("hide", "folder") => Ok(Action::HideFolder),
        ("show", "folder") => Ok(Action::ShowFolder),
        ("program", _) => {
            let (name, text) = rest.split_once(' ').ok_or("a program has a name and a text")?;
            Ok(Action::Program(name.to_owned(), Text::parse(text)?))
        }
        _ => Err(format!("no such action: {line}")),
    }
}

/// Words between blanks, or between quotes.
pub(crate) fn words(line: &str) -> Result<Vec<Text>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = super::want::closing_quote(quoted).ok_or_else(|| format!("no closing quote: {line}"))?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
        };
        words.push(Text::parse(word)?);
        rest = after.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> String {
        format!("{:?}", parse(source).expect("a script").pop().expect("a step").act)
    }

    #[test]
    fn reads_what_is_sent_and_what_is_expected() {
        assert!(shown("> PING").starts_with("Send { to: \"a\""));
        assert!(shown("b> PING \"a b\"").starts_with("Send { to: \"b\""));
        assert!(shown(">[\"message\" *]").starts_with("Expect { from: None"));
        assert!(shown("e<* event +sdown master m").starts_with("Expect { from: Some(\"e\")"));
        assert!(shown("[\n\"a\"\n\"b\"\n]").contains("List(Array, [Bulk("));
        assert!(shown("?> PING\n+PONG").starts_with("Until { to: \"a\", words: [Text([Literal("));
        assert!(shown("! no file sentinel x").starts_with("Do(NoFile("));
        let step = parse("3| ours| 20 x > PING").expect("a script").remove(0);
        assert_eq!((step.protocol, step.kind, step.times), (Some(Protocol::Resp3), Some(Kind::Ours), 20));
        assert!(parse("> PING\nPONG").is_err());
        assert!(parse("! eat M").is_err());
        assert!(parse("[ \"a\"").is_err());
    }
}
