//! What is known of a command, and how a request finds its own: unknown names and wrong arities are refused here,
//! before anything else is judged.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::catalogue::TABLE;
use super::long::LongReply;
use super::read::Snapshots;
use super::session::Session;
use super::write::Errand;
use crate::resp::reply::Value;

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// Nobody: it only has subcommands.
    Container,
    /// The connection itself.
    Local(fn(&mut Session, &[Bytes]) -> Value),
    /// The newest snapshots.
    Read(fn(&mut Snapshots, &[Bytes]) -> Value),
    /// The newest snapshots, with one element for each master.
    List(fn(&mut Snapshots, &[Bytes]) -> LongReply),
    /// A monitor or the supervisor, or nobody if the request is refused beforehand.
    Ask(fn(&mut Snapshots, &[Bytes]) -> Errand),
}

/// One command or subcommand.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Lower-case; `container|word` for a subcommand.
    pub(crate) name: &'static str,
    /// The container, for a subcommand.
    pub(crate) container: Option<&'static str>,
    /// The last word of the name.
    pub(crate) word: &'static str,
    /// Number of words, those of the name included; negative: at least so many.
    pub(crate) arity: i64,
    /// As in COMMAND INFO.
    pub(crate) flags: &'static [&'static str],
    /// ACL categories, without `@`.
    pub(crate) categories: &'static [&'static str],
    /// As in COMMAND INFO.
    pub(crate) tips: &'static [&'static str],
    /// For COMMAND DOCS.
    pub(crate) summary: &'static str,
    /// Version of Redis that had it first.
    pub(crate) since: &'static str,
    /// Who answers.
    pub(crate) route: Route,
}

impl Entry {
    /// Whether it is allowed before authentication.
    pub(crate) fn is_for_strangers(&self) -> bool {
        self.flags.contains(&"no_auth")
    }

    /// Whether COMMAND tells of it. QUIT is accepted, as older Sentinels did, and not listed, as 7.0 has none.
    pub(crate) fn is_listed(&self) -> bool {
        self.name != "quit"
    }

    /// Whether so many words are right.
    pub(crate) fn takes(&self, words: usize) -> bool {
        let words = words as i64;
        if self.arity < 0 { words >= -self.arity } else { words == self.arity }
    }
}

/// A command that was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Its entry.
    pub(crate) entry: &'static Entry,
    /// Its place in the catalogue.
    pub(crate) place: u16,
}

/// What the file made of command names (`rename-command`): lower-case name to the new one, `None` for no command.
pub type Renames = BTreeMap<String, Option<String>>;

/// The command that the words name, whatever their number.
pub(crate) fn lookup(words: &[Bytes], renames: &Renames) -> Option<Found> {
    let found = resolve(words, renames)?;
    match words.get(1) {
        Some(word) if has_subcommands(found.entry) => subcommand(found.entry, word),
        _ => Some(found),
    }
}

/// Finds the command that the words name, and checks their number. The error is the reply.
pub(crate) fn find(words: &[Bytes], renames: &Renames) -> Result<Found, Value> {
    let found = look_up(words, renames)?;
    if found.entry.takes(words.len()) { Ok(found) } else { Err(wrong_arity(found.entry)) }
}

/// The same, whatever the number of words.
pub(crate) fn look_up(words: &[Bytes], renames: &Renames) -> Result<Found, Value> {
    let found = resolve(words, renames).ok_or_else(|| unknown_command(words))?;
    match (found.entry.route, words.get(1)) {
        (_, Some(word)) if has_subcommands(found.entry) => {
            subcommand(found.entry, word).ok_or_else(|| unknown_subcommand(found.entry, word))
        }
        (Route::Container, _) => Err(wrong_arity(found.entry)),
        _ => Ok(found),
    }
}

fn resolve(words: &[Bytes], renames: &Renames) -> Option<Found> {
    let name = words.first()?;
    let goes_by = |entry: &Entry| match renames.get(entry.word) {
        Some(other) => other.as_deref().is_some_and(|other| name.eq_ignore_ascii_case(other.as_bytes())),
        None => name.eq_ignore_ascii_case(entry.word.as_bytes()),
    };
    position(|entry| entry.container.is_none() && goes_by(entry))
}

fn subcommand(container: &Entry, word: &[u8]) -> Option<Found> {
    position(|entry| word.eq_ignore_ascii_case(entry.word.as_bytes()) && entry.container == Some(container.name))
}

/// The entry of a full name such as `client|id`, in any case.
pub(crate) fn by_full_name(name: &[u8]) -> Option<&'static Entry> {
    position(|entry| name.eq_ignore_ascii_case(entry.name.as_bytes())).map(|found| found.entry)
}

/// The full name at a place, for CLIENT LIST.
pub(crate) fn name_at(place: u16) -> &'static str {
    TABLE.get(usize::from(place)).map_or("NULL", |entry| entry.name)
}

