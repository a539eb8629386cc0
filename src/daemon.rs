//! Builds the process and takes it down again: two runtimes, everything wired, stock's order of lines and files
//! (config.md 1.4, 6.2, 7).
//!
//! `control` is the main thread: monitors, peers, links and the store. `serve` is one thread more: client connections and
//! look-ups. A flood of clients can therefore delay neither a PING nor a vote.

pub mod limits;
pub mod listeners;
pub mod readiness;
pub mod reload;
pub mod signals;
pub mod title;
pub mod unit;

use std::cell::RefCell;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;

use crate::conf::daemon::{BufferLimit, DaemonSettings};
use crate::conf::load::{IdOrigin, Loaded};
use crate::conf::user::UserSource;
use crate::driver::SupervisorHandle;
use crate::driver::clock::Clock;
use crate::driver::post::{self, Postman};
use crate::driver::process::Process;
use crate::driver::resolver::Resolver;
use crate::driver::script_runner::ScriptRunner;
use crate::driver::supervisor::{self, Asker, Identity, Inlets, Supervisor};
use crate::net::listen::Listener;
use crate::net::tls::Tls;
use crate::publish::Publisher;
use crate::sentinel::epoch::EpochRegister;
use crate::sentinel::event::Level;
use crate::sentinel::groups::GroupRegister;
use crate::sentinel::id::RunId;
use crate::sentinel::lateness::LatenessRegister;
use crate::server::Renames;
use crate::server::acl::{self, Acl};
use crate::server::clients::{Clients, OutputLimit};
use crate::server::counters::Counters;
use crate::server::pause::Pause;
use crate::server::pubsub::Feed;
use crate::server::turns::Turns;
use crate::server::{self, Context, Facts, Limits, REDIS_VERSION};
use crate::start::Start;
use crate::store::{self, file::Disk};
use crate::telemetry::line::{Format, Timestamp};
use crate::telemetry::log::{self, Destination, Output, Syslog, log};
use listeners::Doors;
use readiness::Supervision;
use reload::Reloader;
use signals::Signals;
use title::Variables;

/// Threads for client connections. Two wake each other for every few requests: those that come singly from many clients would
/// cost up to a third more, and more than stock's. One answers as many as stock at least (`make bench`); with two an event
/// would be with a thousand subscribers in half the time.
const SERVE_THREADS: usize = 1;
/// How long a second SIGINT can cut the end short. Stock ends at its next tick, up to 100 ms later.
const GRACE: Duration = Duration::from_millis(50);
/// How long connections and look-ups may take to end.
const FAREWELL: Duration = Duration::from_millis(100);
/// Where a daemon's id goes when the file names no place.
const DEFAULT_PIDFILE: &str = "/var/run/redis.pid";

