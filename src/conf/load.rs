//! Text to settings: what stock does between reading its arguments and printing its banner (config.md 2).
//!
//! Called once at start by the daemon, and at each restart of a simulated node. Changes nothing outside: paths are
//! resolved against `dir`, which becomes the current directory only when the daemon makes it so.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::daemon::{CommandRename, DaemonSettings, as_path};
use super::error::{ConfError, Fatal, strerror};
use super::files::Files;
use super::image::ConfImage;
use super::lexer;
use super::plain::{self, Value};
use super::sentinel_line::{self, MasterLine, SentinelLine};
use super::slot::Slot;
use super::table;
use super::user::{UserLines, UserSource};
use crate::acl::{PubsubDefault, commands};
use crate::sentinel::NodeSettings;
use crate::sentinel::addr::Addr;
use crate::sentinel::id::{Epoch, MasterName, RunId, Secret};
use crate::sentinel::monitor::record::{IdentityRecord, MasterRecord, MasterSpec};

/// Where the configuration comes from. Later sources win.
#[derive(Clone, Debug)]
pub struct SourceSet {
    /// Text of the main file.
    pub main: Vec<u8>,
    /// Text from standard input, if it was asked for.
    pub stdin: Option<Vec<u8>>,
    /// Text made of the command line.
    pub options: Vec<u8>,
    /// Current directory, absolute.
    pub cwd: PathBuf,
}

/// A loaded configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the core looks at.
    pub node: NodeSettings,
    /// Whether the id was in the file. If not it was drawn just now, and has to be saved before it is used.
    pub myid: IdOrigin,
    /// At least every config epoch in the file.
    pub current_epoch: Epoch,
    /// What the daemon needs besides.
    pub daemon: DaemonSettings,
    /// In the order of the file.
    pub masters: Vec<MasterRecord>,
    /// Who may connect.
    pub users: UserSource,
    /// What the next save starts from.
    pub image: ConfImage,
    /// Lines for the log, level warning: what the file says and does not get.
    pub warnings: Vec<String>,
}

/// Where this Sentinel's id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdOrigin {
    /// `sentinel myid`
    File,
    /// New.
    Fresh,
}

/// An include chain longer than this is a file that includes itself.
const MAX_INCLUDE_DEPTH: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Main,
    Added,
    Include,
}

#[derive(Clone, Debug)]
struct Line {
    number: usize,
    text: Vec<u8>,
}

impl Line {
    fn fatal(&self, message: impl Into<String>) -> ConfError {
        ConfError::Fatal(Fatal { line: Some((self.number, self.text.clone())), message: message.into() })
    }
}

struct Queued {
    line: Line,
    words: Vec<Vec<u8>>,
    origin: Origin,
}

/// Loads a configuration. `fresh_id` becomes this Sentinel's id if the file has none.
pub fn load(sources: &SourceSet, fresh_id: RunId, files: &dyn Files) -> Result<Loaded, ConfError> {
    let mut loader = Loader::new(sources, files);
    loader.read_sources(sources)?;
    loader.finish_plain()?;
    let mut state = SentinelState::new(NodeSettings { port: loader.port, ..NodeSettings::new(fresh_id) });
    state.node.requirepass.clone_from(&loader.requirepass);
    state.node.bind_source_addr = loader.bind_source_addr;
    state.run(loader.queue.drain(..).collect(), &loader.daemon.dir, files)?;
    Ok(loader.into_loaded(sources, state))
}

/// Reads plain directives and queues the `sentinel` lines.
struct Loader<'a> {
    files: &'a dyn Files,
    daemon: DaemonSettings,
    port: u16,
    requirepass: Option<Secret>,
    bind_source_addr: Option<IpAddr>,
    users: UserLines,
    /// Lines of plain directives for the image; not those of included files, which keep them.
    plain: Vec<(Slot, Option<Vec<u8>>)>,
    queue: Vec<Queued>,
}

