//! Listening sockets, of TCP and of this machine: binding as stock binds, and accepting without spinning when the process is out of descriptors.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// First and longest wait after an accept that failed.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Binds and listens. `backlog` is `tcp-backlog`; an IPv6 address takes IPv6 connections only. Needs a running runtime.
pub fn bind(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Binds and listens on a socket of the file system. A file that is there already goes, as in stock: it is what the last
/// process has left. `mode` is the file's; 0 leaves what the umask makes of it. Needs a running runtime.
pub fn bind_unix(path: &Path, mode: u32, backlog: u32) -> io::Result<UnixListener> {
    // Usually there is none; what cannot be removed cannot be bound either, and that error is told.
    let _ = std::fs::remove_file(path);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if mode != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    UnixListener::from_std(socket.into())
}

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// The network.
    Tcp(TcpListener),
    /// The network, under TLS.
    Tls(TcpListener),
    /// This machine.
    Unix(UnixListener),
}

/// A connection.
#[derive(Debug)]
pub enum Accepted {
    /// From the network, and from where.
    Tcp(TcpStream, SocketAddr),
    /// The same, before the handshake of TLS.
    Tls(TcpStream, SocketAddr),
    /// From this machine.
    Unix(UnixStream),
}

impl Listener {
    async fn next(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            Listener::Tls(listener) => listener.accept().await.map(|(stream, peer)| Accepted::Tls(stream, peer)),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

/// The next connection. A failure of the connection itself is passed over; when the process lacks descriptors or
/// memory, it logs that and waits a little longer each time. Cancel-safe.
pub async fn accept(listener: &Listener) -> Accepted {
    let mut wait = BACK_OFF.0;
    loop {
        match listener.next().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_connection(&error) => tracing::debug!("Accepting client connection: {error}"),
            Err(error) => {
                tracing::warn!("Accepting client connection: {error}");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACK_OFF.1);
            }
        }
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Options of an accepted connection: no delay, and keepalive probes after `keepalive` seconds (`tcp-keepalive`; 0 is
/// off), three of them a third of that apart.
pub fn prepare(stream: &TcpStream, keepalive: u64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if keepalive > 0 {
        let probes = TcpKeepalive::new()
            .with_time(Duration::from_secs(keepalive))
            .with_interval(Duration::from_secs((keepalive / 3).max(1)))
            .with_retries(3);
        SockRef::from(stream).set_tcp_keepalive(&probes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listens_on_both_families_at_one_port() {
        let four = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 511).expect("bind");
        let port = four.local_addr().expect("address").port();
        if let Ok(six) = bind(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)), 511) {
            assert_eq!(six.local_addr().expect("address").port(), port);
        }
        let client = TcpStream::connect(four.local_addr().expect("address")).await.expect("connect");
        let Accepted::Tcp(accepted, peer) = accept(&Listener::Tcp(four)).await else { panic!("it is one of TCP") };
        assert_eq!(peer, client.local_addr().expect("address"));
        prepare(&accepted, 300).expect("options");
        assert!(accepted.nodelay().expect("option"));
        assert!(SockRef::from(&accepted).keepalive().expect("option"));
    }

    /// config.md 170, 172
    #[tokio::test]
    async fn a_socket_of_the_file_system_has_its_mode_and_replaces_an_old_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("s.sock");
        std::fs::write(&path, "stale").expect("written");
        let listener = Listener::Unix(bind_unix(&path, 0o700, 511).expect("bound"));
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let _client = UnixStream::connect(&path).await.expect("connect");
        assert!(matches!(accept(&listener).await, Accepted::Unix(_)));
        assert!(bind_unix(&folder.path().join("none/s.sock"), 0, 511).is_err());
    }
}
