//! A long way to every host: proxies that hand on each piece of a connection some time later, in order.
//!
//! Many kernels come without netem. Here everybody is announced under an address of a proxy at the bridge, so that all
//! that Sentinels tell servers and each other goes a long way. What the test asks does not, and servers are near each
//! other: what is measured is how Sentinels agree, not how servers synchronise. A connection is accepted at once and ends
//! with a delay, like everything that is said on it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::thread::JoinHandle;
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Time one way, ms, drawn anew for each piece.
pub(crate) type Delay = RangeInclusive<u64>;

/// Pieces on their way; more than that make the sender wait, as a full socket would.
const ON_THE_WAY: usize = 1_000;

/// All proxies of one world, in one thread. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Proxies {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxies {
    /// Listens at the first address of each pair and connects to the second; for those who come from the addresses
    /// `prompt` without delay. The thread stays in the network namespace of its caller.
    pub(crate) fn start(pairs: &[(SocketAddr, SocketAddr)], delay: &Delay, prompt: Vec<IpAddr>) -> Proxies {
        let listen = |(at, target): &(SocketAddr, SocketAddr)| {
            let listener = TcpListener::bind(at).expect("an address of this network is free");
            listener.set_nonblocking(true).expect("the socket is open");
            (listener, *target)
        };
        let listeners = pairs.iter().map(listen).collect::<Vec<_>>();
        let (stop, stopped) = oneshot::channel();
        let delay = delay.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                for (listener, target) in listeners {
                    let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
                    tokio::spawn(accept(listener, target, delay.clone(), prompt.clone()));
                }
                // The other end is dropped with the world.
                let _ = stopped.await;
            });
        });
        Proxies { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, target: SocketAddr, delay: Delay, prompt: Vec<IpAddr>) {
    while let Ok((near, from)) = listener.accept().await {
        let delay = if prompt.contains(&from.ip()) { 0..=0 } else { delay.clone() };
        tokio::spawn(connect(near, target, delay));
    }
}

/// Nobody listens over there: the connection ends, as late as an answer would have come.
async fn connect(near: TcpStream, target: SocketAddr, delay: Delay) {
    let Ok(far) = TcpStream::connect(target).await else {
        tokio::time::sleep(draw(&delay) + draw(&delay)).await;
        return;
    };
    if near.set_nodelay(true).and(far.set_nodelay(true)).is_ok() {
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        tokio::spawn(carry(near_in, far_out, delay.clone()));
        tokio::spawn(carry(far_in, near_out, delay));
    }
}

/// One direction, until its end.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, delay: Delay) {
    let (send, receive) = mpsc::channel(ON_THE_WAY);
    tokio::spawn(deliver(receive, to));
    // An error ends a direction as its regular end does; whoever was to be told will be.
    let _ = take_in(from, &send, &delay).await;
}

async fn take_in(mut from: OwnedReadHalf, send: &mpsc::Sender<(Instant, Vec<u8>)>, delay: &Delay) -> io::Result<()> {
    let mut due = Instant::now();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await;
        due = due.max(Instant::now() + draw(delay));
        let piece = length.as_ref().map_or(Vec::new(), |length| buffer[..*length].to_vec());
        let ends = piece.is_empty();
        if send.send((due, piece)).await.is_err() || ends {
            return length.map(drop);
        }
    }
}

/// An empty piece is the end.
async fn deliver(mut receive: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: OwnedWriteHalf) {
    while let Some((due, piece)) = receive.recv().await {
        tokio::time::sleep_until(due).await;
        if piece.is_empty() || to.write_all(&piece).await.is_err() {
            break;
        }
    }
    // It may be closed already.
    let _ = to.shutdown().await;
}

fn draw(delay: &Delay) -> Duration {
    Duration::from_millis(rand::rng().random_range(delay.clone()))
}