impl<'a> Loader<'a> {
    fn new(sources: &SourceSet, files: &'a dyn Files) -> Loader<'a> {
        Loader {
            files,
            daemon: DaemonSettings::new(&sources.cwd),
            port: 26379,
            requirepass: None,
            bind_source_addr: None,
            users: UserLines::default(),
            plain: Vec::new(),
            queue: Vec::new(),
        }
    }

    /// Line numbers run through all sources, as if they were one text with an empty line before the options.
    fn read_sources(&mut self, sources: &SourceSet) -> Result<(), ConfError> {
        let main = sources.main.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&sources.main);
        let mut number = self.read_text(main, 1, Origin::Main, 0)?;
        if let Some(stdin) = &sources.stdin {
            // What follows the last line feed is no line of its own when there is more to come.
            number -= usize::from(main.is_empty() || main.ends_with(b"\n"));
            number = self.read_text(stdin, number, Origin::Added, 0)?;
        }
        self.read_text(&sources.options, number, Origin::Added, 0).map(drop)
    }

    /// Reads a text whose first line has this number; returns the number after its last line.
    fn read_text(&mut self, text: &[u8], first: usize, origin: Origin, depth: usize) -> Result<usize, ConfError> {
        let mut number = first;
        for text in text.split(|byte| *byte == b'\n') {
            let line = Line { number, text: lexer::trim(text).to_vec() };
            if !line.text.is_empty() && line.text[0] != b'#' {
                self.read_line(line, origin, depth)?;
            }
            number += 1;
        }
        Ok(number)
    }

    fn read_line(&mut self, line: Line, origin: Origin, depth: usize) -> Result<(), ConfError> {
        if line.text.contains(&0) {
            return Err(line.fatal("NUL byte in configuration line"));
        }
        let tokens = lexer::split(&line.text).map_err(|error| line.fatal(error.to_string()))?;
        let Some((name, values)) = tokens.split_first() else { return Ok(()) };
        let name = name.to_ascii_lowercase();
        if let Some((name, kind)) = table::find(&name) {
            let value = plain::parse(name, kind, values).map_err(|message| line.fatal(message))?;
            return self.apply_plain(name, &value, values, &line, origin);
        }
        match (name.as_slice(), values) {
            (b"sentinel", words @ [_, ..]) => {
                self.queue.push(Queued { line, words: words.to_vec(), origin });
                Ok(())
            }
            (b"include", [path]) => self.include(path, &line, depth),
            (b"rename-command", [from, to]) => self.rename(from, to, &line),
            (b"user", [name, words @ ..]) => self.users.read(name, words).map_err(|message| line.fatal(message)),
            (name, []) if name.contains(&b'.') => Err(line.fatal("Module config specified without value")),
            (name, values) if is_without_effect(name, values) => Ok(()),
            _ => Err(line.fatal("Bad directive or wrong number of arguments")),
        }
    }

    fn apply_plain(
        &mut self,
        name: &'static str,
        value: &Value,
        values: &[Vec<u8>],
        line: &Line,
        origin: Origin,
    ) -> Result<(), ConfError> {
        match (name, value) {
            ("dir", Value::Text(dir)) => {
                let entered = if dir.is_empty() {
                    Err(nix::errno::Errno::ENOENT.into())
                } else {
                    self.files.enter(&self.daemon.dir.join(as_path(dir)))
                };
                self.daemon.dir = entered.map_err(|error| line.fatal(strerror(&error)))?;
                return Ok(());
            }
            ("port", Value::Int(port)) => self.port = *port as u16,
            ("requirepass", Value::Text(password)) => self.requirepass = Some(Secret::from(password.as_slice())),
            ("requirepass", _) => self.requirepass = None,
            ("bind-source-addr", Value::Text(host)) => {
                let ip = std::str::from_utf8(host).ok().and_then(|host| host.parse().ok());
                self.bind_source_addr = Some(ip.ok_or_else(|| line.fatal("bind-source-addr needs an IP address"))?);
            }
            ("bind-source-addr", _) => self.bind_source_addr = None,
            ("acl-pubsub-default", Value::Word(word)) => {
                let all = *word == "allchannels";
                self.users.pubsub = if all { PubsubDefault::AllChannels } else { PubsubDefault::ResetChannels };
            }
            ("aclfile", Value::Text(path)) => self.users.file = (!path.is_empty()).then(|| as_path(path)),
            (name, value) => self.daemon.apply(name, value),
        }
        if origin != Origin::Include {
            self.plain.push((Slot::of_plain(name, values), value.print(name)));
        }
        Ok(())
    }

