//! Settings of the process around the core: listeners, log, files, who may connect.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::number;
use super::plain::{self, Value};
use super::tls::TlsSettings;
use crate::sentinel::event::Level;

/// `loglevel`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// All but debug lines.
    Verbose,
    /// The default.
    Notice,
    /// Important lines only.
    Warning,
    /// No line at all (since 7.2).
    Nothing,
}

impl LogLevel {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Verbose => "verbose",
            LogLevel::Notice => "notice",
            LogLevel::Warning => "warning",
            LogLevel::Nothing => "nothing",
        }
    }

    /// The lowest level of the lines that are written; `None` writes none.
    pub fn threshold(self) -> Option<Level> {
        match self {
            LogLevel::Debug => Some(Level::Debug),
            LogLevel::Verbose => Some(Level::Verbose),
            LogLevel::Notice => Some(Level::Notice),
            LogLevel::Warning => Some(Level::Warning),
            LogLevel::Nothing => None,
        }
    }

    /// From its name in any case.
    pub fn parse(name: &str) -> Option<LogLevel> {
        let levels = [LogLevel::Debug, LogLevel::Verbose, LogLevel::Notice, LogLevel::Warning, LogLevel::Nothing];
        levels.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }
}

/// `supervised`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervised {
    /// By nobody.
    No,
    /// By upstart.
    Upstart,
    /// By systemd.
    Systemd,
    /// By whichever the environment names.
    Auto,
}

/// One address of `bind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAddr {
    /// `*` is every IPv4 address, `::*` every IPv6 address; otherwise an address or a host name.
    pub host: String,
    /// Written with a leading `-`: an address that this machine does not have is skipped.
    pub optional: bool,
}

impl BindAddr {
    /// As in the file.
    pub fn as_written(&self) -> String {
        format!("{}{}", if self.optional { "-" } else { "" }, self.host)
    }
}

/// A command that clients have to call something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRename {
    /// Lower-case, a command of [`crate::acl::commands`].
    pub from: String,
    /// As given; `None` takes the command away.
    pub to: Option<String>,
}

/// `client-output-buffer-limit` of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimit {
    /// Bytes; a client that has to be sent more is closed. 0 is no limit.
    pub hard: u64,
    /// Bytes; a client that has to be sent more for `soft_seconds` is closed. 0 is no limit.
    pub soft: u64,
    /// Seconds.
    pub soft_seconds: u64,
}

/// Everything that the daemon has to know besides [`crate::sentinel::NodeSettings`], which has `port`, `requirepass`
/// and `bind-source-addr`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes/no directive")]
pub struct DaemonSettings {
    /// `bind`; empty is no TCP listener.
    pub bind: Vec<BindAddr>,
    /// `dir`, absolute and without links. The daemon makes it its current directory: scripts with relative paths are
    /// found from there.
    pub dir: PathBuf,
    /// `logfile`, absolute; `None` is stdout.
    pub logfile: Option<PathBuf>,
    /// `loglevel`
    pub log_level: LogLevel,
    /// `log-format`
    pub log_format: &'static str,
    /// `log-timestamp-format`
    pub log_timestamp_format: &'static str,
    /// `syslog-enabled`
    pub syslog_enabled: bool,
    /// `syslog-ident`
    pub syslog_ident: String,
    /// `syslog-facility`
    pub syslog_facility: &'static str,
    /// `always-show-logo`
    pub always_show_logo: bool,
    /// `set-proc-title`
    pub set_proc_title: bool,
    /// `proc-title-template`
    pub title_template: String,
    /// `protected-mode`
    pub protected_mode: bool,
    /// `daemonize`; does not count when supervised.
    pub daemonize: bool,
    /// `supervised`
    pub supervised: Supervised,
    /// `pidfile`, absolute. Stock takes `/var/run/redis.pid` when it daemonizes without one.
    pub pidfile: Option<PathBuf>,
    /// `maxclients`
    pub max_clients: u32,
    /// `timeout`, seconds until an idle client is closed; 0 is never.
    pub timeout: u32,
    /// `tcp-backlog`
    pub tcp_backlog: u32,
    /// `tcp-keepalive`, seconds; 0 is off.
    pub tcp_keepalive: u32,
    /// `client-query-buffer-limit`, bytes.
    pub query_buffer: u64,
    /// `proto-max-bulk-len`, bytes.
    pub max_bulk: u64,
    /// `client-output-buffer-limit normal`
    pub normal_output: BufferLimit,
    /// `client-output-buffer-limit pubsub`
    pub pubsub_output: BufferLimit,
    /// `unixsocket`, from `dir`, as written: CLIENT LIST shows it so.
    pub unix_socket: Option<PathBuf>,
    /// `unixsocketperm`; 0 leaves what the umask makes of it.
    pub unix_socket_perm: u32,
    /// `tls-*`
    pub tls: TlsSettings,
    /// `acllog-max-len`
    pub acl_log_len: usize,
    /// `rename-command`, in the order of the file. Whoever serves clients has to honour every one.
    pub command_renames: Vec<CommandRename>,
}

