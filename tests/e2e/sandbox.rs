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
