//! The lines that a save produces, before it is known where they go (config.md 5.2).

use std::collections::BTreeSet;
use std::ops::Range;

use super::sentinel_line::{MasterLine, SentinelLine, print_words};
use super::slot::Slot;
use crate::sentinel::NodeSettings;
use crate::sentinel::addr::Addr;
use crate::sentinel::monitor::record::MasterRecord;
use crate::sentinel::time::Periods;

/// When a produced line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Always.
    Always,
    /// Only where the file has such a line already: it says what holds without it.
    IfPresent,
}

/// One produced line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced {
    /// What it is about.
    pub slot: Slot,
    /// The line, without line feed.
    pub text: Vec<u8>,
    /// Whether it is written at all.
    pub wanted: Wanted,
}

impl Produced {
    /// A line that is always written.
    pub fn always(text: Vec<u8>) -> Produced {
        Produced { slot: Slot::of_printed(&text), text, wanted: Wanted::Always }
    }
}

/// The lines of one owner, in the order in which new ones are appended. Made when the owner changes, not at each save, and
/// in one piece, since a save passes through all of them.
#[derive(Clone, Debug, Default)]
pub struct Fragment {
    lines: Vec<Line>,
    /// Each line with its line feed.
    text: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Line {
    slot: Slot,
    wanted: Wanted,
    /// Behind its line feed.
    end: usize,
}

impl Fragment {
    /// From lines in their order.
    pub fn new(produced: Vec<Produced>) -> Fragment {
        let mut text = Vec::with_capacity(produced.iter().map(|line| line.text.len() + 1).sum());
        let mut lines = Vec::with_capacity(produced.len());
        for Produced { slot, text: line, wanted } in produced {
            text.extend_from_slice(&line);
            text.push(b'\n');
            lines.push(Line { slot, wanted, end: text.len() });
        }
        Fragment { lines, text }
    }

    /// What its lines are about.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = &Slot> {
        self.lines.iter().map(|line| &line.slot)
    }

    /// When a line is written.
    pub fn wanted(&self, line: usize) -> Wanted {
        self.lines[line].wanted
    }

    /// A line, without line feed.
    pub fn line(&self, line: usize) -> &[u8] {
        self.block(line..line + 1).strip_suffix(b"\n").expect("every line has one")
    }

    /// Lines that follow each other, with their line feeds.
    pub fn block(&self, lines: Range<usize>) -> &[u8] {
        let ends_before = |line: usize| line.checked_sub(1).map_or(0, |before| self.lines[before].end);
        &self.text[ends_before(lines.start)..ends_before(lines.end)]
    }

    /// Bytes of all lines.
    pub fn size(&self) -> usize {
        self.text.len()
    }
}

/// Sub-names that stand before the masters; the other settings of the process come after them.
pub const HEAD: &[&str] = &["myid", "deny-scripts-reconfig", "resolve-hostnames", "announce-hostnames"];

/// Settings of the process that stand before the masters.
pub fn head(node: &NodeSettings) -> Fragment {
    let lines = [
        (SentinelLine::MyId(node.myid.clone()), Wanted::Always),
        (SentinelLine::DenyScriptsReconfig(node.deny_scripts_reconfig), unless(node.deny_scripts_reconfig)),
        (SentinelLine::ResolveHostnames(node.resolve_hostnames), unless(!node.resolve_hostnames)),
        (SentinelLine::AnnounceHostnames(node.announce_hostnames), unless(!node.announce_hostnames)),
    ];
    Fragment::new(collect(lines))
}

/// Settings of the process that stand after the masters, but for the current epoch.
pub fn tail(node: &NodeSettings) -> Vec<Produced> {
    let lines = [
        SentinelLine::AnnounceIp(node.announce_ip.clone()),
        SentinelLine::AnnouncePort(node.announce_port),
        SentinelLine::SentinelUser(node.sentinel_user.clone()),
        SentinelLine::SentinelPass(node.sentinel_pass.clone()),
    ];
    collect(lines.map(|line| (line, Wanted::Always)))
}