/// The subcommands of a container, in table order.
pub(crate) fn subcommands(container: &'static Entry) -> impl Iterator<Item = &'static Entry> {
    TABLE.iter().filter(move |entry| entry.container == Some(container.name))
}

fn position(is_it: impl Fn(&Entry) -> bool) -> Option<Found> {
    let place = TABLE.iter().position(is_it)?;
    Some(Found { entry: &TABLE[place], place: place as u16 })
}

fn has_subcommands(entry: &Entry) -> bool {
    matches!(entry.name, "sentinel" | "client" | "command" | "acl")
}

fn wrong_arity(entry: &Entry) -> Value {
    Value::error(format!("ERR wrong number of arguments for '{}' command", entry.name))
}

/// Stock shows 128 bytes of the name, and arguments until their list holds 128.
fn unknown_command(words: &[Bytes]) -> Value {
    let mut shown = Vec::new();
    for word in &words[1..] {
        if shown.len() >= 128 {
            break;
        }
        let room = 128 - shown.len();
        shown.push(b'\'');
        shown.extend_from_slice(printed(word, room));
        shown.extend_from_slice(b"' ");
    }
    let name = printed(&words[0], 128);
    Value::echo_error(&[b"ERR unknown command '", name, b"', with args beginning with: ", &shown])
}

fn unknown_subcommand(container: &Entry, word: &[u8]) -> Value {
    let container = container.name.to_ascii_uppercase();
    let word = printed(word, 128);
    Value::echo_error(&[b"ERR unknown subcommand '", word, b"'. Try ", container.as_bytes(), b" HELP."])
}

/// What stock prints of a word: it ends at a NUL byte.
pub(crate) fn printed(word: &[u8], room: usize) -> &[u8] {
    let end = memchr::memchr(0, word).unwrap_or(word.len());
    &word[..end.min(room)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::reply::Protocol;

    fn outcome(words: &[&[u8]]) -> Result<&'static str, String> {
        let words: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
        find(&words, &Renames::new())
            .map(|found| found.entry.name)
            .map_err(|reply| String::from_utf8_lossy(&reply.to_bytes(Protocol::Resp2)).into_owned())
    }

    fn refusal(words: &[&[u8]]) -> String {
        outcome(words).expect_err("it was found")
    }

    /// commands.md 1 to 6, 15
    #[test]
    fn names_an_unknown_command_as_stock_does() {
        assert_eq!(refusal(&[b"GET", b"a"]), "-ERR unknown command 'GET', with args beginning with: 'a' \r\n");
        assert_eq!(refusal(&[b"get"]), "-ERR unknown command 'get', with args beginning with: \r\n");
        assert_eq!(refusal(&[b""]), "-ERR unknown command '', with args beginning with: \r\n");
        let long = [b'x'; 200];
        let cut = "x".repeat(128);
        assert_eq!(refusal(&[&long]), format!("-ERR unknown command '{cut}', with args beginning with: \r\n"));
        assert_eq!(
            refusal(&[b"get", &long, b"next"]),
            format!("-ERR unknown command 'get', with args beginning with: '{cut}' \r\n")
        );
        assert_eq!(refusal(&[b"a\r\nb", b"c\nd"]), "-ERR unknown command 'a  b', with args beginning with: 'c d' \r\n");
        assert_eq!(refusal(&[b"%s%n"]), "-ERR unknown command '%s%n', with args beginning with: \r\n");
    }

    /// commands.md 7 to 12
    #[test]
    fn names_what_is_wrong_with_a_subcommand() {
        assert_eq!(refusal(&[b"SENTINEL"]), "-ERR wrong number of arguments for 'sentinel' command\r\n");
        let unknown = "-ERR unknown subcommand 'foo'. Try SENTINEL HELP.\r\n";
        assert_eq!(refusal(&[b"SENTINEL", b"foo"]), unknown);
        assert_eq!(refusal(&[b"SENTINEL", b"foo", b"bar"]), unknown);
        let cut = "x".repeat(128);
        assert_eq!(
            refusal(&[b"sentinel", &[b'x'; 200]]),
            format!("-ERR unknown subcommand '{cut}'. Try SENTINEL HELP.\r\n")
        );
        assert_eq!(refusal(&[b"client", b"foo"]), "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n");
        assert_eq!(refusal(&[b"COMMAND", b"FOO"]), "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.\r\n");
        assert_eq!(
            refusal(&[b"sentinel", b"masters", b"x"]),
            "-ERR wrong number of arguments for 'sentinel|masters' command\r\n"
        );
    }

    /// commands.md 13, 14
    #[test]
    fn finds_commands_in_any_case_and_no_others() {
        assert_eq!(outcome(&[b"sEnTiNeL", b"mYiD"]), Ok("sentinel|myid"));
        assert_eq!(outcome(&[b"COMMAND"]), Ok("command"));
        assert_eq!(outcome(&[b"command", b"COUNT"]), Ok("command|count"));
        for absent in ["CONFIG", "MONITOR", "MULTI", "SELECT", "PUBSUB", "SSUBSCRIBE", "REPLICAOF", "CLUSTER", "EVAL"] {
            assert!(refusal(&[absent.as_bytes()]).starts_with("-ERR unknown command"), "{absent}");
        }
    }

    /// config.md 68
    #[test]
    fn renamed_commands_go_by_their_new_names_only() {
        let renames = Renames::from([("ping".to_owned(), Some("Alive".to_owned())), ("shutdown".to_owned(), None)]);
        let finds =
            |word: &'static [u8]| find(&[Bytes::from_static(word)], &renames).map(|found| found.entry.name).ok();
        assert_eq!(finds(b"ALIVE"), Some("ping"));
        assert_eq!(finds(b"ping"), None);
        assert_eq!(finds(b"shutdown"), None);
        assert_eq!(finds(b"role"), Some("role"));
    }

    #[test]
    fn no_name_appears_twice() {
        let mut names: Vec<_> = TABLE.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
