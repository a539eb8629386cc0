//! Rules of this repository that no compiler knows: who may import whom, how long files get, what must not stay in.
//!
//! Every rule is a function from a file to complaints, and has a planted violation at the end of this file that it
//! must find: a rule that nobody has seen fail checks nothing.

use std::fs;
use std::path::Path;

/// What a module may name of this crate, by prefix. A module may always name itself. What is missing here (the
/// daemon, `main`, `lib`, `cli`) puts the parts together and may name everything.
const LAYERS: &[(&str, &[&str])] = &[
    ("sentinel", &[]),
    ("pattern", &[]),
    ("acl", &["pattern"]),
    ("conf", &["sentinel", "acl"]),
    ("store", &["conf", "sentinel", "acl"]),
    // The way from a reader to a master's mailbox is published beside the master's view.
    ("publish", &["sentinel", "driver::post::Letterbox"]),
    // Replies of servers and commands to them are data of the core.
    ("resp", &["sentinel::io", "sentinel::command"]),
    // TLS is set up by directives, in their own terms and with their own errors.
    ("net", &["conf::tls", "conf::error::strerror"]),
    // Of those that look at the driver it knows two outlets, and no more: the log and the subscribers.
    ("driver", &["sentinel", "store", "publish", "resp", "net", "telemetry::log", "server::pubsub", LOG_LEVEL]),
    // ACL SAVE replaces its file as the store does.
    ("server", &["sentinel", "publish", "resp", "net", "driver", "telemetry", "acl", "pattern", "store::file"]),
    ("telemetry", &["sentinel", "publish", "resp", "net", "driver", LOG_LEVEL]),
];

/// The level of the log is a word of the conf file: parsed there, obeyed elsewhere.
const LOG_LEVEL: &str = "conf::daemon::LogLevel";

/// Crates that a module must not name, and where in it they may be named all the same.
const FOREIGN: &[(&str, &[&str], &str)] = &[
    ("sentinel", &["tokio", "bytes", "nix", "socket2", "tracing", "chrono", "serde", "toml", "redis_protocol"], ""),
    // It asks whether files can be read and written, and names the errors as the system does.
    ("conf", &["tokio", "socket2", "tracing", "redis_protocol"], ""),
    ("conf", &["serde", "toml"], "src/conf/settings.rs"),
    ("publish", &["nix", "socket2", "tracing", "redis_protocol"], ""),
    ("resp", &["tokio", "nix", "socket2", "tracing"], ""),
    ("driver", &["redis_protocol"], ""),
    ("server", &["redis_protocol"], ""),
];

/// Everything that may lie at the top, besides names with a dot in front.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "sentinel.conf.example",
    "src",
    "target",
    "tests",
];

/// Lines of a file that needs no excuse.
const LONG: usize = 600;

/// Lines of `main.rs`, at most.
const LONG_MAIN: usize = 100;

/// What is wrong with one file.
type Rule = fn(path: &str, text: &str) -> Vec<String>;

const RULES: &[Rule] = &[layers, foreign_crates, length, head, unfinished, machine_paths];

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut complaints = top(&names(root));
    let mut files = Vec::new();
    collect(root, root, &mut files);
    assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "the walk finds the sources");
    for (path, text) in &files {
        complaints.extend(RULES.iter().flat_map(|rule| rule(path, text)));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// design: a reader knows from a file's place what it may touch.
fn layers(path: &str, text: &str) -> Vec<String> {
    let Some(module) = module(path) else { return Vec::new() };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else { return Vec::new() };
    let code = code(text);
    let named = code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with(is_word));
    let paths = named.flat_map(|(at, word)| expand(&code[at + word.len()..]));
    let within = |path: &str, prefix: &str| path == prefix || path.starts_with(&format!("{prefix}::"));
    paths
        .filter(|path| !within(path, module) && !allowed.iter().any(|prefix| within(path, prefix)))
        .map(|named| format!("{path}: {module} must not import crate::{named}"))
        .collect()
}

/// The core touches nothing but std and its generator; the codec of servers stays behind `resp`; and so on.
fn foreign_crates(path: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let names = |krate: &str| {
        let path = format!("{krate}::");
        code.match_indices(&path).any(|(at, _)| !code[..at].ends_with(is_word) && !code[..at].ends_with(':'))
    };
    let rules = FOREIGN.iter().filter(|(of, _, except)| module(path) == Some(of) && path != *except);
    let found = rules.flat_map(|(of, crates, _)| crates.iter().map(move |krate| (of, krate)));
    found.filter(|(_, krate)| names(krate)).map(|(of, krate)| format!("{path}: {of} must not use {krate}")).collect()
}