    fn include(&mut self, path: &[u8], line: &Line, depth: usize) -> Result<(), ConfError> {
        if depth == MAX_INCLUDE_DEPTH {
            return Err(line.fatal("Too many levels of include"));
        }
        let written = as_path(path);
        if path.is_empty() {
            return Err(ConfError::Unreadable { path: written, cause: nix::errno::Errno::ENOENT.into() });
        }
        let full = self.daemon.dir.join(&written);
        let has_wildcard = path.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        let found = if has_wildcard { self.files.expand(&full) } else { vec![full] };
        let mut text = Vec::new();
        for path in &found {
            let shown = if has_wildcard { path } else { &written };
            let unreadable = |cause| ConfError::Unreadable { path: shown.clone(), cause };
            text.extend(self.files.read(path).map_err(unreadable)?);
        }
        self.read_text(&text, 1, Origin::Include, depth + 1).map(drop)
    }

    /// A command can be renamed again, under the name that it has by then.
    fn rename(&mut self, from: &[u8], to: &[u8], line: &Line) -> Result<(), ConfError> {
        let lower = |word: &[u8]| String::from_utf8_lossy(word).to_ascii_lowercase();
        let renames = &mut self.daemon.command_renames;
        let named = |renames: &[CommandRename], name: &str| {
            renames.iter().position(|rename| rename.to.as_deref().is_some_and(|to| to.eq_ignore_ascii_case(name)))
        };
        let original = |renames: &[CommandRename], name: &str| {
            let is_command = commands::all().any(|id| id.parent().is_none() && id.name() == name);
            is_command && renames.iter().all(|rename| rename.from != name)
        };
        let (from, to_name) = (lower(from), lower(to));
        let known = named(renames, &from);
        if known.is_none() && !original(renames, &from) {
            return Err(line.fatal("No such command in rename-command"));
        }
        // The old name is free by then: a command may be given its own name.
        let same = from == to_name;
        if !to.is_empty() && !same && (named(renames, &to_name).is_some() || original(renames, &to_name)) {
            return Err(line.fatal("Target command name already exists"));
        }
        let to = (!to.is_empty()).then(|| String::from_utf8_lossy(to).into_owned());
        match known {
            Some(at) => renames[at].to = to,
            None => renames.push(CommandRename { from, to }),
        }
        Ok(())
    }

    /// What can be said only when every plain directive is known.
    fn finish_plain(&mut self) -> Result<(), ConfError> {
        self.daemon.make_absolute();
        if let Some(logfile) = &self.daemon.logfile {
            self.files.try_append(logfile).map_err(|error| {
                let message = format!("Can't open the log file: {}", strerror(&error));
                ConfError::Fatal(Fatal { line: None, message })
            })?;
        }
        Ok(())
    }

    fn warnings(&self, users: &UserSource) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(password) = &self.requirepass
            && users.overrides(&password.0)
        {
            warnings.push(
                "WARNING: requirepass is not the password of this Sentinel, because a 'user default' line or the ACL \
                 file says otherwise. Remove that line to use requirepass."
                    .to_owned(),
            );
        }
        warnings
    }

    fn into_loaded(mut self, sources: &SourceSet, mut state: SentinelState) -> Loaded {
        if self.daemon.tls.replication {
            state.node.tls_port = self.daemon.tls.port;
        }
        let users = self.users.source(self.requirepass.as_ref());
        let mut image = ConfImage::new(&sources.main, state.node.clone());
        if let UserSource::Conf(users) = &users {
            image.set_users(users);
        }
        for (slot, line) in self.plain.drain(..) {
            image.set_plain(slot, line);
        }
        let dir = Value::Text(self.daemon.dir.as_os_str().as_encoded_bytes().to_vec()).print("dir");
        image.set_plain(Slot::Plain("dir"), dir);
        // Stock compares with the defaults of a data server, so these two are written although nobody set them.
        if !image.has_plain("protected-mode") && !self.daemon.protected_mode {
            image.set_plain(Slot::Plain("protected-mode"), Some(b"protected-mode no".to_vec()));
        }
        if !image.has_plain("port") && self.port != 6379 {
            image.set_plain(Slot::Plain("port"), Some(format!("port {}", self.port).into_bytes()));
        }
        for master in &state.masters {
            image.set_master(master.clone());
        }
        Loaded {
            warnings: self.warnings(&users),
            users,
            node: state.node,
            myid: state.myid,
            current_epoch: state.current_epoch,
            daemon: self.daemon,
            masters: state.masters,
            image,
        }
    }
}

