//! What a Sentinel says first on its connections, and that it says nothing that its user may not (config.md 9).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::resp::Value;
use crate::support::sentinel::{Sentinel, Watch};
use crate::support::wait::{seconds, wait_for, wait_until};

/// How many commands of each connection are looked at: AUTH, CLIENT SETNAME, PING or SUBSCRIBE.
const FIRST: usize = 3;

/// Something that answers like a server and writes down what it was told.
struct Wiretap {
    port: u16,
    heard: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Wiretap {
    fn start() -> Wiretap {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let port = listener.local_addr().expect("bound").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        // Ends with the tests.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                thread::spawn(move || listen(stream, &all));
            }
        });
        Wiretap { port, heard }
    }

    /// The first words of the connections whose third command begins so.
    fn first_words(&self, third: &str) -> Option<Vec<String>> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let complete = heard.iter().filter(|commands| commands.iter().any(|command| command.starts_with(third)));
        complete.map(|commands| commands.iter().take(FIRST).cloned().collect()).next()
    }
}

fn listen(stream: TcpStream, all: &Mutex<Vec<Vec<String>>>) {
    let lock = || all.lock().unwrap_or_else(PoisonError::into_inner);
    let mut writer = stream.try_clone().expect("a socket can be duplicated");
    let mut reader = BufReader::new(stream);
    let place = {
        let mut all = lock();
        all.push(Vec::new());
        all.len() - 1
    };
    while let Some(words) = command(&mut reader) {
        let reply = match words[0].to_ascii_uppercase().as_str() {
            "PING" | "XPING" => "+PONG\r\n",
            "INFO" => "$13\r\nrole:master\r\n\r\n",
            "SUBSCRIBE" => "*3\r\n$9\r\nsubscribe\r\n$18\r\n__sentinel__:hello\r\n:1\r\n",
            _ => "+OK\r\n",
        };
        lock()[place].push(words.join(" "));
        if writer.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// The next command; `None` at the end.
fn command(reader: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..number(reader, '*')? {
        let mut word = vec![0; number(reader, '$')? + 2];
        reader.read_exact(&mut word).ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

fn number(reader: &mut BufReader<TcpStream>, mark: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(mark)?.parse().ok()
}

#[test]
fn says_who_it_is() {
    first_words(Kind::under_test());
}

#[test]
fn stock_says_who_it_is() {
    first_words(Kind::Stock);
}

/// What is in the conf file, and what a server and a peer are told before anything else; `None` is nothing.
type Case = (&'static str, Option<&'static str>, Option<&'static str>);

/// config.md 204, 205, 206, 207, 208. The `user` line lets the test in without the password.
const CASES: [Case; 8] = [
    ("", None, None),
    ("sentinel auth-pass mymaster s3", Some("AUTH s3"), None),
    ("sentinel auth-pass mymaster s3\nsentinel auth-user mymaster joe", Some("AUTH joe s3"), None),
    ("sentinel auth-user mymaster joe", None, None),
    ("requirepass r4\nuser default on nopass ~* &* +@all", None, Some("AUTH r4")),
    ("requirepass r4\nuser default on nopass ~* &* +@all\nsentinel sentinel-pass p5", None, Some("AUTH p5")),
    ("sentinel sentinel-pass p5\nsentinel sentinel-user ann", None, Some("AUTH ann p5")),
    ("sentinel sentinel-user ann\nsentinel auth-pass mymaster s3", Some("AUTH s3"), None),
];

fn first_words(kind: Kind) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (lines, to_server, to_peer) in CASES {
        let (server, peer) = (Wiretap::start(), Wiretap::start());
        let sentinel = sentinel_between(kind, folder.path(), &server, &peer, lines);
        let name = format!("sentinel-{}", &"a1".repeat(4));
        let expected = |auth: Option<&str>, channel: &str, then: &str| -> Vec<String> {
            let rest = [format!("CLIENT SETNAME {name}-{channel}"), then.to_owned()];
            auth.map(str::to_owned).into_iter().chain(rest).collect()
        };
        let hello = "SUBSCRIBE __sentinel__:hello";
        for (tap, auth, channel, then) in [
            (&server, to_server, "cmd", "PING"),
            (&server, to_server, "pubsub", hello),
            (&peer, to_peer, "cmd", "PING"),
        ] {
            let heard = wait_for(seconds(10), then, || tap.first_words(then));
            let expected = expected(auth, channel, then);
            assert_eq!(heard[..expected.len()], expected, "{lines}");
        }
        drop(sentinel);
    }
}

#[test]
fn renames_are_for_servers() {
    renames(Kind::under_test());
}

#[test]
fn stock_renames_for_everybody() {
    renames(Kind::Stock);
}

/// config.md 209: a deviation. Another Sentinel does not know the names that an operator gave to the servers' commands.
fn renames(kind: Kind) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, peer) = (Wiretap::start(), Wiretap::start());
    let lines = "sentinel rename-command mymaster PING XPING";
    let _sentinel = sentinel_between(kind, folder.path(), &server, &peer, lines);
    wait_until(seconds(10), "the server is asked by the new name", || server.first_words("XPING").is_some());
    let name = if kind == Kind::Stock { "XPING" } else { "PING" };
    wait_until(seconds(10), "so is the peer, or not", || peer.first_words(name).is_some());
}

/// A Sentinel with a known id that watches one of the two and knows the other as a peer.
fn sentinel_between(kind: Kind, folder: &std::path::Path, server: &Wiretap, peer: &Wiretap, lines: &str) -> Sentinel {
    let watch = Watch {
        name: "mymaster",
        port: server.port,
        quorum: 2,
        password: None,
        down_after: 3_600_000,
        failover_timeout: 60_000,
    };
    let (myid, id) = ("a1".repeat(20), "b2".repeat(20));
    let known = format!("sentinel myid {myid}\nsentinel known-sentinel mymaster 127.0.0.1 {} {id}\n", peer.port);
    Sentinel::start_in(Vec::new(), kind, folder, &[watch], &format!("{known}{lines}\n"))
}

#[test]
fn a_user_of_servers_needs_few_rights() {
    few_rights(Kind::under_test());
}

/// config.md 210: what the documentation of Redis gives to the user of Sentinels is enough for a failover and for the
/// old master's return, and nothing else is tried.
fn few_rights(kind: Kind) {
    let mut cluster = Cluster::start(&Plan::three(kind));
    let rules = "on >pw resetchannels &__sentinel__:hello +multi +slaveof +ping +exec +subscribe +config|rewrite +role \
                 +publish +info +client|setname +client|kill +script|kill";
    let ok = Value::Simple("OK".to_owned());
    for server in &cluster.groups[0].servers {
        let words: Vec<&str> = ["ACL", "SETUSER", "guard"].into_iter().chain(rules.split_whitespace()).collect();
        assert_eq!(server.call(&words).expect("it answers"), ok);
        // From now on nobody comes in but with this user.
        server.call(&["ACL", "LOG", "RESET"]).expect("it answers");
    }
    for sentinel in &cluster.sentinels {
        let words = ["SENTINEL", "SET", "mymaster", "auth-user", "guard", "auth-pass", "pw"];
        assert_eq!(sentinel.call(&words).expect("it answers"), ok);
    }
    let users = |server: &crate::support::server::Server| {
        let list = server.call(&["CLIENT", "LIST"]).expect("it answers");
        let list = list.text().unwrap_or_default().to_owned();
        list.lines().filter(|line| line.contains("name=sentinel-") && line.contains("user=guard")).count()
    };
    wait_until(seconds(20), "every Sentinel has logged in with both connections", || {
        cluster.groups[0].servers.iter().all(|server| users(server) == 2 * cluster.sentinels.len())
    });
    let old = cluster.first_master();
    let start = Instant::now();
    cluster.group().at(old).hang();
    let new = cluster.wait_for_new_master("mymaster", old, seconds(40));
    cluster.group().at(old).resume();
    wait_until(seconds(40), "the old master follows", || cluster.groups[0].at(old).follows(new));
    cluster.wait_until_settled(&cluster.groups[0], new);
    assert!(cluster.leader(start, "mymaster").is_some());
    if kind == Kind::Ours {
        coordinate(&cluster, new);
    }
    for server in &cluster.groups[0].servers {
        let log = server.call(&["ACL", "LOG"]).expect("it answers");
        assert_eq!(log.items(), [], "port {}", server.port);
    }
}

/// beyond.md B4: a coordinated failover takes two rights more.
fn coordinate(cluster: &Cluster, old: u16) {
    let ok = Value::Simple("OK".to_owned());
    for server in &cluster.groups[0].servers {
        let words = ["ACL", "SETUSER", "guard", "+client|pause", "+client|unpause"];
        assert_eq!(server.call(&words).expect("it answers"), ok);
    }
    wait_until(seconds(20), "a replica is fit", || {
        let reply = cluster.sentinels[0].call(&["SENTINEL", "FAILOVER", "mymaster", "COORDINATED"]);
        let reply = reply.expect("it answers");
        assert!(reply == ok || matches!(&reply, Value::Error(text) if text.starts_with("NOGOODSLAVE")), "{reply:?}");
        reply == ok
    });
    let new = cluster.wait_for_new_master("mymaster", old, seconds(20));
    cluster.wait_until_settled(&cluster.groups[0], new);
}
