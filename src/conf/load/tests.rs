//! What loads, what does not, and in which words.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::*;
use crate::acl::User;
use crate::conf::daemon::{BindAddr, BufferLimit, LogLevel, Supervised};
use crate::conf::tls::AuthClients;

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

/// Files by absolute path; every directory but `/nonexistent` exists; only what is called `x.sh` can run.
#[derive(Default)]
struct FakeFiles(BTreeMap<PathBuf, &'static str>);

impl Files for FakeFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).map(|text| text.as_bytes().to_vec()).ok_or_else(|| nix::errno::Errno::ENOENT.into())
    }

    fn expand(&self, pattern: &Path) -> Vec<PathBuf> {
        let pattern = glob::Pattern::new(pattern.to_str().expect("text")).expect("pattern");
        self.0.keys().filter(|path| pattern.matches_path(path)).cloned().collect()
    }

    fn enter(&self, dir: &Path) -> io::Result<PathBuf> {
        if dir.ends_with("nonexistent") { Err(nix::errno::Errno::ENOENT.into()) } else { Ok(dir.to_owned()) }
    }

    fn try_append(&self, path: &Path) -> io::Result<()> {
        if path.starts_with("/no") { Err(nix::errno::Errno::ENOENT.into()) } else { Ok(()) }
    }

    fn is_executable(&self, path: &Path) -> bool {
        path.ends_with("x.sh")
    }
}

fn sources(main: &str) -> SourceSet {
    SourceSet { main: main.as_bytes().to_vec(), stdin: None, options: Vec::new(), cwd: PathBuf::from("/cwd") }
}

fn load_from(sources: &SourceSet, files: &FakeFiles) -> Result<Loaded, ConfError> {
    super::load(sources, RunId::from(ID), files)
}

fn load(main: &str) -> Loaded {
    load_from(&sources(main), &FakeFiles::default()).unwrap_or_else(|error| panic!("{main}: {error}"))
}

/// Line number and message of the block.
fn fatal(main: &str) -> (usize, String) {
    fatal_of(load_from(&sources(main), &FakeFiles::default()).expect_err(main))
}

fn fatal_of(error: ConfError) -> (usize, String) {
    match error {
        ConfError::Fatal(fatal) | ConfError::UnresolvedHost { fatal, .. } => {
            (fatal.line.map_or(0, |line| line.0), fatal.message)
        }
        other => panic!("{other:?}"),
    }
}

const BAD: &str = "Bad directive or wrong number of arguments";

/// config.md 30-33, 40-42, 46-48
#[test]
fn lines_are_read_leniently() {
    let loaded =
        load("\t PORT 5000 \r\n  # note\r\n\r\nDAEMONIZE Yes\nport 5001\nsentinel\nlua-replicate-commands yes");
    assert_eq!((loaded.node.port, loaded.daemon.daemonize), (5001, true));
    let loaded = load("\u{feff}port 1\nlist-max-ziplist-entries 512\nfoo.bar baz\nloadmodule /nonexistent.so\n");
    assert_eq!(loaded.node.port, 1);
}

/// config.md 36, 37, 43, 45, 55, 56, 65, 67, 81
#[test]
fn mistakes_name_their_line() {
    let unbalanced = "Unbalanced quotes in configuration line";
    for (main, line, message) in [
        ("port 1\nlogfile \"abc", 2, unbalanced),
        ("logfile \"abc\"d", 1, unbalanced),
        ("bogus 1", 1, BAD),
        ("\"\"", 1, BAD),
        ("foo.bar", 1, "Module config specified without value"),
        ("lua-replicate-commands", 1, BAD),
        ("dir /nonexistent", 1, "No such file or directory"),
        ("dir \"\"", 1, "No such file or directory"),
        ("logfile /no/log", 0, "Can't open the log file: No such file or directory"),
        ("include", 1, BAD),
        ("include a b", 1, BAD),
        ("rename-command CONFIG \"\"", 1, "No such command in rename-command"),
        ("rename-command PING info", 1, "Target command name already exists"),
        ("user", 1, BAD),
        ("port 1\nport 2\0", 2, "NUL byte in configuration line"),
        ("bind-source-addr myhost", 1, "bind-source-addr needs an IP address"),
    ] {
        assert_eq!(fatal(main), (line, message.to_owned()), "{main:?}");
    }
}

