//! The log: one line an event, in stock's form (config.md 6.1).
//!
//! ```text
//! 11118:X 21 Nov 2026 04:45:52.186 # Sentinel ID is 1f96...
//! ```
//!
//! Lines are written where they are made until [`start_writer`] is called, which must come after the process has
//! forked, since it starts a thread. From then on that thread writes, and a reader that stops reading costs lines, never
//! time: stock stands still when the pipe behind its stdout is full.

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::syslog::{Facility, LogFlags, Priority, Severity, openlog, syslog};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;

use super::line::{Format, Kind, Record, Timestamp};
use crate::sentinel::event::Level;
use crate::sentinel::time::UnixMillis;

/// Lines that may wait for the writer: a burst of events at a slow disk is kept, a reader that is gone for good is not.
const MAX_WAITING_LINES: usize = 8192;
/// Target of lines that stock writes from its signal handlers, which have another head.
const SIGNAL: &str = "signal-handler";
/// Target of text that is written as it is.
const RAW: &str = "raw";

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Appended to this file, which is opened for each write: after a rotation the next line makes a new file, without
    /// a signal (config.md 6.5).
    File(PathBuf),
}

/// How lines look and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where they are written.
    pub destination: Destination,
    /// `log-format`
    pub format: Format,
    /// `log-timestamp-format`
    pub timestamp: Timestamp,
    /// `syslog-enabled`: they go there as well.
    pub syslog: Option<Syslog>,
}

/// `syslog-ident` and `syslog-facility`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// The name that each line begins with.
    pub ident: String,
    /// `user` or `local0` to `local7`.
    pub facility: String,
}

/// The parts of the installed log that change later.
struct Installed {
    writer: LineWriter,
    threshold: reload::Handle<LevelFilter, Registry>,
    guard: Mutex<Option<WorkerGuard>>,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Installs the log. Lines below `threshold` are not written; `None` writes nothing at all.
///
/// Only the first call of a process counts, so that tests can run many daemons in one.
pub fn open(threshold: Option<Level>, output: Output) {
    INSTALLED.get_or_init(|| {
        let writer = LineWriter { sink: Sink::new(output), thread: Arc::default() };
        let (filter, handle) = reload::Layer::new(filter_of(threshold));
        let lines = tracing_subscriber::fmt::Layer::new().event_format(Parts).with_writer(writer.clone());
        // Fails only if something else has installed a subscriber; then that one gets the lines.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(filter).with(lines));
        Installed { writer, threshold: handle, guard: Mutex::new(None) }
    });
}

/// Moves writing to a thread of its own.
pub fn start_writer() {
    let Some(installed) = INSTALLED.get() else { return };
    if let Some(guard) = installed.writer.start_thread(MAX_WAITING_LINES) {
        *installed.guard.lock().unwrap_or_else(PoisonError::into_inner) = Some(guard);
    }
}

/// Waits, a second at most, until what was logged is written. Later lines may be lost.
pub fn close() {
    if let Some(installed) = INSTALLED.get() {
        drop(installed.guard.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Changes the lowest level that is written (`SENTINEL CONFIG SET loglevel`); `None` writes nothing.
pub fn set_threshold(threshold: Option<Level>) {
    if let Some(installed) = INSTALLED.get() {
        // Fails only when the subscriber is gone, and it lives as long as the process.
        let _ = installed.threshold.modify(|filter| *filter = filter_of(threshold));
    }
}

/// Writes one line.
pub fn log(level: Level, message: &str) {
    match level {
        Level::Debug => tracing::trace!("{message}"),
        Level::Verbose => tracing::debug!("{message}"),
        Level::Notice => tracing::info!("{message}"),
        Level::Warning => tracing::warn!("{message}"),
    }
}

/// Writes a line as stock's signal handlers do: `PID:signal-handler (UNIXTIME) message`, whatever the level is.
pub fn log_signal(message: &str) {
    tracing::error!(target: SIGNAL, "{message}");
}

/// A date as C's `ctime` writes it, in local time: `Mon Oct  8 16:10:04 2018`.
pub fn ctime(at: UnixMillis) -> String {
    let utc = chrono::DateTime::from_timestamp_millis(at.0 as i64).unwrap_or_default();
    utc.with_timezone(&chrono::Local).format("%a %b %e %H:%M:%S %Y").to_string()
}

/// Writes text without head, mark and line end: the logo.
pub fn log_raw(text: &str) {
    tracing::error!(target: RAW, "{text}");
}

fn filter_of(threshold: Option<Level>) -> LevelFilter {
    match threshold {
        None => LevelFilter::OFF,
        Some(Level::Debug) => LevelFilter::TRACE,
        Some(Level::Verbose) => LevelFilter::DEBUG,
        Some(Level::Notice) => LevelFilter::INFO,
        Some(Level::Warning) => LevelFilter::WARN,
    }
}

/// The parts of a line, which gets its form where it is written.
struct Parts;

impl<S, N> FormatEvent<S, N> for Parts
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut message = Message(String::new());
        event.record(&mut message);
        let kind = match (event.metadata().target(), *event.metadata().level()) {
            (RAW, _) => Kind::Raw,
            (SIGNAL, _) => Kind::Signal,
            (_, tracing::Level::TRACE) => Kind::Debug,
            (_, tracing::Level::DEBUG) => Kind::Verbose,
            (_, tracing::Level::INFO) => Kind::Notice,
            (_, tracing::Level::WARN | tracing::Level::ERROR) => Kind::Warning,
        };
        Record::now(kind, message.0).encode(&mut writer)
    }
}

/// The message of an event, without the other fields, for which stock's line has no place.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.0);
        }
    }
}

