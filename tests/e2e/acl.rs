//! Users in files: what stops a start, ACL LOAD and SAVE, and files that go from stock to ours and back. Every case is
//! proved against stock as well.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::cluster::{Cluster, Plan};
use crate::support::process::{KilledAtEnd, Process};
use crate::support::resp::{Client, Value};
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::support::{Kind, ports};

const SHA_OF_X: &str = "#2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

/// A Sentinel with a conf file, and perhaps an ACL file.
struct Bench {
    port: u16,
    process: Process,
    folder: TempDir,
}

impl Bench {
    fn start(kind: Kind, lines: &str, users: Option<&str>) -> Bench {
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), ports::free());
        write(folder.path(), port, lines, users);
        let process = Process::start("sentinel", &kind.program(), &["sentinel.conf"], folder.path());
        let bench = Bench { port, process, folder };
        bench.wait();
        bench
    }

    fn wait(&self) {
        let is_there = || Client::connect(self.port).is_ok_and(|mut client| client.call(&["PING"]).is_ok());
        wait_until(seconds(10), "it answers", is_there);
    }

    fn start_again_as(&mut self, kind: Kind) {
        self.process.kill();
        self.process.set_program(kind.program());
        self.process.start_again();
        self.wait();
    }

    fn client(&self) -> Client {
        Client::connect(self.port).expect("it listens")
    }

    fn ask(&self, words: &[&str]) -> Value {
        self.client().call(words).expect("it answers")
    }

    fn list(&self) -> Vec<String> {
        let users = self.ask(&["ACL", "LIST"]);
        users.items().iter().map(|user| user.text().expect("text").to_owned()).collect()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("the file is there")
    }

    fn set_users(&self, text: &str) {
        fs::write(self.folder.path().join("users.acl"), text).expect("the test folder is writable");
    }
}

fn write(folder: &Path, port: u16, lines: &str, users: Option<&str>) {
    let dir = folder.display();
    let conf = format!("port {port}\nbind 127.0.0.1\ndir {dir}\n{lines}\n");
    fs::write(folder.join("sentinel.conf"), conf).expect("the test folder is writable");
    if let Some(users) = users {
        fs::write(folder.join("users.acl"), users).expect("the test folder is writable");
    }
}

fn ok() -> Value {
    Value::Simple("OK".to_owned())
}

fn error(text: &str) -> Value {
    Value::Error(text.to_owned())
}

/// config.md 198, 199, 200, 202: rc 1, and the last lines of the log.
#[test]
fn wrong_users_stop_the_start() {
    const LAST: &str = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    let cases: &[(&str, Option<&str>, &[&str])] = &[
        (
            "user foo on +@bogus",
            None,
            &[
                "# Error loading ACL rule '+@bogus' for the user named 'foo': Unknown command or category name in ACL",
                "# Critical error while loading ACLs. Exiting.",
            ],
        ),
        (
            "user \"a b\" on",
            None,
            &["# Spaces not allowed in ACL usernames", "# Critical error while loading ACLs. Exiting."],
        ),
        (
            "aclfile users.acl\nuser foo on",
            Some(""),
            &[
                "# Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid.",
            ],
        ),
        (
            "aclfile users.acl",
            Some("# note\nuser foo +@nope\n"),
            &[
                "# Aborting Redis startup because of ACL errors: users.acl:1 should start with user keyword followed by \
                 the username. users.acl:2: Error in applying operation '+@nope': Unknown command or category name in \
                 ACL. WARNING: ACL errors detected",
                LAST,
            ],
        ),
        (
            "aclfile users.acl",
            Some("user foo on\nuser foo off\n"),
            &[
                "# Aborting Redis startup because of ACL errors: WARNING: Duplicate user 'foo' found on line 2. WARNING:",
            ],
        ),
        (
            "aclfile none.acl",
            None,
            &["# Aborting Redis startup because of ACL errors: Error loading ACLs, opening file 'none.acl': No such \
                 file or directory"],
        ),
        (
            "user foo on\nuser foo off",
            None,
            &["Error in user declaration 'foo': Duplicate user found. A user can only be defined once in config files"],
        ),
    ];
    for kind in [Kind::Stock, Kind::Ours] {
        for (lines, users, expected) in cases {
            let folder = tempfile::tempdir().expect("a temporary folder");
            write(folder.path(), ports::free(), lines, *users);
            let log = fs::File::create(folder.path().join("log")).expect("the test folder is writable");
            let errors = log.try_clone().expect("a second handle");
            let mut command = Command::new(kind.program());
            command.arg("sentinel.conf").current_dir(folder.path());
            command.stdin(Stdio::null()).stdout(log).stderr(errors);
            let mut program = KilledAtEnd(command.spawn().expect("it starts"));
            let code =
                wait_for(seconds(10), &format!("it refuses {lines:?}"), || program.0.try_wait().expect("a child"));
            let said = fs::read_to_string(folder.path().join("log")).expect("text");
            assert_eq!(code.code(), Some(1), "{kind:?} {lines}: {said}");
            for line in *expected {
                assert!(said.contains(line), "{kind:?} {lines}: {said}");
            }
        }
    }
}