/// What the `sentinel` lines add up to.
struct SentinelState {
    node: NodeSettings,
    myid: IdOrigin,
    current_epoch: Epoch,
    masters: Vec<MasterRecord>,
}

impl SentinelState {
    fn new(node: NodeSettings) -> SentinelState {
        SentinelState { node, myid: IdOrigin::Fresh, current_epoch: Epoch(0), masters: Vec::new() }
    }

    /// Reads the queued lines in stock's order: settings of the process, masters, everything else.
    fn run(&mut self, mut queue: Vec<Queued>, dir: &Path, files: &dyn Files) -> Result<(), ConfError> {
        drop_included_repetitions(&mut queue);
        queue.sort_by_key(|queued| sentinel_line::stage(&queued.words));
        for queued in &queue {
            let is_known = |name: &str| self.masters.iter().any(|master| master.spec.name.as_str() == name);
            let line = SentinelLine::parse(&queued.words, &is_known).map_err(|message| queued.line.fatal(message))?;
            match line {
                SentinelLine::Master(name, line) => self.apply_master(name, line, &queued.line, dir, files)?,
                line => self.apply_node(line),
            }
        }
        let myid = &self.node.myid;
        for master in &mut self.masters {
            // Our own id is no peer, whoever wrote it there (failover.md I13).
            master.sentinels.retain(|(id, _)| id != myid);
        }
        Ok(())
    }

    fn apply_node(&mut self, line: SentinelLine) {
        match line {
            SentinelLine::MyId(id) => {
                self.node.myid = id;
                self.myid = IdOrigin::File;
            }
            SentinelLine::CurrentEpoch(epoch) => self.current_epoch = self.current_epoch.max(epoch),
            SentinelLine::AnnounceIp(Some(host)) => self.node.announce_ip = Some(host),
            SentinelLine::AnnouncePort(port) => self.node.announce_port = port,
            SentinelLine::DenyScriptsReconfig(yes) => self.node.deny_scripts_reconfig = yes,
            SentinelLine::ResolveHostnames(yes) => self.node.resolve_hostnames = yes,
            SentinelLine::AnnounceHostnames(yes) => self.node.announce_hostnames = yes,
            SentinelLine::SentinelUser(Some(user)) => self.node.sentinel_user = Some(user),
            SentinelLine::SentinelPass(Some(password)) => self.node.sentinel_pass = Some(password),
            // An empty value changes nothing, in stock too.
            SentinelLine::AnnounceIp(None)
            | SentinelLine::SentinelUser(None)
            | SentinelLine::SentinelPass(None)
            | SentinelLine::Master(..)
            | SentinelLine::Ignored => {}
        }
    }

