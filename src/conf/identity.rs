//! Who the servers of each master are, as comments of the state file (beyond.md B2): stock can start on the file, and
//! `sentinel.conf` has none of it.
//!
//! ```text
//! # Identities: 3 lines with digest <SHA-256 of the lines below, each with its line end>
//! # replid "mymaster" <replication id>
//! # member "mymaster" "10.0.0.2 6379" <run id> master|slave|demoted
//! # adopted "mymaster" "10.0.0.3 6379" <run id>
//! ```
//!
//! A `demoted` member is a replica that was master once. An address that was adopted before anybody was there has no run
//! id.

use std::collections::BTreeMap;

use super::lexer;
use crate::acl::digest::Digest;
use crate::sentinel::id::MasterName;
use crate::sentinel::monitor::instance::Role;
use crate::sentinel::monitor::record::{IdentityRecord, MemberRecord};

const HEAD: &str = "# Identities: ";

/// Why the lines cannot be used: they are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// The lines, nothing if there is nothing to tell.
pub fn print<'a>(masters: impl Iterator<Item = (&'a MasterName, &'a IdentityRecord)>) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for (name, identity) in masters {
        let mut line = |what: &str, words: &[&[u8]]| {
            let name = lexer::quoted(name.as_str().as_bytes());
            let words: Vec<&[u8]> = [&[b"#", what.as_bytes(), &name], words].concat();
            lines.push([&words.join(&b' '), b"\n".as_slice()].concat());
        };
        for replid in &identity.replids {
            line("replid", &[replid.as_bytes()]);
        }
        for (at, MemberRecord { run_id, role, was_master }) in &identity.members {
            let role = match (role, was_master) {
                (Role::Master, _) => "master",
                (Role::Replica, false) => "slave",
                (Role::Replica, true) => "demoted",
            };
            line("member", &[&lexer::quoted(at.as_bytes()), run_id.as_bytes(), role.as_bytes()]);
        }
        for (at, run_id) in &identity.adopted {
            let at = lexer::quoted(at.as_bytes());
            match run_id {
                Some(run_id) => line("adopted", &[&at, run_id.as_bytes()]),
                None => line("adopted", &[&at]),
            }
        }
    }
    if lines.is_empty() {
        return Vec::new();
    }
    let body = lines.concat();
    [format!("{HEAD}{} lines with digest {}\n", lines.len(), Digest::of(&body)).as_bytes(), &body].concat()
}

/// What a state file says, by master.
pub fn parse(text: &[u8]) -> Result<BTreeMap<MasterName, IdentityRecord>, Damaged> {
    let mut masters = BTreeMap::new();
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let Some(head) = lines.find(|line| line.starts_with(HEAD.as_bytes())) else { return Ok(masters) };
    let head = std::str::from_utf8(head).map_err(|_| Damaged)?;
    let (count, digest) = head[HEAD.len()..].trim_end().split_once(" lines with digest ").ok_or(Damaged)?;
    let count: usize = count.parse().map_err(|_| Damaged)?;
    let lines: Vec<&[u8]> = lines.take(count).collect();
    if lines.len() != count || Digest::of(&lines.concat()).to_string() != digest {
        return Err(Damaged);
    }
    for line in lines {
        let words = lexer::split(line).map_err(|_| Damaged)?;
        let words: Option<Vec<&str>> = words.iter().map(|word| std::str::from_utf8(word).ok()).collect();
        take(&words.ok_or(Damaged)?, &mut masters).ok_or(Damaged)?;
    }
    Ok(masters)
}

fn take(words: &[&str], masters: &mut BTreeMap<MasterName, IdentityRecord>) -> Option<()> {
    let ["#", what, name, words @ ..] = words else { return None };
    let identity = masters.entry(MasterName::from(*name)).or_default();
    match (*what, words) {
        ("replid", [replid]) => identity.replids.push((*replid).to_owned()),
        ("member", [at, run_id, role]) => {
            let (role, was_master) = match *role {
                "master" => (Role::Master, true),
                "slave" => (Role::Replica, false),
                "demoted" => (Role::Replica, true),
                _ => return None,
            };
            let member = MemberRecord { run_id: (*run_id).to_owned(), role, was_master };
            identity.members.push(((*at).to_owned(), member));
        }
        ("adopted", [at]) => identity.adopted.push(((*at).to_owned(), None)),
        ("adopted", [at, run_id]) => identity.adopted.push(((*at).to_owned(), Some((*run_id).to_owned()))),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> BTreeMap<MasterName, IdentityRecord> {
        let member = |role, was_master| MemberRecord { run_id: "a".repeat(40), role, was_master };
        let identity = IdentityRecord {
            replids: vec!["0".repeat(40), "1".repeat(40)],
            members: vec![
                ("10.0.0.1 6379".to_owned(), member(Role::Master, true)),
                ("10.0.0.2 6379".to_owned(), member(Role::Replica, true)),
                ("host:1".to_owned(), member(Role::Replica, false)),
            ],
            adopted: vec![("10.0.0.3 1".to_owned(), None), ("10.0.0.4 1".to_owned(), Some("b".repeat(40)))],
        };
        BTreeMap::from([
            (MasterName::from("odd \"name\"\n"), identity),
            (MasterName::from("b"), IdentityRecord::default()),
        ])
    }

    #[test]
    fn parsing_undoes_printing() {
        let text = [b"# something\n".to_vec(), print(example().iter()), b"port 5\n".to_vec()].concat();
        let mut wanted = example();
        wanted.retain(|_, identity| *identity != IdentityRecord::default());
        assert_eq!(parse(&text), Ok(wanted));
        assert_eq!(parse(b"port 5\n"), Ok(BTreeMap::new()), "a file from before");
        assert_eq!(print(std::iter::empty()), b"");
    }

    /// Nothing is believed of a file in which anything is wrong.
    #[test]
    fn damage_is_noticed() {
        let text = print(example().iter());
        let head = text.iter().position(|byte| *byte == b'\n').expect("a first line");
        for at in head + 1..text.len() {
            let mut damaged = text.clone();
            damaged[at] ^= 1;
            assert_eq!(parse(&damaged), Err(Damaged), "byte {at}");
        }
        for end in head + 1..text.len() {
            assert_eq!(parse(&text[..end]), Err(Damaged), "cut at {end}");
        }
    }
}
