//! Files as people have them: both programs start on a copy of each, and say the same about it (config.md 2, 3).
//!
//! `corpus/good` is accepted and `corpus/bad` refused by stock, but for what is listed here with its reason. `@DIR@` in a
//! file stands for the folder that it lies in, together with what is in `corpus/beside`. A first line `#! auth USER
//! PASSWORD` says who may ask. No file has an address where somebody could answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;

use tempfile::TempDir;

use crate::stock::{Running, Stock};

/// Files of `corpus/good` that stock refuses, and why we do not (config.md 12).
const STOCK_REFUSES: &[(&str, &str)] = &[
    ("bom.conf", "a byte order mark is skipped"),
    ("7.2-newer-names.conf", "names of newer servers are accepted"),
    ("7.2-loglevel-nothing.conf", "a level of newer servers"),
    ("8.0-newer-names.conf", "names of newer servers are accepted"),
    ("valkey-9-primary.conf", "names of Valkey are accepted"),
];

/// Files of `corpus/bad` about which the two say different things, and why.
const OTHER_WORDS: &[(&str, &str)] = &[("loglevel-word.conf", "there is one level more, as in newer servers")];

/// Fields whose values differ, by file, and why.
const FIELD_DIFFERS: &[(&str, &str, &str)] = &[
    ("number-too-large.conf", "quorum", "numbers stop at the highest one, where stock's wrap around"),
    ("7.0-epochs.conf", "config-epoch", "stock shows the highest epochs as negative numbers"),
];

/// Files that stock cannot start from once we have saved them, and why that cannot be helped.
const NO_WAY_BACK: &[(&str, &str)] = &[
    ("include-glob.conf", "masters of included files are saved in the main file; stock then finds them twice"),
    ("include-relative.conf", "the same"),
];

/// Files that stock cannot start from once it has saved them itself.
const NO_WAY_BACK_FOR_STOCK: &[(&str, &str)] = &[
    ("include-glob.conf", "as above"),
    ("include-relative.conf", "as above"),
    ("quotes.conf", "it writes a password without its quotes"),
    ("odd-names.conf", "it writes names without their quotes"),
    ("2.8-saved.conf", "it keeps known-slave beside the known-replica that it adds"),
];

/// Fields of `SENTINEL MASTERS` that come from the file, as long as nobody answers.
const FIELDS: &[&str] = &[
    "name",
    "ip",
    "port",
    "quorum",
    "down-after-milliseconds",
    "failover-timeout",
    "parallel-syncs",
    "config-epoch",
    "num-slaves",
    "num-other-sentinels",
    "notification-script",
    "client-reconfig-script",
];

/// Masters of one file that are asked for their replicas and Sentinels.
const LOOKED_INTO: usize = 3;

fn corpus(kind: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conf/corpus").join(kind);
    let entries = fs::read_dir(&folder).expect("the corpus is there").map(|entry| entry.expect("readable").path());
    let mut files: Vec<_> = entries
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("text"))
        })
        .collect();
    files.sort();
    files
}

