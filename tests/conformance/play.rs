//! Plays a case on a stage, line by line, and says at the first line that does not hold what came instead.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::case::Case;
use super::fixture::{KindOf, Stage};
use super::script::{Act, Action, Signal, Step, words};
use super::text::{Names, Text};
use super::want::{Protocol, Want};
use super::wire::{Silence, Wire, array};

/// Between two looks.
const STEP: Duration = Duration::from_millis(20);

/// Plays it; the error is for people.
pub(crate) fn play(case: &Case, stage: &mut Stage, kind: KindOf, protocol: Protocol) -> Result<(), String> {
    let names = stage.names.clone();
    let mut player =
        Player { case, stage, protocol, names, wires: BTreeMap::new(), last: "a".to_owned(), said: Vec::new() };
    for step in &case.steps {
        let skipped = step.protocol.is_some_and(|only| only != protocol);
        if skipped || step.kind.is_some_and(|only| !kind.is(only)) {
            continue;
        }
        if let Err(error) = player.step(step) {
            return Err(player.complain(step, &error));
        }
    }
    player.finish()
}

struct Player<'a> {
    case: &'a Case,
    stage: &'a mut Stage,
    protocol: Protocol,
    names: Names,
    wires: BTreeMap<String, Wire>,
    /// The connection that was written to last.
    last: String,
    /// What was said so far.
    said: Vec<String>,
}

