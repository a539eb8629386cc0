//! kill -9 in the middle of saves, wherever they go: over the conf file, into one that is mounted, into a state file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sentineld::conf::files::RealFiles;
use sentineld::conf::load::{Loaded, SourceSet, load};
use sentineld::sentinel::id::RunId;
use sentineld::store::file::{ConfFile, Disk};
use tempfile::TempDir;

use crate::disk::SmallDisk;
use crate::net::{run, tell};
use crate::support::process::Process;
use crate::support::resp::{Client, Value, ask};
use crate::support::wait::{seconds, wait_until};
use crate::support::{Kind, ports};

/// Kills of each form in `make test`; `SAVES_KILLS` asks for another number.
const KILLS: u32 = 20;

/// Where a Sentinel saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A file of its own.
    Plain,
    /// A file that is a mount point: it cannot be renamed over.
    Mounted,
    /// A conf file that is never written, and a state file.
    State,
}

/// A Sentinel with its files, watching a master that is not there.
struct Victim {
    form: Form,
    folder: TempDir,
    port: u16,
    process: Process,
    /// What the conf file said at first.
    conf: String,
}

impl Victim {
    fn start(form: Form) -> Victim {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = ports::free();
        // Long, so that a save takes more than one moment.
        let comments = "# a comment that every save keeps\n".repeat(300);
        let conf = format!("{comments}port {port}\nsentinel monitor m 192.0.2.1 6379 2\n# the end\n");
        let path = folder.path().join("sentinel.conf");
        fs::write(&path, &conf).expect("the test folder is writable");
        let state = folder.path().join("state");
        let settings = folder.path().join("sentineld.toml");
        fs::write(&settings, format!("[node]\nstate-file = \"{}\"\n", state.display()))
            .expect("the test folder is writable");
        let (program, path) = (Kind::Ours.program().display().to_string(), path.display().to_string());
        let settings = settings.display().to_string();
        let process = match form {
            Form::Plain => Process::start("sentinel", Path::new(&program), &[&path], folder.path()),
            Form::State => {
                Process::start("sentinel", Path::new(&program), &[&path, "--settings", &settings], folder.path())
            }
            Form::Mounted => {
                let script = "mount --bind \"$2\" \"$2\" && exec \"$1\" \"$2\"";
                let args = ["--mount", "sh", "-c", script, "sh", &program, &path];
                Process::start("sentinel", Path::new("/usr/bin/unshare"), &args, folder.path())
            }
        };
        let victim = Victim { form, folder, port, process, conf };
        victim.wait_until_up();
        victim
    }

    fn wait_until_up(&self) {
        wait_until(seconds(20), "it answers", || ask(self.port, &["PING"]).is_ok());
    }

    fn saved_to(&self) -> PathBuf {
        self.folder.path().join(if self.form == Form::State { "state" } else { "sentinel.conf" })
    }

    /// What the next start finds: the file, or the journal beside it.
    fn on_disk(&self) -> Loaded {
        let text = ConfFile::new(self.saved_to()).read().expect("readable").expect("it is there");
        let text_of_people = String::from_utf8_lossy(&text);
        assert!(text_of_people.contains("# the end\n") || self.form == Form::State, "cut short: {text_of_people}");
        let sources = SourceSet { main: text, stdin: None, options: Vec::new(), cwd: PathBuf::from("/") };
        load(&sources, RunId::from("new"), &RealFiles).unwrap_or_else(|error| panic!("it does not load: {error}"))
    }
}

/// What was answered with success, and what was asked for last and may or may not have been done.
#[derive(Debug, Default)]
struct Promises {
    quorum: (u32, u32),
    /// Epochs of votes.
    voted: (u64, u64),
    /// Whether the second master is monitored.
    second: (bool, bool),
    answers: u64,
}

impl Promises {
    /// Asks for changes, one after the other, until the connection breaks.
    fn work(mut self, port: u16, id: &str) -> Promises {
        let Ok(mut client) = Client::connect(port) else { return self };
        while self.step(&mut client, id).is_ok() {
            self.answers += 3;
        }
        self
    }