/// A folder with everything that files speak of.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().expect("temp dir"));
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conf/corpus/beside");
        copy(&beside, folder.0.path());
        let script = folder.0.path().join("reconfig.sh");
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("our own file");
        folder
    }

    /// Puts the file in place.
    fn write(&self, text: &str) -> PathBuf {
        let conf = self.0.path().join("sentinel.conf");
        fs::write(&conf, text.replace("@DIR@", &self.0.path().display().to_string())).expect("written");
        conf
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("readable") {
        let (path, target) = {
            let entry = entry.expect("readable");
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            fs::create_dir(&target).expect("created");
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

/// Runs `check` for every file, on two threads, and collects what is wrong.
fn for_all(files: &[(String, String)], check: impl Fn(&str, &str) -> Vec<String> + Sync) {
    let check = &check;
    let complaints: Vec<String> = thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                let mine = files.iter().skip(half).step_by(2);
                scope.spawn(move || mine.flat_map(|(name, text)| check(name, text)).collect::<Vec<_>>())
            })
            .collect();
        halves.into_iter().flat_map(|half| half.join().expect("no panic")).collect()
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n\n"));
}

/// Text on stderr, last line of the log, exit code.
fn refusal(output: &Output) -> (String, String, Option<i32>) {
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = log.trim_end().lines().last().unwrap_or_default();
    let last = last.split_once(" # ").map_or(last, |(_, message)| message).to_owned();
    (String::from_utf8_lossy(&output.stderr).into_owned(), last, output.status.code())
}

/// Everything about a file that a start which fails must leave alone.
fn look(conf: &Path) -> (Vec<u8>, u64, i64, i64, u32) {
    let data = fs::metadata(conf).expect("it is there");
    (fs::read(conf).expect("readable"), data.ino(), data.mtime(), data.mtime_nsec(), data.mode())
}

/// config.md 2.6, 8: the same error about the same line, and the file as it was.
#[test]
fn bad_files_are_refused_in_the_same_words() {
    let files = corpus("bad");
    assert!(files.len() >= 30, "{}", files.len());
    for_all(&files, |name, text| {
        let folder = Folder::new();
        let mut verdicts = Vec::new();
        let mut complaints = Vec::new();
        for program in [Stock::find(), Stock::ours()] {
            let conf = folder.write(text);
            let before = look(&conf);
            verdicts.push(refusal(&program.run(&conf)));
            if look(&conf) != before {
                complaints.push(format!("{name}: the file was touched by {:?}", program.path("")));
            }
        }
        if listed(OTHER_WORDS, name).is_some() {
            let without_reason = |verdict: &mut (String, String, _)| {
                let (text, reason) = verdict.0.trim_end().rsplit_once('\n').expect("a block");
                assert!(!reason.is_empty());
                verdict.0 = text.to_owned();
            };
            verdicts.iter_mut().for_each(without_reason);
        }
        if verdicts[0] != verdicts[1] || verdicts[0].2 != Some(1) {
            complaints.push(format!("{name}\nstock: {:?}\n ours: {:?}", verdicts[0], verdicts[1]));
        }
        complaints
    });
}

/// What a program says it has read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    masters: BTreeMap<String, BTreeMap<String, String>>,
    around: BTreeMap<String, BTreeSet<String>>,
    process: BTreeMap<&'static str, Vec<String>>,
}

fn facts(running: &Running, text: &str) -> Facts {
    let auth = text.lines().next().and_then(|line| line.strip_prefix("#! auth ")?.split_once(' '));
    let ask = |words: &[&str]| match auth {
        Some((user, password)) => {
            running.ask(&[&["--no-auth-warning", "--user", user, "--pass", password], words].concat())
        }
        None => running.ask(words),
    };
    let mut facts = Facts::default();
    for entry in entries(&ask(&["sentinel", "masters"])) {
        let kept = entry.into_iter().filter(|(field, _)| FIELDS.contains(&field.as_str()));
        let kept: BTreeMap<String, String> = kept.collect();
        facts.masters.insert(kept["name"].clone(), kept);
    }
    for name in facts.masters.keys().take(LOOKED_INTO) {
        for what in ["replicas", "sentinels"] {
            let known = entries(&ask(&["sentinel", what, name])).into_iter().map(|entry| {
                let id = if what == "sentinels" { entry["name"].as_str() } else { "" };
                format!("{} {} {id}", entry["ip"], entry["port"])
            });
            facts.around.insert(format!("{what} of {name}"), known.collect());
        }
    }
    for (what, words) in [("config", &["sentinel", "config", "get", "*"][..]), ("users", &["acl", "list"])] {
        let mut lines = ask(words);
        if what == "config" {
            // Newer servers, and we, show one setting more.
            let pairs = lines.chunks(2).filter(|pair| pair[0] != "loglevel");
            lines = pairs.map(|pair| pair.join(" ")).collect();
        } else {
            // Stock lists rules about commands in no order.
            let sorted = |line: String| {
                let mut words: Vec<&str> = line.split(' ').collect();
                words.sort_unstable();
                words.join(" ")
            };
            lines = lines.into_iter().map(sorted).collect();
        }
        lines.sort();
        facts.process.insert(what, lines);
    }
    if text.contains("sentinel myid") {
        facts.process.insert("id", ask(&["sentinel", "myid"]));
    }
    facts
}

