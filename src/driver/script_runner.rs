//! Starts, kills and reaps scripts, as the queue says (config.md 8).
//!
//! Each script is the leader of a process group of its own, so that it is killed with its children. Scripts inherit the
//! environment, the current directory, stdin, stdout and stderr, and no other descriptor. They outlive this process.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{self, SignalKind};
use tokio::task::JoinSet;

use super::process::Process;
use crate::sentinel::event::{Event, Level};
use crate::sentinel::scripts::{ScriptEnd, ScriptId, ScriptJob, ScriptStep};
use crate::sentinel::time::Millis;
use crate::telemetry::log::log;

/// What became of an attempt to start a script.
type Start = (ScriptId, io::Result<Child>);

/// Runs the scripts of a process.
#[derive(Debug)]
pub struct ScriptRunner {
    process: Rc<Process>,
    /// Executing a file can take as long as its disk likes, so it is not done on this thread.
    starts: JoinSet<Start>,
    /// Scripts that run, by the ids of their processes.
    running: BTreeMap<u32, (ScriptId, Child)>,
    children: unix::Signal,
}

impl ScriptRunner {
    /// Needs a running runtime, since it listens for SIGCHLD.
    pub fn new(process: Rc<Process>) -> io::Result<ScriptRunner> {
        let children = unix::signal(SignalKind::child())?;
        Ok(ScriptRunner { process, starts: JoinSet::new(), running: BTreeMap::new(), children })
    }

    /// Runs for ever; ends by being dropped, and what runs then goes on.
    pub async fn run(mut self) {
        let process = Rc::clone(&self.process);
        let mut settings = process.node.subscribe();
        loop {
            let next = self.take_due_steps();
            let next = next.map(|at| tokio::time::Instant::from_std(process.clock.instant(at)));
            tokio::select! {
                () = process.script_submitted.notified() => {}
                Some(start) = self.starts.join_next() => self.started(start.expect("starting a script does not panic")),
                _ = self.children.recv() => self.reap(),
                Ok(()) = settings.changed() => {}
                () = tokio::time::sleep_until(next.unwrap_or_else(tokio::time::Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// Carries out what is due, shows the queue to readers, and says when to come again.
    fn take_due_steps(&mut self) -> Option<Millis> {
        let (now, settings) = (self.process.clock.mono(), self.process.settings());
        let steps = self.process.scripts.borrow_mut().due(now, &settings.periods);
        for step in steps {
            match step {
                ScriptStep::Start(id, job) => {
                    self.starts.spawn_blocking(move || (id, spawn(&job)));
                }
                // It may have ended this very moment.
                ScriptStep::Kill(pid) => drop(killpg(Pid::from_raw(pid as i32), Signal::SIGKILL)),
                ScriptStep::Emit(event) => self.process.emit(&event),
            }
        }
        let queue = self.process.scripts.borrow();
        self.process.publisher.show_scripts(queue.jobs());
        queue.next_due(&settings.periods)
    }

    fn started(&mut self, (id, start): Start) {
        match start {
            Ok(child) => {
                let pid = child.id();
                self.running.insert(pid, (id, child));
                let event = self.process.scripts.borrow_mut().started(id, pid);
                self.emit(event);
            }
            Err(error) => self.ended(id, unstarted(&error)),
        }
        // It may have ended before it was known.
        self.reap();
    }

    fn ended(&mut self, id: ScriptId, end: ScriptEnd) {
        let (now, settings) = (self.process.clock.mono(), self.process.settings());
        let events = self.process.scripts.borrow_mut().ended(id, end, now, &settings.periods);
        self.emit(events);
    }

    fn emit(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.process.emit(&event);
        }
    }

    /// Takes note of every child that has ended. The first process of a container inherits those of others, too.
    fn reap(&mut self) {
        while let Some(pid) = ended_child() {
            match self.running.remove(&(pid.as_raw() as u32)) {
                Some((id, mut child)) => {
                    let end = child.wait().map_or(ScriptEnd::Exited(0), end_of);
                    self.ended(id, end);
                }
                // It may be one that is just being started.
                None if !self.starts.is_empty() => return,
                None => {
                    // Somebody else's, so nobody needs to know how it ended.
                    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
                    let line =
                        format!("waitpid() returned a pid ({pid}) we can't find in our scripts execution queue!");
                    log(Level::Warning, &line);
                }
            }
        }
    }
}

/// A child that has ended and waits to be reaped, if there is one.
fn ended_child() -> Option<Pid> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, flags).ok().filter(|status| *status != WaitStatus::StillAlive).and_then(|status| status.pid())
}

fn spawn(job: &ScriptJob) -> io::Result<Child> {
    let (path, arguments) = job.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(in_current_directory(path));
    // Upstart waits for us, not for our scripts.
    command.arg0(path).args(arguments).process_group(0).env_remove("UPSTART_JOB").spawn()
}

/// A name without a slash is that of a file in the current directory, not of a command.
fn in_current_directory(path: &str) -> PathBuf {
    if path.contains('/') { PathBuf::from(path) } else { Path::new(".").join(path) }
}

/// Whether there was nothing to execute, or nobody to execute it.
fn unstarted(error: &io::Error) -> ScriptEnd {
    let scarce = [Errno::EAGAIN, Errno::ENOMEM, Errno::EMFILE, Errno::ENFILE];
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) if scarce.contains(&errno) => ScriptEnd::NoProcess,
        _ => ScriptEnd::NotExecutable,
    }
}

fn end_of(status: ExitStatus) -> ScriptEnd {
    match (status.code(), status.signal()) {
        (Some(code), _) => ScriptEnd::Exited(code),
        (None, signal) => ScriptEnd::Killed(signal.unwrap_or(0)),
    }
}
