//! Slots: what a line of the file is about, whatever it says. A save puts the new line of a slot where the old one was.

use super::lexer;
use super::plain;
use super::table;

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// A plain directive, by its current name.
    Plain(&'static str),
    /// `client-output-buffer-limit` of one class.
    BufferLimit(&'static str),
    /// `user`, by name.
    User(Vec<u8>),
    /// `sentinel` with a setting of the process, by lower-case sub-name.
    Node(&'static str),
    /// `sentinel` with something about a master.
    Master {
        /// The master's name.
        master: Vec<u8>,
        /// Current sub-name.
        what: &'static str,
        /// Which one, where a master has several: host and port, run id, upper-case command.
        which: Vec<u8>,
    },
    /// Never written: `loadmodule`, `save`, `sentinel` lines that say nothing.
    Dead,
}

/// What stands on a line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Blank,
    /// Something that every save keeps as it is: a comment, `include`, `rename-command`, a `sentinel` line with an
    /// unknown sub-name.
    Kept(Vec<u8>),
    /// Something that a save may replace.
    Slot(Slot, Vec<u8>),
}

const NODE: &[&str] = &[
    "myid",
    "deny-scripts-reconfig",
    "resolve-hostnames",
    "announce-hostnames",
    "current-epoch",
    "announce-ip",
    "announce-port",
    "sentinel-user",
    "sentinel-pass",
];

/// Sub-names about masters, and under which name they are saved.
const MASTER: &[(&str, &str)] = &[
    ("monitor", "monitor"),
    ("down-after-milliseconds", "down-after-milliseconds"),
    ("failover-timeout", "failover-timeout"),
    ("parallel-syncs", "parallel-syncs"),
    ("notification-script", "notification-script"),
    ("client-reconfig-script", "client-reconfig-script"),
    ("auth-pass", "auth-pass"),
    ("auth-user", "auth-user"),
    ("master-reboot-down-after-period", "master-reboot-down-after-period"),
    (VALKEY_REBOOT, "master-reboot-down-after-period"),
    ("config-epoch", "config-epoch"),
    ("leader-epoch", "leader-epoch"),
    ("known-replica", "known-replica"),
    ("known-slave", "known-replica"),
    ("known-sentinel", "known-sentinel"),
    ("rename-command", "rename-command"),
];

/// How Valkey spells `master-reboot-down-after-period`; a file that does so keeps it.
pub const VALKEY_REBOOT: &str = "primary-reboot-down-after-period";

impl Content {
    /// Reads a line. A line that means nothing to a Sentinel becomes a comment that says so, as in stock.
    pub fn of(line: &[u8]) -> Content {
        let line = lexer::trim(line);
        if line.is_empty() {
            return Content::Blank;
        }
        if line[0] == b'#' {
            return Content::Kept(line.to_vec());
        }
        let unknown = || Content::Kept([b"# ??? ".as_slice(), line].concat());
        let Ok(tokens) = lexer::split(line) else { return unknown() };
        let Some((name, values)) = tokens.split_first() else { return Content::Blank };
        let name = name.to_ascii_lowercase();
        match name.as_slice() {
            b"include" | b"rename-command" => Content::Kept(line.to_vec()),
            b"loadmodule" => Content::Slot(Slot::Dead, line.to_vec()),
            b"user" => match values {
                [name, ..] => Content::Slot(Slot::User(name.clone()), line.to_vec()),
                [] => unknown(),
            },
            b"sentinel" => match Slot::of_sentinel(values) {
                Some(slot) => Content::Slot(slot, line.to_vec()),
                None => Content::Kept(line.to_vec()),
            },
            name => match table::find(name) {
                Some((name, kind)) => {
                    let slot = Slot::of_plain(name, values);
                    let printed = plain::parse(name, kind, values).map(|value| value.print(name));
                    // What is wrong stays wrong, for whoever typed it to find.
                    let text = printed.unwrap_or_else(|_| Some(line.to_vec()));
                    text.map_or(Content::Slot(Slot::Dead, Vec::new()), |text| Content::Slot(slot, text))
                }
                None => unknown(),
            },
        }
    }
}

impl Slot {
    /// The slot of a plain directive.
    pub fn of_plain(name: &'static str, values: &[Vec<u8>]) -> Slot {
        match (name, values) {
            ("client-output-buffer-limit", [class, _, _, _]) => {
                plain::buffer_class(class).map_or(Slot::Plain(name), Slot::BufferLimit)
            }
            _ => Slot::Plain(name),
        }
    }

    /// The slot of a `sentinel` line, given the words after `sentinel`. `None` for an unknown sub-name and for none.
    pub fn of_sentinel(words: &[Vec<u8>]) -> Option<Slot> {
        let (sub_name, values) = words.split_first()?;
        let matches = |name: &str| sub_name.eq_ignore_ascii_case(name.as_bytes());
        if let Some(name) = NODE.iter().find(|name| matches(name)) {
            return Some(Slot::Node(name));
        }
        let (_, what) = MASTER.iter().find(|(name, _)| matches(name))?;
        let Some((master, values)) = values.split_first() else { return Some(Slot::Dead) };
        let which = match (*what, values) {
            ("known-replica", [host, port]) => [host.to_ascii_lowercase().as_slice(), b" ", port].concat(),
            ("known-sentinel", [_, _, id]) => id.clone(),
            ("known-sentinel", _) => return Some(Slot::Dead),
            ("rename-command", [command, _]) => command.to_ascii_uppercase(),
            _ => Vec::new(),
        };
        Some(Slot::Master { master: master.clone(), what, which })
    }

    /// Whether a line of the one may stand where one of the other stood: two of the same kind, if their owner is the same.
    pub fn is_kin(&self, other: &Slot) -> bool {
        match (self, other) {
            (Slot::Master { what, .. }, Slot::Master { what: other, .. }) => what == other,
            (Slot::User(_), Slot::User(_)) => true,
            _ => false,
        }
    }

    /// The slot of a line that we printed.
    pub fn of_printed(line: &[u8]) -> Slot {
        match Content::of(line) {
            Content::Slot(slot, _) => slot,
            Content::Blank | Content::Kept(_) => Slot::Dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// config.md 44, 5.1: what the rewrite knows, and what it marks.
    #[test]
    fn lines_are_sorted_into_kept_and_replaceable() {
        let kept = |text: &str| Content::Kept(text.as_bytes().to_vec());
        assert_eq!(Content::of(b"  # note \r"), kept("# note"));
        assert_eq!(Content::of(b"foo.bar baz"), kept("# ??? foo.bar baz"));
        assert_eq!(Content::of(b"lua-replicate-commands yes"), kept("# ??? lua-replicate-commands yes"));
        assert_eq!(Content::of(b"syslog-ident \"a"), kept("# ??? syslog-ident \"a"));
        assert_eq!(Content::of(b"INCLUDE /x"), kept("INCLUDE /x"));
        assert_eq!(Content::of(b"sentinel brand-new x"), kept("sentinel brand-new x"));
        assert_eq!(Content::of(b"PORT 05"), Content::Slot(Slot::Plain("port"), b"PORT 05".to_vec()));
        assert_eq!(
            Content::of(b"slave-priority 5"),
            Content::Slot(Slot::Plain("replica-priority"), b"replica-priority 5".to_vec())
        );
        assert_eq!(
            Slot::of_printed(b"SENTINEL Known-Slave m H 1"),
            Slot::Master { master: b"m".to_vec(), what: "known-replica", which: b"h 1".to_vec() }
        );
    }
}