/// config.md 59, 2.6
#[test]
fn the_block_looks_like_stocks() {
    let error = load_from(&sources("port 1\n\n  sentinel down-after-milliseconds other 1000 "), &FakeFiles::default())
        .expect_err("unknown master");
    assert_eq!(
        error.block().expect("a block"),
        "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\n\
         Reading the configuration file, at line 3\n\
         >>> 'sentinel down-after-milliseconds other 1000'\n\
         No such master with specified name.\n"
    );
    let error = load_from(&sources("logfile /no/log"), &FakeFiles::default()).expect_err("no log");
    assert_eq!(
        error.block().expect("a block"),
        "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\nCan't open the log file: No such file or directory\n"
    );
}

/// config.md 72-75
#[test]
fn sentinel_lines_are_read_after_everything_else() {
    let loaded = load(
        "sentinel known-replica m replica.host 1\nsentinel down-after-milliseconds m 5\n\
         sentinel monitor m master.host 1 2\nsentinel resolve-hostnames yes",
    );
    assert_eq!(loaded.masters[0].spec.down_after, 5);
    assert_eq!((&*loaded.masters[0].addr.host, loaded.masters[0].addr.ip), ("master.host", None));
    assert_eq!(&*loaded.masters[0].replicas[0].host, "replica.host");
    assert_eq!(fatal("sentinel bogus\nbogus 1").0, 2);
    assert_eq!(fatal("sentinel bogus\nsentinel monitor m 1.2.3.4 5 0").0, 2);
}

/// config.md 78-83, 88, 89, 92, 94, 96
#[test]
fn masters_and_what_belongs_to_them() {
    let id = "f".repeat(40);
    for (line, message) in [
        ("monitor m 1.2.3.4 5 2", "Duplicate master name."),
        ("monitor n 1.2.3.4 70000 2", "Invalid port number."),
        ("monitor n some.host 5 2", "Can't resolve instance hostname."),
        ("known-replica m 1.2.3.5 70000", "Invalid port number."),
        ("known-replica m 1.2.3.5 6\nsentinel known-slave m 1.2.3.5 6", "Duplicate hostname and port for replica."),
        (
            &format!("known-sentinel m 1.2.3.5 6 {id}\nsentinel known-sentinel m 1.2.3.6 7 {id}"),
            "Duplicate runid for sentinel.",
        ),
        (
            "rename-command m CONFIG a\nsentinel rename-command m config b",
            "Same command renamed multiple times with rename-command.",
        ),
        ("notification-script m /none.sh", "Notification script seems non existing or non executable."),
        ("client-reconfig-script m none.sh", "Client reconfiguration script seems non existing or non executable."),
    ] {
        let main = format!("sentinel monitor m ::1 6379 2\nsentinel {line}");
        assert_eq!(fatal(&main).1, message, "{line}");
    }
    let loaded = load("sentinel monitor m ::1 x 2x\nsentinel notification-script m ../x.sh\nsentinel auth-pass m ''");
    let master = &loaded.masters[0];
    assert_eq!((master.addr.port, master.spec.quorum), (0, 2));
    assert_eq!(master.spec.notification_script.as_deref(), Some("../x.sh"));
    assert_eq!(master.spec.auth_pass, Some(Secret::from(b"".as_slice())));
    let error = load_from(&sources("sentinel monitor n some.host 5 2"), &FakeFiles::default()).expect_err("a name");
    assert_eq!(error.log_line().as_deref(), Some("Failed to resolve hostname 'some.host'"));
}

/// config.md 95, 97, 98; failover.md 3 and I13
#[test]
fn epochs_and_ids() {
    let me = "a".repeat(40);
    let loaded = load(&format!(
        "sentinel current-epoch 7\nsentinel current-epoch 3\nsentinel monitor m 1.2.3.4 5 1\n\
         sentinel config-epoch m 9\nsentinel leader-epoch m 8\nsentinel myid {me}\n\
         sentinel known-sentinel m 1.2.3.5 6 {me}\nsentinel known-sentinel m 1.2.3.5 6\n\
         sentinel known-sentinel m 1.2.3.6 6 short"
    ));
    assert_eq!((loaded.current_epoch, loaded.myid), (Epoch(9), IdOrigin::File));
    assert_eq!(loaded.node.myid.as_str(), me);
    let master = &loaded.masters[0];
    assert_eq!((master.config_epoch, master.leader_epoch), (Epoch(9), Epoch(8)));
    assert_eq!(master.sentinels, [(RunId::from("short"), Addr::new("1.2.3.6", 6))]);
    let loaded = load("sentinel current-epoch 7\nsentinel current-epoch 3");
    assert_eq!((loaded.current_epoch, loaded.myid, loaded.node.myid.as_str()), (Epoch(7), IdOrigin::Fresh, ID));
}

