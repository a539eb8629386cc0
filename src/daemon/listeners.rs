//! Opens the listening sockets as `bind` and `port` say, with stock's lines when that fails (config.md 1.4).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use nix::errno::Errno;
use tokio::net::TcpListener;

use crate::conf::daemon::BindAddr;
use crate::conf::error::strerror;
use crate::net::listen;
use crate::sentinel::event::Level;
use crate::telemetry::log::log;

/// Where nobody can reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// An address that is not optional could not be bound; the line before says why.
    #[error("Failed listening on port {0} (TCP), aborting.")]
    Failed(u16),
    /// `port 0`, `bind ""`, or every address was optional and none could be bound.
    #[error("Configured to not listen anywhere, exiting.")]
    Nowhere,
}

/// Binds each address of `bind` at `port`. An optional address may be missing on this machine, and one of
/// a protocol that the machine does not speak is passed over. Needs a running runtime.
pub fn open(bind: &[BindAddr], port: u16, backlog: u32) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    let addresses = if port == 0 { &[] } else { bind };
    for BindAddr { host, optional } in addresses {
        match resolve(host, port).and_then(|addr| listen::bind(addr, backlog)) {
            Ok(listener) => listeners.push(listener),
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
    if listeners.is_empty() { Err(ListenError::Nowhere) } else { Ok(listeners) }
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

    /// `config.md` 171, 175, 176
    #[tokio::test]
    async fn fails_as_stock_fails() {
        let port = free_port();
        let first = open(&addresses(&["127.0.0.1", "-10.99.99.99"]), port, 511).expect("the first is enough");
        assert_eq!(first.len(), 1);
        assert_eq!(open(&addresses(&["127.0.0.1"]), port, 511).err(), Some(ListenError::Failed(port)));
        assert_eq!(open(&addresses(&["10.99.99.99"]), port, 511).err(), Some(ListenError::Failed(port)));
        assert_eq!(open(&addresses(&["-10.99.99.99"]), port, 511).err(), Some(ListenError::Nowhere));
        assert_eq!(open(&addresses(&["127.0.0.1"]), 0, 511).err(), Some(ListenError::Nowhere));
    }
}