/// config.md 201, 140
#[test]
fn an_acl_file_is_loaded_and_saved() {
    for kind in [Kind::Stock, Kind::Ours] {
        let bench = Bench::start(
            kind,
            "aclfile users.acl\nrequirepass foo",
            Some("user zed on >x ~* &* +@all\n\n user bob off\r\n"),
        );
        // The file has the users, and says nothing of default: requirepass is not asked.
        let zed = format!("user zed on {SHA_OF_X} ~* &* +@all");
        let (bob, default) = ("user bob off resetchannels -@all", "user default on nopass ~* &* +@all");
        assert_eq!(bench.list(), [bob, default, &zed], "{kind:?}");
        assert_eq!(bench.ask(&["ACL", "SETUSER", "amy", "on", "+ping"]), ok());
        assert_eq!(bench.ask(&["ACL", "SAVE"]), ok());
        let amy = "user amy on resetchannels -@all +ping";
        assert_eq!(bench.file("users.acl"), format!("{amy}\n{bob}\n{default}\n{zed}\n"), "{kind:?}");
        let mode = fs::metadata(bench.folder.path().join("users.acl")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert_eq!(bench.ask(&["SENTINEL", "FLUSHCONFIG"]), ok());
        let conf = bench.file("sentinel.conf");
        assert!(!conf.contains("\nuser ") && conf.contains("aclfile \"users.acl\"\n"), "{kind:?}: {conf}");
        // Whoever came in as another user than default has to come again.
        let (mut zed_was, mut default_is) = (bench.client(), bench.client());
        assert_eq!(zed_was.call(&["AUTH", "zed", "x"]).expect("it answers"), ok());
        assert_eq!(default_is.call(&["PING"]).expect("it answers"), Value::Simple("PONG".to_owned()));
        bench.set_users("user zed on >x ~* &* +@all\nuser default on nopass +@all\n");
        assert_eq!(bench.ask(&["ACL", "LOAD"]), ok());
        assert_eq!(bench.list(), ["user default on nopass resetchannels +@all", &zed], "{kind:?}");
        assert!(zed_was.call(&["PING"]).is_err(), "{kind:?}");
        assert_eq!(default_is.call(&["PING"]).expect("it answers"), Value::Simple("PONG".to_owned()));
        // Who loads is answered first.
        let mut zed_loads = bench.client();
        assert_eq!(zed_loads.call(&["AUTH", "zed", "x"]).expect("it answers"), ok());
        assert_eq!(zed_loads.call(&["ACL", "LOAD"]).expect("it answers"), ok(), "{kind:?}");
        assert!(zed_loads.call(&["PING"]).is_err(), "{kind:?}");
        // A file with an error changes nothing.
        bench.set_users("user eve on\nfoo\n");
        let refusal = "ERR users.acl:2 should start with user keyword followed by the username. WARNING: ACL errors \
                       detected, no change to the previously active ACL rules was performed";
        assert_eq!(bench.ask(&["ACL", "LOAD"]), error(refusal), "{kind:?}");
        assert_eq!(bench.list().len(), 2);
        fs::remove_file(bench.folder.path().join("users.acl")).expect("it is there");
        let refusal = "ERR Error loading ACLs, opening file 'users.acl': No such file or directory";
        assert_eq!(bench.ask(&["ACL", "LOAD"]), error(refusal), "{kind:?}");
        fs::create_dir(bench.folder.path().join("users.acl")).expect("the test folder is writable");
        let refusal =
            "ERR There was an error trying to save the ACLs. Please check the server logs for more information";
        assert_eq!(bench.ask(&["ACL", "SAVE"]), error(refusal), "{kind:?}");
    }
}

/// Rules whose printed forms have everything that a user can have.
const RULES: [&[&str]; 6] = [
    &["on", ">x", ">y", "~a", "%R~b", "%W~c*", "&+odown", "&a*", "+sentinel|masters", "+ping"],
    &["on", "nopass", "+@all", "-@dangerous", "allkeys", "allchannels", "skip-sanitize-payload"],
    &[
        "+@all",
        "-sentinel",
        "+sentinel|masters",
        "(+publish",
        "&x",
        "~y)",
        "(allchannels",
        "allkeys",
        "+@all",
        "-role)",
    ],
    &["+client", "-client|id", "+ping|foo", "+info|Server"],
    &["+auth", "+hello", "+ping", "+subscribe", "resetchannels"],
    &["reset", "on", "+@connection"],
];

/// config.md 142: users that stock has saved are ours, and back again, with the same rules word for word but for the
/// order in which single commands are told, which stock draws anew at every start.
#[test]
fn users_move_from_stock_to_ours_and_back() {
    let sorted = |lines: Vec<String>| -> Vec<Vec<String>> {
        let words = |line: &String| {
            let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            words.sort();
            words
        };
        lines.iter().map(words).collect()
    };
    let mut bench = Bench::start(Kind::Stock, "user old on >x +@all &*", None);
    for (at, rules) in RULES.iter().enumerate() {
        let name = format!("user{at}");
        let words: Vec<&str> = ["ACL", "SETUSER", &name].into_iter().chain(rules.iter().copied()).collect();
        assert_eq!(bench.ask(&words), ok());
    }
    // Whoever is declared in a file has a word more from then on.
    assert_eq!(bench.ask(&["ACL", "SETUSER", "default", "sanitize-payload"]), ok());
    let before = sorted(bench.list());
    assert_eq!(before.len(), RULES.len() + 2);
    for kind in [Kind::Ours, Kind::Stock, Kind::Ours] {
        assert_eq!(bench.ask(&["SENTINEL", "FLUSHCONFIG"]), ok());
        bench.start_again_as(kind);
        assert_eq!(sorted(bench.list()), before, "as {kind:?}");
    }
}

/// The rules that the example conf file gives to a user.
fn example(name: &str) -> Vec<String> {
    let text = include_str!("../../sentinel.conf.example");
    let start = format!("# user {name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start)).expect("the example has this user");
    line.split(' ').map(str::to_owned).collect()
}

/// commands.md 208, 226: the users of the example conf file are enough for other Sentinels, of either program, and for a
/// client. The default user becomes the client here.
#[test]
fn the_least_permissions_are_enough_for_peers_and_clients() {
    let kinds = [Kind::Ours, Kind::Stock, Kind::Ours];
    let plan = Plan { sentinels: kinds.map(|kind| (kind, 2)).to_vec(), ..Plan::three(Kind::Stock) };
    let mut cluster = Cluster::start(&plan);
    let everywhere = |words: &[&str]| {
        for sentinel in &cluster.sentinels {
            assert_eq!(sentinel.call(words).expect("it answers"), ok(), "{words:?}");
        }
    };
    let set = |name: &'static str, rules: Vec<String>| -> Vec<String> {
        ["ACL", "SETUSER", name].map(str::to_owned).into_iter().chain(rules).collect()
    };
    let peer = set("peer", example("peer"));
    everywhere(&peer.iter().map(String::as_str).collect::<Vec<_>>());
    everywhere(&["SENTINEL", "CONFIG", "SET", "sentinel-user", "peer"]);
    everywhere(&["SENTINEL", "CONFIG", "SET", "sentinel-pass", "secret"]);
    let mut client = example("app");
    client.retain(|rule| !rule.starts_with('>'));
    client.splice(0..0, ["-@all", "resetchannels", "+acl|log"].map(str::to_owned));
    let client = set("default", client);
    everywhere(&client.iter().map(String::as_str).collect::<Vec<_>>());
    // From here on this client may do only what an application does.
    let refused = cluster.sentinels[0].call(&["SENTINEL", "FAILOVER", "mymaster"]).expect("it answers");
    assert_eq!(refused, error("NOPERM this user has no permissions to run the 'sentinel|failover' command"));
    cluster.wait_until_acquainted();
    let old = cluster.first_master();
    cluster.group().at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("mymaster", old, seconds(40));
    cluster.wait_until_settled(&cluster.groups[0], new);
    for sentinel in &cluster.sentinels {
        let log = sentinel.call(&["ACL", "LOG", "100"]).expect("it answers");
        let of_peers = log.items().iter().filter(|entry| entry.field("username") == Some("peer")).count();
        assert_eq!(of_peers, 0, "{:?}: {log:?}", sentinel.kind);
    }
}
