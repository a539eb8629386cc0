//! TLS: what is refused at start, who is let in, and failovers of servers, Sentinels and clients that speak nothing
//! else (config.md 4.4).

pub(crate) mod certs;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use certs::{Authority, Pair};
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream, SslVerifyMode};
use tempfile::TempDir;

use crate::support::process::{KilledAtEnd, Process};
use crate::support::resp::{Value, ask};
use crate::support::sentinel::{Sentinel, Watch};
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::support::{Kind, ports, stock};

/// A folder with an authority and a pair that it has signed.
struct Office {
    folder: TempDir,
    authority: Authority,
    pair: Pair,
}

impl Office {
    fn new() -> Office {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::new(folder.path(), "ca");
        let pair = authority.issue(folder.path(), "pair", "localhost");
        Office { folder, authority, pair }
    }

    /// `tls-*` lines of somebody who trusts the authority.
    fn lines(&self) -> String {
        format!("{}tls-ca-cert-file {}\n", self.pair.lines(), self.authority.file.display())
    }
}

#[test]
fn bad_tls_ends_the_start() {
    refuses(Kind::under_test());
}

#[test]
fn bad_tls_ends_the_start_of_stock() {
    refuses(Kind::Stock);
}

/// config.md 187, 188, 194, 195
fn refuses(kind: Kind) {
    let office = Office::new();
    let folder = office.folder.path();
    let (pair, ca) = (office.pair.lines(), format!("tls-ca-cert-file {}\n", office.authority.file.display()));
    let locked = office.authority.issue_locked(folder, "locked", "localhost", "sesame");
    let other = office.authority.issue(folder, "other", "localhost");
    let mixed = Pair { cert: office.pair.cert.clone(), key: other.key.clone() };
    let no_ca = "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, tls-replication or \
                 tls-auth-clients are enabled!";
    let protocols =
        "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'.";
    let key = |path: &Path| format!("Failed to load private key: {}: ", path.display());
    let cases = [
        (String::new(), "No tls-cert-file configured!".to_owned()),
        (format!("tls-cert-file {}\n", office.pair.cert.display()), "No tls-key-file configured!".to_owned()),
        (pair.clone(), no_ca.to_owned()),
        (format!("{pair}tls-auth-clients no\ntls-replication yes\n"), no_ca.to_owned()),
        (format!("{pair}{ca}tls-protocols TLSv9\n"), protocols.to_owned()),
        (format!("{ca}{}", locked.lines()), key(&locked.key)),
        (format!("{ca}{}tls-key-file-pass wrong\n", locked.lines()), key(&locked.key)),
        (format!("{ca}{}", mixed.lines()), key(&mixed.key)),
        (format!("{pair}{ca}tls-ciphers nonsense\n"), "Failed to configure ciphers: nonsense".to_owned()),
        (format!("{pair}{ca}tls-ciphersuites nonsense\n"), "Failed to configure ciphersuites: nonsense".to_owned()),
        (format!("{pair}{ca}tls-dh-params-file /none\n"), "Failed to load /none: ".to_owned()),
        (
            format!("{pair}tls-ca-cert-file /none\n"),
            "Failed to configure CA certificate(s) file/directory: ".to_owned(),
        ),
        (
            format!("{ca}tls-cert-file /none\ntls-key-file {}\n", office.pair.key.display()),
            "Failed to load certificate: /none: ".to_owned(),
        ),
    ];
    for (lines, expected) in cases {
        let (code, said) = start_and_end(kind, folder, &format!("port 0\ntls-port {}\n{lines}", ports::free()));
        let last: Vec<&str> = said.lines().filter_map(|line| line.split_once(" # ")).map(|(_, text)| text).collect();
        let [.., why, end] = last[..] else { panic!("{lines}: {said}") };
        assert!(why.starts_with(&expected), "{lines}: {said}");
        assert_eq!((code, end), (Some(1), "Failed to configure TLS. Check logs for more info."), "{lines}");
    }
}

