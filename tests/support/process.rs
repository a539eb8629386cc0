//! One child process with a log file. It dies with its owner.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::wait::wait_for;

/// Children that were not reaped yet. `None` once everything is to end: nothing is started any more.
static LIVE: Mutex<Option<BTreeSet<u32>>> = Mutex::new(Some(BTreeSet::new()));

/// Kills and reaps every child of this process, and starts no more. For whoever is asked to stop in the middle.
pub(crate) fn kill_all() {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    for &pid in &live {
        send(pid, Signal::SIGKILL);
    }
    for &pid in &live {
        // Whoever waited for it already was faster.
        let _ = waitpid(Pid::from_raw(pid.cast_signed()), None);
    }
}

/// A program, how it was started, and its child while it runs.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    program: PathBuf,
    args: Vec<String>,
    folder: PathBuf,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Process {
    /// Starts `program` in `folder`; what it prints goes to `<name>.log` there.
    ///
    /// Children stay in this process group, so that Ctrl-C reaches them too.
    pub(crate) fn start(name: &str, program: &Path, args: &[&str], folder: &Path) -> Process {
        Process::start_in(Vec::new(), name, program, args, folder)
    }

    /// The same with some more variables in its environment.
    pub(crate) fn start_in(
        environment: Vec<(String, String)>,
        name: &str,
        program: &Path,
        args: &[&str],
        folder: &Path,
    ) -> Process {
        let mut process = Process {
            name: name.to_owned(),
            program: program.to_owned(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            folder: folder.to_owned(),
            environment,
            child: None,
        };
        process.start_again();
        process
    }

    /// Starts the program once more, with the same arguments. It must not be running.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.log()).expect("the test folder is writable");
        let errors = log.try_clone().expect("an open file can be duplicated");
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        let live = live.as_mut().expect("nothing is started while everything ends");
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.folder).stdin(Stdio::null()).stdout(log).stderr(errors);
        command.envs(self.environment.iter().cloned());
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        live.insert(child.id());
        self.child = Some(child);
    }

    /// Uses another program from the next start on.
    pub(crate) fn set_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Where its output goes.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait(Duration::from_secs(10));
    }

    /// Sends a signal to the running process.
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        send(child.id(), signal);
    }

    /// Waits for the process to end.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let child = self.child.as_mut().unwrap_or_else(|| panic!("{} does not run", self.name));
        let pid = child.id();
        let status = wait_for(limit, &format!("{} ends", self.name), || {
            // Under the lock: a pid is free for others once it is reaped, and must not be killed then.
            let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
            let status = child.try_wait().expect("a child can be waited for")?;
            live.as_mut().map(|live| live.remove(&pid));
            Some(status)
        });
        self.child = None;
        status
    }

    /// Its pid, while it was started and not waited for.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it was started and not waited for.
    pub(crate) fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Whether SIGSTOP holds it (state `T`, proc(5)).
    pub(crate) fn is_stopped(&self) -> bool {
        let status = self.id().and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
        status.is_some_and(|status| status.lines().any(|line| line.starts_with("State:\tT")))
    }

    /// The last lines of its log, for people.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let from = text.lines().count().saturating_sub(lines);
        let tail = text.lines().skip(from).collect::<Vec<_>>().join("\n    ");
        format!("--- {} ({})\n    {tail}\n", self.name, self.program.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
            if live.as_mut().is_some_and(|live| live.remove(&child.id())) {
                // There is nobody to tell if it is gone already.
                let _ = child.kill().and_then(|()| child.wait());
            }
        }
    }
}

/// A child that is not a server or a Sentinel, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct KilledAtEnd(pub(crate) Child);

impl Drop for KilledAtEnd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn send(pid: u32, signal: Signal) {
    // The process may have ended by itself; then there is nothing to signal.
    let _ = signal::kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// Writes an executable file. Another process makes it: a child that another test starts while this one writes would hold it
/// open for writing until it runs its own program, and what is open for writing cannot be run.
pub(crate) fn write_program(path: &Path, text: &[u8]) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).expect("the folder is writable");
    let made = Command::new("install").args(["-m", "755"]).args([&*draft, path]).status();
    assert!(made.expect("coreutils are here").success());
    fs::remove_file(draft).expect("just written");
}