fn length(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if path == "src/main.rs" && lines > LONG_MAIN {
        return vec![format!("{path}: {lines} lines, more than {LONG_MAIN}")];
    }
    let excused = docs(text).contains(&format!("{LONG} lines"));
    if is_rust(path) && lines > LONG && !excused {
        return vec![format!("{path}: {lines} lines, and its head does not say why it has more than {LONG} lines")];
    }
    Vec::new()
}

/// A module says first what it owns, who calls it, and what it must never do.
fn head(path: &str, text: &str) -> Vec<String> {
    let missing = is_rust(path) && docs(text).trim().is_empty();
    if missing { vec![format!("{path}: no //! head")] } else { Vec::new() }
}

/// The words are put together here, so that this file does not complain of itself.
fn unfinished(path: &str, text: &str) -> Vec<String> {
    const WORDS: &[&str] = &[
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("db", "g!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO:"),
    ];
    let found = |line: &str| WORDS.iter().find(|word| line.contains(**word)).copied();
    let lines = text.lines().enumerate().filter(|_| is_rust(path));
    lines.filter_map(|(at, line)| Some(format!("{path}:{}: {}", at + 1, found(line)?))).collect()
}

/// What is true on one machine only does not belong in.
fn machine_paths(path: &str, text: &str) -> Vec<String> {
    const FOLDERS: &[&str] =
        &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let found = |line: &str| FOLDERS.iter().find(|folder| line.contains(**folder)).copied();
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(at, line)| Some(format!("{path}:{}: {} is a path of one machine", at + 1, found(line)?)))
        .collect()
}

fn top(names: &[String]) -> Vec<String> {
    let strange = names.iter().filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()));
    strange.map(|name| format!("{name} does not belong at the top")).collect()
}

