//! What a run leaves to look at: a hash over every transition, or one printed line for each.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;

use sentineld::sentinel::io::{Input, Output};
use sentineld::sentinel::peer::{PeerInput, PeerOutput};

/// What to keep of each transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// A hash over all of them, to compare two runs.
    Hash,
    /// Lines of transitions that say something.
    Lines,
    /// Lines of all transitions.
    AllLines,
}

/// Collects transitions.
#[derive(Debug)]
pub struct Trace {
    /// What is kept.
    pub keep: Keep,
    hasher: DefaultHasher,
    lines: Vec<String>,
    names: Vec<(String, String)>,
}

impl Trace {
    /// An empty trace.
    pub fn new(keep: Keep) -> Trace {
        Trace { keep, hasher: DefaultHasher::new(), lines: Vec::new(), names: Vec::new() }
    }

    /// Replaces `id` by `name` in every line.
    pub fn call(&mut self, id: &str, name: &str) {
        self.names.push((id.to_owned(), name.to_owned()));
    }

    /// The hash so far, to compare within one process.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> &[String] {
        &self.lines[self.lines.len().saturating_sub(count)..]
    }

    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.keep != Keep::Nothing
    }

    /// One transition of a monitor.
    pub fn monitor(&mut self, at: u64, node: usize, master: usize, inputs: &[Input], outputs: &[Output]) {
        self.step(at, node, 'm', master, inputs, outputs);
    }

    /// One transition of a peer.
    pub fn peer(&mut self, at: u64, node: usize, peer: usize, inputs: &[PeerInput], outputs: &[PeerOutput]) {
        self.step(at, node, 'p', peer, inputs, outputs);
    }

    fn step<I: Hashed, O: Hashed>(
        &mut self,
        at: u64,
        node: usize,
        kind: char,
        who: usize,
        inputs: &[I],
        outputs: &[O],
    ) {
        match self.keep {
            Keep::Nothing => {}
            Keep::Hash => {
                (at, node, kind, who).hash(&mut self.hasher);
                for input in inputs {
                    input.hash_into(&mut self.hasher);
                }
                for output in outputs {
                    output.hash_into(&mut self.hasher);
                }
            }
            Keep::Lines | Keep::AllLines => {
                let texts = outputs.iter().map(|output| shorten(&legible(&format!("{output:?}"))));
                let said: Vec<String> = texts.filter(|text| self.keep == Keep::AllLines || !is_chatter(text)).collect();
                if !said.is_empty() || self.keep == Keep::AllLines {
                    let texts = inputs.iter().map(|input| shorten(&legible(&format!("{input:?}"))));
                    let inputs: Vec<String> = texts.collect();
                    let (inputs, outputs) = (inputs.join("; "), said.join("; "));
                    self.push(&format!("{:>12} n{node} {kind}{who} {inputs} | {outputs}", clock(at)));
                }
            }
        }
    }

    /// Something that the world did.
    pub fn note(&mut self, at: u64, text: impl FnOnce() -> String) {
        if matches!(self.keep, Keep::Lines | Keep::AllLines) {
            let line = format!("{:>12} ** {}", clock(at), text());
            self.push(&line);
        }
    }

    fn push(&mut self, line: &str) {
        let mut line = line.to_owned();
        for (id, name) in &self.names {
            line = line.replace(id, name);
        }
        self.lines.push(line);
    }
}

fn clock(at: u64) -> String {
    format!("{}.{:06}", at / 1_000_000, at % 1_000_000)
}

/// What every link does all the time, and nobody wants to read.
fn is_chatter(output: &str) -> bool {
    output.starts_with("WakeAt")
        || output.starts_with("Publish(")
        || output.starts_with("Health")
        || (output.starts_with("Send")
            && ["Ping", "Info", "PublishHello", "ClientSetname", "SubscribeHello"]
                .iter()
                .any(|word| output.contains(word)))
}

/// Writes byte lists as text.
fn legible(debug: &str) -> String {
    let mut text = String::new();
    let mut rest = debug;
    while let Some(start) = rest.find('[') {
        let list = rest[start + 1..].find(']').map(|end| (start, start + 1 + end));
        let bytes = list.and_then(|(start, end)| {
            rest[start + 1..end].split(", ").map(|number| number.parse::<u8>().ok()).collect::<Option<Vec<u8>>>()
        });
        let Some((bytes, (_, end))) = bytes.zip(list) else {
            text.push_str(&rest[..=start]);
            rest = &rest[start + 1..];
            continue;
        };
        text.push_str(&rest[..start]);
        text.push_str(&String::from_utf8_lossy(&bytes).escape_debug().to_string());
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
    text
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 260;
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &text[..end])
}

/// What goes into the hash: everything, but of views and of shared ages only what others act on. What passes all the time
/// goes in as it is; the rest as its `Debug` form, which takes longer than the step.
trait Hashed: fmt::Debug {
    fn hash_into(&self, hasher: &mut DefaultHasher);
}

impl Hashed for Input {
    fn hash_into(&self, hasher: &mut DefaultHasher) {
        mem::discriminant(self).hash(hasher);
        match self {
            Input::Reply { link, tag, value } => (link, tag, value).hash(hasher),
            Input::PubSub { link, payload } => (link, payload).hash(hasher),
            Input::PeerHealth { peer, health, .. } => (peer, health).hash(hasher),
            Input::PeerReply { peer, tag, value } => (peer, tag, value).hash(hasher),
            input => format!("{input:?}").hash(hasher),
        }
    }
}

impl Hashed for Output {
    fn hash_into(&self, hasher: &mut DefaultHasher) {
        mem::discriminant(self).hash(hasher);
        match self {
            Output::Send { link, tag, command } => (link, tag, command).hash(hasher),
            Output::SendPeer { peer, tag, command } => (peer, tag, command).hash(hasher),
            Output::WakeAt(at) => at.hash(hasher),
            Output::Publish(view) => {
                let counts = (view.replicas.len(), view.sentinels.len());
                (&view.current_host, &view.instance.flags, view.failover_state, counts).hash(hasher);
                (view.config_epoch, view.leader_epoch).hash(hasher);
            }
            output => format!("{output:?}").hash(hasher),
        }
    }
}

impl Hashed for PeerInput {
    fn hash_into(&self, hasher: &mut DefaultHasher) {
        mem::discriminant(self).hash(hasher);
        match self {
            PeerInput::Reply { link, tag, value } => (link, tag, value).hash(hasher),
            PeerInput::Send { master, tag, command } => (master, tag, command).hash(hasher),
            input => format!("{input:?}").hash(hasher),
        }
    }
}

impl Hashed for PeerOutput {
    fn hash_into(&self, hasher: &mut DefaultHasher) {
        mem::discriminant(self).hash(hasher);
        match self {
            PeerOutput::Send { link, tag, command } => (link, tag, command).hash(hasher),
            PeerOutput::Health { master, health, .. } => (master, health).hash(hasher),
            PeerOutput::Reply { master, tag, value } => (master, tag, value).hash(hasher),
            PeerOutput::WakeAt(at) => at.hash(hasher),
            output => format!("{output:?}").hash(hasher),
        }
    }
}