    fn step(&mut self, client: &mut Client, id: &str) -> io::Result<()> {
        self.quorum.1 = self.quorum.0 + 1;
        let reply = client.call(&["SENTINEL", "SET", "m", "quorum", &self.quorum.1.to_string()])?;
        assert_eq!(reply, Value::Simple("OK".to_owned()));
        self.quorum.0 = self.quorum.1;

        self.voted.1 = self.voted.0 + 1;
        let epoch = self.voted.1.to_string();
        let reply = client.call(&["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "192.0.2.1", "6379", &epoch, id])?;
        assert_eq!(reply.items().get(1).and_then(Value::text), Some(id), "a vote in epoch {epoch}: {reply:?}");
        self.voted.0 = self.voted.1;

        self.second.1 = !self.second.0;
        let words: &[&str] = if self.second.1 {
            &["SENTINEL", "MONITOR", "second", "192.0.2.2", "6379", "2"]
        } else {
            &["SENTINEL", "REMOVE", "second"]
        };
        assert_eq!(client.call(words)?, Value::Simple("OK".to_owned()));
        self.second.0 = self.second.1;
        Ok(())
    }

    /// What is there must be what was promised, or what was on its way.
    fn check(&mut self, loaded: &Loaded) {
        let master = loaded.masters.iter().find(|master| master.spec.name.as_str() == "m").expect("it is monitored");
        let second = loaded.masters.len() == 2;
        let (quorum, voted) = (master.spec.quorum, master.leader_epoch.0);
        assert!(quorum == self.quorum.0 || quorum == self.quorum.1, "quorum {quorum}: {self:?}");
        assert!(voted == self.voted.0 || voted == self.voted.1, "vote in {voted}: {self:?}");
        assert!(second == self.second.0 || second == self.second.1, "second master {second}: {self:?}");
        assert!(loaded.current_epoch.0 >= voted, "current epoch {:?} below a vote in {voted}", loaded.current_epoch);
        (self.quorum, self.voted, self.second) = ((quorum, quorum), (voted, voted), (second, second));
    }
}

fn killed_again_and_again(form: Form) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let kills = number("SAVES_KILLS").map_or(KILLS, |kills| kills as u32);
    let seed = number("FAULTS_SEED").unwrap_or_else(|| rand::rng().random());
    println!("FAULTS_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut victim = Victim::start(form);
    let id = "f".repeat(40);
    let mut promises = Promises { quorum: (2, 2), ..Promises::default() };
    let (mut journals, mut unfinished) = (0, 0);
    let start = Instant::now();
    for _ in 0..kills {
        let worker = {
            let (port, id) = (victim.port, id.clone());
            thread::spawn(move || promises.work(port, &id))
        };
        thread::sleep(Duration::from_micros(rng.random_range(0..100_000)));
        victim.process.kill();
        promises = worker.join().expect("every answer is right");
        if victim.saved_to().exists() {
            journals += u32::from(victim.folder.path().join("sentinel.conf.journal").exists());
            unfinished += u32::from(promises.quorum.0 != promises.quorum.1);
            promises.check(&victim.on_disk());
        }
        victim.process.start_again();
        victim.wait_until_up();
        let reply = ask(victim.port, &["SENTINEL", "MASTER", "m"]).expect("it answers");
        assert_eq!(
            reply.field("quorum"),
            Some(&*promises.quorum.0.to_string()),
            "what it starts with is what is there"
        );
    }
    if form == Form::State {
        let conf = fs::read_to_string(victim.folder.path().join("sentinel.conf")).expect("readable");
        assert_eq!(conf, victim.conf, "the conf file is never written");
    }
    assert!(promises.answers > 0, "changes are acknowledged");
    let took = start.elapsed().as_secs();
    let answers = promises.answers;
    tell(&format!(
        "{form:?}: {kills} kills in {took} s, {answers} changes acknowledged, none lost; {unfinished} kills between a \
         change and its answer, {journals} with a journal left, seed {seed}"
    ));
}

/// config.md 134: whatever was acknowledged is there after kill -9, and the file is whole.
#[test]
fn kills_in_the_middle_of_saves_lose_nothing() {
    killed_again_and_again(Form::Plain);
}

/// config.md 134: the same where nothing can be renamed over the file.
#[test]
fn kills_in_the_middle_of_saves_into_a_mounted_file_lose_nothing() {
    if !nix::unistd::geteuid().is_root() {
        tell("only root can mount: no kills in the middle of saves into a mounted file");
        return;
    }
    killed_again_and_again(Form::Mounted);
}

#[test]
fn kills_in_the_middle_of_saves_to_a_state_file_lose_nothing() {
    killed_again_and_again(Form::State);
}

/// A file system has pages of this size.
const PAGE: usize = 4096;

/// A conf file of a page and a half.
fn long_conf(port: u16, quorum: u32) -> String {
    let comments = format!("# {}\n", "x".repeat(97)).repeat(PAGE * 3 / 2 / 100);
    format!("{comments}port {port}\nsentinel monitor m 192.0.2.1 6379 {quorum}\n# the end\n")
}

/// Unmounts a file in the end.
struct Mount(String);

impl Drop for Mount {
    fn drop(&mut self) {
        // Its users may still be ending.
        let _ = run("umount", &["-l", &self.0], "");
    }
}

/// config.md 134: the disk becomes full when the journal is written and the file is not. The start goes by the journal,
/// as often as it takes, and the first save with room again finishes it.
#[test]
fn a_save_that_a_full_disk_cut_short_counts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = SmallDisk::new(folder.path());
    if !matches!(disk, SmallDisk::Mounted(_)) {
        tell("nothing can be mounted: no full disk in the middle of a save");
        return;
    }
    let port = ports::free();
    let conf = folder.path().join("sentinel.conf");
    let path = conf.display().to_string();
    fs::write(&conf, format!("port {port}\nsentinel monitor m 192.0.2.1 6379 2\n")).expect("there is room");
    run("mount", &["--bind", &path, &path], "").expect("who could mount may mount again");
    let mount = Mount(path.clone());
    // Room for two pages of a journal, and for no second page of the file.
    disk.fill();
    let ballast = folder.path().join("ballast");
    let full = fs::metadata(&ballast).expect("it is there").len();
    fs::File::options()
        .write(true)
        .open(&ballast)
        .and_then(|file| file.set_len(full - 2 * PAGE as u64))
        .expect("shorter");
    let file = ConfFile::new(conf.clone());
    let error = file.replace(long_conf(port, 5).as_bytes()).expect_err("it does not fit");
    assert_eq!(error.cause().and_then(io::Error::raw_os_error), Some(nix::libc::ENOSPC), "{error}");
    assert!(folder.path().join("sentinel.conf.journal").exists());

    let home = tempfile::tempdir().expect("a temporary folder");
    let mut process = Process::start("sentinel", &Kind::Ours.program(), &[&path], home.path());
    let quorum =
        || ask(port, &["SENTINEL", "MASTER", "m"]).ok().and_then(|reply| reply.field("quorum").map(str::to_owned));
    for _ in 0..2 {
        wait_until(seconds(20), "it starts from the journal", || quorum().as_deref() == Some("5"));
        let reply = ask(port, &["SENTINEL", "SET", "m", "quorum", "6"]).expect("it answers");
        assert!(matches!(reply, Value::Error(_)), "{reply:?}");
        process.kill();
        process.start_again();
    }
    let log = fs::read_to_string(process.log()).expect("a log");
    assert!(log.contains("cut short and cannot be finished yet (No space left on device)"), "{log}");
    wait_until(seconds(20), "it starts from the journal", || quorum().as_deref() == Some("5"));
    disk.repair();
    wait_until(seconds(30), "there is room", || {
        ask(port, &["SENTINEL", "SET", "m", "quorum", "7"]).is_ok_and(|reply| reply == Value::Simple("OK".to_owned()))
    });
    assert!(fs::read_to_string(&conf).expect("readable").contains("sentinel monitor m 192.0.2.1 6379 7\n"));
    assert!(!folder.path().join("sentinel.conf.journal").exists());
    drop((process, mount));
}
