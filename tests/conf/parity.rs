//! What stock accepts we accept, what it refuses we refuse, in the same words.

use std::fs;
use std::path::PathBuf;

use sentineld::conf::files::RealFiles;
use sentineld::conf::load::{SourceSet, load};
use sentineld::conf::table;
use sentineld::sentinel::id::RunId;

use crate::stock::Stock;

/// How a file is received: accepted, or the text on stderr and the last line of the log.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused { block: String, log: String },
}

/// Stock's verdict. With `port 0` it ends by itself right after everything has been read.
fn ask_stock(stock: &Stock, text: &str) -> Verdict {
    let conf = stock.path("parity.conf");
    fs::write(&conf, text).expect("written");
    let output = stock.run(&conf);
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = log.trim_end().lines().last().unwrap_or_default();
    let last = last.split_once(" # ").map_or("", |(_, message)| message).to_owned();
    if log.contains("Configured to not listen anywhere, exiting.") {
        return Verdict::Accepted;
    }
    Verdict::Refused { block: String::from_utf8_lossy(&output.stderr).into_owned(), log: last }
}

fn ask_us(stock: &Stock, text: &str) -> Verdict {
    let cwd: PathBuf = stock.path("");
    let cwd = cwd.canonicalize().expect("exists");
    let sources = SourceSet { main: text.as_bytes().to_vec(), stdin: None, options: Vec::new(), cwd };
    match load(&sources, RunId::from("a"), &RealFiles) {
        Ok(_) => Verdict::Accepted,
        Err(error) => {
            Verdict::Refused { block: error.block().unwrap_or_default(), log: error.log_line().unwrap_or_default() }
        }
    }
}