impl Player<'_> {
    fn complain(&self, step: &Step, error: &str) -> String {
        let from = self.said.len().saturating_sub(8);
        let before = self.said[from..].join("\n").replace('\n', "\n      ");
        format!("      {before}\n  >>> {}\n{error}", step.source.replace('\n', "\n      "))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        for _ in 0..step.times {
            self.act(&step.act)?;
        }
        self.said.push(step.source.clone());
        Ok(())
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Send { to, words } => self.send(to, words, usize::MAX),
            Act::Trickle { to, words } => self.send(to, words, 1),
            Act::Raw { to, bytes } => {
                let bytes = bytes.bytes(&self.names)?;
                self.wire(to)?.send(&bytes);
                self.last.clone_from(to);
                Ok(())
            }
            Act::Until { to, words, want } => {
                let deadline = Instant::now() + self.case.patience;
                loop {
                    self.send(to, words, usize::MAX)?;
                    match self.expect(to, want) {
                        Err(error) if Instant::now() < deadline => {
                            if error.contains(NOTHING) {
                                // Closed by whoever closes clients; the next try connects again.
                                self.wires.remove(to);
                            }
                            std::thread::sleep(STEP);
                        }
                        other => return other,
                    }
                }
            }
            Act::Expect { from, want, pass_over } => {
                let from = from.clone().unwrap_or_else(|| self.last.clone());
                let deadline = Instant::now() + self.case.patience;
                loop {
                    match self.expect(&from, want) {
                        // A wait that is over is over: silence is no reply that could be passed over.
                        Err(error) if *pass_over && Instant::now() < deadline && !error.contains(NOTHING) => {}
                        other => return other,
                    }
                }
            }
            Act::Closed { from } => {
                let from = from.clone().unwrap_or_else(|| self.last.clone());
                let rest = self.wire(&from)?.read_to_end().map_err(|_| "  it is not closed".to_owned())?;
                self.wires.remove(&from);
                if rest.is_empty() { Ok(()) } else { Err(format!("  before the end: {}", rest.escape_ascii())) }
            }
            Act::Do(action) => self.perform(action),
        }
    }

    fn wire(&mut self, name: &str) -> Result<&mut Wire, String> {
        if !self.wires.contains_key(name) {
            let wire = Wire::connect(self.stage.port(name), self.case.patience)
                .map_err(|error| format!("  no connection: {error}"))?;
            self.wires.insert(name.to_owned(), wire);
            // Servers and other Sentinels are tools, and spoken to in RESP2.
            if name.starts_with(|first: char| first.is_ascii_lowercase()) {
                self.greet(name)?;
            }
        }
        Ok(self.wires.get_mut(name).expect("it was put there"))
    }

    fn greet(&mut self, name: &str) -> Result<(), String> {
        let hello = (self.case.greet && self.protocol == Protocol::Resp3).then_some("HELLO 3");
        for line in self.case.login.as_deref().into_iter().chain(hello) {
            let wire = self.wires.get_mut(name).expect("it was just made");
            let words = words(line)?.iter().map(|word| word.bytes(&self.names)).collect::<Result<Vec<_>, _>>()?;
            wire.switching = protocol_asked(&words);
            wire.send(&array(&words));
            let reply = wire.read().map_err(|silence| format!("  {line}: {}", shown(&silence)))?;
            if matches!(reply, super::frame::Frame::Error(_)) {
                return Err(format!("  {line}: {reply}"));
            }
        }
        Ok(())
    }

    fn send(&mut self, to: &str, words: &[Text], piece: usize) -> Result<(), String> {
        let words = words.iter().map(|word| word.bytes(&self.names)).collect::<Result<Vec<_>, _>>()?;
        let wire = self.wire(to)?;
        wire.switching = protocol_asked(&words);
        for piece in array(&words).chunks(piece) {
            wire.send(piece);
        }
        to.clone_into(&mut self.last);
        Ok(())
    }

    fn expect(&mut self, from: &str, want: &Want) -> Result<(), String> {
        let mut names = self.names.clone();
        let wire = self.wire(from)?;
        let reply = wire.read().map_err(|silence| shown(&silence))?;
        if want.fits(&reply, wire.protocol, &mut names)? {
            self.names = names;
            return Ok(());
        }
        let reply = reply.to_string().replace('\n', "\n      ");
        Err(format!("  got {reply}"))
    }

    fn perform(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Process(signal, whom) => {
                if whom == "self" && *signal == Signal::Kill {
                    self.wires.retain(|name, _| name.starts_with(|first: char| first.is_ascii_uppercase()));
                }
                self.stage.signal(*signal, whom)
            }
            Action::Exit(code) => match self.stage.exit_code() {
                Some(got) if got == *code => Ok(()),
                got => Err(format!("  it ended with {got:?}")),
            },
            Action::File(text) => self.find(text, Stage::conf),
            Action::Log(text) => self.find(text, Stage::log),
            Action::NoFile(text) => self.miss(text, Stage::conf),
            Action::NoLog(text) => self.miss(text, Stage::log),
            Action::DeleteFile => std::fs::remove_file(self.stage.conf_path()).map_err(|error| error.to_string()),
            Action::HideFolder => {
                self.stage.show_folder(false);
                Ok(())
            }
            Action::ShowFolder => {
                self.stage.show_folder(true);
                Ok(())
            }
            Action::Program(name, text) => {
                self.stage.write_program(name, &text.bytes(&self.names)?);
                Ok(())
            }
            Action::Stall(ms) => {
                self.stage.signal(Signal::Stop, "self")?;
                // The stall itself; nothing is waited for.
                std::thread::sleep(Duration::from_millis(*ms));
                self.stage.signal(Signal::Continue, "self")
            }
        }
    }

    /// Waits for a line in which the text stands.
    fn find(&mut self, text: &Text, of: fn(&Stage) -> String) -> Result<(), String> {
        let deadline = Instant::now() + self.case.patience;
        loop {
            let content = of(self.stage);
            for line in content.lines() {
                if text.is_within(line.as_bytes(), &mut self.names)? {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                return Err(format!("  it has only:\n{content}"));
            }
            std::thread::sleep(STEP);
        }
    }

    /// Waits until there is no such line.
    fn miss(&mut self, text: &Text, of: fn(&Stage) -> String) -> Result<(), String> {
        let deadline = Instant::now() + self.case.patience;
        loop {
            let content = of(self.stage);
            let mut found = None;
            for line in content.lines() {
                if text.is_within(line.as_bytes(), &mut self.names)? {
                    found = Some(line);
                }
            }
            match found {
                None => return Ok(()),
                Some(line) if Instant::now() > deadline => return Err(format!("  it has: {line}")),
                Some(_) => std::thread::sleep(STEP),
            }
        }
    }

    /// Nothing that nobody expected may be left on any connection.
    fn finish(mut self) -> Result<(), String> {
        for (name, wire) in &mut self.wires {
            let rest = wire.left_over();
            if !rest.is_empty() && name.starts_with(|first: char| first.is_ascii_lowercase()) {
                return Err(format!("  at the end, {name} was sent something more: {}", rest.escape_ascii()));
            }
        }
        Ok(())
    }
}

const NOTHING: &str = "got nothing";

fn shown(silence: &Silence) -> String {
    match silence {
        Silence::Closed(rest) => format!("  {NOTHING}: closed after {:?}", rest.escape_ascii().to_string()),
        Silence::Late => format!("  {NOTHING} in time"),
        Silence::Garbled(what) => format!("  {NOTHING} that can be read: {what}"),
    }
}

/// The protocol that a HELLO chooses.
fn protocol_asked(words: &[Vec<u8>]) -> Option<Protocol> {
    match words {
        [hello, version, ..] if hello.eq_ignore_ascii_case(b"hello") => match version.as_slice() {
            b"2" => Some(Protocol::Resp2),
            b"3" => Some(Protocol::Resp3),
            _ => None,
        },
        _ => None,
    }
}
