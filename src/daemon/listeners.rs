//! Opens the listening sockets as `bind`, `port` and `unixsocket` say, with stock's lines when that fails (config.md 1.4).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use crate::conf::daemon::BindAddr;
use crate::conf::error::strerror;
use crate::net::listen::{self, Listener};
use crate::sentinel::event::Level;
use crate::telemetry::log::log;
use nix::errno::Errno;
use tokio::net::TcpListener;

/// Room for a path in the address of a socket, its end included.
const LONGEST_PATH: usize = 108;

/// Where nobody can reach us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// An address that is not optional could not be bound; the line before says why.
    #[error("Failed listening on port {0} (TCP), aborting.")]
    Failed(u16),
    /// The file of `unixsocket`.
    #[error("Failed opening Unix socket: {0}")]
    Unix(String),
    /// No `unixsocket`, and `port 0`, `bind ""`, or every address was optional and none could be bound.
    #[error("Configured to not listen anywhere, exiting.")]
    Nowhere,
}

/// Where to listen besides `bind`. 0 is not at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doors<'a> {
    /// `port`
    pub port: u16,
    /// `tls-port`
    pub tls_port: u16,
    /// `unixsocket` and `unixsocketperm`
    pub unix: Option<(&'a Path, u32)>,
}

/// Binds each address of `bind` at `port` and at `tls-port`. An optional address may be missing on this machine, and one
/// of a protocol that the machine does not speak is passed over. Then the file of `unixsocket`. Needs a running runtime.
pub fn open(bind: &[BindAddr], doors: Doors<'_>, backlog: u32) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    open_port(bind, doors.port, backlog, Listener::Tcp, &mut listeners)?;
    open_port(bind, doors.tls_port, backlog, Listener::Tls, &mut listeners)?;
    if let Some((path, mode)) = doors.unix {
        listeners.push(Listener::Unix(open_unix(path, mode, backlog).map_err(ListenError::Unix)?));
    }
    if listeners.is_empty() { Err(ListenError::Nowhere) } else { Ok(listeners) }
}

fn open_port(
    bind: &[BindAddr],
    port: u16,
    backlog: u32,
    kind: fn(TcpListener) -> Listener,
    listeners: &mut Vec<Listener>,
) -> Result<(), ListenError> {
    let addresses = if port == 0 { &[] } else { bind };
    for BindAddr { host, optional } in addresses {
        match resolve(host, port).and_then(|addr| listen::bind(addr, backlog)) {
            Ok(listener) => listeners.push(kind(listener)),
            Err(error) => {
                let reason = strerror(&error);
                let line =
                    format!("Warning: Could not create server TCP listening socket {host}:{port}: bind: {reason}");
                log(Level::Warning, &line);
                if !is_forgivable(&error, *optional) {
                    return Err(ListenError::Failed(port));
                }
            }
        }
    }
    Ok(())
}

fn open_unix(path: &Path, mode: u32, backlog: u32) -> Result<tokio::net::UnixListener, String> {
    let length = path.as_os_str().len();
    if length >= LONGEST_PATH {
        return Err(format!("unix socket path too long ({length}), must be under {LONGEST_PATH}"));
    }
    listen::bind_unix(path, mode, backlog).map_err(|error| format!("bind: {}", strerror(&error)))
}

fn resolve(address: &str, port: u16) -> io::Result<SocketAddr> {
    let ip = match address {
        "*" => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        "::*" => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        name => {
            let missing = || io::Error::from_raw_os_error(Errno::EADDRNOTAVAIL as i32);
            return (name, port).to_socket_addrs()?.next().ok_or_else(missing);
        }
    };
    Ok(SocketAddr::new(ip, port))
}

fn is_forgivable(error: &io::Error, may_be_missing: bool) -> bool {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EADDRNOTAVAIL) => may_be_missing,
        Some(errno) => matches!(
            errno,
            Errno::ENOPROTOOPT
                | Errno::EPROTONOSUPPORT
                | Errno::ESOCKTNOSUPPORT
                | Errno::EPFNOSUPPORT
                | Errno::EAFNOSUPPORT
        ),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(words: &[&str]) -> Vec<BindAddr> {
        let one =
            |word: &str| BindAddr { host: word.trim_start_matches('-').to_owned(), optional: word.starts_with('-') };
        words.iter().map(|word| one(word)).collect()
    }

    /// A port that was free a moment ago.
    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback has ports").port()
    }

    /// config.md 171, 175, 176
    #[tokio::test]
    async fn fails_as_stock_fails() {
        let port = free_port();
        let open =
            |words: &[&str], port, unix| super::open(&addresses(words), Doors { port, unix, ..Doors::default() }, 511);
        let first = open(&["127.0.0.1", "-10.99.99.99"], port, None).expect("the first is enough");
        assert_eq!(first.len(), 1);
        assert_eq!(open(&["127.0.0.1"], port, None).err(), Some(ListenError::Failed(port)));
        assert_eq!(open(&["10.99.99.99"], port, None).err(), Some(ListenError::Failed(port)));
        assert_eq!(open(&["-10.99.99.99"], port, None).err(), Some(ListenError::Nowhere));
        assert_eq!(open(&["127.0.0.1"], 0, None).err(), Some(ListenError::Nowhere));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("s.sock");
        assert_eq!(open(&["127.0.0.1"], 0, Some((&path, 0))).expect("that is enough").len(), 1);
        let path = folder.path().join("none/s.sock");
        let missing = open(&[], 0, Some((&path, 0))).expect_err("no such folder");
        assert_eq!(missing.to_string(), "Failed opening Unix socket: bind: No such file or directory");
        let long = "y".repeat(120);
        let long = open(&[], 0, Some((Path::new(&long), 0))).expect_err("too long");
        assert_eq!(long.to_string(), "Failed opening Unix socket: unix socket path too long (120), must be under 108");
    }
}
