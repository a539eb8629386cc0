//! One set of permissions: commands, keys, channels. A user has one of its own and may have more, of which any that
//! permits the whole request will do.

use std::collections::BTreeMap;

use super::commands::{self, Category, CommandId, CommandSet};
use super::describe::describe;
use super::error::RuleError;
use crate::pattern::{Case, matches};

/// Which commands are permitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Permits {
    /// Bit for bit what was said last about each.
    pub(super) commands: CommandSet,
    /// Set by `+@all`, until `-@all`: the printed form starts from everything.
    pub(super) later_commands: bool,
    /// `+ping|word`: a command that is not permitted is so with one of these as its first argument.
    pub(super) first_words: BTreeMap<CommandId, Vec<Vec<u8>>>,
}

/// `%R~`, `%W~` or `~` and what follows. Kept for the file: no command of a Sentinel has keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    read: bool,
    write: bool,
    pattern: Vec<u8>,
}

/// Patterns of a kind, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Patterns<T> {
    All,
    Only(Vec<T>),
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Patterns::Only(Vec::new())
    }
}

/// One set of permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    permits: Permits,
    keys: Patterns<KeyPattern>,
    channels: Patterns<Vec<u8>>,
}

/// Who wrote a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An operator, just now: what cannot be meant is an error.
    Operator,
    /// A file, which servers may read as well: commands that only they have are passed over. Deviates: stock does not
    /// start then.
    File,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a, T> {
    /// The command; `None` for one that everybody may use, such as AUTH.
    pub command: Option<CommandId>,
    /// Its words after the command's own.
    pub arguments: &'a [T],
    /// How many of them, from the first, are channels.
    pub channels: Channels,
}

/// Channels among the arguments of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// None.
    None,
    /// The first is one.
    First,
    /// All are.
    Names,
    /// All are patterns of channels.
    Patterns,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// The command is not permitted.
    Command,
    /// It is, and this argument is a channel that is not.
    Channel(usize),
}

impl Selector {
    /// Nothing is permitted, but perhaps channels.
    pub(super) fn with_all_channels(all: bool) -> Selector {
        let channels = if all { Patterns::All } else { Patterns::default() };
        Selector { channels, ..Selector::default() }
    }