fn compare(texts: impl IntoIterator<Item = String>) {
    let stock = Stock::find();
    fs::write(stock.path("good.inc"), "timeout 5\n").expect("written");
    fs::write(stock.path("bad.inc"), "timeout 5\n\nbogus\n").expect("written");
    let mut differences = Vec::new();
    for text in texts {
        let text = format!("port 0\n{text}\n");
        let (theirs, ours) = (ask_stock(&stock, &text), ask_us(&stock, &text));
        if theirs != ours {
            differences.push(format!("{text}stock: {theirs:?}\n ours: {ours:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// config.md 30-46, 55, 56, 59, 61-65, 67, 69
#[test]
fn grammar_and_odd_directives() {
    let lines = [
        "timeout 5\r\nloglevel notice\r",
        "\t timeout 5",
        "  # note",
        "loglevel notice # c",
        "logfile \"abc",
        "logfile \"abc\"d",
        "logfile 'abc'd",
        "loglevel \"no\\x74ice\"",
        "syslog-ident 'a\\n\\'b'",
        "TIMEOUT 5",
        "bogus",
        "bogus 1 2 3",
        "\"\"",
        "\"\" 1",
        "foo.bar baz",
        "foo.bar",
        "sentinel",
        "SENTINEL",
        "lua-replicate-commands yes",
        "lua-replicate-commands",
        "list-max-ziplist-entries 1 2",
        "dir /nonexistent",
        "dir \"\"",
        "dir parity.conf",
        "dir .",
        "logfile /nonexistent/log",
        "include good.inc",
        "include bad.inc",
        "include *.inc",
        "include none*.inc",
        "include none.inc",
        "include",
        "include a b",
        "include \"\"",
        "dir /\ninclude good.inc",
        "rename-command CONFIG \"\"",
        "rename-command PING \"\"",
        "rename-command PING x\nrename-command x y",
        "rename-command PING info",
        "rename-command PING x\nrename-command INFO X",
        "rename-command PING x\nrename-command PING y",
        "rename-command PING x\nrename-command INFO ping",
        "rename-command PING PING",
        "rename-command PING ping\nrename-command PING x",
        "rename-command PING \"\"\nrename-command INFO ping\nrename-command PING x",
        "rename-command PING",
        "loadmodule /nonexistent.so",
        "loadmodule",
        "user",
        "user default on nopass ~* &* +@all",
        "user default on nopass ~* &* +@all\nuser default on",
        "user default on #abc",
        "user default on >pw ~* &* +@all",
        "user default off",
        "user foo bogus",
        "user foo on >x #zz",
        "user foo >x #zz",
        "user foo ~* ~x",
        "user foo &* &x",
        "user foo <x",
        "user foo +ping| on",
        "user foo on +client|list|x",
        "user foo (+ping ~a) (on)",
        "user foo on nopass +@all (~a +info) &x\nUSER bar off",
        "user bar on\nuser foo on\nuser bar off",
        "vm-enabled yes",
        "slaveof h 1",
        "slaveof no one",
        "slaveof h",
        "slaveof h 70000",
    ];
    compare(lines.map(str::to_owned));
}

/// config.md 47-58, 70, 71: every directive of 7.0.15, with values of every kind.
#[test]
fn values_of_plain_directives() {
    // What depends on how stock was built, takes its output away, deviates, or is tried elsewhere.
    let untried = |name: &str| {
        matches!(
            name,
            "loglevel"
                | "log-format"
                | "log-timestamp-format"
                | "activedefrag"
                | "port"
                | "dir"
                | "aclfile"
                | "logfile"
                | "daemonize"
        )
    };
    let mut texts = Vec::new();
    for (name, kind) in table::DIRECTIVES {
        if *kind == table::Kind::Newer || untried(name) {
            continue;
        }
        let values: &[&str] = match kind {
            table::Kind::Bool => &["Yes", "maybe"],
            table::Kind::Int(..) => &["1x", "-1", "99999999999"],
            table::Kind::Text(_) => &["\"\"", "a b"],
            table::Kind::Word(_) => &["zz", "\"\""],
            _ => &["1", "x y", "\"\"", "-1", "zz"],
        };
        let is_refused_by_us = |value: &str| {
            matches!(*name, "tls-port" | "tls-replication") && !matches!(value, "1x" | "-1" | "maybe" | "99999999999")
                || *name == "bind-source-addr" && value != "\"\"" && value != "a b"
                || *name == "tls-cluster" && value == "Yes"
        };
        texts.extend(values.iter().filter(|value| !is_refused_by_us(value)).map(|value| format!("{name} {value}")));
    }
    texts.extend(table::ALIASES.iter().map(|(old, _)| format!("{old} zz zz zz")));
    let more = [
        "maxclients 0",
        "unixsocketperm 999",
        "unixsocketperm 1777",
        "unixsocketperm 700",
        "supervised foo",
        "maxmemory 2X",
        "maxmemory 2G",
        "maxmemory-clients 101%",
        "maxmemory-clients 5%",
        "maxmemory-clients -5%",
        "client-query-buffer-limit 1mb",
        "client-output-buffer-limit foo 1 1 1",
        "client-output-buffer-limit slave 1 x 1",
        "client-output-buffer-limit normal 0 0 0 pubsub 1mb 1mb 10",
        "client-output-buffer-limit \"normal 0 0 0\"",
        "bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
        "bind \"127.0.0.1 -::1\"",
        "save 900 1 300 10",
        "save 900",
        "shutdown-on-sigint SAVE now",
        "shutdown-on-sigint save nosave",
        "oom-score-adj-values 1 2 3",
        "oom-score-adj-values 1 2 9999",
        "latency-tracking-info-percentiles 50 99 101",
        "notify-keyspace-events Ex",
        "proc-title-template \"{title} {port}\"",
        "proc-title-template {foo}",
        "appendfilename a/b",
        "cluster-announce-hostname a_b",
        "tls-port x",
        "tls-replication maybe",
        "timeout +5",
        "timeout 05",
        "timeout -0",
    ];
    texts.extend(more.map(str::to_owned));
    compare(texts);
}

/// config.md 35, 72-102
#[test]
fn sentinel_directives() {
    let alone = [
        "monitor m 127.0.0.1 1 2 3",
        "monitor m 127.0.0.1 1",
        "monitor m 127.0.0.1 1 0",
        "monitor m 127.0.0.1 1 x",
        "monitor m 127.0.0.1 70000 1",
        "monitor m 127.0.0.1 -1 1",
        "monitor m 127.0.0.1 x 1",
        "monitor m ::1 1 1",
        "monitor m no.such.host 1 1",
        "monitor m no.such.host 70000 1",
        "monitor m 127.0.0.1 1 1\nsentinel monitor m 127.0.0.1 2 1",
        "monitor \"a b\" 127.0.0.1 1 1",
        "myid abc",
        "myid 0123456789012345678901234567890123456789",
        "current-epoch x",
        "announce-ip \"\"",
        "announce-port 70000",
        "deny-scripts-reconfig maybe",
        "deny-scripts-reconfig NO",
        "resolve-hostnames 1",
        "announce-hostnames 1",
        "sentinel-user \"\"",
        "sentinel-pass \"\"",
        "sentinel-pass a b",
        "known-sentinel nobody 127.0.0.1 1",
        "can-failover m yes",
        "bogus",
    ];
    let about_a_master = [
        "down-after-milliseconds m 0",
        "down-after-milliseconds m -5",
        "down-after-milliseconds m x",
        "down-after-milliseconds m 5000ms",
        "down-after-milliseconds m 5000 # c",
        "down-after-milliseconds M 5000",
        "down-after-milliseconds other 0",
        "failover-timeout m 0",
        "parallel-syncs m 0",
        "parallel-syncs other x",
        "notification-script m /nonexistent",
        "notification-script m /bin/true",
        "notification-script m /etc",
        "notification-script other /nonexistent",
        "client-reconfig-script m /nonexistent",
        "auth-pass m \"\"",
        "auth-user m u",
        "master-reboot-down-after-period m -1",
        "master-reboot-down-after-period m 0",
        "rename-command m CONFIG a\nsentinel rename-command m config b",
        "rename-command m CONFIG CONFIG",
        "config-epoch m 9",
        "leader-epoch m x",
        "known-replica m 127.0.0.1 2\nsentinel known-slave m 127.0.0.1 2",
        "known-replica m 127.0.0.1 70000",
        "known-replica m no.such.host 2",
        "known-sentinel m 127.0.0.1 2 abc\nsentinel known-sentinel m 127.0.0.1 3 abc",
        "known-sentinel m 127.0.0.1 70000 abc",
        "known-sentinel m 127.0.0.1",
        "known-replica other 127.0.0.1 2",
        "resolve-hostnames yes\nsentinel known-replica m no.such.host 2",
        "bogus\nbogus 1",
    ];
    let master = "sentinel monitor m 127.0.0.1 1 2";
    let alone = alone.iter().map(|line| format!("sentinel {line}"));
    let after = about_a_master.iter().map(|line| format!("{master}\nsentinel {line}"));
    let before = about_a_master.iter().map(|line| format!("sentinel {line}\n{master}"));
    compare(alone.chain(after).chain(before));
}