    fn apply_master(
        &mut self,
        name: MasterName,
        setting: MasterLine,
        line: &Line,
        dir: &Path,
        files: &dyn Files,
    ) -> Result<(), ConfError> {
        if let MasterLine::Monitor { host, port, quorum } = setting {
            let addr = self.addr(&host, port, line)?;
            if self.masters.iter().any(|master| master.spec.name == name) {
                return Err(line.fatal("Duplicate master name."));
            }
            let spec = MasterSpec::new(name, quorum, &self.node.periods);
            self.masters.push(MasterRecord {
                spec,
                addr,
                config_epoch: Epoch(0),
                leader_epoch: Epoch(0),
                replicas: Vec::new(),
                sentinels: Vec::new(),
                identity: IdentityRecord::default(),
            });
            return Ok(());
        }
        let addr = match &setting {
            MasterLine::KnownReplica { host, port } | MasterLine::KnownSentinel { host, port, .. } => {
                Some(self.addr(host, *port, line)?)
            }
            _ => None,
        };
        let master = self.masters.iter_mut().find(|master| master.spec.name == name).expect("parsing checked the name");
        let is_executable = |path: &str| files.is_executable(&dir.join(path));
        match setting {
            MasterLine::Monitor { .. } => {}
            MasterLine::DownAfter(ms) => master.spec.down_after = ms,
            MasterLine::FailoverTimeout(ms) => master.spec.failover_timeout = ms,
            MasterLine::ParallelSyncs(n) => master.spec.parallel_syncs = n,
            MasterLine::NotificationScript(path) if !is_executable(&path) => {
                return Err(line.fatal("Notification script seems non existing or non executable."));
            }
            MasterLine::NotificationScript(path) => master.spec.notification_script = Some(path),
            MasterLine::ClientReconfigScript(path) if !is_executable(&path) => {
                return Err(line.fatal("Client reconfiguration script seems non existing or non executable."));
            }
            MasterLine::ClientReconfigScript(path) => master.spec.client_reconfig_script = Some(path),
            MasterLine::AuthPass(password) => master.spec.auth_pass = Some(password),
            MasterLine::AuthUser(user) => master.spec.auth_user = Some(user),
            MasterLine::RebootDownAfter(ms) => master.spec.reboot_down_after = ms,
            MasterLine::RenameCommand { from, to } => {
                if master.spec.renames.insert(from, to).is_some() {
                    return Err(line.fatal("Same command renamed multiple times with rename-command."));
                }
            }
            MasterLine::ConfigEpoch(epoch) => {
                master.config_epoch = epoch;
                self.current_epoch = self.current_epoch.max(epoch);
            }
            MasterLine::LeaderEpoch(epoch) => master.leader_epoch = epoch,
            MasterLine::KnownReplica { .. } => {
                let addr = addr.expect("made above");
                if master.replicas.iter().any(|known| known.same_as(&addr)) {
                    return Err(line.fatal("Duplicate hostname and port for replica."));
                }
                master.replicas.push(addr);
            }
            MasterLine::KnownSentinel { id, .. } => {
                if master.sentinels.iter().any(|(known, _)| *known == id) {
                    return Err(line.fatal("Duplicate runid for sentinel."));
                }
                master.sentinels.push((id, addr.expect("made above")));
            }
        }
        Ok(())
    }

    fn addr(&self, host: &str, port: i32, line: &Line) -> Result<Addr, ConfError> {
        let port = u16::try_from(port).map_err(|_| line.fatal("Invalid port number."))?;
        let addr = Addr::new(host, port);
        if addr.is_named() && !self.node.resolve_hostnames {
            let message = "Can't resolve instance hostname.".to_owned();
            let fatal = Fatal { line: Some((line.number, line.text.clone())), message };
            return Err(ConfError::UnresolvedHost { host: host.to_owned(), fatal });
        }
        Ok(addr)
    }
}

/// Lines that are accepted and mean nothing to a Sentinel: it loads no modules, their settings have a dot in their
/// names, and some old directives are history.
fn is_without_effect(name: &[u8], values: &[Vec<u8>]) -> bool {
    match (name, values) {
        (b"sentinel", []) | (b"loadmodule", [_, ..]) => true,
        (name, [_]) if table::DROPPED.iter().any(|dropped| dropped.as_bytes() == name) => true,
        (name, _) => name.contains(&b'.'),
    }
}

/// A save writes the whole state into the main file, so what an included file says about a master's existence, its
/// replicas, peers and renamed commands is there twice afterwards. Deviates: stock does not start again then.
fn drop_included_repetitions(queue: &mut Vec<Queued>) {
    let repeatable = |queued: &Queued| match Slot::of_sentinel(&queued.words) {
        Some(slot @ Slot::Master { what: "monitor" | "known-replica" | "known-sentinel" | "rename-command", .. }) => {
            Some(slot)
        }
        _ => None,
    };
    let own: HashSet<Slot> =
        queue.iter().filter(|queued| queued.origin != Origin::Include).filter_map(repeatable).collect();
    queue.retain(|queued| {
        queued.origin != Origin::Include || !repeatable(queued).is_some_and(|slot| own.contains(&slot))
    });
}

#[cfg(test)]
mod tests;