/// `conf` of `src/conf/lexer.rs` and of `src/conf.rs`; none outside `src`, and none for unit tests, which may build
/// their world from any part.
fn module(path: &str) -> Option<&str> {
    let path = path.strip_prefix("src/").filter(|path| !path.ends_with("/tests.rs"))?;
    path.split('/').next()?.split('.').next()
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// The `//!` lines at the top.
fn docs(text: &str) -> String {
    text.lines().map_while(|line| line.strip_prefix("//!")).collect()
}

/// Without comment lines, and without the unit tests at the end.
fn code(text: &str) -> String {
    let product = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = product.lines();
    lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The paths of a use tree, `a::{b, c::{d, self}}`, or of a path in the middle of code, `a::b::c(...)`.
fn expand(tree: &str) -> Vec<String> {
    let end = tree.find(|char| !is_word(char) && char != ':').unwrap_or(tree.len());
    let (path, rest) = tree.split_at(end);
    let path = path.trim_end_matches(':');
    let Some(inner) = rest.strip_prefix('{') else { return vec![path.to_owned()] };
    let (mut depth, mut from, mut paths) = (0_u32, 0, Vec::new());
    for (at, char) in inner.char_indices() {
        match char {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                let item = inner[from..at].trim();
                paths.extend(expand(item).iter().filter(|_| !item.is_empty()).map(|item| join(path, item)));
                from = at + 1;
                if char == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    paths
}

fn join(path: &str, item: &str) -> String {
    match (path, item) {
        (path, "self") => path.to_owned(),
        ("", item) => item.to_owned(),
        (path, item) => format!("{path}::{item}"),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the repository can be read");
    let mut names = entries.map(|entry| entry.expect("it can be listed").file_name()).collect::<Vec<_>>();
    names.sort();
    names.iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Text files with their paths from the root; not what git and cargo keep for themselves.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for name in names(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            if name != ".git" && name != "target" {
                collect(root, &path, files);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root).expect("it lies below the root");
            // `.git` is a file in a worktree, and names the machine.
            if name != ".git" {
                files.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
}

/// One planted violation a line: the file, what is in it, what is said of it.
#[test]
fn every_rule_finds_its_violation() {
    let long = format!("//! Head.\n{}", "\n".repeat(LONG));
    let long_main = format!("//! Head.\n{}", "\n".repeat(LONG_MAIN));
    let planted: &[(Rule, &str, &str, &str)] = &[
        (layers, "src/sentinel/a.rs", "use crate::driver::clock::Clock;", "crate::driver::clock::Clock"),
        (layers, "src/sentinel/a.rs", "fn f() { crate::store::start() }", "crate::store::start"),
        (layers, "src/sentinel/a.rs", "use crate::{sentinel::id, conf::{self, load}};", "crate::conf::load"),
        (layers, "src/conf/a.rs", "use crate::{\n    sentinel::id,\n    store,\n};", "crate::store"),
        (layers, "src/conf.rs", "pub(crate) use crate::net::listen;", "crate::net::listen"),
        (layers, "src/store/mod.rs", "use crate::driver::X;", "crate::driver::X"),
        (layers, "src/publish.rs", "use crate::driver::{MonitorMessage, Clock};", "crate::driver::Clock"),
        (layers, "src/resp/a.rs", "use crate::sentinel::monitor::Monitor;", "crate::sentinel::monitor::Monitor"),
        (layers, "src/net/a.rs", "#[cfg(test)]\nuse std::fmt;\nuse crate::conf::load;", "crate::conf::load"),
        (layers, "src/net/a.rs", "use crate::resp::request;", "crate::resp::request"),
        (layers, "src/driver/a.rs", "use crate::server::conn;", "crate::server::conn"),
        (layers, "src/server/a.rs", "use crate::store::StoreHandle;", "crate::store::StoreHandle"),
        (layers, "src/telemetry/a.rs", "use crate::server::conn;", "crate::server::conn"),
        (foreign_crates, "src/sentinel/a.rs", "use tokio::sync::mpsc;", "must not use tokio"),
        (foreign_crates, "src/conf/load.rs", "use serde::Deserialize;", "must not use serde"),
        (foreign_crates, "src/driver/links.rs", "redis_protocol::decode()", "must not use redis_protocol"),
        (length, "src/conf/a.rs", &long, "601 lines"),
        (length, "src/main.rs", &long_main, "101 lines"),
        (head, "src/conf/a.rs", "use std::fmt;\n//! late", "no //! head"),
        (head, "tests/e2e/a.rs", "//!\n", "no //! head"),
        (unfinished, "src/a.rs", concat!("\nto", "do!()"), ":2: to"),
        (unfinished, "src/a.rs", concat!("unimple", "mented!()"), ":1: unimple"),
        (unfinished, "tests/a.rs", concat!("db", "g!(1)"), ":1: db"),
        (unfinished, "src/a.rs", concat!("// FIX", "ME later"), ":1: FIX"),
        (machine_paths, "README.md", concat!("see /ho", "me/me/x"), ":1: /ho"),
        (machine_paths, "Makefile", concat!("\nX = /wo", "rk/x"), ":2: /wo"),
    ];
    for (rule, path, text, said) in planted {
        let complaints = rule(path, text);
        assert!(
            complaints.iter().any(|line| line.starts_with(path) && line.contains(said)),
            "{path}: {text}: {complaints:?}"
        );
    }
    assert_eq!(
        top(&["src".to_owned(), ".ci".to_owned(), "notes.txt".to_owned()]),
        ["notes.txt does not belong at the top"]
    );
}

/// What looks like a violation and is none.
#[test]
fn no_rule_complains_of_what_is_allowed() {
    let excused = format!("//! One table; it has more than 600 lines because it is one.\n{}", "\n".repeat(LONG));
    let fine: &[(&str, &str)] = &[
        ("src/sentinel/a.rs", "//! Not [`crate::driver`].\nuse crate::sentinel::{id::{Epoch, RunId}, time};"),
        ("src/sentinel/a.rs", "//! A.\n/// See crate::store and tokio::spawn.\nuse std::fmt;"),
        ("src/sentinel/a.rs", "//! A.\n#[cfg(test)]\nmod tests {\n    use crate::conf::load;\n}"),
        ("src/publish.rs", "//! A.\nuse crate::driver::post::Letterbox;\nuse tokio::sync::watch;"),
        ("src/driver/tests.rs", "//! A.\nuse crate::conf::load;"),
        ("src/conf/settings.rs", "//! A.\nuse serde::Deserialize;"),
        ("src/daemon.rs", "//! A.\nuse crate::{conf, driver, server};"),
        ("src/server/a.rs", "//! A.\nfn f() { mycrate::store::x() }"),
        ("src/conf/a.rs", &excused),
        ("README.md", "no head, and /usr/local/bin is everywhere"),
    ];
    for (path, text) in fine {
        let complaints = RULES.iter().flat_map(|rule| rule(path, text)).collect::<Vec<_>>();
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}