/// Why the process cannot start. Its text is the last line of the log.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{0}")]
    OpenFiles(#[from] limits::TooFew),
    #[error("{0}")]
    Listen(#[from] listeners::ListenError),
    /// The line before says why.
    #[error("Failed to configure TLS. Check logs for more info.")]
    Tls,
    #[error("{0}")]
    Users(String),
    #[error("Can't start: {0}")]
    System(#[from] std::io::Error),
}

/// Runs a loaded configuration until it is told to end. The log must be open and no thread may run yet, since the
/// process may fork.
pub fn run(start: Start) -> ExitCode {
    match Daemon::start(&start.loaded).and_then(|daemon| daemon.run(start)) {
        Ok(End::Requested(_)) => ExitCode::SUCCESS,
        Ok(End::Insisted) => ExitCode::FAILURE,
        Err(error) => {
            log(Level::Warning, &error.to_string());
            log::close();
            ExitCode::FAILURE
        }
    }
}

/// Opens the log as the configuration says.
pub fn open_log(settings: &DaemonSettings) {
    let format = match settings.log_format {
        "logfmt" => Format::Logfmt,
        "json" => Format::Json,
        _ => Format::Stock,
    };
    let timestamp = match settings.log_timestamp_format {
        "iso8601" => Timestamp::Iso8601,
        "milliseconds" => Timestamp::Milliseconds,
        _ => Timestamp::Stock,
    };
    let syslog = settings
        .syslog_enabled
        .then(|| Syslog { ident: settings.syslog_ident.clone(), facility: settings.syslog_facility.to_owned() });
    let destination = settings.logfile.clone().map_or(Destination::Stdout, Destination::File);
    log::open(settings.log_level.threshold(), Output { destination, format, timestamp, syslog });
}

/// Why the process ends.
enum End {
    /// SHUTDOWN, by a client that waits for its connection to be closed, or a signal.
    #[expect(dead_code, reason = "held, not read: dropping it would be an answer")]
    Requested(Option<Asker>),
    /// A second SIGINT: without any cleaning up.
    Insisted,
}

/// The process with its sockets open and nothing running.
struct Daemon {
    supervision: Supervision,
    control: Runtime,
    serve: Runtime,
    listeners: Vec<Listener>,
    max_clients: u64,
    pidfile: Option<PathBuf>,
    tls: Option<Tls>,
    acl: Acl,
}

impl Daemon {
    /// Everything that can fail, in stock's order.
    fn start(loaded: &Loaded) -> Result<Daemon, StartError> {
        let (settings, port) = (&loaded.daemon, loaded.node.port);
        std::env::set_current_dir(&settings.dir)?;
        let mut supervision = Supervision::of(settings.supervised);
        supervision.announce();
        let is_daemon = settings.daemonize && supervision.may_daemonize();
        if is_daemon {
            nix::unistd::daemon(true, false).map_err(std::io::Error::from)?;
        }
        let open_files = limits::raise_open_files(settings.max_clients.into());
        limits::reserve_descriptors();
        log::start_writer();
        banner();
        let open_files = open_files?;
        for (level, line) in &open_files.lines {
            log(*level, line);
        }
        log(Level::Notice, "monotonic clock: POSIX clock_gettime");
        let control = Builder::new_current_thread().enable_all().build()?;
        let serve =
            Builder::new_multi_thread().worker_threads(SERVE_THREADS).thread_name("serve").enable_all().build()?;
        let tls = settings.tls.is_wanted().then(|| Tls::load(&settings.tls)).transpose().map_err(|error| {
            log(Level::Warning, &error.to_string());
            StartError::Tls
        })?;
        let listeners = {
            let _inside = serve.enter();
            let unix = settings.unix_socket.as_deref().map(|path| (path, settings.unix_socket_perm));
            listeners::open(&settings.bind, Doors { port, tls_port: settings.tls.port, unix }, settings.tcp_backlog)?
        };
        let pidfile = settings.pidfile.clone().or_else(|| is_daemon.then(|| PathBuf::from(DEFAULT_PIDFILE)));
        if let Some(pidfile) = &pidfile {
            // Best effort, as in stock: whoever needs the file looks for it.
            let _ = fs::write(pidfile, format!("{}\n", std::process::id()));
        }
        greet(settings, shown_port(loaded));
        warn_of_small_backlog(settings.tcp_backlog);
        let acl = acl_of(&loaded.users, settings.acl_log_len).map_err(StartError::Users)?;
        Ok(Daemon { supervision, control, serve, listeners, max_clients: open_files.maxclients, pidfile, tls, acl })
    }

    /// Serves until told to end, then cleans up.
    fn run(self, start: Start) -> Result<End, StartError> {
        let Start { loaded, conf_file, disk, .. } = start;
        if loaded.daemon.set_proc_title {
            let name = std::env::args().next().unwrap_or_default();
            let variables = Variables { title: &name, conf_file: &conf_file };
            // Where there is no /proc, `ps` shows the arguments.
            let _ = title::show(&title::compose(&loaded, &variables));
        }
        let Daemon { supervision, control, serve, listeners, max_clients, pidfile, tls, acl } = self;
        let unix_socket = loaded.daemon.unix_socket.clone();
        let (closing, closes) = watch::channel(false);
        let clock = Clock::new();
        let facts = Facts {
            run_id: random_id().to_string(),
            executable: std::env::current_exe().map_or_else(|_| String::new(), |path| path.display().to_string()),
            config_file: conf_file.display().to_string(),
            supervised: supervision.name(),
            tcp_port: shown_port(&loaded),
            unix_socket: loaded.daemon.unix_socket.as_ref().map(|path| path.display().to_string().into()),
            started: clock.mono(),
        };
        let limits = limits_of(&loaded.daemon, max_clients);
        let end = control.block_on(LocalSet::new().run_until(async {
            let mut signals = Signals::install()?;
            let (stop, mut stops) = mpsc::channel(1);
            let Wired { mut supervisor, postman, scripts, context, feed } =
                wire(&loaded, clock, disk, serve.handle(), stop, Front { facts, limits, acl, tls: tls.clone() })?;
            let scripts = tokio::task::spawn_local(scripts.run());
            if let Some(tls) = tls {
                tokio::task::spawn_local(Reloader::new(tls)?.run());
            }
            for warning in &loaded.warnings {
                log(Level::Warning, warning);
            }
            let identity = if loaded.myid == IdOrigin::Fresh { Identity::Fresh } else { Identity::Known };
            supervisor.start(identity, loaded.masters).await;
            let serving = serve.spawn(server::serve(listeners, context, feed, closes));
            supervision.notify("STATUS=Ready to accept connections\n");
            supervision.notify("READY=1\n");
            tokio::select! {
                () = supervisor.run() => unreachable!("the supervisor runs for ever"),
                () = postman.run() => unreachable!("the server can post letters while it is served"),
                ended = scripts => panic!("scripts are no longer run: {ended:?}"),
                ended = serving => panic!("client connections are no longer served: {ended:?}"),
                asker = stops.recv() => Ok(End::Requested(asker)),
                end = end_by_signal(&mut signals) => Ok::<End, StartError>(end),
            }
        }))?;
        if matches!(end, End::Requested(_)) {
            log(Level::Warning, "User requested shutdown...");
            supervision.notify("STOPPING=1\n");
            if let Some(pidfile) = &pidfile {
                log(Level::Notice, "Removing the pid file.");
                // It may be gone already, or never have been written.
                let _ = fs::remove_file(pidfile);
            }
            if let Some(path) = &unix_socket {
                log(Level::Notice, "Removing the unix socket file.");
                // Somebody else may have been quicker.
                let _ = fs::remove_file(path);
            }
            // Nobody listens if the server has ended already.
            let _ = closing.send(true);
            serve.shutdown_timeout(FAREWELL);
            log(Level::Warning, "Sentinel is now ready to exit, bye bye...");
        } else {
            log::log_signal("You insist... exiting now.");
            serve.shutdown_background();
        }
        log::close();
        Ok(end)
    }
}

/// What client connections are served with, besides what the control side publishes.
struct Front {
    facts: Facts,
    limits: Limits,
    acl: Acl,
    tls: Option<Tls>,
}

/// The parts of a process that is ready to run.
struct Wired {
    supervisor: Supervisor,
    postman: Postman,
    scripts: ScriptRunner,
    context: Arc<Context>,
    feed: Feed,
}

/// Connects everything with everything. Must run inside the control runtime.
fn wire(
    loaded: &Loaded,
    clock: Clock,
    disk: Arc<dyn Disk>,
    serve: &Handle,
    stop: mpsc::Sender<Asker>,
    front: Front,
) -> io::Result<Wired> {
    let Front { facts, limits, acl, tls } = front;
    let (hub_sender, hub, feed) = server::pubsub::hub();
    let (request_sender, requests) = mpsc::channel(supervisor::REQUESTS);
    let (notice_sender, notices) = mpsc::channel(supervisor::NOTICES);
    let (ack_sender, acks) = mpsc::channel(supervisor::ACKS);
    let last_votes = loaded.masters.iter().map(|master| master.leader_epoch);
    let epoch = EpochRegister::new(loaded.current_epoch, last_votes);
    let users = matches!(loaded.users, UserSource::Conf(_)).then(|| acl.subscribe());
    let (store, store_task) = store::spawn(loaded.image.clone(), disk, epoch.reader(), users, ack_sender);
    let (post, postman) = post::office();
    let process = Rc::new(Process {
        clock,
        epoch,
        groups: GroupRegister::default(),
        tilt: Arc::default(),
        lateness: LatenessRegister::default(),
        node: watch::channel(Arc::new(loaded.node.clone())).0,
        log_level: watch::channel(loaded.daemon.log_level.name().to_owned()).0,
        publisher: Publisher::default(),
        hub: hub_sender,
        store,
        tls: tls.clone().filter(|_| loaded.daemon.tls.replication),
        resolver: Resolver::new(serve.clone()),
        notices: notice_sender,
        post,
        monitors: RefCell::default(),
        peers: RefCell::default(),
        scripts: RefCell::default(),
        script_submitted: Notify::new(),
        saves: RefCell::default(),
    });
    let context = Context {
        reader: process.publisher.reader(),
        supervisor: SupervisorHandle { requests: request_sender, settings: process.node.subscribe() },
        hub,
        clock,
        tilt: Arc::clone(&process.tilt),
        tls,
        acl,
        renames: renames_of(&loaded.daemon),
        log_level: process.log_level.subscribe(),
        facts,
        limits,
        counters: Counters::default(),
        clients: Clients::default(),
        pause: Pause::default(),
        turns: Turns::default(),
    };
    let inlets = Inlets { requests, notices, acks, store: store_task };
    let scripts = ScriptRunner::new(Rc::clone(&process))?;
    let supervisor = Supervisor::new(process, inlets, stop);
    Ok(Wired { supervisor, postman, scripts, context: Arc::new(context), feed })
}

fn limits_of(settings: &DaemonSettings, max_clients: u64) -> Limits {
    Limits {
        max_clients: max_clients as usize,
        idle_timeout: settings.timeout.into(),
        keepalive: settings.tcp_keepalive.into(),
        query_buffer: settings.query_buffer as usize,
        max_bulk: settings.max_bulk,
        normal: output_limit(settings.normal_output),
        subscriber: output_limit(settings.pubsub_output),
        protected_mode: settings.protected_mode,
    }
}

fn output_limit(limit: BufferLimit) -> OutputLimit {
    OutputLimit { hard: limit.hard as usize, soft: limit.soft as usize, soft_ms: limit.soft_seconds * 1_000 }
}

/// The users, from wherever they are. The error is the last line of the log.
fn acl_of(source: &UserSource, log_len: usize) -> Result<Acl, String> {
    match source {
        UserSource::Conf(users) => {
            for remark in users.remarks() {
                log(Level::Warning, remark);
            }
            Ok(Acl::new(users.clone(), None, log_len))
        }
        UserSource::File { path, pubsub } => {
            let users = acl::file::read(path, *pubsub)
                .map_err(|error| format!("Aborting Redis startup because of ACL errors: {error}"))?;
            Ok(Acl::new(users, Some(path.clone()), log_len))
        }
        UserSource::Refused { reasons, last } => {
            for reason in reasons {
                log(Level::Warning, reason);
            }
            Err(last.clone())
        }
    }
}

fn renames_of(settings: &DaemonSettings) -> Renames {
    settings.command_renames.iter().map(|rename| (rename.from.clone(), rename.to.clone())).collect()
}

/// A new run id: 40 hex characters.
pub fn random_id() -> RunId {
    let bytes: [u8; 20] = rand::rng().random();
    let text: String = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect();
    RunId::from(text.as_str())
}

fn hex_digit(value: u8) -> char {
    char::from_digit(value.into(), 16).expect("four bits are one digit")
}

async fn end_by_signal(signals: &mut Signals) -> End {
    let name = signals.end().await;
    log::log_signal(&format!("Received {name} scheduling shutdown..."));
    match tokio::time::timeout(GRACE, signals.insist()).await {
        Ok(()) => End::Insisted,
        Err(_) => End::Requested(None),
    }
}

fn banner() {
    log(Level::Warning, "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo");
    let pid = std::process::id();
    let version =
        format!("Redis version={REDIS_VERSION}, bits=64, commit=00000000, modified=0, pid={pid}, just started");
    log(Level::Warning, &version);
    log(Level::Warning, "Configuration loaded");
}

/// The line with mode and port, or the logo in its place.
fn greet(settings: &DaemonSettings, port: u16) {
    let is_watched = settings.logfile.is_none() && !settings.syslog_enabled && io::stdout().is_terminal();
    if is_watched || settings.always_show_logo {
        log::log_raw(&logo(port));
    } else {
        log(Level::Notice, &format!("Running mode=sentinel, port={port}."));
    }
}

/// `port`, or where else clients come in.
fn shown_port(loaded: &Loaded) -> u16 {
    if loaded.node.port == 0 { loaded.daemon.tls.port } else { loaded.node.port }
}

fn logo(port: u16) -> String {
    let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
    format!(
        "
        .--.
       / () \\      sentineld {version} (Redis {REDIS_VERSION} compatible)
      |  ||  |     Running in sentinel mode
      |  ||  |     Port: {port}
     _|__||__|_    PID: {pid}
    |__________|

"
    )
}

fn warn_of_small_backlog(backlog: u32) {
    const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
    let limit = fs::read_to_string(SOMAXCONN).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if let Some(limit) = limit.filter(|limit| *limit < backlog) {
        let line = format!(
            "WARNING: The TCP backlog setting of {backlog} cannot be enforced because {SOMAXCONN} is set to the lower \
             value of {limit}."
        );
        log(Level::Warning, &line);
    }
}
