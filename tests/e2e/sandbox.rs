//! Under the conditions that packages and containers set (config.md 10).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use crate::support::process::KilledAtEnd;
use crate::support::resp::{Value, ask};
use crate::support::wait::{seconds, wait_until};
use crate::support::{Kind, ports};

/// The user that nobody is.
const NOBODY: u32 = 65_534;

#[test]
fn runs_as_debian_s_unit_runs_it() {
    as_debian_s_unit(Kind::under_test());
}

#[test]
fn stock_runs_as_its_unit_runs_it() {
    as_debian_s_unit(Kind::Stock);
}

/// config.md 223, as far as there can be without systemd: another user, no capabilities, no new privileges, `UMask=007`,
/// and `ProtectSystem=strict`, under which only the folder of the conf file can be written. The filter of system calls
/// was tried by hand.
fn as_debian_s_unit(kind: Kind) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let etc = folder.path().join("etc");
    fs::create_dir(&etc).expect("the test folder is writable");
    let (conf, port) = (etc.join("sentinel.conf"), ports::free());
    let text =
        format!("port {port}\nlogfile {}/log\nsentinel monitor m 127.0.0.1 {} 2\n", etc.display(), ports::free());
    fs::write(&conf, text).expect("the test folder is writable");
    for (path, mode) in [(folder.path(), 0o755), (&etc, 0o770), (&conf, 0o640)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
    }
    for path in [&etc, &conf] {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("tests run as root");
    }
    let ready = UnixDatagram::bind(etc.join("ready")).expect("a socket");
    fs::set_permissions(etc.join("ready"), fs::Permissions::from_mode(0o777)).expect("our own file");
    ready.set_read_timeout(Some(seconds(10))).expect("a socket");

    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro / && umask 007 && \
                  exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set=-all \
                  --inh-caps=-all \"$2\" \"$1/sentinel.conf\" --supervised systemd --daemonize no";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&etc).arg(kind.program());
    command.env("NOTIFY_SOCKET", etc.join("ready")).stdin(Stdio::null());
    let _daemon = KilledAtEnd(command.spawn().expect("unshare is part of every system"));
    let mut told = Vec::new();
    while told.last().is_none_or(|line| line != "READY=1\n") {
        let mut datagram = [0; 256];
        let length = ready.recv(&mut datagram).unwrap_or_else(|error| {
            let log = fs::read_to_string(etc.join("log")).unwrap_or_default();
            panic!("{error} after {told:?}\n{log}")
        });
        told.push(String::from_utf8_lossy(&datagram[..length]).into_owned());
    }
    wait_until(seconds(10), "it answers", || ask(port, &["PING"]).is_ok());
    let saved = || fs::read_to_string(&conf).expect("the conf file is there").contains("sentinel myid ");
    assert!(saved(), "its id is on disk before it is ready");
    let flushed = ask(port, &["SENTINEL", "FLUSHCONFIG"]).expect("it answers");
    assert_eq!(flushed, Value::Simple("OK".to_owned()));
    let file = fs::metadata(&conf).expect("the conf file is there");
    assert_eq!((file.mode() & 0o777, file.uid()), (0o640, NOBODY));
}

#[cfg(feature = "tls")]
#[test]
fn starts_as_charts_start_it() {
    as_charts_do(Kind::under_test());
}

#[cfg(feature = "tls")]
#[test]
fn stock_starts_as_charts_start_it() {
    as_charts_do(Kind::Stock);
}

/// config.md 224: a conf file that a script has put together, host names before they are allowed, `redis-server` with
/// options for TLS right behind `--sentinel`, and a probe with redis-cli.
#[cfg(feature = "tls")]
fn as_charts_do(kind: Kind) {
    use crate::support::stock;
    use crate::tls::certs::Authority;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let mounted = folder.path().join("mounted.conf");
    let conf = folder.path().join("sentinel.conf");
    let (tls, id) = (ports::free(), "3".repeat(40));
    let text = "dir \"/tmp\"\nport 26379\nsentinel monitor mymaster localhost 6379 2\n\
                sentinel down-after-milliseconds mymaster 60000\nsentinel failover-timeout mymaster 180000\n\
                sentinel parallel-syncs mymaster 1\n# User-supplied sentinel configuration:\n# End of it\n";
    fs::write(&mounted, text).expect("the test folder is writable");
    let script = format!(
        "cp \"$1\" \"$2\"\n\
         printf '\\nsentinel auth-pass mymaster %s\\n' secret >> \"$2\"\n\
         printf '\\nrequirepass %s\\n' secret >> \"$2\"\n\
         printf '\\nsentinel myid %s\\n' {} >> \"$2\"\n\
         sed -i 's/^sentinel monitor mymaster.*/sentinel monitor mymaster localhost {} 2/' \"$2\"\n\
         printf 'sentinel known-sentinel mymaster localhost %s %s\\n' {} {id} >> \"$2\"\n\
         printf 'sentinel known-replica mymaster localhost %s\\n' {} >> \"$2\"\n\
         printf 'sentinel announce-hostnames yes\\nsentinel resolve-hostnames yes\\n' >> \"$2\"\n\
         printf 'sentinel announce-port {tls}\\nsentinel announce-ip localhost\\n' >> \"$2\"\n",
        "4".repeat(40),
        ports::free(),
        ports::free(),
        ports::free(),
    );
    let done = Command::new("sh").args(["-c", &script, "sh"]).arg(&mounted).arg(&conf).status().expect("sh runs");
    assert!(done.success());
    let authority = Authority::new(folder.path(), "ca");
    let pair = authority.issue(folder.path(), "pair", "localhost");
    let program = folder.path().join("redis-server");
    std::os::unix::fs::symlink(kind.program(), &program).expect("the test folder is writable");
    let mut command = Command::new(&program);
    let (tls_port, ca) = (tls.to_string(), authority.file.display().to_string());
    let (cert, key) = (pair.cert.display().to_string(), pair.key.display().to_string());
    command.arg(&conf).args(["--sentinel", "--port", "0", "--tls-port", &tls_port, "--tls-cert-file", &cert]);
    command.args(["--tls-key-file", &key, "--tls-ca-cert-file", &ca, "--tls-replication", "yes"]);
    command.args(["--tls-auth-clients", "yes"]).stdin(Stdio::null()).stdout(Stdio::null());
    let _sentinel = KilledAtEnd(command.spawn().expect("it starts"));
    let probe = || {
        let mut command = Command::new(stock::program("redis-cli"));
        command.args(["-h", "localhost", "-p", &tls_port, "--tls", "--cacert", &ca, "--cert", &cert, "--key", &key]);
        let output = command.arg("ping").env("REDISCLI_AUTH", "secret").output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    wait_until(seconds(10), "the probe passes", || probe() == "PONG\n");
    let saved = fs::read_to_string(&conf).expect("the conf file is there");
    for line in ["sentinel monitor mymaster localhost ", "sentinel announce-ip ", "# User-supplied"] {
        assert!(saved.lines().any(|saved| saved.starts_with(line)), "{line}: {saved}");
    }
}