/// Maps of a reply as redis-cli prints them: a field and a value, line by line; each map begins with its name.
pub(crate) fn entries(lines: &[String]) -> Vec<BTreeMap<String, String>> {
    let mut entries: Vec<BTreeMap<String, String>> = Vec::new();
    // So it prints an empty list.
    let lines = if lines == [""] { &[] } else { lines };
    for pair in lines.chunks(2) {
        let [field, value] = pair else { panic!("no pairs: {lines:?}") };
        if field == "name" {
            entries.push(BTreeMap::new());
        }
        entries.last_mut().unwrap_or_else(|| panic!("no map: {lines:?}")).insert(field.clone(), value.clone());
    }
    entries
}

fn listed<'a>(list: &'a [(&str, &str)], name: &str) -> Option<&'a str> {
    list.iter().find(|(file, _)| *file == name).map(|(_, why)| *why)
}

/// Whether a program can start on this file: it ends by itself when there is nowhere to listen.
fn loads(program: &Stock, conf: &Path) -> Result<(), String> {
    let output = program.run_with(conf, &["--port", "0", "--unixsocket", "", "--logfile", "", "--daemonize", "no"]);
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let end = "Configured to not listen anywhere, exiting.";
    if log.contains(end) { Ok(()) } else { Err(format!("{log}{}", String::from_utf8_lossy(&output.stderr))) }
}

/// config.md 2, 3, 142: both read the same out of a file, and each starts from what the other has made of it.
#[test]
fn good_files_mean_the_same_to_both() {
    let files = corpus("good");
    assert!(files.len() >= 40, "{}", files.len());
    for_all(&files, good);
}

fn good(name: &str, text: &str) -> Vec<String> {
    let folder = Folder::new();
    let (stock, ours) = (Stock::find(), Stock::ours());
    let mut complaints = Vec::new();
    let mut found = Vec::new();
    for program in [&stock, &ours] {
        let conf = folder.write(text);
        if program.is_stock()
            && let Some(why) = listed(STOCK_REFUSES, name)
        {
            let refused = refusal(&program.run(&conf));
            if refused.2 != Some(1) || !refused.0.contains("FATAL CONFIG FILE ERROR") {
                complaints.push(format!("{name}: stock was to refuse it ({why}): {refused:?}"));
            }
            continue;
        }
        let running = match program.try_start(&conf) {
            Ok(running) => running,
            Err(log) => return vec![format!("{name}: {} refused it:\n{log}", program.label())],
        };
        found.push(facts(&running, text));
        drop(running);
        let (back, forth) = (loads(&stock, &conf), loads(&ours, &conf));
        let no_way_back = listed(if program.is_stock() { NO_WAY_BACK_FOR_STOCK } else { NO_WAY_BACK }, name);
        let saved = || String::from_utf8_lossy(&fs::read(&conf).expect("readable")).into_owned();
        match (back, no_way_back) {
            (Err(error), None) if listed(STOCK_REFUSES, name).is_none() => {
                complaints.push(format!("{name}: {} saved what stock refuses: {error}\n{}", program.label(), saved()));
            }
            (Ok(()), Some(why)) => complaints.push(format!("{name}: stock does start again ({why})")),
            _ => {}
        }
        if let (Err(error), true) = (forth, no_way_back.is_none() || !program.is_stock()) {
            complaints.push(format!("{name}: {} saved what we refuse: {error}\n{}", program.label(), saved()));
        }
    }
    for facts in &mut found {
        for (file, field, _) in FIELD_DIFFERS.iter().filter(|(file, ..)| *file == name) {
            let removed = facts.masters.values_mut().filter_map(|master| master.remove(*field)).count();
            assert!(removed > 0, "{file} has no {field}");
        }
    }
    if let [theirs, ours] = &found[..]
        && theirs != ours
    {
        complaints.push(format!("{name}\nstock: {theirs:#?}\n ours: {ours:#?}"));
    }
    complaints
}