/// Everything about one master.
pub fn master(record: &MasterRecord, node: &NodeSettings) -> Fragment {
    let defaults = Periods::default();
    let MasterRecord { spec, addr, config_epoch, leader_epoch, replicas, sentinels, .. } = record;
    let host = |addr: &Addr| addr.shown_host(node).to_string();
    let mut lines = vec![MasterLine::Monitor { host: host(addr), port: addr.port.into(), quorum: spec.quorum }];
    let mut set = |differs: bool, line: MasterLine| lines.extend(differs.then_some(line));
    set(spec.down_after != defaults.default_down_after, MasterLine::DownAfter(spec.down_after));
    set(spec.failover_timeout != defaults.default_failover_timeout, MasterLine::FailoverTimeout(spec.failover_timeout));
    set(spec.parallel_syncs != 1, MasterLine::ParallelSyncs(spec.parallel_syncs));
    lines.extend(spec.notification_script.clone().map(MasterLine::NotificationScript));
    lines.extend(spec.client_reconfig_script.clone().map(MasterLine::ClientReconfigScript));
    lines.extend(spec.auth_pass.clone().map(MasterLine::AuthPass));
    lines.extend(spec.auth_user.clone().map(MasterLine::AuthUser));
    if spec.reboot_down_after != 0 {
        lines.push(MasterLine::RebootDownAfter(spec.reboot_down_after));
    }
    lines.push(MasterLine::ConfigEpoch(*config_epoch));
    lines.push(MasterLine::LeaderEpoch(*leader_epoch));
    // A replica whose name could not be looked up may be here twice. Nobody loads a file with two lines for one address.
    let mut written = BTreeSet::new();
    let replicas = replicas.iter().filter(|addr| written.insert((host(addr), addr.port)));
    lines.extend(replicas.map(|addr| MasterLine::KnownReplica { host: host(addr), port: addr.port.into() }));
    lines.extend(sentinels.iter().map(|(id, addr)| MasterLine::KnownSentinel {
        host: host(addr),
        port: addr.port.into(),
        id: id.clone(),
    }));
    lines
        .extend(spec.renames.iter().map(|(from, to)| MasterLine::RenameCommand { from: from.clone(), to: to.clone() }));
    let produced = lines.iter().map(|line| {
        let words = line.words(&spec.name);
        // What a line is about is told by its words as well as by its text, which would have to be read for it.
        let slot = Slot::of_sentinel(&words).unwrap_or(Slot::Dead);
        Produced { slot, text: print_words(&words), wanted: Wanted::Always }
    });
    Fragment::new(produced.collect())
}

fn unless(is_default: bool) -> Wanted {
    if is_default { Wanted::IfPresent } else { Wanted::Always }
}

fn collect(lines: impl IntoIterator<Item = (SentinelLine, Wanted)>) -> Vec<Produced> {
    let produced = lines.into_iter().filter_map(|(line, wanted)| {
        let text = line.print()?;
        Some(Produced { wanted, ..Produced::always(text) })
    });
    produced.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::id::{Epoch, MasterName, RunId};
    use crate::sentinel::monitor::record::{IdentityRecord, MasterSpec};

    /// A name that was looked up late is the address that is known already.
    #[test]
    fn an_address_has_one_line() {
        let mut node = NodeSettings::new(RunId::from("me"));
        let named = Addr::new("replica.example", 6379).meaning("10.0.0.2".parse().ok());
        let record = MasterRecord {
            spec: MasterSpec::new(MasterName::from("m"), 2, &Periods::default()),
            addr: Addr::new("10.0.0.1", 6379),
            config_epoch: Epoch(0),
            leader_epoch: Epoch(0),
            replicas: vec![named, Addr::new("10.0.0.2", 6379), Addr::new("10.0.0.2", 6380)],
            sentinels: Vec::new(),
            identity: IdentityRecord::default(),
        };
        let replicas = |node: &NodeSettings| -> Vec<String> {
            let lines = master(&record, node);
            let texts = (0..lines.slots().len()).map(|at| String::from_utf8_lossy(lines.line(at)).into_owned());
            texts.filter_map(|text| text.strip_prefix("sentinel known-replica m ").map(str::to_owned)).collect()
        };
        assert_eq!(replicas(&node), ["10.0.0.2 6379", "10.0.0.2 6380"]);
        node.announce_hostnames = true;
        assert_eq!(replicas(&node), ["replica.example 6379", "10.0.0.2 6379", "10.0.0.2 6380"]);
    }
}