    /// Applies one rule about commands, keys or channels.
    pub(super) fn apply(&mut self, rule: &[u8], origin: Origin) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.keys = Patterns::All,
            b"resetkeys" => self.keys = Patterns::default(),
            b"allchannels" | b"&*" => self.channels = Patterns::All,
            b"resetchannels" => self.channels = Patterns::default(),
            b"allcommands" | b"+@all" => {
                self.permits =
                    Permits { commands: CommandSet::ALL, later_commands: true, first_words: BTreeMap::new() };
            }
            b"nocommands" | b"-@all" => self.permits = Permits::default(),
            _ => {
                match rule {
                    [b'~', pattern @ ..] => return self.add_key(true, true, pattern),
                    [b'%', rest @ ..] => return self.add_key_rule(rest),
                    [b'&', pattern @ ..] => return self.add_channel(pattern),
                    [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                        let category = Category::find(before_nul(category)).ok_or(RuleError::Unknown)?;
                        self.permits.change(category.reach(), *sign == b'+');
                    }
                    [sign @ (b'+' | b'-'), command @ ..] => {
                        let changed = self.change_command(*sign == b'+', before_nul(command));
                        let foreign = || origin == Origin::File && is_of_servers(before_nul(command));
                        return changed.or_else(|error| {
                            if error == RuleError::Unknown && foreign() { Ok(()) } else { Err(error) }
                        });
                    }
                    _ => return Err(RuleError::Syntax),
                }
            }
        }
        Ok(())
    }

    fn change_command(&mut self, permitted: bool, name: &[u8]) -> Result<(), RuleError> {
        let bar = name.iter().rposition(|byte| *byte == b'|');
        let (Some(bar), true) = (bar, permitted) else {
            let command = commands::find(name).ok_or(RuleError::Unknown)?;
            self.permits.change(command.family(), permitted);
            return Ok(());
        };
        let (container, word) = (commands::find(&name[..bar]).ok_or(RuleError::Unknown)?, &name[bar + 1..]);
        if container.parent().is_some() {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if word.is_empty() {
            return Err(RuleError::Syntax);
        }
        if container.children().next().is_some() {
            let command = commands::find(name).ok_or(RuleError::Unknown)?;
            self.permits.change(command.family(), true);
            return Ok(());
        }
        // Deviates: stock takes one with blanks, and cannot read the file that it writes then.
        if has_blank(word) {
            return Err(RuleError::Syntax);
        }
        if self.permits.commands.has(container) {
            return Ok(());
        }
        let words = self.permits.first_words.entry(container).or_default();
        if !words.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            words.push(word.to_vec());
        }
        Ok(())
    }

    /// `R~pattern`, `W~pattern`, `RW~pattern`. As in stock, the pattern may be missing with its tilde.
    fn add_key_rule(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.keys == Patterns::All {
            return Err(RuleError::AllKeys);
        }
        let (mut read, mut write, mut rest) = (false, false, rule);
        loop {
            rest = match rest {
                [b'r' | b'R', rest @ ..] if !read => {
                    read = true;
                    rest
                }
                [b'w' | b'W', rest @ ..] if !write => {
                    write = true;
                    rest
                }
                [] | [b'~', ..] if read || write => break,
                _ => return Err(RuleError::Syntax),
            };
        }
        self.add_key(read, write, rest.strip_prefix(b"~").unwrap_or(rest))
    }

    fn add_key(&mut self, read: bool, write: bool, pattern: &[u8]) -> Result<(), RuleError> {
        let Patterns::Only(keys) = &mut self.keys else { return Err(RuleError::AllKeys) };
        if has_blank(pattern) {
            return Err(RuleError::Syntax);
        }
        match keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => (known.read, known.write) = (known.read | read, known.write | write),
            None => keys.push(KeyPattern { read, write, pattern: pattern.to_vec() }),
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        let Patterns::Only(channels) = &mut self.channels else { return Err(RuleError::AllChannels) };
        if has_blank(pattern) {
            return Err(RuleError::Syntax);
        }
        if !channels.iter().any(|known| known == pattern) {
            channels.push(pattern.to_vec());
        }
        Ok(())
    }

    /// Whether the request is permitted, and what is wrong with it otherwise.
    pub(super) fn check<T: AsRef<[u8]>>(&self, access: &Access<'_, T>) -> Result<(), Denial> {
        if let Some(command) = access.command
            && !self.permits.commands.has(command)
        {
            let words = self.permits.first_words.get(&command).map_or(&[][..], Vec::as_slice);
            let first = access.arguments.first();
            if !first.is_some_and(|first| words.iter().any(|word| word.eq_ignore_ascii_case(first.as_ref()))) {
                return Err(Denial::Command);
            }
        }
        let (count, are_patterns) = match access.channels {
            Channels::None => return Ok(()),
            Channels::First => (1, false),
            Channels::Names => (access.arguments.len(), false),
            Channels::Patterns => (access.arguments.len(), true),
        };
        match access.arguments.iter().take(count).position(|name| !self.permits_channel(name.as_ref(), are_patterns)) {
            Some(at) => Err(Denial::Channel(at)),
            None => Ok(()),
        }
    }

    /// A channel has to match a pattern; a pattern of channels has to be one of them, letter by letter.
    pub(super) fn permits_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        match &self.channels {
            Patterns::All => true,
            Patterns::Only(channels) if is_pattern => channels.iter().any(|known| known == name),
            Patterns::Only(channels) => channels.iter().any(|known| matches(known, name, Case::Sensitive)),
        }
    }

    /// The patterns of channels that are permitted; `None` is all.
    pub(super) fn channel_patterns(&self) -> Option<&[Vec<u8>]> {
        match &self.channels {
            Patterns::All => None,
            Patterns::Only(channels) => Some(channels),
        }
    }

    /// The rules about commands, beginning with `+@all` or `-@all`.
    pub fn command_rules(&self) -> Vec<Vec<u8>> {
        describe(&self.permits)
    }

    /// The rules about keys. Deviates where all keys are a pattern beside others: stock prints it as `~*` and cannot
    /// read it back.
    pub fn key_rules(&self) -> Vec<Vec<u8>> {
        let Patterns::Only(keys) = &self.keys else { return vec![b"~*".to_vec()] };
        let sign = |key: &KeyPattern| match (key.read, key.write) {
            (true, true) if key.pattern == b"*" => b"%RW~".as_slice(),
            (true, true) => b"~",
            (true, false) => b"%R~",
            (false, _) => b"%W~",
        };
        keys.iter().map(|key| [sign(key), &key.pattern].concat()).collect()
    }

    /// The rules about channels, without `resetchannels` before them.
    pub fn channel_rules(&self) -> Vec<Vec<u8>> {
        let Patterns::Only(channels) = &self.channels else { return vec![b"&*".to_vec()] };
        channels.iter().map(|pattern| [b"&", pattern.as_slice()].concat()).collect()
    }

    /// All rules, as they stand in a file.
    pub(super) fn rules(&self) -> Vec<Vec<u8>> {
        let mut rules = self.key_rules();
        if self.channels != Patterns::All {
            rules.push(b"resetchannels".to_vec());
        }
        rules.extend(self.channel_rules());
        rules.extend(self.command_rules());
        rules
    }
}

impl Permits {
    fn change(&mut self, commands: CommandSet, permitted: bool) {
        self.commands = self.commands.set(commands, permitted);
        self.first_words.retain(|command, _| !commands.has(*command));
    }
}

/// Stock's rules are C strings where they are names.
pub(super) fn before_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// What C's `isspace` takes for one, and NUL.
pub fn has_blank(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0))
}

/// What the log is to say about a rule that was applied: a line for each first argument, in stock's words, and for each
/// command that only servers have.
pub fn remarks(rule: &[u8]) -> Vec<String> {
    let words = rule.split(|byte| matches!(byte, b' ' | b'(' | b')')).map(before_nul);
    words.filter_map(remark).collect()
}

fn remark(word: &[u8]) -> Option<String> {
    let [sign @ (b'+' | b'-'), name @ ..] = word else { return None };
    let shown = String::from_utf8_lossy(word);
    if is_of_servers(name) {
        return Some(format!("ACL rule '{shown}' is about a command that no Sentinel has, and changes nothing."));
    }
    let bar = name.iter().position(|byte| *byte == b'|').filter(|_| *sign == b'+')?;
    let has_children = commands::find(&name[..bar])?.children().next().is_some();
    (!has_children).then(|| {
        format!(
            "Deprecation warning: Allowing a first arg of an otherwise blocked command is a misuse of ACL and may get \
             disabled in the future (offender: {shown})"
        )
    })
}

/// Whether it names a command that servers have and Sentinels have not, in any form that a rule can have.
fn is_of_servers(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let word = name.split(|byte| *byte == b'|').next().unwrap_or_default();
    commands::OF_SERVERS.iter().any(|known| [word, &name].contains(&known.as_bytes()))
}