/// config.md 12, 20, 25, 26
#[test]
fn later_sources_win_and_line_numbers_run_on() {
    let mut all = sources("port 1\nloglevel debug\n");
    all.stdin = Some(b"port 2\nsentinel monitor s 1.2.3.4 5 1".to_vec());
    all.options = b"port \"3\" ".to_vec();
    let loaded = load_from(&all, &FakeFiles::default()).expect("loads");
    assert_eq!((loaded.node.port, loaded.daemon.log_level), (3, LogLevel::Debug));
    assert_eq!(loaded.masters.len(), 1);

    all.options = b"foo \"bar\" ".to_vec();
    assert_eq!(fatal_of(load_from(&all, &FakeFiles::default()).expect_err("unknown")), (5, BAD.to_owned()));
    all.stdin = None;
    assert_eq!(fatal_of(load_from(&all, &FakeFiles::default()).expect_err("unknown")), (4, BAD.to_owned()));
    all.stdin = Some(b"foo".to_vec());
    assert_eq!(fatal_of(load_from(&all, &FakeFiles::default()).expect_err("unknown")), (3, BAD.to_owned()));
}

/// config.md 61-64, 66, 2.5
#[test]
fn included_files_are_read_in_place() {
    let mut files = FakeFiles::default();
    files.0.insert("/d/one.conf".into(), "port 5\nsentinel monitor m 1.2.3.4 5 1\nsentinel known-replica m 1.2.3.5 6");
    files.0.insert("/d/two.conf".into(), "timeout 5\n\nbogus");
    files.0.insert("/d/loop.conf".into(), "include loop.conf");
    let try_load = |main: &str| load_from(&sources(main), &files);

    let loaded = try_load("dir /d\ninclude one.conf\ninclude none-*.conf\nport 6").expect("loads");
    assert_eq!((loaded.node.port, loaded.masters.len()), (6, 1));
    assert_eq!(fatal_of(try_load("\n\ndir /d\ninclude two.conf").expect_err("bogus")).0, 3);
    assert_eq!(fatal_of(try_load("include /d/t?o.conf").expect_err("bogus")).0, 3);
    assert!(fatal_of(try_load("dir /d\ninclude loop.conf").expect_err("endless")).1.contains("include"));
    let missing = try_load("include none.conf").expect_err("missing");
    assert_eq!(
        missing.log_line().expect("a line"),
        "Fatal error, can't open config file 'none.conf': No such file or directory"
    );

    // What was saved into the main file loads again, also after the master has moved.
    let saved = loaded.image.render(Epoch(0));
    let again = try_load(std::str::from_utf8(&saved).expect("text")).expect("loads again");
    assert_eq!(again.masters, loaded.masters);
    let moved = String::from_utf8(saved).expect("text").replace("m 1.2.3.4 5 1", "m 1.2.3.9 5 1");
    assert_eq!(&*try_load(&moved).expect("loads").masters[0].addr.host, "1.2.3.9");
}

/// config.md 4.1
#[test]
fn the_daemon_gets_what_it_needs() {
    let loaded = load(
        "bind 127.0.0.1 -::1\nprotected-mode yes\ndir sub\nlogfile s.log\npidfile /run/s.pid\nunixsocket s.sock\n\
         unixsocketperm 700\nmaxclients 5\ntimeout 6\ntcp-backlog 7\ntcp-keepalive 8\nsupervised systemd\n\
         rename-command PING pong\nrename-command SHUTDOWN \"\"\nclient-query-buffer-limit 2mb\nproto-max-bulk-len 3mb\n\
         client-output-buffer-limit normal 1mb 2kb 3 slave 1 1 1\nclient-output-buffer-limit pubsub 4 5 6\nbind-source-addr 127.0.0.2\nrequirepass foo",
    );
    let daemon = &loaded.daemon;
    let bind = |host: &str, optional| BindAddr { host: host.to_owned(), optional };
    assert_eq!(daemon.bind, [bind("127.0.0.1", false), bind("::1", true)]);
    assert_eq!(daemon.dir, Path::new("/cwd/sub"));
    assert_eq!(daemon.logfile.as_deref(), Some(Path::new("/cwd/sub/s.log")));
    assert_eq!(daemon.pidfile.as_deref(), Some(Path::new("/run/s.pid")));
    assert_eq!(daemon.unix_socket.as_deref(), Some(Path::new("s.sock")));
    assert_eq!((daemon.unix_socket_perm, daemon.max_clients, daemon.timeout), (0o700, 5, 6));
    assert_eq!((daemon.tcp_backlog, daemon.tcp_keepalive, daemon.supervised), (7, 8, Supervised::Systemd));
    assert!(daemon.protected_mode);
    assert_eq!((daemon.query_buffer, daemon.max_bulk), (2 << 20, 3 << 20));
    assert_eq!(daemon.normal_output, BufferLimit { hard: 1 << 20, soft: 2 << 10, soft_seconds: 3 });
    assert_eq!(daemon.pubsub_output, BufferLimit { hard: 4, soft: 5, soft_seconds: 6 });
    let rename = |from: &str, to: Option<&str>| CommandRename { from: from.into(), to: to.map(str::to_owned) };
    assert_eq!(daemon.command_renames, [rename("ping", Some("pong")), rename("shutdown", None)]);
    assert!(user(&loaded, b"default").has_password(b"foo"));
    assert_eq!(loaded.node.bind_source_addr, "127.0.0.2".parse().ok());
    assert_eq!(loaded.node.requirepass, Some(Secret::from(b"foo".as_slice())));
}

