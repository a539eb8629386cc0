//! The installed redis-sentinel, run on files of ours. It listens on a unix socket only, so runs never meet.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A directory with a program called `redis-sentinel` in it.
pub(crate) struct Stock {
    dir: TempDir,
}

impl Stock {
    /// Looks the program up under the names that its packages give it.
    pub(crate) fn find() -> Stock {
        let program = find_program(&["redis-sentinel", "redis-server", "redis-check-rdb"]);
        let dir = tempfile::tempdir().expect("temp dir");
        symlink(program, dir.path().join("redis-sentinel")).expect("linked");
        Stock { dir }
    }

    /// Where files may be put.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs it on a file until it ends by itself.
    pub(crate) fn run(&self, conf: &Path) -> Output {
        self.command(conf).output().expect("runs")
    }

    /// Starts it on a file that has no listener yet, and waits until it is up.
    pub(crate) fn start(&self, conf: &Path) -> Running {
        let socket = conf.with_extension("sock");
        let log = conf.with_extension("log");
        let mut command = self.command(conf);
        command.args(["--port", "0", "--unixsocket"]).arg(&socket);
        let child = command.stdout(fs::File::create(&log).expect("created")).spawn().expect("starts");
        let mut running = Running { child, socket };
        wait_for("stock to start", || {
            let text = fs::read_to_string(&log).expect("readable");
            assert!(running.child.try_wait().expect("waits").is_none(), "stock refused the file:\n{text}");
            text.contains("Sentinel ID is")
        });
        running
    }

    fn command(&self, conf: &Path) -> Command {
        let mut command = Command::new(self.path("redis-sentinel"));
        command.arg(conf).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }
}

/// A running stock Sentinel; ends with the value.
pub(crate) struct Running {
    child: Child,
    socket: PathBuf,
}

impl Running {
    /// Sends a command and returns the reply as redis-cli prints it to a pipe: one element a line.
    pub(crate) fn ask(&self, words: &[&str]) -> Vec<String> {
        let cli = find_program(&["redis-cli"]);
        let output = Command::new(cli).arg("-s").arg(&self.socket).args(words).output().expect("runs");
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
    }

    /// One field of `SENTINEL MASTER`.
    pub(crate) fn field(&self, master: &str, field: &str) -> String {
        let reply = self.ask(&["sentinel", "master", master]);
        let at = reply.iter().position(|line| line == field).unwrap_or_else(|| panic!("{field} in {reply:?}"));
        reply[at + 1].clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed or does not care about.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find_program(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = names.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name))).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("none of {names:?} is installed: install the package redis-tools"))
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        sleep(Duration::from_millis(10));
    }
}