/// Runs a Sentinel that ends by itself.
fn start_and_end(kind: Kind, folder: &Path, conf: &str) -> (Option<i32>, String) {
    let path = folder.join("refused.conf");
    fs::write(&path, conf).expect("the test folder is writable");
    let mut command = Command::new(kind.program());
    command.arg(&path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = KilledAtEnd(command.spawn().expect("it starts"));
    let code = wait_for(seconds(10), "it ends", || child.0.try_wait().expect("a child"));
    (code.code(), std::io::read_to_string(child.0.stdout.take().expect("a pipe")).expect("text"))
}

#[test]
fn clients_show_certificates() {
    certificates_of_clients(Kind::under_test());
}

#[test]
fn clients_of_stock_show_certificates() {
    certificates_of_clients(Kind::Stock);
}

/// config.md 146, 188, 189, 190, 194: a key with a passphrase, and a v1 certificate, beside it.
fn certificates_of_clients(kind: Kind) {
    let office = Office::new();
    let folder = office.folder.path();
    let locked = office.authority.issue_locked(folder, "locked", "localhost", "sesame");
    let old = office.authority.issue_v1(folder, "old", "localhost");
    let foreign = Authority::new(folder, "other-ca").issue(folder, "foreign", "localhost");
    let ca = format!("tls-ca-cert-file {}\n", office.authority.file.display());
    let good = Some(&office.pair);
    for (lines, without, with_good, with_foreign) in [
        (format!("{ca}{}tls-key-file-pass sesame\n", locked.lines()), false, true, false),
        (format!("{ca}{}tls-auth-clients optional\n", old.lines()), true, true, false),
        (format!("{}tls-auth-clients no\n", office.pair.lines()), true, true, true),
    ] {
        let (plain, tls) = (ports::free(), ports::free());
        let text = format!("port {plain}\ntls-port {tls}\nsentinel monitor m 127.0.0.1 {} 2\n{lines}", ports::free());
        let (path, name) = (folder.join("s.conf"), format!("tls-{tls}"));
        fs::write(&path, text).expect("the test folder is writable");
        let process = Process::start(&name, &kind.program(), &[&path.display().to_string()], folder);
        wait_until(seconds(10), "the plain port answers", || ask(plain, &["PING"]).is_ok());
        let speaks = |pair: Option<&Pair>| TlsClient::connect(tls, pair).is_ok_and(|mut client| client.ping());
        assert_eq!(speaks(None), without, "{lines}");
        assert_eq!(speaks(good), with_good, "{lines}");
        assert_eq!(speaks(Some(&foreign)), with_foreign, "{lines}");
        assert!(TlsClient::connect(plain, None).is_err(), "the plain port does not speak TLS");
        let log = fs::read_to_string(process.log()).expect("a log");
        assert!(log.contains(&format!("Running mode=sentinel, port={plain}.")), "{log}");
        if !without {
            let refused = || fs::read_to_string(process.log()).expect("a log");
            wait_until(seconds(5), "the log says so", || {
                refused().contains(" # Error accepting a client connection: ")
            });
        }
    }
    let tls = ports::free();
    let text = format!("port 0\ntls-port {tls}\n{}", office.lines());
    let path = folder.join("s.conf");
    fs::write(&path, text).expect("the test folder is writable");
    let process = Process::start("only-tls", &kind.program(), &[&path.display().to_string()], folder);
    wait_until(seconds(10), "it answers", || TlsClient::connect(tls, good).is_ok_and(|mut client| client.ping()));
    let log = fs::read_to_string(process.log()).expect("a log");
    assert!(log.contains(&format!("Running mode=sentinel, port={tls}.")), "{log}");
}

#[test]
fn servers_are_judged_by_their_authority() {
    authority_of_servers(Kind::under_test());
}

#[test]
fn servers_of_stock_are_judged_by_their_authority() {
    authority_of_servers(Kind::Stock);
}

/// config.md 191, 193; failover.md 31
fn authority_of_servers(kind: Kind) {
    let office = Office::new();
    let folder = office.folder.path();
    let named = office.authority.issue(folder, "named", "somebody.else.test");
    let foreign = Authority::new(folder, "other-ca").issue(folder, "foreign", "localhost");
    let trusts = format!("tls-ca-cert-file {}\n", office.authority.file.display());
    let named = RedisServer::start(folder, &format!("{}{trusts}tls-auth-clients no\n", named.lines()), None);
    let foreign = RedisServer::start(folder, &format!("{}{trusts}tls-auth-clients no\n", foreign.lines()), None);
    let watches = [("named", named.tls), ("foreign", foreign.tls), ("plain", named.plain)].map(|(name, port)| Watch {
        name,
        port,
        quorum: 2,
        password: None,
        down_after: 1_000,
        failover_timeout: 60_000,
    });
    let lines = format!("tls-replication yes\n{}", office.lines());
    let sentinel = Sentinel::start_in(Vec::new(), kind, folder, &watches, &lines);
    let flags = |name: &str| sentinel.master(name, "flags").unwrap_or_default();
    wait_until(seconds(10), "the name in a certificate does not matter", || flags("named") == "master");
    for name in ["foreign", "plain"] {
        wait_until(seconds(10), name, || flags(name).starts_with("s_down,master"));
    }
    assert_eq!(flags("named"), "master");
}

#[test]
fn fails_over_under_tls() {
    failover(&[Kind::under_test(); 3]);
}

#[test]
fn fails_over_under_tls_with_stock() {
    failover(&[Kind::under_test(), Kind::Stock, Kind::under_test()]);
}

/// config.md 191, 192: client certificates are required everywhere, and every Sentinel of ours gets a new one during the
/// run.
fn failover(kinds: &[Kind]) {
    let office = Office::new();
    let folder = office.folder.path();
    let everybody = format!("{}tls-replication yes\ntls-auth-clients yes\n", office.lines());
    let master = RedisServer::start(folder, &everybody, None);
    let mut servers = vec![master];
    for _ in 0..2 {
        servers.push(RedisServer::start(folder, &everybody, Some(servers[0].tls)));
    }
    wait_until(seconds(20), "replicas follow", || servers[1..].iter().all(RedisServer::is_linked));
    let mut sentinels = Vec::new();
    for (place, &kind) in kinds.iter().enumerate() {
        let (tls, down_after) = (ports::free(), if kind == Kind::Stock { 2_000 } else { 1_000 });
        let own = office.authority.issue(folder, &format!("sentinel-{place}"), "first");
        let watch = Watch {
            name: "mymaster",
            port: servers[0].tls,
            quorum: 2,
            password: None,
            down_after,
            failover_timeout: 20_000,
        };
        let lines = format!(
            "tls-port {tls}\ntls-replication yes\n{}tls-ca-cert-file {}\n",
            own.lines(),
            office.authority.file.display()
        );
        sentinels.push((tls, Sentinel::start_in(Vec::new(), kind, folder, &[watch], &lines)));
    }
    wait_until(seconds(30), "everybody knows everybody, at the port for TLS", || {
        sentinels.iter().all(|(own, sentinel)| {
            let peers = sentinel.peers("mymaster");
            let reached = |peer: &Value| {
                let port = peer.field("port").and_then(|port| port.parse().ok());
                let known = sentinels.iter().any(|(tls, _)| tls != own && Some(*tls) == port);
                known && peer.field("flags") == Some("sentinel")
            };
            peers.len() == 2 && peers.iter().all(reached) && sentinel.replicas("mymaster").len() == 2
        })
    });

    // New certificates, while connections stand.
    let mut held: Vec<TlsClient> = Vec::new();
    for (place, (tls, sentinel)) in sentinels.iter().enumerate() {
        let connect = || TlsClient::connect(*tls, Some(&office.pair)).expect("a client with a certificate is let in");
        assert_eq!(connect().name_of_server(), "first");
        held.push(connect());
        office.authority.issue(folder, &format!("sentinel-{place}"), "second");
        if sentinel.kind == Kind::Ours {
            wait_until(seconds(10), "new connections see the new one", || connect().name_of_server() == "second");
        }
    }
    for client in &mut held {
        assert!(client.ping(), "old connections live on");
    }

    let start = Instant::now();
    servers[0].process.kill();
    let from = format!("+switch-master mymaster 127.0.0.1 {} 127.0.0.1 ", servers[0].tls);
    wait_until(seconds(40), "all switch", || {
        sentinels.iter().all(|(_, sentinel)| sentinel.events.find(start, &from).is_some())
    });
    let new = sentinels[0].1.address("mymaster").expect("it is monitored");
    let promoted = servers.iter().find(|server| server.tls == new).expect("one of the servers");
    assert!(promoted.role() == "master");
    let other = servers[1..].iter().find(|server| server.tls != new).expect("the other replica");
    wait_until(seconds(20), "the other replica follows", || other.follows(new) && other.is_linked());
    for client in &mut held {
        assert!(client.ping(), "old connections live on");
    }
}

/// Ours alone: stock reads its certificates once. A pair that does not fit changes nothing, and SIGHUP asks for another
/// look.
#[test]
fn a_bad_pair_changes_nothing() {
    let office = Office::new();
    let folder = office.folder.path();
    let own = office.authority.issue(folder, "own", "first");
    let (tls, ca) = (ports::free(), office.authority.file.display().to_string());
    let text = format!("port 0\ntls-port {tls}\ntls-auth-clients no\ntls-ca-cert-file {ca}\n{}", own.lines());
    let path = folder.join("s.conf");
    fs::write(&path, text).expect("the test folder is writable");
    let kind = Kind::under_test();
    let process = Process::start("reloads", &kind.program(), &[&path.display().to_string()], folder);
    let served = || TlsClient::connect(tls, None).map(|client| client.name_of_server());
    wait_until(seconds(10), "it answers", || served().is_ok());
    let log = || fs::read_to_string(process.log()).expect("a log");

    let key = fs::read(&own.key).expect("readable");
    fs::copy(&office.pair.key, &own.key).expect("the test folder is writable");
    wait_until(seconds(10), "it says what is wrong", || {
        log().contains("# Failed to load private key: ") && log().contains("# TLS certificates stay as they were.")
    });
    assert_eq!(served().as_deref(), Ok("first"));

    fs::write(&own.key, key).expect("the test folder is writable");
    let loaded = || log().matches("* TLS certificates were loaded anew").count();
    wait_until(seconds(10), "the old key is back", || loaded() == 1);
    process.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until(seconds(10), "it was asked to look again", || loaded() == 2);
    assert_eq!(served().as_deref(), Ok("first"));
}

/// A redis-server for both kinds of connections.
struct RedisServer {
    plain: u16,
    tls: u16,
    process: Process,
}

impl RedisServer {
    fn start(folder: &Path, lines: &str, master: Option<u16>) -> RedisServer {
        let (plain, tls) = (ports::free(), ports::free());
        let follow = master.map(|port| format!("replicaof 127.0.0.1 {port}\n")).unwrap_or_default();
        let home: PathBuf = folder.join(format!("server-{tls}"));
        fs::create_dir(&home).expect("the test folder is writable");
        let text = format!("port {plain}\ntls-port {tls}\nsave \"\"\nrepl-diskless-sync-delay 0\n{lines}{follow}");
        fs::write(home.join("redis.conf"), text).expect("the test folder is writable");
        let process = Process::start(&format!("server-{tls}"), &stock::program("redis-server"), &["redis.conf"], &home);
        let server = RedisServer { plain, tls, process };
        wait_until(seconds(10), "the server answers", || ask(plain, &["PING"]).is_ok());
        server
    }

    fn replication(&self, key: &str) -> String {
        let reply = ask(self.plain, &["INFO", "replication"]).ok();
        let text = reply.as_ref().and_then(Value::text).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or_default().trim().to_owned()
    }

    fn role(&self) -> String {
        self.replication("role")
    }

    fn is_linked(&self) -> bool {
        self.replication("master_link_status") == "up"
    }

    fn follows(&self, port: u16) -> bool {
        self.replication("master_port") == port.to_string()
    }
}

/// A client that trusts anybody.
struct TlsClient {
    stream: BufReader<SslStream<TcpStream>>,
}

impl TlsClient {
    fn connect(port: u16, pair: Option<&Pair>) -> Result<TlsClient, String> {
        let mut builder = SslConnector::builder(SslMethod::tls()).expect("OpenSSL");
        builder.set_verify(SslVerifyMode::NONE);
        if let Some(pair) = pair {
            builder.set_certificate_chain_file(&pair.cert).expect("a certificate");
            builder.set_private_key_file(&pair.key, SslFiletype::PEM).expect("a key");
        }
        let tcp = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
        tcp.set_read_timeout(Some(Duration::from_secs(10))).expect("the socket is open");
        let stream = builder.build().connect("localhost", tcp).map_err(|error| error.to_string())?;
        Ok(TlsClient { stream: BufReader::new(stream) })
    }

    fn ping(&mut self) -> bool {
        let mut line = String::new();
        self.stream.get_mut().write_all(b"PING\r\n").is_ok()
            && self.stream.read_line(&mut line).is_ok()
            && line == "+PONG\r\n"
    }

    fn name_of_server(&self) -> String {
        let cert = self.stream.get_ref().ssl().peer_certificate().expect("a server has one");
        let entry = cert.subject_name().entries().next().expect("a name");
        entry.data().to_string().expect("text")
    }
}
