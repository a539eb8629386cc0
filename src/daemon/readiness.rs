//! Tells systemd how far the start has come (config.md 7.4).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::conf::daemon::Supervised;
use crate::sentinel::event::Level;
use crate::telemetry::log::log;

/// Who started us and wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supervision {
    /// Nobody.
    None,
    /// upstart, which waits for us to stop ourselves.
    Upstart,
    /// systemd, through the socket that `NOTIFY_SOCKET` names, if it names one, and whether it could be told that the
    /// start has begun. Where it could not, it is asked again each time, and that is all.
    Systemd(Option<OsString>, Hears),
}

/// Whether systemd took the first datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// It did.
    Yes,
    /// It did not, or was not told anything yet.
    NotYet,
}

impl Supervision {
    /// What `supervised` says, where it leaves the choice to the environment.
    pub fn of(setting: Supervised) -> Supervision {
        let (socket, job) = (std::env::var_os("NOTIFY_SOCKET"), std::env::var_os("UPSTART_JOB"));
        match (setting, job) {
            (Supervised::Upstart | Supervised::Auto, Some(_)) => Supervision::Upstart,
            (Supervised::Upstart, None) => {
                log(Level::Warning, "upstart supervision requested, but UPSTART_JOB not found!");
                Supervision::None
            }
            (Supervised::Auto, None) if socket.is_some() => {
                log(Level::Verbose, "Systemd supervision detected.");
                Supervision::Systemd(socket, Hears::NotYet)
            }
            (Supervised::Systemd, _) => Supervision::Systemd(socket, Hears::NotYet),
            (Supervised::Auto | Supervised::No, _) => Supervision::None,
        }
    }

    /// The word in INFO.
    pub fn name(&self) -> &'static str {
        match self {
            Supervision::Upstart => "upstart",
            Supervision::Systemd(_, Hears::Yes) => "systemd",
            Supervision::Systemd(_, Hears::NotYet) | Supervision::None => "no",
        }
    }

    /// Whether `daemonize` counts.
    pub fn may_daemonize(&self) -> bool {
        self.name() == "no"
    }

    /// Tells whoever supervises that the start has begun.
    pub fn announce(&mut self) {
        match self {
            Supervision::None => {}
            Supervision::Upstart => {
                log(Level::Notice, "supervised by upstart, will stop to signal readiness.");
                // Fails for no signal that exists.
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
            }
            Supervision::Systemd(socket, hears) => {
                if tell(socket.as_deref(), "STATUS=Redis is loading...\n") {
                    *hears = Hears::Yes;
                    let line = "Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec \
                                and TimeoutStopSec in your service unit.";
                    log(Level::Notice, line);
                }
            }
        }
    }

    /// Sends systemd one datagram. A failure is logged, never fatal.
    pub fn notify(&self, state: &str) {
        if let Supervision::Systemd(socket, _) = self {
            tell(socket.as_deref(), state);
        }
    }
}

/// Whether the datagram was sent. If not, the log says why.
fn tell(socket: Option<&OsStr>, state: &str) -> bool {
    let Some(socket) = socket else {
        log(Level::Warning, "systemd supervision error: NOTIFY_SOCKET not found!");
        return false;
    };
    let sent = send(socket.as_bytes(), state);
    if let Err(error) = &sent {
        let code = error.raw_os_error().unwrap_or(0);
        log(Level::Warning, &format!("systemd supervision error: sd_notify: -{code}"));
    }
    sent.is_ok()
}

fn send(socket: &[u8], state: &str) -> io::Result<()> {
    let to = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(OsStr::from_bytes(socket))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &to).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches_sockets_in_the_file_system_and_abstract_ones() {
        let dir = tempfile::tempdir().expect("temp dir is writable");
        let path = dir.path().join("notify");
        let abstract_name = format!("sentineld-test-{}", std::process::id());
        let abstract_addr = SocketAddr::from_abstract_name(&abstract_name).expect("short");
        let sockets = [
            (path.clone().into_os_string(), UnixDatagram::bind(&path).expect("binds")),
            (format!("@{abstract_name}").into(), UnixDatagram::bind_addr(&abstract_addr).expect("binds")),
        ];
        for (name, socket) in sockets {
            Supervision::Systemd(Some(name), Hears::NotYet).notify("READY=1\n");
            let mut bytes = [0; 64];
            socket.set_nonblocking(true).expect("a socket");
            let count = socket.recv(&mut bytes).expect("the datagram is there");
            assert_eq!(&bytes[..count], b"READY=1\n");
        }
    }
}