fn user(loaded: &Loaded, name: &[u8]) -> Arc<User> {
    match &loaded.users {
        UserSource::Conf(users) => users.find(name).expect("there").user.clone(),
        other => panic!("{other:?}"),
    }
}

/// config.md 198, 199, 202, 4.5: as stock tells them.
#[test]
fn wrong_users_are_refused_in_stocks_words() {
    let late = |main: &str| match load(main).users {
        UserSource::Refused { reasons, last } => [reasons, vec![last]].concat().join("; "),
        other => panic!("{main}: {other:?}"),
    };
    assert_eq!(
        late("user foo on +@bogus"),
        "Error loading ACL rule '+@bogus' for the user named 'foo': Unknown command or category name in ACL; Critical \
         error while loading ACLs. Exiting."
    );
    assert!(late("user \"a b\" on").starts_with("Spaces not allowed in ACL usernames; "));
    assert!(late("aclfile x.acl\nuser foo on").starts_with("Configuring Redis with users defined in redis.conf and"));
    for (main, message) in [
        ("user foo on\nuser foo off", "'foo': Duplicate user found. A user can only be defined once in config files"),
        ("user foo bogus", "'user': Syntax error"),
        (
            "user foo >x #zz",
            "'foo': The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
        ("user foo on on bogus", "'on': Syntax error"),
        ("user foo <x", "'user': The password you are trying to remove from the user does not exist"),
        ("user foo +client|list|x", "'user': Allowing first-arg of a subcommand is not supported"),
        ("user foo (+ping", "'foo': Unmatched parenthesis in acl selector starting at '(+ping'."),
    ] {
        assert_eq!(fatal(main).1, format!("Error in user declaration {message}"), "{main}");
    }
    assert_eq!(fatal("user").1, "Bad directive or wrong number of arguments");
    let UserSource::File { path, .. } = load("aclfile x.acl").users else { panic!("an ACL file has the users") };
    assert_eq!(path, Path::new("x.acl"));
    // Files that servers read as well may name their commands.
    load("user foo on -@all +get +config|get (+set ~x) -client|no-touch");
}

/// config.md 139, 140: every user by name, with what stock makes of its rules; none when an ACL file has them.
#[test]
fn users_are_saved_as_stock_saves_them() {
    let saved = |main: &str| String::from_utf8(load(main).image.render(Epoch(0))).expect("text");
    let users =
        |text: &str| text.lines().filter(|line| line.starts_with("user ")).map(str::to_owned).collect::<Vec<_>>();
    let sha_of_x = "#2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let text = saved("requirepass foo\nuser b on >x +@all -@dangerous +role\nuser 'q\"x' on \"&a'b\"");
    assert_eq!(
        users(&text),
        [
            format!("user b on {sha_of_x} resetchannels +@all -@dangerous +role"),
            "user \"q\\\"x\" on resetchannels \"&a'b\" -@all".to_owned(),
            "user default on #2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae ~* &* +@all".to_owned(),
        ]
    );
    assert!(text.contains("requirepass \"foo\"\n"));
    assert_eq!(saved(&text), text.replace("default on", "default on sanitize-payload"));
    assert_eq!(users(&saved("aclfile x.acl")), [""; 0]);
    let default = saved("user default on nopass ~* &* +@all");
    assert_eq!(users(&default), ["user default on nopass sanitize-payload ~* &* +@all"]);
}