/// Writes at once, or hands over to the thread once there is one.
#[derive(Clone)]
struct LineWriter {
    sink: Sink,
    thread: Arc<OnceLock<NonBlocking>>,
}

impl LineWriter {
    /// Moves writing to a thread, which ends some time after the guard is dropped. `None` if there is one already.
    fn start_thread(&self, max_waiting: usize) -> Option<WorkerGuard> {
        let (lines, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(max_waiting)
            .thread_name("log")
            .finish(self.sink.clone());
        let counter = lines.error_counter();
        self.thread.set(lines).ok()?;
        // The thread was not there before, so neither was its counter.
        let _ = self.sink.losses.counter.set(counter);
        Some(guard)
    }
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Box<dyn Write>;

    fn make_writer(&'a self) -> Box<dyn Write> {
        match self.thread.get() {
            Some(thread) => Box::new(thread.clone()),
            None => Box::new(self.sink.clone()),
        }
    }
}

/// Where lines are written. Each `write` is one whole [`Record`].
#[derive(Clone)]
struct Sink {
    output: Output,
    facility: Option<Facility>,
    losses: Losses,
}

/// Lines that the thread never saw, and how many of them the log has already admitted.
#[derive(Clone, Default)]
struct Losses {
    counter: Arc<OnceLock<ErrorCounter>>,
    admitted: usize,
}

impl Losses {
    /// Lines lost since the last call.
    fn take(&mut self) -> usize {
        let lost = self.counter.get().map_or(0, ErrorCounter::dropped_lines);
        let fresh = lost - self.admitted;
        self.admitted = lost;
        fresh
    }
}

impl Sink {
    fn new(output: Output) -> Sink {
        let facility = output.syslog.as_ref().and_then(open_syslog);
        Sink { output, facility, losses: Losses::default() }
    }

