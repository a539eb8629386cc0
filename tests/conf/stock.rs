//! The installed redis-sentinel, run on files of ours, and beside it our own program. They listen on a unix socket only,
//! so runs never meet.

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
    label: &'static str,
}

/// What keeps a program away from ports, log files and the background.
const HERE: &[&str] = &["--port", "0", "--logfile", "", "--loglevel", "notice", "--daemonize", "no"];

impl Stock {
    /// Looks the program up under the names that its packages give it.
    pub(crate) fn find() -> Stock {
        Stock::of(&find_program(&["redis-sentinel", "redis-server", "redis-check-rdb"]), "stock")
    }

    /// Our own program in the same place.
    pub(crate) fn ours() -> Stock {
        Stock::of(Path::new(env!("CARGO_BIN_EXE_sentineld")), "sentineld")
    }

    fn of(program: &Path, label: &'static str) -> Stock {
        let dir = tempfile::tempdir().expect("temp dir");
        symlink(program, dir.path().join("redis-sentinel")).expect("linked");
        Stock { dir, label }
    }

    /// For people.
    pub(crate) fn label(&self) -> &'static str {
        self.label
    }

    /// Whether it is not ours.
    pub(crate) fn is_stock(&self) -> bool {
        self.label == "stock"
    }

    /// Where files may be put.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs it on a file until it ends by itself.
    pub(crate) fn run(&self, conf: &Path) -> Output {
        self.command(conf).output().expect("runs")
    }

    /// The same with options.
    pub(crate) fn run_with(&self, conf: &Path, options: &[&str]) -> Output {
        self.command(conf).args(options).output().expect("runs")
    }

    /// Starts it on a file, without the listener that the file asks for, and waits until it is up.
    pub(crate) fn start(&self, conf: &Path) -> Running {
        self.try_start(conf).unwrap_or_else(|log| panic!("{} refused the file:\n{log}", self.label))
    }

    /// The same; what it says when it ends instead.
    pub(crate) fn try_start(&self, conf: &Path) -> Result<Running, String> {
        let socket = conf.with_extension("sock");
        let log = conf.with_extension("log");
        let mut command = self.command(conf);
        command.args(HERE).arg("--unixsocket").arg(&socket);
        let output = fs::File::create(&log).expect("created");
        let errors = output.try_clone().expect("an open file can be duplicated");
        let child = command.stdout(output).stderr(errors).spawn().expect("starts");
        let mut running = Running { child, socket };
        let mut refused = None;
        wait_for("a Sentinel to start", || {
            let has_ended = running.child.try_wait().expect("waits").is_some();
            let text = fs::read_to_string(&log).expect("readable");
            refused = has_ended.then(|| text.clone());
            has_ended || text.contains("Sentinel ID is")
        });
        refused.map_or(Ok(running), Err)
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