/// config.md 197, 202
#[test]
fn a_user_line_overrides_requirepass() {
    let loaded = load("requirepass foo\nuser default on >bar ~* &* +@all");
    let default = user(&loaded, b"default");
    assert!(default.has_password(b"bar") && !default.has_password(b"foo"));
    assert!(loaded.warnings[0].contains("requirepass"), "the file looks as if foo counted");
    assert!(load("requirepass foo\nuser default on >foo ~* &* +@all").warnings.is_empty());
    assert!(load("requirepass foo").warnings.is_empty());
    assert!(fatal("user default on nopass +@all\nuser default off").1.contains("Duplicate user found"));
    let all = load("user default on nopass +@all\nacl-pubsub-default allchannels");
    assert!(user(&all, b"default").permits_channel(b"x", false));
    assert!(!user(&load("user default on nopass +@all"), b"default").permits_channel(b"x", false));
}

/// config.md 192; the rest is OpenSSL's business
#[test]
fn tls_directives_are_kept_for_the_start() {
    let loaded = load(
        "tls-port 6380\ntls-replication yes\ntls-cert-file c\ntls-key-file \"\"\ntls-auth-clients optional\n\
         tls-protocols \"TLSv1.2 tlsv1.3\"\ntls-session-cache-size 5",
    );
    let tls = &loaded.daemon.tls;
    assert!(tls.is_wanted());
    assert_eq!((tls.pair.cert.as_deref(), tls.pair.key.as_deref()), (Some(Path::new("c")), None));
    assert_eq!((tls.auth_clients, tls.session_cache_size), (AuthClients::Optional, 5));
    assert_eq!(loaded.node.announced_port(), 6380);
    let inward = load("port 7000\ntls-port 6380");
    assert_eq!(inward.node.announced_port(), 7000, "peers would not use TLS either");
    let told = load("tls-port 6380\ntls-replication yes\nsentinel announce-port 5");
    assert_eq!(told.node.announced_port(), 5);
    assert!(!load("tls-cert-file c").daemon.tls.is_wanted());
}

/// config.md 105
#[test]
fn the_debian_file_loads() {
    let loaded = load(
        "protected-mode no\nport 26379\ndaemonize yes\npidfile /run/sentinel/redis-sentinel.pid\n\
         logfile /var/log/redis/redis-sentinel.log\ndir /var/lib/redis\nsentinel monitor mymaster 127.0.0.1 6379 2\n\
         sentinel down-after-milliseconds mymaster 30000\nacllog-max-len 128\nsentinel parallel-syncs mymaster 1\n\
         sentinel failover-timeout mymaster 180000\nsentinel deny-scripts-reconfig yes\n\
         SENTINEL resolve-hostnames no\nSENTINEL announce-hostnames no\n\
         SENTINEL master-reboot-down-after-period mymaster 0\n",
    );
    assert_eq!(loaded.masters.len(), 1);
    assert_eq!(loaded.daemon.dir, Path::new("/var/lib/redis"));
}

/// config.md 103, 104: blocks as 5.0.5 and 2.8 wrote them.
#[test]
fn files_of_old_versions_load() {
    let loaded = load(
        "port 5000\nsentinel myid 5c9f6d5f5ef0ef6bbdcd2e3b5ddb6c2b5ae0d4b1\nsentinel deny-scripts-reconfig yes\n\
         sentinel monitor mymaster 127.0.0.1 6380 2\nsentinel down-after-milliseconds mymaster 5000\n\
         # Generated by CONFIG REWRITE\nprotected-mode no\nsentinel config-epoch mymaster 3\n\
         sentinel leader-epoch mymaster 3\nsentinel known-replica mymaster 127.0.0.1 6379\n\
         sentinel known-sentinel mymaster 127.0.0.1 5001 0b2c1a1e8a7d7a4d1b5d5d4b0a9b8c7d6e5f4a3b\n\
         sentinel current-epoch 3\n",
    );
    assert_eq!((loaded.masters[0].replicas.len(), loaded.masters[0].sentinels.len()), (1, 1));
    let loaded = load(
        "sentinel monitor a 10.0.0.1 6379 1\nsentinel monitor b 10.0.0.2 6379 1\n\
         sentinel known-slave a 10.0.0.3 6379\nsentinel known-sentinel a 10.0.0.9 26379 abc\n\
         sentinel known-sentinel b 10.0.0.9 26379\nmaxclients 4064\n",
    );
    assert_eq!(loaded.masters[0].replicas.len(), 1);
    assert_eq!((loaded.masters[0].sentinels.len(), loaded.masters[1].sentinels.len()), (1, 0));
}