    fn put(&self, record: &Record) -> io::Result<()> {
        // Stock sends neither its logo nor what its signal handlers say.
        if let Some(facility) = self.facility
            && !matches!(record.kind, Kind::Raw | Kind::Signal)
        {
            // Nobody listens there on many machines, and there is nowhere to say so.
            let _ = syslog(Priority::new(severity_of(record.kind), facility), &record.message);
        }
        let line = record.render(self.output.format, self.output.timestamp);
        let line = line.as_bytes();
        match &self.output.destination {
            Destination::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line)?;
                stdout.flush()
            }
            Destination::File(path) => OpenOptions::new().append(true).create(true).open(path)?.write_all(line),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let lost = self.losses.take();
        let admission = match lost {
            0 => Ok(()),
            _ => self.put(&loss(lost)),
        };
        // A log that cannot be written is dropped in silence, as in stock: there is nowhere to say so.
        let _ = admission.and_then(|()| Record::decode(record).map_or(Ok(()), |record| self.put(&record)));
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn loss(lost: usize) -> Record {
    let message = format!("{lost} log lines were lost: the log was not read or written fast enough");
    Record::now(Kind::Warning, message)
}

/// As stock opens it (config.md 6.6). `None` if the name of the program cannot be one.
fn open_syslog(settings: &Syslog) -> Option<Facility> {
    let facility = match settings.facility.as_str() {
        "user" => Facility::LOG_USER,
        "local1" => Facility::LOG_LOCAL1,
        "local2" => Facility::LOG_LOCAL2,
        "local3" => Facility::LOG_LOCAL3,
        "local4" => Facility::LOG_LOCAL4,
        "local5" => Facility::LOG_LOCAL5,
        "local6" => Facility::LOG_LOCAL6,
        "local7" => Facility::LOG_LOCAL7,
        _ => Facility::LOG_LOCAL0,
    };
    // The system keeps the pointer, for the life of the process.
    let ident: &'static CStr = Box::leak(CString::new(settings.ident.as_str()).ok()?.into_boxed_c_str());
    openlog(Some(ident), LogFlags::LOG_PID | LogFlags::LOG_NDELAY, facility).ok()?;
    Some(facility)
}

fn severity_of(kind: Kind) -> Severity {
    match kind {
        Kind::Debug => Severity::LOG_DEBUG,
        Kind::Verbose => Severity::LOG_INFO,
        Kind::Notice => Severity::LOG_NOTICE,
        Kind::Warning | Kind::Signal | Kind::Raw => Severity::LOG_WARNING,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    use std::time::{Duration, Instant};

    use super::*;

    /// Stock's lines.
    fn plain(destination: Destination) -> Output {
        Output { destination, format: Format::Stock, timestamp: Timestamp::Stock, syslog: None }
    }

    /// Lines logged by `f`, through the real formatter.
    fn lines(threshold: Option<Level>, f: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().expect("temp dir is writable");
        let destination = Destination::File(file.path().to_owned());
        let writer = LineWriter { sink: Sink::new(plain(destination)), thread: Arc::default() };
        let layer = tracing_subscriber::fmt::Layer::new().event_format(Parts).with_writer(writer);
        let subscriber = Registry::default().with(filter_of(threshold)).with(layer);
        tracing::subscriber::with_default(subscriber, f);
        std::fs::read_to_string(file.path()).expect("the log was written")
    }

    /// config.md 143: `^\d+:X \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3} [.\-*#] `
    fn assert_stock_line(line: &str, mark: char, message: &str) {
        let (pid, rest) = line.split_once(":X ").expect("PID:X");
        assert_eq!(pid, std::process::id().to_string());
        let (stamp, rest) = rest.split_at(24);
        let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        let month = &stamp[3..6];
        assert_eq!(shape.replace(month, "Mon"), "99 Mon 9999 99:99:99.999", "{line}");
        assert!(
            month.starts_with(|c: char| c.is_ascii_uppercase()) && month[1..].chars().all(|c| c.is_ascii_lowercase())
        );
        assert_eq!(rest, format!(" {mark} {message}"));
    }

    /// config.md 143
    #[test]
    fn every_level_has_stocks_line_and_mark() {
        let text = lines(Some(Level::Debug), || {
            log(Level::Debug, "one");
            log(Level::Verbose, "two");
            log(Level::Notice, "three");
            log(Level::Warning, "+monitor master m 127.0.0.1 6379 quorum 2");
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_stock_line(lines[0], '.', "one");
        assert_stock_line(lines[1], '-', "two");
        assert_stock_line(lines[2], '*', "three");
        assert_stock_line(lines[3], '#', "+monitor master m 127.0.0.1 6379 quorum 2");
    }

    /// config.md 144
    #[test]
    fn signal_lines_have_stocks_head() {
        let text = lines(Some(Level::Warning), || log_signal("Received SIGTERM scheduling shutdown..."));
        let (head, rest) = text.trim_end().split_once(" (").expect("time in parentheses");
        assert_eq!(head, format!("{}:signal-handler", std::process::id()));
        let (time, rest) = rest.split_once(") ").expect("time in parentheses");
        assert!(time.parse::<u64>().is_ok_and(|t| t > 1_700_000_000), "{time}");
        assert_eq!(rest, "Received SIGTERM scheduling shutdown...");
    }

    /// config.md 148
    #[test]
    fn lines_below_the_threshold_are_not_written() {
        let text = lines(Some(Level::Warning), || {
            log(Level::Notice, "+slave x");
            log(Level::Warning, "+sdown x");
        });
        assert!(text.ends_with("# +sdown x\n") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn a_name_with_line_ends_cannot_forge_a_line() {
        let text = lines(Some(Level::Notice), || log(Level::Notice, "+slave a\r\n1:X forged\x1b[2J\0 \u{85}"));
        assert_eq!(text.lines().count(), 1);
        assert!(text.ends_with("* +slave a\\r\\n1:X forged\\x1b[2J\\x00 \\x85\n"), "{text}");
    }

    /// config.md 152
    #[test]
    fn a_renamed_file_is_made_anew_by_the_next_line() {
        let dir = tempfile::tempdir().expect("temp dir is writable");
        let path = dir.path().join("log");
        let mut sink = Sink::new(plain(Destination::File(path.clone())));
        sink.write_all(b"r0 one\n").expect("never fails");
        std::fs::rename(&path, dir.path().join("log.1")).expect("the file exists");
        sink.write_all(b"r0 two\n").expect("never fails");
        assert_eq!(std::fs::read_to_string(&path).expect("made anew"), "two\n");
    }

    /// config.md 160
    #[test]
    fn a_reader_that_stops_costs_lines_and_not_time() {
        let dir = tempfile::tempdir().expect("temp dir is writable");
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("makes a pipe");
        // Holding both ends, the test decides when there is something to read from.
        let mut reader = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open(&path)
            .expect("opens the pipe");
        let destination = Destination::File(path);
        let writer = LineWriter { sink: Sink::new(plain(destination)), thread: Arc::default() };
        let guard = writer.start_thread(16).expect("the first thread");
        let layer = tracing_subscriber::fmt::Layer::new().event_format(Parts).with_writer(writer);
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            for number in 0..200 {
                log(Level::Notice, &format!("{number} {}", "x".repeat(1000)));
            }
        });
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut text = String::new();
        // A thread that comes late admits a loss before the first line.
        while !(text.contains("log lines were lost") && text.contains(" * 0 x")) {
            assert!(Instant::now() < deadline, "nothing was said about lost lines, or the first one was lost: {text}");
            let mut bytes = [0; 4096];
            match reader.read(&mut bytes) {
                Ok(count) => text.push_str(&String::from_utf8_lossy(&bytes[..count])),
                Err(_) => std::thread::yield_now(),
            }
        }
        assert!(!text.contains(" * 199 x"));
        drop(guard);
    }
}