impl DaemonSettings {
    /// Stock's defaults, in this directory.
    pub fn new(dir: &Path) -> DaemonSettings {
        let bind = |host: &str, optional| BindAddr { host: host.to_owned(), optional };
        DaemonSettings {
            bind: vec![bind("*", false), bind("::*", true)],
            dir: dir.to_owned(),
            logfile: None,
            log_level: LogLevel::Notice,
            log_format: "legacy",
            log_timestamp_format: "legacy",
            syslog_enabled: false,
            syslog_ident: "redis".to_owned(),
            syslog_facility: "local0",
            always_show_logo: false,
            set_proc_title: true,
            title_template: "{title} {listen-addr} {server-mode}".to_owned(),
            protected_mode: false,
            daemonize: false,
            supervised: Supervised::No,
            pidfile: None,
            max_clients: 10_000,
            timeout: 0,
            tcp_backlog: 511,
            tcp_keepalive: 300,
            query_buffer: 1 << 30,
            max_bulk: 512 << 20,
            normal_output: BufferLimit { hard: 0, soft: 0, soft_seconds: 0 },
            pubsub_output: BufferLimit { hard: 32 << 20, soft: 8 << 20, soft_seconds: 60 },
            unix_socket: None,
            unix_socket_perm: 0,
            tls: TlsSettings::default(),
            acl_log_len: 128,
            command_renames: Vec::new(),
        }
    }

    /// Applies a checked plain directive. Those that are none of the daemon's business change nothing.
    ///
    /// Paths are kept as given until [`DaemonSettings::make_absolute`].
    pub(super) fn apply(&mut self, name: &str, value: &Value) {
        match (name, value) {
            ("bind", Value::Words(hosts)) => self.bind = hosts.iter().map(|host| bind_addr(host)).collect(),
            ("bind", Value::Unset) => self.bind = DaemonSettings::new(&self.dir).bind,
            ("logfile", Value::Text(path)) => self.logfile = (!path.is_empty()).then(|| as_path(path)),
            ("loglevel", Value::Word(name)) => self.log_level = LogLevel::parse(name).unwrap_or(LogLevel::Notice),
            ("log-format", Value::Word(format)) => self.log_format = format,
            ("log-timestamp-format", Value::Word(format)) => self.log_timestamp_format = format,
            ("syslog-enabled", Value::Bool(yes)) => self.syslog_enabled = *yes,
            ("syslog-ident", Value::Text(ident)) => self.syslog_ident = String::from_utf8_lossy(ident).into_owned(),
            ("syslog-facility", Value::Word(facility)) => self.syslog_facility = facility,
            ("always-show-logo", Value::Bool(yes)) => self.always_show_logo = *yes,
            ("set-proc-title", Value::Bool(yes)) => self.set_proc_title = *yes,
            ("proc-title-template", Value::Text(text)) => {
                self.title_template = String::from_utf8_lossy(text).into_owned();
            }
            ("protected-mode", Value::Bool(yes)) => self.protected_mode = *yes,
            ("daemonize", Value::Bool(yes)) => self.daemonize = *yes,
            ("supervised", Value::Word(by)) => {
                self.supervised = match *by {
                    "upstart" => Supervised::Upstart,
                    "systemd" => Supervised::Systemd,
                    "auto" => Supervised::Auto,
                    _ => Supervised::No,
                }
            }
            ("pidfile", value) => self.pidfile = path_of(value),
            ("unixsocket", value) => self.unix_socket = path_of(value),
            ("unixsocketperm", Value::Octal(mode)) => self.unix_socket_perm = *mode,
            ("client-query-buffer-limit", Value::Memory(bytes)) => self.query_buffer = *bytes,
            ("proto-max-bulk-len", Value::Memory(bytes)) => self.max_bulk = *bytes,
            ("client-output-buffer-limit", Value::Words(words)) => self.limit_output(words),
            ("maxclients", Value::Int(n)) => self.max_clients = *n as u32,
            ("timeout", Value::Int(seconds)) => self.timeout = *seconds as u32,
            ("tcp-backlog", Value::Int(n)) => self.tcp_backlog = *n as u32,
            ("acllog-max-len", Value::Int(entries)) => self.acl_log_len = *entries as usize,
            ("tcp-keepalive", Value::Int(seconds)) => self.tcp_keepalive = *seconds as u32,
            (name, value) => self.tls.apply(name, value),
        }
    }

    /// Takes checked groups of class, hard limit, soft limit, seconds. Replicas are no clients of a Sentinel.
    fn limit_output(&mut self, words: &[Vec<u8>]) {
        for group in words.chunks_exact(4) {
            let bytes = |at: usize| number::memory(&group[at]).unwrap_or(0);
            let seconds = number::strict(&group[3]).and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
            let limit = BufferLimit { hard: bytes(1), soft: bytes(2), soft_seconds: seconds };
            match plain::buffer_class(&group[0]) {
                Some("normal") => self.normal_output = limit,
                Some("pubsub") => self.pubsub_output = limit,
                _ => {}
            }
        }
    }

    /// Resolves relative paths against `dir`, as it is at the end of the file.
    pub(super) fn make_absolute(&mut self) {
        for path in [&mut self.logfile, &mut self.pidfile].into_iter().flatten() {
            *path = self.dir.join(&*path);
        }
    }
}

fn bind_addr(word: &[u8]) -> BindAddr {
    let word = String::from_utf8_lossy(word);
    match word.strip_prefix('-') {
        Some(host) => BindAddr { host: host.to_owned(), optional: true },
        None => BindAddr { host: word.into_owned(), optional: false },
    }
}

fn path_of(value: &Value) -> Option<PathBuf> {
    match value {
        Value::Text(path) => Some(as_path(path)),
        _ => None,
    }
}

/// Bytes of a token as a path.
pub(super) fn as_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
